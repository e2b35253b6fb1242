"""Aff-Wild2: rows that are frames, crops that are missing, missing codes, and headers that say what the columns are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.datasets.affwild2 import MTL_CLASSES, AffWild2, read_multitask, read_video
from zoo.datasets.base import Finding, Index
from zoo.datasets.reader import Audit
from zoo.errors import DatasetError, DatasetMissingError, UsageError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, readiness, truth

EXPR = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
AU = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
PRESENT = ",".join("1" for _ in range(12))


def crops(root: Path, video: str, frames: range, leave_out: tuple[int, ...] = ()) -> None:
    folder = root / "cropped_aligned" / video
    folder.mkdir(parents=True, exist_ok=True)
    for f in frames:
        if f not in leave_out:
            (folder / f"{f:05d}.jpg").write_bytes(b"x")


def labels(root: Path, challenge: str, split: str, video: str, lines: list[str]) -> None:
    file = root / challenge / split / f"{video}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


@pytest.mark.parametrize("challenge", ["EXPR_Classification_Challenge", "EXPR_Recognition_Challenge", "EXPR_Set"])
@pytest.mark.parametrize("split", ["Validation_Set", "VALIDATION_SET"])
@pytest.mark.parametrize("inside", ["", "Third ABAW Annotations"])
def test_row_k_is_frame_k(tmp_path: Path, challenge: str, split: str, inside: str) -> None:
    labels(tmp_path / inside, challenge, split, "7-60-1920x1080_left", [EXPR, "0", "4", "-1", "6", "7"])
    crops(tmp_path, "7-60-1920x1080_left", range(1, 6), leave_out=(2,))
    index = AffWild2().index(tmp_path)
    assert index.frame.tolist() == [1, 4, 5]
    assert index.file[1] == "cropped_aligned/7-60-1920x1080_left/00004.jpg"
    names = index.labels["expression"].names
    assert [names[v] for v in index.labels["expression"].values] == ["neutral", "surprise", "other"]
    assert index.split.tolist() == ["validation"] * 3
    assert set(index.subject.tolist()) == {"7-60-1920x1080_left"}
    note, count = index.findings
    assert (count.severity, count.code, count.count) == ("warning", "frame-count", 280_532 - 3)
    assert (note.severity, note.code, note.count) == ("note", "no-crop", 1)


def test_a_frame_that_misses_one_value_is_left_out(tmp_path: Path) -> None:
    one_missing = PRESENT[:-1] + "-1"
    labels(tmp_path, "AU_Detection_Challenge", "Train_Set", "v1", [AU, PRESENT, one_missing, PRESENT.replace("1", "0")])
    labels(tmp_path, "VA_Estimation_Challenge", "Train_Set", "v1", ["valence,arousal", "-5,-5", "0.1,-5", "0.25,-1.0"])
    crops(tmp_path, "v1", range(1, 4))
    au = AffWild2().index(tmp_path, challenge="au")
    assert au.frame.tolist() == [1, 3]
    assert au.labels["au-occurrence"].names == tuple(f"AU{n:02d}" for n in (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26))
    assert au.labels["au-occurrence"].values.tolist() == [[1.0] * 12, [0.0] * 12]
    va = AffWild2().index(tmp_path, challenge="va")
    assert va.frame.tolist() == [3]
    assert va.labels["valence-arousal"].values.tolist() == [[0.25, -1.0]]
    assert [f.code for f in (*au.findings, *va.findings)] == ["frame-count"] * 2


def test_headers_decide_the_order(tmp_path: Path) -> None:
    labels(tmp_path, "AU_Set", "Validation_Set", "v", ["AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25", "1,0,0,0,0,0,0,1"])
    labels(tmp_path, "EXPR_Set", "Validation_Set", "v", ["Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise", "6"])
    crops(tmp_path, "v", range(1, 2))
    assert AffWild2().index(tmp_path, challenge="au").labels["au-occurrence"].names[6] == "AU20"
    older = AffWild2().index(tmp_path)
    assert len(older.labels["expression"].names) == 7
    # The seven classes of 2020 and 2021: macro F1 over eight would count 'other' as 0.
    with pytest.raises(DatasetError, match="this copy of affwild2 has no class other"):
        assign_folds(load_protocol("affwild2-expression"), older)
    assert readiness(load_protocol("affwild2-expression"), older).endswith(
        "cannot be run: this copy of affwild2 has no class other"
    )
    protocol = load_protocol("affwild2-occurrence")
    with pytest.raises(DatasetError, match="AU07, AU10"):
        truth(protocol, AffWild2().index(tmp_path, challenge="au"))


def test_protocols_say_which_challenge_they_need(tmp_path: Path) -> None:
    labels(tmp_path, "EXPR_Set", "Validation_Set", "v", [EXPR, "6"])
    crops(tmp_path, "v", range(1, 2))
    index = AffWild2().index(tmp_path)
    assert (assign_folds(load_protocol("affwild2-expression"), index) == 0).all()
    with pytest.raises(UsageError, match="challenge=au"):
        assign_folds(load_protocol("affwild2-occurrence"), index)
    assert "challenge=va" in readiness(load_protocol("affwild2-affect"), index)


@pytest.mark.parametrize(
    ("challenge", "lines", "message"),
    [
        ("expr", [EXPR, "1", "", "2"], ":3"),
        ("expr", [EXPR, "1", "x"], ":3"),
        ("expr", [EXPR, "1,2"], ":2"),
        ("expr", ["valence,arousal", "0.1,0.1"], ":1"),
        ("expr", ["Neutral,Anger", "1"], ":1"),
        ("expr", [], ":1"),
        ("au", [AU, PRESENT, PRESENT[:-3]], ":3"),
        ("au", [AU.replace("AU2", "AU1"), PRESENT], ":1"),
        ("va", ["arousal,valence", "0,0"], ":1"),
        ("va", ["valence,arousal", "0.1,nan"], ":2"),
        ("va", ["valence,arousal", "0.1,"], ":2"),
    ],
)
def test_damage_is_an_error_with_file_and_line(tmp_path: Path, challenge: str, lines: list[str], message: str) -> None:
    folder = {"expr": "EXPR_Set", "au": "AU_Set", "va": "VA_Set"}[challenge]
    labels(tmp_path, folder, "Validation_Set", "v", lines)
    good = {"expr": [EXPR, "1"], "au": [AU, PRESENT], "va": ["valence,arousal", "0,0"]}[challenge]
    labels(tmp_path, folder, "Validation_Set", "w", good)
    for video in "vw":
        crops(tmp_path, video, range(1, 4))
    with pytest.raises(DatasetError, match=rf"v\.txt{message}"):
        AffWild2().index(tmp_path, challenge=challenge)


@pytest.mark.parametrize(
    ("challenge", "header", "line"),
    [("expr", EXPR, "8"), ("expr", EXPR, "-2"), ("expr", EXPR, "1.5"), ("va", "valence,arousal", "1.5,0"),
     ("va", "valence,arousal", "-1,0.5e1"), ("au", AU, PRESENT[:-1] + "2")],
)  # fmt: skip
def test_a_value_out_of_range_is_counted(challenge: str, header: str, line: str) -> None:
    audit = Audit()
    table = read_video(f"{header}\n{line}\n".encode(), "f", audit, challenge)
    assert table is not None
    assert np.isnan(table[1]).all()
    assert [f.code for f in audit.findings] == ["value-out-of-range"]


def test_videos_without_crops(tmp_path: Path) -> None:
    labels(tmp_path, "EXPR_Set", "Validation_Set", "v", [EXPR, "6"])
    labels(tmp_path, "EXPR_Set", "Validation_Set", "w", [EXPR, "6"])
    with pytest.raises(DatasetMissingError, match="cropped_aligned"):
        AffWild2().index(tmp_path)
    crops(tmp_path, "v", range(1, 2))
    index = AffWild2().index(tmp_path)
    assert found(index, "missing-images")[0].message.endswith("w: left out")
    with pytest.raises(DatasetMissingError, match="the au challenge"):
        AffWild2().index(tmp_path, challenge="au")


def test_multitask(tmp_path: Path) -> None:
    header = "image,valence,arousal,expression," + AU
    rows = [
        f"v/00002.jpg,0.5,-0.5,3,{PRESENT}",
        f"v/00001.jpg,-5,-5,-1,{PRESENT}",
        "v/00003.jpg,0.1,0.2,7," + ",".join(["-1"] * 12),
        f"w/00001.jpg,0.1,0.2,7,{PRESENT}",
    ]
    (tmp_path / "MTL_Challenge").mkdir()
    (tmp_path / "MTL_Challenge" / "validation_set.txt").write_text("\n".join([header, *rows]) + "\n")
    crops(tmp_path, "v", range(1, 4))
    index = AffWild2().index(tmp_path, challenge="mtl")
    assert index.frame.tolist() == [1, 2, 3]
    assert index.labels["expression"].values.tolist() == [-1, 3, 7]
    np.testing.assert_array_equal(
        index.labels["valence-arousal"].values, np.float32([[np.nan, np.nan], [0.5, -0.5], [0.1, 0.2]])
    )
    assert np.isnan(index.labels["au-occurrence"].values).all(axis=1).tolist() == [False, False, True]
    assert found(index, "missing-images")[0].count == 1
    scored = {t: int((assign_folds(load_protocol(f"affwild2-mtl-{t}"), index) >= 0).sum())
              for t in ("expression", "occurrence", "affect")}  # fmt: skip
    assert scored == {"expression": 2, "occurrence": 2, "affect": 2}


@pytest.mark.parametrize(
    "line", ["v/00001.jpg,0,0,1", f"../../x.jpg,0,0,1,{PRESENT}", f"a/b/1.jpg,0,0,1,{PRESENT}", "v/1"]
)
def test_damaged_multitask_rows(line: str) -> None:
    audit = Audit()
    read_multitask(f"image,valence,arousal,expression,{AU}\n{line}\n".encode(), "f", audit)
    assert audit.findings[0].severity == "error"
    assert "f:2" in audit.findings[0].message


def test_a_multitask_image_with_two_rows() -> None:
    audit = Audit()
    row = f"v/1.jpg,0,0,1,{PRESENT}"
    read_multitask(f"image,valence,arousal,expression,{AU}\n{row}\n{row}\n".encode(), "f", audit)
    assert audit.findings[0].code == "duplicate-image"


CELL = st.one_of(st.integers(-6, 9).map(str), st.floats(-6, 6).map(lambda v: f"{v:.3f}"), st.text(max_size=4))


@given(st.sampled_from(["expr", "va"]), st.lists(st.lists(CELL, min_size=1, max_size=3).map(",".join), max_size=10))
def test_no_wrong_value_in_silence(challenge: str, rows: list[str]) -> None:
    header = EXPR if challenge == "expr" else "valence,arousal"
    audit = Audit()
    content = "\n".join([header, *rows]).encode("utf-8", "replace")
    table = read_video(content, "f", audit, challenge)
    assert table is not None
    lines = content.splitlines()[1:]
    for line, values in zip(lines, table[1].tolist(), strict=False):
        if np.isnan(values).any():
            cells = line.split(b",")
            missing = any(c.strip() in (b"-1", b"-1.000", b"-5", b"-5.000") for c in cells)
            assert missing or audit.findings or not line.strip()
        else:
            np.testing.assert_allclose(values, [float(c) for c in line.split(b",")], rtol=1e-6)
            assert all(0 <= v < len(MTL_CLASSES) if challenge == "expr" else -1 <= v <= 1 for v in values)


@given(
    st.lists(st.lists(CELL, min_size=1, max_size=16).map(",".join), max_size=6),
    st.sampled_from(["v/00001.jpg", "v/2.png"]),
)
def test_any_multitask_list_is_read_or_refused(rows: list[str], image: str) -> None:
    audit = Audit()
    lines = [f"{image},{row}" for row in rows]
    content = "\n".join([f"image,valence,arousal,expression,{AU}", f"w/1.jpg,0.5,-0.5,3,{PRESENT}", *lines])
    table = read_multitask(content.encode("utf-8", "replace"), "f", audit)
    assert table is not None
    assert (table.video[0], table.expression[0], table.au[0].tolist()) == ("w", 3, [1.0] * 12)
    assert set(table.expression.tolist()) <= set(range(-1, 8))
    assert np.isnan(table.affect).any() or np.abs(table.affect).max() <= 1
    assert set(table.au[~np.isnan(table.au)].tolist()) <= {0.0, 1.0}
    assert len(table.video) == len(rows) + 1 or any(f.severity == "error" for f in audit.findings)


def test_crops_that_are_numbered_from_0_are_refused(tmp_path: Path) -> None:
    labels(tmp_path, "EXPR_Classification_Challenge", "Validation_Set", "v", [EXPR, "0", "1"])
    crops(tmp_path, "v", range(2))
    with pytest.raises(DatasetError, match="the owners count frames from 1"):
        AffWild2().index(tmp_path)
