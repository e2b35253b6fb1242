"""Expression classes: class numbers against class numbers.

Truth and prediction are ``[samples]`` integers. A negative truth is not labelled and does not count; a prediction
outside ``0..classes-1`` (no face found, a class that the label set lacks) is an answer that is wrong for every class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import UsageError
from zoo.metrics import statistics
from zoo.metrics.statistics import Floats


def confusion(y: ArrayLike, p: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts each (true class, predicted class).

    Args:
        y: Truth ``[samples]``.
        p: Prediction ``[samples]``.
        classes: Number of classes in the label set.

    Returns:
        ``[classes, classes + 1]``; the last column holds the answers outside the label set.

    Raises:
        UsageError: Not integers, lengths that differ, or a truth outside the label set.

    Example:
        >>> confusion([0, 1, 1, -1], [0, 0, -1, 1], 2).tolist()
        [[1, 0, 0], [1, 0, 1]]
    """
    truth, prediction = np.asarray(y), np.asarray(p)
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise UsageError(
            "truth and prediction must be one-dimensional and of one length",
            why=f"they are {list(truth.shape)} and {list(prediction.shape)}",
        )
    for name, array in {"truth": truth, "prediction": prediction}.items():
        if len(array) and array.dtype.kind not in "iu":
            raise UsageError(f"{name} must be class numbers", why=f"it is {array.dtype}")
    if (truth >= classes).any():
        raise UsageError(f"truth holds class {truth.max()}; the label set has {classes} classes, counted from 0")
    truth, prediction = truth.astype(np.int64), prediction.astype(np.int64)
    counts: NDArray[np.int64] = statistics.confusion(truth, prediction, classes, np.zeros(len(truth), np.intp), 1)[0]
    return counts


def _per_class(y: ArrayLike, p: ArrayLike, classes: int) -> Floats:
    return statistics.class_sums(confusion(y, p, classes))


def accuracy(y: ArrayLike, p: ArrayLike, classes: int) -> float:
    """Part of labelled samples that are right (top-1); NaN without any.

    Example:
        >>> accuracy([0, 0, 1, 1], [0, 0, 1, -1], 2)
        0.75
    """
    return float(statistics.accuracy(statistics.hit_sums(confusion(y, p, classes)))[0][0])


def recall_per_class(y: ArrayLike, p: ArrayLike, classes: int) -> list[float]:
    """Recall of each class; NaN for a class that the truth lacks.

    Example:
        >>> recall_per_class([0, 0, 1], [0, 1, 1], 3)
        [0.5, 1.0, nan]
    """
    values: list[float] = statistics.recall(_per_class(y, p, classes))[0].tolist()
    return values


def balanced_accuracy(y: ArrayLike, p: ArrayLike, classes: int) -> float:
    """Mean recall over the classes that occur in the truth; NaN without any.

    Example:
        >>> balanced_accuracy([0, 0, 1], [0, 1, 1], 3)
        0.75
    """
    recalls = np.array(recall_per_class(y, p, classes))
    return float(np.nanmean(recalls)) if np.isfinite(recalls).any() else float("nan")


def f1_per_class(y: ArrayLike, p: ArrayLike, classes: int) -> list[float]:
    """F1 of each class; NaN for a class in neither truth nor prediction.

    Example:
        >>> f1_per_class([0, 0, 1], [0, 1, 1], 3)[2]
        nan
    """
    values: list[float] = statistics.f1(_per_class(y, p, classes))[0].tolist()
    return values


def macro_f1(y: ArrayLike, p: ArrayLike, classes: int) -> float:
    """Mean F1 over the whole label set: an absent class counts 0, as in ABAW's formula. NaN without samples.

    scikit-learn does the same only when ``labels`` lists the label set.

    Example:
        >>> round(macro_f1([0, 0, 1], [0, 1, 1], 3), 4)
        0.4444
    """
    sums = _per_class(y, p, classes)
    return float(np.nan_to_num(statistics.f1(sums)[0]).mean()) if sums.sum() else float("nan")
