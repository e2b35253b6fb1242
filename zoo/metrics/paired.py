"""Two evaluations of the same samples compared: paired differences with intervals, and p-values of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import UnknownNameError, UsageError
from zoo.metrics.bootstrap import MIN_CLUSTERS, Interval, interval, replicate
from zoo.metrics.catalogue import METRICS, Aggregation, Mean
from zoo.metrics.results import Evaluation, plain

_POSITION = {"mean_defined": -2, "mean_strict": -1}


@dataclass(frozen=True)
class Difference:
    """First minus second, on the same samples and the same resamples.

    Attributes:
        value: None where either is undefined.
        low: Lower end of the 95 % interval; None where the data cannot support one.
        high: Upper end.
        p: Two-sided p-value of "no difference", from the same distribution as the interval: below 0.05 where 0 lies
            outside. 1 where the two agree in every cluster; None where there is no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None


def paired_difference(
    first: Evaluation,
    second: Evaluation,
    metric: str,
    aggregation: Aggregation = "pooled",
    *,
    label: str | None = None,
    mean: Mean | None = None,
) -> Difference:
    """Compares two evaluations of the same samples.

    Args:
        first: One evaluation.
        second: Another: same task, labels, coded samples, clusters, folds, resamples and seed.
        metric: Name of a metric that both have.
        aggregation: ``pooled`` or ``mean_over_folds``.
        label: Compare this label rather than a mean.
        mean: Which mean; by default the one that the metric's users report (:attr:`Metric.mean`).

    Raises:
        UsageError: The two are not of the same samples, or the metric has no interval.
        UnknownNameError: No such metric or label.
    """
    for evaluation in (first, second):
        evaluation.get(metric, aggregation)
    if not any(metric in group.metrics for group in first._groups):
        tuned = METRICS[metric].scale is None
        raise UsageError(
            f"differences of {metric} cannot be tested",
            why="its threshold is tuned on the labels it is scored on" if tuned else "there are too many clusters",
        )
    _check_same(first, second)
    if label is not None and (label not in first.labels or not first.get(metric, aggregation).per_label):
        raise UnknownNameError("label", label, [r.label for r in first.get(metric, aggregation).per_label])
    target = first.labels.index(label) if label is not None else _POSITION[mean or METRICS[metric].mean]
    cells = [next(g for g in e._groups if metric in g.metrics).cells(aggregation) for e in (first, second)]
    design = first._design.pooled() if aggregation == "pooled" else first._design
    found = replicate(cells, design, first.resamples, first.seed, {metric: METRICS[metric].higher_is_better})[metric]
    value = plain(found.point[target])
    if value is None:
        return Difference(None, None, None, None)
    if value == 0 and not np.nan_to_num(found.values[:, target]).any():
        return Difference(0.0, 0.0, 0.0, 1.0)
    clusters = first.n_clusters if label is None else first._coded.clusters(first.labels.index(label))[0]
    tested = interval(found, target, "identity") if clusters >= MIN_CLUSTERS else Interval(None, None)
    if tested.low is None or tested.high is None:
        return Difference(value, None, None, tested.p)
    # Two correlations are at most 2 apart and two shares at most 1; an interval of few people may reach beyond.
    most = {"fisher": 2.0, "arcsine": 1.0}.get(METRICS[metric].scale or "", np.inf)
    return Difference(value, max(tested.low, -most), min(tested.high, most), tested.p)


def _check_same(first: Evaluation, second: Evaluation) -> None:
    a, b = first._design, second._design
    checks = {
        "task": first.task == second.task,
        "labels": first.labels == second.labels,
        "clusters": np.array_equal(a.ids, b.ids),
        "folds": np.array_equal(a.fold, b.fold),
        "resamples": first.resamples == second.resamples,
        "seed": first.seed == second.seed,
    }
    wrong = [name for name, same in checks.items() if not same]
    if not wrong and not first._coded.same(second._coded):
        wrong = ["coded samples"]
    if wrong:
        raise UsageError(
            "the two evaluations cannot be paired", why=f"they differ in: {', '.join(wrong)}",
            fix="evaluate both on the same samples and shared labels with one seed",
        )  # fmt: skip


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Adjusts p-values of a family of tests (Holm 1979): the chance of any false "different" stays below the level.

    Args:
        pvalues: Of each test; None for one that could not be made, which is left out of the family.

    Returns:
        Adjusted p-values in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03, None])
        [0.03, 0.06, 0.06, None]
    """
    made = sorted((p, i) for i, p in enumerate(pvalues) if p is not None)
    adjusted: list[float | None] = [None] * len(pvalues)
    worst = 0.0
    for rank, (p, i) in enumerate(made):
        worst = max(worst, min(1.0, p * (len(made) - rank)))
        adjusted[i] = worst
    return adjusted
