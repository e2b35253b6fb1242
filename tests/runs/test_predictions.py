"""Stored predictions: whole or absent, keyed, resumable."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.tiny import broken_registry, tiny_pictures, tiny_registry
from zoo._util import files
from zoo.datasets import load_index
from zoo.errors import ContractError, RecordError
from zoo.protocols import load_protocol
from zoo.registry import load_registry
from zoo.runs import Evaluated, Settings, evaluate_entry, predictions
from zoo.runs.predict import Predictor
from zoo.runs.predictions import PredictionStore, Unit, predictions_key, read_predictions

KEY = {"weights": ["0" * 64], "dataset": "disfa", "batch": 32}


def _unit(number: int, *rows: int) -> Unit:
    return Unit(number, 0, np.array(rows, np.int64))


def _columns(unit: Unit, shift: float = 0.0) -> dict[str, np.ndarray]:
    return {
        "face_found": np.ones(len(unit.rows), bool),
        "au-intensity/AU01": (unit.rows + shift).astype(np.float32),
    }


def test_units_are_stored_resumed_and_joined_in_row_order(tmp_path: Path) -> None:
    units = [_unit(0, 4, 5), _unit(1, 0, 1), _unit(2, 2, 3)]
    store = PredictionStore("m", KEY, tmp_path)
    store.begin()
    store.write_unit(units[1], _columns(units[1]))
    again = PredictionStore("m", KEY, tmp_path)
    again.begin()
    assert again.finished(units) == {1}
    for unit in (units[0], units[2]):
        again.write_unit(unit, _columns(unit))
    again.finish(units)
    table = again.read()
    assert table["row"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert table["au-intensity/AU01"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert predictions_key(again.path) == KEY
    assert list((again.folder / "parts").iterdir()) == []


def test_units_whose_rows_are_mixed_are_joined_by_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_ROWS", 3)
    units = [_unit(0, 0, 9, 12), _unit(1, 1, 2, 10), _unit(2, 7, 8), _unit(3, 3)]
    store = PredictionStore("m", KEY, tmp_path)
    store.begin()
    for unit in units:
        store.write_unit(unit, _columns(unit))
    store.finish(units)
    assert store.read()["row"].to_pylist() == [0, 1, 2, 3, 7, 8, 9, 10, 12]
    assert store.read()["au-intensity/AU01"].to_pylist() == [0, 1, 2, 3, 7, 8, 9, 10, 12]


def test_other_weights_other_folder(tmp_path: Path) -> None:
    assert PredictionStore("m", KEY, tmp_path).id != PredictionStore("m", {**KEY, "batch": 1}, tmp_path).id


def test_half_written_damaged_and_foreign_units_are_done_again(tmp_path: Path) -> None:
    units = [_unit(0, 0, 1), _unit(1, 2, 3), _unit(2, 4, 5)]
    store = PredictionStore("m", KEY, tmp_path)
    store.begin()
    for unit in units:
        store.write_unit(unit, _columns(unit))
    parts = store.folder / "parts"
    whole = (parts / "000000.parquet").read_bytes()
    (parts / "000000.parquet").write_bytes(whole[: len(whole) // 2])  # a disk that was full
    (parts / ".000009.parquet.x.part").write_bytes(b"left by a kill")
    foreign = PredictionStore("m", {**KEY, "dataset": "rafdb"}, tmp_path)
    foreign.begin()
    foreign.write_unit(units[1], _columns(units[1]))
    (foreign.folder / "parts" / "000001.parquet").replace(parts / "000001.parquet")
    store.begin()
    assert store.finished(units) == {2}
    # The same number with other rows, as after a change of the plan, is not this unit.
    assert store.finished([_unit(2, 4, 6)]) == set()
    assert [p.name for p in parts.iterdir()] == []


def test_fresh_forgets_everything(tmp_path: Path) -> None:
    units = [_unit(0, 0, 1)]
    store = PredictionStore("m", KEY, tmp_path)
    store.begin()
    store.write_unit(units[0], _columns(units[0]))
    store.finish(units)
    assert store.complete()
    store.begin(fresh=True)
    assert not store.complete()
    assert store.finished(units) == set()


def test_predictions_of_something_else_are_refused(tmp_path: Path) -> None:
    units = [_unit(0, 0, 1)]
    store = PredictionStore("m", KEY, tmp_path)
    store.begin()
    store.write_unit(units[0], _columns(units[0]))
    store.finish(units)
    with pytest.raises(RecordError, match="something else") as caught:
        read_predictions(store.path, {**KEY, "weights": ["1" * 64]})
    assert caught.value.why is not None
    assert "weights" in caught.value.why
    plain = tmp_path / "plain.parquet"
    pq.write_table(pq.read_table(store.path).replace_schema_metadata(None), plain)
    with pytest.raises(RecordError, match="not a prediction file"):
        read_predictions(plain)
    plain.write_bytes(b"PAR1 not really")
    with pytest.raises(RecordError, match="cannot be read"):
        read_predictions(plain)
    with pytest.raises(RecordError, match="does not exist"):
        predictions_key(tmp_path / "no.parquet")


def test_no_label_is_ever_stored(tmp_path: Path) -> None:
    units = [_unit(0, 0, 1)]
    store = PredictionStore("m", KEY, tmp_path)
    store.begin()
    store.write_unit(units[0], _columns(units[0]))
    store.finish(units)
    assert store.read().column_names == ["row", "face_found", "au-intensity/AU01"]


def wait_for(told: list[str], words: str) -> None:
    deadline = time.monotonic() + 60
    while not any(words in line for line in told):
        assert time.monotonic() < deadline, told
        time.sleep(0.01)


def test_two_at_one_thing_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.05)
    told: list[str] = []
    order: list[str] = []

    def second() -> None:
        with PredictionStore("m", KEY, tmp_path).held(told.append):
            order.append("second")

    thread = Thread(target=second)
    with PredictionStore("m", KEY, tmp_path).held(told.append):
        thread.start()
        wait_for(told, "waiting for another process")
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def evaluated(place: Path, told: list[str]) -> Evaluated:
    registry = load_registry([place / "tiny.yaml"])
    return evaluate_entry(
        registry.get("tiny"), load_index("folder", place / "pictures"), load_protocol("folder-expression"),
        Settings(resamples=50), registry=registry, tell=told.append,
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_registry(tmp_path)
    tiny_pictures(tmp_path / "pictures")
    return tmp_path


def test_an_evaluation_waits_for_another_one_of_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.05)
    folder = evaluated(place, []).predictions.parent
    told: list[str] = []
    thread = Thread(target=evaluated, args=(place, told))
    with files.exclusive(folder.with_name(f"{folder.name}.lock"), list):
        thread.start()
        wait_for(told, "waiting for another process")
        assert not any("stored already" in line for line in told)
    thread.join(60)
    assert any("stored already" in line for line in told)


def test_what_other_code_or_libraries_predicted_is_not_used_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.runs import prepare
    from zoo.runtimes import export

    first = evaluated(place, []).record
    again = evaluated(place, []).record
    assert again.cost.resumed and again.predictions == first.predictions
    for module, name, change in (
        (prepare, "_face_code", lambda: "other"),
        (prepare, "version", lambda _: "0.0"),
        (prepare, "_samples", lambda *_: "in another order"),
        (export, "model_code", lambda _: {"heads.py": "other"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, change)
            other = evaluated(place, []).record
        assert not other.cost.resumed and other.predictions != first.predictions, name


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_is_no_number_is_not_scored_as_a_missing_face(place: Path, runtime: str) -> None:
    broken_registry(place)
    registry = load_registry([place / "tiny.yaml"])
    index, protocol = load_index("folder", place / "pictures"), load_protocol("folder-expression")
    settings = Settings(runtime=runtime, resamples=50)
    with pytest.raises(ContractError, match="tensor 'label' is not finite for"):
        evaluate_entry(registry.get("tiny"), index, protocol, settings, registry=registry)
    predictor = Predictor(registry.get("tiny"), registry, settings)
    with closing(predictor), pytest.raises(ContractError, match="not finite"):
        list(predictor.files(sorted((place / "pictures" / "anger").iterdir())))
