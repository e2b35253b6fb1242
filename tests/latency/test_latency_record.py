"""Samples are stored small and come back as they were shown; records are named by their content."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.results.latency_record import Asked, Baseline, Samples, Scenario


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=200))
@settings(max_examples=200)
def test_samples_come_back_within_half_a_step(values: list[int]) -> None:
    x = np.array(values, np.int64)
    packed = Samples.pack(x)
    back = packed.nanoseconds()
    assert packed.count == len(x)
    assert np.abs(back - x).max() <= packed.unit / 2
    again = Samples.model_validate(json.loads(packed.model_dump_json()))
    np.testing.assert_array_equal(again.nanoseconds(), back)


@pytest.mark.parametrize("milliseconds", [0.01, 0.3, 5.0, 19.0, 480.0, 3500.0])
def test_a_step_is_at_most_a_2000th_of_the_median_and_samples_are_small(milliseconds: float) -> None:
    rng = np.random.default_rng(0)
    x = (milliseconds * 1e6 * rng.lognormal(0, 0.02, 2000)).astype(np.int64)
    packed = Samples.pack(x)
    assert packed.unit <= max(1, np.median(x) / 2000)
    assert len(packed.data) < 2.7 * len(x)  # a bare int64 in base64 is 10.7 characters


def test_a_slow_sample_among_fast_ones_still_fits() -> None:
    x = np.array([1000] * 99 + [60_000_000_000], np.int64)
    back = Samples.pack(x).nanoseconds()
    assert back[-1] == 60_000_000_000
    assert np.abs(back[:-1] - 1000).max() <= 10


def test_a_damaged_text_is_an_error() -> None:
    packed = Samples.pack(np.array([1, 2, 3], np.int64))
    with pytest.raises(ValueError, match="4 samples are declared, the data holds 3"):
        packed.model_copy(update={"count": 4}).nanoseconds()


def test_titles() -> None:
    assert Scenario(name="SingleStream").title == "SingleStream"
    assert Scenario(name="MultiStream", batch=8).title == "MultiStream, 8 images a query"
    assert Scenario(name="Offline", batch=32).title == "Offline, batch 32"
    assert Scenario(name="Video", fps=30).title == "Video, 30 fps"
    assert Baseline(runtime="torch", device="cuda:0", precision="bf16").title == "torch cuda:0 bf16"


def test_a_baseline_is_one_way_to_run() -> None:
    base = Baseline(runtime="torch")
    assert base.is_this(Asked(runtime="torch", threads=4))
    assert not base.is_this(Asked(runtime="torch", threads=4, streams=2))
    assert not base.is_this(Asked(runtime="torch", precision="bf16", threads=4))
    assert not base.is_this(Asked(runtime="openvino", threads=4))
