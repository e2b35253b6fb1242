"""The gate: what is allowed passes, anything else does not, whatever form the difference takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.latency.parity import ParityLimits, check_parity, golden_crops, load_golden, run_in_batches, save_golden
from zoo.results.latency_record import Parity
from zoo.runtimes.base import Tensors

CROPS = golden_crops((8, 8, 3), count=10)


def _features(crops: Any) -> Any:
    return crops.reshape(len(crops), -1)[:, ::17].astype(np.float32) / 255


def _reference() -> Tensors:
    return {"t": _features(CROPS)}


def _check(outputs: Any, decide: Any = lambda tensors: {}, precision: Any = "fp32", batch: int = 4) -> Parity:
    return check_parity(
        outputs, decide, CROPS, _reference(), batch=batch, precision=precision, limits=ParityLimits(), name="reference"
    )


def test_the_same_outputs_pass() -> None:
    found = _check(lambda crops: {"t": _features(crops)})
    assert found.passed and found.order == 0
    assert found.outputs[0].max_abs == 0 and found.outputs[0].n == 10


@pytest.mark.parametrize(("by", "precision", "passed"), [
    (5e-5, "fp32", True), (1e-3, "fp32", False), (1e-2, "bf16", True), (0.2, "bf16", False), (0.15, "int8", True),
    (0.3, "int8", False),
])  # fmt: skip
def test_limits_are_the_precisions(by: float, precision: str, passed: bool) -> None:
    scale = float(np.abs(_reference()["t"]).max())
    assert _check(lambda crops: {"t": _features(crops) + by * scale}, precision=precision).passed is passed


def test_small_outputs_are_held_to_their_own_range() -> None:
    # A tensor whose values are near 1e-3 may not be off by 1e-4, although that is below a limit taken absolutely.
    tiny = {"t": _features(CROPS) * 1e-3}
    found = check_parity(
        lambda crops: {"t": _features(crops) * 1e-3 + 1e-4}, lambda tensors: {}, CROPS, tiny, batch=1, precision="fp32",
        limits=ParityLimits(), name="r",
    )  # fmt: skip
    assert not found.passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails_and_can_be_written(value: float) -> None:
    def outputs(crops: Any) -> Tensors:
        t = _features(crops)
        t[0, 0] = value
        return {"t": t}

    found = _check(outputs)
    assert not found.passed
    assert found.outputs[0].max_abs is None and found.outputs[0].relative is None
    assert Parity.model_validate_json(found.model_dump_json()) == found


def test_a_result_that_depends_on_its_neighbours_fails() -> None:
    def outputs(crops: Any) -> Tensors:
        t = _features(crops)
        return {"t": t + 0.01 * t[:1]}

    found = _check(outputs, precision="int8")
    assert not found.passed and found.order is not None and found.order > 1e-3


def test_other_tensors_or_shapes_fail() -> None:
    assert not _check(lambda crops: {"other": _features(crops)}).passed
    assert not _check(lambda crops: {"t": _features(crops), "more": _features(crops)}).passed
    assert not _check(lambda crops: {"t": _features(crops)[:, :3]}).passed


def test_decisions_are_counted() -> None:
    def decide(tensors: Tensors) -> dict[str, Any]:
        return {"t": tensors["t"] > 0.5}

    def outputs(crops: Any) -> Tensors:
        t = _features(crops)
        return {"t": np.where(np.abs(t - 0.5) < 0.08, 1 - t, t)}  # small moves that all cross the threshold

    found = _check(outputs, decide, precision="int8")
    share = found.outputs[0].decisions
    assert share is not None and share < 1
    same = _check(lambda crops: {"t": _features(crops)}, decide)
    assert same.outputs[0].decisions == 1.0


def test_batches_are_full_and_the_last_is_filled_from_the_front() -> None:
    seen: list[int] = []

    def outputs(crops: Any) -> Tensors:
        seen.append(len(crops))
        return {"t": _features(crops)}

    found = run_in_batches(outputs, CROPS, 4)
    assert seen == [4, 4, 4]
    np.testing.assert_array_equal(found["t"], _features(CROPS))


def test_golden_crops_are_seeded_and_varied() -> None:
    again = golden_crops((8, 8, 3), count=10)
    np.testing.assert_array_equal(CROPS, again)
    assert CROPS.dtype == np.uint8
    assert len({c.tobytes() for c in CROPS}) == 10
    assert not (golden_crops((8, 8, 3), count=10, seed=1) == CROPS).all()
    assert golden_crops((56, 48, 3), count=1).std() > 20  # a picture, not a surface
    assert golden_crops((5, 7, 1), count=2).shape == (2, 5, 7, 1)


def test_golden_files_come_back(tmp_path: Path) -> None:
    save_golden(tmp_path / "g.npz", CROPS, {"a/b": _features(CROPS), "crops": _features(CROPS)})
    crops, tensors = load_golden(tmp_path / "g.npz")
    np.testing.assert_array_equal(crops, CROPS)
    assert set(tensors) == {"a/b", "crops"}
    np.testing.assert_array_equal(tensors["a/b"], _features(CROPS))
