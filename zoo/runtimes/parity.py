"""Whether two sessions of one model agree, and whether one agrees with itself whatever the batch and the threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.runtimes.base import Session, Tensors

TOLERANCE = {"fp32": 1e-4, "bf16": 1e-1, "fp16": 1e-2, "int8": 1e-1}
"""Largest difference relative to the largest output (at least 1), by the less exact of two sessions' precisions.

Measured between torch, ONNX Runtime and OpenVINO in fp32: up to 2.2e-6 for hog-ridge, 1.4e-6 for mini-XCEPTION and
9e-7 for a ResNet-18 with random weights (kernels sum in different orders). bf16 against fp32: up to 0.075 for hog-ridge
and 0.021 for mini-XCEPTION in OpenVINO, 0.006 and 0.024 in torch. The bounds of bf16, fp16 and int8 catch a broken
graph, not a loss of accuracy, which only an evaluation can tell.
"""


@dataclass(frozen=True)
class Agreement:
    """How one output tensor of two sessions compares.

    Attributes:
        n: Pictures.
        max_abs: Largest absolute difference.
        mean_abs: Mean absolute difference.
        relative: ``max_abs`` over the largest absolute value of the reference, at least 1.
        argmax: Share of pictures whose largest column is the same one; 1.0 for tensors of one column.
    """

    n: int
    max_abs: float
    mean_abs: float
    relative: float
    argmax: float

    def within(self, tolerance: float) -> bool:
        """Whether ``relative`` is at most ``tolerance``; never where a value is not finite."""
        return bool(self.relative <= tolerance)


def agreement(reference: NDArray[np.float32], other: NDArray[np.float32]) -> Agreement:
    """Compares two tensors ``[n, columns]``.

    Raises:
        ValueError: Their shapes differ.
    """
    if reference.shape != other.shape:
        raise ValueError(f"shapes {reference.shape} and {other.shape} differ")
    difference = np.abs(reference.astype(np.float64) - other.astype(np.float64))
    largest = float(difference.max())
    return Agreement(
        n=len(reference),
        max_abs=largest,
        mean_abs=float(difference.mean()),
        relative=largest / max(1.0, float(np.abs(reference).max())),
        argmax=float((reference.argmax(1) == other.argmax(1)).mean()),
    )


def _compare(reference: Tensors, other: Tensors) -> dict[str, Agreement]:
    if reference.keys() != other.keys():
        raise ValueError(f"tensors {sorted(reference)} and {sorted(other)} differ")
    return {name: agreement(reference[name], other[name]) for name in reference}


def worst(found: Iterable[Agreement]) -> float:
    """Returns the largest ``relative``; NaN where one is NaN, which ``max`` may pass over."""
    return float(np.max([one.relative for one in found]))


def compare(reference: Session, other: Session, crops: NDArray[np.uint8]) -> dict[str, Agreement]:
    """Runs the same crops through two sessions and compares each tensor.

    Args:
        reference: The session held to be right.
        other: The session in question.
        crops: uint8 ``[n, height, width, channels]``.

    Raises:
        ValueError: They give tensors of other names or shapes.
    """
    return _compare(reference.infer(crops), other.infer(crops))


def tolerance(reference: Session, other: Session) -> float:
    """Returns the entry of :data:`TOLERANCE` for two sessions: that of the less exact precision."""
    return max(TOLERANCE[reference.info.precision], TOLERANCE[other.info.precision])


def batch_invariance(
    session: Session, crops: NDArray[np.uint8], sizes: Sequence[int] = (2, 3, 8)
) -> dict[str, Agreement]:
    """Compares crops run one by one with the same crops run in batches, and in batches in the reverse order.

    Returns the worst of the sizes by tensor.

    Kernels may sum in another order for another batch, so differences near 1e-6 are expected; the picture's
    neighbours must not matter beyond that.
    """
    single = _in_batches(session, crops, 1)
    found = [_compare(single, _in_batches(session, crops, size)) for size in sizes]
    for size in sizes:
        backwards = _in_batches(session, np.ascontiguousarray(crops[::-1]), size)
        found.append(_compare(single, {name: values[::-1] for name, values in backwards.items()}))
    return {name: max((f[name] for f in found), key=_badness) for name in single}


def _badness(one: Agreement) -> tuple[bool, float]:
    return bool(np.isnan(one.relative)), one.relative


def _in_batches(session: Session, crops: NDArray[np.uint8], size: int) -> Tensors:
    parts = [session.infer(crops[i : i + size]) for i in range(0, len(crops), size)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def thread_invariance(
    session: Session, open_with: Callable[[int], Session], crops: NDArray[np.uint8]
) -> dict[str, Agreement]:
    """Compares a session with the same one opened with one thread, or with two where it has one.

    Args:
        session: The session.
        open_with: Opens it with that many threads; closed here.
        crops: uint8 ``[n, height, width, channels]``.
    """
    other = open_with(2 if session.info.threads == 1 else 1)
    try:
        return compare(session, other, crops)
    finally:
        other.close()
