"""The bootstrap: resamples are what they claim to be, intervals cover, pairs are pairs, and doubt is not hidden."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from zoo.errors import UnknownNameError, UsageError
from zoo.metrics import Evaluation, bootstrap, continuous, evaluate, holm, paired_difference, statistics
from zoo.metrics.bootstrap import Design, interval, replicate

AUS = ["AU01", "AU12"]


def data(people: int = 15, frames: int = 30, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), frames)
    level = random.normal(size=(people, 2))[person]
    truth = np.round(level + random.normal(size=level.shape)).clip(0)
    return {
        "truth": truth, "prediction": 0.5 * truth + 0.4 * level + 0.5 * random.normal(size=truth.shape),
        "clusters": person, "folds": person % 3,
    }  # fmt: skip


def scored(metrics: tuple[str, ...] = ("pcc", "mae"), **change: Any) -> Evaluation:
    return evaluate("au-intensity", AUS, **{**data(), "metrics": metrics, "resamples": 400} | change)


@pytest.mark.parametrize("aggregation", ["pooled", "mean_over_folds"])
def test_a_replicate_is_the_metric_of_the_resampled_frames(aggregation: Any) -> None:
    given, result = data(), scored()
    design = Design(np.arange(15), np.arange(15) % 3 if aggregation == "mean_over_folds" else np.zeros(15, np.int64))
    drawn = next(design.draws(400, 0))
    for metric in ("pcc", "mae"):
        replicates = result.replicates[metric, aggregation]
        assert replicates.values.shape == (400, 4)
        for b in (0, 7, 399):
            folds = [
                np.concatenate([np.flatnonzero(given["clusters"] == members[c]) for c in draw[b]])
                for members, draw in zip(design.members, drawn, strict=True)
            ]
            expected = [
                np.mean([getattr(continuous, metric)(given["truth"][f, i], given["prediction"][f, i]) for f in folds])
                for i in range(2)
            ]
            assert replicates.values[b] == pytest.approx([*expected, np.mean(expected), np.mean(expected)])


def test_each_fold_is_resampled_by_itself() -> None:
    design = Design(np.arange(15), np.array([0] * 4 + [1] * 5 + [2] * 6))
    sizes = [[d.shape for d in drawn] for drawn in design.draws(10, 0)]
    assert sizes == [[(10, 4), (10, 5), (10, 6)]]
    assert [m.tolist() for m in design.members] == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14]]


def test_draws_depend_on_the_seed_and_the_clusters_alone() -> None:
    a, b = scored(metrics=("pcc",)), scored(metrics=("mae", "pcc"), prediction=data(seed=5)["prediction"])
    truth_alone = lambda e: e.replicates["pcc", "pooled"].values  # noqa: E731
    assert not np.array_equal(truth_alone(a), truth_alone(b))  # other predictions
    again = scored(metrics=("mae", "pcc"))
    assert np.array_equal(truth_alone(a), truth_alone(again))
    assert not np.array_equal(truth_alone(a), truth_alone(scored(metrics=("pcc",), seed=1)))
    # Long runs come in chunks; the chunks of a shorter run are the first of a longer one.
    design = Design(np.arange(5000), np.zeros(5000, np.int64))
    longer, shorter = design.draws(900, 3), design.draws(500, 3)
    assert np.array_equal(next(longer)[0], next(shorter)[0])
    assert sum(len(d[0]) for d in design.draws(900, 3)) == 900


def test_the_standard_error_of_a_mean_is_the_textbooks() -> None:
    # One frame a cluster and the mean absolute error: the influence is the error itself.
    random = np.random.default_rng(0)
    error = random.exponential(size=40)
    sums = statistics.continuous_sums(error[:, None], np.zeros((40, 1)), np.arange(40), 40)
    design = Design(np.arange(40), np.zeros(40, np.int64))
    found = replicate([[bootstrap.SumCell(sums, {"mae": statistics.mae})]], design, 50, 0, {"mae": False})["mae"]
    drawn = next(design.draws(50, 0))[0]
    assert found.spread[:, 0] == pytest.approx(scipy.stats.sem(error[drawn], axis=1))
    without, count = found.left_out[0]
    assert np.sort(without[:, 0]) == pytest.approx(np.sort((error.sum() - error) / 39))
    # Hence the interval is the bootstrap-t interval of a mean on the identity scale.
    t = np.sort((error[drawn].mean(1) - error.mean()) / scipy.stats.sem(error[drawn], axis=1))
    expected = error.mean() - scipy.stats.sem(error) * np.array([t[-1], t[0]])
    found_interval = interval(found, 0, "identity")
    assert [found_interval.low, found_interval.high] == pytest.approx(expected)  # 50 resamples: tail 1
    assert count.sum() == 40


@pytest.mark.parametrize(
    ("scale", "values"),
    [("fisher", [-0.9, 0, 0.7]), ("arcsine", [0.0, 0.2, 1.0]), ("log", [0.1, 3.0]), ("identity", [-1.0, 5.0])],
)
def test_scales_turn_back_and_their_slopes_are_slopes(scale: Any, values: list[float]) -> None:
    for v in values:
        z, slope = bootstrap._forward(scale, np.array(v))
        assert bootstrap._back(scale, float(z)) == pytest.approx(v)
        if np.isfinite(slope):
            near, _ = bootstrap._forward(scale, np.array(v + 1e-6))
            assert (near - z) / 1e-6 == pytest.approx(float(slope), rel=1e-3)


def coverage(task: str, metrics: tuple[str, ...], folds: int = 1) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    try:
        import coverage as simulation
    finally:
        sys.path.pop(0)
    rows = simulation.simulate(
        task, 27, folds, datasets=200, resamples=200, size=1200, frames=60, seed=4, metrics=metrics
    )
    return {f"{r.metric} {r.figure}": r for r in rows}


@pytest.mark.parametrize(
    ("task", "metric", "folds"),
    [
        ("au-intensity", "pcc", 1), ("au-occurrence", "f1", 1), ("au-occurrence", "f1", 3),
        ("valence-arousal", "ccc", 1), ("expression", "macro_f1", 1),
    ],
)  # fmt: skip
def test_intervals_of_27_people_cover(task: str, metric: str, folds: int) -> None:
    rows = coverage(task, (metric,), folds)
    error = math.sqrt(0.95 * 0.05 / 200)  # binomial, 1.5 %
    for figure in ("mean", "difference"):
        row = rows[f"{metric} {figure}"]
        assert 0.93 - 3 * error <= row.coverage["studentised"] <= 1, row
        assert row.missing == 0
    if metric == "pcc":  # why the percentile interval is not used
        assert rows["pcc mean"].coverage["percentile"] < 0.85
    # The labels' intervals are many, though of the same data sets: their average has a smaller error.
    label = rows[f"{metric} a label"]
    assert 0.93 - 2 * error <= label.coverage["studentised"] <= 0.97 + 2 * error, label


def test_many_clusters_are_not_left_out_one_by_one() -> None:
    random = np.random.default_rng(6)
    truth = random.normal(size=(2400, 2))
    prediction = 0.5 * truth + random.normal(size=truth.shape)
    given = {
        "truth": truth,
        "prediction": prediction,
        "folds": np.zeros(2400, int),
        "metrics": ["pcc"],
        "resamples": 500,
    }
    result = evaluate("au-intensity", AUS, clusters=np.arange(2400), **given)
    assert result.replicates["pcc", "pooled"].left_out == []
    r = result.get("pcc").per_label[0]
    z = math.atanh(r.value) + np.array([-1, 1]) * 1.96 / math.sqrt(2400 - 3)  # normal data: Fisher's interval
    assert [r.low, r.high] == pytest.approx(np.tanh(z), abs=0.006)


def test_no_interval_from_few_people() -> None:
    for people, given in ((4, False), (5, True)):
        r = scored(**data(people=people), resamples=300).get("mae").headline
        assert r.value is not None
        assert (r.low is not None) is given


def test_no_interval_where_a_value_rests_on_one_person() -> None:
    given = data()
    given["truth"][given["clusters"] != 3, 0] = 0
    result = evaluate("au-intensity", AUS, **given, metrics=["pcc"], resamples=400)
    r = result.get("pcc").per_label[0]
    assert r.value is not None
    assert r.clusters_pos == 1
    assert r.low is None
    assert r.high is None
    assert result.get("pcc").per_label[1].low is not None


def test_no_interval_where_too_many_resamples_are_undefined() -> None:
    given = data()
    given["truth"][~np.isin(given["clusters"], (3, 4)), 0] = 0  # two of 15: 12 % of resamples have neither
    assert evaluate("au-intensity", AUS, **given, metrics=["pcc"], resamples=400).get("pcc").per_label[0].low is None


def test_no_interval_for_a_fold_of_one_person() -> None:
    given = data(people=7)
    given["folds"] = np.minimum(given["clusters"], 1)
    result = evaluate("au-intensity", AUS, **given, metrics=["mae"], resamples=400)
    assert result.get("mae").headline.low is not None
    assert result.get("mae", "mean_over_folds").headline.low is None


def test_no_interval_for_a_perfect_score() -> None:
    given = data()
    result = scored(prediction=given["truth"], metrics=("pcc", "mae", "ccc"))
    assert result.get("mae").headline.value == 0
    assert result.get("mae").headline.low is None
    for metric in ("pcc", "ccc"):
        r = result.get(metric).headline
        assert r.value == pytest.approx(1)
        assert r.low is None or r.low > 1 - 1e-9


def test_no_resamples_no_interval() -> None:
    result = scored(resamples=0)
    assert result.get("pcc").headline.value is not None
    assert result.get("pcc").headline.low is None
    assert result.replicates["pcc", "pooled"].values.shape == (0, 4)


def test_a_difference_is_paired() -> None:
    given = data()
    worse = given["prediction"] + np.random.default_rng(3).normal(size=given["truth"].shape) * 0.3
    a, b = scored(resamples=2000), scored(prediction=worse, resamples=2000)
    for aggregation in ("pooled", "mean_over_folds"):
        d = paired_difference(a, b, "pcc", aggregation)
        value = a.get("pcc", aggregation).headline.value - b.get("pcc", aggregation).headline.value
        assert d.value == pytest.approx(value)
        apart = sum(e.get("pcc", aggregation).headline.high - e.get("pcc", aggregation).headline.low for e in (a, b))
        assert d.high - d.low < apart / 2  # people are hard for both: most of the spread is shared
        assert d.low < d.value < d.high
        assert (d.p < 0.05) == (d.low > 0 or d.high < 0)
        back = paired_difference(b, a, "pcc", aggregation)
        assert (back.value, back.low, back.high) == pytest.approx((-d.value, -d.high, -d.low))
        assert back.p == pytest.approx(d.p)
    one = paired_difference(a, b, "mae", label="AU12")
    assert one.value == pytest.approx(a.get("mae").per_label[1].value - b.get("mae").per_label[1].value)
    assert paired_difference(a, b, "pcc", mean="mean_defined").value == pytest.approx(
        a.get("pcc").mean_defined.value - b.get("pcc").mean_defined.value
    )


def test_replicates_of_a_difference_are_differences_of_replicates() -> None:
    a, b = scored(), scored(prediction=data(seed=8)["prediction"])
    for aggregation in ("pooled", "mean_over_folds"):
        cells = [e._groups[0].cells(aggregation) for e in (a, b)]
        design = a._design.pooled() if aggregation == "pooled" else a._design
        both = replicate(cells, design, 400, 0, {"pcc": True})["pcc"]
        separate = a.replicates["pcc", aggregation].values - b.replicates["pcc", aggregation].values
        assert both.values == pytest.approx(separate)


def test_pairs_of_images_with_shared_rows() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 500)
    answers = [np.where(random.random(500) < r, truth, random.integers(0, 3, 500)) for r in (0.6, 0.5)]
    a, b = (
        evaluate(
            "expression", ["a", "b", "c"], truth, x, np.arange(500), np.zeros(500, int), ["accuracy"], resamples=3000
        )
        for x in answers
    )
    d = paired_difference(a, b, "accuracy")
    right = [(x == truth).astype(float) for x in answers]
    error = scipy.stats.sem(right[0] - right[1])
    assert d.value == pytest.approx((right[0] - right[1]).mean())
    assert d.high - d.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    assert d.p == pytest.approx(2 * scipy.stats.norm.sf(abs(d.value) / error), rel=0.5, abs=0.005)


def test_the_same_predictions_do_not_differ() -> None:
    d = paired_difference(scored(), scored(), "pcc")
    assert (d.value, d.low, d.high, d.p) == (0, 0, 0, 1)


def test_undefined_or_unsupported_differences_are_none() -> None:
    given = data()
    given["truth"][:, 0] = 0
    a = evaluate("au-intensity", AUS, **given, metrics=["pcc"], resamples=100)
    assert paired_difference(a, a, "pcc", label="AU01").value is None
    few = data(people=4)
    a = evaluate("au-intensity", AUS, **few, metrics=["pcc"], resamples=100)
    b = evaluate("au-intensity", AUS, **few | {"prediction": few["prediction"] ** 2}, metrics=["pcc"], resamples=100)
    d = paired_difference(a, b, "pcc")
    assert d.value is not None
    assert d.p is None


def test_what_is_not_a_pair_is_refused() -> None:
    a, given = scored(), data()
    fewer = {k: v[given["clusters"] > 0] for k, v in given.items()}
    uncoded = given["truth"].copy()
    uncoded[:3] = np.nan
    for other, reason in (
        (scored(seed=1), "seed"),
        (scored(resamples=100), "resamples"),
        (scored(folds=np.zeros(450, int)), "folds"),
        (scored(**fewer), "clusters"),
        (scored(truth=uncoded), "coded samples"),
        (evaluate("au-intensity", ["AU01", "AU02"], **given, metrics=["pcc"], resamples=400), "labels"),
    ):
        with pytest.raises(UsageError, match=reason):
            paired_difference(a, other, "pcc")
    with pytest.raises(UnknownNameError):
        paired_difference(a, a, "ccc")
    with pytest.raises(UnknownNameError):
        paired_difference(a, a, "pcc", label="AU99")
    y = (given["truth"] > 1).astype(float)
    best = evaluate(
        "au-occurrence",
        AUS,
        y,
        y,
        given["clusters"],
        given["folds"],
        ["f1_best"],
        scores=given["prediction"],
        resamples=50,
    )
    with pytest.raises(UsageError, match="tuned"):
        paired_difference(best, best, "f1_best")


def test_holm_is_the_step_down_rule() -> None:
    # Holm 1979 by hand: 0.01*4, max(., 0.02*3), max(., 0.03*2), max(., 0.5*1)
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None, 0.04, None]) == [None, 0.04, None]


def test_a_difference_lies_where_differences_can_be() -> None:
    """Two correlations differ by 2 at most; with few people the studentised interval reaches beyond, and is cut."""
    ends = []
    for seed in range(40):
        few = {**data(people=5, frames=4, seed=seed), "folds": np.zeros(20, int)}
        other = {**few, "prediction": np.random.default_rng(seed).normal(size=(20, 2))}
        found = paired_difference(scored(("pcc",), **few), scored(("pcc",), **other), "pcc")
        if found.low is not None and found.high is not None:
            ends += [found.low, found.high]
    assert -2 <= min(ends) <= max(ends) <= 2
    assert {-2.0, 2.0} & set(ends)
