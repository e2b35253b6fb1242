"""A page of one table of a paper, with our rows beneath its own."""

from __future__ import annotations

from typing import Any

from zoo.boards.collect import Collection
from zoo.boards.papers import PaperPage
from zoo.boards.published import WHY_TITLES
from zoo.boards.site import tables as t
from zoo.boards.site.shared import plain, rich
from zoo.boards.site.tables import Cell, Column, Line, Table
from zoo.boards.text import DASH


def paper_page(collection: Collection, page: PaperPage) -> dict[str, Any]:
    """Returns what the template needs."""
    columns = [
        Column("system", "System"), *(Column(f"c{i}", x, "number") for i, x in enumerate(page.head)),
        Column("notes", "Notes", "rich"),
    ]  # fmt: skip
    lines = [Line([t.text(r.name), *(_cell(c) for c in r.cells), _note(r.note)], ours=r.ours) for r in page.rows]
    return {
        "page": page, "table": Table("table", page.title, columns, lines),
        "compared": [(c.protocol, WHY_TITLES[c.why], c.text.strip()) for c in page.comparisons],
        "boards": {b.protocol.id: f"boards/{b.name}.html" for b in collection.boards},
        "ours": any(r.ours for r in page.rows),
        "notes": [n.strip() for n in (*page.table.notes, *page.machine_notes)],
    }  # fmt: skip


def _note(text: str) -> Cell:
    return Cell(rich(text) or DASH, sort=plain(text).lower() or None)


def _cell(text: str) -> Cell:
    """A cell of a printed number, or of ours with its interval on a second line."""
    value, _, more = text.partition(" ")
    try:
        return Cell(value, sort=float(value), more=more)
    except ValueError:
        return Cell(text)
