"""Agreement and error of two series: AU intensities, valence and arousal.

Every function takes truth and prediction of one label, ``[samples]``. Samples whose truth is NaN are not coded and do
not count. NaN as a result means "undefined"; the table in :mod:`zoo.metrics.statistics` says when. Concatenate the
frames of a set first: an average over batches or videos is another figure.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from zoo.errors import UsageError
from zoo.metrics import statistics
from zoo.metrics.statistics import Floats, Formula


def _sums(y: ArrayLike, p: ArrayLike) -> Floats:
    truth, prediction = np.asarray(y, np.float64), np.asarray(p, np.float64)
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise UsageError(
            "truth and prediction must be one-dimensional and of one length",
            why=f"they are {list(truth.shape)} and {list(prediction.shape)}",
        )
    coded = ~np.isnan(truth)
    truth, prediction = truth[coded], prediction[coded]
    if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        raise UsageError("a coded sample has a truth or a prediction that is not finite")
    zeros = np.zeros(len(truth), np.intp)
    sums: Floats = statistics.continuous_sums(truth[:, None], prediction[:, None], zeros, 1)[0, 0]
    return sums


def _value(formula: Formula, y: ArrayLike, p: ArrayLike) -> float:
    return float(formula(_sums(y, p))[0])


def pcc(y: ArrayLike, p: ArrayLike) -> float:
    """Pearson's correlation coefficient; NaN where either series is constant.

    Example:
        >>> pcc([0, 1, 2], [1, 3, 5])
        1.0
        >>> pcc([0, 0, 0], [1, 3, 5])
        nan
    """
    return _value(statistics.pcc, y, p)


def icc31(y: ArrayLike, p: ArrayLike) -> float:
    """ICC(3,1): two raters, two-way mixed, single, consistency (Shrout and Fleiss 1979), in closed form.

    0 where one series is constant, NaN where both are, for which Py-Feat's code gives 0.

    Example:
        >>> icc31([0, 1, 2], [1, 2, 3])  # consistency forgives an offset
        1.0
        >>> icc31([0, 1, 2], [1, 1, 1])
        0.0
    """
    return _value(statistics.icc31, y, p)


def icc(y: ArrayLike, p: ArrayLike, kind: Literal["1,1", "2,1", "3,1"]) -> float:
    """Intraclass correlation of two raters, single measures (Shrout and Fleiss 1979).

    Args:
        y: Truth ``[samples]``.
        p: Prediction ``[samples]``.
        kind: ``1,1`` one-way random; ``2,1`` two-way random, absolute agreement; ``3,1`` two-way mixed, consistency.

    Returns:
        The coefficient; NaN where it is 0/0 or there are fewer than two samples.

    Raises:
        UsageError: Another kind, or arrays that do not fit together.

    Example:
        >>> round(icc([1, 2, 3, 4], [2, 3, 4, 5], "2,1"), 4)
        0.7692
    """
    if kind not in ("1,1", "2,1", "3,1"):
        raise UsageError(f"unknown ICC kind '{kind}'", fix="use '1,1', '2,1' or '3,1'")
    if kind == "3,1":
        return icc31(y, p)
    s = _sums(y, p)
    n = s[0]
    if n < 2:
        return float("nan")
    m = statistics.Moments(s)
    # Two-way table of n samples and 2 raters: sums of squares between samples, between raters, and of the rest.
    between = (m.a + m.b + 2 * m.c) / 2
    raters = s[6] ** 2 / n / 2
    rest = max(0.0, float(m.a + m.b - 2 * m.c) / 2)
    ms_between = between / (n - 1)
    if kind == "1,1":
        ms_within = (raters + rest) / n
        top, bottom = ms_between - ms_within, ms_between + ms_within
    else:
        ms_rest = rest / (n - 1)
        top, bottom = ms_between - ms_rest, ms_between + ms_rest + 2 * (raters - ms_rest) / n
    return float(top / bottom) if bottom > 0 else float("nan")


def ccc(y: ArrayLike, p: ArrayLike) -> float:
    """Lin's concordance correlation coefficient with variances divided by n, as ABAW entrants and EmoNet compute it.

    torchmetrics divides variances and covariance by n - 1, and one function of HSEmotion the covariance only: both are
    higher, by 4e-4 for 50 samples and by nothing that is printed for the frames of a data set.

    0 where one series is constant, NaN where both are.

    Example:
        >>> ccc([0, 1, 2], [0, 1, 2])
        1.0
        >>> round(ccc([0, 1, 2], [1, 2, 3]), 4)  # concordance does not forgive an offset
        0.5714
    """
    return _value(statistics.ccc, y, p)


def mae(y: ArrayLike, p: ArrayLike) -> float:
    """Mean absolute error.

    Example:
        >>> mae([0, 1], [1, 1])
        0.5
    """
    return _value(statistics.mae, y, p)


def mse(y: ArrayLike, p: ArrayLike) -> float:
    """Mean squared error.

    Example:
        >>> mse([0, 1], [2, 1])
        2.0
    """
    return _value(statistics.mse, y, p)


def rmse(y: ArrayLike, p: ArrayLike) -> float:
    """Root mean squared error.

    Example:
        >>> rmse([0, 1], [2, 3])
        2.0
    """
    return _value(statistics.rmse, y, p)


def sagr(y: ArrayLike, p: ArrayLike) -> float:
    """Part of samples whose sign is predicted, the sign of 0 being 0 (SAGR as EmoNet computes it).

    Example:
        >>> sagr([0.5, -0.5, 0.0, 0.0], [0.1, 0.1, 0.0, 0.1])
        0.5
    """
    return _value(statistics.sagr, y, p)
