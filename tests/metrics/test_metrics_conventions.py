"""Our figures beside those of public evaluation codes, their rules written out here in our own words.

The codes themselves (PyTorch-JAANet 9a0cedc, ME-GraphAU dda53cb, LibreFace 7bf7ed7) were run once on arrays made like
these; they agreed to 1e-16 for F1 and accuracy, 2e-15 for PCC, and 8e-8 for MSE and MAE, which LibreFace takes in
float32.
"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from zoo.metrics import evaluate
from zoo.metrics.continuous import icc31

FRAMES, AUS = 900, [f"AU{i:02d}" for i in (1, 2, 4, 6, 9, 12, 25, 26)]
FOLD = np.repeat([0, 1, 2], FRAMES // 3)
PERSON = np.arange(FRAMES) // 30


def occurrence() -> tuple[np.ndarray, np.ndarray]:
    """Labels with 9 for "not coded", an AU without positives in one fold, and one that nobody predicts there."""
    random = np.random.default_rng(11)
    label = (random.random((FRAMES, len(AUS))) < np.linspace(0.03, 0.4, len(AUS))).astype(int)
    probability = np.clip(0.3 * label + 0.75 * random.random(label.shape), 0, 1)
    label[FOLD == 1, 0] = 0
    label[FOLD == 2, 1] = 0
    probability[FOLD == 2, 1] *= 0.49
    label[random.random(label.shape) < 0.05] = 9
    return label, probability


def test_jaa_net() -> None:
    # Per fold: drop label 9, decide at 0.5, scikit-learn's F1 and accuracy of each AU; mean over AUs, then over folds.
    label, probability = occurrence()
    f1, accuracy = np.zeros((2, 3, len(AUS)))
    for fold in range(3):
        for i in range(len(AUS)):
            kept = (fold == FOLD) & (label[:, i] != 9)
            decided = (probability[kept, i] >= 0.5).astype(int)
            f1[fold, i] = sk.f1_score(label[kept, i], decided, zero_division=0)
            accuracy[fold, i] = sk.accuracy_score(label[kept, i], decided)
    truth = np.where(label == 9, np.nan, label)
    ours = evaluate("au-occurrence", AUS, truth, probability >= 0.5, PERSON, FOLD, ["f1", "accuracy"], resamples=0)
    score = ours.get("f1", "mean_over_folds")
    assert score.headline.value == pytest.approx(f1.mean(1).mean())
    assert ours.get("accuracy", "mean_over_folds").headline.value == pytest.approx(accuracy.mean())
    assert [r.undefined_folds for r in score.per_label] == [0, 1, 0, 0, 0, 0, 0, 0]
    # Their table's row of an AU, an undefined fold being 0.
    assert [r.value * (3 - r.undefined_folds) / 3 for r in score.per_label] == pytest.approx(f1.mean(0))
    assert score.mean_defined.value > score.mean_strict.value


def test_me_graphau() -> None:
    # Counts over a fold's batches, precision and recall with a tiny constant in each denominator, mean over AUs.
    label, probability = occurrence()
    label[label == 9] = 0
    tiny, means = 1e-20, []
    for fold in range(3):
        y, p = label[fold == FOLD], probability[fold == FOLD] >= 0.5
        tp, fp, fn = (y * p).sum(0), ((1 - y) * p).sum(0), (y * ~p).sum(0)
        precision, recall = tp / (tp + fp + tiny), tp / (tp + fn + tiny)
        means.append((2 * precision * recall / (precision + recall + tiny)).mean())
    ours = evaluate("au-occurrence", AUS, label, probability >= 0.5, PERSON, FOLD, ["f1"], resamples=0)
    assert ours.get("f1", "mean_over_folds").mean_strict.value == pytest.approx(np.mean(means))


def test_libreface() -> None:
    # A fold's concatenated frames: clamp to 0..5, MSE and MAE, masked correlation; unweighted mean over AUs.
    random = np.random.default_rng(12)
    truth = random.integers(0, 6, (FRAMES, len(AUS))).astype(np.float32)
    raw = (0.12 * truth + 0.4 * random.random(truth.shape) - 0.05).astype(np.float32)
    prediction = np.clip(5 * raw, 0, 5)
    columns = range(len(AUS))
    theirs = {
        "pcc": [float(np.ma.corrcoef(prediction[:, i], truth[:, i])[0][1]) for i in columns],
        "mse": [sk.mean_squared_error(truth[:, i], prediction[:, i]) for i in columns],
        "mae": [sk.mean_absolute_error(truth[:, i], prediction[:, i]) for i in columns],
    }
    ours = evaluate("au-intensity", AUS, truth, prediction, PERSON, FOLD * 0, list(theirs), resamples=0)
    for metric, values in theirs.items():
        assert [r.value for r in ours.get(metric).per_label] == pytest.approx(values, abs=1e-6)
        assert ours.get(metric).headline.value == pytest.approx(sum(values) / len(values), abs=1e-6)
    # Their constant truth makes the correlation, and with it the whole mean, masked: neither of our means.
    truth[:, 3] = 0
    masked = [np.ma.corrcoef(prediction[:, i], truth[:, i])[0][1] for i in columns]
    assert sum(masked) is np.ma.masked
    ours = evaluate("au-intensity", AUS, truth, prediction, PERSON, FOLD * 0, ["pcc"], resamples=0)
    assert ours.get("pcc").undefined == 1
    assert ours.get("pcc").per_label[3].value is None


def test_openface_pools_folds() -> None:
    # One correlation per AU over the predictions of all folds: with an offset per fold, not the mean of the folds'.
    random = np.random.default_rng(13)
    truth = random.integers(0, 6, (FRAMES, 1)).astype(float)
    prediction = truth + random.normal(size=truth.shape) + 3 * FOLD[:, None]
    ours = evaluate("au-intensity", ["AU12"], truth, prediction, PERSON, FOLD, ["pcc"], resamples=0)
    pooled, folds = ours.get("pcc"), ours.get("pcc", "mean_over_folds")
    assert pooled.headline.value == pytest.approx(np.corrcoef(truth[:, 0], prediction[:, 0])[0, 1])
    each = [np.corrcoef(truth[fold == FOLD, 0], prediction[fold == FOLD, 0])[0, 1] for fold in range(3)]
    assert folds.headline.value == pytest.approx(np.mean(each))
    assert folds.headline.value > pooled.headline.value + 0.1


def test_libreface_icc_is_this_one() -> None:
    # Its unused helper: (intra - error) / (intra + (k - 1) error) of raters by samples, as ICC(3,1).
    random = np.random.default_rng(14)
    table = np.stack([random.integers(0, 6, 50), random.normal(size=50)]).astype(float)
    table[1] += table[0]
    total = ((table - table.mean()) ** 2).sum()
    samples, raters = 2 * ((table.mean(0) - table.mean()) ** 2).sum(), 50 * ((table.mean(1) - table.mean()) ** 2).sum()
    between, error = samples / 49, (total - samples - raters) / 49
    assert icc31(*table) == pytest.approx((between - error) / (between + error))
