"""The way over sums per cluster gives what the frames give, for any resample; gradients are gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.metrics import binary, continuous, multiclass, statistics
from zoo.metrics.bootstrap import PairCell, SumCell

CONTINUOUS = ("pcc", "icc31", "ccc", "mae", "mse", "rmse", "sagr")


@st.composite
def resampled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames of two labels (some not coded), their clusters, and how often each cluster is drawn."""
    seed = draw(st.integers(0, 2**32 - 1))
    clusters, frames = draw(st.integers(1, 6)), draw(st.integers(1, 60))
    random = np.random.default_rng(seed)
    # Few levels, so that constant clusters, ties and equal signs happen.
    y, p = random.integers(-3, 4, (2, frames, 2)) * draw(st.sampled_from([1.0, 0.125]))
    y[random.random(y.shape) < draw(st.sampled_from([0, 0.2, 0.9]))] = np.nan
    return y, p, random.integers(0, clusters, frames), random.multinomial(clusters, np.full(clusters, 1 / clusters))


def repeated(cluster: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows of the resample: each cluster's frames as often as the cluster is drawn."""
    return np.concatenate([np.flatnonzero(cluster == c) for c, w in enumerate(weights) for _ in range(w)]).astype(int)


@given(resampled())
def test_series(case: tuple) -> None:
    y, p, cluster, weights = case
    sums = statistics.continuous_sums(y, p, cluster, len(weights))
    total = np.tensordot(weights.astype(float), sums, 1)
    rows = repeated(cluster, weights)
    for name in CONTINUOUS:
        values, gradient = getattr(statistics, name)(total)
        for label in range(2):
            expected = getattr(continuous, name)(y[rows, label], p[rows, label])
            assert values[label] == pytest.approx(expected, abs=1e-9, nan_ok=True), name
            assert np.isfinite(gradient[label]).all()


@given(resampled())
def test_decisions(case: tuple) -> None:
    y, p, cluster, weights = case
    y, p = np.where(np.isnan(y), np.nan, y > 0), (p > 0).astype(float)
    sums = np.tensordot(weights.astype(float), statistics.binary_sums(y, p, cluster, len(weights)), 1)
    rows = repeated(cluster, weights)
    for name in ("f1", "accuracy"):
        expected = [getattr(binary, name)(y[rows, label], p[rows, label]) for label in range(2)]
        assert getattr(statistics, name)(sums)[0] == pytest.approx(expected, nan_ok=True)


@given(resampled())
def test_classes(case: tuple) -> None:
    y, p, cluster, weights = case
    truth, answer = np.nan_to_num(y[:, 0], nan=-1).clip(-1).astype(int), np.sign(p[:, 0] * 2).astype(int)
    counts = statistics.confusion(truth, answer, 4, cluster, len(weights))
    assert counts.shape == (len(weights), 4, 5)
    total = np.tensordot(weights, counts, 1)
    rows = repeated(cluster, weights)
    assert (total == multiclass.confusion(truth[rows], answer[rows], 4)).all()
    per_class = np.tensordot(weights.astype(float), statistics.class_sums(counts), 1)
    assert statistics.f1(per_class)[0] == pytest.approx(
        multiclass.f1_per_class(truth[rows], answer[rows], 4), nan_ok=True
    )
    recall = multiclass.recall_per_class(truth[rows], answer[rows], 4)
    assert statistics.recall(per_class)[0] == pytest.approx(recall, nan_ok=True)
    hits = np.tensordot(weights.astype(float), statistics.hit_sums(counts), 1)
    assert statistics.accuracy(hits)[0][0] == pytest.approx(
        multiclass.accuracy(truth[rows], answer[rows], 4), nan_ok=True
    )


@given(resampled())
def test_area_under_the_curve(case: tuple) -> None:
    y, p, cluster, weights = case
    y = np.where(np.isnan(y), np.nan, y > 0)
    cell = PairCell([statistics.concordant_pairs(y[:, i], p[:, i], cluster, len(weights)) for i in range(2)])
    values, _ = cell.at(weights[None].astype(float), ["auc"])["auc"]
    rows = repeated(cluster, weights)
    assert values[0] == pytest.approx([binary.auc(y[rows, i], p[rows, i]) for i in range(2)], nan_ok=True)


def test_pairs_of_many_clusters_are_counted_in_blocks() -> None:
    random = np.random.default_rng(0)
    y, s = (random.random(900) < 0.4).astype(float), random.integers(0, 9, 900).astype(float)
    cluster = random.integers(0, 150, 900)
    pairs, positives, negatives = statistics.concordant_pairs(y, s, cluster, 150)
    slow = np.zeros((150, 150))
    for i in np.flatnonzero(y == 1):
        for j in np.flatnonzero(y == 0):
            slow[cluster[i], cluster[j]] += (s[i] > s[j]) + (s[i] == s[j]) / 2
    assert (pairs == slow).all()
    assert positives.sum() == y.sum()
    assert negatives.sum() == (1 - y).sum()


@pytest.mark.parametrize("name", [*CONTINUOUS, "f1", "accuracy", "recall"])
def test_a_gradient_times_a_clusters_sums_is_that_clusters_influence(name: str) -> None:
    random = np.random.default_rng(3)
    y = random.integers(0, 6, (400, 3)).astype(float)
    p = 0.5 * y + random.normal(size=y.shape)
    cluster = np.arange(400) % 8
    if name in CONTINUOUS:
        sums = statistics.continuous_sums(y, p, cluster, 8)
    else:
        sums = statistics.binary_sums((y > 2).astype(float), (p > 1).astype(float), cluster, 8)
    formula, total, step = getattr(statistics, name), sums.sum(0), 1e-5
    _, gradient = formula(total)
    for one in sums:
        slope = (formula(total + step * one)[0] - formula(total - step * one)[0]) / (2 * step)
        assert (gradient * one).sum(-1) == pytest.approx(slope, abs=1e-9)
    # Every metric is unchanged by repeating the data, so influences add up to nothing.
    assert (gradient * total).sum(-1) == pytest.approx(0, abs=1e-12)


def test_the_influence_on_the_area_under_the_curve() -> None:
    random = np.random.default_rng(4)
    y, s, cluster = (random.random(300) < 0.3).astype(float), random.normal(size=300), np.arange(300) % 6
    cell = PairCell([statistics.concordant_pairs(y, s + y, cluster, 6)])
    base, step = np.array([[1, 2, 0, 1, 1, 1.0]]), 1e-5
    influence = cell.at(base, ["auc"])["auc"][1](0)[0]
    for i in range(6):
        move = step * np.eye(6)[i]
        slope = cell.at(base + move, ["auc"])["auc"][0] - cell.at(base - move, ["auc"])["auc"][0]
        assert influence[i] == pytest.approx(float(slope[0, 0]) / (2 * step), abs=1e-9)


def test_equal_clusters_share_a_row() -> None:
    y = np.tile(np.array([0.0, 1.0]), 500)
    sums = statistics.binary_sums(y[:, None], np.ones((1000, 1)), np.arange(1000), 1000)
    cell = SumCell(sums, {"f1": statistics.f1})
    assert cell.count.tolist() == [500, 500]
    assert len(cell.row) == 1000


def test_a_label_that_is_not_predicted_adds_nothing() -> None:
    y, p = np.ones((4, 2)), np.array([[1.0, math.nan]] * 4)
    cluster = np.array([0, 0, 1, 1])
    assert not statistics.continuous_sums(y, p, cluster, 2)[:, 1].any()
    assert not statistics.binary_sums(y, p, cluster, 2)[:, 1].any()


def test_resamples_of_far_values_keep_their_digits() -> None:
    # A million frames; people's levels differ by a thousand times the spread within one.
    random = np.random.default_rng(5)
    cluster = np.arange(1_000_000) % 20
    level = 1e3 * random.normal(size=20)[cluster]
    y, p = (level + random.normal(size=(2, 1_000_000))).astype(np.float32).astype(float)
    sums = statistics.continuous_sums(y[:, None], p[:, None], cluster, 20)
    one = cluster == 7
    assert statistics.pcc(sums[7])[0][0] == pytest.approx(np.corrcoef(y[one], p[one])[0, 1], abs=1e-6)
    assert statistics.pcc(sums.sum(0))[0][0] == pytest.approx(np.corrcoef(y, p)[0, 1], abs=1e-10)
