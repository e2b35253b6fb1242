"""BP4D and BP4D+: header-named columns, padding that differs by sequence, the value 9, copies in several shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.datasets.base import Finding, Index
from zoo.datasets.bp4d import (
    CODED_AUS,
    FRAMES,
    INTENSITY_AUS,
    JAA_LEFT_OUT,
    Bp4d,
    Bp4dPlus,
    read_occurrence,
)  # fmt: skip
from zoo.datasets.bp4d_ranges import RANGES
from zoo.datasets.reader import Audit, Wanted
from zoo.errors import DatasetError, DatasetMissingError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, completeness, truth

HEADER = (0, *range(1, 100))
PLUS_HEADER = (0, 1, 2, 4, 5, 6, 7, *range(9, 21), 22, 23, 24, *range(27, 40))


def code(frame: int, au: int) -> int:
    return (frame * 7 + au * au) % 2


def grade(frame: int, au: int) -> int:
    return (frame + au) % 6


def occurrence_text(frames: Sequence[int], header: Sequence[int] = HEADER) -> str:
    known = set(CODED_AUS) | set(PLUS_HEADER)
    lines = [",".join(map(str, header))]
    for f in frames:
        lines.append(",".join([str(f), *(str(code(f, a) if a in known else 9) for a in header[1:])]))
    return "\n".join(lines) + "\n"


def write(
    root: Path, sequences: dict[tuple[str, str], range], *, images: str = "", coding: str = "AUCoding/AU_OCC",
    intensity: str = "AUCoding/AU_INT", header: Sequence[int] = HEADER,
) -> Path:  # fmt: skip
    for number, ((subject, task), frames) in enumerate(sequences.items()):
        (root / coding).mkdir(parents=True, exist_ok=True)
        (root / coding / f"{subject}_{task}.csv").write_text(occurrence_text(frames, header))
        for au in INTENSITY_AUS if intensity else ():
            folder = root / intensity / f"AU{au:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            rows = "".join(f"{f},{grade(f, au)}\n" for f in frames)
            (folder / f"{subject}_{task}_AU{au:02d}.csv").write_text(rows)
        folder = root / images / subject / task
        folder.mkdir(parents=True, exist_ok=True)
        for f in range(max(1, frames[0] - 2), frames[-1] + 3):  # there are images outside the coded stretch
            (folder / f"{f:0{3 + number % 2}d}.jpg").write_bytes(b"x")
    return root


SMALL = {("F001", "T1"): range(5, 11), ("F001", "T2"): range(1, 4), ("M003", "T8"): range(998, 1003)}


def found(index: Index, name: str) -> list[Finding]:
    return [f for f in index.findings if f.code == name]


def test_counts_are_those_of_the_published_lists() -> None:
    assert len(FRAMES) == 41
    assert sum(FRAMES.values()) == 146_847
    protocol = load_protocol("bp4d-occurrence-3fold")
    reader = Bp4d()
    for frames, counts in (("all", (50_631, 50_182, 46_034)), ("jaa", (50_601, 50_166, 45_809))):
        got = [reader.expected(Wanted(frames=frames, subjects=f.test)) for f in protocol.folds]
        assert tuple(got) == counts
    assert sorted(protocol.subjects) == sorted(FRAMES)


@pytest.mark.parametrize("images", ["", "BP4D-training", "Sequences(2D+3D)", "release/BP4D-training"])
@pytest.mark.parametrize("coding", ["AUCoding/AU_OCC", "AUCoding", "AUCoding/AUCoding", "AU_OCC"])
@pytest.mark.parametrize("intensity", ["AUCoding/AU_INT", "AU Intensity Codes3.0", "AU-Intensity-Codes3.0", ""])
def test_copies_in_many_shapes(tmp_path: Path, images: str, coding: str, intensity: str) -> None:
    index = Bp4d().index(write(tmp_path, SMALL, images=images, coding=coding, intensity=intensity))
    assert index.frame.tolist() == [5, 6, 7, 8, 9, 10, 1, 2, 3, 998, 999, 1000, 1001, 1002]
    assert index.sequence[[0, 6, 9]].tolist() == ["T1", "T2", "T8"]
    occurrence = index.labels["au-occurrence"]
    assert occurrence.values.tolist() == [[code(f, a) for a in CODED_AUS] for f in index.frame.tolist()]
    assert occurrence.names[CODED_AUS.index(6)] == "AU06"
    graded = index.labels["au-intensity"].values
    if intensity:
        assert graded.tolist() == [[grade(f, a) for a in INTENSITY_AUS] for f in index.frame.tolist()]
    else:
        assert np.isnan(graded).all()
    assert index.file[0].endswith("F001/T1/005.jpg")
    assert index.file[6].endswith("F001/T2/0001.jpg")
    assert index.file[-1].endswith("M003/T8/1002.jpg")


def test_columns_are_found_by_the_header(tmp_path: Path) -> None:
    swapped = [0, *reversed(range(1, 100))]
    index = Bp4d().index(write(tmp_path, SMALL, header=swapped))
    assert index.labels["au-occurrence"].values[0].tolist() == [code(5, a) for a in CODED_AUS]


def test_bp4d_plus_skips_numbers(tmp_path: Path) -> None:
    sequences = {("F001", "T1"): range(3, 9), ("M058", "T8"): range(1, 5)}
    index = Bp4dPlus().index(write(tmp_path, sequences, images="2D+3D", header=PLUS_HEADER))
    assert len(PLUS_HEADER) == 35
    values = index.labels["au-occurrence"]
    assert "AU08" not in values.names
    assert "AU25" not in values.names
    assert values.values[0].tolist() == [code(3, int(n[2:])) for n in values.names]
    assert index.identities == "bp4dplus"  # its F001 is not BP4D's F001


def test_nine_is_not_coded(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    file = tmp_path / "AUCoding" / "AU_OCC" / "F001_T2.csv"
    lines = file.read_text().splitlines()
    cells = lines[2].split(",")
    cells[12] = "9"
    lines[2] = ",".join(cells)
    file.write_text("\n".join(lines))
    graded = tmp_path / "AUCoding" / "AU_INT" / "AU12" / "F001_T2_AU12.csv"
    graded.write_text("1,0\n2,9\n3,5\n")
    index = Bp4d().index(tmp_path)
    row = (index.sequence == "T2") & (index.frame == 2)
    assert np.isnan(index.labels["au-occurrence"].values[row, CODED_AUS.index(12)]).all()
    assert np.isnan(index.labels["au-intensity"].values[row, INTENSITY_AUS.index(12)]).all()
    assert found(index, "not-coded")[0].count == 1
    assert not found(index, "value-out-of-range")
    # It is left out of AU12 and stays in for the other AUs.
    protocol = load_protocol("bp4d-occurrence-3fold")
    assert (assign_folds(protocol, index) >= 0).all()
    assert np.isnan(truth(protocol, index)).sum() == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t[: len(t) - 60], r"F001_T2\.csv:4"),
        (lambda t: t.replace("\n2,", "\nx,"), r"F001_T2\.csv:3"),
        (lambda t: t.split("\n", 1)[1], "not a header of AU numbers"),
        (lambda t: "", "the file is empty"),
        (lambda t: t.replace("0,1,2,3", "0,1,2,2"), "two columns"),
        (lambda t: t + t.splitlines()[-1] + "\n", "has two rows"),
        (lambda t: t.replace("\n1,", "\n0,"), "count from 1"),
        (lambda t: t.replace("\n2,", "\n2,-1,"), r"F001_T2\.csv:3"),
    ],
)
def test_damage_is_an_error_with_file_and_line(tmp_path: Path, edit: object, message: str) -> None:
    write(tmp_path, SMALL)
    file = tmp_path / "AUCoding" / "AU_OCC" / "F001_T2.csv"
    file.write_text(edit(file.read_text()))  # type: ignore[operator]
    with pytest.raises(DatasetError, match=message):
        Bp4d().index(tmp_path)


def test_a_value_that_is_no_code_is_counted(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    file = tmp_path / "AUCoding" / "AU_OCC" / "F001_T2.csv"
    file.write_text(file.read_text().replace("\n2,0,", "\n2,5,").replace("\n2,1,", "\n2,5,"))
    index = Bp4d().index(tmp_path)
    (finding,) = found(index, "value-out-of-range")
    assert "5 for AU 1 at frame 2" in finding.message
    assert np.isnan(index.labels["au-occurrence"].values[(index.sequence == "T2") & (index.frame == 2), 0]).all()


def test_gaps_and_missing_pieces_are_reported(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    file = tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv"
    file.write_text("".join(x for x in file.read_text().splitlines(keepends=True) if not x.startswith("7,")))
    (tmp_path / "F001" / "T2" / "0002.jpg").unlink()
    (tmp_path / "AUCoding" / "AU_OCC" / "M003_T8.csv").unlink()
    index = Bp4d().index(tmp_path)
    assert any("1 frames within its coded stretch" in f.message for f in found(index, "missing-labels"))
    assert any("F001/T2" in f.message and f.count == 1 for f in found(index, "missing-images"))
    assert any("M003_T8: intensity, but no occurrence" in f.message for f in found(index, "missing-label-file"))
    assert found(index, "label-rows-differ")
    assert index.frame[index.sequence == "T2"].tolist() == [1, 3]
    subjects = found(index, "missing-subject")[0]
    assert subjects.count == 39
    assert completeness(load_protocol("bp4d-occurrence-3fold"), index) == (False, 146_847)


def test_duplicate_label_files(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    (tmp_path / "AUCoding" / "F001_T1.csv").write_text(occurrence_text([5]))
    with pytest.raises(DatasetError, match="the same sequence as"):
        Bp4d().index(tmp_path)


def test_roots_that_are_not_bp4d(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="AU_OCC"):
        Bp4d().index(tmp_path)
    write(tmp_path, SMALL)
    for subject in ("F001", "M003"):
        (tmp_path / subject).rename(tmp_path / f"x{subject}")
    with pytest.raises(DatasetMissingError, match="labels and no images"):
        Bp4d().index(tmp_path)


def test_jaa_frames(tmp_path: Path) -> None:
    index = Bp4d().index(write(tmp_path, {("M003", "T5"): range(840, 850), ("M003", "T4"): range(840, 850)}))
    keep = Bp4d().frame_set(index, "jaa")
    assert index.frame[~keep].tolist() == [844, 845]
    assert set(index.sequence[~keep].tolist()) == {"T5"}


CELL = st.one_of(st.integers(0, 12).map(str), st.sampled_from(["", "-1", "1.0", "x", "9" * 12, " 1 "]))


@given(st.lists(st.lists(CELL, min_size=1, max_size=4).map(",".join), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_no_wrong_code_in_silence(rows: list[str], end: str) -> None:
    content = end.join(["0,1,2,4", *rows]).encode()
    audit = Audit()
    coded = read_occurrence(content, "f.csv", audit, (1, 2, 4), (1, 2, 4))
    stated: dict[int, list[list[str]]] = {}
    for row in rows:
        cells = [c.strip() for c in row.split(",")]
        if len(cells) == 4 and all(c.isdigit() and len(c) < 10 for c in cells):
            stated.setdefault(int(cells[0]), []).append(cells[1:])
        elif row.strip():
            assert any(f.severity == "error" for f in audit.findings)
    for frame, values in zip(coded.frame.tolist(), coded.values.tolist(), strict=True):
        assert frame > 0
        for place, value in enumerate(values):
            texts = [r[place] for r in stated[frame]]
            assert np.isnan(value) or str(int(value)) in texts
            if len(texts) == 1 and texts[0] in ("0", "1"):
                assert value == int(texts[0])
            elif len(texts) > 1:
                assert any(f.code == "duplicate-frame" for f in audit.findings)
            elif texts[0] != "9":
                assert any(f.code == "value-out-of-range" for f in audit.findings)


def test_a_nine_in_the_intensities_does_not_make_a_copy_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = {(s, f"T{t}"): range(1, 3) for s in FRAMES for t in range(1, 9)}
    monkeypatch.setattr(Bp4d, "frames", dict.fromkeys(FRAMES, 16))
    monkeypatch.setattr(Bp4d, "ranges", {})
    write(tmp_path, sequences)
    file = tmp_path / "AUCoding" / "AU_INT" / "AU06" / "F001_T1_AU06.csv"
    file.write_text("1,9\n2,3\n")
    intensity, occurrence = load_protocol("bp4d-intensity-3part"), load_protocol("bp4d-occurrence-3fold")
    index = Bp4d().index(tmp_path)
    assert not index.findings
    assert completeness(intensity, index) == (True, None)
    assert completeness(occurrence, index) == (True, 656)
    file.unlink()
    lacking = Bp4d().index(tmp_path)
    assert [f.message for f in lacking.findings] == [
        "AU 6: no intensity codes of F001_T1; intensity is scored without them"
    ]
    assert completeness(intensity, lacking) == (False, None)
    assert completeness(occurrence, lacking) == (True, 656)


def test_coded_stretches_are_those_of_the_published_lists() -> None:
    assert len(RANGES) == 328
    lengths = {key: last - first + 1 for key, (first, last) in RANGES.items()}
    by_task = [sum(n for (_, t), n in lengths.items() if t == f"T{k}") for k in range(1, 9)]
    assert by_task == [20_074, 20_837, 12_821, 20_208, 20_795, 19_553, 20_339, 12_220]
    assert (min(lengths.values()), max(lengths.values())) == (90, 768)
    assert sum(first == 1 for first, _ in RANGES.values()) == 118
    assert max(last for _, last in RANGES.values()) == 2992
    outside = [(key, r) for key, ranges in JAA_LEFT_OUT.items() for r in ranges if not RANGES[key][0] <= r[0]]
    assert not outside


def test_the_labels_of_another_sequence_are_seen(tmp_path: Path) -> None:
    first, last = RANGES["M005", "T8"]
    write(tmp_path, {("M005", "T8"): range(first, last + 1), ("M005", "T7"): range(1, 4)})
    (finding,) = found(Bp4d().index(tmp_path), "unexpected-labels")
    assert finding.message.startswith("M005_T7: other frames are coded than in other copies (of M005_T7 1 to 3 instead")


def test_images_that_are_numbered_from_0_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {("F001", "T1"): range(1, 4)})
    (tmp_path / "F001" / "T1" / "000.jpg").write_bytes(b"x")
    with pytest.raises(DatasetError, match="the owners count frames from 1"):
        Bp4d().index(tmp_path)
