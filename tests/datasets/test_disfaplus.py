"""DISFA+: header lines, frames from zero, doubled folders, and people who are DISFA's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.datasets.base import Finding, Index
from zoo.datasets.disfa import AUS
from zoo.datasets.disfa import SUBJECTS as DISFA_SUBJECTS
from zoo.datasets.disfaplus import SUBJECTS, DisfaPlus, read_rows
from zoo.datasets.reader import Audit
from zoo.errors import DatasetError, DatasetMissingError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, contamination, truth
from zoo.registry.schema import ModelEntry

TRIALS = ("A1_AU1_TrailNo_1", "Y_HappyDescribed_TrailNo_1")


def value(au: int, frame: int) -> int:
    return (au + frame) % 6


def write(root: Path, subjects: tuple[str, ...] = ("SN001", "SN013"), *, doubled: bool = False) -> Path:
    for subject in subjects:
        place = Path(subject) / subject if doubled else Path(subject)
        for trial in TRIALS:
            labels, images = root / "Labels" / place / trial, root / "Images" / place / trial
            labels.mkdir(parents=True)
            images.mkdir(parents=True)
            for au in AUS:
                rows = "".join(f"{f:03d}.jpg     {value(au, f)}\n" for f in range(4))
                (labels / f"AU{au}.txt").write_text(f"AU{au}\nframe     intensity\n{rows}")
            for f in range(4):
                (images / f"{f:03d}.jpg").write_bytes(b"x")
            (images / "TimeStamp.txt").write_text("0\n")
    return root


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


@pytest.mark.parametrize("doubled", [False, True])
def test_a_small_copy(tmp_path: Path, doubled: bool) -> None:
    index = DisfaPlus().index(write(tmp_path, doubled=doubled))
    assert index.frame.tolist() == [0, 1, 2, 3] * 4
    assert index.subject.tolist() == ["SN001"] * 8 + ["SN013"] * 8
    assert index.sequence[[0, 4]].tolist() == list(TRIALS)
    assert index.labels["au-intensity"].values[:4].tolist() == [[value(a, f) for a in AUS] for f in range(4)]
    assert index.file[1].endswith("A1_AU1_TrailNo_1/001.jpg")
    assert {f.code for f in index.findings} == {"missing-subject", "frame-count"}
    assert found(index, "missing-subject")[0].count == 7


def test_images_that_are_numbered_from_1_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    for image in sorted((tmp_path / "Images" / "SN013" / TRIALS[0]).glob("*.jpg"), reverse=True):
        image.rename(image.with_name(f"{int(image.stem) + 1:03d}.jpg"))
    with pytest.raises(DatasetError, match="numbered 1 to 4 and the labels 0 to 3: every label would be one frame off"):
        DisfaPlus().index(tmp_path)


def test_the_people_are_disfas() -> None:
    assert set(SUBJECTS) < set(DISFA_SUBJECTS)
    assert len(SUBJECTS) == 9


def test_truth_is_binarised_at_two(tmp_path: Path) -> None:
    index = DisfaPlus().index(write(tmp_path))
    protocol = load_protocol("disfaplus-occurrence")
    assert (assign_folds(protocol, index) == 0).all()
    expected = [[float(value(a, f) >= 2) for a in AUS] for f in range(4)]
    assert truth(protocol, index)[:4].tolist() == expected


@pytest.mark.parametrize(
    ("trained", "flag"),
    [
        ({"dataset": "disfa", "subjects": "all"}, "identity_overlap"),
        ({"dataset": "disfa", "subjects": ["SN001", "SN002"]}, "identity_overlap"),
        ({"dataset": "disfa", "subjects": ["SN002", "SN003"]}, "held_out"),
        ({"dataset": "disfa"}, "unknown"),
        ({"dataset": "disfa", "subjects": "all", "use": "selection"}, "selection_only"),
        ({"dataset": "disfaplus", "subjects": "all"}, "in_sample"),
        ({"dataset": "bp4d", "subjects": "all"}, "held_out"),
    ],
)
def test_disfa_models_have_met_these_people(tmp_path: Path, trained: dict[str, object], flag: str) -> None:
    entry = ModelEntry.model_validate({
        "name": "m", "title": "M", "family": "onnx", "tasks": ["au-occurrence"], "architecture": "x",
        "status": "reported-only", "licence": {"name": "MIT", "commercial_use": True}, "trained_on": [trained],
    })  # fmt: skip
    index = DisfaPlus().index(write(tmp_path))
    assert contamination(entry, load_protocol("disfaplus-occurrence"), index, None)[0] == flag


def test_the_other_way_round() -> None:
    from zoo.protocols.rules import _seen

    entry = ModelEntry.model_validate({
        "name": "m", "title": "M", "family": "onnx", "tasks": ["au-occurrence"], "architecture": "x",
        "status": "reported-only", "licence": {"name": "MIT", "commercial_use": True},
        "trained_on": [{"dataset": "disfaplus", "subjects": "all"}],
    })  # fmt: skip
    subject = np.array(DISFA_SUBJECTS)
    n = len(subject)
    text, zero = np.full(n, ""), np.zeros(n, np.int32)
    index = Index("disfa", Path(), "0", "disfa", False, subject, subject, zero, text, text, zero, {})
    protocol = load_protocol("disfa-occurrence-3fold")
    flags = {f.name: _seen(entry, entry.trained_on[0], protocol, index, f.name, None, None)[1] for f in protocol.folds}
    # DISFA+ people by part of DISFA: four, one and four.
    assert {name: (text or "").split(" of ")[0] for name, text in flags.items()} == {
        "part1": "trained on 4", "part2": "trained on 1", "part3": "trained on 4"
    }  # fmt: skip


def test_missing_pieces_are_counted(tmp_path: Path) -> None:
    write(tmp_path)
    trial = tmp_path / "Labels" / "SN001" / TRIALS[0]
    (trial / "AU9.txt").unlink()
    (trial / "AU4.txt").write_text("AU4\nframe intensity\n000.jpg     1\n001.jpg     8\n")
    (tmp_path / "Images" / "SN001" / TRIALS[0] / "002.jpg").unlink()
    (tmp_path / "Images" / "SN013" / TRIALS[1] / "009.jpg").write_bytes(b"x")
    index = DisfaPlus().index(tmp_path)
    assert "AU 9" in found(index, "missing-label-file")[0].message
    assert found(index, "missing-images")[0].count == 1
    assert found(index, "images-without-labels")[0].count == 1
    assert found(index, "value-out-of-range")[0].count == 1
    assert any("AU4.txt: 2 frames" in f.message for f in found(index, "missing-labels"))
    values = index.labels["au-intensity"].values
    assert index.frame[:3].tolist() == [0, 1, 3]
    np.testing.assert_array_equal(values[:3, AUS.index(4)], [1, np.nan, np.nan])


@pytest.mark.parametrize(
    ("tail", "line"), [("014.jpg", 7), ("01", 7), ("014.jpg     x\n", 7), ("a\nb\n014.jpg 1\n", 7)]
)
def test_damage_below_the_header_is_an_error(tmp_path: Path, tail: str, line: int) -> None:
    write(tmp_path)
    with (tmp_path / "Labels" / "SN001" / TRIALS[0] / "AU4.txt").open("a") as file:
        file.write(tail)
    with pytest.raises(DatasetError, match=r"AU4\.txt:7"):
        DisfaPlus().index(tmp_path)


@pytest.mark.parametrize("text", ["", "AU4\nframe intensity\n", "a\nb\nc\n000.jpg 1\n"])
def test_files_without_labels_are_errors(text: str) -> None:
    audit = Audit()
    read_rows(text.encode(), "f", audit)
    assert audit.findings[0].severity == "error"


@pytest.mark.parametrize(
    "text", ["# c\n# d\n000.jpg     3\n", "h\nh\n000.jpg\t3\r\n", "000.jpg     3", "h\n000.JPG 3\n\n"]
)
def test_harmless_forms(text: str) -> None:
    audit = Audit()
    frame, values = read_rows(text.encode(), "f", audit)
    assert (frame.tolist(), values.tolist(), audit.findings) == ([0], [3], [])


def test_not_disfaplus(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="Labels/SN001"):
        DisfaPlus().index(tmp_path)
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Images").mkdir()
    with pytest.raises(DatasetMissingError, match="Labels/SN001"):
        DisfaPlus().index(tmp_path)


@given(st.lists(st.one_of(st.text(max_size=12), st.builds("{}.jpg {}".format, st.integers(0, 20), st.integers(-2, 9)))))
def test_no_wrong_number_in_silence(lines: list[str]) -> None:
    audit = Audit()
    content = "\n".join(lines).encode("utf-8", "replace")
    frame, values = read_rows(content, "f", audit)
    text = content.decode()
    for f, v in zip(frame.tolist(), values.tolist(), strict=True):
        assert f"{f}.jpg" in text or f".jpg {v}" in text
    if len(frame) < sum(".jpg " in x for x in lines):
        assert audit.findings
