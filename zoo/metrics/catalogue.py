"""Every metric: its name, its tasks, its direction, its formula, and the mean over labels that its users report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zoo.metrics import statistics
from zoo.metrics.bootstrap import Scale
from zoo.metrics.statistics import Formula
from zoo.registry.labels import Task

Aggregation = Literal["pooled", "mean_over_folds"]
Mean = Literal["mean_defined", "mean_strict"]
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

FORMULAS: Mapping[str, Formula] = {
    "pcc": statistics.pcc, "icc31": statistics.icc31, "ccc": statistics.ccc, "mae": statistics.mae,
    "mse": statistics.mse, "rmse": statistics.rmse, "sagr": statistics.sagr, "f1": statistics.f1,
    "accuracy": statistics.accuracy, "macro_f1": statistics.f1, "balanced_accuracy": statistics.recall,
}  # fmt: skip
"""Metrics that are formulas of sums, by name; for expressions each class is a label."""
