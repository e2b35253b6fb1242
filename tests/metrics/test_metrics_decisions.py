"""Occurrence and expression metrics against scikit-learn and hand computation; the ABAW scores."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import UsageError
from zoo.metrics import abaw, binary, multiclass

BITS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=50)
SCORED = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=1, max_size=50)  # many ties
CLASSES = 4
LABELLED = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(-1, CLASSES + 1)), min_size=1, max_size=50
)  # the prediction may lie outside the label set


@given(BITS)
def test_f1_and_accuracy_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    y, p = np.array(pairs).T
    assert binary.f1(y, p) == pytest.approx(sk.f1_score(y, p, zero_division=np.nan), nan_ok=True)
    assert np.nan_to_num(binary.f1(y, p)) == pytest.approx(sk.f1_score(y, p, zero_division=0))
    assert binary.accuracy(y, p) == pytest.approx(sk.accuracy_score(y, p))


@given(SCORED)
def test_auc_is_scikit_learns_with_ties(pairs: list[tuple[int, int]]) -> None:
    y, s = np.array(pairs).T
    if len(set(y.tolist())) < 2:
        assert math.isnan(binary.auc(y, s))
    else:
        assert binary.auc(y, s / 4) == pytest.approx(sk.roc_auc_score(y, s))


@given(SCORED)
def test_best_f1_is_the_best_of_all_thresholds(pairs: list[tuple[int, int]]) -> None:
    y, s = np.array(pairs).T
    value, threshold = binary.f1_best(y, s)
    if not y.any():
        assert math.isnan(value)
        assert math.isnan(threshold)
        return
    reached = {t: sk.f1_score(y, s >= t, zero_division=0) for t in set(s.tolist())}
    assert value == pytest.approx(max(reached.values()))
    assert threshold == max(t for t, v in reached.items() if v == pytest.approx(value))


def test_no_positive_in_the_truth() -> None:
    assert binary.f1([0, 0, 0], [0, 1, 0]) == 0
    assert math.isnan(binary.f1([0, 0, 0], [0, 0, 0]))
    assert binary.accuracy([0, 0, 0], [0, 0, 0]) == 1
    assert math.isnan(binary.auc([0, 0], [1, 2]))
    assert math.isnan(binary.f1([], []))
    assert math.isnan(binary.accuracy([], []))


def test_frames_that_are_not_coded_do_not_count_and_their_code_is_refused() -> None:
    y = np.array([1, 0, 9, 1, 9, 0])
    p = np.array([1, 1, 1, 0, 0, 0])
    masked = np.where(y == 9, np.nan, y)
    assert binary.f1(masked, p) == binary.f1(y[y != 9], p[y != 9]) == 0.5
    assert binary.auc(masked, p) == binary.auc(y[y != 9], p[y != 9])
    with pytest.raises(UsageError, match="9"):
        binary.f1(y, p)
    with pytest.raises(UsageError, match=r"0\.7"):
        binary.f1([1, 0], [0.7, 0.2])
    with pytest.raises(UsageError):
        binary.auc([1, 0], [math.nan, 0.2])
    with pytest.raises(UsageError):
        binary.f1([1, 0], [1])


def test_a_score_may_be_infinite() -> None:
    assert binary.auc([0, 1, 1], [-math.inf, 0.2, math.inf]) == 1
    assert binary.f1_best([0, 1], [-math.inf, math.inf]) == (1.0, math.inf)


@given(LABELLED)
def test_class_metrics_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    y, p = np.array(pairs).T
    known = list(range(CLASSES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        per_class = sk.f1_score(y, p, labels=known, average=None, zero_division=np.nan)
        recall = sk.recall_score(y, p, labels=known, average=None, zero_division=np.nan)
        assert multiclass.macro_f1(y, p, CLASSES) == pytest.approx(
            sk.f1_score(y, p, labels=known, average="macro", zero_division=0)
        )
        assert multiclass.balanced_accuracy(y, p, CLASSES) == pytest.approx(sk.balanced_accuracy_score(y, p))
    assert multiclass.f1_per_class(y, p, CLASSES) == pytest.approx(per_class, nan_ok=True)
    assert multiclass.recall_per_class(y, p, CLASSES) == pytest.approx(recall, nan_ok=True)
    assert multiclass.accuracy(y, p, CLASSES) == pytest.approx(sk.accuracy_score(y, p))
    inside = (p >= 0) & (p < CLASSES)
    counts = multiclass.confusion(y, p, CLASSES)
    if inside.any():
        assert (counts[:, :-1] == sk.confusion_matrix(y[inside], p[inside], labels=known)).all()
    assert counts.sum() == len(y)


def test_an_absent_class_counts_as_zero_in_macro_f1_and_not_at_all_in_balanced_accuracy() -> None:
    y = p = np.array([0, 0, 1, 1])
    assert multiclass.macro_f1(y, p, 8) == 2 / 8
    assert multiclass.balanced_accuracy(y, p, 8) == 1


def test_no_answer_is_a_wrong_answer_but_no_other_classs_false_positive() -> None:
    y, p = np.array([0, 0, 1, 1]), np.array([0, -1, 1, 7])
    assert multiclass.accuracy(y, p, 2) == 0.5
    assert multiclass.f1_per_class(y, p, 2) == pytest.approx([2 / 3, 2 / 3])
    assert multiclass.confusion(y, p, 2).tolist() == [[1, 0, 1], [0, 1, 1]]


def test_unlabelled_samples_do_not_count_and_unknown_labels_are_refused() -> None:
    assert multiclass.accuracy([0, -1, 1], [0, 0, 0], 2) == 0.5
    assert math.isnan(multiclass.accuracy([-1], [0], 2))
    assert math.isnan(multiclass.macro_f1([-1], [0], 2))
    assert math.isnan(multiclass.balanced_accuracy([], [], 2))
    for y, p in (([2], [0]), ([0.0], [0]), ([0, 1], [0])):
        with pytest.raises(UsageError):
            multiclass.confusion(y, p, 2)


def test_numbers_of_a_small_type_do_not_overflow() -> None:
    y = np.full(300, 7, np.int8)
    assert multiclass.confusion(y, y, 8)[7, 7] == 300
    assert multiclass.confusion(y.astype(np.uint8), y.astype(np.uint8), 8)[7, 7] == 300


def test_abaw_scores() -> None:
    nan = math.nan
    va = np.array([[0, 0], [0.5, 1], [1, -1], [nan, 5], [5, nan]])
    predicted = np.array([[0, 0], [0.5, 1], [1, -1], [9, 9], [9, 9]])
    assert abaw.p_va(va, predicted) == pytest.approx(1)
    predicted[:, 1] = 0  # a constant has concordance 0
    assert abaw.p_va(va, predicted) == pytest.approx(0.5)
    assert abaw.p_expr([0, 1, 2, -1], [0, 1, 3, 4]) == pytest.approx(2 / 8)
    assert abaw.p_expr([0, 1], [0, 1], classes=7) == pytest.approx(2 / 7)
    au = np.array([[1, 0, 1], [0, 0, 1], [nan, 1, 1]])
    # The third frame has a missing AU: its other AUs do not count either, so the second AU has no positive.
    assert abaw.p_au(au, np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]])) == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert abaw.p_mtl(0.25, 0.5, 0.125) == 0.875
    assert math.isnan(abaw.p_au(np.full((1, 2), nan), np.zeros((1, 2))))
    for bad in (np.zeros((3, 3)), np.zeros(3)):
        with pytest.raises(UsageError):
            abaw.p_va(bad, bad)
