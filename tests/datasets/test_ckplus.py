"""CK+: only the peak is coded, floats in scientific notation, grades that are not given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.datasets.base import Finding, Index
from zoo.datasets.ckplus import CODES, COUNTS, CkPlus, read_emotion, read_facs
from zoo.datasets.reader import Audit, Wanted
from zoo.errors import DatasetError, DatasetMissingError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds
from zoo.registry.labels import AU_NUMBERS


def write(
    root: Path,
    subject: str,
    sequence: str,
    frames: int,
    emotion: str | None = None,
    facs: str | None = "",
    inside: str = "",
) -> Path:
    folder = root / "cohn-kanade-images" / subject / sequence
    folder.mkdir(parents=True)
    for f in range(1, frames + 1):
        (folder / f"{subject}_{sequence}_{f:08d}.png").write_bytes(b"x")
    for kind, text in (("Emotion", emotion), ("FACS", facs)):
        place = root / inside / kind / subject / sequence
        place.mkdir(parents=True)  # the owners ship empty folders
        if text is not None:
            (place / f"{subject}_{sequence}_{frames:08d}_{kind.lower()}.txt").write_text(text)
    return root


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


FACS = "   1.0000000e+00   2.0000000e+00\n   1.2000000e+01   0.0000000e+00\n\n"


def test_counts() -> None:
    assert sum(COUNTS.values()) == 327
    assert len(set(COUNTS.values())) == len(COUNTS)  # so that a whole copy confirms the order of the codes
    assert CkPlus().expected(Wanted(frames="peak", classes=tuple(COUNTS))) == 327


@pytest.mark.parametrize("inside", ["", "labels"])
def test_the_peak_is_coded(tmp_path: Path, inside: str) -> None:
    write(tmp_path, "S005", "001", 11, "   3.0000000e+00\n", FACS, inside)
    write(tmp_path, "S010", "002", 5, None, FACS, inside)
    index = CkPlus().index(tmp_path)
    assert index.frame.tolist() == [1, 9, 10, 11, 1, 3, 4, 5]
    assert index.sequence[0] == "S005_001"
    disgust = CODES.index("disgust")
    assert index.labels["expression"].values.tolist() == [0, disgust, disgust, disgust, -1, -1, -1, -1]
    peak = CkPlus().frame_set(index, "peak")
    assert index.frame[peak].tolist() == [11, 5]
    aus = index.labels["au-occurrence"].values
    assert np.isnan(aus[~peak]).all()
    assert [AU_NUMBERS[i] for i in np.flatnonzero(aus[3])] == [1, 12]  # grade 0 is present, grade not given
    assert assign_folds(load_protocol("ckplus-expression"), index).tolist() == [-1, -1, -1, 0, -1, -1, -1, -1]
    assert assign_folds(load_protocol("ckplus-expression-8"), index).tolist() == [0, 0, 0, 0, -1, -1, -1, -1]
    assert found(index, "missing-sequences")
    assert found(index, "missing-labels")


@pytest.mark.parametrize(("frames", "kept"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4])])
def test_short_sequences(tmp_path: Path, frames: int, kept: list[int]) -> None:
    index = CkPlus().index(write(tmp_path, "S005", "001", frames, "3", FACS))
    assert index.frame.tolist() == kept
    # The first of three frames is one of the last three, and so is no neutral one.
    first = index.labels["expression"].values[0]
    assert first == (CODES.index("neutral") if frames > 3 else CODES.index("disgust") if frames == 1 else -1)


@pytest.mark.parametrize("text", ["", "x", "3 4", "3.0000000e+00\n4", "nan", "-1"])
def test_an_emotion_file_that_is_none(tmp_path: Path, text: str) -> None:
    write(tmp_path, "S005", "001", 5, text, FACS)
    with pytest.raises(DatasetError, match=r"_emotion\.txt"):
        CkPlus().index(tmp_path)


@pytest.mark.parametrize("text", ["8", "3.5", "9.0000000e+01", "1e999"])
def test_a_code_that_is_no_emotion(text: str) -> None:
    audit = Audit()
    assert read_emotion(text.encode(), "f", audit) == -1
    assert audit.findings[0].code == "value-out-of-range"


@pytest.mark.parametrize("text", ["1.0e+00\n", "1.0e+00 2.0e+00 3\n", "x y\n", "1.5e+00 1\n", "1 7\n", "1 -1\n"])
def test_a_damaged_facs_file(text: str) -> None:
    audit = Audit()
    assert np.isnan(read_facs(text.encode(), "f", audit)).all()
    assert audit.findings[0].message.startswith("f:1")


def test_an_unknown_unit_is_reported() -> None:
    audit = Audit()
    values = read_facs(b"63 1\n4 1\n", "f", audit)
    assert values.sum() == 1
    assert "AU 63" in audit.findings[0].message


def test_files_in_the_wrong_place(tmp_path: Path) -> None:
    write(tmp_path, "S005", "001", 5, "3", FACS)
    folder = tmp_path / "Emotion" / "S005" / "001"
    next(folder.iterdir()).rename(folder / "S005_002_00000005_emotion.txt")
    with pytest.raises(DatasetError, match="another sequence"):
        CkPlus().index(tmp_path)
    (folder / "S005_002_00000005_emotion.txt").rename(folder / "S005_001_00000004_emotion.txt")
    assert "frame 4" in found(CkPlus().index(tmp_path), "peak-differs")[0].message


def test_not_ckplus(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="cohn-kanade-images"):
        CkPlus().index(tmp_path)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    audit = Audit()
    assert -1 <= read_emotion(content, "f", audit) < len(CODES)
    values = read_facs(content, "f", audit)
    assert np.isnan(values).all() or set(values.tolist()) <= {0.0, 1.0}
    if content.strip():
        assert audit.findings or values.any() or len(content.split()) <= 2


@pytest.mark.parametrize("content", [b"", b"  \r\n\n"])
def test_an_empty_facs_file_is_not_a_peak_without_units(content: bytes) -> None:
    audit = Audit()
    assert np.isnan(read_facs(content, "f", audit)).all()
    assert [(f.severity, f.code) for f in audit.findings] == [("warning", "missing-labels")]
