"""What has to be true of a record before it is committed, beyond that it can be read and belongs to a protocol."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from zoo.boards.collect import Board, Collection, Row, Timing
from zoo.latency.statistics import percentile
from zoo.registry import ModelEntry
from zoo.results.record import Estimate, ResultRecord

LARGEST = {"accuracy": 512 * 1024, "latency": 4 * 1024 * 1024}
"""Bytes of a record by its kind. An accuracy record holds sums, never values of frames; what is larger holds more."""

_RANGES = {
    "pcc": (-1.0, 1.0), "icc31": (-1.0, 1.0), "ccc": (-1.0, 1.0), "mae": (0.0, 5.0), "mse": (0.0, 25.0),
    "rmse": (0.0, 5.0),
}  # fmt: skip
"""Of values; shares and everything else lie in 0 to 1. Intensities run from 0 to 5."""

# A path on somebody's machine, or an address: neither says anything about a measurement.
_PRIVATE = re.compile(r"(?:^|[\s'\"(=])(/(?:home|Users|root|mnt|media|data)/\S+|[A-Za-z]:\\\S+)|\b[\w.+-]+@[\w-]+\.\w+")


SAME_SCORE = 0.002
"""Largest difference of a headline that counts as the same; kernels of another processor move the third decimal."""


def check_records(collection: Collection) -> list[str]:
    """Returns one line for each thing that is wrong with the records of a folder; superseded ones are left alone."""
    wrong = []
    for board in collection.boards:
        for row in (*board.rows, *board.earlier):
            wrong += [f"{row.path}: {text}" for text in accuracy_problems(row, collection.out)]
        wrong += moved(board)
    for timing in collection.timings:
        if timing.erratum is None:
            entry = collection.registry.entries.get(timing.record.model.name)
            wrong += [f"{timing.path}: {text}" for text in latency_problems(timing, entry, collection.out)]
    return wrong


def moved(board: Board) -> list[str]:
    """Returns the records whose score is another than that of the record before, though nothing has a new version.

    The same are: the protocol, the entry's contract, the weights, the copy, the way it was run, and the zoo's version.
    """
    found = []
    newer: dict[tuple[object, ...], Row] = {}
    for row in (*board.rows, *board.earlier):  # newest first
        record = row.record
        same = (
            row.key, record.model.contract, tuple((w.name, w.sha256) for w in record.model.weights),
            record.dataset.manifest, record.code.version,
        )  # fmt: skip
        after = newer.get(same)
        if after is not None:
            new, old = after.headline.value, row.headline.value
            if (new is None) != (old is None) or (new is not None and old is not None and abs(new - old) > SAME_SCORE):
                found.append(
                    f"{after.path}: its score moved without a new version, {_figure(new)} after {_figure(old)} "
                    f"({row.path}): give what changed a new version, or supersede the wrong one in errata.yaml"
                )
        newer[same] = row
    return found


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def accuracy_problems(row: Row, out: Path) -> list[str]:
    """Returns what is wrong with an accuracy record."""
    record, protocol = row.record, row.protocol
    found = [*_file(out / row.path, record.kind), *_private(record.model_dump(mode="json"))]
    if row.entry is None:
        found.append(f"the registry has no model '{record.model.name}'")
    else:
        found += _model(record, row.entry)
    if record.dataset.name != protocol.dataset or record.task != protocol.task:
        found.append(f"{record.dataset.name}, {record.task} is not what {protocol.ref} scores")
    if protocol.synthetic and not record.dataset.synthetic:  # a rendered DISFA may be run under DISFA's own protocol
        found.append("real faces under a protocol of rendered ones")
    found += _coverage(record)
    for view in (*record.views, *([record.tuned] if record.tuned else [])):
        for score in view.scores:
            where = f"{score.metric} ({score.aggregation}, {view.rule})"
            if score.metric not in protocol.metrics:
                found.append(f"{where}: not a metric of {protocol.ref}")
            for label in score.per_label:
                if label.label not in protocol.labels:
                    found.append(f"{where}: {label.label} is not a label of {protocol.ref}")
                if label.n > view.samples or (label.n_pos or 0) > label.n:
                    found.append(f"{where}, {label.label}: {label.n_pos} of {label.n} of {view.samples} samples")
            values: list[Estimate] = [score.mean, score.mean_defined, score.mean_strict, *score.per_label]
            found += [f"{where}: {text}" for text in _values(values, score.metric)]
    if not record.views or record.views[0].rule != "undetected-as-error":
        found.append("the primary rule for missed faces has no scores")
    if len(record.subjects) > record.dataset.subjects:
        found.append(f"{len(record.subjects)} subjects' scores of {record.dataset.subjects} subjects")
    return list(dict.fromkeys(found))


def _file(path: Path, kind: str) -> Iterator[str]:
    if path.stat().st_size > LARGEST[kind]:
        yield f"{path.stat().st_size} bytes: a record holds no values of single frames"


def _private(data: Any, where: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _private(value, f"{where}.{key}" if where else key)
    elif isinstance(data, list):
        for value in data:
            yield from _private(value, where)
    elif isinstance(data, str) and _PRIVATE.search(data):
        yield f"{where} names a place on somebody's machine, or an address: {data[:80]}"


def _model(record: ResultRecord, entry: ModelEntry) -> Iterator[str]:
    if entry.contract_hash == record.model.contract:
        known = {w.name: w.sha256 for w in entry.weights}
        for used in record.model.weights:
            if used.name not in known:
                yield f"'{used.name}' is not a file of '{entry.name}'"
            elif known[used.name] not in (None, used.sha256):
                yield f"'{used.name}' has another hash than in the registry"
    whole = [
        t for t in entry.trained_on
        if t.dataset.lower() == record.dataset.name and t.subjects == "all" and t.split is None and t.use == "training"
    ]  # fmt: skip
    if whole and record.contamination == "held_out" and not record.dataset.synthetic:
        yield f"says held out, and the registry says that '{entry.name}' was trained on all of {record.dataset.name}"


def _coverage(record: ResultRecord) -> Iterator[str]:
    c = record.coverage
    if c.detected + c.undetected != c.samples or c.undecodable > c.undetected:
        yield f"coverage does not add up: {c.detected} + {c.undetected} of {c.samples}, {c.undecodable} not decoded"
    if c.expected is not None and c.samples > c.expected:
        yield f"{c.samples} samples of {c.expected}"


def _values(estimates: Iterable[Estimate], metric: str) -> Iterator[str]:
    low, high = _RANGES.get(metric, (0.0, 1.0))
    for found in estimates:
        if found.value is not None and not low <= found.value <= high:
            yield f"{found.value} is not between {low:g} and {high:g}"
        ends = found.low, found.high
        if any(v is not None and not math.isfinite(v) for v in ends) or (None not in ends and ends[0] > ends[1]):  # type: ignore[operator]
            yield f"the interval [{found.low}, {found.high}] is none"


def latency_problems(timing: Timing, entry: ModelEntry | None, out: Path) -> list[str]:
    """Returns what is wrong with a latency record."""
    record = timing.record
    found = [*_file(out / timing.path, record.kind), *_private(record.model_dump(mode="json", exclude={"samples"}))]
    if record.model.weights == "published" and entry is None:
        found.append(f"the registry has no model '{record.model.name}'")
    if not record.verdict.valid and not record.verdict.reasons:
        found.append("INVALID without a reason")
    values = [p.value for p in sorted(record.percentiles, key=lambda p: p.percent)]
    if any(v is None or not math.isfinite(v) or v <= 0 for v in values) or values != sorted(v or 0 for v in values):
        found.append(f"percentiles that do not rise: {values}")
    if record.verdict.valid:
        if not values or record.samples is None:
            found.append("VALID without samples")
        if record.parity is not None and not record.parity.passed:
            found.append("VALID although its outputs are not those of the reference")
    if record.samples is not None:
        found += _samples(timing)
    return found


def _samples(timing: Timing) -> Iterator[str]:
    samples, median = timing.record.samples, timing.median.value
    assert samples is not None  # asked before
    try:
        durations = samples.nanoseconds()
    except ValueError as error:
        yield f"its samples cannot be read: {error}"
        return
    found = percentile(durations.astype("float64"), 50) / 1e6 if len(durations) else None
    if found is not None and median and abs(found / median - 1) > 0.05:
        yield f"the median of its samples is {found:.3g} ms, it says {median:.3g}"
