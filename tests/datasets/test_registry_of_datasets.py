"""Finding datasets by name, their roots, and the kept index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.trees import write_disfa, write_disfa_labels, write_frames, write_rafdb
from zoo._util.files import zoo_home
from zoo.datasets import check, dataset_root, get_dataset, list_datasets, load_index, root_variable
from zoo.datasets.base import Index
from zoo.datasets.disfa import Disfa
from zoo.errors import DatasetError, DatasetMissingError, UnknownNameError


def same(a: Index, b: Index) -> bool:
    for name in ("subject", "sequence", "frame", "split", "file", "position"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype.kind == getattr(b, name).dtype.kind
    assert a.labels.keys() == b.labels.keys()
    for task, labels in a.labels.items():
        assert labels.names == b.labels[task].names
        assert labels.values.dtype == b.labels[task].values.dtype
        np.testing.assert_array_equal(labels.values, b.labels[task].values)  # NaN equals NaN
    plain = ("manifest", "identities", "synthetic", "findings", "options")
    return all(getattr(a, name) == getattr(b, name) for name in plain)


def kept() -> list[Path]:
    return sorted((zoo_home() / "index").glob("*"))


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts how often a tree is read."""
    done: list[str] = []
    scan = Disfa.scan

    def counting(self: Disfa, copy: object) -> None:
        done.append("scan")
        scan(self, copy)  # type: ignore[arg-type]

    monkeypatch.setattr(Disfa, "scan", counting)
    return done


def test_every_dataset_says_what_it_is_and_how_to_get_it() -> None:
    for name in list_datasets():
        reader = get_dataset(name)
        assert reader.name == name
        assert reader.title
        assert len(reader.obtain) > 20
        assert reader.tasks
        assert "all" in reader.frame_sets


def test_a_mistyped_dataset_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'disfa'"):
        get_dataset("dsfa")


def test_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert root_variable("synthface-rafdb") == "ZOO_SYNTHFACE_RAFDB_ROOT"
    with pytest.raises(DatasetMissingError) as caught:
        dataset_root("disfa")
    assert "ZOO_DISFA_ROOT" in str(caught.value)
    assert "root=" in str(caught.value)
    assert "mohammadmahoor.com" in str(caught.value)
    assert caught.value.exit_code == 3
    monkeypatch.setenv("ZOO_DISFA_ROOT", str(tmp_path))
    assert dataset_root("disfa") == tmp_path
    assert dataset_root("disfa", tmp_path.parent) == tmp_path.parent
    monkeypatch.setenv("ZOO_DISFA_ROOT", str(tmp_path / "gone"))
    with pytest.raises(DatasetMissingError, match="ZOO_DISFA_ROOT"):
        dataset_root("disfa")
    with pytest.raises(DatasetMissingError, match="no such folder"):
        dataset_root("disfa", tmp_path / "elsewhere")


def test_the_index_is_read_once(tmp_path: Path, scans: list[str]) -> None:
    write_disfa(tmp_path, ["SN001", "SN003"])
    (tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au4.txt").write_text("1,0\n2,9\n3,1\n")
    first = load_index("disfa", tmp_path)
    again = load_index("disfa", tmp_path)
    assert scans == ["scan"]
    assert same(first, again)
    assert again.root == tmp_path
    assert any(f.code == "value-out-of-range" for f in again.findings)
    assert load_index("disfa", tmp_path, cache=False).manifest == first.manifest
    assert len(scans) == 2


@pytest.mark.parametrize("edit", ["content", "silent", "new", "gone", "media"])
def test_an_edited_tree_is_read_again(tmp_path: Path, scans: list[str], edit: str) -> None:
    write_disfa(tmp_path, ["SN001", "SN003"])
    first = load_index("disfa", tmp_path)
    file = tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au4.txt"
    picture = tmp_path / "Videos_LeftCamera" / "SN001" / "00002.jpg"
    if edit == "content":
        file.write_text("1,0\n")
    elif edit == "silent":  # same size, same modification time
        before = file.stat()
        text = file.read_text()
        file.write_text(text.replace(text[:4], f"1,{(int(text[2]) + 1) % 6}\n"))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif edit == "new":
        shutil.copytree(tmp_path / "ActionUnit_Labels" / "SN001", tmp_path / "ActionUnit_Labels" / "SN002")
    elif edit == "gone":
        picture.unlink()
    else:
        picture.write_bytes(b"another size of picture")
    if edit == "new":
        with pytest.raises(DatasetError, match="label file of SN001 in the folder of SN002"):
            load_index("disfa", tmp_path)
        return
    second = load_index("disfa", tmp_path)
    assert len(scans) == 2
    assert second.manifest != first.manifest


def test_options_have_indexes_of_their_own(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    shutil.copytree(tmp_path / "Videos_LeftCamera", tmp_path / "Video_RightCamera")
    left, right = load_index("disfa", tmp_path), load_index("disfa", tmp_path, camera="right")
    assert "Left" in left.file[0]
    assert "Right" in right.file[0]
    assert load_index("disfa", tmp_path, camera="left").options == {"camera": "left"}
    assert len(kept()) == 2


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not parquet at all" * 100])
def test_a_damaged_kept_index_is_built_again(tmp_path: Path, damage: bytes) -> None:
    write_disfa(tmp_path, ["SN001"])
    first = load_index("disfa", tmp_path)
    (file,) = kept()
    whole = file.read_bytes()
    file.write_bytes(damage or whole[: len(whole) // 2])
    assert same(load_index("disfa", tmp_path), first)
    assert same(load_index("disfa", tmp_path), first)


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    assert len(load_index("disfa", write_disfa(tmp_path / "d", ["SN001"]))) == 6


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    load_index("disfa", tmp_path)
    assert [p.suffix for p in kept()] == [".parquet"]


def test_a_moved_tree_keeps_its_index(tmp_path: Path, scans: list[str]) -> None:
    write_disfa(tmp_path / "a", ["SN001"])
    load_index("disfa", tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = load_index("disfa", tmp_path / "b")
    assert moved.root == tmp_path / "b"
    assert len(scans) == 1


def test_links_in_a_tree(tmp_path: Path) -> None:
    write_disfa(tmp_path / "real", ["SN001"])
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "ActionUnit_Labels").symlink_to(tmp_path / "real" / "ActionUnit_Labels")
    (tmp_path / "d" / "Videos_LeftCamera").symlink_to(tmp_path / "real" / "Videos_LeftCamera")
    (tmp_path / "d" / "loop").symlink_to(tmp_path / "d")
    assert len(load_index("disfa", tmp_path / "d")) == 6
    (tmp_path / "real" / "Videos_LeftCamera" / "SN001" / "00001.jpg").unlink()
    assert len(load_index("disfa", tmp_path / "d")) == 5


def test_expression_labels_survive_the_cache(tmp_path: Path) -> None:
    write_rafdb(tmp_path, {"train": [1, 2, 3], "test": [7, 4]})
    first = load_index("rafdb", tmp_path)
    again = load_index("rafdb", tmp_path)
    assert same(first, again)
    assert again.labels["expression"].values.dtype == np.int16


def test_report(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    report = check("disfa", tmp_path)
    assert report.errors == 0
    assert not report.complete
    assert report.labels()["au-intensity"]["AU12"] == 6
    text = report.text(["disfa-intensity-5fold@1: 6 of 130814 samples"])
    assert "incomplete: 0 errors" in text
    assert "camera=left" in text
    assert "SN005" in text
    assert "130814" in text


def test_report_says_how_often_each_au_is_present_and_what_is_known(tmp_path: Path) -> None:
    # AU 12 of the six frames: 2, 3, 4, 5, 0, 1; AU 4 is coded in five of them.
    write_disfa_labels(tmp_path, {"SN001": 6}, value=lambda s, au, frame: (frame + 1) % 6)
    write_frames(tmp_path / "Videos_LeftCamera" / "SN001", range(1, 7))
    file = tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au4.txt"
    file.write_text("".join(f"{f},2\n" for f in range(1, 6)))
    (tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au9.txt").unlink()
    text = check("disfa", tmp_path).text([])
    assert "au-intensity: 6 coded samples; intensity 2 or more: AU01 66.7%, AU02 66.7%, AU04 100.0% of 5" in text
    assert "not coded: AU09" in text
    assert "SN010 has 4,844 labelled frames" in text
    assert "there is none for this dataset" in text
    assert "protocols" not in check("disfa", tmp_path).text().splitlines()


@pytest.mark.parametrize(
    "name", ["disfa", "disfaplus", "bp4d", "bp4dplus", "affectnet", "ferplus", "ckplus", "affwild2"]
)
def test_known_defects_are_whole_lines(name: str) -> None:
    known = get_dataset(name).known
    assert known
    assert all("\n" not in line and not line.endswith((" ", ".")) for line in known)


def test_folders_that_are_never_read_need_no_stat(tmp_path: Path, scans: list[str]) -> None:
    write_disfa(tmp_path, ["SN001"])
    (tmp_path / "Landmark_Points" / "SN001").mkdir(parents=True)
    load_index("disfa", tmp_path)
    (tmp_path / "Landmark_Points" / "SN001" / "SN001_0000_lm.mat").write_bytes(b"x")
    load_index("disfa", tmp_path)
    assert len(scans) == 1
    (tmp_path / "Videos_LeftCamera" / "SN001" / "00007.jpg").write_bytes(b"x")
    load_index("disfa", tmp_path)
    assert len(scans) == 2


def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    folder = os.fsencode(tmp_path / "Videos_LeftCamera" / "SN001")
    os.rename(folder + b"/00002.jpg", folder + b"/\xff_00002.jpg")  # noqa: PTH104
    for _ in range(2):
        index = load_index("disfa", tmp_path)
        assert len(index) == 6
        assert (index.root / str(index.file[1])).read_bytes()
