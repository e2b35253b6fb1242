"""P_MTL: the sum of three headlines, and nothing where one of them is missing."""

from __future__ import annotations

import pytest

from tests.helpers.records import make_record
from zoo.protocols import load_protocol
from zoo.results.record import Estimate, MetricScore
from zoo.runs.challenge import PARTS, Part, multitask_scores


def part(name: str, value: float | None, *, model: str = "a", lacking: bool = False) -> Part:
    protocol = load_protocol(name)
    view = make_record(model, value, protocol=protocol.ref).views[0]
    return model, protocol, view, lacking


def test_it_is_the_sum_and_its_interval_the_sum_of_the_ends() -> None:
    parts = [part(name, value) for name, value in zip(PARTS, (0.5, 0.25, 0.4), strict=True)]
    other = part("affwild2-occurrence", 0.9)
    found = multitask_scores([parts[2], other, parts[0], parts[1], part(PARTS[0], 0.1, model="b")])
    assert found.keys() == {"a"}  # "b" did one part only
    assert found["a"].value == pytest.approx(1.15)
    assert (found["a"].low, found["a"].high) == (pytest.approx(0.85), pytest.approx(1.45))


def test_an_undefined_part_leaves_it_undefined() -> None:
    parts = [part(name, value) for name, value in zip(PARTS, (0.5, None, 0.4), strict=True)]
    assert multitask_scores(parts) == {"a": Estimate(value=None)}


def test_aus_that_a_model_lacks_count_nothing() -> None:
    parts = [part(name, 0.5) for name in PARTS]
    model, protocol, view, _ = parts[2]

    def halved(score: MetricScore) -> MetricScore:
        return score.model_copy(update={"mean_missing_zero": Estimate(value=0.25, low=0.2, high=0.3)})

    cut = view.model_copy(update={"scores": tuple(halved(s) for s in view.scores)})
    assert multitask_scores([*parts[:2], (model, protocol, cut, True)])["a"].value == pytest.approx(1.25)
    assert multitask_scores([*parts[:2], (model, protocol, cut, False)])["a"].value == pytest.approx(1.5)
