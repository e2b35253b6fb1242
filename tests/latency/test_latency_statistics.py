"""Percentile intervals against binomial facts, scipy, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo.latency.statistics import (
    binomial_cdf,
    design_effect,
    drift,
    interval_ranks,
    paired_ratio,
    percentile,
    percentile_interval,
    settled,
    t_quantile,
    throughput,
)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 9, 19, 100, 10_000])
def test_students_t_is_scipys(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1.5e-3)


def test_no_freedom_gives_no_bound() -> None:
    assert t_quantile(0) == math.inf


@given(st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=60)
def test_binomial_is_scipys(n: int, p: float) -> None:
    np.testing.assert_allclose(binomial_cdf(n, p), stats.binom.cdf(np.arange(n + 1), n, p), atol=1e-10)


@given(st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=100)
def test_ranks_cover_and_no_closer_ones_would(n: int, p: float) -> None:
    low, high = interval_ranks(n, p)
    binom = stats.binom(n, p)
    if low is not None:
        assert binom.cdf(low - 1) <= 0.025 + 1e-12
        assert binom.cdf(low) > 0.025
    if high is not None:
        assert binom.cdf(high - 1) >= 0.975 - 1e-12
        assert high == 1 or binom.cdf(high - 2) < 0.975


@pytest.mark.parametrize(("p", "fewest"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_fewest_samples_that_bound_a_percentile_from_both_sides(p: float, fewest: int) -> None:
    # 1 - p ** n >= 0.975: the largest sample is above the quantile often enough
    assert None not in interval_ranks(fewest, p)
    assert None in interval_ranks(fewest - 1, p)


def test_percentiles_are_samples_by_nearest_rank() -> None:
    values = np.arange(1, 101, dtype=np.float64)[::-1]
    assert [percentile(values, p) for p in (1, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]
    assert percentile(np.array([3.0]), 50) == 3
    assert percentile(np.array([1.0, 2.0, 3.0]), 50) == 2


def test_independent_samples_get_the_classical_interval() -> None:
    x = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))
    found = percentile_interval(x, 50)
    assert (found.value, found.low, found.high) == (50, 40, 61)  # Conover 1999: ranks 40 and 61 of 100


def _coverage(percent: float, effect: float, times: int = 400) -> float:
    """Share of simulated measurements whose interval holds the true percentile; slices share a random effect."""
    rng = np.random.default_rng(1)
    slices = np.repeat(np.arange(12), 60)
    truth = stats.norm.ppf(percent / 100, scale=math.sqrt(1 + effect**2))
    hits = 0
    for _ in range(times):
        x = rng.standard_normal(len(slices)) + effect * rng.standard_normal(12)[slices]
        found = percentile_interval(x, percent, slices)
        hits += (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)
    return hits / times


@pytest.mark.parametrize("percent", [50, 90, 95])
@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0])
def test_intervals_cover_when_slices_differ(percent: float, effect: float) -> None:
    assert _coverage(percent, effect) >= 0.925  # 0.95 less two standard errors of 400 trials


def test_intervals_that_ignore_slices_would_not_cover() -> None:
    rng = np.random.default_rng(1)
    slices = np.repeat(np.arange(12), 60)
    hits = 0
    for _ in range(200):
        x = rng.standard_normal(len(slices)) + rng.standard_normal(12)[slices]
        found = percentile_interval(x, 50)
        assert found.low is not None and found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits / 200 < 0.6


def test_design_effect_of_identical_slices_is_one_and_of_constant_slices_their_size() -> None:
    below = np.tile([True, False], 50)
    assert design_effect(below, np.repeat(np.arange(10), 10)) == 1.0
    constant = np.repeat([True, False], 50)
    # Ten slices of ten equal samples: ten independent ones, with the small-sample factor 10 / 9.
    assert design_effect(constant, np.repeat(np.arange(10), 10)) == pytest.approx(10 * 10 / 9)


def test_one_slice_gives_no_interval() -> None:
    found = percentile_interval(np.arange(100.0), 50, np.zeros(100, np.int64))
    assert (found.value, found.low, found.high) == (49, None, None)


def test_intervals_over_slices_are_95_percent_ones() -> None:
    with pytest.raises(ValueError, match="95 %"):
        percentile_interval(np.arange(100.0), 50, np.repeat([0, 1], 50), confidence=0.9)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=300), st.integers(1, 12), st.sampled_from([50, 90, 95, 99]))
@settings(max_examples=150)
def test_an_interval_always_holds_its_value_and_never_leaves_the_samples(
    values: list[float], count: int, percent: float
) -> None:
    x = np.array(values)
    found = percentile_interval(x, percent, np.sort(np.arange(len(x)) % count))
    assert found.value is not None and found.value in x
    assert found.low is None or x.min() <= found.low <= found.value
    assert found.high is None or found.value <= found.high <= x.max()


def test_throughput_is_a_ratio_of_sums_with_the_slices_spread() -> None:
    found = throughput([100, 110, 90, 100], [1.0, 1.0, 1.0, 1.0])
    expected = stats.t.ppf(0.975, 3) * np.std([100, 110, 90, 100], ddof=1) / 2
    assert found.value == 100
    assert found.low == pytest.approx(100 - expected, rel=1e-3)
    assert found.high == pytest.approx(100 + expected, rel=1e-3)
    assert throughput([30], [2.0]).model_dump() == {"value": 15.0, "low": None, "high": None}
    assert throughput([], []).value is None


def test_a_ratio_pairs_rounds_so_that_a_common_drift_cancels() -> None:
    ours = {r: 10.0 * (1 + r) for r in range(8)}
    theirs = {r: 20.0 * (1 + r) for r in range(1, 9)}
    found = paired_ratio(ours, theirs)
    assert found.value == pytest.approx(2)
    assert found.low == pytest.approx(2) and found.high == pytest.approx(2)
    assert paired_ratio(ours, {}).value is None
    assert paired_ratio({1: 2.0}, {1: 6.0}).model_dump() == {"value": pytest.approx(3), "low": None, "high": None}


def test_a_ratios_interval_covers() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        common = rng.normal(0, 0.3, 10)
        ours = {r: math.exp(common[r] + rng.normal(0, 0.02)) for r in range(10)}
        theirs = {r: 1.5 * math.exp(common[r] + rng.normal(0, 0.02)) for r in range(10)}
        found = paired_ratio(ours, theirs)
        assert found.low is not None and found.high is not None
        hits += found.low <= 1.5 <= found.high
    assert hits / 400 >= 0.925


def test_drift_is_found_when_it_is_there_and_only_then() -> None:
    rng = np.random.default_rng(3)
    still = rng.normal(100, 5, 900)
    found = drift(still)
    assert found is not None and found.change < 0.05
    moved = drift(still * np.linspace(1, 1.3, 900))
    assert moved is not None and moved.beyond_noise and moved.change > 0.1
    assert drift(still[:17]) is None
    bump = still.copy()
    bump[300:600] *= 1.5  # in the middle only
    middle = drift(bump)
    assert middle is not None and middle.beyond_noise and middle.change == pytest.approx(0.5, abs=0.05)


def test_settled() -> None:
    assert not settled([1.0, 1.0])
    assert settled([9.0, 1.0, 1.04, 1.02])
    assert not settled([1.0, 1.0, 1.06])
    assert not settled([0.0, 0.0, 0.0])


def test_settled_is_no_trend_where_single_queries_scatter() -> None:
    # JAA-Net's batches of 32 in torch: every three in a row differ by more than 5 %, the eight go nowhere.
    scattered = [5.0, 5.3, 5.02, 5.32, 5.03, 5.31, 5.01, 5.29]
    assert settled(scattered)
    assert not settled(scattered[:7])
    assert not settled([x * (1 - 0.03 * i) for i, x in enumerate(scattered)])  # still getting faster
    assert not settled([*scattered[:6], 6.0, 5.3])  # one far off: eight may yet hold a change
    assert not settled([1.0, 3.0] * 4)
