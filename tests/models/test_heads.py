"""Tensors to labels, against values worked out by hand, and the contract check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.helpers.models import DISFA, FER7, make_entry
from zoo.errors import ContractError, UnknownNameError, UsageError
from zoo.models import apply_outputs, verify_contract
from zoo.models.heads import sigmoid, softmax
from zoo.runtimes.base import SessionInfo

FILE = [{"name": "a.onnx", "format": "onnx"}]


def entry(*outputs: dict[str, Any]):
    return make_entry("m", "onnx", FILE, list(outputs), size=(4, 4))


class Fixed:
    """A session that gives the same tensors whatever it sees."""

    info = SessionInfo("onnxruntime", "0", "cpu", "fp32", 1)

    def __init__(self, **tensors: np.ndarray) -> None:
        self.tensors = tensors

    def infer(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.repeat(t[None], len(batch), 0) for name, t in self.tensors.items()}


def test_one_tensor_is_cut_into_the_tasks_that_share_it() -> None:
    shared = entry(
        {"task": "expression", "tensor": "y", "labels": FER7, "activation": "softmax"},
        {"task": "valence-arousal", "tensor": "y", "labels": ("valence", "arousal"), "start": 7, "clamp": (-1, 1)},
    )
    y = np.array([[0, 0, 0, np.log(3), 0, 0, -np.inf, 2.5, -0.25]], np.float32)
    values = apply_outputs(shared, {"y": y})
    np.testing.assert_allclose(values["expression"], [[1 / 8, 1 / 8, 1 / 8, 3 / 8, 1 / 8, 1 / 8, 0]], rtol=1e-6)
    np.testing.assert_array_equal(values["valence-arousal"], [[1.0, -0.25]])
    assert list(apply_outputs(shared, {"y": y}, ["valence-arousal"])) == ["valence-arousal"]
    assert values["expression"].dtype == np.float32


def test_scale_comes_after_the_activation_and_clamp_last() -> None:
    model = entry(
        {"task": "au-intensity", "labels": ("AU01", "AU02", "AU04"), "activation": "sigmoid", "scale": 5.0,
         "clamp": (0.5, 4.0)},
    )  # fmt: skip
    values = apply_outputs(model, {"whatever": np.array([[0.0, -100.0, 100.0]], np.float32)})
    np.testing.assert_allclose(values["au-intensity"], [[2.5, 0.5, 4.0]])


def test_scores_are_not_thresholded() -> None:
    model = entry({"task": "au-occurrence", "labels": ("AU01", "AU12"), "threshold": 0.5})
    np.testing.assert_array_equal(
        apply_outputs(model, {"y": np.array([[0.4, 0.6]], np.float32)})["au-occurrence"],
        np.array([[0.4, 0.6]], np.float32),
    )


floats = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-(2.0**99), 2.0**99, width=32)
)


@given(floats)
def test_activations_never_overflow(x: np.ndarray) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        s, p = sigmoid(x), softmax(x)
    assert s.dtype == p.dtype == np.float32
    assert ((s >= 0) & (s <= 1)).all() and (np.sign(s - 0.5) * np.sign(x) >= 0).all()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.take_along_axis(p, x.argmax(1)[:, None], 1)[:, 0], p.max(1))


def test_sigmoid_against_the_definition() -> None:
    x = np.linspace(-20, 20, 81, dtype=np.float32)
    np.testing.assert_allclose(sigmoid(x), 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)


def test_unknown_or_no_tasks_are_refused() -> None:
    model = entry({"task": "expression", "labels": FER7})
    with pytest.raises(UnknownNameError, match="expression"):
        apply_outputs(model, {"y": np.zeros((1, 7), np.float32)}, ["au-intensity"])
    with pytest.raises(UsageError):
        apply_outputs(model, {"y": np.zeros((1, 7), np.float32)}, [])


def test_too_few_columns_are_refused_with_the_columns_needed() -> None:
    model = entry({"task": "au-intensity", "tensor": "y", "labels": DISFA})
    with pytest.raises(ContractError, match=r"\(2, 11\).*columns 0 to 11"):
        apply_outputs(model, {"y": np.zeros((2, 11), np.float32)})


def test_contract_holds() -> None:
    model = entry({"task": "expression", "labels": FER7})
    verify_contract(model, Fixed(y=np.zeros(7, np.float32)))


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"y": np.zeros(8, np.float32)}, "8 columns, the entry declares 7 labels"),
        ({"y": np.zeros(6, np.float32)}, "6 columns"),
        ({"z": np.zeros(7, np.float32)}, "no output tensor 'y'"),
        ({"y": np.full(7, np.nan, np.float32)}, "not finite"),
        ({"y": np.zeros((7, 2), np.float32)}, "shape"),
    ],
)
def test_contract_broken(tensors: dict[str, np.ndarray], why: str) -> None:
    model = entry({"task": "expression", "tensor": "y", "labels": FER7})
    with pytest.raises(ContractError, match=why):
        verify_contract(model, Fixed(**tensors))


def test_an_unnamed_tensor_among_several_is_ambiguous() -> None:
    model = entry({"task": "expression", "labels": FER7})
    with pytest.raises(ContractError, match=r"2 output tensors.*names none"):
        verify_contract(model, Fixed(a=np.zeros(7, np.float32), b=np.zeros(7, np.float32)))


def test_columns_that_no_output_takes_break_the_contract() -> None:
    outputs = [
        {"task": "expression", "tensor": "y", "labels": FER7},
        {"task": "valence-arousal", "tensor": "y", "labels": ("valence", "arousal"), "start": 7},
    ]
    verify_contract(entry(*outputs), Fixed(y=np.zeros(9, np.float32)), ["expression"])
    outputs[1]["start"] = 8
    with pytest.raises(ContractError, match="10 columns, the entry declares 9"):
        verify_contract(entry(*outputs), Fixed(y=np.zeros(10, np.float32)))
