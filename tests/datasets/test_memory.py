"""Columns that lie in files: what they hold, and that memory does not grow with the frames."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets.test_affectnet import LANDMARKS
from zoo._util import spool as spools
from zoo._util.spool import Spool, by_blocks
from zoo.datasets import cache, load_index
from zoo.datasets.base import Index, Labels
from zoo.datasets.reader import Columns
from zoo.datasets.text import Text, TextSpool
from zoo.errors import ZooError

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def peak_of(work: Callable[[], object]) -> int:
    """Returns the most bytes that Python and numpy held at once for a piece of work; what it made is counted too."""
    tracemalloc.start()
    try:
        made = work()
        peak = tracemalloc.get_traced_memory()[1]
        del made
    finally:
        tracemalloc.stop()
    return peak


def columns(blocks: int, rows: int = 4096) -> Columns:
    """Returns columns with a file name a frame and 12 AUs: 48 bytes of labels and some 30 of a name."""
    made = Columns()
    for block in range(blocks):
        frame = np.arange(1, rows + 1)
        made.add(
            frame=frame, subject=f"S{block:03d}", sequence=f"T{block % 8}", split="test",
            file=[f"S{block:03d}/frames/{n:07d}.jpg" for n in frame],
            labels={"au-intensity": np.full((rows, 12), block % 6, np.float32)},
        )  # fmt: skip
    return made


def index_of(made: Columns, root: Path) -> Index:
    text, labels, box = made.joined()
    names = tuple(f"AU{n:02d}" for n in range(12))
    values = {task: Labels(task, names, v) for task, v in labels.items()}
    return Index("disfa", root, "0", "disfa", False, labels=values, box=box, **text)


def test_columns_of_a_million_frames_would_not_fill_memory() -> None:
    columns(1)  # what is loaded once
    few, many = (peak_of(lambda n=n: columns(n).joined()) for n in (8, 80))
    assert many - few < 72 * 4096 * 2  # less than 2 bytes a frame; the columns are 150 in their files


def test_a_kept_index_is_written_and_read_by_parts(tmp_path: Path) -> None:
    index = {n: index_of(columns(n), tmp_path) for n in (8, 80)}
    paths = {n: tmp_path / f"{n}.parquet" for n in index}
    cache.write(index[8], tmp_path / "warm.parquet")
    cache.read(tmp_path / "warm.parquet", tmp_path)
    written = {n: peak_of(lambda n=n: cache.write(index[n], paths[n])) for n in index}
    read = {n: peak_of(lambda n=n: cache.read(paths[n], tmp_path)) for n in index}
    assert written[80] - written[8] < 72 * 4096 * 2
    assert read[80] - read[8] < 72 * 4096 * 2
    again = cache.read(paths[80], tmp_path)
    assert again is not None and again.file[-1] == "S079/frames/0004096.jpg" and len(again) == 80 * 4096
    for name in ("subject", "sequence", "split", "file"):
        rows = slice(None, None, 97)
        assert getattr(again, name)[rows].tolist() == getattr(index[80], name)[rows].tolist()
    np.testing.assert_array_equal(again.labels["au-intensity"].values, index[80].labels["au-intensity"].values)


def test_a_list_is_not_held_while_it_is_read(tmp_path: Path) -> None:
    """AffectNet's lists have 420,000 rows; of each, only a hash of 8 bytes is held, to find images listed twice."""
    peaks = []
    for rows in (9_000, 36_000):
        root = tmp_path / str(rows)
        images = root / "Manually_Annotated_Images" / "a"
        images.mkdir(parents=True)
        for n in range(rows):
            (images / f"{n}.jpg").write_bytes(b"x")
        folder = root / "Manually_Annotated_file_lists"
        folder.mkdir()
        lines = (f"a/{n}.jpg,1,2,30,40,{LANDMARKS},3,0.5,-0.5" for n in range(rows))
        (folder / "validation.csv").write_text("\n".join([HEADER, *lines]))
        assert len(load_index("affectnet", root, cache=False)) == rows
        peaks.append(peak_of(lambda root=root: load_index("affectnet", root, cache=False)))
    assert (peaks[1] - peaks[0]) / 27_000 < 60  # the names alone take more


texts = st.lists(st.text(st.characters(codec=None), max_size=4), max_size=20)


@given(st.lists(st.one_of(texts, st.tuples(st.text(max_size=4), st.integers(0, 5))), max_size=5), st.data())
def test_text_is_what_a_numpy_column_is(blocks: list[list[str] | tuple[str, int]], data: st.DataObject) -> None:
    spool, plain = TextSpool(), []
    for block in blocks:
        several = [block[0]] * block[1] if isinstance(block, tuple) else block
        spool.append(block[0] if isinstance(block, tuple) else block, len(several))
        plain += several
    text, column = spool.text(), np.array(plain, object)
    assert len(text) == len(plain) and list(text) == text.tolist() == plain
    names, place = text.distinct()
    assert names == sorted(set(plain)) and [names[i] for i in place] == plain
    one = data.draw(st.sampled_from(plain)) if plain else "x"
    assert ((text == one) == [t == one for t in plain]).all() and ((text != one) == [t != one for t in plain]).all()
    assert (text.isin({one, "y"}) == [t in (one, "y") for t in plain]).all()
    rows = np.array(data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=9)) if plain else [], np.int64)
    assert text[rows].tolist() == column[rows].tolist()
    assert text[1:3].tolist() == plain[1:3]
    if plain:
        assert text[-1] == plain[-1] and isinstance(text[np.int64(0)], str)


def test_text_goes_where_numpy_arrays_go() -> None:
    text = Text.of(["b", "", "b", "a"])
    assert Text.of(text) is text
    assert np.asarray(text).tolist() == ["b", "", "b", "a"] and np.asarray(text).dtype == "<U1"
    assert np.unique(text).tolist() == ["", "a", "b"] and np.isin(text, ["a"]).tolist() == [False] * 3 + [True]
    assert (text == np.array(["b", "x", "b", "x"])).tolist() == [True, False, True, False]
    assert np.asarray(Text.of([])).shape == (0,) and Text.of([]).distinct()[0] == []


@given(st.lists(st.lists(st.integers(-9, 9), max_size=30), max_size=6))
def test_a_spool_joins_its_blocks(blocks: list[list[int]]) -> None:
    held, filed = Spool(np.int16), Spool(np.int16)
    with pytest.MonkeyPatch.context() as patch:
        for block in blocks:
            held.append(np.array(block, np.int16))
            patch.setattr(spools, "HELD", 0)
            filed.append(np.array(block, np.int64))
            patch.undo()
    for spool in (held, filed):
        assert spool.array().tolist() == [x for block in blocks for x in block] and len(spool) == len(spool.array())
        assert not spool.array().flags.writeable
        assert type(spool.array()) is np.ndarray


def test_rows_keep_their_shape_and_nothing_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    table = np.arange(60_000, dtype=np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(by_blocks(20_000, lambda rows: table[rows]), table)
    assert by_blocks(0, lambda rows: table[:0][rows]).shape == (0, 3)
    assert list((tmp_path / "home").iterdir()) == []
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))  # no folder: the system's temporary one
    np.testing.assert_array_equal(by_blocks(20_000, lambda rows: table[rows]), table)


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(spools, "_unnamed_file", Full)
    with pytest.raises(ZooError, match="No space left on device") as caught:
        Spool(np.int64).append(np.zeros(100_000, np.int64))
    assert "ZOO_HOME" in str(caught.value)
