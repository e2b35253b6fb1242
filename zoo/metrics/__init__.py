"""Metrics of AU intensity and occurrence, expressions, valence and arousal, with intervals over people.

Knows arrays, not datasets: :func:`evaluate` is what a scorer calls.
"""

from zoo.metrics.catalogue import METRICS, Aggregation, Metric
from zoo.metrics.evaluate import evaluate
from zoo.metrics.paired import Difference, holm, paired_difference
from zoo.metrics.results import ClusterResult, Estimate, Evaluation, LabelResult, MetricResult

__all__ = [
    "METRICS", "Aggregation", "ClusterResult", "Difference", "Estimate", "Evaluation", "LabelResult", "Metric",
    "MetricResult", "evaluate", "holm", "paired_difference",
]  # fmt: skip
