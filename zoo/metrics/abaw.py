"""The scores of the ABAW challenges on Aff-Wild2.

All over the concatenated frames of a set, not per video. A frame with any missing value of a task does not count for
that task (ABAW's -5 and -1 are NaN, or a negative class number, here). There is no official public scorer; these are
the formulas of the challenge papers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zoo.errors import UsageError
from zoo.metrics import binary, continuous, multiclass
from zoo.metrics.statistics import Floats


def _complete(truth: ArrayLike, prediction: ArrayLike, columns: int | None) -> tuple[Floats, Floats]:
    y, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if y.ndim != 2 or y.shape != p.shape or (columns is not None and y.shape[1] != columns):
        raise UsageError(
            f"truth and prediction must be [frames, {columns or 'AUs'}]",
            why=f"they are {list(y.shape)} and {list(p.shape)}",
        )
    whole = ~np.isnan(y).any(axis=1)
    return y[whole], p[whole]


def p_va(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean of the CCC of valence and of arousal, ``[frames, 2]``.

    Example:
        >>> p_va([[0, 0], [1, 1], [float("nan"), 1]], [[0, 1], [1, 1], [0, 0]])
        0.5
    """
    y, p = _complete(truth, prediction, 2)
    return float(np.mean([continuous.ccc(y[:, i], p[:, i]) for i in range(2)]))


def p_expr(truth: ArrayLike, prediction: ArrayLike, classes: int = 8) -> float:
    """Macro F1 over the label set (8 classes since ABAW3, 7 before), class numbers ``[frames]``.

    Example:
        >>> p_expr([0, 1, -1], [0, 1, 5], classes=8)
        0.25
    """
    return multiclass.macro_f1(truth, prediction, classes)


def p_au(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean binary F1 over AUs, decisions ``[frames, AUs]``; an AU in neither truth nor prediction counts 0.

    Example:
        >>> p_au([[1, 0], [0, 0]], [[1, 0], [0, 0]])
        0.5
    """
    y, p = _complete(truth, prediction, None)
    if not len(y):
        return float("nan")
    return float(np.mean(np.nan_to_num([binary.f1(y[:, i], p[:, i]) for i in range(y.shape[1])])))


def p_mtl(va: float, expr: float, au: float) -> float:
    """The multi-task score: the sum of the three.

    Example:
        >>> p_mtl(0.5, 0.25, 0.5)
        1.25
    """
    return va + expr + au
