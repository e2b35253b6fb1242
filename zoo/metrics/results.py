"""Values of metrics with their intervals, and all of them for one set of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UnknownNameError
from zoo.metrics.bootstrap import Cell, Design, Replicates
from zoo.metrics.catalogue import METRICS, Aggregation
from zoo.metrics.statistics import Floats
from zoo.registry.labels import Task


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
class Group:
    """Metrics that come from the same cells."""

    metrics: tuple[str, ...]
    pooled: tuple[Cell, ...]
    by_fold: tuple[Cell, ...]

    def cells(self, aggregation: Aggregation) -> tuple[Cell, ...]:
        """Returns one cell, or one a fold."""
        return self.pooled if aggregation == "pooled" else self.by_fold


@dataclass(frozen=True, eq=False)
class Coded:
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

    def same(self, other: Coded) -> bool:
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
    _coded: Coded = field(repr=False)
    _groups: tuple[Group, ...] = field(repr=False)

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
            ClusterResult(int(c), int(self._samples[i]), {m: plain(x[row[i]]) for m, (x, row) in within.items()})
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


def plain(value: float | Floats) -> float | None:
    """Returns a value for records, None where it is undefined."""
    return float(value) if np.isfinite(value) else None
