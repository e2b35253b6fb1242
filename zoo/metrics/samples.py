"""What is scored: arrays that fit together, cut to the samples with a label, and their sums by cluster and fold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import UnknownNameError, UsageError
from zoo.metrics import statistics
from zoo.metrics.binary import area, best_threshold
from zoo.metrics.bootstrap import Design, PairCell, SumCell
from zoo.metrics.catalogue import FORMULAS, Aggregation
from zoo.metrics.results import Coded, Group
from zoo.metrics.statistics import Floats
from zoo.registry.labels import Task

_CLUSTERS = 4_096
"""Clusters whose confusion counts are in memory at once: where each image is one, they are as many as the images."""
MAX_PAIR_CLUSTERS = 2_000
"""With more clusters than this ``auc`` has no interval: it needs a table of clusters by clusters."""
_PairCounts: TypeAlias = tuple[Floats, Floats, Floats]


class Samples:
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

    def groups(self, metrics: Sequence[str]) -> tuple[Group, ...]:
        """Builds the cells."""
        count = len(self.design.ids)
        groups: list[Group] = []

        def add(names: list[str], sums: Floats, of: NDArray[np.intp] | None = None) -> None:
            if names:
                cell = SumCell(sums, {m: FORMULAS[m] for m in names}, of)
                groups.append(Group(tuple(names), (cell,), tuple(cell.part(m) for m in self.design.members)))

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
                groups.append(Group(("auc",), (PairCell(pairs),), tuple(parts)))
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

    def coded(self) -> Coded:
        """Coded samples and positives of each cluster and label."""
        count = len(self.design.ids)
        if self.task == "expression":
            tables, of = self.confusion
            return Coded(np.stack([tables.sum(-1)] * 2, axis=-1), of)
        table = np.zeros((count, len(self.labels), 2), np.int64)
        for label, column in enumerate(self.truth.T):
            table[:, label, 0] = np.bincount(self.cluster[~np.isnan(column)], minlength=count)
            table[:, label, 1] = np.bincount(self.cluster[column > 0], minlength=count)
        return Coded(table, np.arange(count))
