"""Stored crops: lossless, whole or absent, resumed, verified, and scored like the raw files."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.helpers.tiny import tiny_pictures, tiny_registry
from zoo.datasets import load_index
from zoo.datasets.base import Index
from zoo.datasets.synthface import generate
from zoo.errors import DatasetError, WeightsMissingError
from zoo.prepare import main
from zoo.protocols import load_protocol
from zoo.registry import load_registry
from zoo.registry.schema import Preprocess
from zoo.runs import Evaluated, Settings, evaluate_entry, execute, prepare
from zoo.runs.prepare import CropStore, prepare_crops, stored_crops

CONTRACT = Preprocess(size=(8, 8), interpolation="pillow-bilinear")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """300 pictures, five shards, one of them cut, and the tiny model's registry."""
    tiny_registry(tmp_path)
    tiny_pictures(tmp_path / "pictures", 100, wrong=20)
    victim = tmp_path / "pictures" / "happiness" / "00005.png"
    victim.write_bytes(victim.read_bytes()[:60])
    return tmp_path


@pytest.fixture
def index(place: Path) -> Index:
    return load_index("folder", place / "pictures")


def nothing(_: int) -> None:
    pass


def evaluated(place: Path, told: list[str] | None = None) -> Evaluated:
    registry = load_registry([place / "tiny.yaml"])
    return evaluate_entry(
        registry.get("tiny"), load_index("folder", place / "pictures"), load_protocol("folder-expression"),
        Settings(fresh=True, resamples=100), registry=registry, tell=[].append if told is None else told.append,
    )  # fmt: skip


@given(
    st.sampled_from([1, 3]).flatmap(
        lambda c: arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(c)))
    )
)
def test_crops_come_back_bit_for_bit(crop: np.ndarray) -> None:
    np.testing.assert_array_equal(prepare._decode(prepare._encode(crop), crop.shape[2]), crop)


def test_the_store_gives_what_the_raw_files_give(place: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    raw_told: list[str] = []
    raw = evaluated(place, raw_told)
    table = pq.read_table(raw.predictions)
    assert stored_crops(CONTRACT, index) is None
    done = prepare_crops(index, CONTRACT, threads=2, done=nothing)
    assert (done.samples, done.found, done.made, len(done.problems)) == (300, 299, 300, 1)
    assert done.size == sum(p.stat().st_size for p in done.folder.iterdir())

    def untouched(*_: Any) -> Any:
        raise AssertionError("the raw files were read")

    monkeypatch.setattr(execute, "pictures", untouched)
    told: list[str] = []
    ours = evaluated(place, told)
    pd.testing.assert_frame_equal(pq.read_table(ours.predictions).to_pandas(), table.to_pandas(), check_exact=True)
    assert ours.problems == raw.problems and "00005.png" in ours.problems[0]
    assert ours.record.views == raw.record.views
    assert ours.record.coverage == raw.record.coverage
    assert ours.record.predictions == raw.record.predictions
    assert any("store" in line for line in told) and not any("store that" in line for line in raw_told)


@pytest.mark.package
def test_disfa_scores_the_same_from_its_videos_and_from_the_store(tmp_path: Path) -> None:
    generate("disfa", tmp_path / "disfa", frames=4, progress=False)
    index = load_index("synthface", tmp_path / "disfa")
    registry, protocol = load_registry(), load_protocol("synthface-intensity-5fold")
    entry = registry.get("hog-ridge")
    assert entry.preprocess is not None
    settings = Settings(fresh=True, resamples=100, threads=2)
    told: list[str] = []
    raw = evaluate_entry(entry, index, protocol, settings, registry=registry, tell=told.append)
    table = pq.read_table(raw.predictions)
    assert not told
    prepare_crops(index, entry.preprocess, threads=2, done=nothing)
    ours = evaluate_entry(entry, index, protocol, settings, registry=registry, tell=told.append)
    assert told == ["crops come from the store that zoo.prepare made"]
    pd.testing.assert_frame_equal(pq.read_table(ours.predictions).to_pandas(), table.to_pandas(), check_exact=True)
    same = ("model", "protocol", "dataset", "coverage", "views", "subjects", "predictions")
    assert all(getattr(ours.record, k) == getattr(raw.record, k) for k in same)


def test_shards_say_what_they_hold(index: Index) -> None:
    done = prepare_crops(index, CONTRACT, threads=1, done=nothing)
    store = stored_crops(CONTRACT, index)
    assert store is not None and store.folder == done.folder
    rows = []
    for unit in store.units:
        table = store.read(unit.number).to_pydict()
        rows += table["row"]
        for row, file, position, found, problem, crop in zip(*(table[k] for k in table), strict=True):
            assert (file, position) == (str(index.file[row]), -1)
            assert found == (crop is not None) == (problem is None)
    assert sorted(rows) == list(range(300))
    assert [c.pixels is not None for c in store.crops([299, 0, 150])] == [True] * 3


def test_an_interrupted_run_goes_on(index: Index) -> None:
    class Stop(Exception):
        pass

    seen = []

    def stop(count: int) -> None:
        seen.append(count)
        if len(seen) == 4:  # nothing found, then three units
            raise Stop

    with pytest.raises(Stop):
        prepare_crops(index, CONTRACT, threads=1, done=stop)
    store = CropStore(CONTRACT, index)
    assert not store.complete() and stored_crops(CONTRACT, index) is None
    there = len(list(store.folder.glob("[0-9]*.parquet")))
    assert 2 <= there < len(store.units)
    (store.folder / ".000004.parquet.x.part").write_bytes(b"left by a kill")
    whole = store.shard(0).read_bytes()
    store.shard(0).write_bytes(whole[: len(whole) // 2])  # a disk that was full
    done = prepare_crops(index, CONTRACT, threads=1, done=nothing)
    assert done.made == 300 - 64 * (there - 1)
    assert store.shard(0).read_bytes() == whole
    assert sorted(p.name for p in store.folder.iterdir()) == [*(f"{i:06d}.parquet" for i in range(5)), "store.json"]


def test_shards_without_a_summary_are_finished(index: Index) -> None:
    prepare_crops(index, CONTRACT, threads=1, done=nothing)
    CropStore(CONTRACT, index).summary.unlink()  # killed between the last shard and the summary
    assert prepare_crops(index, CONTRACT, threads=1, done=nothing).made == 0
    assert stored_crops(CONTRACT, index) is not None


def test_damage_is_named_and_mended(place: Path, index: Index) -> None:
    folder = prepare_crops(index, CONTRACT, threads=1, done=nothing).folder
    shard = folder / "000002.parquet"
    whole = shard.read_bytes()
    at = len(whole) // 2
    shard.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DatasetError, match="damaged") as caught:
        evaluated(place)
    assert str(shard) in str(caught.value) and "zoo.prepare" in str(caught.value)
    assert prepare_crops(index, CONTRACT, threads=1, done=nothing).made == 64
    assert shard.read_bytes() == whole
    evaluated(place)
    shard.unlink()
    with pytest.raises(DatasetError, match="damaged"):
        evaluated(place)
    (folder / "store.json").write_text("{}")
    with pytest.raises(DatasetError, match="damaged"):
        evaluated(place)
    assert prepare_crops(index, CONTRACT, threads=1, done=nothing).made == 64


def test_what_the_crops_depend_on_names_the_store(place: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_crops(index, CONTRACT, threads=1, done=nothing)
    assert stored_crops(CONTRACT.model_copy(update={"mean": (0.5,), "std": (0.5,)}), index) is not None
    assert stored_crops(CONTRACT.model_copy(update={"size": (9, 9)}), index) is None
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "version", lambda name: "0.0")
        assert stored_crops(CONTRACT, index) is None
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_face_code", lambda: "other")
        assert stored_crops(CONTRACT, index) is None
    shutil.copy(place / "pictures" / "anger" / "00000.png", place / "pictures" / "anger" / "more.png")
    assert stored_crops(CONTRACT, load_index("folder", place / "pictures")) is None


def test_a_full_disk_is_one_clear_error(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prepare.pq, "write_table", full)
        with pytest.raises(DatasetError, match="cannot be stored") as caught:
            prepare_crops(index, CONTRACT, threads=2, done=nothing)
    assert caught.value.why == "No space left on device"
    assert list(CropStore(CONTRACT, index).folder.iterdir()) == []
    assert prepare_crops(index, CONTRACT, threads=2, done=nothing).found == 299


def test_a_missing_detector_is_not_taken_for_a_full_disk(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise WeightsMissingError("no detector", fix="where there is a network, run it again")

    monkeypatch.setattr("zoo.faces.pipeline.build_pipeline", absent)
    with pytest.raises(WeightsMissingError, match="no detector"):
        prepare_crops(index, CONTRACT, threads=1, done=nothing)


def test_the_verb(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = ["dataset=folder", "root=pictures", "registry=tiny.yaml"]
    assert main([*words, "model=tiny"]) == 0
    shown = capsys.readouterr()
    folder = Path(shown.out.strip())
    assert (folder / "store.json").exists()
    assert "299 crops of 300 samples" in shown.err and "00005.png" in shown.err and "align:whole-image" in shown.err
    assert main([*words, "model=tiny"]) == 0
    assert "0 made now, 300 stored before and checked" in capsys.readouterr().err
    for wrong, said in (
        ([], "say whose crops"),
        (["model=tiny", "align=box"], "say whose crops"),
        (["align=arcface"], "arcface-112"),
        (["model=tini"], "tiny"),
        (["model=tiny", "rule=argmax"], "option"),  # a way to read another dataset, refused by this one
    ):
        assert main([*words, *wrong]) == 2
        assert said in capsys.readouterr().err
