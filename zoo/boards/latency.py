"""Latency boards: one for each suite, a pure function of the records, in ``<out>/latency``.

A ratio is shown only between records of one run; where the two cases took turns it comes with an interval, over the
rounds that both have. What is INVALID is listed apart, with its reasons and without figures.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

from zoo.boards.collect import Collection, Timing
from zoo.boards.text import DASH, markdown_table, three_digits
from zoo.latency.statistics import paired_ratio
from zoo.results.latency_record import LatencyRecord
from zoo.results.record import Estimate

FOLDER = "latency"

Table = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class LatencyRow:
    """One case on one machine: its newest usable record, or its newest one where that is not usable."""

    timing: Timing
    ratio: Estimate
    """How many times faster than the suite's baseline in the same run."""

    @property
    def record(self) -> LatencyRecord:
        """The record."""
        return self.timing.record

    @property
    def section(self) -> tuple[str, int, str]:
        """What stands together: stage, threads, scenario."""
        return self.record.stage, self.record.asked.threads, self.record.scenario.title

    @property
    def reasons(self) -> str:
        """Why it is not to be used."""
        erratum = self.timing.erratum
        struck = [f"struck out: {erratum.text}"] if erratum else []
        return "; ".join([*struck, *self.record.verdict.reasons])


@dataclass(frozen=True)
class LatencyBoard:
    """All rows of one suite."""

    ref: str
    rows: tuple[LatencyRow, ...]

    @property
    def title(self) -> str:
        """The suite's title, as its newest record has it."""
        return max((r.record for r in self.rows), key=lambda r: r.created).suite.title


def _rates(record: LatencyRecord) -> dict[int, float]:
    """Round -> seconds an image, of the kept slices."""
    return {s.round: s.seconds / s.images for s in record.slices if s.kept and s.images}


def _same(record: LatencyRecord) -> tuple[object, ...]:
    """What a case and its baseline have in common."""
    model = record.model
    return model.name, model.weights, model.tasks, record.stage, record.scenario, record.asked.threads


def _ratio(timing: Timing, run: Iterable[Timing]) -> Estimate:
    """Returns how many times faster a case is than its baseline; undefined where one of them is not usable."""
    record = timing.record
    found = [t for t in run if record.suite.baseline.is_this(t.record.asked) and _same(t.record) == _same(record)]
    if not found or not (found[0].usable and timing.usable):
        return Estimate(value=None)
    base = found[0].record
    if record.scenario.name == "Offline":  # there speed is images a second
        ours, theirs = _rates(record), _rates(base)
    else:
        ours, theirs = record.round_medians(), base.round_medians()
    if base.group == record.group:
        return paired_ratio(ours, theirs)
    return Estimate(value=statistics.median(theirs.values()) / statistics.median(ours.values()))


def collect_latency(collection: Collection) -> list[LatencyBoard]:
    """Sorts the latency records of a collection into boards."""
    runs: dict[tuple[str, str], list[Timing]] = {}
    chosen: dict[str, dict[tuple[object, ...], Timing]] = {}
    for timing in sorted(collection.timings, key=lambda t: (t.record.created, t.path)):
        record = timing.record
        runs.setdefault((record.suite.ref, record.run), []).append(timing)
        # A case whose newest measurement failed shows the failure, and its last good figure beside it.
        chosen.setdefault(record.suite.ref, {})[(*timing.key, timing.usable)] = timing
    boards = []
    for ref in sorted(chosen):
        cases = chosen[ref]
        rows = [
            LatencyRow(t, _ratio(t, runs[ref, t.record.run]))
            for key, t in cases.items()
            if t.usable or (*key[:-1], True) not in cases or cases[*key[:-1], True].record.created < t.record.created
        ]
        boards.append(LatencyBoard(ref, tuple(sorted(rows, key=_order))))
    return boards


_SCENARIOS = ("SingleStream", "MultiStream", "Offline", "Video")


def _order(row: LatencyRow) -> tuple[object, ...]:
    record = row.record
    median = row.timing.median.value
    value = float("inf") if median is None else median / record.scenario.batch
    scenario = _SCENARIOS.index(record.scenario.name), record.scenario.batch, record.scenario.title
    section = record.stage, scenario, record.asked.threads
    return row.timing.machine, section, record.model.name, record.model.tasks, value, row.timing.path


def span(estimate: Estimate | None) -> str:
    """Writes a value with its interval: ``5.61 [5.58, 5.66]``; a bound that the samples cannot give is ``?``."""
    if estimate is None or estimate.value is None:
        return DASH
    if estimate.low is None and estimate.high is None:
        return three_digits(estimate.value)
    low, high = ("?" if v is None else three_digits(v) for v in (estimate.low, estimate.high))
    return f"{three_digits(estimate.value)} [{low}, {high}]"


def _name(record: LatencyRecord, tasks: bool) -> str:
    random = " (random weights)" if record.model.weights == "random" else ""
    return record.model.name + random + (f": {', '.join(record.model.tasks)}" if tasks and record.model.tasks else "")


def _how(record: LatencyRecord) -> list[str]:
    a = record.asked
    runtime = a.title
    return [runtime + (f", {a.streams} streams" if a.streams > 1 else ""), a.precision]


def _size(record: LatencyRecord) -> str:
    return DASH if record.model.size is None else three_digits(record.model.size / 1e6)


def rounds_of(record: LatencyRecord) -> tuple[float, float] | None:
    """Returns mean and standard deviation of the kept rounds' seconds; None for fewer than two."""
    seconds = [s.seconds for s in record.slices if s.kept]
    return (statistics.mean(seconds), statistics.stdev(seconds)) if len(seconds) > 1 else None


def _percentile(percent: float) -> Callable[[LatencyRow], str]:
    return lambda row: span(row.record.percentile(percent))


def _value(percent: float) -> Callable[[LatencyRow], str]:
    def write(row: LatencyRow) -> str:
        found = row.record.percentile(percent)
        return three_digits(found.value if found else None)

    return write


def _round(place: int) -> Callable[[LatencyRow], str]:
    def write(row: LatencyRow) -> str:
        found = rounds_of(row.record)
        return three_digits(found[place] if found else None)

    return write


def _columns(first: LatencyRecord) -> list[tuple[str, Callable[[LatencyRow], str]]]:
    baseline = first.suite.baseline.title
    ratio: list[tuple[str, Callable[[LatencyRow], str]]] = [(f"times {baseline}", lambda row: span(row.ratio))]
    rate: list[tuple[str, Callable[[LatencyRow], str]]] = [("images/s", lambda row: span(row.record.throughput))]
    if first.suite.images is not None:
        count = f"{first.suite.images} images"
        return [
            (f"Avg., s for {count}", _round(0)), ("Std., s", _round(1)),
            ("FPS", lambda row: three_digits(row.record.throughput.value if row.record.throughput else None)), *ratio,
        ]  # fmt: skip
    if first.scenario.name == "Offline":
        return [*rate, ("p50 ms a batch", _percentile(50)), *ratio]
    if first.scenario.name == "Video":
        return [
            ("dropped", lambda row: _dropped(row.record)),
            ("real-time factor", lambda row: span(row.record.frames.real_time_factor if row.record.frames else None)),
            ("p50 ms", _percentile(50)), ("p99 ms", _percentile(99)), *ratio,
        ]  # fmt: skip
    return [
        ("p50 ms", _percentile(50)), ("p90 ms", _value(90)), ("p95 ms", _value(95)), ("p99 ms", _percentile(99)), *rate,
        *ratio,
    ]  # fmt: skip


def _dropped(record: LatencyRecord) -> str:
    return DASH if record.frames is None else f"{record.frames.dropped} of {record.frames.arrived}"


def _stages(record: LatencyRecord) -> str:
    if not record.stages:
        return DASH
    total = sum(record.stages.values()) or 1.0
    return ", ".join(f"{name} {time / total:.0%}" for name, time in record.stages.items())


def _section(rows: list[LatencyRow]) -> Table:
    columns = _columns(rows[0].record)
    several = len({(r.record.model.name, r.record.model.tasks) for r in rows}) > len(
        {r.record.model.name for r in rows}
    )
    shares = any(r.record.stages for r in rows)
    head = ["model", "runtime", "precision", *(title for title, _ in columns)]
    on_gpu = any(r.record.peak_gpu_mib is not None for r in rows)
    head += [*(["share of time"] if shares else []), "load ms", "first ms", "peak MiB"]
    head += [*(["GPU MiB"] if on_gpu else []), "size MB", "date", "record"]
    table = []
    for row in rows:
        record = row.record
        cells = [_name(record, several), *_how(record), *(write(row) for _, write in columns)]
        cells += [_stages(record)] if shares else []
        start = record.startup
        cells += [three_digits(start.load_ms if start else None), three_digits(start.first_ms if start else None)]
        cells += [three_digits(record.peak_rss_mib)]
        cells += [three_digits(record.peak_gpu_mib)] if on_gpu else []
        cells += [_size(record), record.created[:10], f"[json](../{row.timing.path})"]
        table.append(cells)
    return head, table


def _all_of(count: int) -> str:
    return "All figures of this case" if count == 1 else f"All figures of these {count} cases"


def reasons_of(count: int) -> str:
    """``3 cases and their reasons``."""
    return "1 case and its reasons" if count == 1 else f"{count} cases and their reasons"


def section_title(row: LatencyRow) -> str:
    """``SingleStream, 2 threads, encoder``."""
    stage, threads, scenario = row.section
    return f"{scenario}, {threads} thread{'s' if threads > 1 else ''}, {stage}"


def _folded(title: str, text: str) -> list[str]:
    """Folds a long table; Markdown inside needs the empty lines."""
    return ["<details>", f"<summary>{title}</summary>", "", text, "", "</details>", ""]


def latency_markdown(board: LatencyBoard, mark: str) -> str:
    """Draws a board.

    Args:
        board: The board.
        mark: First line of generated files.
    """
    first = board.rows[0].record.suite
    about = (
        f"Suite `{board.ref}`. Durations of a query in milliseconds with 95 % intervals; `?` is a bound that the "
        f"samples cannot give. Ratios are to the same model in {first.baseline.title} in the same run; above 1 "
        "is faster."
    )
    if any(r.record.model.weights == "random" for r in board.rows):
        about += " Random weights: the structure's time is real, its outputs mean nothing."
    if first.baseline.runtime == "torch" and first.baseline.device == "cpu":
        about += " Torch in eager mode is a weak baseline on processors."
    parts = [mark, "", f"# {board.title}", "", about]
    for machine in dict.fromkeys(r.timing.machine for r in board.rows):
        here = [r for r in board.rows if r.timing.machine == machine]
        parts += ["", f"## {machine}", ""]
        usable = [r for r in here if r.timing.usable]
        for section in dict.fromkeys(r.section for r in usable):
            found = [r for r in usable if r.section == section]
            parts += [f"### {section_title(found[0])}", ""]
            if len({tuple(_how(r.record)) for r in found}) > 1:
                unit = "Images a second" if headline(found[0])[1] == "images/s" else "Median in milliseconds"
                parts += [f"{unit}, and in brackets how many times as fast as {first.baseline.title}:", ""]
                parts += [markdown_table(*_grid([r for r in here if r.section == section])), ""]
            parts += _folded(_all_of(len(found)), markdown_table(*_section(found)))
        if wrong := [r for r in here if not r.timing.usable]:
            parts += ["### INVALID", "", "Measured or tried, and not to be used.", ""]
            parts += _folded(reasons_of(len(wrong)), markdown_table(*_wrong(wrong)))
    return "\n".join(parts).rstrip("\n") + "\n"


Way = tuple[str, str]
"""Runtime and precision, as the tables write them."""


def overview(rows: Sequence[LatencyRow]) -> tuple[list[Way], list[tuple[str, list[LatencyRow | None]]]]:
    """Lays the rows of a section out as a grid; a usable row comes before one that is not.

    Args:
        rows: Of one machine and section.

    Returns:
        The ways of running in order, the baseline's first; and for each model its name and its row in each way.
    """
    ways = sorted({tuple(_how(r.record)) for r in rows})
    baseline = rows[0].record.suite.baseline
    first = {tuple(_how(r.record)) for r in rows if baseline.is_this(r.record.asked)}
    ways.sort(key=lambda way: way not in first)
    tasks = len({(r.record.model.name, r.record.model.tasks) for r in rows}) > len({r.record.model.name for r in rows})
    models: dict[str, dict[tuple[str, ...], LatencyRow]] = {}
    for row in sorted(rows, key=lambda r: (r.record.model.name, not r.timing.usable)):
        models.setdefault(_name(row.record, tasks), {}).setdefault(tuple(_how(row.record)), row)
    return [(w[0], w[1]) for w in ways], [(n, [found.get(w) for w in ways]) for n, found in models.items()]


def headline(row: LatencyRow) -> tuple[float | None, str]:
    """Returns the figure of a row in a grid and its unit: images a second where that is speed, else milliseconds."""
    if row.record.scenario.name == "Offline":
        return (row.record.throughput.value if row.record.throughput else None), "images/s"
    return row.timing.median.value, "ms"


def _grid(rows: Sequence[LatencyRow]) -> Table:
    ways, models = overview(rows)
    table = []
    for name, cells in models:
        texts = []
        for row in cells:
            if row and not row.timing.usable:
                texts.append("INVALID")
                continue
            value = headline(row)[0] if row else None
            ratio = f" ({row.ratio.value:.2f}×)" if row and row.ratio.value is not None else ""
            texts.append(three_digits(value) + ratio)
        table.append([name, *texts])
    return ["model", *(" ".join(w) for w in ways)], table


def _wrong(rows: list[LatencyRow]) -> Table:
    several = len({r.record.model.tasks for r in rows}) > 1
    table = []
    for row in rows:
        stage, threads, scenario = row.section
        cells = [_name(row.record, several), *_how(row.record), f"{scenario}, {threads} threads, {stage}", row.reasons]
        table.append([*cells, row.record.created[:10], f"[json](../{row.timing.path})"])
    return ["model", "runtime", "precision", "case", "reasons", "date", "record"], table


def latency_rows(rows: Iterable[LatencyRow]) -> Table:
    """Returns every figure as text, one record a row."""
    head = [
        "suite", "run", "machine", "model", "weights", "tasks", "stage", "scenario", "batch", "runtime", "version",
        "device", "variant", "precision", "threads", "streams", "valid", "reasons",
    ]  # fmt: skip
    for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "images_per_second", "ratio", "real_time_factor"):
        head += [name, f"{name}_low", f"{name}_high"]
    head += [
        "dropped", "samples", "slices", "slices_kept", "load_ms", "first_ms", "peak_rss_mib", "peak_gpu_mib",
        "size_bytes", "parameters", "flops", "joules_per_image", "gpu_joules_per_image", "parity_reference",
        "parity_relative", "large_pages", "created", "record",
    ]  # fmt: skip
    table = []
    for row in rows:
        r = row.record
        cells: list[object] = [
            r.suite.ref, r.run, row.timing.machine, r.model.name, r.model.weights, "+".join(r.model.tasks), r.stage,
            r.scenario.name, r.scenario.batch, r.asked.runtime, r.runtime.version if r.runtime else None,
            r.asked.device, r.asked.variant if r.asked.runtime == "torch" else None, r.asked.precision,
            r.asked.threads, r.asked.streams, str(row.timing.usable).lower(), row.reasons,
        ]  # fmt: skip
        estimates: list[Estimate | None] = [*(r.percentile(p) for p in (50, 90, 95, 99)), r.throughput, row.ratio]
        for estimate in [*estimates, r.frames.real_time_factor if r.frames else None]:
            bounds = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
            cells += ["" if v is None else f"{v:.6g}" for v in bounds]
        worst = [o.relative for o in r.parity.outputs if o.relative is not None] if r.parity else []
        cells += [
            r.frames.dropped if r.frames else None, r.samples.count if r.samples else 0, len(r.slices),
            sum(s.kept for s in r.slices), _short(r.startup.load_ms if r.startup else None),
            _short(r.startup.first_ms if r.startup else None), r.peak_rss_mib, r.peak_gpu_mib, r.model.size,
            r.model.parameters, r.model.flops, _short(r.joules_per_image), _short(r.gpu_joules_per_image),
            r.parity.reference if r.parity else None,
            _short(max(worst, default=None)), _short(r.startup.large_pages if r.startup else None), r.created,
            row.timing.path,
        ]  # fmt: skip
        table.append(["" if c is None else str(c) for c in cells])
    return head, table


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _csv(board: LatencyBoard) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head, table = latency_rows(board.rows)
    writer.writerow(head)
    writer.writerows(table)
    return buffer.getvalue()


def latency_files(collection: Collection, mark: str) -> dict[str, str]:
    """Returns path below the boards' folder -> text of every latency board and their index.

    Args:
        collection: What is drawn from.
        mark: First line of generated Markdown.
    """
    files: dict[str, str] = {}
    index = []
    for board in collect_latency(collection):
        files[f"{FOLDER}/{board.ref}.md"] = latency_markdown(board, mark)
        files[f"{FOLDER}/{board.ref}.csv"] = _csv(board)
        usable = sum(r.timing.usable for r in board.rows)
        index.append(
            [f"[{board.title}]({board.ref}.md)", str(usable), str(len(board.rows) - usable), f"[csv]({board.ref}.csv)"]
        )
    if index:
        head = f"{mark}\n\n# Latency\n\nEvery figure comes from a record under `results/`.\n\n"
        files[f"{FOLDER}/README.md"] = head + markdown_table(["suite", "valid", "invalid", "data"], index) + "\n"
    return files


def run_rows(collection: Collection, paths: Container[str]) -> list[LatencyRow]:
    """Returns the rows of certain records, in the order of a board, with their ratios within their run.

    Args:
        collection: What is drawn from.
        paths: Paths of the records relative to the boards' folder.
    """
    timings = [t for t in collection.timings if t.path in paths]
    return sorted((LatencyRow(t, _ratio(t, timings)) for t in timings), key=_order)


def latency_tables(rows: Sequence[LatencyRow], style: str) -> str:
    """Writes rows for the screen: a table for each scenario and thread count, then what is INVALID.

    Args:
        rows: From :func:`run_rows`.
        style: Of tabulate.
    """
    from tabulate import tabulate

    parts = []
    usable = [r for r in rows if r.timing.usable]
    for section in dict.fromkeys(r.section for r in usable):
        stage, threads, scenario = section
        head, table = _section([r for r in usable if r.section == section])
        head, table = head[:-1], [cells[:-1] for cells in table]  # the link is for boards
        parts += [f"{scenario}, {threads} thread{'s' if threads > 1 else ''}, {stage}", ""]
        parts += [tabulate(table, head, tablefmt=style, disable_numparse=True), ""]
    if wrong := [r for r in rows if not r.timing.usable]:
        head, table = _wrong(wrong)
        parts += [
            "INVALID",
            "",
            tabulate([c[:-2] for c in table], head[:-2], tablefmt=style, disable_numparse=True),
            "",
        ]
    return "\n".join(parts).rstrip("\n")
