"""Intervals: a studentised bootstrap over clusters, and the same for paired differences.

Frames of one person are not independent, so people are resampled, not frames. With the 27 people of DISFA the plain
percentile interval is far too short: ``benchmarks/coverage.py`` finds that for the mean PCC or F1 of 12 AUs it holds
the truth in about 72 of 100 data sets where it claims 95, and in 75 when widened by Student's t. A few expressive
people carry these metrics; a data set that lacks them scores low and shows little spread, so its interval is off-centre
and short at once. What is done instead (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12):

1. The metric is moved to a scale on which its spread is about constant: Fisher's z for coefficients, the arcsine of
   the root for proportions, the logarithm for errors, none for differences.
2. Each resample gives t* = (metric* - metric) / s*, s* being the standard error that the resample itself implies
   (its clusters' influences, squared and summed).
3. The interval is metric - t*[97.5 %] s to metric - t*[2.5 %] s, with s the jackknife's standard error over clusters.

That interval is one for the value in the population that the people were drawn from. A mean over folds is another
figure: a fold of five or nine people has a lower expected correlation or F1 than the population, and this figure is
only comparable with means over folds as small. Its interval is therefore one for its own expectation: t* is taken from
the mean of the resamples, and s is the influences' standard error, because the jackknife of so few exaggerates.

Simulated coverage (``benchmarks/coverage.md``): pooled means over labels and differences 93 to 97 % with 9, 27, 41 and
100 people (F1 up to 99 with 9), means over 3 or 5 folds 91 to 97 %. A single AU that few people show is the hard case:
about 90 % for PCC, and F1 on the safe side.

No interval is given (None) where the data cannot support one: fewer than :data:`MIN_CLUSTERS` clusters, a value that
exists only thanks to one cluster, a value that is undefined in more than :data:`MAX_UNDEFINED` of the resamples, a fold
with one cluster, or clusters that do not differ at all (a perfect score).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zoo.metrics.statistics import Floats, Formula

LEVEL = 0.95
"""Nominal coverage of every interval."""
MIN_CLUSTERS = 5
"""Fewer clusters than this get no interval."""
MAX_UNDEFINED = 0.05
"""Largest part of the resamples in which a value with an interval may be undefined."""
_LEFT_OUT = 2_000
"""Most rows that are left out one by one; with more clusters the jackknife and the influences agree."""
_CHUNK = 2_000_000  # draws held at once, and the most resamples; both are part of the definition of a draw
_MOST = 1_000

Scale = Literal["fisher", "arcsine", "log", "identity"]
Influence: TypeAlias = Callable[[int], Floats]
"""Label's number -> influence of one more draw of each row, ``[resamples, rows]``; 0 where the value is undefined."""


Evaluated: TypeAlias = dict[str, tuple[Floats, Influence]]


class Cell(Protocol):
    """Metrics of every label in one fold (or in the pool), as functions of how often each row is drawn."""

    count: Floats
    """How many clusters each row stands for, ``[rows]``."""
    row: NDArray[np.intp]
    """Row of each cluster, ``[clusters]``."""

    def alone(self, metric: str) -> Floats:
        """Returns a metric's values within one cluster of each row, ``[rows, labels]``, NaN where undefined."""
        ...

    def at(self, weights: Floats, metrics: Collection[str]) -> Evaluated:
        """Evaluates resamples.

        Args:
            weights: How often each row is drawn, ``[resamples, rows]``.
            metrics: Which metrics.

        Returns:
            By metric: values ``[resamples, labels]``, NaN where undefined, and the influences.
        """
        ...


class SumCell:
    """Metrics that are formulas of sums per cluster.

    Clusters with equal sums are one row: thousands of images with one label each become a few dozen rows.

    Args:
        sums: ``[clusters, labels, K]``.
        formulas: By metric.
        of: Where clusters share sums: which of ``sums`` each has, ``[clusters]``.
    """

    def __init__(self, sums: Floats, formulas: Mapping[str, Formula], of: NDArray[np.intp] | None = None) -> None:
        self._flat, row = np.unique(sums.reshape(len(sums), -1), axis=0, return_inverse=True)
        row = row.reshape(-1)
        self.row = row if of is None else row[of]
        self.count = np.bincount(self.row, minlength=len(self._flat)).astype(np.float64)
        self._sums = self._flat.reshape(-1, *sums.shape[1:])
        self._formulas = formulas

    def part(self, clusters: NDArray[np.intp]) -> SumCell:
        """Returns the same for some of the clusters."""
        used, row = np.unique(self.row[clusters], return_inverse=True)
        return SumCell(self._sums[used], self._formulas, row)

    def alone(self, metric: str) -> Floats:
        """See :class:`Cell`."""
        return self._formulas[metric](self._sums)[0]

    def at(self, weights: Floats, metrics: Collection[str]) -> Evaluated:
        """See :class:`Cell`."""
        total = (weights @ self._flat).reshape(len(weights), *self._sums.shape[1:])

        def evaluate(formula: Formula) -> tuple[Floats, Influence]:
            value, gradient = formula(total)
            return value, lambda label: gradient[:, label] @ self._sums[:, label].T

        return {name: evaluate(self._formulas[name]) for name in metrics}


class PairCell:
    """The area under the ROC curve.

    Args:
        labels: What :func:`zoo.metrics.statistics.concordant_pairs` gives, of each label.
    """

    def __init__(self, labels: Sequence[tuple[Floats, Floats, Floats]]) -> None:
        self._labels = labels
        self.count = np.ones(len(labels[0][1]))
        self.row = np.arange(len(self.count))

    def alone(self, metric: str) -> Floats:
        """See :class:`Cell`."""
        del metric
        with np.errstate(invalid="ignore"):
            return np.stack([np.diag(pairs) / (pos * neg) for pairs, pos, neg in self._labels], axis=1)

    def at(self, weights: Floats, metrics: Collection[str]) -> Evaluated:
        """See :class:`Cell`."""
        values = np.full((len(weights), len(self._labels)), np.nan)
        for label, (pairs, positives, negatives) in enumerate(self._labels):
            product = (weights @ positives) * (weights @ negatives)
            right = ((weights @ pairs) * weights).sum(1)
            np.divide(right, product, out=values[:, label], where=product > 0)

        def influence(label: int) -> Floats:
            pairs, positives, negatives = self._labels[label]
            p, n = weights @ positives, weights @ negatives
            product = np.where(p * n > 0, p * n, np.inf)[:, None]
            gain = weights @ (pairs + pairs.T)
            area = np.nan_to_num(values[:, label])[:, None]
            result: Floats = (gain - area * (n[:, None] * positives + p[:, None] * negatives)) / product
            return result

        return dict.fromkeys(metrics, (values, influence))


@dataclass(frozen=True)
class Design:
    """Which clusters there are and in which fold each lies: with the seed, all that a resample's draw depends on.

    Attributes:
        ids: Sorted cluster ids ``[clusters]``.
        fold: Fold of each cluster ``[clusters]``; all 0 where everything is one pool.
    """

    ids: NDArray[np.int64]
    fold: NDArray[np.int64]

    @cached_property
    def members(self) -> list[NDArray[np.intp]]:
        """Positions in ``ids`` of each fold's clusters, folds in order."""
        return [np.flatnonzero(self.fold == f) for f in np.unique(self.fold)]

    def pooled(self) -> Design:
        """Returns the same clusters in one fold."""
        return Design(self.ids, np.zeros_like(self.fold))

    def draws(self, resamples: int, seed: int) -> Iterator[list[NDArray[np.intp]]]:
        """Yields resamples in chunks: for each fold, clusters drawn with replacement, as many as it has.

        Yields:
            For each fold ``[resamples in this chunk, clusters]``, positions within the fold.
        """
        sizes = [len(m) for m in self.members]
        random = np.random.default_rng([seed, *sizes])
        chunk = max(1, min(_MOST, _CHUNK // len(self.ids)))
        for first in range(0, resamples, chunk):
            yield [random.integers(0, n, (min(chunk, resamples - first), n)) for n in sizes]


@dataclass(frozen=True)
class Replicates:
    """A metric's values in the data, in each resample, and with each cluster left out.

    The last axis holds the labels, then ``mean_defined``, then ``mean_strict``.

    Attributes:
        point: ``[labels + 2]``.
        error: Standard error that the data imply (clusters' influences, squared and summed), ``[labels + 2]``.
        values: ``[resamples, labels + 2]``.
        spread: Standard error that each resample implies, same shape; on the metric's own scale.
        left_out: For each fold, the values without one cluster ``[rows, labels + 2]`` and how many clusters each row
            stands for; empty where there are too many clusters to leave each out.
        folds: Number of folds.
        undefined_folds: Folds in which each label is undefined (for a difference: of the first), ``[labels]``.
    """

    point: Floats
    error: Floats
    values: Floats
    spread: Floats
    left_out: list[tuple[Floats, Floats]]
    folds: int
    undefined_folds: NDArray[np.int64]


def _combine(values: Floats, zero_is_worst: bool) -> tuple[Floats, list[Floats]]:
    """Takes means over folds and labels.

    Args:
        values: ``[resamples, folds, labels]``, NaN where undefined.
        zero_is_worst: Whether an undefined value may count as 0 in the strict mean.

    Returns:
        ``[resamples, labels + 2]`` (labels, ``mean_defined``, ``mean_strict``), and the weights
        ``[resamples, folds, labels]`` with which each value enters its label, the defined and the strict mean.
    """
    _, folds, labels = values.shape
    defined = np.isfinite(values)
    known = np.where(defined, values, 0.0)
    in_label = defined / np.maximum(defined.sum(1, keepdims=True), 1)
    has_value: NDArray[np.bool_] = np.any(defined, axis=1)
    in_defined = in_label / np.maximum(has_value.sum(1), 1)[:, None, None]
    in_strict = np.full(values.shape, 1 / (folds * labels))
    label = np.where(has_value, (in_label * known).sum(1), np.nan)
    mean_defined = np.where(np.any(has_value, axis=1), (in_defined * known).sum((1, 2)), np.nan)
    mean_strict = (in_strict * known).sum((1, 2))
    if not zero_is_worst:
        mean_strict = np.where(np.all(defined, axis=(1, 2)), mean_strict, np.nan)
    return np.concatenate([label, mean_defined[:, None], mean_strict[:, None]], 1), [in_label, in_defined, in_strict]


class _Side:
    """One metric of one evaluation, over its folds, for a chunk of resamples."""

    def __init__(self, at: Sequence[tuple[Floats, Influence]], zero_is_worst: bool) -> None:
        self._influences = [influence for _, influence in at]
        self.targets, self._weights = _combine(np.stack([value for value, _ in at], axis=1), zero_is_worst)

    def influences(self, fold: int) -> Iterator[Floats]:
        """Yields ``[resamples, rows]`` for each label, then for the two means."""
        in_label, in_defined, in_strict = (w[:, fold, :, None] for w in self._weights)
        defined = strict = np.zeros(1)
        for label in range(in_label.shape[1]):
            influence = self._influences[fold](label)
            yield in_label[:, label] * influence
            defined = defined + in_defined[:, label] * influence
            strict = strict + in_strict[:, label] * influence
        yield from (defined, strict)


def _tally(rows: NDArray[np.intp], width: int) -> Floats:
    """Counts how often each row occurs in each line of ``rows``."""
    flat = rows + width * np.arange(len(rows))[:, None]
    return np.bincount(flat.ravel(), minlength=len(rows) * width).reshape(len(rows), width).astype(np.float64)


class _Rows:
    """Rows of one fold that one or two cells share, so that both see the same draws."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        if len(cells) == 1:
            self.row, self.count = cells[0].row, cells[0].count
            self._maps: list[NDArray[np.intp] | None] = [None]
        else:
            pairs, row, count = np.unique(
                np.stack([c.row for c in cells], axis=1), axis=0, return_inverse=True, return_counts=True
            )
            self.row, self.count = row.reshape(-1), count.astype(np.float64)
            self._maps = list(pairs.T)
        self._cells = cells

    def at(self, weights: Floats, metrics: Collection[str]) -> list[Evaluated]:
        """Evaluates each cell; influences are by the shared rows."""
        return [
            self._evaluate(cell, rows, weights, metrics) for cell, rows in zip(self._cells, self._maps, strict=True)
        ]

    @staticmethod
    def _evaluate(cell: Cell, rows: NDArray[np.intp] | None, weights: Floats, metrics: Collection[str]) -> Evaluated:
        if rows is None:
            return cell.at(weights, metrics)
        own = weights @ (rows[:, None] == np.arange(len(cell.count))).astype(np.float64)

        def spread_out(influence: Influence) -> Influence:
            return lambda label: influence(label)[:, rows]

        return {name: (value, spread_out(influence)) for name, (value, influence) in cell.at(own, metrics).items()}


def replicate(
    sides: Sequence[Sequence[Cell]], design: Design, resamples: int, seed: int, zero_is_worst: Mapping[str, bool]
) -> dict[str, Replicates]:
    """Evaluates metrics in the data, in each resample, and with each cluster left out.

    Args:
        sides: For one evaluation, its cell of each fold; for a difference, those of the first and of the second.
        design: The clusters; its folds are those of the cells.
        resamples: How many resamples; 0 gives the values of the data alone.
        seed: Of the draws.
        zero_is_worst: The metrics to evaluate, and for each whether an undefined value counts as 0 in the strict mean.

    Returns:
        By metric; first minus second where there are two sides.
    """
    folds = [_Rows(cells) for cells in zip(*sides, strict=True)]
    # Variance of a sum over n clusters: n/(n-1) Σ influence² (a fold with one cluster has none).
    factors = [f.count.sum() / (f.count.sum() - 1) if f.count.sum() > 1 else np.nan for f in folds]

    def evaluate(metric: str, at: list[list[Evaluated]]) -> list[_Side]:
        return [_Side([fold[s][metric] for fold in at], zero_is_worst[metric]) for s in range(len(sides))]

    def minus(parts: Sequence[Floats]) -> Floats:
        return parts[0] if len(parts) == 1 else parts[0] - parts[1]

    def spread(each: list[_Side], weights: Sequence[Floats]) -> Floats:
        variance = np.zeros(each[0].targets.shape)
        for number, (w, factor) in enumerate(zip(weights, factors, strict=True)):
            for target, parts in enumerate(zip(*(side.influences(number) for side in each), strict=True)):
                influence = minus(parts)
                variance[:, target] += factor * np.einsum("bn,bn,bn->b", w, influence, influence)
        return np.sqrt(variance)

    once = [fold.count[None] for fold in folds]
    whole = [fold.at(w, zero_is_worst) for fold, w in zip(folds, once, strict=True)]
    in_data = {m: evaluate(m, whole) for m in zero_is_worst}
    points = {m: minus([side.targets for side in each])[0] for m, each in in_data.items()}
    values: dict[str, list[Floats]] = {m: [np.empty((0, len(points[m])))] for m in points}
    spreads: dict[str, list[Floats]] = {m: [np.empty((0, len(points[m])))] for m in points}
    for drawn in design.draws(resamples, seed):
        weights = [_tally(fold.row[d], len(fold.count)) for fold, d in zip(folds, drawn, strict=True)]
        at = [fold.at(w, zero_is_worst) for fold, w in zip(folds, weights, strict=True)]
        for metric in points:
            each = evaluate(metric, at)
            values[metric].append(minus([side.targets for side in each]))
            spreads[metric].append(spread(each, weights))

    left_out: dict[str, list[tuple[Floats, Floats]]] = {m: [] for m in points}
    few = resamples > 0 and max(len(fold.count) for fold in folds) <= _LEFT_OUT
    for number, fold in enumerate(folds if few else ()):
        chunk = max(1, min(_MOST, _CHUNK // len(fold.count)))
        kept: dict[str, list[Floats]] = {m: [] for m in points}
        for first in range(0, len(fold.count), chunk):
            weights_out = np.repeat(fold.count[None], min(chunk, len(fold.count) - first), axis=0)
            weights_out[np.arange(len(weights_out)), first + np.arange(len(weights_out))] -= 1
            at_out = fold.at(weights_out, zero_is_worst)
            for metric in points:
                sides_out = []
                for s in range(len(sides)):
                    others = [np.broadcast_to(f[s][metric][0], at_out[s][metric][0].shape) for f in whole]
                    others[number] = at_out[s][metric][0]
                    sides_out.append(_combine(np.stack(others, axis=1), zero_is_worst[metric])[0])
                kept[metric].append(minus(sides_out))
        for metric, parts_out in kept.items():
            left_out[metric].append((np.concatenate(parts_out), fold.count))
    undefined = {m: np.sum([np.isnan(fold[0][m][0][0]) for fold in whole], axis=0) for m in points}
    return {
        m: Replicates(
            points[m],
            spread(in_data[m], once)[0],
            np.concatenate(values[m]),
            np.concatenate(spreads[m]),
            left_out[m],
            len(folds),
            undefined[m],
        )
        for m in points
    }


def _forward(scale: Scale, v: Floats) -> tuple[Floats, Floats]:
    """The scale's function and its derivative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "fisher":
            return np.arctanh(np.clip(v, -1, 1)), 1 / (1 - np.clip(v, -1, 1) ** 2)
        if scale == "arcsine":
            v = np.clip(v, 0, 1)
            return 2 * np.arcsin(np.sqrt(v)), 1 / np.sqrt(v * (1 - v))
        if scale == "log":
            return np.log(v), 1 / v
    return v, np.ones_like(v)


def _back(scale: Scale, z: float) -> float:
    if scale == "fisher":
        return float(np.tanh(z))
    if scale == "arcsine":
        return float(np.sin(np.clip(z, 0, np.pi) / 2) ** 2)
    with np.errstate(over="ignore"):  # infinite: no interval
        return float(np.exp(z)) if scale == "log" else z


@dataclass(frozen=True)
class Interval:
    """A confidence interval and, for a difference, the p-value of "it is 0"."""

    low: float | None
    high: float | None
    p: float | None = None


_NONE = Interval(None, None)


def interval(replicates: Replicates, target: int, scale: Scale) -> Interval:
    """Returns the studentised 95 % interval of one target, or an empty one where the data cannot support it.

    Args:
        replicates: From :func:`replicate`.
        target: Number of the label, ``-2`` for the defined mean, ``-1`` for the strict one.
        scale: On which the metric's spread is about constant.
    """
    values, point = replicates.values[:, target], replicates.point[target]
    defined = np.isfinite(values)
    if not np.isfinite(point) or not len(values) or (~defined).mean() > MAX_UNDEFINED:
        return _NONE
    centre, steepness = _forward(scale, point)
    jackknife = 0.0
    for left_out, count in replicates.left_out:
        without, _ = _forward(scale, left_out[:, target])
        n = count.sum()
        if not np.isfinite(without).all():
            return _NONE
        middle = (without * count).sum() / n
        jackknife += (n - 1) / n * float((count * (without - middle) ** 2).sum())
    moved, slope = _forward(scale, values[defined])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = float(steepness * replicates.error[target])  # NaN where a fold has one cluster
        if replicates.folds == 1 and replicates.left_out:
            error = float(np.sqrt(jackknife))
        finite = np.isfinite(moved)
        if not error > 1e-12 * max(1.0, abs(float(centre))) or not finite.any():  # all alike: nothing to resample
            return _NONE
        off = moved - (moved[finite].mean() if replicates.folds > 1 else centre)
        spread = slope * replicates.spread[defined, target]
        # A resample without spread says "as far as can be", not "no answer".
        t = np.sort(np.where(spread > 0, off / spread, np.where(off == 0, 0.0, np.sign(off) * np.inf)))
    tail = int((len(t) + 1) * (1 - LEVEL) / 2)
    if tail < 1:
        return _NONE
    low = _back(scale, float(centre - t[-tail] * error))
    high = _back(scale, float(centre - t[tail - 1] * error))
    if not np.isfinite([low, high]).all():
        return _NONE
    observed = float(centre / error)
    beyond = min(int((t >= observed).sum()), int((t <= observed).sum()))
    return Interval(low, high, min(1.0, 2 * (beyond + 1) / (len(t) + 1)))
