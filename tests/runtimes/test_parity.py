"""The arithmetic of agreement, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.runtimes.base import SessionInfo
from zoo.runtimes.parity import agreement, batch_invariance, compare, thread_invariance, worst


class Sums:
    """Gives the sum of each picture, plus whatever its neighbours make of it."""

    closed = False

    def __init__(self, neighbours: float = 0.0, add: float = 0.0, name: str = "y", threads: int = 1) -> None:
        self.info = SessionInfo("onnxruntime", "0", "cpu", "fp32", threads)
        self.neighbours, self.add, self.name = neighbours, add, name

    def infer(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        own = batch.reshape(len(batch), -1).sum(1, keepdims=True).astype(np.float32)
        return {self.name: np.hstack([own, -own]) + self.neighbours * (len(batch) - 1) + np.float32(self.add)}

    def close(self) -> None:
        self.closed = True


CROPS = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)


def test_by_hand() -> None:
    a = np.array([[1.0, 4.0], [3.0, 2.0]], np.float32)
    b = np.array([[1.0, 3.0], [3.0, 4.0]], np.float32)
    found = agreement(a, b)
    assert (found.n, found.max_abs, found.mean_abs, found.relative, found.argmax) == (2, 2.0, 0.75, 0.5, 0.5)
    assert found.within(0.5) and not found.within(0.49)
    assert agreement(a / 100, b / 100).relative == pytest.approx(0.02)  # small outputs are held to an absolute bound


def test_nan_is_never_within() -> None:
    x = np.array([[1.0, np.nan]], np.float32)
    assert not agreement(x, np.ones((1, 2), np.float32)).within(1e9)
    assert not agreement(np.ones((1, 2), np.float32), x).within(1e9)


def test_shapes_and_names_have_to_match() -> None:
    with pytest.raises(ValueError, match="shapes"):
        agreement(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="tensors"):
        compare(Sums(), Sums(name="z"), CROPS)


def test_sessions() -> None:
    assert compare(Sums(), Sums(), CROPS)["y"].max_abs == 0
    assert compare(Sums(), Sums(add=0.5), CROPS)["y"].max_abs == 0.5


def test_batch_invariance_finds_neighbours_that_matter() -> None:
    assert batch_invariance(Sums(), CROPS)["y"].max_abs == 0
    assert batch_invariance(Sums(neighbours=1.0), CROPS, sizes=(2, 4))["y"].max_abs == 3.0  # the worst size


def test_thread_invariance_finds_threads_that_matter_and_closes() -> None:
    opened = {}

    def open_with(threads: int) -> Sums:
        opened[threads] = Sums(add=0.25 * (threads - 1), threads=threads)
        return opened[threads]

    assert thread_invariance(Sums(add=0.75, threads=4), open_with, CROPS)["y"].max_abs == 0.75
    assert thread_invariance(Sums(), open_with, CROPS)["y"].max_abs == 0.25
    assert sorted(opened) == [1, 2] and all(s.closed for s in opened.values())


def test_batch_invariance_finds_an_order_that_matters() -> None:
    class Later(Sums):
        """Answers otherwise after a picture that is brighter."""

        def infer(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            own = super().infer(batch)["y"]
            return {"y": own + np.float32(batch[0].sum() > batch[-1].sum())}

    assert batch_invariance(Later(), CROPS)["y"].max_abs == 1.0


def test_a_nan_is_the_worst_wherever_it_stands() -> None:
    good, bad = (agreement(np.ones((1, 1), np.float32), np.full((1, 1), x, np.float32)) for x in (1.5, np.nan))
    for order in ([good, bad], [bad, good], [good, bad, good]):
        assert np.isnan(worst(order))
    assert worst([good]) == 0.5

    class NanInThrees(Sums):
        def infer(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            return {"y": super().infer(batch)["y"] + np.float32(np.nan if len(batch) == 3 else len(batch) - 1)}

    assert np.isnan(batch_invariance(NanInThrees(), CROPS, sizes=(2, 3, 6))["y"].relative)
