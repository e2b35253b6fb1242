"""The rules of a protocol on stored predictions: missing AUs, undetected faces, thresholds, orders of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score

from zoo.datasets.base import Index, Labels
from zoo.errors import RecordError, UsageError
from zoo.protocols.rules import assign_folds
from zoo.protocols.schema import ProtocolFile
from zoo.registry.schema import Output
from zoo.results.record import MetricScore, View
from zoo.runs.audit import audit_action_units, audit_expressions
from zoo.runs.predictions import column
from zoo.runs.scoring import Scored, score_predictions, tuned_on_other_folds

RNG = np.random.default_rng(7)
SUBJECTS = [f"SN{n:03d}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)]
FRAMES = 40


def make_index(task: str, names: tuple[str, ...], values: np.ndarray) -> Index:
    n = len(values)
    per = n // len(SUBJECTS)
    subject = np.repeat(SUBJECTS, per)
    return Index(
        dataset="disfa", root=Path("/nowhere"), manifest="m", identities="disfa", synthetic=False, subject=subject,
        sequence=subject, frame=np.tile(np.arange(1, per + 1, dtype=np.int32), len(SUBJECTS)), split=np.full(n, ""),
        file=np.full(n, "x.jpg"), position=np.full(n, -1, np.int32), options={"camera": "left"},
        labels={task: Labels(task, names, values)},  # type: ignore[arg-type, dict-item]
    )  # fmt: skip


def make_protocol(**change: Any) -> ProtocolFile:
    fields: dict[str, Any] = {
        "id": "p", "version": 1, "title": "P", "dataset": "disfa", "task": "au-occurrence", "labels": ("AU01", "AU12"),
        "binarise_at": 2, "folds": [{"name": "a", "test": SUBJECTS[:6]}, {"name": "b", "test": SUBJECTS[6:]}],
        "metrics": ("f1", "accuracy", "auc"), "primary": {"metric": "f1", "aggregation": "mean_over_folds"},
        "undetected": "absent",
    }  # fmt: skip
    return ProtocolFile(**{**fields, **change})


def make_table(output: Output, values: np.ndarray, found: np.ndarray | None = None) -> pa.Table:
    found = np.ones(len(values), bool) if found is None else found
    values = np.where(found[:, None], values, np.nan).astype(np.float32)
    columns = {column(output.task, x): values[:, i] for i, x in enumerate(output.labels)}
    return pa.table({"row": np.arange(len(values)), "face_found": found, "decoded": found, **columns})


def score(protocol: ProtocolFile, index: Index, output: Output, table: pa.Table) -> Scored:
    return score_predictions(table, index, protocol, assign_folds(protocol, index), output, resamples=200)


def metric(view: View, name: str, aggregation: str = "pooled") -> MetricScore:
    return next(s for s in view.scores if (s.metric, s.aggregation) == (name, aggregation))


INTENSITY = RNG.integers(0, 6, (len(SUBJECTS) * FRAMES, 3)).astype(np.float32)
INDEX = make_index("au-intensity", ("AU12", "AU01", "AU04"), INTENSITY)
TRUTH = (INTENSITY[:, [1, 0]] >= 2).astype(int)  # AU01, AU12: by name, not by place
NOISY = np.clip(0.3 * TRUTH + 0.6 * RNG.random(TRUTH.shape), 0, 1)
BOTH = Output(task="au-occurrence", labels=("AU01", "AU12"), threshold=0.5)


def test_occurrence_is_scored_per_fold_as_scikit_learn_does() -> None:
    got = score(make_protocol(), INDEX, BOTH, make_table(BOTH, NOISY))
    half = len(TRUTH) // 2
    want = np.mean(
        [f1_score(TRUTH[s, j], NOISY[s, j] >= 0.5) for s in (slice(half), slice(half, None)) for j in range(2)]
    )
    assert metric(got.views[0], "f1", "mean_over_folds").mean.value == pytest.approx(want)
    assert metric(got.views[0], "f1").mean.value == pytest.approx(
        np.mean([f1_score(TRUTH[:, j], NOISY[:, j] >= 0.5) for j in range(2)])
    )
    assert [v.rule for v in got.views] == ["undetected-as-error"]


def test_columns_meet_by_name_whatever_the_models_order() -> None:
    swapped = Output(task="au-occurrence", labels=("AU12", "AU04", "AU01"), threshold=0.5)
    values = np.stack([NOISY[:, 1], np.zeros(len(NOISY)), NOISY[:, 0]], axis=1)
    a = score(make_protocol(), INDEX, BOTH, make_table(BOTH, NOISY))
    b = score(make_protocol(), INDEX, swapped, make_table(swapped, values))
    assert a.views == b.views


def test_undetected_faces_are_absent_in_the_first_view_and_left_out_in_the_second() -> None:
    found = RNG.random(len(NOISY)) > 0.2
    got = score(make_protocol(), INDEX, BOTH, make_table(BOTH, NOISY, found))
    error, skipped = got.views
    assert (error.rule, skipped.rule) == ("undetected-as-error", "undetected-skipped")
    decided = (NOISY >= 0.5) & found[:, None]
    assert metric(error, "f1").mean.value == pytest.approx(
        np.mean([f1_score(TRUTH[:, j], decided[:, j]) for j in range(2)])
    )
    assert metric(skipped, "f1").mean.value == pytest.approx(
        np.mean([f1_score(TRUTH[found, j], NOISY[found, j] >= 0.5) for j in range(2)])
    )
    assert (got.coverage.detected, got.coverage.undetected) == (found.sum(), (~found).sum())


def test_aus_that_a_model_lacks_are_left_out_and_counted_as_zero_beside() -> None:
    only = Output(task="au-occurrence", labels=("AU12",), threshold=0.5)
    got = score(make_protocol(), INDEX, only, make_table(only, NOISY[:, 1:]))
    want = f1_score(TRUTH[:, 1], NOISY[:, 1] >= 0.5)
    found = metric(got.views[0], "f1")
    assert got.missing_labels == ("AU01",)
    assert found.mean.value == pytest.approx(want)
    assert found.mean_missing_zero is not None
    assert found.mean_missing_zero.value == pytest.approx(want / 2)
    none = Output(task="au-occurrence", labels=("AU26",), threshold=0.5)
    with pytest.raises(UsageError, match="none of the labels"):
        score(make_protocol(), INDEX, none, make_table(none, NOISY[:, :1]))


def test_intensities_decide_occurrence_at_the_protocols_threshold() -> None:
    intensity = Output(task="au-intensity", labels=("AU01", "AU12"), clamp=(0, 5))
    values = INTENSITY[:, [1, 0]]
    got = score(make_protocol(), INDEX, intensity, make_table(intensity, values))
    assert metric(got.views[0], "f1").mean.value == 1.0
    strict = score(make_protocol(intensity_threshold=3), INDEX, intensity, make_table(intensity, values))
    assert metric(strict.views[0], "f1").mean.value == pytest.approx(
        np.mean([f1_score(TRUTH[:, j], values[:, j] >= 3) for j in range(2)])
    )


def test_tuned_thresholds_come_from_the_other_folds_and_stand_apart() -> None:
    low = NOISY * 0.3  # a threshold of 0.5 finds nothing
    got = score(make_protocol(), INDEX, BOTH, make_table(BOTH, low))
    assert metric(got.views[0], "f1").mean_strict.value == 0
    assert got.tuned is not None
    tuned = metric(got.tuned, "f1").mean.value
    assert tuned is not None
    assert tuned > 0.5
    half = len(TRUTH) // 2
    folds = np.repeat([0, 1], half).astype(np.int16)
    decided = tuned_on_other_folds(low.astype(np.float32), TRUTH.astype(np.float32), folds)
    # What happens in a fold must not move its own threshold.
    flipped = TRUTH.astype(np.float32).copy()
    flipped[:half] = 1 - flipped[:half]
    again = tuned_on_other_folds(low.astype(np.float32), flipped, folds)
    assert np.array_equal(decided[:half], again[:half])
    assert not np.array_equal(decided[half:], again[half:])


def test_an_au_without_a_positive_elsewhere_is_never_present() -> None:
    truth = np.zeros((8, 1), np.float32)
    truth[4:] = 1
    decided = tuned_on_other_folds(np.ones((8, 1), np.float32), truth, np.repeat([0, 1], 4).astype(np.int16))
    assert decided[:4].all()
    assert not decided[4:].any()


CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")


def expression_case(declared: tuple[str, ...], real: tuple[str, ...]) -> tuple[Scored, np.ndarray, np.ndarray]:
    """A good model whose columns are in the order ``real`` and whose entry declares ``declared``."""
    y = RNG.integers(0, 7, len(SUBJECTS) * FRAMES).astype(np.int16)
    answer = np.where(RNG.random(len(y)) < 0.8, y, RNG.integers(0, 7, len(y)))
    scores = np.zeros((len(y), len(real)), np.float32)
    scores[np.arange(len(y)), [real.index(CLASSES[a]) for a in answer]] = 1
    index = make_index("expression", CLASSES, y)
    output = Output(task="expression", labels=declared)
    protocol = make_protocol(
        task="expression", labels=CLASSES, binarise_at=None, undetected="wrong",
        metrics=("accuracy", "macro_f1"), primary={"metric": "accuracy", "aggregation": "pooled"},
    )  # fmt: skip
    return score(protocol, index, output, make_table(output, scores)), y, answer


def test_expressions_are_scored_by_name() -> None:
    order = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    got, y, answer = expression_case(order, order)
    assert metric(got.views[0], "accuracy").mean.value == pytest.approx(accuracy_score(y, answer))
    assert metric(got.views[0], "macro_f1").mean.value == pytest.approx(f1_score(y, answer, average="macro"))
    assert got.audit is not None
    assert not got.audit.beaten
    assert got.tuned is None


def test_a_wrong_label_order_is_found() -> None:
    # As with OpenFace 3.0: anger and disgust change places.
    declared = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
    real = ("neutral", "happiness", "sadness", "surprise", "fear", "anger", "disgust")
    got, *_ = expression_case(declared, real)
    assert got.audit is not None
    assert got.audit.beaten
    assert got.audit.order == real
    assert "OpenFace" in got.audit.order_of
    assert got.audit.best_other > got.audit.declared


def test_scrambled_au_columns_are_found() -> None:
    numeric = ("AU01", "AU02", "AU04", "AU05", "AU12", "AU15", "AU20")
    scrambled = tuple(sorted(numeric, key=lambda x: str(int(x[2:]))))
    assert scrambled != numeric
    truth = RNG.integers(0, 6, (400, 7)).astype(np.float32)
    values = truth[:, [numeric.index(x) for x in scrambled]] + RNG.normal(0, 1, truth.shape).astype(np.float32)
    wrong = audit_action_units(values, truth, numeric, numeric)
    right = audit_action_units(values, truth, numeric, scrambled)
    assert wrong is not None and wrong.beaten and wrong.order == scrambled
    assert right is not None and not right.beaten


def test_nothing_to_audit_is_no_audit() -> None:
    empty = np.full((4, 3), np.nan, np.float32)
    assert audit_action_units(empty, empty, ("AU01", "AU02", "AU12"), ("AU01", "AU02", "AU12")) is None
    assert audit_expressions(empty, np.array([0, 1, 2, 0]), CLASSES, CLASSES[:3]) is None
    assert audit_expressions(np.eye(3, dtype=np.float32), np.full(3, -1), CLASSES, CLASSES[:3]) is None


def test_extra_classes_are_dropped_or_wrong_as_the_protocol_says() -> None:
    y = np.zeros(len(SUBJECTS) * 10, np.int16)
    index = make_index("expression", CLASSES, y)
    output = Output(task="expression", labels=(*CLASSES, "contempt"))
    scores = np.zeros((len(y), 8), np.float32)
    scores[:, 7], scores[:, 0] = 0.6, 0.4  # contempt first, neutral second
    values = {}
    for rule in ("drop", "wrong"):
        protocol = make_protocol(
            task="expression", labels=CLASSES, binarise_at=None, undetected="wrong", extra_classes=rule,
            metrics=("accuracy",), primary={"metric": "accuracy", "aggregation": "pooled"},
        )  # fmt: skip
        values[rule] = metric(
            score(protocol, index, output, make_table(output, scores)).views[0], "accuracy"
        ).mean.value
    assert values == {"drop": 1.0, "wrong": 0.0}


def test_predictions_that_do_not_cover_the_protocol_are_refused() -> None:
    table = make_table(BOTH, NOISY).slice(0, len(NOISY) - 1)
    with pytest.raises(RecordError, match="do not cover"):
        score(make_protocol(), INDEX, BOTH, table)


def test_predictions_whose_rows_are_other_samples_are_refused() -> None:
    protocol, table = make_protocol(), make_table(BOTH, NOISY)
    named = {"subject": INDEX.subject, "sequence": INDEX.sequence, "frame": INDEX.frame}
    for name, values in named.items():
        table = table.append_column(name, pa.array(values))
    assert score(protocol, INDEX, BOTH, table).coverage.samples == len(NOISY)
    for name, values in named.items():  # the same rows, as a reader of another version would number them
        moved = table.set_column(table.column_names.index(name), name, pa.array(np.roll(values, 1)))
        with pytest.raises(RecordError, match="other samples") as caught:
            score(protocol, INDEX, BOTH, moved)
        assert name in str(caught.value.why)


def test_predictions_without_the_outputs_columns_are_refused() -> None:
    table = make_table(BOTH, NOISY).drop_columns(["au-occurrence/AU12"])
    with pytest.raises(RecordError, match="hold no au-occurrence/AU12"):
        score(make_protocol(), INDEX, BOTH, table)
