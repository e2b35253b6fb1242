"""Percentiles with intervals, throughput, ratios and drift, from samples that came in slices.

Neighbouring samples are not independent: a slice of a second shares the state of the machine. Intervals therefore
come from order statistics (binomial), with the number of samples cut to what the slices leave of it: the design
effect of a cluster sample (Korn and Graubard, Survey Methodology 24, 1998; Woodruff, JASA 47, 1952). With
independent samples it is the classical order-statistic interval; nothing is assumed about the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.results.record import Estimate

PERCENTILES = (50, 90, 95, 99)
CONFIDENCE = 0.95
_Z = 1.959963984540054
# Student's t, 97.5 %: the series below is good to 0.001 from 5 degrees of freedom on.
_T = {1: 12.706204736432095, 2: 4.302652729911275, 3: 3.182446305284263, 4: 2.7764451051977987}

Floats = NDArray[np.float64]


def t_quantile(freedom: int) -> float:
    """Returns the 97.5 % quantile of Student's t (Cornish-Fisher series; Abramowitz and Stegun 26.7.5)."""
    if freedom < 1:
        return math.inf
    if freedom in _T:
        return _T[freedom]
    z, n = _Z, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / n ** (i + 1) for i, term in enumerate(terms)))


def binomial_cdf(n: int, p: float) -> Floats:
    """Returns P(B <= k) for k = 0 .. n, B binomial."""
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    logs = factorial[n] - factorial[k] - factorial[n - k] + k * math.log(p) + (n - k) * math.log1p(-p)
    cdf: Floats = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cdf


def interval_ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int | None, int | None]:
    """Returns the ranks (from 1) of the order statistics that enclose the ``p`` quantile of ``n`` samples.

    Each side fails with at most half of ``1 - confidence``; None where no order statistic lies far enough out, as
    above the 99th percentile of fewer than 368 samples.
    """
    if n < 1:
        return None, None
    tail = (1 - confidence) / 2
    cdf = binomial_cdf(n, p)
    # X_(l) <= quantile unless fewer than l samples lie below it: P(B <= l - 1) <= tail.
    low = int(np.searchsorted(cdf, tail, side="right"))
    # X_(u) >= quantile unless u or more lie below it: P(B <= u - 1) >= 1 - tail.
    high = int(np.searchsorted(cdf, 1 - tail, side="left")) + 1
    return low or None, high if high <= n else None


def design_effect(below: NDArray[np.bool_], slices: NDArray[np.int64]) -> float:
    """Returns how many times larger the variance of a share is than it would be for independent samples; at least 1.

    Args:
        below: Whether each sample is at or below the quantile.
        slices: The slice that each sample belongs to, numbered from 0.
    """
    n, count = len(below), int(slices.max()) + 1
    share = float(below.mean())
    if count < 2 or share in (0.0, 1.0):
        return 1.0
    excess = np.bincount(slices, below - share, minlength=count)
    variance = count / (count - 1) * float((excess**2).sum()) / n**2
    return max(1.0, variance / (share * (1 - share) / n))


def percentile(samples: Sequence[float] | Floats, percent: float) -> float:
    """Returns the smallest sample that has at least ``percent`` of all at or below it (nearest rank)."""
    ordered = np.sort(np.asarray(samples, np.float64))
    return float(ordered[max(0, math.ceil(len(ordered) * percent / 100 - 1e-9) - 1)])


def percentile_interval(
    samples: Floats, percent: float, slices: NDArray[np.int64] | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Returns a percentile with its interval; a bound is None where the samples cannot give it.

    Args:
        samples: Durations, in the order taken.
        percent: 50, 90 ...
        slices: The slice of each sample, numbered from 0; None for independent samples.
        confidence: 0.95 (the only one for which ``slices`` can be given).
    """
    if slices is not None and confidence != CONFIDENCE:
        raise ValueError("intervals over slices are 95 % intervals")
    n, p = len(samples), percent / 100
    ordered = np.sort(samples)
    value = percentile(samples, percent)
    effective = n
    if slices is not None:
        _, slices = np.unique(slices, return_inverse=True)
        freedom = int(slices.max())
        if freedom < 1:
            return Estimate(value=value)
        spread = design_effect(samples <= value, slices)
        effective = int(n * (_Z / t_quantile(freedom)) ** 2 / spread)
    low, high = interval_ranks(effective, p, confidence)
    # A rank among the effective samples stands for a share of the samples; rounded outwards.
    scale = n / effective if effective else 0.0
    first = None if low is None else max(1, math.floor((low - 0.5) * scale + 0.5))
    last = None if high is None else min(n, math.ceil((high - 0.5) * scale + 0.5))
    return Estimate(
        value=value,
        low=None if first is None else float(ordered[first - 1]),
        high=None if last is None else float(ordered[last - 1]),
    )


def throughput(images: Sequence[float], seconds: Sequence[float]) -> Estimate:
    """Returns images a second over all slices, with an interval from the spread between them (ratio estimator).

    Args:
        images: Images of each slice.
        seconds: Duration of each slice.
    """
    x, t = np.asarray(images, np.float64), np.asarray(seconds, np.float64)
    if not len(x) or t.sum() <= 0:
        return Estimate(value=None)
    rate, n = float(x.sum() / t.sum()), len(x)
    if n < 2:
        return Estimate(value=rate)
    residual = x - rate * t
    error = math.sqrt(n / (n - 1) * float((residual**2).sum())) / float(t.sum())
    reach = t_quantile(n - 1) * error
    return Estimate(value=rate, low=max(0.0, rate - reach), high=rate + reach)


def paired_ratio(ours: dict[int, float], theirs: dict[int, float]) -> Estimate:
    """Returns the ratio ``theirs / ours`` (how many times faster ours is) over the rounds that both have.

    Slices of one round were taken one after the other, so a drift of the machine falls on both and cancels. The value
    is the geometric mean of the rounds' ratios; the interval is Student's on their logarithms.

    Args:
        ours: Round -> median.
        theirs: The same of the baseline.
    """
    rounds = sorted(ours.keys() & theirs.keys())
    if not rounds:
        return Estimate(value=None)
    logs = np.log([theirs[r] / ours[r] for r in rounds])
    centre = float(logs.mean())
    if len(rounds) < 2:
        return Estimate(value=math.exp(centre))
    reach = t_quantile(len(rounds) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(rounds))
    return Estimate(value=math.exp(centre), low=math.exp(centre - reach), high=math.exp(centre + reach))


@dataclass(frozen=True)
class Drift:
    """How the median moved over a measurement.

    Attributes:
        change: Largest relative difference between the medians of two thirds.
        beyond_noise: Whether the intervals of those two thirds do not overlap.
    """

    change: float
    beyond_noise: bool


def drift(samples: Floats) -> Drift | None:
    """Compares the medians of the first, middle and last third; None for fewer than 18 samples.

    Six samples are the fewest whose median has a 95 % interval.
    """
    if len(samples) < 18:
        return None
    thirds = [percentile_interval(part, 50) for part in np.array_split(samples, 3)]
    slow, fast = max(thirds, key=lambda e: e.value or 0), min(thirds, key=lambda e: e.value or 0)
    if slow.value is None or not fast.value or fast.high is None or slow.low is None:
        return None
    return Drift(slow.value / fast.value - 1, slow.low > fast.high)


_AGREE, _SCATTER = 0.05, 0.1
WINDOWS = 8
"""Windows of a warm-up that show whether there is a trend."""


def settled(medians: Sequence[float]) -> bool:
    """Whether a warm-up is over, by the medians of its windows.

    It is when the last three agree within 5 %. Of a model whose query takes seconds a window is one query, and where
    queries scatter by 3 % no three may ever agree. So it is over too when the last eight show no trend: the medians of
    their two halves agree within 5 %, and none is off from the median of all by more than 10 %.
    """
    last = np.array(medians[-WINDOWS:])
    if len(last) < 3 or last.min() <= 0:
        return False
    if np.ptp(last[-3:]) <= _AGREE * last[-3:].min():
        return True
    if len(last) < WINDOWS:
        return False
    halves = np.median(last.reshape(2, -1), axis=1)
    middle = float(np.median(last))
    return bool(np.ptp(halves) <= _AGREE * halves.min() and np.abs(last - middle).max() <= _SCATTER * middle)
