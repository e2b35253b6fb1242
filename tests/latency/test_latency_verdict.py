"""One rule at a time: each alone makes a measurement INVALID, and says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoo.latency.counters import Disturbance
from zoo.latency.verdict import Evidence, Limits, disturbed, judge, unsettled
from zoo.results.latency_record import OutputChecked, Parity, SliceTaken
from zoo.results.record import Estimate


def _slice(number: int, **change: Any) -> SliceTaken:
    fields: dict[str, Any] = {
        "round": number, "kept": True, "queries": 50, "images": 50, "seconds": 1.0, "median_ms": 20.0, "stolen": 0.0,
        "foreign": 0.01,
    }  # fmt: skip
    return SliceTaken(**{**fields, **change})


def _parity(**change: Any) -> Parity:
    fields: dict[str, Any] = {
        "reference": "torch 2 fp32", "order": 0.0, "limit": 0.01, "order_limit": 1e-3, "decisions_limit": 0.9,
        "outputs": (OutputChecked(tensor="t", n=8, max_abs=0.1, mean_abs=0.01, relative=0.001, decisions=1.0),),
        "passed": True,
    }  # fmt: skip
    return Parity(**{**fields, **change})


def _evidence(**change: Any) -> Evidence:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "samples": rng.normal(20e6, 1e5, 500).astype(np.int64), "clusters": np.repeat(np.arange(10), 50),
        "slices": [_slice(i) for i in range(10)], "queries": 100, "seconds": 10.0, "stable": True, "threads": 2,
        "cores": 2, "parity": _parity(),
    }  # fmt: skip
    return Evidence(**{**fields, **change})


def test_an_undisturbed_measurement_is_valid() -> None:
    verdict = judge(_evidence(), Limits())
    assert verdict.valid and verdict.reasons == ()


SAMPLES = np.random.default_rng(0).normal(20e6, 1e5, 500)
WRONG = OutputChecked(tensor="au", n=8, max_abs=1.0, mean_abs=0.1, relative=0.31, decisions=0.5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"queries": 501}, "too few samples: 500 of 501"),
        ({"seconds": 11.0}, "too short: 10.0 of 11 s"),
        ({"threads": 3}, "3 threads on 2 usable cores"),
        ({"stable": False}, "warm-up did not become stable"),
        ({"held": 0.25}, "held back for 0.25 s by the control group's quota"),
        ({"samples": (SAMPLES * np.linspace(1, 1.2, 500)).astype(np.int64)}, "drifted by"),
        ({"clusters": np.zeros(500, np.int64)}, "too few slices"),
        ({"parity": None}, "parity not checked"),
        ({"parity": None, "parity_missing": "torch: not installed"}, "parity not checked: torch: not installed"),
        ({"parity": _parity(passed=False, outputs=(WRONG,))}, "au is off by 0.31 of its range"),
        ({"parity": _parity(passed=False, outputs=(WRONG,))}, "50.0% of au's decisions agree"),
        ({"parity": _parity(passed=False, order=0.5)}, "order of the images changes outputs by 0.5"),
        ({"parity": _parity(passed=False, order=None)}, "not finite in another order"),
        (
            {"parity": _parity(passed=False, outputs=(WRONG.model_copy(update={"relative": None}),))},
            "not finite, or of another shape",
        ),
    ],
)
def test_each_rule(change: dict[str, Any], reason: str) -> None:
    verdict = judge(_evidence(**change), Limits())
    assert not verdict.valid
    assert any(reason in r for r in verdict.reasons), verdict.reasons


def test_a_wide_interval_is_a_reason() -> None:
    rng = np.random.default_rng(1)
    samples = np.concatenate([rng.normal(20e6 * (1 + 0.5 * (i % 2)), 1e5, 50) for i in range(10)]).astype(np.int64)
    verdict = judge(_evidence(samples=samples), Limits())
    assert any("the median is known to" in r for r in verdict.reasons)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"stolen": 0.3}, "time stolen by the hypervisor in 6"),
        ({"foreign": 0.5}, "time taken by other processes in 6"),
        ({"throttles": 4}, "processor throttled in 6"),
    ],
)
def test_slices_taken_again_are_counted_with_their_cause(change: dict[str, Any], cause: str) -> None:
    slices = [_slice(i) for i in range(5)] + [_slice(5 + i, kept=False, **change) for i in range(6)]
    verdict = judge(_evidence(slices=slices, seconds=5.0), Limits())
    assert verdict.reasons == (f"6 of 11 slices disturbed: {cause}",)


def test_a_few_slices_taken_again_are_no_reason() -> None:
    slices = [_slice(i) for i in range(10)] + [_slice(10, kept=False, stolen=0.5)]
    assert judge(_evidence(slices=slices), Limits()).valid


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False), ({"stolen": 0.031}, True), ({"stolen": 0.03}, False), ({"foreign": 0.06}, True),
        ({"throttles": 1}, True), ({"throttles": 0}, False), ({"stolen": None, "foreign": None}, False),
    ],
)  # fmt: skip
def test_a_slice_is_disturbed_by_the_machines_state_alone(change: dict[str, Any], expected: bool) -> None:
    fields: dict[str, Any] = {"stolen": 0.0, "foreign": 0.0, "throttles": None, "held": None, "joules": None}
    assert disturbed(Disturbance(**{**fields, **change}), Limits()) is expected


def test_nothing_measured_is_invalid_without_an_error() -> None:
    empty = np.zeros(0, np.int64)
    verdict = judge(_evidence(samples=empty, clusters=empty, slices=[]), Limits())
    assert not verdict.valid
    assert "too few samples: 0 of 100" in verdict.reasons


def test_what_does_not_settle_is_a_drift_or_a_wide_interval() -> None:
    limits = Limits()
    turns = np.repeat(np.arange(12), 40)
    even = np.random.default_rng(0).normal(1e6, 1e3, len(turns)).astype(np.int64)
    assert unsettled(even, turns, None, limits) == []
    drifting = (even * np.linspace(1, 1.4, len(turns))).astype(np.int64)
    assert any("drifted" in reason for reason in unsettled(drifting, turns, None, limits))
    wide = Estimate(value=100.0, low=70.0, high=130.0)
    assert unsettled(even, turns, wide, limits) == ["the throughput is known to 30% only"]
    assert unsettled(even[:0], turns[:0], None, limits) == []
