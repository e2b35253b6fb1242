"""Boards in Markdown and CSV: one for each protocol, a pure function of the records and the published figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoo._util.files import write_text
from zoo.boards.collect import Board, Collection, Row, collect
from zoo.boards.figure import board_figures, standalone
from zoo.boards.latency import latency_files
from zoo.boards.papers import paper_files
from zoo.boards.published import GAP_TITLES, WHY_TITLES, Published, not_measured, place, source_link
from zoo.boards.text import (
    AGGREGATION_TITLES,
    DASH,
    FLAG_TITLES,
    LOWER_IS_BETTER,
    MARK,
    METRIC_TITLES,
    interval,
    markdown_table,
    megabytes,
    millions,
    number,
    percent,
    signed,
    three_digits,
)
from zoo.protocols.schema import ProtocolFile
from zoo.registry import Registry
from zoo.results.errata import REASON_TITLES

__all__ = ["MARK", "check_boards", "collect_boards", "render", "write_boards"]


def collect_boards(out: Path) -> list[Board]:
    """Reads the records under ``out`` and sorts them into boards.

    Raises:
        RecordError: A record does not hold together, or belongs to a protocol that is unknown or has changed.
    """
    return list(collect(out).boards)


def headline_title(protocol: ProtocolFile) -> str:
    """Returns the title of the ranked column, with an arrow that says which way is better."""
    arrow = "↓" if protocol.primary.metric in LOWER_IS_BETTER else "↑"
    return f"{METRIC_TITLES[protocol.primary.metric]} {arrow} ({AGGREGATION_TITLES[protocol.primary.aggregation]})"


def introduction(board: Board) -> list[str]:
    """Returns what has to be known to read a board, as paragraphs."""
    protocol = board.protocol
    about = f"Protocol `{protocol.ref}`, task {protocol.task}."
    if protocol.synthetic:
        about += " **Rendered faces: a rehearsal of the real protocol, never ranked beside real data.**"
    if protocol.split_confidence == "C":
        about += " The folds are a reconstruction; the original lists are not published."
    unit = protocol.clusters_title
    parts = [about, f"Values with 95 % intervals from a bootstrap over {unit}."]
    if board.ranks:
        parts[-1] += (
            " The places in brackets are those that the intervals leave open; `python -m zoo.compare` tells closer"
            " models apart."
        )
    if any(r.record.model.missing_labels for r in board.rows):
        parts.append(
            "A model that lacks labels of the protocol is ranked with 0 for them; the mean over its own labels and, for"
            " ranked models, over the labels that all of them give stand beside it."
        )
    return parts


def summary(collection: Collection, board: Board, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Returns head and cells of the main table of a section."""
    protocol, ranked = board.protocol, bool(rows) and rows[0].ranked
    primary = protocol.primary
    title = METRIC_TITLES[primary.metric]
    other = "mean_over_folds" if primary.aggregation == "pooled" else "pooled"
    both = bool(protocol.folds) and any(r.record.score(primary.metric, other) for r in rows)
    lacking = any(r.record.model.missing_labels for r in rows)
    shared = ranked and bool(board.shared_labels)
    figures = any(r.beside for r in rows)
    machine = collection.machines[0] if collection.machines else None
    timed = {id(r): collection.single_stream(r, machine) for r in rows} if machine else {}
    read = len({r.read_as for r in board.rows}) > 1 or any(r.checkpoint or r.record.model.derived for r in rows)
    more = [m for m in protocol.metrics if m != primary.metric]
    tuned = any(r.tuned for r in rows)

    head = [*(["rank"] if ranked else []), "model", headline_title(protocol)]
    head += ["on its own labels", "labels"] if lacking else []
    head += [f"on the {len(board.shared_labels)} shared labels"] if shared else []
    head += [f"{title} ({AGGREGATION_TITLES[other]})"] if both else []
    head += [METRIC_TITLES[m] for m in more]
    head += [f"{title}, thresholds of the other folds"] if tuned else []
    head += ["faces found", "training data"]
    head += ["reported", "gap", "reason"] if figures else []
    head += ["parameters", "size"]
    head += ["ms a face"] if any(timed.values()) else []
    head += ["licence", "status", "runtime", *(["with"] if read else []), "date", "record"]
    head += [] if ranked else ["not ranked because"]
    table = []
    for row in rows:
        record, entry = row.record, row.entry
        cells = [board.ranks[row.key].text if row.key in board.ranks else DASH] if ranked else []
        cells += [record.model.name, interval(row.headline)]
        if lacking:
            count = len(protocol.labels)
            own = row.score.mean if row.score else None
            cells += [interval(own), f"{count - len(record.model.missing_labels)} of {count}"]
        if shared:
            cells.append(number(board.on_shared(row)))
        if both:
            score = record.score(primary.metric, other)
            cells.append(interval(score.mean if score else None))
        for metric in more:
            score = record.score(metric, primary.aggregation)
            cells.append(number(score.mean.value if score else None))
        cells += [interval(row.tuned.mean if row.tuned else None)] if tuned else []
        cells.append(percent(record.coverage.detected, record.coverage.samples))
        cells.append(FLAG_TITLES[record.contamination])
        if figures:
            cells += _figure_cells(row)
        cells += [millions(entry.parameters if entry else None), megabytes(row.size)]
        if any(timed.values()):
            timing = timed[id(row)]
            mark = "" if timing is None or timing.record.model.weights == "published" else " (structure)"
            cells.append(three_digits(timing.median.value) + mark if timing else DASH)
        cells += [entry.licence.name if entry else DASH, row.status, _runtime(row)]
        cells += [row.read_as or DASH] if read else []
        cells += [record.created[:10], f"[json]({row.path})"]
        cells += [] if ranked else [row.why_not_ranked]
        table.append(cells)
    return head, table


def _runtime(row: Row) -> str:
    used = row.record.runtime
    return f"{used.runtime} {used.precision}" + ("" if used.device == "cpu" else f" {used.device}")


def _figure_cells(row: Row) -> list[str]:
    if row.beside is None:
        return [DASH, DASH, "no figure"]
    figure = row.beside.published
    return [f"{figure.text} ({figure.table})", signed(row.beside.gap), GAP_TITLES[row.beside.code]]


def per_label_metric(board: Board) -> str:
    """Returns the metric that is shown by label: accuracy has none by class, so the F1 of each class stands for it."""
    primary = board.protocol.primary.metric
    return "macro_f1" if primary in ("accuracy", "balanced_accuracy") else primary


def _per_label(board: Board, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    scores = [r.record.score(per_label_metric(board), board.protocol.primary.aggregation) for r in rows]
    labels = list(board.protocol.labels)
    if board.protocol.labels_from_copy:
        coded = {x.label for score in scores if score for x in score.per_label}
        labels = [x for x in labels if x in coded]
    table = []
    for row, score in zip(rows, scores, strict=True):
        values = {x.label: x for x in score.per_label} if score else {}
        table.append([row.record.model.name, _runtime(row), *(interval(values.get(x)) for x in labels)])
    return ["model", "runtime", *labels], table


def reported_table(collection: Collection, figures: Sequence[Published]) -> tuple[list[str], list[list[str]]]:
    """Returns head and cells of figures that stand alone."""
    head = ["system", "metric", "reported", "means the same?", "source", "model", "not measured because"]
    rows = []
    for p in figures:
        entry = collection.registry.entries.get(p.entry or "")
        source, link = place(p.source, p.table), source_link(p.source)
        rows.append(
            [p.system, METRIC_TITLES[p.metric], p.text, WHY_TITLES[p.comparable.why],
             f"[{source}]({link})" if link else source, p.entry or DASH, GAP_TITLES[not_measured(p, entry)]]
        )  # fmt: skip
    return head, rows


def _reported_per_label(board: Board, figures: Sequence[Published]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for p in figures:
        values = dict(p.by_label)
        cells = [f"{values[x]:.{p.decimals}f}" if x in values else DASH for x in board.protocol.labels]
        rows.append([p.system, METRIC_TITLES[p.metric], p.table, *cells])
    return ["system", "metric", "table", *board.protocol.labels], rows


def history_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Returns head and cells of records that are no longer shown; those that errata supersede are struck out."""
    table = []
    for row in rows:
        cells = [row.record.created[:10], row.record.model.name, _runtime(row), interval(row.headline)]
        cells.append(f"[json]({row.path})")
        if row.erratum:
            cells = [f"~~{c}~~" for c in cells]
            why = f"{REASON_TITLES[row.erratum.reason]}: {row.erratum.text}"
            by = row.erratum.superseded_by
            cells.append(f"{why} ([now]({by}))" if by else why)
        else:
            cells.append("a newer record of the same row")
        table.append(cells)
    return ["date", "model", "runtime", "value", "record", "replaced because"], table


def _markdown(collection: Collection, board: Board) -> str:
    parts = [MARK, "", f"# {board.protocol.title}", ""]
    for paragraph in introduction(board):
        parts += [paragraph, ""]
    for figure in board_figures(collection, board)[:1]:
        parts += [f"![{figure.description}](figures/{board.name}.svg)", ""]
    for title, ranked in (("Ranked", True), ("Measured, not rankable", False)):
        rows = [r for r in board.rows if r.ranked == ranked]
        if not rows:
            continue
        parts += [f"## {title}", "", markdown_table(*summary(collection, board, rows)), ""]
        shown = METRIC_TITLES[per_label_metric(board)].replace("macro-", "")
        parts += [f"Per label, {shown}:", "", markdown_table(*_per_label(board, rows)), ""]
    if board.alone:
        parts += ["## Reported only", "", "Figures of others, not measured here, in the order of the sources.", ""]
        parts += [markdown_table(*reported_table(collection, board.alone)), ""]
        if any(labelled := [p for p in board.alone if p.by_label]):
            parts += ["Per label, as reported:", "", markdown_table(*_reported_per_label(board, labelled)), ""]
        if any(p.computed for p in board.alone):
            parts += ["\\* mean over the printed labels, taken here.", ""]
        if any(p.doubtful for p in board.alone):
            parts += ["? doubtful: unclear in the source, or its row does not add up.", ""]
    gone = board.earlier + board.superseded
    if gone:
        parts += ["## Earlier and superseded records", "", markdown_table(*history_table(gone)), ""]
    if collection.machines and any("ms a face" in line for line in parts):
        parts += [f"ms a face: median of SingleStream, network alone, one thread, on {collection.machines[0]}.", ""]
    return "\n".join(parts)


_CSV_HEAD = [
    "protocol", "model", "runtime", "precision", "device", "options", "metric", "aggregation", "undetected", "label",
    "value", "low", "high", "n", "contamination", "synthetic", "complete", "ranked", "rank", "rank_best", "rank_worst",
    "state", "status", "created", "record",
]  # fmt: skip


def _csv(board: Board) -> str:
    rows = []
    for row in board.everything:
        record, used = row.record, row.record.runtime
        state = "superseded" if row.erratum else "current" if row in board.rows else "earlier"
        rank = board.ranks.get(row.key) if state == "current" else None
        places = ["", "", ""] if rank is None else [str(rank.place), str(rank.best), str(rank.worst)]
        about = [record.contamination, _lower(record.dataset.synthetic), _lower(record.dataset.complete)]
        about += [_lower(row.ranked and state == "current"), *places, state, row.status, record.created, row.path]
        for view in record.views:
            rule = view.rule.removeprefix("undetected-")
            for score in view.scores:
                entries = [("mean", score.mean, view.samples), ("mean_strict", score.mean_strict, view.samples)]
                entries += [(x.label, x, x.n) for x in score.per_label]
                for label, estimate, n in entries:
                    values = ["" if v is None else f"{v:.6f}" for v in (estimate.value, estimate.low, estimate.high)]
                    rows.append(
                        [board.name, record.model.name, used.runtime, used.precision, used.device, row.key[-1],
                         score.metric, score.aggregation, rule, label, *values, str(n), *about]
                    )  # fmt: skip
    return csv_text(_CSV_HEAD, rows)


def _lower(value: bool) -> str:
    return str(value).lower()


def csv_text(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a CSV file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def _reported_csv(collection: Collection) -> str:
    from zoo.results.reported import figures

    rows = [
        [f.file, f.table, f.system, f.variant or "", f.entry or "", f.weights or "", f.column, f.label or "", f.metric,
         f.unit, str(f.value), f.comparable.protocol or "", f.comparable.why, _lower(f.uncertain), _lower(f.adds_up)]
        for file in collection.reported
        for f in figures(file)
    ]  # fmt: skip
    head = [
        "file", "table", "system", "variant", "model", "weights", "column", "label", "metric", "unit", "value",
        "nearest_protocol", "means_the_same", "uncertain", "adds_up",
    ]  # fmt: skip
    return csv_text(head, rows)


def _index(collection: Collection, papers: dict[str, str], timed: dict[str, str]) -> str:
    rows = [
        [f"[{b.protocol.title}]({b.name}.md)", b.protocol.task, str(sum(r.ranked for r in b.rows)),
         str(sum(not r.ranked for r in b.rows)), str(len(b.alone)), f"[csv]({b.name}.csv)" if b.everything else DASH]
        for b in collection.boards
    ]  # fmt: skip
    parts = [MARK, "", "# Leaderboards", ""]
    parts += ["Every measured number comes from a record under `results/`; nothing is averaged across datasets.", ""]
    head = ["board", "task", "ranked", "measured, not rankable", "reported only", "data"]
    parts += [markdown_table(head, rows), ""]
    if timed:
        parts += ["How fast the models are: [latency](latency/README.md).", ""]
    if papers:
        parts += ["Tables of papers, with what was measured here beside them:", ""]
        parts += [f"- [{text.splitlines()[2].removeprefix('# ')}]({name})" for name, text in papers.items()]
        parts += ["", "All published figures: [reported.csv](reported.csv).", ""]
    return "\n".join(parts)


def render(collection: Collection) -> dict[str, str]:
    """Returns file name -> text of every board in Markdown and CSV."""
    papers = paper_files(collection, MARK) if collection.project else {}
    timed = latency_files(collection, MARK)
    files = {"README.md": _index(collection, papers, timed), **papers, **timed}
    for board in collection.boards:
        files[f"{board.name}.md"] = _markdown(collection, board)
        if board.everything:
            files[f"{board.name}.csv"] = _csv(board)
        for figure in board_figures(collection, board)[:1]:
            files[f"figures/{board.name}.svg"] = standalone(figure)
    if collection.project:
        files["reported.csv"] = _reported_csv(collection)
    return files


_DRAWN = {"": ("*.md",), "papers": ("*.md",), "latency": ("*.md",), "figures": ("*.svg",)}
_PAGES = {"": ("*.html",), "papers": ("*.html",), "latency": ("*.html",), "boards": ("*.html",), "models": ("*.html",)}


def _stale(out: Path, files: dict[str, str], *, site: bool) -> list[Path]:
    """Returns generated files that nothing stands behind any more."""
    old = [
        path for places in (_DRAWN, *([_PAGES] if site else [])) for folder, patterns in places.items()
        for pattern in patterns for path in sorted((out / folder).glob(pattern))
        if path.relative_to(out).as_posix() not in files and MARK in path.read_text(encoding="utf-8")[:300]
    ]  # fmt: skip
    beside = [p.with_suffix(".csv") for p in old if p.suffix == ".md"]
    return old + [p for p in beside if p.exists() and p.relative_to(out).as_posix() not in files]


def _files(out: Path, registry: Registry | None, *, site: bool) -> dict[str, str]:
    collection = collect(out, registry=registry)
    files = render(collection)
    if site:
        from zoo.boards.site import site_files  # needs jinja2, which the core installs without

        files |= site_files(collection)
    return files


def write_boards(out: Path, *, registry: Registry | None = None, site: bool = False) -> list[Path]:
    """Draws every board into ``out``; removes generated files that have no record any more.

    Args:
        out: Folder with ``results/`` in it.
        registry: Where models' parameters, licences and contracts come from; the zoo's when not given.
        site: Whether the pages of the site are drawn too.

    Raises:
        RecordError: A record does not hold together, or would be on no board.
        DependencyError: The site needs jinja2, and it is not installed.
    """
    files = _files(out, registry, site=site)
    for path in _stale(out, files, site=site):
        path.unlink()
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]


def check_boards(out: Path, *, site: bool = False) -> list[str]:
    """Compares the boards in ``out`` with what the records say; returns one line for each difference."""
    files = _files(out, None, site=site)
    wrong = [f"{p.relative_to(out).as_posix()}: no record stands behind it" for p in _stale(out, files, site=site)]
    for name, text in files.items():
        path = out / name
        if not path.exists():
            wrong.append(f"{name}: missing")
        elif path.read_bytes() != text.encode():
            wrong.append(f"{name}: differs from what the records say")
    return wrong
