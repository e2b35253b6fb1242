"""What `evaluate` returns: values by label, fold and mean, undefined values, counts, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, get_args

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import UnknownNameError, UsageError
from zoo.metrics import METRICS, Evaluation, evaluate
from zoo.protocols import schema
from zoo.registry.labels import Task

SERIES = ["pcc", "icc31", "ccc", "mae", "mse", "rmse"]
AUS = ["AU01", "AU12", "AU25"]


def au_data(people: int = 12, frames: int = 40, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), frames)
    level = random.normal(size=(people, 3))[person]
    truth = np.clip(np.round(level + random.normal(size=(len(person), 3)) + 1), 0, 5)
    prediction = 0.6 * truth + 0.3 * level + 0.5 * random.normal(size=truth.shape)
    return {"truth": truth, "prediction": prediction, "clusters": person, "folds": person % 3}


def scored(
    task: Task = "au-intensity", labels: list[str] = AUS, metrics: list[str] = SERIES, **change: Any
) -> Evaluation:
    return evaluate(task, labels, **({**au_data(), "metrics": metrics, "resamples": 300} | change))


def test_metrics_are_those_that_protocols_may_name() -> None:
    assert set(METRICS) == set(get_args(schema.MetricName))
    assert set(get_args(schema.Aggregation)) == {r.aggregation for r in scored().scores}
    assert {t for m in METRICS.values() for t in m.tasks} == set(get_args(Task))


def test_pooled_and_fold_values_are_the_direct_ones() -> None:
    from zoo.metrics import continuous

    data, result = au_data(), scored()
    for metric in SERIES:
        direct = getattr(continuous, metric)
        folds = [data["folds"] == f for f in range(3)]
        table = [[direct(data["truth"][m, i], data["prediction"][m, i]) for i in range(3)] for m in folds]
        pooled = [direct(data["truth"][:, i], data["prediction"][:, i]) for i in range(3)]
        assert [r.value for r in result.get(metric).per_label] == pytest.approx(pooled)
        assert [r.value for r in result.get(metric, "mean_over_folds").per_label] == pytest.approx(np.mean(table, 0))
        for mean in ("mean_defined", "mean_strict"):
            assert getattr(result.get(metric), mean).value == pytest.approx(np.mean(pooled))
            assert getattr(result.get(metric, "mean_over_folds"), mean).value == pytest.approx(np.mean(table))
        for r in result.get(metric).per_label:
            assert r.low is not None
            assert r.high is not None
            assert r.low < r.value < r.high
    assert (result.n, result.n_clusters, result.n_folds) == (480, 12, 3)
    assert result.get("pcc").per_label[0].n_pos == int((data["truth"][:, 0] > 0).sum())


def test_each_cluster_gets_its_own_values() -> None:
    data, result = au_data(), scored(metrics=["mae", "pcc"])
    for person, row in enumerate(result.clusters):
        mine = data["clusters"] == person
        assert (row.cluster, row.n) == (person, 40)
        assert row.values["mae"] == pytest.approx(np.abs(data["truth"] - data["prediction"])[mine].mean())
    assert result.per_cluster("mae") == [(r.n, r.values["mae"]) for r in result.clusters]
    constant = data["truth"].copy()
    constant[data["clusters"] == 4] = 0
    assert scored(metrics=["pcc"], truth=constant).clusters[4].values == {"pcc": None}


def test_a_cluster_without_a_coded_sample_is_listed_and_not_resampled() -> None:
    data = au_data()
    data["truth"][data["clusters"] == 4] = np.nan
    result = evaluate("au-intensity", AUS, **data, metrics=["mae"], resamples=200)
    assert result.n_clusters == 11
    assert result.clusters[4] == type(result.clusters[4])(4, 0, {"mae": None})
    kept = data["clusters"] != 4
    without = evaluate("au-intensity", AUS, **{k: v[kept] for k, v in data.items()}, metrics=["mae"], resamples=200)
    assert without.scores == result.scores


def test_one_fold_is_the_pool() -> None:
    result = scored(folds=np.zeros(480, int))
    for metric in SERIES:
        a, b = result.get(metric), result.get(metric, "mean_over_folds")
        assert dataclasses.replace(b, aggregation="pooled") == a


def test_an_undefined_label_is_null_left_out_of_one_mean_and_zero_in_the_other() -> None:
    truth = au_data()["truth"]
    truth[:, 1] = 0
    result = scored(truth=truth, metrics=["pcc", "icc31", "mae"])
    pcc = result.get("pcc")
    assert pcc.per_label[1].value is None
    assert pcc.per_label[1].low is None
    assert pcc.undefined == 1
    defined = [pcc.per_label[i].value for i in (0, 2)]
    assert pcc.mean_defined.value == pytest.approx(np.sum(defined) / 2)
    assert pcc.mean_strict.value == pytest.approx(np.sum(defined) / 3)
    assert result.get("icc31").per_label[1].value == 0
    assert result.get("icc31").undefined == 0


def test_a_label_undefined_in_one_fold() -> None:
    data = au_data()
    data["truth"][data["folds"] == 2, 0] = 0
    result = evaluate("au-intensity", AUS, **data, metrics=["pcc"], resamples=0)
    folds = result.get("pcc", "mean_over_folds")
    each = [
        [
            np.corrcoef(data["truth"][m, i], data["prediction"][m, i])[0, 1]
            for m in [data["folds"] == f for f in (0, 1, 2)]
        ]
        for i in (1, 2)
    ]
    first = [
        np.corrcoef(data["truth"][m, 0], data["prediction"][m, 0])[0, 1] for m in [data["folds"] == f for f in (0, 1)]
    ]
    assert folds.per_label[0].value == pytest.approx(np.mean(first))
    assert [r.undefined_folds for r in folds.per_label] == [1, 0, 0]
    assert folds.undefined == 0
    assert folds.mean_defined.value == pytest.approx(np.mean([np.mean(first), *np.mean(each, 1)]))
    assert folds.mean_strict.value == pytest.approx((np.sum(first) + np.sum(each)) / 9)


def test_an_error_that_is_undefined_never_counts_as_perfect() -> None:
    data = au_data()
    data["truth"][:, 1] = np.nan
    mae = evaluate("au-intensity", AUS, **data, metrics=["mae"], resamples=200).get("mae")
    assert mae.per_label[1].value is None
    assert mae.per_label[1].n == 0
    assert mae.mean_strict.value is None
    assert mae.mean_strict.low is None
    assert mae.mean_defined.value == pytest.approx(np.mean([mae.per_label[i].value for i in (0, 2)]))


def test_a_label_that_the_model_does_not_predict() -> None:
    prediction = au_data()["prediction"]
    prediction[:, 2] = np.nan
    result = scored(prediction=prediction)
    ccc = result.get("ccc")
    assert ccc.per_label[2].value is None
    assert ccc.per_label[2].n == 480  # coded, though not predicted
    assert ccc.mean_strict.value == pytest.approx(ccc.mean_defined.value * 2 / 3)


def occurrence(**change: Any) -> Evaluation:
    data = au_data()
    scores = data["prediction"]
    data |= {"truth": (data["truth"] >= 2).astype(float), "prediction": (scores >= 1.2).astype(float), "scores": scores}
    return evaluate(
        "au-occurrence", AUS, **data | {"metrics": ["f1", "accuracy", "auc", "f1_best"], "resamples": 300} | change
    )


def test_occurrence_is_scikit_learns() -> None:
    data, result = au_data(), occurrence()
    for i in range(3):
        y, s = data["truth"][:, i] >= 2, data["prediction"][:, i]
        assert result.get("f1").per_label[i].value == pytest.approx(sk.f1_score(y, s >= 1.2))
        assert result.get("accuracy").per_label[i].value == pytest.approx(sk.accuracy_score(y, s >= 1.2))
        assert result.get("auc").per_label[i].value == pytest.approx(sk.roc_auc_score(y, s))
        best = result.get("f1_best").per_label[i]
        assert best.value == pytest.approx(sk.f1_score(y, s >= best.threshold))
        assert best.value >= result.get("f1").per_label[i].value
        assert best.low is None
        assert result.get("f1").per_label[i].n_pos == int(y.sum())
        by_fold = [sk.roc_auc_score(y[m], s[m]) for m in [data["folds"] == f for f in range(3)]]
        assert result.get("auc", "mean_over_folds").per_label[i].value == pytest.approx(np.mean(by_fold))
        best_by_fold = [max(sk.f1_score(y[m], s[m] >= t) for t in s[m]) for m in [data["folds"] == f for f in range(3)]]
        assert result.get("f1_best", "mean_over_folds").per_label[i].value == pytest.approx(np.mean(best_by_fold))
    for metric in ("f1", "accuracy", "auc"):
        r = result.get(metric).headline
        assert r.low < r.value < r.high
    mine = data["clusters"] == 3
    mixed = [i for i in range(3) if 0 < (data["truth"][mine, i] >= 2).sum() < 40]
    within = [sk.roc_auc_score(data["truth"][mine, i] >= 2, data["prediction"][mine, i]) for i in mixed]
    assert 0 < len(mixed) < 3
    assert result.clusters[3].values["auc"] == pytest.approx(np.mean(within))
    assert "f1_best" not in result.clusters[3].values


def test_an_au_without_a_positive() -> None:
    truth = (au_data()["truth"] >= 2).astype(float)
    truth[:, 0] = 0
    predicted, silent = occurrence(truth=truth), np.ones((480, 3))
    silent[:, 0] = 0
    assert predicted.get("f1").per_label[0].value == 0
    assert predicted.get("f1").per_label[0].n_pos == predicted.get("f1").per_label[0].clusters_pos == 0
    assert predicted.get("auc").per_label[0].value is None
    assert predicted.get("f1_best").per_label[0].value is None
    undefined = occurrence(truth=truth, prediction=silent).get("f1")
    assert undefined.per_label[0].value is None
    assert undefined.mean_strict.value == pytest.approx(undefined.mean_defined.value * 2 / 3)


def test_whole_numbers_are_scores_too() -> None:
    random = np.random.default_rng(3)
    scores = random.integers(0, 255, (480, 3)).astype(np.uint8)
    as_float = occurrence(scores=scores.astype(float))
    for metric in ("auc", "f1_best"):
        assert occurrence(scores=scores).get(metric) == as_float.get(metric)


def test_the_area_under_the_curve_of_very_many_clusters_has_no_interval() -> None:
    from zoo.metrics import paired_difference

    random = np.random.default_rng(3)
    truth, scores = random.integers(0, 2, (2500, 1)), random.random((2500, 1))
    result = evaluate(
        "au-occurrence", ["AU12"], truth, scores >= 0.5, np.arange(2500), np.zeros(2500, int), ["auc", "f1"],
        scores=scores, resamples=100,
    )  # fmt: skip
    assert result.get("auc").headline.value == pytest.approx(sk.roc_auc_score(truth[:, 0], scores[:, 0]))
    assert result.get("auc").headline.low is None
    assert result.get("f1").headline.low is not None
    with pytest.raises(UsageError, match="too many clusters"):
        paired_difference(result, result, "auc")


def classes(**change: Any) -> Evaluation:
    random = np.random.default_rng(1)
    truth = random.integers(-1, 4, 600)
    prediction = np.where(random.random(600) < 0.6, truth, random.integers(-1, 5, 600))
    given = {"truth": truth, "prediction": prediction, "clusters": np.arange(600) // 30, "folds": np.arange(600) // 300}
    names = ["neutral", "happiness", "sadness", "surprise", "fear"]
    return evaluate(
        "expression",
        names,
        **given | {"metrics": ["accuracy", "balanced_accuracy", "macro_f1"], "resamples": 300} | change,
    )


def test_expressions_are_scikit_learns() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(-1, 4, 600)
    prediction = np.where(random.random(600) < 0.6, truth, random.integers(-1, 5, 600))
    y, p = truth[truth >= 0], prediction[truth >= 0]
    result = classes()
    assert result.n == len(y)
    assert result.get("accuracy").headline.value == pytest.approx(sk.accuracy_score(y, p))
    assert result.get("accuracy").per_label == ()
    with pytest.warns(UserWarning):
        assert result.get("balanced_accuracy").headline.value == pytest.approx(sk.balanced_accuracy_score(y, p))
    macro = result.get("macro_f1")
    assert macro.headline.value == pytest.approx(sk.f1_score(y, p, labels=range(5), average="macro"))
    assert macro.per_label[4].value == 0  # answered, though never true
    assert result.get("balanced_accuracy").per_label[4].value is None
    assert result.get("balanced_accuracy").mean_strict.value == pytest.approx(
        result.get("balanced_accuracy").mean_defined.value * 4 / 5
    )
    assert [r.n_pos for r in macro.per_label] == np.bincount(y, minlength=5).tolist()
    assert result.confusion is not None
    assert np.array(result.confusion).shape == (5, 6)
    assert np.array(result.confusion).sum() == len(y)
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        for aggregation in ("pooled", "mean_over_folds"):
            r = result.get(metric, aggregation).headline
            assert r.low < r.value < r.high
    halves = [
        sk.accuracy_score(truth[m][truth[m] >= 0], prediction[m][truth[m] >= 0]) for m in np.split(np.arange(600), 2)
    ]
    assert result.get("accuracy", "mean_over_folds").headline.value == pytest.approx(np.mean(halves))


def test_images_as_clusters_match_the_textbook_interval() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 8, 4000)
    prediction = np.where(random.random(4000) < 0.6, truth, random.integers(0, 8, 4000))
    result = evaluate(
        "expression", [str(i) for i in range(8)], truth, prediction, np.arange(4000), np.zeros(4000, int), ["accuracy"],
        resamples=4000,
    )  # fmt: skip
    r = result.get("accuracy").headline
    half = 1.96 * math.sqrt(r.value * (1 - r.value) / 4000)
    assert r.low == pytest.approx(r.value - half, abs=1e-3)
    assert r.high == pytest.approx(r.value + half, abs=1e-3)


def test_valence_and_arousal() -> None:
    data = au_data()
    nan_rows = slice(0, 30)
    data["truth"] = data["truth"][:, :2] / 5
    data["truth"][nan_rows, 1] = np.nan
    data["prediction"] = data["prediction"][:, :2] / 5
    result = evaluate("valence-arousal", ["valence", "arousal"], **data, metrics=[*SERIES, "sagr"], resamples=200)
    assert [r.n for r in result.get("sagr").per_label] == [480, 450]
    assert result.get("sagr").per_label[0].n_pos is None
    assert result.n == 480


def test_json_is_plain_and_complete() -> None:
    truth = au_data()["truth"]
    truth[:, 1] = 0
    for result in (scored(truth=truth), occurrence(), classes()):
        plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert set(plain) == {
            "task", "labels", "resamples", "seed", "level", "n", "n_clusters", "n_folds", "scores", "clusters",
            "confusion",
        }  # fmt: skip
        assert len(plain["scores"]) == len(result.scores)
        assert plain["scores"][0]["mean_strict"]["value"] == result.scores[0].mean_strict.value


def test_ids_types_and_order_of_rows_do_not_matter() -> None:
    data = au_data()
    order = np.random.default_rng(9).permutation(480)
    moved = {k: v[order] for k, v in data.items()} | {"clusters": (data["clusters"] * 100 - 7)[order].astype(np.int16)}
    a = evaluate("au-intensity", AUS, **data, metrics=SERIES, resamples=200)
    b = evaluate("au-intensity", AUS, **moved, metrics=SERIES, resamples=200)
    for x, y in zip(a.scores, b.scores, strict=True):
        assert x.mean_strict.low == pytest.approx(y.mean_strict.low)
        assert [r.high for r in x.per_label] == pytest.approx([r.high for r in y.per_label])
    half = evaluate(
        "au-intensity", AUS, **data | {"prediction": data["prediction"].astype(np.float16)}, metrics=["mae"]
    )
    assert half.get("mae").headline.value == pytest.approx(a.get("mae").headline.value, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros((480, 2))}, "truth has the wrong shape"),
        ({"prediction": np.zeros(480)}, "prediction has the wrong shape"),
        ({"clusters": np.zeros(479, int)}, "clusters has the wrong shape"),
        ({"clusters": np.zeros(480)}, "clusters must be integers"),
        ({"folds": np.full(480, 0.5)}, "folds must be integers"),
        ({"folds": np.arange(480) % 3}, "more than one fold"),
        ({"truth": np.full((480, 3), np.nan)}, "nothing to score"),
        ({"truth": np.full((480, 3), np.inf)}, "not finite"),
        ({"truth": np.full((480, 3), "x")}, "must be numbers"),
        ({"metrics": ["f1"]}, "not one of the task"),
        ({"metrics": ["sagr"]}, "not one of the task"),
        ({"resamples": -1}, "negative"),
        ({"seed": -1}, "negative"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scored(**change)


def test_a_sample_without_an_answer_is_never_guessed() -> None:
    prediction = au_data()["prediction"]
    prediction[5, 1] = np.nan
    with pytest.raises(UsageError, match="AU12 is not finite in 1 of 480") as caught:
        scored(prediction=prediction)
    assert "0, or truth set to NaN" in str(caught.value)
    truth = au_data()["truth"]
    truth[5, 1] = np.nan
    assert scored(prediction=prediction, truth=truth).get("pcc").per_label[1].n == 479


def test_occurrence_and_expression_refuse_codes() -> None:
    truth = (au_data()["truth"] >= 2).astype(float)
    truth[0, 0] = 9
    with pytest.raises(UsageError, match="truth of AU01 holds 9"):
        occurrence(truth=truth)
    with pytest.raises(UsageError, match="prediction of AU01 holds"):
        occurrence(prediction=au_data()["prediction"])
    with pytest.raises(UsageError, match="needs scores"):
        occurrence(scores=None)
    with pytest.raises(UsageError, match="scores of AU01 is not finite"):
        occurrence(scores=np.where(np.arange(480)[:, None] == 0, np.nan, au_data()["prediction"]))
    for truth_of_classes in (np.full(600, 5), np.full(600, -2)):
        with pytest.raises(UsageError, match="outside the label set"):
            classes(truth=truth_of_classes)
    with pytest.raises(UsageError, match="class numbers"):
        classes(prediction=np.zeros(600))


def test_names_are_checked_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="pcc"):
        scored(metrics=["pc"])
    with pytest.raises(UnknownNameError, match="au-intensity"):
        scored(task="au-intensty")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="different names"):
        scored(labels=["AU01", "AU01", "AU02"])
    with pytest.raises(UnknownNameError):
        scored().get("f1")
    with pytest.raises(UnknownNameError):
        scored().get("pcc", "per_video")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError):
        occurrence().per_cluster("f1_best")


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.booleans())
def test_hostile_data_give_numbers_or_none(seed: int, n: int, labels: int, people: int, few_levels: bool) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, (n, labels)).astype(float) if few_levels else random.normal(size=(n, labels)) * 1e4
    truth[random.random(truth.shape) < 0.3] = np.nan
    prediction = random.integers(0, 2, (n, labels)).astype(np.float32)
    clusters = random.integers(0, people, n)
    names = [f"AU{i:02d}" for i in range(labels)]
    if np.isnan(truth).all():
        return
    calls: list[Any] = [("au-intensity", truth, SERIES, {})]
    if few_levels:
        calls.append(("au-occurrence", truth, ["f1", "accuracy", "auc", "f1_best"], {"scores": prediction}))
    for task, y, metrics, more in calls:
        result = evaluate(task, names, y, prediction, clusters, clusters % 2, metrics, resamples=60, seed=1, **more)
        json.dumps(result.to_json(), allow_nan=False)
        for score in result.scores:
            for r in (*score.per_label, score.mean_defined, score.mean_strict):
                if r.low is not None:
                    assert r.value is not None
                    assert r.low <= r.value + 1e-9 or r.high >= r.value - 1e-9
                    assert r.low <= r.high
