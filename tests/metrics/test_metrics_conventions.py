"""Our figures beside those of public evaluation codes, their rules written out here in our own words.

The codes themselves (PyTorch-JAANet 9a0cedc, ME-GraphAU dda53cb, LibreFace 7bf7ed7) were run once on arrays made like
these; they agreed to 1e-16 for F1 and accuracy, 2e-15 for PCC, and 8e-8 for MSE and MAE, which LibreFace takes in
float32. The rules of Py-Feat, EmoNet, HSEmotion, AU-Net and torchmetrics below are restated only.
"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from zoo.metrics import abaw, evaluate
from zoo.metrics.binary import auc, f1_best
from zoo.metrics.continuous import ccc, icc, icc31, pcc, rmse, sagr

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


def test_py_feat_on_disfaplus() -> None:
    # All frames pooled, present from 2 on, decided at 0.5, F1 0 where there is nothing to find, mean over the 12 AUs;
    # AUs that a tool lacks count 0. ICC(3,1) is 0 where nothing varies.
    random = np.random.default_rng(15)
    truth = random.integers(0, 6, (FRAMES, len(AUS))).astype(float)
    probability = np.clip(truth / 5 + random.normal(0, 0.3, truth.shape), 0, 1)
    truth[:, 2] = 1
    probability[:, 2] = 0.1
    present, decided = truth >= 2, probability >= 0.5
    f1 = [sk.f1_score(present[:, i], decided[:, i], zero_division=0) for i in range(len(AUS))]
    ours = evaluate("au-occurrence", AUS, present.astype(float), decided, PERSON, FOLD * 0, ["f1"], resamples=0)
    assert ours.get("f1").mean_strict.value == pytest.approx(np.mean(f1))
    assert ours.get("f1").undefined == 1  # and their 0 is a value here that is said to be undefined
    assert np.isnan(icc31(truth[:, 2], probability[:, 2]))
    lacking = np.where(np.arange(len(AUS)) < 3, np.nan, decided.astype(float))
    own = evaluate("au-occurrence", AUS, present.astype(float), lacking, PERSON, FOLD * 0, ["f1"], resamples=0)
    assert own.get("f1").mean_strict.value == pytest.approx(np.mean([0, 0, 0, *f1[3:]]))
    assert own.get("f1").mean_defined.value == pytest.approx(np.mean(f1[3:]))


def affect(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(16)
    truth = np.round(random.uniform(-1, 1, n), 1)
    return truth, np.clip(0.6 * truth + random.normal(0, 0.3, n), -1, 1)


def test_emonet() -> None:
    # Deviations over n; the correlation scaled by them; signs that agree, 0 being a sign of its own.
    y, p = affect()
    correlation = np.corrcoef(y, p)[0, 1]
    concordance = 2 * correlation * y.std() * p.std() / (y.var() + p.var() + (y.mean() - p.mean()) ** 2)
    assert pcc(y, p) == pytest.approx(correlation)
    assert ccc(y, p) == pytest.approx(concordance)
    assert rmse(y, p) == pytest.approx(np.sqrt(((y - p) ** 2).mean()))
    assert sagr(y, p) == pytest.approx((np.sign(y) == np.sign(p)).mean())


def test_concordance_with_other_degrees_of_freedom() -> None:
    # torchmetrics divides the variances and the covariance by n - 1 and the squared difference of means by 1: a little
    # higher where the means differ. One function of HSEmotion takes the covariance over n - 1 and the variances over n:
    # higher by n / (n - 1). Neither is ours; at the size of a data set both agree to four digits.
    for n, apart in ((50, 3e-4), (20_000, 1e-6)):
        y, p = affect(n)
        p = p + 0.3
        covariance, squared = np.cov(y, p)[0, 1], (y.mean() - p.mean()) ** 2
        sample = 2 * covariance / (y.var(ddof=1) + p.var(ddof=1) + squared)
        mixed = 2 * covariance / (y.var() + p.var() + squared)
        assert ccc(y, p) < sample < ccc(y, p) + 20 * apart
        assert mixed == pytest.approx(ccc(y, p) * n / (n - 1))


def test_hsemotion_and_abaw() -> None:
    # Over the frames of all videos: mean of two CCC, F1 of 8 classes over 8, F1 of 12 AUs over 12, and their sum.
    random = np.random.default_rng(17)
    y, p = (np.stack([a, b], 1) for a, b in zip(affect(), (x[::-1] for x in affect()), strict=True))
    classes, chosen = random.integers(0, 7, 400), random.integers(0, 8, 400)
    units, decided = (random.random((400, 12)) < 0.2).astype(int), (random.random((400, 12)) < 0.3).astype(int)
    units[:, 5] = decided[:, 5] = 0
    va = np.mean([ccc(y[:, i], p[:, i]) for i in range(2)])
    expr = sk.f1_score(classes, chosen, labels=range(8), average="macro", zero_division=0)
    au = np.mean([sk.f1_score(units[:, i], decided[:, i], zero_division=0) for i in range(12)])
    got = abaw.p_va(y, p), abaw.p_expr(classes, chosen, 8), abaw.p_au(units, decided)
    assert got == pytest.approx((va, expr, au))
    assert abaw.p_mtl(*got) == pytest.approx(va + expr + au)


def test_au_net_adds_one_to_every_count_where_one_is_zero() -> None:
    # Its F1 then is of other counts, for every AU: not ours, and the difference is small.
    label, probability = occurrence()
    label[label == 9] = 0
    y, p = label[FOLD == 1], probability[FOLD == 1] >= 0.5
    tp, fp, fn = (y * p).sum(0), ((1 - y) * p).sum(0), (y * ~p).sum(0)
    assert (tp == 0).any()
    theirs = np.mean(2 * (tp + 1) / (2 * (tp + 1) + fp + 1 + fn + 1))
    ours = evaluate("au-occurrence", AUS, y, p, PERSON[FOLD == 1], PERSON[FOLD == 1] * 0, ["f1"], resamples=0)
    assert theirs == pytest.approx(ours.get("f1").mean_strict.value, abs=0.02)
    assert theirs > ours.get("f1").mean_strict.value


def test_area_and_best_threshold_over_folds() -> None:
    # scikit-learn's area and the best point of its precision-recall curve, by AU and fold, as tables print them.
    label, probability = occurrence()
    ours = evaluate(
        "au-occurrence", AUS, np.where(label == 9, np.nan, label), probability >= 0.5, PERSON, FOLD,
        ["auc", "f1_best"], scores=probability, resamples=0,
    )  # fmt: skip
    area, best = np.full((2, 3, len(AUS)), np.nan)
    for fold in range(3):
        for i in range(len(AUS)):
            kept = (fold == FOLD) & (label[:, i] != 9)
            y, p = label[kept, i], probability[kept, i]
            if y.any():
                area[fold, i] = sk.roc_auc_score(y, p)
                precision, recall, _ = sk.precision_recall_curve(y, p)
                best[fold, i] = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-20))
                assert auc(y, p) == pytest.approx(area[fold, i])
                assert f1_best(y, p)[0] == pytest.approx(best[fold, i])
    for metric, values in (("auc", area), ("f1_best", best)):
        got = ours.get(metric, "mean_over_folds")
        assert [r.value for r in got.per_label] == pytest.approx(np.nanmean(values, 0))
        assert got.mean_strict.value == pytest.approx(np.nan_to_num(values).mean())


def test_icc_of_absolute_agreement_is_below_that_of_consistency() -> None:
    # Papers write "ICC" for ICC(3,1), which forgives an offset; ICC(2,1) and ICC(1,1) do not.
    y, p = affect()
    assert icc(y, p + 0.4, "3,1") == pytest.approx(icc31(y, p))
    assert icc(y, p + 0.4, "1,1") < icc(y, p + 0.4, "2,1") < icc(y, p + 0.4, "3,1")
