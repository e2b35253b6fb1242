"""What a table of the site is made of: plain values that one template draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from zoo.boards.text import DASH, HasInterval, interval, number, three_digits

Kind = Literal["text", "wide", "short", "number", "interval", "heat", "code", "flag", "rich"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Short fixed name, for the choice of columns.
        title: As the head shows it.
        kind: ``wide`` and ``short`` are texts with room, and without a break; ``number`` is set to the right;
            ``interval`` has a bar; ``heat`` is coloured; ``flag`` is a small label; ``rich`` is HTML, with room.
        about: What it means, shown when pointed at.
        hidden: Not shown until it is chosen.
    """

    key: str
    title: str
    kind: Kind = "text"
    about: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What is shown.
        sort: What it is sorted by; None sorts last.
        href: Where it leads.
        more: A second, smaller line.
        bar: Value and ends of the interval as shares of the column's range.
        heat: Share of the range, for the colour.
        title: Shown when pointed at.
        tone: ``good``, ``bad`` or ``plain``: colour of a flag.
        choices: Other texts and sort values of this cell, one a machine.
    """

    text: str
    sort: float | str | None = None
    href: str | None = None
    more: str = ""
    bar: tuple[float, float | None, float | None] | None = None
    heat: float | None = None
    title: str = ""
    tone: str = ""
    choices: tuple[tuple[str, float | None], ...] = ()


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        cells: In the order of the columns.
        filters: Filter's name -> the row's values.
        struck: Whether it is struck out.
        ours: Whether it is a row of ours among those of a paper.
    """

    cells: Sequence[Cell]
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    struck: bool = False
    ours: bool = False

    def attributes(self) -> list[tuple[str, str]]:
        """Returns the filters' values as the page carries them."""
        return [(name, "|".join(values)) for name, values in self.filters.items()]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        id: Its anchor.
        caption: What it shows.
        columns: Its columns.
        lines: Its rows.
        heading: Above it; none where it is empty.
        intro: A sentence above it.
        folded: What opens it, where it is closed at first.
    """

    id: str
    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    heading: str = ""
    intro: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Tools:
    """Controls over a group of tables: search, filters, choice of columns and machine.

    Attributes:
        group: Name that the tables carry.
        filters: Name and title of each filter that has something to choose.
        columns: Key, title and whether shown, of columns that may be hidden.
        machines: Machines to choose from.
    """

    group: str
    filters: Sequence[tuple[str, str, Sequence[str]]]
    columns: Sequence[tuple[str, str, bool]]
    machines: Sequence[str] = ()


def tools(group: str, tables: Iterable[Table], titles: dict[str, str], machines: Sequence[str] = ()) -> Tools:
    """Collects the controls that a group of tables needs.

    Args:
        group: Its name.
        tables: The tables.
        titles: Filters in order, by name.
        machines: Machines that cells have choices of.
    """
    tables = list(tables)
    filters = []
    for name, title in titles.items():
        values = sorted({v for t in tables for line in t.lines for v in line.filters.get(name, ())})
        if len(values) > 1:
            filters.append((name, title, values))
    columns: dict[str, tuple[str, str, bool]] = {}
    for table in tables:
        for column in table.columns[1:]:
            columns.setdefault(column.key, (column.key, column.title, not column.hidden))
    return Tools(group, filters, list(columns.values()), machines if len(machines) > 1 else ())


def text(value: str | None, **more: object) -> Cell:
    """A cell of text; a dash for none."""
    return Cell(value or DASH, sort=value.lower() if value else None, **more)  # type: ignore[arg-type]


def figure(value: float | None, shown: str | None = None, **more: object) -> Cell:
    """A cell of a number."""
    return Cell(number(value) if shown is None else shown, sort=value, **more)  # type: ignore[arg-type]


def milliseconds(estimate: HasInterval | None) -> Cell:
    """A cell of a duration, with its interval as the title."""
    if estimate is None or estimate.value is None:
        return Cell(DASH)
    ends = estimate.low, estimate.high
    low, high = (DASH if v is None else three_digits(v) for v in ends)
    title = f"95 % interval {low} to {high} ms" if None not in ends else ""
    return Cell(three_digits(estimate.value), sort=estimate.value, title=title)


def value_range(estimates: Iterable[HasInterval | None]) -> tuple[float, float]:
    """Returns the range that bars or colours of a column are drawn in."""
    found = [v for e in estimates if e for v in (e.value, e.low, e.high) if v is not None]
    if not found:
        return 0.0, 1.0
    low, high = min(0.0, *found), max(found)
    return low, high if high > low else low + 1.0


def with_bar(estimate: HasInterval | None, span: tuple[float, float]) -> Cell:
    """A cell of a value with the bar of its interval."""
    if estimate is None or estimate.value is None:
        return Cell(DASH)

    def share(value: float | None) -> float | None:
        return None if value is None else round((value - span[0]) / (span[1] - span[0]), 4)

    value = share(estimate.value)
    assert value is not None  # it is given
    return Cell(interval(estimate), sort=estimate.value, bar=(value, share(estimate.low), share(estimate.high)))


def coloured(estimate: HasInterval | None, span: tuple[float, float], *, lower: bool = False, shown: str = "") -> Cell:
    """A cell of a heat map: darker is better."""
    if estimate is None or estimate.value is None:
        return Cell(DASH)
    share = min(1.0, max(0.0, (estimate.value - span[0]) / (span[1] - span[0])))
    return Cell(
        shown or f"{estimate.value:.2f}", sort=estimate.value, heat=round(1 - share if lower else share, 2),
        title=interval(estimate) if estimate.low is not None else "",
    )  # fmt: skip
