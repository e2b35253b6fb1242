"""Pages that lay our rows beside a paper's: one page for each table of the papers that the zoo started from."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from zoo.boards.collect import Board, Collection, Row, Timing
from zoo.boards.published import WHY_TITLES
from zoo.boards.text import DASH, FLAG_TITLES, METRIC_TITLES, interval, markdown_table, megabytes, three_digits
from zoo.registry.schema import slug
from zoo.results.record import Estimate
from zoo.results.reported import Column, Comparison, ReportedFile, ReportedTable
from zoo.results.reported import Row as PrintedRow

PAPERS = ("libreface-2023", "py-feat-2021", "savchenko-2022")
"""Files under ``reported/`` whose tables get a page each."""

LATENCY_SUITES = ("libreface-tables", "libreface-tables-gpu")
"""Suites whose records stand beside the tables of speed."""

_SPEED = ("seconds", "seconds_std", "fps", "file_size")


@dataclass(frozen=True)
class PaperRow:
    """One line of a page: the paper's or ours."""

    name: str
    ours: bool
    cells: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class PaperPage:
    """One table of a paper with our rows beside it."""

    path: str
    """Below the boards' folder, without suffix."""
    file: ReportedFile
    table: ReportedTable
    head: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    comparisons: tuple[Comparison, ...]
    """What a figure measured here means beside this table; one for each group of columns."""
    machine_notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``LibreFace: ..., Table 3: AU intensity on DISFA``."""
        assert self.file.source is not None  # the papers have one source each
        return f"{self.file.source.title}, {self.table.table}: {self.table.title}"


def paper_pages(collection: Collection) -> list[PaperPage]:
    """Returns the pages of every table of :data:`PAPERS` that the folder has figures of."""
    files = {f.name: f for f in collection.reported}
    return [_page(collection, files[name], table) for name in PAPERS if name in files for table in files[name].tables]


def paper_files(collection: Collection, mark: str) -> dict[str, str]:
    """Returns path -> Markdown of every page."""
    return {f"{page.path}.md": _markdown(page, mark) for page in paper_pages(collection)}


def _page(collection: Collection, file: ReportedFile, table: ReportedTable) -> PaperPage:
    boards = {b.protocol.id: b for b in collection.boards}  # sorted by version: the newest one stays
    comparisons: dict[str, Comparison] = {}
    for column in table.all_columns:
        comparison = column.comparable or table.comparable
        comparisons.setdefault(comparison.text, comparison)
    rows: list[PaperRow] = []
    shown: set[str] = set()
    speed = any((c.metric or table.metric) in _SPEED for c in table.all_columns)
    notes: list[str] = []
    for printed in table.rows:
        rows.append(_printed(table, printed))
        if printed.entry is None or printed.entry in shown or _later(table, printed):
            continue
        shown.add(printed.entry)
        rows += _timed(collection, table, printed.entry, notes) if speed else _measured(table, boards, printed.entry)
    if not speed:
        others = dict.fromkeys(
            row.record.model.name
            for column in table.all_columns
            if (board := _board(table, column, boards))
            for row in board.rows
            if row.record.model.name not in shown
        )
        for name in others:
            rows += _measured(table, boards, name)
    head = tuple(c.title or c.name for c in table.all_columns)
    path = f"papers/{file.name}-{slug(table.table)}"
    return PaperPage(path, file, table, head, tuple(rows), tuple(comparisons.values()), tuple(dict.fromkeys(notes)))


def _later(table: ReportedTable, printed: PrintedRow) -> bool:
    """Whether the same model has a row further down: ours goes below its last one."""
    after = table.rows[table.rows.index(printed) + 1 :]
    return any(r.entry == printed.entry for r in after)


def _printed(table: ReportedTable, row: PrintedRow) -> PaperRow:
    values: list[Decimal | None] = [*row.values, *([row.average] if table.average else [])]
    notes = [row.source_of_row or "", row.note or ""]
    notes += [f"does not add up: printed {d.printed}, computed {d.computed}" for d in row.does_not_add_up]
    if row.entry:
        kind = {"same": "", "other": ", other weights", "features": ", its features", "unknown": ", weights not stated"}
        notes.append(f"`{row.entry}`{kind[row.weights or 'unknown']}")
    name = row.system + (f", {row.variant}" if row.variant else "")
    return PaperRow(
        name, False, tuple(DASH if v is None else str(v) for v in values), "; ".join(n.rstrip(".") for n in notes if n)
    )


def _board(table: ReportedTable, column: Column, boards: dict[str, Board]) -> Board | None:
    return boards.get((column.comparable or table.comparable).protocol or "")


def _measured(table: ReportedTable, boards: dict[str, Board], model: str) -> list[PaperRow]:
    """Returns our row for a model: its first one on each column's board, in the paper's unit."""
    cells, used = [], {}
    for column in table.all_columns:
        board = _board(table, column, boards)
        row = next((r for r in board.rows if r.record.model.name == model), None) if board else None
        if row is not None:
            used[row.path] = row
        cells.append(_cell(table, column, row) if row else DASH)
    if not used or set(cells) == {DASH}:
        return []
    notes = [_about(row) for row in used.values()]
    return [PaperRow(f"ours: {model}", True, tuple(cells), "; ".join(notes))]


def _about(row: Row) -> str:
    record = row.record
    used = f"{record.protocol.ref}, {record.runtime.runtime} {record.runtime.precision}"
    parts = [used, f"training data {FLAG_TITLES[record.contamination]}"]
    if not row.ranked:
        parts.append(f"not rankable: {row.why_not_ranked}")
    return ", ".join(parts) + f" ([record](../{row.path}))"


def _cell(table: ReportedTable, column: Column, row: Row) -> str:
    metric = column.metric or table.metric
    unit = column.unit or table.unit
    protocol = row.protocol
    if metric not in METRIC_TITLES or metric is None:
        return DASH
    by_label = column.label is not None
    # A table of F1 by class belongs to our macro-F1 of expressions.
    name = "macro_f1" if metric == "f1" and protocol.task == "expression" else metric
    score = row.record.score(name, protocol.primary.aggregation)
    if score is None:
        return DASH
    found: Estimate | None = score.mean
    if by_label:
        found = next((x for x in score.per_label if x.label == column.label), None)
    if found is None or found.value is None:
        return DASH
    scale = 100.0 if unit == "percent" else 1.0
    if scale == 1.0:
        return interval(found)
    ends = [None if v is None else v * scale for v in (found.value, found.low, found.high)]
    text = f"{ends[0]:.1f}"
    return text if ends[1] is None or ends[2] is None else f"{text} [{ends[1]:.1f}, {ends[2]:.1f}]"


def _timed(collection: Collection, table: ReportedTable, model: str, notes: list[str]) -> list[PaperRow]:
    entry = collection.registry.entries.get(model)
    rows = []
    for timing in collection.timings_of(entry, model):
        if timing.record.suite.ref.partition("@")[0] not in LATENCY_SUITES:
            continue
        asked, record = timing.record.asked, timing.record
        name = f"ours: {record.model.name}, {asked.how} {asked.precision}"
        name += "" if asked.device == "cpu" else f" {asked.device}"
        name += f", {asked.threads} thread{'s' if asked.threads > 1 else ''}, {record.scenario.title}, {record.stage}"
        tasks = ", ".join(record.model.tasks)
        about = [f"random weights in {record.model.architecture}"] if record.model.weights == "random" else []
        about += [f"tasks: {tasks}"] if tasks else []
        about.append(f"[record](../{timing.path})")
        cells = [_speed(table, (c.metric or table.metric or ""), timing) for c in table.all_columns]
        rows.append(PaperRow(name, True, tuple(cells), "; ".join(about)))
        notes.append(f"Ours: {timing.machine}.")
    return rows


def _speed(table: ReportedTable, metric: str, timing: Timing) -> str:
    record, items = timing.record, table.items or 1
    rounds = [s.seconds / s.images * items for s in record.slices if s.kept and s.images]
    if metric == "file_size":
        return megabytes(record.model.size)
    if metric == "seconds_std":
        return three_digits(statistics.stdev(rounds)) if len(rounds) > 1 else DASH
    if metric == "seconds":
        return three_digits(statistics.fmean(rounds)) if rounds else DASH
    if metric == "fps":
        return three_digits(record.throughput.value) if record.throughput else DASH
    return DASH


def _markdown(page: PaperPage, mark: str) -> str:
    source, table = page.file.source, page.table
    assert source is not None  # see PaperPage.title
    link = source.url or f"https://arxiv.org/abs/{source.arxiv}"
    parts = [mark, "", f"# {page.title}", "", f"{source.authors or ''} {source.year or ''}: <{link}>".strip(), ""]
    parts += [f"What its authors did: {table.protocol_as_stated.strip()}", ""]
    parts += ["What a figure measured here means beside it:", ""]
    parts += [f"- {_compared(c)}" for c in page.comparisons]
    parts += ["", markdown_table(["system", *page.head, "notes"], _rows(page.rows)), ""]
    if not any(r.ours for r in page.rows):
        parts += ["None of its models has been measured here yet.", ""]
    parts += [f"- {note.strip()}" for note in (*table.notes, *page.machine_notes)]
    return "\n".join(parts).rstrip() + "\n"


def _compared(comparison: Comparison) -> str:
    nearest = f"nearest protocol `{comparison.protocol}`, " if comparison.protocol else ""
    return f"{nearest}{WHY_TITLES[comparison.why]}: {comparison.text.strip()}"


def _rows(rows: Sequence[PaperRow]) -> list[list[str]]:
    return [[f"**{r.name}**" if r.ours else r.name, *r.cells, r.note] for r in rows]
