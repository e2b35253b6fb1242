"""RAF-DB: the owners' layout, repackaged copies, and lists that do not add up."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets.trees import write_rafdb
from zoo.datasets.base import Finding, Index
from zoo.datasets.rafdb import CLASSES, COUNTS, Rafdb, read_list
from zoo.datasets.reader import Audit, Wanted
from zoo.errors import DatasetError, DatasetMissingError

LABELS = {"train": [1, 2, 3, 4, 5, 6, 7], "test": [7, 4, 1]}
LIST = Path("basic") / "EmoLabel" / "list_patition_label.txt"


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rafdb, "counts", {"train": (1,) * 7, "test": (1, 0, 0, 1, 0, 0, 1)})


def test_counts_add_up() -> None:
    assert {k: sum(v) for k, v in COUNTS.items()} == {"train": 12_271, "test": 3_068}
    assert Rafdb().expected(Wanted(split="test", classes=CLASSES)) == 3_068
    assert Rafdb().expected(Wanted(split="test", classes=("fear", "anger"))) == 74 + 162
    assert Rafdb().expected(Wanted()) == 15_339


@pytest.mark.parametrize("inside", ["", "basic"])
def test_official_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    small(monkeypatch)
    write_rafdb(tmp_path, LABELS, original=True)
    index = Rafdb().index(tmp_path / inside)
    assert index.findings == ()
    labels = index.labels["expression"]
    assert labels.names == ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    assert index.split.tolist() == ["test"] * 3 + ["train"] * 7
    assert labels.values.tolist() == [6, 3, 0, 0, 1, 2, 3, 4, 5, 6]
    assert index.file[0].endswith("Image/aligned/test_0001_aligned.jpg")
    assert index.file[3].endswith("Image/aligned/train_00001_aligned.jpg")
    original = Rafdb().index(tmp_path / inside, images="original")
    assert original.file[3].endswith("Image/original/train_00001.jpg")
    assert original.manifest != index.manifest


def test_a_list_of_another_size_is_not_the_owners(tmp_path: Path) -> None:
    index = Rafdb().index(write_rafdb(tmp_path, LABELS))
    findings = found(index, "missing-rows")
    assert [f.count for f in findings] == [12_271 - 7, 3_068 - 3]
    assert "1290/281/717/4772/1982/705/2524" in findings[0].message


def test_the_right_total_with_wrong_classes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    index = Rafdb().index(write_rafdb(tmp_path, {"train": [1, 1, 3, 4, 5, 6, 7], "test": [7, 4, 1]}))
    assert found(index, "unexpected-rows")


def test_missing_images_are_counted(tmp_path: Path) -> None:
    write_rafdb(tmp_path, LABELS)
    for name in ("train_00002_aligned.jpg", "train_00005_aligned.jpg"):
        (tmp_path / "basic" / "Image" / "aligned" / name).unlink()
    index = Rafdb().index(tmp_path)
    (finding,) = found(index, "missing-images")
    assert finding.count == 2
    assert "train_00002, train_00005" in finding.message
    assert index.frame[index.split == "train"].tolist() == [1, 3, 4, 6, 7]
    assert index.labels["expression"].values[index.split == "train"].tolist() == [0, 2, 3, 5, 6]


def test_no_aligned_images(tmp_path: Path) -> None:
    write_rafdb(tmp_path, LABELS)
    (tmp_path / "basic" / "Image" / "aligned").rename(tmp_path / "basic" / "Image" / "original")
    with pytest.raises(DatasetMissingError, match="no aligned images") as caught:
        Rafdb().index(tmp_path)
    assert "images=original" in str(caught.value)


@pytest.mark.parametrize(
    "line", ["train_00008.jpg", "train_00008.jpg 5x", "train_00008 5", "train_0000", "valid_1.jpg 4"]
)
def test_a_damaged_list_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    write_rafdb(tmp_path, LABELS)
    with (tmp_path / LIST).open("a") as file:
        file.write(line)
    with pytest.raises(DatasetError, match=r"list_patition_label\.txt:11"):
        Rafdb().index(tmp_path)


def test_a_list_that_counts_classes_from_0_is_refused(tmp_path: Path) -> None:
    write_rafdb(tmp_path, LABELS)
    text = (tmp_path / LIST).read_text().replace("train_00003.jpg 3", "train_00003.jpg 0")
    (tmp_path / LIST).write_text(text)
    with pytest.raises(DatasetError, match="label 0; the owners count classes from 1"):
        Rafdb().index(tmp_path)


@pytest.mark.parametrize("label", ["8", "-1", "77"])
def test_a_label_that_is_no_class(tmp_path: Path, label: str) -> None:
    write_rafdb(tmp_path, LABELS)
    text = (tmp_path / LIST).read_text().replace("train_00003.jpg 3", f"train_00003.jpg {label}")
    (tmp_path / LIST).write_text(text)
    index = Rafdb().index(tmp_path)
    assert index.labels["expression"].values[index.frame == 3].tolist()[-1] == -1
    assert ":3" in found(index, "value-out-of-range")[0].message


def test_an_image_listed_twice(tmp_path: Path) -> None:
    write_rafdb(tmp_path, LABELS)
    with (tmp_path / LIST).open("a") as file:
        file.write("train_00001.jpg 1\ntrain_00002.jpg 5\n")
    index = Rafdb().index(tmp_path)
    train = index.labels["expression"].values[index.split == "train"]
    assert train.tolist() == [0, -1, 2, 3, 4, 5, 6]
    assert len(found(index, "duplicate-image")) == 2


def repackaged(root: Path, inside: str = "DATASET") -> Path:
    for split, labels in LABELS.items():
        rows = ["image,label"]
        for number, label in enumerate(labels, 1):
            name = f"{split}_{number:0{5 if split == 'train' else 4}d}_aligned.jpg"
            folder = root / inside / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
            rows.append(f"{name},{label}")
        (root / f"{split}_labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize("inside", ["DATASET", ""])
def test_repackaged_copies_are_read_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    small(monkeypatch)
    index = Rafdb().index(repackaged(tmp_path, inside))
    assert [(f.severity, f.code) for f in index.findings] == [("warning", "repackaged")]
    assert index.labels["expression"].values.tolist() == [6, 3, 0, 0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(DatasetMissingError, match="no original images"):
        Rafdb().index(tmp_path, images="original")


def test_a_repackaging_whose_table_contradicts_its_folders(tmp_path: Path) -> None:
    repackaged(tmp_path)
    table = tmp_path / "train_labels.csv"
    table.write_text(table.read_text().replace("train_00003_aligned.jpg,3", "train_00003_aligned.jpg,4"))
    with pytest.raises(DatasetError, match="has label 4 and lies in the folder of class 3"):
        Rafdb().index(tmp_path)


def test_an_image_in_two_class_folders_is_not_labelled(tmp_path: Path) -> None:
    repackaged(tmp_path)
    (tmp_path / "DATASET" / "train" / "7" / "train_00003_aligned.jpg").write_bytes(b"x")
    (tmp_path / "train_labels.csv").unlink()
    index = Rafdb().index(tmp_path)
    assert index.labels["expression"].values[(index.split == "train") & (index.frame == 3)].tolist() == [-1]


def test_not_rafdb(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DatasetMissingError, match="list_patition_label"):
        Rafdb().index(tmp_path)
    write_rafdb(tmp_path, LABELS)
    (tmp_path / LIST).write_text("")
    with pytest.raises(DatasetMissingError):
        Rafdb().index(tmp_path)


ROW = st.one_of(
    st.builds(
        "{}_{}.jpg {}".format,
        st.sampled_from(["train", "test"]),
        st.sampled_from(["00001", "0002", "3"]),
        st.integers(-2, 9),
    ),
    st.text(max_size=20),
)  # fmt: skip


@given(st.lists(ROW, max_size=12))
def test_no_wrong_label_in_silence(lines: list[str]) -> None:
    content = "\n".join(lines).encode("utf-8", "replace")
    audit = Audit()
    rows = read_list(content, "list", audit)
    stated: dict[tuple[str, int], set[int]] = {}
    for line in content.splitlines():
        if match := re.fullmatch(rb"(train|test)_(\d{1,6})\.\w{3,4}[ \t]+(-?\d{1,6})[ \t]*", line):
            stated.setdefault((match[1].decode(), int(match[2])), set()).add(int(match[3]))
        elif line.strip():
            assert any(f.code == "damaged-label-file" for f in audit.findings)
    assert {(s, n) for s in rows for n in rows[s]} == set(stated)
    for (split, number), values in stated.items():
        good = len(values) == 1 and 1 <= min(values) <= 7
        assert rows[split][number] == (min(values) if good else 0)
        assert good or audit.findings


def test_label_order_is_rafs() -> None:
    assert np.array(CLASSES)[np.array([1, 2, 3, 4, 5, 6, 7]) - 1].tolist() == list(CLASSES)
    assert CLASSES[4 - 1] == "happiness"
    assert CLASSES[7 - 1] == "neutral"
