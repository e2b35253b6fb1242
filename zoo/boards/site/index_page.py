"""The first page: boards, models, suites and papers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.boards.collect import Board, Collection
from zoo.boards.leaderboard import headline_title
from zoo.boards.recommend import size_of
from zoo.boards.site import tables as t
from zoo.boards.site.shared import (
    FILTERS,
    TONES,
    commercial_use,
    count,
    model_names,
    network_alone,
    timed_as,
)
from zoo.boards.site.tables import Cell, Column, Line, Table
from zoo.boards.text import DASH, TASK_TITLES, interval, megabytes, millions
from zoo.results.reported import figures as reported_figures

_ORDER = ("verified", "unverified", "external", "deprecated", "reported-only")


def index_page(collection: Collection) -> dict[str, Any]:
    """Returns what the template needs."""
    boards, models = _boards(collection), _models(collection)
    runnable = sum(e.runnable for e in collection.registry.entries.values())
    figures = sum(1 for f in collection.reported for _ in reported_figures(f))
    counts = [
        (str(len(model_names(collection))), "models", f"{runnable} can be run"),
        (str(sum(len(b.everything) for b in collection.boards)), "accuracy records",
         f"on {sum(bool(b.everything) for b in collection.boards)} of {len(collection.boards)} boards"),
        (str(len(collection.timings)), "latency records", f"on {count(len(collection.machines), 'machine')}"),
        (str(figures), "published figures", f"from {count(sum(len(f.tables) for f in collection.reported), 'table')}"),
    ]  # fmt: skip
    return {
        "counts": counts, "boards": boards, "boards_tools": t.tools("boards", [boards], FILTERS),
        "models": models, "models_tools": t.tools("models", [models], FILTERS),
    }  # fmt: skip


def _boards(collection: Collection) -> Table:
    columns = [
        Column("board", "Board", "wide"), Column("task", "Task", "short", hidden=True),
        Column("metric", "Headline metric", "short"),
        Column("best", "Best ranked model", about="held out, measured here on a whole copy of real data"),
        Column("value", "Its value", "number"), Column("ranked", "Ranked", "number"),
        Column("measured", "Not rankable", "number"), Column("reported", "Reported only", "number"),
        Column("files", "Files", "short"),
    ]  # fmt: skip

    def order(board: Board) -> tuple[int, int, str]:
        return -len(board.ranks), -len(board.rows), board.name

    lines = []
    for board in sorted(collection.boards, key=order):
        protocol = board.protocol
        best = next((r for r in board.rows if r.key in board.ranks), None)
        name = best.record.model.name if best else None
        unranked = sum(not r.ranked for r in board.rows)
        cells = [
            Cell(protocol.title, sort=protocol.title.lower(), href=f"boards/{board.name}.html",
                 more=TASK_TITLES[protocol.task]),
            t.text(TASK_TITLES[protocol.task]), t.text(headline_title(protocol)),
            t.text(name, href=f"models/{name}.html" if name else None),
            t.figure(best.headline.value, interval(best.headline)) if best else Cell(DASH),
            t.figure(len(board.ranks), str(len(board.ranks))), t.figure(unranked, str(unranked)),
            t.figure(len(board.alone), str(len(board.alone))),
            Cell("csv", href=f"{board.name}.csv") if board.everything else Cell(DASH),
        ]  # fmt: skip
        lines.append(Line(cells, {"task": (TASK_TITLES[protocol.task],)}))
    return Table("boards-table", "Accuracy boards, one for each protocol", columns, lines)


def _models(collection: Collection) -> Table:
    machine = collection.machines[0] if collection.machines else None
    columns = [
        Column("model", "Model"), Column("what", "What", "wide", hidden=True), Column("tasks", "Tasks"),
        Column("commercial", "Commercial use", "flag"), Column("licence", "Licence", hidden=True),
        Column("status", "Status", "flag",
               about="verified: its real files were fetched, checked, loaded strictly and run"),
        Column("parameters", "Parameters", "number"), Column("size", "Size", "number"),
    ]  # fmt: skip
    if machine:
        about = f"fastest way of running it, network alone, on {machine}"
        columns += [Column("ms", "ms a face", "number", about=about), Column("how", "Run as", "short", hidden=True)]
    columns += [
        Column("measured", "Measured", "number", about="boards with a measurement of it"),
        Column("reported", "Reported", "number", about="published figures"),
    ]
    figures: dict[str, int] = {}
    for file in collection.reported:
        for figure in reported_figures(file):
            if figure.entry:
                figures[figure.entry] = figures.get(figure.entry, 0) + 1
    entries = collection.registry.entries
    # What can be run comes first: most names are known from papers only.
    names = sorted(model_names(collection), key=lambda n: _ORDER.index(entries[n].status) if n in entries else 0)
    lines = [_model(collection, name, machine, figures.get(name, 0)) for name in names]
    return Table("models-table", "Every model of the registry", columns, lines)


def _model(collection: Collection, name: str, machine: str | None, figures: int) -> Line:
    entry = collection.registry.entries.get(name)
    rows = [r for b in collection.boards for r in b.rows if r.record.model.name == name]
    timings = collection.timings_of(entry, name)
    tasks = entry.tasks if entry else tuple(dict.fromkeys(r.record.task for r in rows))
    commercial = commercial_use(entry)
    status = entry.status if entry else rows[0].status if rows else "unverified"
    size, parameters = (size_of(entry), entry.parameters) if entry else (None, None)
    cells = [
        Cell(name, sort=name, href=f"models/{name}.html"), t.text(entry.title if entry else None),
        t.text(", ".join(TASK_TITLES[x] for x in tasks)), t.text(commercial, tone=TONES[commercial]),
        t.text(entry.licence.name if entry else None), t.text(status, tone=TONES[status]),
        t.figure(parameters, millions(parameters)), t.figure(size, megabytes(size)),
    ]  # fmt: skip
    if machine:
        here = [x for x in timings if x.machine == machine and network_alone(x)]
        fastest = min(here, key=lambda x: (x.median.value or float("inf"), x.path), default=None)
        cells += [t.milliseconds(fastest.median if fastest else None), t.text(timed_as(fastest) if fastest else None)]
    boards = len({r.record.protocol.ref for r in rows})
    cells += [t.figure(boards, str(boards)), t.figure(figures, str(figures))]
    used = [(u.runtime, u.device, u.precision) for r in rows for u in [r.record.runtime]]
    used += [(u.runtime, u.device, u.precision) for x in timings for u in [x.record.asked]]
    filters = {"task": tuple(TASK_TITLES[x] for x in tasks), "commercial": (commercial,), "status": (status,)}
    filters |= {k: _unique(u[i] for u in used) for i, k in enumerate(("runtime", "device", "precision"))}
    return Line(cells, filters)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
