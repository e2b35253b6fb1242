"""FER2013 and FER+: pictures in a table, ten votes a row, and two rules that make votes a label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.datasets import load_index
from zoo.datasets.base import Finding, Index, pictures
from zoo.datasets.fer2013 import COUNTS, PLUS_CLASSES, SPLITS, USAGES, VOTES, Fer2013, FerPlus, decide, read_votes
from zoo.datasets.pixels import PixelTable
from zoo.datasets.reader import Audit, Wanted
from zoo.errors import DatasetError, DatasetMissingError, ImageError, UsageError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, completeness

FACES = ((0, "Training"), (3, "Training"), (6, "PublicTest"), (2, "PrivateTest"), (5, "PrivateTest"))
VOTE_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48)).astype(np.uint8)


def write_faces(root: Path, faces: Sequence[tuple[int, str]] = FACES, *, quoted: bool = False) -> Path:
    q = '"' if quoted else ""
    lines = ["emotion,pixels,Usage"]
    lines += [f"{e},{q}{' '.join(map(str, pixels(i).ravel()))}{q},{u}" for i, (e, u) in enumerate(faces)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "fer2013.csv").write_text("\n".join(lines) + "\n")
    return root


def write_votes(
    root: Path, votes: Sequence[Sequence[int]], usages: Sequence[str] | None = None, unnamed: int = -1
) -> Path:
    lines = [VOTE_HEADER]
    for i, (row, usage) in enumerate(zip(votes, usages or [u for _, u in FACES], strict=True)):
        name = "" if i == unnamed else f"fer{i:07d}.png"
        lines.append(",".join([usage, name, *map(str, row)]))
    (root / "fer2013new.csv").write_text("\n".join(lines) + "\n")
    return root


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


def test_counts() -> None:
    assert sum(COUNTS) == sum(SPLITS.values()) == 35_887
    assert Fer2013().expected(Wanted(split="test")) == 3_589
    assert FerPlus().expected(Wanted(split="test", options={"rule": "majority"})) == 3_153
    assert FerPlus().expected(Wanted(split="test", options={"rule": "argmax"})) == 3_546


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("inside", ["", "fer2013"])
def test_faces(tmp_path: Path, quoted: bool, inside: str) -> None:
    write_faces(tmp_path / inside, quoted=quoted)
    index = Fer2013().index(tmp_path)
    assert index.split.tolist() == ["train", "train", "validation", "test", "test"]
    names = index.labels["expression"].names
    assert [names[v] for v in index.labels["expression"].values] == [
        "anger",
        "happiness",
        "neutral",
        "fear",
        "surprise",
    ]
    assert index.position.tolist() == [0, 1, 2, 3, 4]
    assert (assign_folds(load_protocol("fer2013-expression"), index) == [-1, -1, -1, 0, 0]).all()
    assert {f.code for f in index.findings} == {"missing-rows"}


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 4], [4, 1, 1, 0]])
def test_pictures_come_out_of_the_table(tmp_path: Path, order: list[int]) -> None:
    index = load_index("fer2013", write_faces(tmp_path))
    for picture, row in zip(pictures(index, order), order, strict=True):
        assert picture.problem is None
        assert picture.image is not None
        np.testing.assert_array_equal(picture.image, np.repeat(pixels(row)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("text", ["1 2 3", "256 " * 2304, "", "x " * 2304])
def test_a_picture_that_is_none_is_a_problem_and_no_gap(tmp_path: Path, text: str) -> None:
    write_faces(tmp_path)
    file = tmp_path / "fer2013.csv"
    lines = file.read_text().splitlines()
    lines[2] = f"3,{text.strip()},Training"
    file.write_text("\n".join(lines))
    if text.replace(" ", "").isdigit():
        index = Fer2013().index(tmp_path)
        got = list(pictures(index, range(5)))
        assert [p.image is None for p in got] == [False, True, False, False, False]
        assert "row 1" in (got[1].problem or "")
        assert bool(found(index, "damaged-image")) == (text == "1 2 3")
    else:
        with pytest.raises(DatasetError, match=r"fer2013\.csv:3"):
            Fer2013().index(tmp_path)


def test_rows_past_the_end(tmp_path: Path) -> None:
    table = PixelTable(write_faces(tmp_path) / "fer2013.csv")
    with pytest.raises(ImageError, match="no row 9"):
        table.read(9)
    table.close()


@pytest.mark.parametrize("tail", ["3,1 2 3", "3", "3,1 2 3,Test", "<html>"])
def test_a_cut_table_is_an_error_with_its_line(tmp_path: Path, tail: str) -> None:
    with (write_faces(tmp_path) / "fer2013.csv").open("a") as file:
        file.write(tail)
    with pytest.raises(DatasetError, match=r"fer2013\.csv:7"):
        Fer2013().index(tmp_path)


def test_an_emotion_that_is_none(tmp_path: Path) -> None:
    index = Fer2013().index(write_faces(tmp_path, [(7, "PrivateTest"), (-1, "PrivateTest"), (0, "PrivateTest")]))
    assert index.labels["expression"].values.tolist() == [-1, -1, 0]
    assert len(found(index, "value-out-of-range")) == 2


# -- FER+


def reference_majority(row: Sequence[int]) -> int:
    """ferplus.py's majority mode, written out: single votes dropped, more than half of what is left."""
    kept = [0 if v <= 1 else v for v in row]
    best = max(kept)
    place = kept.index(best)
    return place if best > 0.5 * sum(kept) and place < 8 else -1


@given(st.lists(st.lists(st.integers(0, 10), min_size=10, max_size=10), min_size=1, max_size=20))
def test_the_majority_rule(votes: list[list[int]]) -> None:
    assert decide(np.array(votes), "majority").tolist() == [reference_majority(v) for v in votes]


def test_the_two_rules_differ() -> None:
    votes = np.array([
        [6, 0, 0, 3, 1, 0, 0, 0, 0, 0],  # neutral under both
        [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],  # most voted, but not more than half
        [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # a tie: the first one, or none
        [3, 1, 1, 1, 1, 1, 1, 1, 0, 0],  # three of three once the single votes are gone
        [0, 0, 0, 0, 0, 0, 0, 0, 10, 0],  # unknown
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # no face
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0] * 10,
    ])  # fmt: skip
    assert decide(votes, "majority").tolist() == [0, -1, -1, 0, -1, -1, -1, -1]
    assert decide(votes, "argmax").tolist() == [0, 0, 0, 0, -1, -1, 0, -1]


GOOD_VOTES = [
    [10, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 9, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 8, 2, 0],
    [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
]


def test_labels_join_pictures_by_row(tmp_path: Path) -> None:
    write_votes(write_faces(tmp_path), GOOD_VOTES)
    index = FerPlus().index(tmp_path)
    names = index.labels["expression"].names
    assert names == PLUS_CLASSES == VOTES[:8]
    assert index.labels["expression"].values.tolist() == [0, 1, 7, -1, -1]
    assert found(index, "votes")[0].count == 1
    assert found(index, "not-labelled")[0].count == 2
    other = FerPlus().index(tmp_path, rule="argmax")
    assert other.labels["expression"].values.tolist() == [0, 1, 7, 0, -1]
    assert other.identities == index.identities == "fer2013"
    assert assign_folds(load_protocol("ferplus-expression-argmax"), other).tolist() == [-1, -1, -1, 0, -1]
    with pytest.raises(UsageError, match="rule=argmax"):
        assign_folds(load_protocol("ferplus-expression-argmax"), index)
    assert completeness(load_protocol("ferplus-expression-argmax"), other) == (False, 3_546)


def test_rows_without_an_image_name_are_dropped(tmp_path: Path) -> None:
    index = FerPlus().index(write_votes(write_faces(tmp_path), GOOD_VOTES, unnamed=0))
    assert index.labels["expression"].values.tolist()[:2] == [-1, 1]


def test_files_of_different_order_are_refused(tmp_path: Path) -> None:
    write_votes(write_faces(tmp_path), GOOD_VOTES, ["Training", "PublicTest", "Training", "PrivateTest", "PrivateTest"])
    with pytest.raises(DatasetError, match="not of one order"):
        FerPlus().index(tmp_path)
    write_votes(tmp_path, GOOD_VOTES[:3], ["Training", "Training", "PublicTest"])
    with pytest.raises(DatasetError, match="3 rows and 5"):
        FerPlus().index(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match=r"fer2013\.csv"):
        Fer2013().index(tmp_path)
    with pytest.raises(DatasetMissingError, match=r"fer2013new\.csv"):
        FerPlus().index(write_faces(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    with pytest.raises(DatasetMissingError, match="labels only"):
        FerPlus().index(write_votes(tmp_path / "b", GOOD_VOTES))


@pytest.mark.parametrize("line", ["Training,x.png,1,2", "Training,x.png,a,0,0,0,0,0,0,0,0,0", "Test,x.png" + ",1" * 10])
def test_a_damaged_vote_table(line: str) -> None:
    audit = Audit()
    read_votes(f"{VOTE_HEADER}\n{line}\n".encode(), "f.csv", audit)
    assert audit.findings[0].message.startswith("f.csv:2")
    audit = Audit()
    read_votes(b"a,b\n", "f.csv", audit)
    assert audit.findings[0].message.startswith("f.csv:1")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    audit = Audit()
    votes, split, named = read_votes(content, "f.csv", audit)
    assert len(votes) == len(split) == len(named)
    votes, split, named = read_votes(VOTE_HEADER.encode() + b"\n" + content, "f.csv", audit)
    assert len(votes) == len(split) == len(named)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.builds(
                "{},{},{}".format,
                st.integers(-2, 9),
                st.sampled_from(["1 2", "x", ""]),
                st.sampled_from(sorted(USAGES)),
            ),
            st.text(max_size=20),
        ),
        max_size=6,
    )
)
def test_any_table_of_pictures_is_read_or_refused(tmp_path: Path, lines: list[str]) -> None:
    write_faces(tmp_path)
    with (tmp_path / "fer2013.csv").open("ab") as file:
        file.write("\n".join(lines).encode("utf-8", "surrogatepass"))
    index = Fer2013().inspect(tmp_path)
    assert index.labels["expression"].values[: len(FACES)].tolist() == [e for e, _ in FACES]
    assert set(index.labels["expression"].values.tolist()) <= set(range(-1, 7))
    assert set(index.split.tolist()) <= set(SPLITS)
    if not any(f.severity == "error" for f in index.findings):
        added = "\n".join(lines).encode("utf-8", "replace").split(b"\n")
        assert len(index) == len(FACES) + sum(bool(line.strip()) for line in added)
