"""Agreement and error of two series, against scipy, scikit-learn, pingouin and hand computation."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pingouin
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import UsageError
from zoo.metrics import continuous as c

# Eighths are exact in binary, so "constant" means the same to every library; wide and narrow ranges are both hostile.
VALUE = st.integers(-80, 80).map(lambda x: x / 8)
SERIES = st.lists(st.tuples(VALUE, VALUE), min_size=2, max_size=60)


def columns(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.array(pairs, float).T
    return y, p


@given(SERIES)
def test_pcc_is_scipys(pairs: list[tuple[float, float]]) -> None:
    y, p = columns(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scipy.stats.pearsonr(y, p).statistic if np.ptp(y) and np.ptp(p) else math.nan
    assert c.pcc(y, p) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(SERIES)
def test_errors_are_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    y, p = columns(pairs)
    assert c.mae(y, p) == pytest.approx(sklearn.metrics.mean_absolute_error(y, p), abs=1e-12)
    assert c.mse(y, p) == pytest.approx(sklearn.metrics.mean_squared_error(y, p), abs=1e-12)
    assert c.rmse(y, p) == pytest.approx(sklearn.metrics.root_mean_squared_error(y, p), abs=1e-12)
    assert c.sagr(y, p) == np.mean(np.sign(y) == np.sign(p))


@given(SERIES)
def test_ccc_is_lins_formula_with_population_variances(pairs: list[tuple[float, float]]) -> None:
    y, p = columns(pairs)
    if np.ptp(y) == 0 and np.ptp(p) == 0:
        assert math.isnan(c.ccc(y, p))
        return
    covariance = ((y - y.mean()) * (p - p.mean())).mean()
    expected = 2 * covariance / (y.var() + p.var() + (y.mean() - p.mean()) ** 2)
    assert c.ccc(y, p) == pytest.approx(expected, abs=1e-12)


def anova(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Shrout and Fleiss's three single-measure coefficients from the two-way table, in long hand."""
    table = np.stack([y, p], axis=1)
    n, k = table.shape
    rows, raters, grand = table.mean(1, keepdims=True), table.mean(0, keepdims=True), table.mean()
    between = k * ((rows - grand) ** 2).sum() / (n - 1)
    within = ((table - rows) ** 2).sum() / (n * (k - 1))
    judges = n * ((raters - grand) ** 2).sum() / (k - 1)
    rest = ((table - rows - raters + grand) ** 2).sum() / ((n - 1) * (k - 1))
    return {
        "1,1": (between - within) / (between + (k - 1) * within),
        "2,1": (between - rest) / (between + (k - 1) * rest + k * (judges - rest) / n),
        "3,1": (between - rest) / (between + (k - 1) * rest),
    }


@given(SERIES.filter(lambda s: len({a for a, _ in s}) > 1 and len({b for _, b in s}) > 1))
def test_icc_is_the_anova_table(pairs: list[tuple[float, float]]) -> None:
    y, p = columns(pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        table = anova(y, p)
    for kind, expected in table.items():
        ours = c.icc(y, p, kind)
        if math.isnan(ours):  # the denominator is 0
            assert not abs(expected) < 1e9, kind
        else:
            assert ours == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert c.icc31(y, p) == c.icc(y, p, "3,1")


def test_icc_is_pingouins() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 80).astype(float)
    p = np.clip(y * 0.6 + rng.normal(0.3, 0.8, 80), 0, 5)
    long = pd.DataFrame({"frame": np.tile(np.arange(80), 2), "rater": np.repeat(["y", "p"], 80), "v": np.r_[y, p]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = pingouin.intraclass_corr(long, targets="frame", raters="rater", ratings="v").set_index("Type")["ICC"]
    new = "ICC(C,1)" in table.index  # pingouin renamed its rows in 0.6
    for kind, names in {"1,1": ("ICC1", "ICC(1,1)"), "2,1": ("ICC2", "ICC(A,1)"), "3,1": ("ICC3", "ICC(C,1)")}.items():
        assert c.icc(y, p, kind) == pytest.approx(float(table[names[new]]), abs=1e-6)


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        # (pcc, icc31, ccc) by hand
        ([0, 0, 0], [0, 1, 2], (math.nan, 0.0, 0.0)),
        ([0, 1, 2], [0.1, 0.1, 0.1], (math.nan, 0.0, 0.0)),
        ([1, 1, 1], [1, 1, 1], (math.nan, math.nan, math.nan)),
        ([1, 1, 1], [0.1, 0.1, 0.1], (math.nan, math.nan, math.nan)),
        ([], [], (math.nan, math.nan, math.nan)),
        ([1], [2], (math.nan, math.nan, math.nan)),
        ([0, 1, 2], [0, 1, 2], (1.0, 1.0, 1.0)),
        ([0, 1, 2], [2, 1, 0], (-1.0, -1.0, -1.0)),
        ([0, 1, 2], [1, 2, 3], (1.0, 1.0, 4 / 7)),  # 2*(2/3) / (2/3 + 2/3 + 1)
        ([0, 2], [0, 1], (1.0, 0.8, 2 / 3)),  # variances 1 and 1/4, covariance 1/2, means 1/2 apart
    ],
)
def test_degenerate_and_hand_computed(y: list, p: list, expected: tuple) -> None:
    for function, value in zip((c.pcc, c.icc31, c.ccc), expected, strict=True):
        assert function(y, p) == pytest.approx(value, nan_ok=True, abs=1e-15), function.__name__


def test_errors_of_nothing_are_undefined() -> None:
    for function in (c.mae, c.mse, c.rmse, c.sagr):
        assert math.isnan(function([], []))
        assert not math.isnan(function([1.0], [2.0]))
    for kind in ("1,1", "2,1", "3,1"):
        assert math.isnan(c.icc([], [], kind))
        assert math.isnan(c.icc([1.0], [2.0], kind))


def test_a_constant_that_binary_cannot_hold_is_still_constant() -> None:
    # The mean of many 0.1 is not 0.1: a centred sum of squares about it is not 0.
    assert math.isnan(c.pcc(np.full(1001, 0.1, np.float32), np.arange(1001)))
    assert math.isnan(c.pcc(np.arange(1001), np.full(1001, 1 / 3)))


def test_a_perfect_prediction_is_exactly_perfect() -> None:
    y = np.random.default_rng(1).normal(size=1000)
    assert (c.mae(y, y), c.mse(y, y), c.rmse(y, y), c.sagr(y, y)) == (0, 0, 0, 1)
    for function in (c.pcc, c.icc31, c.ccc):
        assert function(y, y) == pytest.approx(1, abs=1e-15)


def test_far_from_zero_and_long_nothing_is_lost() -> None:
    # A million frames a million standard deviations from zero: uncentred sums would keep four digits at best.
    rng = np.random.default_rng(2)
    y = rng.normal(size=1_000_000)
    p = 0.5 * y + rng.normal(size=y.size)
    expected = np.corrcoef(y, p)[0, 1]
    assert c.pcc(y + 1e6, p - 1e6) == pytest.approx(expected, abs=1e-9)
    assert c.icc31(y + 1e6, p - 1e6) == pytest.approx(c.icc31(y, p), abs=1e-9)
    assert c.ccc(y + 1e6, p + 1e6) == pytest.approx(c.ccc(y, p), abs=1e-9)
    assert c.mse(y + 1e6, p + 1e6) == pytest.approx(np.mean((y - p) ** 2), rel=1e-9)


@given(SERIES, st.integers(0, 59))
def test_uncoded_samples_do_not_count(pairs: list[tuple[float, float]], at: int) -> None:
    y, p = columns(pairs)
    y2, p2 = np.insert(y, min(at, len(y)), np.nan), np.insert(p, min(at, len(y)), 99.0)
    for function in (c.pcc, c.icc31, c.ccc, c.mae, c.mse, c.rmse, c.sagr):
        assert function(y2, p2) == pytest.approx(function(y, p), nan_ok=True, abs=0)


@pytest.mark.parametrize(
    ("y", "p"),
    [([1, 2], [1]), ([[1]], [[1]]), ([1, 2], [1, math.nan]), ([1, 2], [math.inf, 1]), ([math.inf, 1], [1, 2])],
)
def test_what_cannot_be_scored_is_refused(y: list, p: list) -> None:
    for function in (c.pcc, c.icc31, c.ccc, c.mae, c.mse, c.rmse, c.sagr):
        with pytest.raises(UsageError):
            function(y, p)


def test_unknown_icc_is_refused() -> None:
    with pytest.raises(UsageError, match="ICC kind"):
        c.icc([1, 2], [1, 2], "3,k")  # type: ignore[arg-type]
