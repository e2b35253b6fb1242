"""One call from predictions to values with intervals, and paired comparisons of two such evaluations.

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

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import UnknownNameError, UsageError
from zoo.metrics import statistics
from zoo.metrics.binary import area, best_threshold
from zoo.metrics.bootstrap import (
    LEVEL,
    MIN_CLUSTERS,
    Cell,
    Design,
    Interval,
    PairCell,
    Replicates,
    Scale,
    SumCell,
    interval,
    replicate,
)
from zoo.metrics.statistics import Floats, Formula
from zoo.registry.labels import Task

Aggregation = Literal["pooled", "mean_over_folds"]
Mean = Literal["mean_defined", "mean_strict"]
_POSITION = {"mean_defined": -2, "mean_strict": -1}
_SCORED: tuple[Task, ...] = ("au-intensity", "valence-arousal")


@dataclass(frozen=True)
class Metric:
    """What one metric is.

    Attributes:
        name: As protocols and records write it.
        title: As tables write it.
        tasks: Tasks that it belongs to.
        higher_is_better: Direction.
        mean: The mean over labels that its users report: ``mean_strict`` for all but balanced accuracy, which is
            defined over the classes that occur.
        scale: Scale on which its interval is made; None: it has no interval.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    mean: Mean
    scale: Scale | None


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("pcc", "PCC", _SCORED, True, "mean_strict", "fisher"),
        Metric("icc31", "ICC(3,1)", _SCORED, True, "mean_strict", "fisher"),
        Metric("ccc", "CCC", _SCORED, True, "mean_strict", "fisher"),
        Metric("mae", "MAE", _SCORED, False, "mean_strict", "log"),
        Metric("mse", "MSE", _SCORED, False, "mean_strict", "log"),
        Metric("rmse", "RMSE", _SCORED, False, "mean_strict", "log"),
        Metric("sagr", "SAGR", ("valence-arousal",), True, "mean_strict", "arcsine"),
        Metric("f1", "F1", ("au-occurrence",), True, "mean_strict", "arcsine"),
        Metric("accuracy", "accuracy", ("au-occurrence", "expression"), True, "mean_strict", "arcsine"),
        Metric("auc", "ROC AUC", ("au-occurrence",), True, "mean_strict", "arcsine"),
        # A threshold tuned on the labels it is scored on: biased upwards, so an interval would not cover anything.
        Metric("f1_best", "F1 (best threshold)", ("au-occurrence",), True, "mean_strict", None),
        Metric("balanced_accuracy", "balanced accuracy", ("expression",), True, "mean_defined", "arcsine"),
        Metric("macro_f1", "macro F1", ("expression",), True, "mean_strict", "arcsine"),
    )
}  # fmt: skip
"""Every metric by name."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes:
        value: None where undefined.
        low: Lower end; None where the data cannot support an interval (see :mod:`zoo.metrics.bootstrap`).
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LabelResult(Estimate):
    """One label's value of one metric.

    Attributes:
        label: AU, class or affect dimension.
        n: Samples that count: coded ones; for a class, those of the class.
        n_pos: Positives in the truth (occurrence; intensity above 0; samples of the class); None for affect.
        clusters: Clusters with a coded sample.
        clusters_pos: Clusters with a positive; None for affect. A value that rests on few people is a weak one.
        undefined_folds: Folds in which the value is undefined, of those that it is a mean over.
        threshold: The threshold found (``f1_best``, pooled): predicted where the score is at or above it.
    """

    label: str = ""
    n: int = 0
    n_pos: int | None = None
    clusters: int = 0
    clusters_pos: int | None = None
    undefined_folds: int = 0
    threshold: float | None = None


@dataclass(frozen=True)
class MetricResult:
    """One metric under one aggregation.

    Attributes:
        metric: Name in :data:`METRICS`.
        aggregation: ``pooled`` or ``mean_over_folds``.
        per_label: Of each label; for expressions recall (``balanced_accuracy``) or F1 (``macro_f1``) of each class, and
            none for ``accuracy``, which is one number.
        mean_defined: Mean over labels, undefined ones left out. For ``accuracy`` of expressions: the accuracy.
        mean_strict: Mean over labels, undefined ones counted as 0 (errors: None when there are any).
        undefined: Labels without a value in any fold.
    """

    metric: str
    aggregation: Aggregation
    per_label: tuple[LabelResult, ...]
    mean_defined: Estimate
    mean_strict: Estimate
    undefined: int

    @property
    def headline(self) -> Estimate:
        """The mean that the users of this metric report (:attr:`Metric.mean`)."""
        return self.mean_strict if METRICS[self.metric].mean == "mean_strict" else self.mean_defined


@dataclass(frozen=True)
class ClusterResult:
    """One person (or image).

    Attributes:
        cluster: Id.
        n: Samples with a coded label.
        values: Of each metric that has resamples (not ``f1_best``): mean over the labels that are defined within this
            cluster, or None.
    """

    cluster: int
    n: int
    values: dict[str, float | None]


@dataclass(frozen=True)
class _Group:
    """Metrics that come from the same cells."""

    metrics: tuple[str, ...]
    pooled: tuple[Cell, ...]
    by_fold: tuple[Cell, ...]

    def cells(self, aggregation: Aggregation) -> tuple[Cell, ...]:
        return self.pooled if aggregation == "pooled" else self.by_fold


@dataclass(frozen=True, eq=False)
class _Coded:
    """Coded samples and positives of each cluster and label; clusters with equal ones may share a row.

    Attributes:
        table: ``[rows, labels, 2]``.
        row: Row of each cluster, ``[clusters]``.
    """

    table: NDArray[np.int64]
    row: NDArray[np.intp]

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """How many clusters each row stands for, ``[rows]``."""
        return np.bincount(self.row, minlength=len(self.table))

    def samples(self, label: int) -> tuple[int, int]:
        """Returns how many samples are coded, and how many positive."""
        n, positive = (self.count @ self.table[:, label]).tolist()
        return n, positive

    def clusters(self, label: int) -> tuple[int, int]:
        """Returns how many clusters have a coded sample, and how many a positive one."""
        n, positive = (self.count @ (self.table[:, label] > 0)).tolist()
        return n, positive

    def same(self, other: _Coded) -> bool:
        """Whether both count the same in every cluster."""
        return np.array_equal(self.table[self.row], other.table[other.row])


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All values of one set of predictions.

    Attributes:
        task: The task.
        labels: Labels in order.
        resamples: Number of bootstrap resamples.
        seed: Of the resamples.
        level: Nominal coverage of the intervals.
        n: Samples with a coded label.
        n_clusters: People (or images) among them.
        n_folds: Folds among them.
        scores: Of each metric and aggregation.
        confusion: Expressions only: counts ``[true class][predicted class]`` with a last column for answers outside
            the label set.
        replicates: By (metric, aggregation): values in each resample. Rows of two evaluations with equal clusters,
            folds, seed and number of resamples belong together. Not part of :meth:`to_json`.
    """

    task: Task
    labels: tuple[str, ...]
    resamples: int
    seed: int
    level: float
    n: int
    n_clusters: int
    n_folds: int
    scores: tuple[MetricResult, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    replicates: Mapping[tuple[str, Aggregation], Replicates] = field(repr=False)
    _ids: NDArray[np.integer[Any]] = field(repr=False)
    _samples: NDArray[np.int64] = field(repr=False)
    _design: Design = field(repr=False)
    _coded: _Coded = field(repr=False)
    _groups: tuple[_Group, ...] = field(repr=False)

    def get(self, metric: str, aggregation: Aggregation = "pooled") -> MetricResult:
        """Returns one metric's result.

        Raises:
            UnknownNameError: It was not evaluated.
        """
        for result in self.scores:
            if (result.metric, result.aggregation) == (metric, aggregation):
                return result
        if metric in {r.metric for r in self.scores}:
            raise UnknownNameError("aggregation", aggregation, get_args(Aggregation))
        raise UnknownNameError("metric", metric, {r.metric for r in self.scores}, where="this evaluation")

    @cached_property
    def clusters(self) -> tuple[ClusterResult, ...]:
        """Results of each cluster, sorted by id; also of those without a coded sample."""
        scored = {int(c): i for i, c in enumerate(self._design.ids)}
        within: dict[str, tuple[Floats, NDArray[np.intp]]] = {}
        for group in self._groups:
            for metric in group.metrics:
                values = group.pooled[0].alone(metric)
                defined = np.isfinite(values)
                some = np.maximum(defined.sum(1), 1)
                means = np.where(defined.sum(1) > 0, np.where(defined, values, 0).sum(1) / some, np.nan)
                within[metric] = means, group.pooled[0].row
        empty = dict.fromkeys(within)
        return tuple(
            ClusterResult(int(c), int(self._samples[i]), {m: _plain(x[row[i]]) for m, (x, row) in within.items()})
            if (i := scored.get(int(c))) is not None
            else ClusterResult(int(c), 0, dict(empty))
            for c in self._ids
        )

    def per_cluster(self, metric: str) -> list[tuple[int, float | None]]:
        """Returns samples and value of each cluster, in the order of :attr:`clusters` (sorted ids).

        Raises:
            UnknownNameError: It was not evaluated by cluster.
        """
        for cluster in self.clusters:
            if metric not in cluster.values:
                raise UnknownNameError("metric", metric, cluster.values, where="this evaluation")
        return [(cluster.n, cluster.values[metric]) for cluster in self.clusters]

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the replicates as plain dictionaries, lists, floats and None."""
        return {
            "task": self.task, "labels": list(self.labels), "resamples": self.resamples, "seed": self.seed,
            "level": self.level, "n": self.n, "n_clusters": self.n_clusters, "n_folds": self.n_folds,
            "scores": [asdict(r) for r in self.scores],
            "clusters": [asdict(c) for c in self.clusters],
            "confusion": None if self.confusion is None else [list(row) for row in self.confusion],
        }  # fmt: skip


FORMULAS: Mapping[str, Formula] = {
    "pcc": statistics.pcc, "icc31": statistics.icc31, "ccc": statistics.ccc, "mae": statistics.mae,
    "mse": statistics.mse, "rmse": statistics.rmse, "sagr": statistics.sagr, "f1": statistics.f1,
    "accuracy": statistics.accuracy, "macro_f1": statistics.f1, "balanced_accuracy": statistics.recall,
}  # fmt: skip
"""Metrics that are formulas of sums, by name; for expressions each class is a label."""
_CLUSTERS = 4_096
"""Clusters whose confusion counts are in memory at once: where each image is one, they are as many as the images."""
MAX_PAIR_CLUSTERS = 2_000
"""With more clusters than this ``auc`` has no interval: it needs a table of clusters by clusters."""
_PairCounts: TypeAlias = tuple[Floats, Floats, Floats]


class _Scoring:
    """The checked input, cut to the samples with a coded label."""

    def __init__(
        self,
        task: Task,
        labels: Sequence[str],
        truth: ArrayLike,
        prediction: ArrayLike,
        clusters: ArrayLike,
        folds: ArrayLike,
        scores: ArrayLike | None,
    ) -> None:
        if task not in get_args(Task):
            raise UnknownNameError("task", str(task), get_args(Task))
        self.task, self.labels = task, tuple(labels)
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise UsageError("labels must be one or more different names", where=f"labels={list(labels)}")
        y, p = np.asarray(truth), np.asarray(prediction)
        cluster, fold = np.asarray(clusters), np.asarray(folds)
        shape: tuple[int, ...] = (len(y),) if task == "expression" else (len(y), len(self.labels))
        s = None if scores is None else np.asarray(scores)
        wanted = {"truth": (y, shape), "prediction": (p, shape), "clusters": (cluster, shape[:1])}
        wanted |= {"folds": (fold, shape[:1])} | ({} if s is None else {"scores": (s, shape)})
        for name, (array, expected) in wanted.items():
            if array.shape != expected:
                raise UsageError(
                    f"{name} has the wrong shape", where=f"evaluate(task={task!r})",
                    why=f"it is {list(array.shape)}, and {list(expected)} is needed for {len(self.labels)} labels",
                )  # fmt: skip
        for name, array in {"clusters": cluster, "folds": fold}.items():
            if array.dtype.kind not in "iu":
                raise UsageError(f"{name} must be integers", why=f"they are {array.dtype}")
        if task == "expression":
            self._check_classes(y, p)
            coded = y >= 0
        else:
            self._check_columns("truth", y, None)
            self._check_columns("prediction", p, y)
            if s is not None:
                self._check_columns("scores", s, y)
            coded = ~np.isnan(y).all(axis=1)
        if not coded.any():
            raise UsageError("no sample has a label: there is nothing to score", where=f"evaluate(task={task!r})")
        self.all_ids = np.unique(cluster)
        if not coded.all():  # else a copy of everything
            y, p, cluster, fold = y[coded], p[coded], cluster[coded], fold[coded]
            s = None if s is None else s[coded]
        self.truth, self.prediction, self.scores = y, p, s
        ids, self.cluster = np.unique(cluster, return_inverse=True)
        first = np.full(len(ids), -1, np.int64)
        first[self.cluster] = fold
        if (first[self.cluster] != fold).any():
            torn = ids[self.cluster[first[self.cluster] != fold][0]]
            raise UsageError(
                f"cluster {torn} is in more than one fold",
                why="folds must not share people: each fold is resampled by itself",
            )
        self.design = Design(ids.astype(np.int64), first)

    def _check_classes(self, truth: NDArray[Any], prediction: NDArray[Any]) -> None:
        for name, array in {"truth": truth, "prediction": prediction}.items():
            if array.dtype.kind not in "iu":
                raise UsageError(
                    f"{name} of expressions must be class numbers", why=f"it is {array.dtype}",
                    fix="pass integers: the position in labels, -1 for unlabelled (truth) or no answer (prediction)",
                )  # fmt: skip
        if (truth >= len(self.labels)).any() or (truth < -1).any():
            raise UsageError(
                "truth holds a class number outside the label set",
                why=f"values run from {truth.min()} to {truth.max()}, and there are {len(self.labels)} labels",
                fix="map other classes to -1 (not scored)",
            )

    def _check_columns(self, name: str, array: NDArray[Any], truth: NDArray[Any] | None) -> None:
        if array.dtype.kind not in "iufb":
            raise UsageError(f"{name} must be numbers", why=f"it is {array.dtype}")
        for number, label in enumerate(self.labels):
            column = array[:, number]
            known = column[~np.isnan(column)] if truth is None else column[~np.isnan(truth[:, number])]
            if truth is not None and np.isnan(column).all():
                continue  # the model does not predict this label
            bad = np.isnan(known) if name == "scores" else ~np.isfinite(known)
            if bad.any():
                raise UsageError(
                    f"{name} of {label} is not finite in {int(bad.sum())} of {len(known)} coded samples",
                    fix="decide what a sample without an answer counts as before scoring: 0, or truth set to NaN "
                    "(not scored); a label that the model does not predict is a column of NaN",
                )
            if self.task == "au-occurrence" and name != "scores" and not np.isin(known, (0, 1)).all():
                raise UsageError(
                    f"{name} of {label} holds {known[~np.isin(known, (0, 1))][0]:g}; occurrence is 0 or 1",
                    fix="apply the threshold before scoring; set codes for 'not coded' (9, -1) to NaN",
                )

    def groups(self, metrics: Sequence[str]) -> tuple[_Group, ...]:
        """Builds the cells."""
        count = len(self.design.ids)
        groups: list[_Group] = []

        def add(names: list[str], sums: Floats, of: NDArray[np.intp] | None = None) -> None:
            if names:
                cell = SumCell(sums, {m: FORMULAS[m] for m in names}, of)
                groups.append(_Group(tuple(names), (cell,), tuple(cell.part(m) for m in self.design.members)))

        if self.task == "expression":
            tables, of = self.confusion
            add([m for m in metrics if m != "accuracy"], statistics.class_sums(tables), of)
            add([m for m in metrics if m == "accuracy"], statistics.hit_sums(tables), of)
        elif self.task == "au-occurrence":
            sums = statistics.binary_sums(self.truth, self.prediction, self.cluster, count)
            add([m for m in metrics if m in ("f1", "accuracy")], sums)
            if "auc" in metrics and count <= MAX_PAIR_CLUSTERS:
                pairs = self._pairs()
                parts = [
                    PairCell([(u[np.ix_(m, m)], pos[m], neg[m]) for u, pos, neg in pairs]) for m in self.design.members
                ]
                groups.append(_Group(("auc",), (PairCell(pairs),), tuple(parts)))
        else:
            add(list(metrics), statistics.continuous_sums(self.truth, self.prediction, self.cluster, count))
        return tuple(groups)

    @cached_property
    def confusion(self) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Confusion counts ``[tables, classes, classes + 1]``, and which of them each cluster has, ``[clusters]``."""
        count, classes = len(self.design.ids), len(self.labels)
        order = np.argsort(self.cluster, kind="stable")
        starts = np.searchsorted(self.cluster, np.arange(0, count + _CLUSTERS, _CLUSTERS), sorter=order)
        tables: list[NDArray[np.int64]] = []
        of: list[NDArray[np.intp]] = []
        for number, (start, stop) in enumerate(pairwise(starts.tolist())):
            rows, first = order[start:stop], number * _CLUSTERS
            made = statistics.confusion(
                self.truth[rows], self.prediction[rows], classes, self.cluster[rows] - first,
                min(_CLUSTERS, count - first),
            )  # fmt: skip
            table, place = np.unique(made, axis=0, return_inverse=True)
            of.append(place.reshape(-1) + sum(map(len, tables)))
            tables.append(table)
        table, place = np.unique(np.concatenate(tables), axis=0, return_inverse=True)
        return table, place.reshape(-1)[np.concatenate(of)]

    def _pairs(self) -> list[_PairCounts]:
        assert self.scores is not None
        pairs = []
        for truth, column in zip(self.truth.T, self.scores.T, strict=True):
            score = column.astype(np.float64)
            known = np.where(np.isnan(score).all(), np.nan, truth)
            pairs.append(statistics.concordant_pairs(known, score, self.cluster, len(self.design.ids)))
        return pairs

    def by_fold(self, metric: str, aggregation: Aggregation) -> tuple[Floats, Floats]:
        """Value and threshold of a metric that has no resamples, ``[folds, labels]``."""
        assert self.scores is not None
        fold = self.design.fold[self.cluster]
        parts = [fold == f for f in np.unique(fold)] if aggregation == "mean_over_folds" else [np.full(len(fold), True)]
        values, thresholds = np.full((2, len(parts), len(self.labels)), np.nan)
        for number, part in enumerate(parts):
            for label in range(len(self.labels)):
                truth, score = self.truth[part, label], self.scores[part, label].astype(np.float64)
                if metric == "f1_best":
                    values[number, label], thresholds[number, label] = best_threshold(truth, score)
                else:
                    values[number, label] = area(truth, score)
        return values, thresholds

    def coded(self) -> _Coded:
        """Coded samples and positives of each cluster and label."""
        count = len(self.design.ids)
        if self.task == "expression":
            tables, of = self.confusion
            return _Coded(np.stack([tables.sum(-1)] * 2, axis=-1), of)
        table = np.zeros((count, len(self.labels), 2), np.int64)
        for label, column in enumerate(self.truth.T):
            table[:, label, 0] = np.bincount(self.cluster[~np.isnan(column)], minlength=count)
            table[:, label, 1] = np.bincount(self.cluster[column > 0], minlength=count)
        return _Coded(table, np.arange(count))


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
    data = _Scoring(task, labels, truth, prediction, clusters, folds, scores)
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


def _plain(value: float | Floats) -> float | None:
    return float(value) if np.isfinite(value) else None


def _label(data: _Scoring, number: int, coded: _Coded, **values: Any) -> LabelResult:
    (n, positive), (clusters, clusters_pos) = coded.samples(number), coded.clusters(number)
    affect = data.task == "valence-arousal"
    return LabelResult(
        label=data.labels[number], n=n, clusters=clusters, n_pos=None if affect else positive,
        clusters_pos=None if affect else clusters_pos, **values,
    )  # fmt: skip


def _result(
    data: _Scoring, metric: str, aggregation: Aggregation, replicated: Replicates, coded: _Coded
) -> MetricResult:
    scale = METRICS[metric].scale
    assert scale is not None

    def estimate(target: int, clusters: int) -> dict[str, float | None]:
        found = interval(replicated, target, scale) if clusters >= MIN_CLUSTERS else Interval(None, None)
        return {"value": _plain(replicated.point[target]), "low": found.low, "high": found.high}

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


def _point_result(data: _Scoring, metric: str, aggregation: Aggregation, coded: _Coded) -> MetricResult:
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
            threshold=_plain(threshold[0, i]) if aggregation == "pooled" else None,
        )
        for i in range(len(data.labels))
    )
    return MetricResult(
        metric, aggregation, labels,
        Estimate(float(per_label[known].mean()) if known.any() else None),
        Estimate(float(np.where(defined, value, 0).mean())), int((~known).sum()),
    )  # fmt: skip


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
    value = _plain(found.point[target])
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
