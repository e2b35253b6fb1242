"""Metrics of AU intensity and occurrence, expressions, valence and arousal, with intervals over people.

Knows arrays, not datasets: :func:`evaluate` is what a scorer calls.
"""

from zoo.metrics.evaluate import (
    METRICS,
    Aggregation,
    ClusterResult,
    Difference,
    Estimate,
    Evaluation,
    LabelResult,
    Metric,
    MetricResult,
    evaluate,
    holm,
    paired_difference,
)

__all__ = [
    "METRICS", "Aggregation", "ClusterResult", "Difference", "Estimate", "Evaluation", "LabelResult", "Metric",
    "MetricResult", "evaluate", "holm", "paired_difference",
]  # fmt: skip
