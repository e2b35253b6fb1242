"""A board's page: the plot, the ranked, the not rankable and the reported, by label, and what was replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.boards.collect import Board, Collection, Row
from zoo.boards.figure import board_figures, draw
from zoo.boards.leaderboard import headline_title, introduction, per_label_metric
from zoo.boards.published import GAP_TITLES, WHY_TITLES, not_measured, place, source_link
from zoo.boards.site import tables as t
from zoo.boards.site.shared import (
    FILTERS,
    TONES,
    beside,
    commercial_use,
    count,
    estimate,
    model_link,
    rich,
    run_as,
)
from zoo.boards.site.tables import Cell, Column, Line, Table
from zoo.boards.text import (
    AGGREGATION_TITLES,
    DASH,
    FLAG_TITLES,
    LOWER_IS_BETTER,
    METRIC_TITLES,
    TASK_TITLES,
    megabytes,
    millions,
    percent,
    three_digits,
)
from zoo.results.errata import REASON_TITLES
from zoo.results.record import Estimate

_SECTIONS = {
    True: ("ranked", "Ranked", "Held out and measured here, on a whole copy of real data."),
    False: ("not-rankable", "Measured, not rankable",
            "Measured here, but no evidence of what a model does on new people."),
}  # fmt: skip


def board_page(collection: Collection, board: Board) -> dict[str, Any]:
    """Returns what the template needs."""
    drawn = [
        _rows(collection, board, ranked) for ranked in (True, False) if any(r.ranked == ranked for r in board.rows)
    ]
    if board.alone:
        drawn.append(_reported(collection, board))
    protocol = board.protocol
    headline = f"{METRIC_TITLES[protocol.primary.metric]}, {AGGREGATION_TITLES[protocol.primary.aggregation]}"
    facts = [
        ("Task", TASK_TITLES[protocol.task]), ("Dataset", protocol.dataset), ("Headline", headline),
        ("Folds", count(len(protocol.folds), "fold")) if protocol.folds else ("Split", protocol.split or "all of it"),
        ("No face found", "every AU absent" if protocol.undetected == "absent" else "a wrong answer"),
        ("Intervals", "bootstrap over " + protocol.clusters_title.replace("subjects", "people")),
        ("Protocol", protocol.ref), ("Labels", ", ".join(protocol.labels)),
    ]  # fmt: skip
    return {
        "board": board, "facts": facts, "intro": [rich(p) for p in introduction(board)], "tables": drawn,
        "heat": _heat(collection, board), "history": _history(board),
        "plots": [(f.machine, draw(f, "../models/{}.html")) for f in board_figures(collection, board)],
        "tools": t.tools("board", drawn, FILTERS, collection.machines),
    }  # fmt: skip


def _rows(collection: Collection, board: Board, ranked: bool) -> Table:
    anchor, heading, intro = _SECTIONS[ranked]
    protocol = board.protocol
    rows = [r for r in board.rows if r.ranked == ranked]
    primary = protocol.primary
    other = "mean_over_folds" if primary.aggregation == "pooled" else "pooled"
    both = bool(protocol.folds) and any(r.record.score(primary.metric, other) for r in rows)
    lacking = any(r.record.model.missing_labels for r in rows)
    shared = ranked and bool(board.shared_labels)
    figures = any(r.beside for r in board.rows)
    read = len({r.read_as for r in board.rows}) > 1 or any(r.checkpoint or r.record.model.derived for r in rows)
    more = [m for m in protocol.metrics if m != primary.metric]
    span = t.value_range(r.headline for r in board.rows)
    if primary.metric not in LOWER_IS_BETTER:  # shares and coefficients: one scale for every board
        span = span[0], 1.0

    columns = [Column("model", "Model")]
    if ranked:
        columns.append(Column("rank", "Rank", "number", about="in brackets: the places that the intervals leave open"))
    columns.append(Column("value", headline_title(protocol), "interval", about="with its 95 % interval"))
    columns.append(Column("runtime", "Run as", "short"))
    if lacking:
        columns += [Column("own", "On its own labels", "number"), Column("labels", "Labels", "number")]
    if shared:
        columns.append(Column("shared", f"On the {len(board.shared_labels)} shared labels", "number"))
    if both:
        columns.append(Column("other", AGGREGATION_TITLES[other].capitalize(), "number"))
    columns += [Column(m, METRIC_TITLES[m], "number", hidden=True) for m in more]
    tuned = any(r.tuned for r in rows)
    if tuned:
        about = "thresholds chosen on the people of the other folds; never ranked"
        columns.append(Column("tuned", "Tuned thresholds", "number", about=about))
    columns += [
        *([] if ranked else [Column("why", "Not ranked because")]),
        Column("found", "Faces found", "number"),
        Column("training", "Training data", "flag", about="whether the model has seen what it is scored on"),
    ]
    if figures:
        columns += [
            Column("reported", "Reported", "number", about="what others have published for it"),
            Column("gap", "Gap", "number", about="measured here minus reported"), Column("reason", "Reason"),
        ]  # fmt: skip
    columns += [Column("parameters", "Parameters", "number"), Column("size", "Size", "number")]
    if collection.machines:
        columns.append(Column("ms", "ms a face", "number", about="median, one thread, network alone, as run here"))
    columns += [
        Column("commercial", "Commercial use", "flag"), Column("licence", "Licence", hidden=True),
        Column("status", "Status", "flag"), *([Column("read", "With")] if read else []),
        Column("record", "Record", "short", about="everything behind the row, as JSON; named by its day"),
    ]  # fmt: skip

    lines = []
    for row in rows:
        record, entry = row.record, row.entry
        name, used = record.model.name, record.runtime
        cells = [Cell(name, sort=name, href=model_link(collection, name))]
        if ranked:
            rank = board.ranks.get(row.key)
            cells.append(Cell(rank.text, sort=rank.place) if rank else Cell(DASH))
        cells += [t.with_bar(row.headline, span), t.text(run_as(row))]
        if lacking:
            given = len(protocol.labels) - len(record.model.missing_labels)
            own = row.score.mean.value if row.score else None
            cells += [t.figure(own), t.figure(given, f"{given} of {len(protocol.labels)}")]
        if shared:
            cells.append(t.figure(board.on_shared(row)))
        for metric, aggregation in [
            *([(primary.metric, other)] if both else []),
            *((m, primary.aggregation) for m in more),
        ]:
            score = record.score(metric, aggregation)
            cells.append(estimate(score.mean if score else None))
        if tuned:
            cells.append(estimate(row.tuned.mean if row.tuned else None))
        cells += [] if ranked else [t.text(row.why_not_ranked)]
        cover, flag = record.coverage, FLAG_TITLES[record.contamination]
        cells.append(t.figure(cover.detected / max(cover.samples, 1), percent(cover.detected, cover.samples)))
        cells.append(t.text(flag, tone=TONES[record.contamination], title=record.contamination_note or ""))
        if figures:
            cells += beside(row)
        parameters, commercial = entry.parameters if entry else None, commercial_use(entry)
        cells += [t.figure(parameters, millions(parameters)), t.figure(row.size, megabytes(row.size))]
        if collection.machines:
            cells.append(_latency(collection, row))
        cells += [
            t.text(commercial, tone=TONES[commercial]), t.text(entry.licence.name if entry else None),
            t.text(row.status, tone=TONES[row.status]), *([t.text(row.read_as)] if read else []),
            Cell(record.created[:10], sort=record.created, href=f"../{row.path}"),
        ]  # fmt: skip
        filters = {
            "commercial": (commercial,), "status": (row.status,), "runtime": (used.runtime,),
            "device": (used.device,), "precision": (used.precision,), "training": (flag,),
        }  # fmt: skip
        lines.append(Line(cells, filters))
    return Table(anchor, f"{heading}: {protocol.title}", columns, lines, heading, intro)


def _latency(collection: Collection, row: Row) -> Cell:
    """A cell with the row's latency on every machine; the first one is shown until another is chosen."""
    choices: list[tuple[str, float | None]] = []
    for machine in collection.machines:
        timing = collection.single_stream(row, machine)
        if timing is None:
            choices.append((DASH, None))
        else:
            mark = "" if timing.record.model.weights == "published" else "≈"
            choices.append((f"{mark}{three_digits(timing.median.value)}", timing.median.value))
    shown, sort = choices[0]
    title = "≈: its structure, with random weights" if any(c[0].startswith("≈") for c in choices) else ""
    return Cell(shown, sort=sort, title=title, choices=tuple(choices) if len(choices) > 1 else ())


def _reported(collection: Collection, board: Board) -> Table:
    columns = [
        Column("system", "System"), Column("metric", "Metric", "short"), Column("value", "Reported", "number"),
        Column("same", "Means the same?"), Column("source", "Source"), Column("model", "Model"),
        Column("status", "Status", "flag"), Column("why", "Not measured because"),
    ]  # fmt: skip
    lines = []
    for p in board.alone:
        entry = collection.registry.entries.get(p.entry or "")
        status = entry.status if entry else None
        cells = [
            t.text(p.system, title=p.note or ""), t.text(METRIC_TITLES[p.metric]), t.figure(p.value, p.text),
            t.text(WHY_TITLES[p.comparable.why], title=p.comparable.text),
            t.text(place(p.source, p.table), href=source_link(p.source), title=p.source.title),
            t.text(p.entry, href=model_link(collection, p.entry)), t.text(status, tone=TONES.get(status or "", "")),
            t.text(GAP_TITLES[not_measured(p, entry)]),
        ]  # fmt: skip
        filters: dict[str, tuple[str, ...]] = {}
        if entry:
            filters = {"commercial": (commercial_use(entry),), "status": (entry.status,)}
        lines.append(Line(cells, filters))
    notes = "Published by others, not measured here."
    notes += " * is a mean over the printed labels, taken here." if any(p.computed for p in board.alone) else ""
    notes += " ? is doubtful in the source." if any(p.doubtful for p in board.alone) else ""
    return Table("reported", f"Reported only: {board.protocol.title}", columns, lines, "Reported only", notes)


def _heat(collection: Collection, board: Board) -> Table | None:
    metric, primary = per_label_metric(board), board.protocol.primary
    rows: list[tuple[Cell, Cell, dict[str, Estimate]]] = []
    for row in board.rows:
        score = row.record.score(metric, primary.aggregation)
        if score and score.per_label:
            name = row.record.model.name
            kind = "measured, ranked" if row.ranked else "measured, not rankable"
            values: dict[str, Estimate] = {x.label: x for x in score.per_label}
            cell = Cell(name, sort=name, href=model_link(collection, name))
            rows.append((cell, t.text(kind, more=run_as(row)), values))
    for p in board.published:
        if p.by_label and p.metric in (metric, primary.metric):
            where = place(p.source, p.table)
            rows.append(
                (t.text(p.system), t.text("reported", more=where), {x: Estimate(value=v) for x, v in p.by_label})
            )
    if not rows:
        return None
    # The range of the values themselves, without the intervals: those of rare labels would wash out the colours.
    span = t.value_range(Estimate(value=v.value) for _, _, values in rows for v in values.values())
    columns = [Column("model", "Model"), Column("kind", "From", "short")]
    columns += [Column(x, x, "heat") for x in board.protocol.labels]
    lower = metric in LOWER_IS_BETTER
    lines = [
        Line([name, kind, *(t.coloured(values.get(x), span, lower=lower) for x in board.protocol.labels)])
        for name, kind, values in rows
    ]
    title = f"{METRIC_TITLES[metric].replace('macro-', '')} by label"
    about = "Stronger colour is better. Point at a measured value for its interval."
    return Table("per-label", f"{title}: {board.protocol.title}", columns, lines, title, about)


def _history(board: Board) -> Table | None:
    gone: Sequence[Row] = board.earlier + board.superseded
    if not gone:
        return None
    columns = [
        Column("record", "Record", "short"), Column("model", "Model"), Column("runtime", "Run as", "short"),
        Column("value", "Value", "number"), Column("why", "Replaced because", "wide"),
    ]  # fmt: skip
    lines = []
    for row in gone:
        why = f"{REASON_TITLES[row.erratum.reason]}: {row.erratum.text}" if row.erratum else "a newer record"
        day = Cell(row.record.created[:10], sort=row.record.created, href=f"../{row.path}")
        cells = [day, t.text(row.record.model.name), t.text(run_as(row)), estimate(row.headline), t.text(why)]
        lines.append(Line(cells, struck=row.erratum is not None))
    return Table("history", "Earlier and superseded records", columns, lines, "Earlier and superseded records")
