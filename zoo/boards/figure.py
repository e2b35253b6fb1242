"""Score against latency with the Pareto front, as SVG that is the same to the byte on every machine.

Drawn here and not by a plotting library: a library's version, or the fonts of the machine, move coordinates and
identifiers; and in the site the marks are links that the keyboard reaches and the colours follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from zoo.boards.collect import Board, Collection, Timing
from zoo.boards.published import evidence
from zoo.boards.text import LOWER_IS_BETTER, MARK, METRIC_TITLES, interval, three_digits
from zoo.results.record import Estimate

Kind = Literal["ranked", "measured", "reported"]
KIND_TITLES: dict[Kind, str] = {
    "ranked": "measured, ranked", "measured": "measured, not rankable", "reported": "reported by others",
}  # fmt: skip

WIDTH, HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 22, 18, 50
_CHARACTER = 6.3  # width of a character at 11 px, on the safe side for common sans-serif fonts


@dataclass(frozen=True)
class Point:
    """One mark.

    Attributes:
        model: Model name.
        how: Runtime and precision.
        runtime: Decides the mark's form.
        kind: Decides its filling.
        score: With its interval, where it was measured.
        latency: Milliseconds, with its interval.
    """

    model: str
    how: str
    runtime: str
    kind: Kind
    score: Estimate
    latency: Estimate

    @property
    def text(self) -> str:
        """All of it in one line."""
        low, high = self.latency.low, self.latency.high
        ends = f" [{three_digits(low)}, {three_digits(high)}]" if low is not None and high is not None else ""
        time = f"{three_digits(self.latency.value)}{ends} ms"
        return f"{self.model}, {self.how}: {interval(self.score)}, {time} ({KIND_TITLES[self.kind]})"


@dataclass(frozen=True)
class Figure:
    """A plot of one board on one machine."""

    machine: str
    metric: str
    points: tuple[Point, ...]

    @property
    def lower_is_better(self) -> bool:
        """Direction of the score."""
        return self.metric in LOWER_IS_BETTER

    @property
    def description(self) -> str:
        """What it shows, for those who do not see it."""
        count = len(self.points)
        return (
            f"{METRIC_TITLES[self.metric]} against milliseconds a face on {self.machine}: "
            f"{count} point{'s' if count > 1 else ''}, {len(self.front)} on the Pareto front"
        )

    @property
    def front_kind(self) -> Kind:
        """Points of the most trustworthy kind that is there make the front."""
        kinds = {p.kind for p in self.points}
        return "ranked" if "ranked" in kinds else "reported" if "reported" in kinds else "measured"

    @property
    def front(self) -> tuple[Point, ...]:
        """The Pareto front, fastest first."""
        sign = -1.0 if self.lower_is_better else 1.0
        best, found = -math.inf, []
        for point in sorted(self.points, key=lambda p: (_x(p), -sign * _y(p), p.text)):
            if point.kind == self.front_kind and sign * _y(point) > best:
                best = sign * _y(point)
                found.append(point)
        return tuple(found)


def _x(point: Point) -> float:
    assert point.latency.value is not None  # board_figures leaves others out
    return point.latency.value


def _y(point: Point) -> float:
    assert point.score.value is not None  # board_figures leaves others out
    return point.score.value


def board_figures(collection: Collection, board: Board) -> list[Figure]:
    """Returns a board's plots, one a machine, the machine with most timings first; none where nothing was timed."""
    metric = board.protocol.primary.metric
    figures = []
    for machine in collection.machines:
        points = []
        for row in board.rows:
            timing = collection.single_stream(row, machine)
            if timing is None or row.headline.value is None or timing.median.value is None:
                continue
            kind: Kind = "ranked" if row.ranked else "measured"
            points.append(_point(row.record.model.name, kind, row.headline, timing))
        measured = {r.record.model.name for r in board.rows if r.ranked}
        for entry in collection.registry.entries.values():
            if entry.name in measured or board.protocol.synthetic or board.protocol.task not in entry.tasks:
                continue
            figure = evidence(entry.name, metric, board.published)
            times = [
                t for t in collection.timings_of(entry, entry.name, board.protocol.task)
                if t.machine == machine and _plain(t)
            ]  # fmt: skip
            if figure is None or not times:
                continue
            fastest = min(times, key=lambda t: (t.median.value or math.inf, t.path))
            points.append(_point(entry.name, "reported", Estimate(value=figure.value), fastest))
        # What a model does on people it knows says nothing beside what others do on new ones.
        if any(p.kind != "measured" for p in points):
            points = [p for p in points if p.kind != "measured"]
        if points:
            figures.append(Figure(machine, metric, tuple(points)))
    return figures


def _plain(timing: Timing) -> bool:
    """One picture at a time, one thread, the network alone, in fp32: what a published score may stand beside."""
    record = timing.record
    asked = (record.asked.threads, record.asked.precision, record.asked.device, record.asked.variant)
    return (record.scenario.name, record.stage, *asked) == ("SingleStream", "encoder", 1, "fp32", "cpu", "eager")


def _point(model: str, kind: Kind, score: Estimate, timing: Timing) -> Point:
    asked = timing.record.asked
    how = f"{asked.runtime} {asked.precision}"
    how += ", structure with random weights" if timing.record.model.weights == "random" else ""
    return Point(model, how, asked.runtime, kind, score, timing.median)


def _number(value: float) -> str:
    """Writes a coordinate with one decimal: rounding hides what processors do to the last bits."""
    return f"{value:.1f}".replace("-0.0", "0.0")


class _Scale:
    """Data to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._of = math.log10 if log else float
        self.low, self.high = low, high
        self._a, self._b = self._of(low), self._of(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (self._of(min(max(value, self.low), self.high)) - self._a) / (self._b - self._a)
        return self._start + share * (self._end - self._start)


def _time_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values) / 1.3, max(values) * 1.3
    while high / low < 8:  # less than a decade shows differences larger than they are
        low, high = low / 1.2, high * 1.2
    return low, high


def _time_ticks(low: float, high: float) -> list[float]:
    ticks = []
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        ticks += [d * 10.0**exponent for d in (1, 2, 5)]
    return [t for t in ticks if low <= t <= high]


def _score_ticks(low: float, high: float) -> list[float]:
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5):
        if (high - low) / step <= 7:
            break
    first = math.ceil(round(low / step, 6))
    return [round(i * step, 6) for i in range(first, math.floor(round(high / step, 6)) + 1)]


def _score_range(points: Sequence[Point]) -> tuple[float, float]:
    values = [v for p in points for v in (p.score.value, p.score.low, p.score.high) if v is not None]
    low, high = min(values), max(values)
    pad = max(0.04, 0.12 * (high - low))
    return low - pad, high + pad


def draw(figure: Figure, link: str | None = None) -> str:
    """Draws the plot.

    Args:
        figure: What is shown.
        link: Where a mark leads, with ``{}`` for the model's name; None for marks without links.

    Returns:
        An ``<svg>`` element that takes its colours from CSS.
    """
    x_low, x_high = _time_range([_x(p) for p in figure.points])
    y_low, y_high = _score_range(figure.points)
    x = _Scale(x_low, x_high, _LEFT, WIDTH - _RIGHT, log=True)
    y = _Scale(y_low, y_high, HEIGHT - _BOTTOM, _TOP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        f'aria-label="{escape(figure.description)}">'
    ]
    lines += _axes(figure, x, y)
    front = figure.front
    if len(front) > 1:
        path = [f"M{_number(x(_x(front[0])))},{_number(y(_y(front[0])))}"]
        for point in front[1:]:
            path.append(f"H{_number(x(_x(point)))}V{_number(y(_y(point)))}")
        lines.append(f'<path class="front" d="{"".join(path)}"/>')
    for point in figure.points:
        lines += _whiskers(point, x, y)
    for point in sorted(figure.points, key=lambda p: (p in front, p.text)):
        mark = _mark(point, x(_x(point)), y(_y(point)), point in front)
        title = escape(point.text)
        if link:
            href = escape(link.format(point.model))
            lines.append(f'<a href="{href}" aria-label="{title}">{mark}<title>{title}</title></a>')
        else:
            lines.append(f"<g>{mark}<title>{title}</title></g>")
    lines += _labels(figure, x, y)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _axes(figure: Figure, x: _Scale, y: _Scale) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    lines = []
    for value in _score_ticks(y.low, y.high):
        at = _number(y(value))
        lines.append(f'<path class="grid" d="M{_LEFT},{at}H{right}"/>')
        lines.append(f'<text class="tick" x="{_LEFT - 8}" y="{at}" dy="4" text-anchor="end">{value:g}</text>')
    for value in _time_ticks(x.low, x.high):
        at = _number(x(value))
        lines.append(f'<path class="grid" d="M{at},{_TOP}V{bottom}"/>')
        lines.append(f'<text class="tick" x="{at}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    arrow = "lower is better" if figure.lower_is_better else "higher is better"
    middle = _number((_LEFT + right) / 2)
    text = "ms a face (median, one thread, network alone)"
    lines.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{text}</text>')
    lines.append(
        f'<text class="axis" transform="translate(15 {_number((_TOP + bottom) / 2)}) rotate(-90)" '
        f'text-anchor="middle">{escape(METRIC_TITLES[figure.metric])}, {arrow}</text>'
    )
    return lines


def _whiskers(point: Point, x: _Scale, y: _Scale) -> list[str]:
    at_x, at_y = _number(x(_x(point))), _number(y(_y(point)))
    lines = []
    if point.score.low is not None and point.score.high is not None:
        lines.append(
            f'<path class="whisker" d="M{at_x},{_number(y(point.score.low))}V{_number(y(point.score.high))}"/>'
        )
    if point.latency.low is not None and point.latency.high is not None:
        left, right = _number(x(point.latency.low)), _number(x(point.latency.high))
        lines.append(f'<path class="whisker" d="M{left},{at_y}H{right}"/>')
    return lines


def _mark(point: Point, x: float, y: float, front: bool) -> str:
    names = f"mark {point.kind}{' best' if front else ''}"
    if point.runtime == "onnxruntime":
        return f'<rect class="{names}" x="{_number(x - 5)}" y="{_number(y - 5)}" width="10" height="10"/>'
    if point.runtime == "torch":
        d = f"M{_number(x)},{_number(y - 6.5)}l6.5,11.5h-13z"
        return f'<path class="{names}" d="{d}"/>'
    return f'<circle class="{names}" cx="{_number(x)}" cy="{_number(y)}" r="5.5"/>'


def _labels(figure: Figure, x: _Scale, y: _Scale) -> list[str]:
    """Names the points of the front, and the others while there is room; each model once."""
    taken = [(x(_x(p)) - 7, y(_y(p)) - 7, x(_x(p)) + 7, y(_y(p)) + 7) for p in figure.points]
    named: set[str] = set()
    lines = []
    for point in (*figure.front, *sorted(figure.points, key=lambda p: p.text)):
        if point.model in named:
            continue
        at_x, at_y, width = x(_x(point)), y(_y(point)), _CHARACTER * len(point.model)
        places = [
            (at_x + 10, at_y + 4, "start"), (at_x - 10, at_y + 4, "end"),
            (at_x, at_y - 12, "middle"), (at_x, at_y + 21, "middle"),
        ]  # fmt: skip
        for text_x, text_y, anchor in places:
            left = text_x - {"start": 0.0, "end": width, "middle": width / 2}[anchor]
            box = (left, text_y - 10, left + width, text_y + 3)
            inside = left >= _LEFT and box[2] <= WIDTH - 4 and box[1] >= 4 and box[3] <= HEIGHT - _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                named.add(point.model)
                lines.append(
                    f'<text class="name" x="{_number(text_x)}" y="{_number(text_y)}" text-anchor="{anchor}">'
                    f"{escape(point.model)}</text>"
                )
                break
    return lines


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


_STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #5b6068; }
.name { font-size: 11px; fill: #1c1f23; stroke: #fff; stroke-width: 3px; paint-order: stroke; }
.grid { stroke: #e4e3de; fill: none; }
.whisker { stroke: #8a9099; fill: none; }
.front { stroke: #0b62a8; stroke-width: 1.5; stroke-dasharray: 5 4; fill: none; }
.mark { fill: #8a9099; stroke: #8a9099; stroke-width: 1.8; }
.mark.best { fill: #0b62a8; stroke: #0b62a8; }
.mark.reported, .mark.measured { fill: #fff; }
@media (prefers-color-scheme: dark) {
  text { fill: #a4abb3; } .name { fill: #e8e8e4; stroke: #15181b; }
  .grid { stroke: #2d3238; } .whisker { stroke: #7b838c; }
  .front { stroke: #7cb7ec; } .mark { fill: #7b838c; stroke: #7b838c; }
  .mark.best { fill: #7cb7ec; stroke: #7cb7ec; } .mark.reported, .mark.measured { fill: #15181b; }
}
"""


def standalone(figure: Figure) -> str:
    """Returns the plot as a file of its own, with its colours."""
    body = draw(figure)
    head, rest = body.split("\n", 1)
    return f"{head}{MARK}<style>{_STYLE}</style>\n{rest}"
