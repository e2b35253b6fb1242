"""One call from predictions to values with intervals.

Two ways to combine frames (both are always computed):

``pooled``
    The frames of all folds are concatenated, then each label gets one value (OpenFace's script, ABAW).
``mean_over_folds``
    Each label gets one value a fold; folds are averaged (JAA-Net, ME-GraphAU).

Two ways to combine labels, and folds, where a value is undefined (see :mod:`zoo.metrics.statistics`):

``mean_defined``
    Undefined folds are left out of a label's value, labels without any value out of the mean over labels.
``mean_strict``
    An undefined value of a label in a fold counts as 0. This is what scikit-learn's F1 does by default and hence what
    JAA-Net and LibreFace's occurrence code report; ME-GraphAU's small constant in the denominators has the same effect.
    LibreFace's intensity code does neither: an undefined correlation makes its whole mean undefined. For errors, where
    0 would be the best value, an undefined value makes the strict mean undefined.

A label's own value is always the mean over the folds where it is defined; :attr:`LabelResult.undefined_folds` says how
many are not, so that a table in the manner of JAA-Net (0 there) is ``value * (folds - undefined_folds) / folds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import UnknownNameError, UsageError
from zoo.metrics.bootstrap import LEVEL, MIN_CLUSTERS, Interval, Replicates, interval, replicate
from zoo.metrics.catalogue import METRICS, Aggregation
from zoo.metrics.results import Coded, Estimate, Evaluation, LabelResult, MetricResult, plain
from zoo.metrics.samples import Samples
from zoo.registry.labels import Task


def evaluate(
    task: Task,
    labels: Sequence[str],
    truth: ArrayLike,
    prediction: ArrayLike,
    clusters: ArrayLike,
    folds: ArrayLike,
    metrics: Sequence[str],
    *,
    scores: ArrayLike | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Evaluation:
    """Evaluates predictions: every metric, pooled and as mean over folds, by label and in the mean, with intervals.

    Args:
        task: ``au-intensity``, ``au-occurrence``, ``expression`` or ``valence-arousal``.
        labels: AUs, classes or affect dimensions, ``L`` names.
        truth: ``[n, L]``, NaN where not coded (occurrence: 0 or 1); expressions: class number ``[n]``, -1 where not
            labelled.
        prediction: ``[n, L]`` on the scale of the truth (occurrence: 0 or 1), a column of NaN for a label that the
            model does not predict; expressions: class number ``[n]``, where anything outside the label set, such as
            -1, is a wrong answer.
        clusters: Integer ``[n]``: the person of each sample (or the image, where there are no people).
        folds: Integer ``[n]``: the fold that tests the sample; all equal where there are no folds.
        metrics: Names in :data:`METRICS`.
        scores: ``[n, L]``, occurrence only: higher where more likely present; needed for ``auc`` and ``f1_best``.
        resamples: Bootstrap resamples; 0 for values without intervals.
        seed: Of the resamples. The draws depend on it, on the number of clusters in each fold and on their order by
            id, and on nothing else: evaluations of two models on the same samples are paired.

    Raises:
        UnknownNameError: A metric or task that does not exist.
        UsageError: Arrays that do not fit together, a metric that is not one of the task, values that are not finite
            or not 0 and 1, a cluster in two folds, or nothing to score.

    Example:
        >>> import numpy as np
        >>> truth = np.array([[0.], [1.], [2.], [3.]])
        >>> people, folds = [0, 0, 1, 1], [0, 0, 0, 0]
        >>> scored = evaluate("au-intensity", ["AU12"], truth, truth + 1, people, folds, ["mae", "pcc"], resamples=0)
        >>> scored.get("mae").mean_strict.value, scored.get("pcc").per_label[0].value
        (1.0, 1.0)
    """
    data = Samples(task, labels, truth, prediction, clusters, folds, scores)
    metrics = list(dict.fromkeys(metrics))
    for name in metrics:
        if name not in METRICS:
            raise UnknownNameError("metric", name, METRICS)
        if task not in METRICS[name].tasks:
            fitting = [m.name for m in METRICS.values() if task in m.tasks]
            raise UsageError(f"the metric {name} is not one of the task {task}", fix=f"use {', '.join(fitting)}")
        if name in ("auc", "f1_best") and data.scores is None:
            raise UsageError(f"the metric {name} needs scores", why="0 and 1 have no order beyond the threshold")
    if resamples < 0 or seed < 0:
        raise UsageError("resamples and seed must not be negative", where=f"resamples={resamples} seed={seed}")

    groups = data.groups(metrics)
    coded = data.coded()
    design, single = data.design, len(data.design.members) == 1
    replicates: dict[tuple[str, Aggregation], Replicates] = {}
    results: dict[tuple[str, Aggregation], MetricResult] = {}
    for aggregation in get_args(Aggregation):
        for group in groups:
            if single and aggregation == "mean_over_folds":
                found = {m: replicates[m, "pooled"] for m in group.metrics}
            else:
                found = replicate(
                    [group.cells(aggregation)], design.pooled() if aggregation == "pooled" else design, resamples, seed,
                    {m: METRICS[m].higher_is_better for m in group.metrics},
                )  # fmt: skip
            for metric, replicated in found.items():
                replicates[metric, aggregation] = replicated
                results[metric, aggregation] = _result(data, metric, aggregation, replicated, coded)
        for metric in set(metrics) - {m for group in groups for m in group.metrics}:
            results[metric, aggregation] = _point_result(data, metric, aggregation, coded)
    confusion: tuple[tuple[int, ...], ...] | None = None
    if task == "expression":
        tables, of = data.confusion
        confusion = tuple(map(tuple, np.tensordot(np.bincount(of, minlength=len(tables)), tables, 1).tolist()))
    return Evaluation(
        task=task, labels=data.labels, resamples=resamples, seed=seed, level=LEVEL, n=len(data.cluster),
        n_clusters=len(design.ids), n_folds=len(design.members),
        scores=tuple(results[m, a] for m in metrics for a in get_args(Aggregation)),
        confusion=confusion, replicates=replicates, _ids=data.all_ids,
        _samples=np.bincount(data.cluster, minlength=len(design.ids)), _design=design, _coded=coded, _groups=groups,
    )  # fmt: skip


def _label(data: Samples, number: int, coded: Coded, **values: Any) -> LabelResult:
    (n, positive), (clusters, clusters_pos) = coded.samples(number), coded.clusters(number)
    affect = data.task == "valence-arousal"
    return LabelResult(
        label=data.labels[number], n=n, clusters=clusters, n_pos=None if affect else positive,
        clusters_pos=None if affect else clusters_pos, **values,
    )  # fmt: skip


def _result(data: Samples, metric: str, aggregation: Aggregation, replicated: Replicates, coded: Coded) -> MetricResult:
    scale = METRICS[metric].scale
    assert scale is not None

    def estimate(target: int, clusters: int) -> dict[str, float | None]:
        found = interval(replicated, target, scale) if clusters >= MIN_CLUSTERS else Interval(None, None)
        return {"value": plain(replicated.point[target]), "low": found.low, "high": found.high}

    everyone = len(data.design.ids)
    labels: tuple[LabelResult, ...] = ()
    if not (data.task == "expression" and metric == "accuracy"):
        # A class's recall and F1 also depend on samples of other classes: every cluster contributes.
        held = [everyone if data.task == "expression" else coded.clusters(i)[0] for i in range(len(data.labels))]
        labels = tuple(
            _label(data, i, coded, undefined_folds=int(replicated.undefined_folds[i]), **estimate(i, clusters))
            for i, clusters in enumerate(held)
        )
    return MetricResult(
        metric, aggregation, labels, Estimate(**estimate(-2, everyone)), Estimate(**estimate(-1, everyone)),
        int(np.isnan(replicated.point[:-2]).sum()),
    )  # fmt: skip


def _point_result(data: Samples, metric: str, aggregation: Aggregation, coded: Coded) -> MetricResult:
    """A metric without resamples."""
    value, threshold = data.by_fold(metric, aggregation)
    defined = np.isfinite(value)
    per_label = np.where(defined, value, 0).sum(0) / np.maximum(defined.sum(0), 1)
    known: NDArray[np.bool_] = np.any(defined, axis=0)
    labels = tuple(
        _label(
            data,
            i,
            coded,
            value=float(per_label[i]) if known[i] else None,
            undefined_folds=int((~defined[:, i]).sum()),
            threshold=plain(threshold[0, i]) if aggregation == "pooled" else None,
        )
        for i in range(len(data.labels))
    )
    return MetricResult(
        metric, aggregation, labels,
        Estimate(float(per_label[known].mean()) if known.any() else None),
        Estimate(float(np.where(defined, value, 0).mean())), int((~known).sum()),
    )  # fmt: skip
