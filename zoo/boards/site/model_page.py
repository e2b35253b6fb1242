"""A model's page: its contract, its files, what it was trained on, what is measured and published, how to run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.boards.collect import Collection, Timing
from zoo.boards.leaderboard import headline_title
from zoo.boards.published import WHY_TITLES, place, source_link
from zoo.boards.recommend import size_of
from zoo.boards.site import tables as t
from zoo.boards.site.shared import (
    TONES,
    beside,
    commercial_use,
    count,
    estimate,
    network_alone,
    rate,
    run_as,
    timed_as,
    timing_filters,
)
from zoo.boards.site.tables import Cell, Column, Line, Table
from zoo.boards.text import DASH, FLAG_TITLES, METRIC_TITLES, TASK_TITLES, megabytes, millions, three_digits
from zoo.protocols import list_protocols
from zoo.registry import ModelEntry
from zoo.results.reported import Figure
from zoo.results.reported import figures as reported_figures

_OTHER_TITLES = {
    "seconds": "seconds", "seconds_std": "standard deviation, seconds", "ms": "milliseconds",
    "ms_std": "standard deviation, ms", "fps": "frames/s", "file_size": "file size", "parameters": "parameters",
    "flops": "floating-point operations", "macs": "multiply-adds", "uar": "unweighted average recall",
}  # fmt: skip


def model_page(collection: Collection, name: str) -> dict[str, Any]:
    """Returns what the template needs."""
    entry = collection.registry.entries.get(name)
    return {
        "name": name, "entry": entry, "facts": facts(entry) if entry else [], "steps": _steps(entry),
        "weights": _weights(entry), "outputs": _outputs(entry), "training": _training(entry),
        "commands": _commands(collection, entry), "measured": _measured(collection, name),
        "reported": _reported(collection, name),
        **_latency(collection, name), "commercial": commercial_use(entry), "tones": TONES,
    }  # fmt: skip


def facts(entry: ModelEntry) -> list[tuple[str, str, str | None]]:
    """Returns what a model is: title, text, and where it leads."""
    paper = entry.paper
    found: list[tuple[str, str, str | None]] = [
        ("Tasks", ", ".join(TASK_TITLES[x] for x in entry.tasks), None), ("Architecture", entry.architecture, None),
        ("Parameters", millions(entry.parameters), None), ("Size", megabytes(size_of(entry)), None),
        ("Licence", entry.licence.name, entry.licence.url),
    ]  # fmt: skip
    if paper:
        link = paper.url or (f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else None)
        found.append(("Paper", f"{paper.title}{f' ({paper.year})' if paper.year else ''}", link))
    if entry.repository:
        link = entry.repository if entry.repository.startswith("https://") else None
        found.append(("Repository", entry.repository.removeprefix("https://"), link))
    if entry.preprocess:
        found.append(("Contract", f"{entry.contract_hash} (preprocessing {entry.preprocess.hash})", None))
    return found


def _measured(collection: Collection, name: str) -> Table:
    columns = [
        Column("board", "Board", "wide"), Column("metric", "Metric", "short"), Column("value", "Value", "number"),
        Column("rank", "Rank", "number"), Column("training", "Training data", "flag"),
        Column("reported", "Reported", "number"), Column("gap", "Gap", "number"), Column("reason", "Reason"),
        Column("runtime", "Run as", "short"), Column("record", "Record", "short"),
    ]  # fmt: skip
    lines = []
    for board in collection.boards:
        for row in board.rows:
            if row.record.model.name != name:
                continue
            rank, record = board.ranks.get(row.key), row.record
            flag = t.text(
                FLAG_TITLES[record.contamination],
                tone=TONES[record.contamination],
                title=record.contamination_note or "",
            )
            cells = [
                t.text(board.protocol.title, href=f"../boards/{board.name}.html"),
                t.text(headline_title(board.protocol)), estimate(row.headline),
                Cell(rank.text, sort=rank.place) if rank else Cell(DASH, title=row.why_not_ranked), flag, *beside(row),
                t.text(run_as(row)), Cell(record.created[:10], sort=record.created, href=f"../{row.path}"),
            ]  # fmt: skip
            lines.append(Line(cells))
    return Table("measured", "Measured here", columns, lines, "Measured here")


def _reported(collection: Collection, name: str) -> Table:
    """One line a printed row and metric: the figure over everything, and those by label."""
    columns = [
        Column("source", "Source"), Column("system", "As"), Column("metric", "Metric", "short"),
        Column("value", "Value", "number"), Column("labels", "By label", "wide"), Column("same", "Means the same?"),
    ]  # fmt: skip
    rows: dict[tuple[str, ...], list[Figure]] = {}
    for file in collection.reported:
        for figure in reported_figures(file):
            if figure.entry == name:
                column = "" if figure.label or figure.column == "average" else figure.column
                system = figure.system + (f" ({figure.variant})" if figure.variant else "")
                rows.setdefault((file.name, figure.table, system, figure.metric, column), []).append(figure)
    # The average of a row that has labels stands beside them, not on a line of its own.
    lines = []
    for (_, table, system, metric, column), members in rows.items():
        first = members[0]
        whole = next((f for f in members if f.label is None), None)
        labels = ", ".join(f"{f.label} {f.value}" for f in members if f.label)
        unit = " %" if first.unit == "percent" else f" {first.unit}" if first.unit in ("ms", "s", "MB") else ""
        near = first.comparable.protocol
        same = WHY_TITLES[first.comparable.why] + (f" ({near})" if near else "")
        title = METRIC_TITLES.get(metric) or _OTHER_TITLES.get(metric, metric.replace("_", " "))
        title += f", {column}" if metric in METRIC_TITLES and column and column != metric else ""
        cells = [
            t.text(place(first.source, table), href=source_link(first.source), title=first.source.title),
            t.text(system, title=first.note or ""), t.text(title),
            t.figure(float(whole.value), f"{whole.value}{unit}") if whole else Cell(DASH),
            t.text(labels + (unit if labels and not whole else "")), t.text(same, title=first.comparable.text),
        ]  # fmt: skip
        lines.append(Line(cells))
    return Table("reported", "Reported by others", columns, lines, "Reported by others")


def _latency(collection: Collection, name: str) -> dict[str, Any]:
    """Returns the table of the model's own timings; where only its structure was timed, the way to those cases."""
    entry = collection.registry.entries.get(name)
    timings = collection.timings_of(entry, name)
    structure = entry.architecture if entry and any(x.record.model.weights == "random" for x in timings) else None
    return {
        "timed": None if structure or not timings else _timed(timings), "structure": structure,
        "structure_timed": _structure_timed(timings) if structure else [],
    }  # fmt: skip


def _structure_timed(timings: Sequence[Timing]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Returns each machine with its fastest single picture, and the title and address of each suite's cases."""
    found = []
    for machine in dict.fromkeys(x.machine for x in timings):
        here = [x for x in timings if x.machine == machine]
        alone = [x for x in here if network_alone(x) and x.median.value is not None]
        fastest = min(alone, key=lambda x: (x.median.value, x.path), default=None)
        shown = f"{three_digits(fastest.median.value)} ms ({timed_as(fastest)})" if fastest else DASH
        suites = []
        for ref in dict.fromkeys(x.record.suite.ref for x in here):
            number = sum(x.record.suite.ref == ref for x in here)
            suites.append((f"{ref}, {count(number, 'case')}", f"../latency/{ref}.html#q={here[0].record.model.name}"))
        found.append((machine, shown, suites))
    return found


def _timed(timings: Sequence[Timing]) -> Table:
    columns = [
        Column("run", "Runtime"), Column("precision", "Precision"), Column("threads", "Threads", "number"),
        Column("stage", "Stage"), Column("scenario", "Scenario", "short"), Column("p50", "p50 ms", "number"),
        Column("p90", "p90 ms", "number"), Column("p99", "p99 ms", "number"), Column("rate", "Images/s", "number"),
        Column("memory", "Peak MiB", "number"), Column("machine", "Machine"), Column("record", "Record", "short"),
    ]  # fmt: skip
    lines = []
    for timing in sorted(timings, key=lambda x: (x.machine, x.median.value or 0.0, x.path)):
        record, asked = timing.record, timing.record.asked
        cells = [
            t.text(asked.how), t.text(asked.precision), t.figure(asked.threads, str(asked.threads)),
            t.text(record.stage), t.text(record.scenario.title),
            *(t.milliseconds(record.percentile(p)) for p in (50, 90, 99)), rate(timing),
            t.figure(record.peak_rss_mib, three_digits(record.peak_rss_mib)),
            t.text(timing.machine_code, title=timing.machine),
            Cell(record.created[:10], sort=record.created, href=f"../{timing.path}"),
        ]  # fmt: skip
        lines.append(Line(cells, timing_filters(timing)))
    machines = sorted({(x.machine_code, x.machine) for x in timings})
    about = "; ".join(f"{code}: {title.rsplit(' (', 1)[0]}" for code, title in machines) + "."
    folded = f"{len(lines)} cases" if len(lines) > 12 else ""
    return Table("latency", "Latency", columns, lines, "Latency", about, folded)


def _steps(entry: ModelEntry | None) -> list[tuple[str, str]]:
    if entry is None or entry.preprocess is None:
        return []
    p = entry.preprocess
    options = ", ".join(f"{k} {v}" for k, v in p.align.model_dump().items() if k != "method")
    return [
        ("Detector", p.detector), ("Landmarks", p.landmarks), ("Which face", p.faces),
        ("Crop", p.align.method + (f" ({options})" if options else "")),
        ("Input", f"{p.size[0]} × {p.size[1]}, {p.colour}"), ("Interpolation", p.interpolation),
        ("Scale", f"{p.scale:.6g}"), ("Mean", ", ".join(f"{x:g}" for x in p.mean)),
        ("Standard deviation", ", ".join(f"{x:g}" for x in p.std)),
    ]  # fmt: skip


def _weights(entry: ModelEntry | None) -> Table | None:
    if entry is None or not entry.weights:
        return None
    columns = [
        Column("file", "File"), Column("role", "Role"), Column("precision", "Precision"),
        Column("size", "Size", "number"), Column("hash", "Hash", "code"), Column("source", "From", "wide"),
    ]  # fmt: skip
    lines = []
    for weight in entry.weights:
        digest = f"sha256 {weight.sha256}" if weight.sha256 else f"git {weight.git_sha1}"
        role = weight.role + (f", fold {weight.fold.name}" if weight.fold else "")
        cells = [
            t.text(weight.name),
            t.text(role),
            t.text(weight.precision),
            t.figure(weight.size, megabytes(weight.size)),
        ]
        cells += [t.text(digest), t.text(weight.sources[0], title="; ".join(weight.sources[1:]))]
        lines.append(Line(cells))
    return Table("weights", "Weights files", columns, lines, "Weights")


def _outputs(entry: ModelEntry | None) -> list[tuple[str, str, str]]:
    found = []
    for output in entry.outputs if entry else ():
        about = [f"activation {output.activation}"] if output.activation != "none" else []
        about += [f"times {output.scale:g}"] if output.scale != 1 else []
        about += [f"cut to {output.clamp[0]:g} to {output.clamp[1]:g}"] if output.clamp else []
        about += [f"present from {output.threshold:g}"] if output.threshold is not None else []
        found.append((TASK_TITLES[output.task], ", ".join(output.labels), ", ".join(about)))
    return found


def _training(entry: ModelEntry | None) -> list[tuple[str, str, str, str]]:
    """Returns what a model was trained on, and which boards that concerns."""
    found = []
    for one in entry.trained_on if entry else ():
        subjects = one.subjects if isinstance(one.subjects, str) else ", ".join(one.subjects)
        part = f"split {one.split}" if one.split else f"subjects: {subjects}"
        concerned = [
            p.title for p in list_protocols() if p.dataset == one.dataset.lower() and entry and p.task in entry.tasks
        ]
        found.append((one.dataset, f"{one.use}, {part}", "; ".join(concerned) or DASH, one.source or ""))
    return found


def _commands(collection: Collection, entry: ModelEntry | None) -> list[str]:
    if entry is None or not entry.runnable:
        return []
    name = entry.name
    lines = [f"python -m zoo.{verb} model={name}" for verb in ("show", "fetch")]
    lines.append(f"python -m zoo.predict model={name} input=photo.jpg")
    bound = {w.fold.protocol for w in entry.weights if w.fold}
    figures = {b.protocol.id: len(b.published) for b in collection.boards}
    real = [
        p for p in list_protocols()
        if p.task in entry.tasks and not p.synthetic and not p.open and (not bound or p.id in bound)
    ]  # fmt: skip
    if real:  # the one that most figures can be compared with
        p = max(real, key=lambda p: figures.get(p.id, 0))
        lines.append(f"python -m zoo.eval model={name} dataset={p.dataset} protocol={p.id} root=/path/to/your/copy")
    return lines
