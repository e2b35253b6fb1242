"""AffectNet: lists with boxes, one .npy an annotation, and what must not be taken for a label."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.datasets import load_index
from zoo.datasets.affectnet import CLASSES, COUNTS, AffectNet
from zoo.datasets.base import Finding, Index
from zoo.datasets.reader import Wanted
from zoo.errors import DatasetError, DatasetMissingError, UsageError, ZooError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, completeness, truth

HEADER = [
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
]  # fmt: skip
LANDMARKS = "1.0;2.0;" * 67 + "1.0;2.0"
LISTS = "Manually_Annotated_file_lists"


def row(
    path: str, code: object, valence: object = 0.5, arousal: object = -0.25, box: str = "10,20,100,120"
) -> list[str]:
    return [path, *box.split(","), LANDMARKS, str(code), str(valence), str(arousal)]


def write_list(
    root: Path, rows: Iterable[list[str]], split: str = "validation", *, header: bool = True, where: str = LISTS
) -> Path:
    rows = list(rows)
    (root / where).mkdir(parents=True, exist_ok=True)
    with (root / where / f"{split}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(HEADER)
        writer.writerows(rows)
    for r in rows:
        image = root / "Manually_Annotated_Images" / r[0]
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"x")
    return root


def write_set(root: Path, notes: dict[int, tuple[Any, Any, Any]], name: str = "val_set") -> Path:
    for number, values in notes.items():
        for kind, value in zip(("exp", "val", "aro"), values, strict=True):
            file = root / name / "annotations" / f"{number}_{kind}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.asarray(value))
        (root / name / "images").mkdir(parents=True, exist_ok=True)
        (root / name / "images" / f"{number}.jpg").write_bytes(b"x")
    return root


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


def test_counts() -> None:
    assert [sum(v) for v in COUNTS.values()] == [
        4_000,
        3_999,
        287_651,
        287_651,
    ]  # the list's image that is named twice counts once
    reader = AffectNet()
    seven = tuple(c for c in CLASSES if c != "contempt")
    for form, eight in (("csv", 4_000), ("npy", 3_999)):
        options = {"form": form}
        assert reader.expected(Wanted(split="validation", classes=CLASSES, options=options)) == eight
        assert reader.expected(Wanted(split="validation", classes=seven, options=options)) == 3_500


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("where", [LISTS, "", "Manually_Annotated_Images"])
def test_lists(tmp_path: Path, header: bool, where: str) -> None:
    rows = [row(f"{n}/ab{n}.{s}", n) for n, s in zip(range(11), ["jpg", "JPG", "png", "bmp", "tif"] * 3, strict=False)]
    index = AffectNet().index(write_list(tmp_path, rows, header=header, where=where))
    assert len(index) == 9  # 9 and 10 have no label
    assert index.labels["expression"].values.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, -1]
    assert index.labels["expression"].names[3] == "surprise"
    assert index.labels["valence-arousal"].values[8].tolist() == [0.5, -0.25]
    assert index.box is not None
    assert index.box[0].tolist() == [10, 20, 110, 140]
    assert index.file[0] == "Manually_Annotated_Images/0/ab0.jpg"
    assert index.options == {"splits": "validation", "form": "csv"}
    assert found(index, "not-labelled")[0].count == 2


def test_minus_two_is_not_annotated(tmp_path: Path) -> None:
    rows = [row("a/1.jpg", 1, -2, -2), row("a/2.jpg", 2, 1.5, 0.1), row("a/3.jpg", 3, -1, 1), row("a/4.jpg", 3, "x", 0)]
    index = AffectNet().index(write_list(tmp_path, rows))
    np.testing.assert_array_equal(
        index.labels["valence-arousal"].values,
        np.float32([[np.nan, np.nan], [np.nan, 0.1], [-1, 1], [np.nan, 0]]),
    )
    assert found(index, "value-out-of-range")[0].count == 2


def test_rows_without_a_box_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [row("a/1.jpg", 1, box="NULL,NULL,NULL,NULL"), row("a/2.jpg", 2, box="1,1,-1,5"), row("a/3.jpg", 3)]
    index = AffectNet().index(write_list(tmp_path, rows))
    assert index.file.tolist() == ["Manually_Annotated_Images/a/3.jpg"]
    assert found(index, "no-box")[0].count == 2


def test_missing_and_repeated_images(tmp_path: Path) -> None:
    write_list(tmp_path, [row("a/1.jpg", 1), row("a/2.jpg", 2), row("a/1.jpg", 1)])
    (tmp_path / "Manually_Annotated_Images" / "a" / "2.jpg").unlink()
    index = AffectNet().index(tmp_path)
    assert found(index, "missing-images")[0].message.endswith("a/2.jpg")
    assert found(index, "duplicate-image")[0].count == 1


def test_an_image_that_is_listed_twice_counts_once_and_only_with_labels_that_agree(tmp_path: Path) -> None:
    rows = [row("a/1.jpg", 1, "0.5", "0.5"), row("a/2.jpg", 2, "-2", "-2"), row("a/1.jpg", 1, "0.5", "0.5")]
    rows += [row("a/2.jpg", 3, "-2", "-2"), row("a/3.jpg", 4, "-2", "-2"), row("a/3.jpg", 4, "-2", "-2")]
    index = AffectNet().index(write_list(tmp_path, rows))
    assert [Path(f).name for f in index.file.tolist()] == ["1.jpg", "2.jpg", "3.jpg"]
    assert index.labels["expression"].values.tolist() == [1, -1, 4]
    assert index.labels["valence-arousal"].values[0].tolist() == [0.5, 0.5]
    assert index.box is not None
    assert index.box.shape == (3, 4)
    (finding,) = found(index, "duplicate-image")
    assert (finding.severity, finding.count) == ("warning", 3)


def test_a_list_without_a_row_is_damaged(tmp_path: Path) -> None:
    write_list(tmp_path, [row("a/1.jpg", 1)])
    next(tmp_path.rglob("validation.csv")).write_bytes(b"")
    with pytest.raises(DatasetError, match="there is no row in it"):
        AffectNet().index(tmp_path)


def test_automatic_annotations_are_never_mixed_in(tmp_path: Path) -> None:
    write_list(tmp_path, [row("a/1.jpg", 1)])
    write_list(tmp_path, [row("a/9.jpg", 5)] * 5, where="Automatically_Annotated_file_lists")
    assert len(AffectNet().index(tmp_path)) == 1
    (tmp_path / LISTS / "validation.csv").unlink()
    with pytest.raises(DatasetMissingError):
        AffectNet().index(tmp_path)


def test_training_is_read_when_asked_for(tmp_path: Path) -> None:
    write_list(tmp_path, [row("a/1.jpg", 1)])
    write_list(tmp_path, [row("b/2.jpg", 2), row("b/3.jpg", 2)], "training")
    assert set(load_index("affectnet", tmp_path).split.tolist()) == {"validation"}
    both = load_index("affectnet", tmp_path, splits="all")
    assert both.split.tolist() == ["train", "train", "validation"]
    assert (assign_folds(load_protocol("affectnet-expression-8"), both) >= 0).tolist() == [False, False, True]


@pytest.mark.parametrize(
    "bad", [["a/1.jpg", "1", "1", "5"], row("a/1.jpg", "x"), row("a/1.jpg", 11), row("a/1.jpg", ""), row("../x.jpg", 1)]
)
def test_a_damaged_list_is_an_error_with_its_line(tmp_path: Path, bad: list[str]) -> None:
    write_list(tmp_path, [row("a/0.jpg", 0)])
    with (tmp_path / LISTS / "validation.csv").open("a", newline="") as file:
        csv.writer(file).writerow(bad)
    with pytest.raises(DatasetError, match=r"validation\.csv:3"):
        AffectNet().index(tmp_path)


def test_other_columns_are_an_error(tmp_path: Path) -> None:
    write_list(tmp_path, [row("a/0.jpg", 0)])
    file = tmp_path / LISTS / "validation.csv"
    file.write_text(file.read_text().replace("valence,arousal", "arousal,valence"))
    with pytest.raises(DatasetError, match="the columns are not"):
        AffectNet().index(tmp_path)


# -- npy

FORMS = [
    lambda v: v, lambda v: [v], str, lambda v: [str(v)], np.float64, lambda v: np.bytes_(str(v)),
    lambda v: np.float32([[v]]),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_numbers_in_any_harmless_form(tmp_path: Path, form: Any) -> None:
    write_set(
        tmp_path,
        {17: (form(3), form(0.5), form(-0.25)), 4: (form(8), form(0.0), form(1.0)), 9: (form(7), form(-2), form(-2))},
    )
    index = AffectNet().index(tmp_path)
    assert index.frame.tolist() == [4, 9, 17]
    assert index.labels["expression"].values.tolist() == [-1, 7, 3]
    np.testing.assert_array_equal(
        index.labels["valence-arousal"].values, np.float32([[0, 1], [np.nan] * 2, [0.5, -0.25]])
    )
    assert index.box is None
    assert index.file.tolist() == ["val_set/images/4.jpg", "val_set/images/9.jpg", "val_set/images/17.jpg"]
    assert index.options["form"] == "npy"


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_stored_is_ever_run(tmp_path: Path) -> None:
    write_set(tmp_path / "d", {1: (3, 0.1, 0.1)})
    trap = np.empty((), object)
    trap[()] = Trap(tmp_path / "sprung")
    for content in (None, pickle.dumps(Trap(tmp_path / "sprung"))):
        file = tmp_path / "d" / "val_set" / "annotations" / "1_exp.npy"
        if content is None:
            np.save(file, trap, allow_pickle=True)
        else:
            file.write_bytes(content)
        with pytest.raises(DatasetError, match=r"1_exp\.npy: it is not one number"):
            AffectNet().index(tmp_path / "d")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("value", [np.zeros(3), np.zeros(0), "happy", 1j, np.float64(3.5), np.nan, 11, -1])
def test_what_is_no_expression(tmp_path: Path, value: Any) -> None:
    write_set(tmp_path, {1: (value, 0.1, 0.1), 2: (2, 0.1, 0.1)})
    index = AffectNet().inspect(tmp_path)
    assert index.frame.tolist() == [2]
    assert {f.code for f in index.findings} & {"damaged-label-file", "value-out-of-range"}


@pytest.mark.parametrize("cut", [0, 5, 60, 127])
def test_a_cut_annotation_is_an_error(tmp_path: Path, cut: int) -> None:
    write_set(tmp_path, {1: (3, 0.1, 0.1)})
    file = tmp_path / "val_set" / "annotations" / "1_val.npy"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DatasetError, match=r"1_val\.npy"):
        AffectNet().index(tmp_path)


def test_pairs_that_do_not_match(tmp_path: Path) -> None:
    write_set(tmp_path, {1: (3, 0.1, 0.1), 2: (3, 0.1, 0.1), 3: (3, 0.1, 0.1)})
    (tmp_path / "val_set" / "images" / "2.jpg").unlink()
    (tmp_path / "val_set" / "annotations" / "3_exp.npy").unlink()
    (tmp_path / "val_set" / "annotations" / "1_aro.npy").unlink()
    index = AffectNet().index(tmp_path)
    assert index.frame.tolist() == [1]
    np.testing.assert_array_equal(index.labels["valence-arousal"].values, np.float32([[0.1, np.nan]]))
    assert "2.jpg" in found(index, "missing-images")[0].message
    assert len(found(index, "missing-labels")) == 2


def test_both_distributions_in_one_folder(tmp_path: Path) -> None:
    write_list(tmp_path, [row("a/1.jpg", 1)])
    write_set(tmp_path, {1: (3, 0.1, 0.1), 2: (4, 0.1, 0.1)})
    with pytest.raises(UsageError, match="both distributions"):
        AffectNet().index(tmp_path)
    assert len(AffectNet().index(tmp_path, form="csv")) == 1
    assert len(AffectNet().index(tmp_path, form="npy")) == 2


def test_a_whole_validation_split_is_complete(tmp_path: Path) -> None:
    rows = [row(f"{c}/{i}.jpg", c) for c in range(8) for i in range(500)]
    rows += [row(f"{c}/{i}.jpg", c, -2, -2) for c in (8, 9, 10) for i in range(500)]
    index = AffectNet().index(write_list(tmp_path, rows))
    assert not [f for f in index.findings if f.severity != "note"]
    assert completeness(load_protocol("affectnet-expression-8"), index) == (True, 4_000)
    assert completeness(load_protocol("affectnet-expression-7"), index) == (True, 3_500)
    strict = load_protocol("affectnet-expression-7-strict")
    assert (truth(strict, index) == -1).sum() == 500 + 500
    sample = AffectNet().index(write_list(tmp_path / "s", rows[:400]))
    assert found(sample, "missing-images")
    assert found(sample, "missing-rows")
    assert not completeness(load_protocol("affectnet-expression-8"), sample)[0]


def test_not_affectnet(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="Manually_Annotated_file_lists"):
        AffectNet().index(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda b: b"\x93NUMPY\x01\x00" + b)))
def test_any_annotation_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    write_set(tmp_path, {1: (3, 0.1, 0.1)})
    (tmp_path / "val_set" / "annotations" / "1_exp.npy").write_bytes(content)
    try:
        assert len(AffectNet().index(tmp_path)) <= 1
    except ZooError as error:
        assert "1_exp.npy" in str(error)


CELL = st.one_of(
    st.sampled_from(
        ["a/1.jpg", "../1.jpg", "/etc/hosts", "", "NULL", "0", "7", "8", "11", "-2", "0.5", "nan", "inf", '"']
    ),
    st.text(max_size=6),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(st.lists(CELL, min_size=1, max_size=10).map(",".join), max_size=5))
def test_any_list_is_read_or_refused(tmp_path: Path, lines: list[str]) -> None:
    write_list(tmp_path, [row("a/1.jpg", 1)])
    path = tmp_path / LISTS / "validation.csv"
    path.write_bytes("\n".join([",".join(row("a/1.jpg", 3, 0.5, -0.5)), *lines]).encode("utf-8", "surrogatepass"))
    try:
        index = AffectNet().inspect(tmp_path)
    except ZooError as error:
        assert "validation.csv" in str(error)
        return
    assert set(index.labels["expression"].values.tolist()) <= set(range(-1, 8))
    affect = index.labels["valence-arousal"].values
    assert np.isnan(affect).any() or np.abs(affect).max() <= 1
    assert all(file.startswith("Manually_Annotated_Images/") and ".." not in file for file in index.file.tolist())
    assert np.isfinite(index.box).all()
    assert index.labels["expression"].values[0] == 3
