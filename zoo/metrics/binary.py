"""Occurrence of one AU: 0 or 1 against a decision or a score.

Every function takes one label, ``[samples]``. Samples whose truth is NaN are not coded and do not count (turn codes
such as BP4D's 9 into NaN first). NaN as a result means "undefined"; see :mod:`zoo.metrics.statistics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import UsageError
from zoo.metrics import statistics
from zoo.metrics.statistics import Floats


def _coded(y: ArrayLike, p: ArrayLike, what: str) -> tuple[Floats, Floats]:
    truth, other = np.asarray(y, np.float64), np.asarray(p, np.float64)
    if truth.ndim != 1 or truth.shape != other.shape:
        raise UsageError(
            f"truth and {what} must be one-dimensional and of one length",
            why=f"they are {list(truth.shape)} and {list(other.shape)}",
        )
    coded = ~np.isnan(truth)
    truth, other = truth[coded], other[coded]
    for name, array in {"truth": truth, what: other}.items():
        if name == "scores":
            if np.isnan(array).any():
                raise UsageError("scores are NaN in a coded sample")
        elif not np.isin(array, (0, 1)).all():
            raise UsageError(
                f"{name} holds {array[~np.isin(array, (0, 1))][0]:g}; occurrence is 0 or 1",
                fix="apply the threshold first; set codes for 'not coded' (9, -1) to NaN in the truth",
            )
    return truth, other


def _sums(y: ArrayLike, p: ArrayLike) -> Floats:
    truth, prediction = _coded(y, p, "prediction")
    zeros = np.zeros(len(truth), np.intp)
    sums: Floats = statistics.binary_sums(truth[:, None], prediction[:, None], zeros, 1)[0, 0]
    return sums


def f1(y: ArrayLike, p: ArrayLike) -> float:
    """F1 of the positive class: 2 tp / (2 tp + fp + fn).

    NaN where truth and prediction are both without a positive, which scikit-learn by default, ME-GraphAU and Py-Feat
    count 0, and ``mean_strict`` too; 0 where only the truth is. AU-Net's code adds 1 to the counts of all AUs where one
    count is 0, which moves every F1: that is not done here.

    Example:
        >>> f1([1, 1, 0, 0], [1, 0, 1, 0])
        0.5
        >>> f1([0, 0], [0, 1]), f1([0, 0], [0, 0])
        (0.0, nan)
    """
    return float(statistics.f1(_sums(y, p))[0])


def accuracy(y: ArrayLike, p: ArrayLike) -> float:
    """Part of samples that are right.

    Example:
        >>> accuracy([1, 1, 0, 0], [1, 0, 0, 0])
        0.75
    """
    return float(statistics.accuracy(_sums(y, p))[0])


def auc(y: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting a half.

    NaN where the truth has one class only.

    Example:
        >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    truth, score = _coded(y, scores, "scores")
    return area(truth, score)


def f1_best(y: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """The best F1 that any threshold reaches, and that threshold (predicted where score >= threshold).

    A threshold chosen on the labels that it is scored on: an upper bound, never comparable with F1 at a fixed one.
    Of thresholds that do equally well, the highest. NaN, NaN where the truth has no positive.

    Example:
        >>> f1_best([0, 1, 0, 1], [0.1, 0.35, 0.4, 0.8])
        (0.8, 0.35)
    """
    truth, score = _coded(y, scores, "scores")
    return best_threshold(truth, score)


def area(truth: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """:func:`auc` without the checks, for arrays that have had them; NaN scores: not predicted."""
    known = np.where(np.isnan(scores), np.nan, truth)
    pairs, positives, negatives = statistics.concordant_pairs(known, scores, np.zeros(len(known), np.intp), 1)
    product = float(positives[0] * negatives[0])
    return float(pairs[0, 0]) / product if product else float("nan")


def best_threshold(truth: NDArray[np.floating], scores: NDArray[np.floating]) -> tuple[float, float]:
    """:func:`f1_best` without the checks, for arrays that have had them; NaN scores: not predicted."""
    coded = ~(np.isnan(truth) | np.isnan(scores))
    order = np.argsort(-scores[coded], kind="stable")
    score, positive = scores[coded][order], truth[coded][order] > 0.5
    if not positive.any():
        return float("nan"), float("nan")
    last = np.append(score[1:] != score[:-1], True)  # a threshold cannot part equal scores
    tp = np.cumsum(positive)[last]
    predicted = np.flatnonzero(last) + 1
    value = 2 * tp / (predicted + positive.sum())
    best = int(np.argmax(value))
    return float(value[best]), float(score[last][best])
