"""A suite's page: what was timed, what may be used, and what may not and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.boards.collect import Collection
from zoo.boards.latency import LatencyBoard, LatencyRow, headline, overview, reasons_of, section_title
from zoo.boards.site import tables as t
from zoo.boards.site.shared import FILTERS, model_link, rate, timing_filters
from zoo.boards.site.tables import Cell, Column, Line, Table
from zoo.boards.text import DASH, TASK_TITLES, megabytes, three_digits


def latency_page(collection: Collection, board: LatencyBoard) -> dict[str, Any]:
    """Returns what the template needs."""
    baseline = board.rows[0].record.suite.baseline
    valid = [r for r in board.rows if r.timing.usable]
    wrong = [r for r in board.rows if not r.timing.usable]
    drawn = []
    if valid:
        about = f"Times {baseline.title}: in the same run; above 1 is faster."
        drawn.append(_table(collection, valid, "valid", "Valid", about))
    if wrong:
        drawn.append(_table(collection, wrong, "invalid", "Invalid", "Measured or tried, and not to be used."))
    return {
        "board": board, "tables": drawn, "folded": len(wrong),
        "overview": _overview(collection, board.rows) if valid else [],
        "tools": t.tools("latency", drawn, FILTERS),
        "random": any(r.record.model.weights == "random" for r in board.rows),
        "weak": baseline.runtime == "torch" and baseline.device == "cpu",
    }  # fmt: skip


def _overview(collection: Collection, rows: Sequence[LatencyRow]) -> list[tuple[str, list[Table]]]:
    """Returns for each machine a grid of models by ways of running them, one for each scenario and thread count."""
    found = []
    for number, machine in enumerate(dict.fromkeys(r.timing.machine for r in rows)):
        here = [r for r in rows if r.timing.machine == machine]
        sections = dict.fromkeys(r.section for r in here if r.timing.usable)
        grids = [
            _grid(collection, [r for r in here if r.section == s], f"m{number}s{i}") for i, s in enumerate(sections)
        ]
        found.append((machine, grids))
    return found


def _grid(collection: Collection, rows: Sequence[LatencyRow], anchor: str) -> Table:
    ways, models = overview(rows)
    unit = headline(rows[0])[1]
    columns = [Column("model", "Model")]
    columns += [Column(f"w{i}", " ".join(way), "number") for i, way in enumerate(ways)]
    lines = []
    for name, cells in models:
        model = next(r for r in cells if r).record.model
        random = model.weights == "random"
        line = [
            t.text(name.removesuffix(" (random weights)"), more="random weights" if random else "",
                   href=None if random else model_link(collection, model.name))
        ]  # fmt: skip
        for row in cells:
            if row is None:
                line.append(Cell(DASH))
                continue
            if not row.timing.usable:
                line.append(Cell("invalid", title=row.reasons))
                continue
            value = headline(row)[0]
            ends = row.record.throughput if unit == "images/s" else row.timing.median
            known = ends is not None and ends.low is not None and ends.high is not None
            title = (
                f"95 % interval {three_digits(ends.low)} to {three_digits(ends.high)} {unit}" if ends and known else ""
            )
            ratio = "" if row.ratio.value is None else f"{row.ratio.value:.2f}×"
            line.append(t.figure(value, three_digits(value), more=ratio, title=title))
        lines.append(Line(line))
    heading = section_title(rows[0])
    about = "Images a second: more is faster." if unit == "images/s" else "Milliseconds: less is faster."
    return Table(anchor, heading, columns, lines, heading, about)


def _table(collection: Collection, rows: Sequence[LatencyRow], anchor: str, heading: str, intro: str) -> Table:
    usable = anchor == "valid"
    columns = [
        Column("model", "Model"), Column("tasks", "Tasks", hidden=True), Column("runtime", "Runtime", "short"),
        Column("precision", "Precision"), Column("threads", "Threads", "number"),
        Column("stage", "Stage", hidden=len({r.record.stage for r in rows}) < 2),
        Column("scenario", "Scenario", "short"),
    ]  # fmt: skip
    if usable:
        columns += [
            Column("p50", "p50 ms", "number"), Column("p90", "p90 ms", "number"),
            Column("p95", "p95 ms", "number", hidden=True), Column("p99", "p99 ms", "number"),
            Column("rate", "Images/s", "number"),
            Column("ratio", "Times baseline", "number", about="how many times as fast as the baseline in the same run"),
            Column("memory", "Peak MiB", "number"), Column("size", "Size", "number"),
        ]  # fmt: skip
    else:
        columns.append(Column("reasons", "Reasons", "wide"))
    columns += [Column("machine", "Machine", "short", hidden=len({r.timing.machine for r in rows}) < 2)]
    columns += [Column("record", "Record", "short", about="everything behind the row, as JSON; named by its day")]
    lines = []
    for row in rows:
        record, asked, model = row.record, row.record.asked, row.record.model
        streams = f"{asked.streams} streams" if asked.streams > 1 else ""
        random = model.weights == "random"
        cells = [
            t.text(model.name, more="random weights" if random else "",
                   href=None if random else model_link(collection, model.name)),
            t.text(", ".join(TASK_TITLES[x] for x in model.tasks)), t.text(asked.title, more=streams),
            t.text(asked.precision),
            t.figure(asked.threads, str(asked.threads)), t.text(record.stage), t.text(record.scenario.title),
        ]  # fmt: skip
        if usable:
            ratio = row.ratio
            ends = f"95 % interval {ratio.low:.2f} to {ratio.high:.2f}" if ratio.low and ratio.high else ""
            cells += [
                *(t.milliseconds(record.percentile(p)) for p in (50, 90, 95, 99)), rate(row.timing),
                t.figure(ratio.value, DASH if ratio.value is None else f"{ratio.value:.2f}", title=ends),
                t.figure(record.peak_rss_mib, three_digits(record.peak_rss_mib)),
                t.figure(model.size, megabytes(model.size)),
            ]  # fmt: skip
        else:
            cells.append(t.text(row.reasons))
        day = Cell(record.created[:10], sort=record.created, href=f"../{row.timing.path}")
        cells += [t.text(row.timing.machine_code, title=row.timing.machine), day]
        filters = {**timing_filters(row.timing), "verdict": ("valid" if usable else "invalid",)}
        lines.append(Line(cells, filters, struck=row.timing.erratum is not None))
    folded = "" if usable else reasons_of(len(rows))
    return Table(anchor, f"{heading} measurements", columns, lines, heading, intro, folded)
