"""Sums per cluster from which metrics follow, and the metrics as functions of such sums.

A cluster is what is resampled: a person, or an image where a dataset names no people. Every metric here depends on
the frames only through a few sums, so the frames are read once; a resample of clusters is then a row of counts, its
sums are ``counts @ sums``, and ten thousand resamples are one matrix product whatever the number of frames.

Each formula returns its value and its gradient with respect to the sums. The gradient times a cluster's sums is that
cluster's influence on the value, which is what the standard error of :mod:`zoo.metrics.bootstrap` is made of.

Conventions, the same everywhere in :mod:`zoo.metrics`: NaN is "undefined", never a number that stands for it.

========================  ==========================================================================================
metric                    undefined when
========================  ==========================================================================================
pcc                       truth or prediction is constant (also: fewer than two samples)
icc31, ccc                truth and prediction are both constant; 0 when only one of them is
mae, mse, rmse, sagr      there are no samples
f1                        truth and prediction are both without a positive; 0 when only the truth is, and the
                          prediction is not
accuracy                  there are no samples
recall                    the truth has no positive
auc                       the truth has one class only
========================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Formula: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
"""Sums ``[..., K]`` to values ``[...]`` and gradients ``[..., K]`` (0 where the value is NaN)."""

CONTINUOUS = ("n", "y", "p", "yy", "pp", "yp", "e", "ee", "ae", "agree")
"""Columns of :func:`continuous_sums`: samples, sums of truth and prediction and of their squares and product (all from
a shift), of the error y - p, its square and magnitude, and the number of equal signs."""
BINARY = ("tp", "fp", "fn", "tn")
"""Columns of :func:`binary_sums`."""

# A centred sum of squares below this fraction of the raw one is rounding: the values are constant. Rounding leaves
# about 1e-15; a real spread this small would be a millionth of the distance from the shift, below float32's step.
_CONSTANT = 1e-12


def _shift(values: Floats) -> float:
    """Returns a value of the data near its middle.

    Sums of squares about the median are at most twice those about the mean (the two are at most one standard
    deviation apart), so centring them later costs at most one bit; and constant data gives sums that are exactly 0.
    """
    return float(np.partition(values, len(values) // 2)[len(values) // 2]) if len(values) else 0.0


def _by_cluster(columns: Iterable[Floats], cluster: NDArray[np.intp], clusters: int) -> Floats:
    return np.stack([np.bincount(cluster, weights=c, minlength=clusters) for c in columns], axis=-1)


def _continuous(y: Floats, p: Floats) -> Iterator[Floats]:
    """Yields the columns :data:`CONTINUOUS` of one label one after another, so that one is held at a time."""
    error = y - p
    agree = np.sign(y) == np.sign(p)
    y -= _shift(y)
    p -= _shift(p)
    yield np.ones_like(y)
    yield y
    yield p
    yield y * y
    yield p * p
    yield y * p
    yield error
    yield error * error
    yield np.abs(error)
    yield agree.astype(np.float64)


def continuous_sums(
    truth: NDArray[np.floating], prediction: NDArray[np.floating], cluster: NDArray[np.intp], clusters: int
) -> Floats:
    """Sums the columns :data:`CONTINUOUS` within each cluster.

    Args:
        truth: ``[samples, labels]``, NaN where not coded; such a sample adds nothing to that label.
        prediction: ``[samples, labels]``, finite where coded, or a column of NaN (not predicted: adds nothing).
        cluster: 0-based cluster of each sample, ``[samples]``.
        clusters: Number of clusters.

    Returns:
        float64 ``[clusters, labels, 10]``.
    """
    sums = np.zeros((clusters, truth.shape[1], len(CONTINUOUS)))
    for label in range(truth.shape[1]):
        coded = ~(np.isnan(truth[:, label]) | np.isnan(prediction[:, label]))
        everything = bool(coded.all())
        y = (truth[:, label] if everything else truth[coded, label]).astype(np.float64)
        p = (prediction[:, label] if everything else prediction[coded, label]).astype(np.float64)
        sums[:, label] = _by_cluster(_continuous(y, p), cluster if everything else cluster[coded], clusters)
    return sums


def binary_sums(
    truth: NDArray[np.floating], prediction: NDArray[np.floating], cluster: NDArray[np.intp], clusters: int
) -> Floats:
    """Counts true and false positives and negatives within each cluster.

    Args:
        truth: 0 or 1, ``[samples, labels]``, NaN where not coded.
        prediction: 0 or 1, ``[samples, labels]``, or a column of NaN (not predicted: counts nothing).
        cluster: 0-based cluster of each sample, ``[samples]``.
        clusters: Number of clusters.

    Returns:
        float64 ``[clusters, labels, 4]`` in the order of :data:`BINARY`.
    """
    sums = np.zeros((clusters, truth.shape[1], len(BINARY)))
    for label in range(truth.shape[1]):
        coded = ~(np.isnan(truth[:, label]) | np.isnan(prediction[:, label]))
        positive, predicted = truth[coded, label] > 0.5, prediction[coded, label] > 0.5
        kind = np.where(positive, np.where(predicted, 0, 2), np.where(predicted, 1, 3))
        counts = np.bincount(cluster[coded] * 4 + kind, minlength=4 * clusters)
        sums[:, label] = counts.reshape(clusters, 4)
    return sums


def confusion(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, cluster: NDArray[np.intp], clusters: int
) -> NDArray[np.int64]:
    """Counts each (true class, predicted class) within each cluster.

    Args:
        truth: Class index ``[samples]``; negative where not labelled: the sample does not count.
        prediction: Class index ``[samples]``; anything outside ``0..classes-1`` is an answer that is wrong for every
            class (no face found, or a class that the label set lacks).
        classes: Number of classes.
        cluster: 0-based cluster of each sample, ``[samples]``.
        clusters: Number of clusters.

    Returns:
        int64 ``[clusters, classes, classes + 1]``; the last column holds the answers outside the label set.
    """
    labelled = truth >= 0
    answer = np.where((prediction >= 0) & (prediction < classes), prediction, classes)[labelled].astype(np.intp)
    width = classes + 1
    flat = (cluster[labelled] * classes + truth[labelled].astype(np.intp)) * width + answer
    return np.bincount(flat, minlength=clusters * classes * width).reshape(clusters, classes, width)


def class_sums(counts: NDArray[np.int64]) -> Floats:
    """Turns confusion counts into one binary problem a class.

    Args:
        counts: ``[..., classes, classes + 1]`` from :func:`confusion`.

    Returns:
        float64 ``[..., classes, 4]`` in the order of :data:`BINARY`: this class against the rest.
    """
    square = counts[..., :-1]
    tp = np.diagonal(square, axis1=-2, axis2=-1)
    fn = counts.sum(-1) - tp
    fp = square.sum(-2) - tp
    tn = counts.sum((-2, -1))[..., None] - tp - fn - fp
    return np.stack([tp, fp, fn, tn], axis=-1).astype(np.float64)


def hit_sums(counts: NDArray[np.int64]) -> Floats:
    """Turns confusion counts into right and wrong answers.

    Args:
        counts: ``[..., classes, classes + 1]`` from :func:`confusion`.

    Returns:
        float64 ``[..., 1, 4]`` in the order of :data:`BINARY`, right answers as tp and wrong ones as fn.
    """
    right = np.trace(counts[..., :-1], axis1=-2, axis2=-1)
    wrong = counts.sum((-2, -1)) - right
    zero = np.zeros_like(right)
    return np.stack([right, zero, wrong, zero], axis=-1)[..., None, :].astype(np.float64)


def _settle(value: Floats, gradient: Floats, defined: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    return np.where(defined, value, np.nan), np.where(defined[..., None], gradient, 0.0)


def _ratio(numerator: Floats, denominator: Floats, d_numerator: Floats, d_denominator: Floats) -> tuple[Floats, Floats]:
    """A quotient and its gradient, undefined where the denominator is not positive."""
    defined = denominator > 0
    denominator = np.where(defined, denominator, 1.0)
    value = numerator / denominator
    gradient = (d_numerator - value[..., None] * d_denominator) / denominator[..., None]
    return _settle(value, gradient, defined)


def _unit(columns: tuple[str, ...], **weights: float) -> Floats:
    return np.array([weights.get(c, 0.0) for c in columns])


class Moments:
    """Centred sums a = Σ(y-ȳ)², b = Σ(p-p̄)², c = Σ(y-ȳ)(p-p̄) and their gradients."""

    def __init__(self, s: Floats) -> None:
        n, y, p, yy, pp, yp = (s[..., i] for i in range(6))
        self.n = np.where(n > 0, n, 1.0)
        my, mp = y / self.n, p / self.n
        self.a, self.b = self._centred(yy, y * my), self._centred(pp, p * mp)
        self.c = np.where((self.a > 0) & (self.b > 0), yp - y * mp, 0.0)
        self.da, self.db, self.dc = (np.zeros(s.shape) for _ in range(3))
        self.da[..., 0], self.da[..., 1], self.da[..., 3] = my * my, -2 * my, 1
        self.db[..., 0], self.db[..., 2], self.db[..., 4] = mp * mp, -2 * mp, 1
        self.dc[..., 0], self.dc[..., 1], self.dc[..., 2], self.dc[..., 5] = my * mp, -mp, -my, 1

    @staticmethod
    def _centred(raw: Floats, mean: Floats) -> Floats:
        centred = raw - mean
        return np.where(centred > _CONSTANT * raw, centred, 0.0)


def pcc(s: Floats) -> tuple[Floats, Floats]:
    """Pearson's correlation from continuous sums: c / sqrt(a b)."""
    m = Moments(s)
    defined = (m.a > 0) & (m.b > 0)
    a, b = np.where(defined, m.a, 1.0), np.where(defined, m.b, 1.0)
    root = np.sqrt(a * b)
    r = np.clip(m.c / root, -1.0, 1.0)
    gradient = m.dc / root[..., None] - (r / 2)[..., None] * (m.da / a[..., None] + m.db / b[..., None])
    return _settle(r, gradient, defined)


def icc31(s: Floats) -> tuple[Floats, Floats]:
    """ICC(3,1), consistency, of two raters from continuous sums: 2 c / (a + b)."""
    m = Moments(s)
    return _ratio(2 * m.c, m.a + m.b, 2 * m.dc, m.da + m.db)


def ccc(s: Floats) -> tuple[Floats, Floats]:
    """Lin's concordance from continuous sums, variances divided by n: 2 c / (a + b + n (ȳ - p̄)²)."""
    m = Moments(s)
    bias = s[..., 6] / m.n
    spread = m.a + m.b
    apart = m.da + m.db
    apart[..., 0] -= bias * bias
    apart[..., 6] += 2 * bias
    return _ratio(2 * m.c, np.where(spread > 0, spread + m.n * bias * bias, 0.0), 2 * m.dc, apart)


def _mean_of(columns: tuple[str, ...], **numerator: float) -> Formula:
    """Builds the formula "sum of some columns over the number of samples"."""
    top = _unit(columns, **numerator)
    bottom = _unit(columns, n=1) if "n" in columns else np.ones(len(columns))

    def formula(s: Floats) -> tuple[Floats, Floats]:
        return _ratio(s @ top, s @ bottom, top, bottom)

    return formula


mae = _mean_of(CONTINUOUS, ae=1)
mse = _mean_of(CONTINUOUS, ee=1)
sagr = _mean_of(CONTINUOUS, agree=1)
accuracy = _mean_of(BINARY, tp=1, tn=1)


def rmse(s: Floats) -> tuple[Floats, Floats]:
    """Root mean squared error from continuous sums."""
    value, gradient = mse(s)
    root = np.sqrt(value)
    return root, gradient / np.where(root > 0, 2 * root, np.inf)[..., None]


def f1(s: Floats) -> tuple[Floats, Floats]:
    """F1 from binary sums: 2 tp / (2 tp + fp + fn)."""
    top, bottom = _unit(BINARY, tp=2), _unit(BINARY, tp=2, fp=1, fn=1)
    return _ratio(s @ top, s @ bottom, top, bottom)


def recall(s: Floats) -> tuple[Floats, Floats]:
    """Recall from binary sums: tp / (tp + fn)."""
    top, bottom = _unit(BINARY, tp=1), _unit(BINARY, tp=1, fn=1)
    return _ratio(s @ top, s @ bottom, top, bottom)


def concordant_pairs(
    truth: NDArray[np.floating], scores: NDArray[np.floating], cluster: NDArray[np.intp], clusters: int
) -> tuple[Floats, Floats, Floats]:
    """Counts, for each two clusters, the (positive, negative) pairs that a score puts in the right order.

    The area under the ROC curve of any resample follows: ``w U w / ((w positives) (w negatives))``.

    Args:
        truth: 0 or 1 of one label, ``[samples]``, NaN where not coded.
        scores: ``[samples]``, higher for positive; infinite values are allowed, NaN must not be where truth is coded.
        cluster: 0-based cluster of each sample, ``[samples]``.
        clusters: Number of clusters.

    Returns:
        ``U [clusters, clusters]`` (positive's cluster, negative's cluster; a tie counts a half), positives
        ``[clusters]``, negatives ``[clusters]``.
    """
    coded = ~np.isnan(truth)
    order = np.argsort(scores[coded], kind="stable")
    score, group = scores[coded][order], cluster[coded][order]
    positive = truth[coded][order] > 0.5
    positives = np.bincount(group[positive], minlength=clusters).astype(np.float64)
    negatives = np.bincount(group[~positive], minlength=clusters).astype(np.float64)
    pairs = np.zeros((clusters, clusters))
    if not positive.any() or positive.all():
        return pairs, positives, negatives
    # Ranks among the negatives: how many lie below each positive, and how many at or below.
    below = np.searchsorted(score[~positive], score[positive], side="left")
    upto = np.searchsorted(score[~positive], score[positive], side="right")
    by_cluster = np.argsort(group[positive], kind="stable")
    below, upto = below[by_cluster], upto[by_cluster]
    held = np.flatnonzero(positives)
    starts = np.concatenate([[0], np.cumsum(positives[held])[:-1]]).astype(np.intp)
    negative_cluster = group[~positive]
    block = 64  # bounds the table of running counts to [negatives, 64]
    for first in range(0, clusters, block):
        columns = np.arange(first, min(first + block, clusters))
        running = np.zeros((len(negative_cluster) + 1, len(columns)), np.int32)
        np.cumsum(negative_cluster[:, None] == columns, axis=0, out=running[1:])
        twice = running[below].astype(np.int64) + running[upto]
        pairs[np.ix_(held, columns)] = np.add.reduceat(twice, starts, axis=0) / 2
    return pairs, positives, negatives
