"""The plot of score against latency."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.boards.made_up_site import make
from zoo.boards.figure import HEIGHT, WIDTH, Figure, Point, board_figures, draw, standalone
from zoo.results.record import Estimate

SVG = "{http://www.w3.org/2000/svg}"


def point(model: str, score: float, ms: float, kind: str = "ranked", runtime: str = "openvino") -> Point:
    return Point(model, f"{runtime} fp32", runtime, kind, Estimate(value=score, low=score - 0.02, high=score + 0.02),  # type: ignore[arg-type]
                 Estimate(value=ms, low=ms * 0.9, high=ms * 1.1))  # fmt: skip


points = st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 5000)), min_size=1, max_size=12)


@given(points, st.sampled_from(["pcc", "mae"]))
def test_the_front_is_what_nothing_beats(values: list[tuple[float, float]], metric: str) -> None:
    figure = Figure("m", metric, tuple(point(f"m{i}", s, ms) for i, (s, ms) in enumerate(values)))
    sign = -1 if metric == "mae" else 1

    def beaten(s: float, ms: float) -> bool:
        return any(sign * s2 >= sign * s and ms2 <= ms and (sign * s2 > sign * s or ms2 < ms) for s2, ms2 in values)

    best = {(s, ms) for s, ms in values if not beaten(s, ms)}
    assert {(p.score.value, p.latency.value) for p in figure.front} == best


@given(points)
def test_everything_lies_inside(values: list[tuple[float, float]]) -> None:
    figure = Figure("m", "pcc", tuple(point(f"model-{i}", s, ms) for i, (s, ms) in enumerate(values)))
    root = ElementTree.fromstring(draw(figure, "models/{}.html"))
    marks = [c for c in root.iter() if "mark" in (c.get("class") or "")]
    assert len(marks) == len(values)
    for circle in marks:
        assert 0 < float(circle.get("cx", "nan")) < WIDTH
        assert 0 < float(circle.get("cy", "nan")) < HEIGHT
    for text in root.iter(f"{SVG}text"):
        if text.get("class") == "name":
            assert 0 <= float(text.get("x", "nan")) <= WIDTH


def test_marks_are_links_that_say_all(tmp_path: Path) -> None:
    collection = make(tmp_path)
    (board,) = collection.boards
    first, second = board_figures(collection, board)
    assert first.machine.startswith("a cpu, 2 cores") and second.machine.startswith("b cpu, 2 cores")
    # In-sample results have no place beside held-out ones.
    assert {p.model for p in first.points} == {"quick-net", "slow-net", "closed-net"}
    assert [p.model for p in first.front] == ["quick-net", "slow-net"]
    root = ElementTree.fromstring(draw(first, "models/{}.html"))
    links = {a.get("href"): a.get("aria-label") for a in root.iter(f"{SVG}a")}
    assert links["models/slow-net.html"] == (
        "slow-net, openvino fp32: 0.850 [0.800, 0.900], 40.0 [36.0, 44.0] ms (measured, ranked)"
    )


def test_runtimes_differ_in_form_not_in_colour_alone() -> None:
    figure = Figure(
        "m", "pcc", tuple(point(r, 0.5, 3.0 + i, runtime=r) for i, r in enumerate(("openvino", "onnxruntime", "torch")))
    )
    tags = [
        c.tag.removeprefix(SVG) for c in ElementTree.fromstring(draw(figure)).iter() if "mark" in (c.get("class") or "")
    ]
    assert sorted(tags) == ["circle", "path", "rect"]


def test_names_do_not_lie_on_each_other() -> None:
    figure = Figure("m", "pcc", tuple(point(f"model-{i}", 0.5 + 0.001 * i, 5.0 + 0.01 * i) for i in range(30)))
    root = ElementTree.fromstring(draw(figure))
    boxes = []
    for text in root.iter(f"{SVG}text"):
        if text.get("class") != "name":
            continue
        width, x, y = 6.3 * len(text.text or ""), float(text.get("x", "0")), float(text.get("y", "0"))
        left = x - {"start": 0, "end": width, "middle": width / 2}[text.get("text-anchor", "start")]
        boxes.append((left, y - 10, left + width, y + 3))
    assert boxes
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def test_one_point_and_equal_points_can_be_drawn() -> None:
    for values in ([(0.5, 1.0)], [(0.5, 1.0), (0.5, 1.0)]):
        figure = Figure("m", "pcc", tuple(point("m", s, ms) for s, ms in values))
        assert ElementTree.fromstring(standalone(figure)).tag == f"{SVG}svg"
        assert len(figure.front) == 1


def test_reported_points_are_hollow_and_make_the_front_only_alone() -> None:
    both = Figure("m", "pcc", (point("a", 0.9, 1.0, "reported"), point("b", 0.5, 2.0)))
    assert [p.model for p in both.front] == ["b"]
    alone = Figure("m", "pcc", (point("a", 0.9, 1.0, "reported"),))
    assert [p.model for p in alone.front] == ["a"]
    assert pytest.approx(0.9) == alone.front[0].score.value
