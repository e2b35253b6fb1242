"""Rendered trees: rendered once, read by the owners' readers, never taken for real ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.datasets.trees import write_disfa, write_rafdb
from zoo.datasets import check, dataset_root, identities_of, load_index
from zoo.errors import DatasetError, DatasetMissingError


def mark(root: Path, **marker: object) -> Path:
    (root / "SYNTHFACE.json").write_text(json.dumps({"identities": "synthface", "layout": "disfa"} | marker))
    return root


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A renderer that writes tiny trees."""
    calls: list[str] = []

    def generate(layout: str, root: Path) -> None:
        calls.append(layout)
        if layout == "disfa":
            write_disfa(root, ["SN001", "SN003"], 4)
        else:
            write_rafdb(root, {"train": [1, 2], "test": [3]})
        mark(root, layout=layout)

    module = ModuleType("zoo.datasets.synthface")
    module.generate = generate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zoo.datasets.synthface", module)
    return calls


def test_it_is_rendered_once(renderer: list[str]) -> None:
    first = load_index("synthface")
    assert renderer == ["disfa"]
    assert load_index("synthface").manifest == first.manifest
    assert dataset_root("synthface") == first.root
    assert renderer == ["disfa"]
    assert (first.dataset, first.identities, first.synthetic) == ("synthface", "synthface", True)
    assert first.subjects == ["SN001", "SN003"]
    assert not [f for f in first.findings if f.severity != "note"]  # the owners' counts are not asked of it
    assert load_index("synthface-rafdb").labels["expression"].values.tolist() == [2, 0, 1]
    assert renderer == ["disfa", "rafdb"]


def test_a_synthetic_tree_given_as_disfa_is_still_synthetic(tmp_path: Path) -> None:
    index = load_index("disfa", mark(write_disfa(tmp_path, ["SN001"])))
    assert index.synthetic
    assert index.identities == "synthface"
    assert index.dataset == "disfa"
    assert "synthetic" in check("disfa", tmp_path).text()


def test_a_real_tree_given_as_synthetic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="no synthetic faces"):
        load_index("synthface", write_disfa(tmp_path, ["SN001"]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identities": ""}', '{"identities": 3}', "\xff"])
def test_a_marker_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    write_disfa(tmp_path, ["SN001"])
    (tmp_path / "SYNTHFACE.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match="marker"):
        load_index("disfa", tmp_path)


def test_rendered_people_are_nobody_else() -> None:
    assert identities_of("synthface") != identities_of("disfa")
    assert identities_of("some-private-set") == "some-private-set"


def test_a_rendered_tree_is_read_by_the_real_readers(tmp_path: Path) -> None:
    from zoo.datasets.synthface import generate

    generate("disfa", tmp_path / "d", subjects=2, frames=5, size=(96, 96), workers=1, progress=False, pixels="flat")
    index = load_index("synthface", tmp_path / "d")
    assert len(index) == 10
    assert index.subjects == ["SN001", "SN002"]
    assert not [f for f in index.findings if f.severity != "note"]
    assert [index.subject.tolist(), index.frame.tolist()] == [["SN001"] * 5 + ["SN002"] * 5, [1, 2, 3, 4, 5] * 2]
    generate("rafdb", tmp_path / "r", subjects=4, frames=8, workers=1, progress=False, pixels="flat")
    faces = load_index("synthface-rafdb", tmp_path / "r")
    assert set(faces.split.tolist()) == {"train", "test"}
    assert not [f for f in faces.findings if f.severity != "note"]
    assert faces.synthetic


@pytest.mark.parametrize(
    ("layout", "dataset", "options"),
    [
        ("disfaplus", "disfaplus", {}),
        ("bp4d", "bp4d", {}),
        ("affectnet-csv", "affectnet", {"splits": "all"}),
        ("affectnet-npy", "affectnet", {"splits": "all"}),
        ("fer2013", "fer2013", {}),
        ("fer2013", "ferplus", {"rule": "majority"}),
        ("fer2013", "ferplus", {"rule": "argmax"}),
        ("affwild2", "affwild2", {"challenge": "expr"}),
        ("affwild2", "affwild2", {"challenge": "au"}),
        ("affwild2", "affwild2", {"challenge": "va"}),
        ("ckplus", "ckplus", {}),
    ],
)
def test_every_rendered_layout_is_read_without_a_warning(
    tmp_path: Path, layout: str, dataset: str, options: dict[str, str]
) -> None:
    from zoo.datasets.synthface import generate

    people = {"disfaplus": 1, "bp4d": 1}.get(layout, 5)
    generate(layout, tmp_path, subjects=people, frames=6, workers=1, progress=False, pixels="flat")
    index = load_index(dataset, tmp_path, **options)
    assert len(index)
    assert index.synthetic
    assert not [f for f in index.findings if f.severity != "note"]
    assert check(dataset, tmp_path, **options).complete


def test_a_part_of_a_rendered_tree_does_not_pass_for_a_real_copy(tmp_path: Path) -> None:
    """RAF-DB is read from its folder basic/ too, and CK+ from the folder above: both would lose the marker."""
    tree = mark(write_rafdb(tmp_path / "twin", {"train": [1, 2], "test": [3]}), layout="rafdb")
    assert load_index("rafdb", tree).synthetic
    with pytest.raises(DatasetError, match="points into a tree of rendered faces") as caught:
        load_index("rafdb", tree / "basic")
    assert f"root={tree}" in str(caught.value)
    tree.rename(tmp_path / "basic")
    with pytest.raises(DatasetError, match="points above a tree of rendered faces"):
        load_index("fer2013", mark_fer(tmp_path))
    # A real copy beside a rendered tree is real.
    (tmp_path / "fer" / "SYNTHFACE.json").unlink()
    assert not load_index("fer2013", tmp_path).synthetic


def mark_fer(root: Path) -> Path:
    """Writes a rendered FER2013 into a folder below a root, where its reader finds it."""
    pixels = " ".join(["7"] * 2304)
    (root / "fer").mkdir()
    (root / "fer" / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{pixels},PrivateTest\n")
    mark(root / "fer", layout="fer2013")
    return root
