"""``python -m zoo.recommend``: which model to take under your constraints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli import (
    FORMAT,
    REGISTRY,
    TASKS,
    VERBS,
    Arguments,
    Key,
    boolean,
    one_of,
    path,
    positive,
    put,
    put_csv,
    run_verb,
    say,
    words,
)
from zoo.errors import RecordError

if TYPE_CHECKING:
    from zoo.boards.collect import Collection
    from zoo.boards.recommend import Candidate, Recommendation


def above_zero(text: str) -> float:
    """Reads a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("write a number above 0")
    return value


def several_paths(text: str) -> tuple[Path, ...]:
    """Reads folders with commas."""
    return tuple(path(x) for x in words(text))


SUMMARY = "Find the models that meet your constraints: best score, shortest time, and why the others fell out."
EXAMPLE = "python -m zoo.recommend task=expression device=cpu max_latency_ms=15 license=commercial"
KEYS = (
    Key("task", " | ".join(TASKS), one_of(*TASKS), required=True),
    Key("labels", "AUs or classes that the model has to give: AU06,AU12", words, ()),
    Key("protocol", "whose scores count; else the one with most evidence for the task"),
    Key("min_score", "least score under that protocol (largest, for errors)", float),
    Key("license", "commercial: only weights whose licence allows commercial use", one_of("commercial", "any"), "any"),
    Key("status", "verified: only entries that passed their check", one_of("verified", "any"), "any"),
    Key("device", "cpu, cuda:0, tensorrt:0, gpu, npu", str, "cpu"),
    Key("runtime", "onnxruntime | openvino | torch | any", one_of("onnxruntime", "openvino", "torch", "any"), "any"),
    Key("precision", "fp32 | bf16 | fp16 | int8 | any", one_of("fp32", "bf16", "fp16", "int8", "any"), "any"),
    Key("threads", "threads of one inference; else any number that was timed", positive),
    Key("max_latency_ms", "limit on the duration of one query", above_zero),
    Key("percentile", "of the durations that the limit is on: 50 | 90 | 95 | 99", one_of("50", "90", "95", "99"), "50"),
    Key("min_fps", "least images a second", above_zero),
    Key("max_memory_mb", "limit on the peak memory of the process, in MiB", above_zero),
    Key("max_size_mb", "limit on the weights files, in MB", above_zero),
    Key("stage", "encoder: the network alone | pipeline: from the picture to the labels",
        one_of("encoder", "pipeline"), "encoder"),
    Key("scenario", "SingleStream | MultiStream | Offline | Video",
        one_of("SingleStream", "MultiStream", "Offline", "Video"), "SingleStream"),
    Key("machine", "this, or part of a recorded machine's name; else this one if it was timed, else another"),
    Key("records", "folders of records, with commas; else the project's and zoo-results", several_paths, ()),
    Key("all", "true: list every model that fell out", boolean, False),
    REGISTRY,
    FORMAT,
)  # fmt: skip


def _collections(given: Arguments) -> list[Collection]:
    from zoo._util.files import resource
    from zoo.boards import collect
    from zoo.registry import load_registry

    registry = load_registry(given.registry)
    folders = list(given.records)
    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"'{folder}' is not a folder", fix="records=<folder with results/ in it>")
    if not folders:
        folders = [resource("leaderboards/reported").parent, Path("zoo-results")]
    return [collect(f, registry=registry) for f in folders if f.is_dir()]


def _body(given: Arguments) -> int:
    from zoo.boards.recommend import Wish, recommend

    wish = Wish(
        task=given.task, labels=given.labels, protocol=given.protocol, device=given.device,
        runtime=None if given.runtime == "any" else given.runtime,
        precision=None if given.precision == "any" else given.precision, threads=given.threads, stage=given.stage,
        scenario=given.scenario, percent=int(given.percentile), max_latency_ms=given.max_latency_ms,
        min_fps=given.min_fps, max_memory_mib=given.max_memory_mb, max_size_mb=given.max_size_mb,
        commercial=given.license == "commercial", min_score=given.min_score, verified=given.status == "verified",
        machine=given.machine,
    )  # fmt: skip
    found = recommend(wish, _collections(given), _here(given.device))
    if given.format == "json":
        import json

        put(json.dumps(_document(found), indent=1, ensure_ascii=False))
    elif given.format == "csv":
        put_csv(_COLUMNS, _rows(found))
    else:
        _print(found, "simple" if given.format == "table" else "github", everything=given.all)
    if found.winner is None:
        say("no model meets these constraints")
        if "bench" in VERBS and any(r.startswith("not timed") for o in found.out for r in o.reasons):
            say(f"to time them on this machine: python -m zoo.bench suite=cpu model=... ({found.wish.device})")
        return 1
    return 0


def _here(device: str) -> str:
    from zoo.boards.collect import machine_title
    from zoo.results.environment import capture_environment

    return machine_title(capture_environment(), device)


def _head(found: Recommendation) -> list[str]:
    from zoo.boards.recommend import headline

    latency = f"ms (p{found.wish.percent})"
    return ["model", headline(found), "from", latency, "run as", "size", "licence", "status", "notes"]


def _cells(candidate: Candidate, found: Recommendation) -> list[str]:
    from zoo.boards.recommend import size_of
    from zoo.boards.text import DASH, interval, megabytes, three_digits

    entry, score = candidate.entry, candidate.score
    latency = candidate.latency(found.wish.percent)
    time = three_digits(latency.value)
    if latency.low is not None and latency.high is not None:
        time += f" [{three_digits(latency.low)}, {three_digits(latency.high)}]"
    notes = [*([score.note] if score else []), *candidate.notes]
    return [
        entry.name, interval(score.estimate) if score else DASH, score.basis if score else DASH, time, candidate.run_as,
        megabytes(size_of(entry)), entry.licence.name, entry.status,
        "; ".join(notes),
    ]  # fmt: skip


def _sections(found: Recommendation) -> list[tuple[str, list[list[str]]]]:
    return [
        ("Pareto set", [_cells(c, found) for c in found.front]),
        ("no score", [_cells(c, found) for c in found.unscored]),
        ("dominated", [_cells(c, found) for c, _ in found.dominated]),
    ]


def _print(found: Recommendation, style: str, *, everything: bool) -> None:
    from tabulate import tabulate

    from zoo.boards.recommend import commands

    def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        put(title)
        put(tabulate(rows, head, tablefmt=style, disable_numparse=True))
        put("")

    for line in _about(found):
        put(line)
    put("")
    head = _head(found)
    titles = {
        "Pareto set": "Pareto set: no other model that fits is both better and faster",
        "no score": "Fit as well, but nobody has a score of them here",
    }
    for name, rows in _sections(found):
        if rows and name in titles:
            show(titles[name], head, rows)
    shown: set[str] = {c.entry.name for c in found.front}
    beaten = []
    for candidate, by in found.dominated:
        if candidate.entry.name not in shown:
            shown.add(candidate.entry.name)
            cells = _cells(candidate, found)
            beaten.append([cells[0], cells[1], cells[3], cells[4], f"{by.entry.name} ({by.run_as})"])
    if beaten:
        show("Fit, but another is at least as good and as fast", [*head[:2], *head[3:5], "beaten by"], beaten)
    out = [[o.entry.name, "; ".join(o.reasons)] for o in found.out]
    if out:
        many = len(out) > 12 and not everything
        show("Fell out", ["model", "why"], out[:12] if many else out)
        if many:
            say(f"and {len(out) - 12} more: all=true")
    if found.winner:
        put(f"Take {found.winner.entry.name}: {found.why}.")
        for line in commands(found.winner, found.wish, VERBS):
            put(f"  {line}")
        if found.winner.entry.status == "unverified":
            say(f"{found.winner.entry.name} is unverified: python -m zoo.check {found.winner.entry.selector}")


def _about(found: Recommendation) -> list[str]:
    protocol = found.protocol
    if protocol is None:
        lines = [f"scores: no protocol on real data for {found.wish.task}"]
    else:
        bases = {c.score.basis for c in (*found.front, *(c for c, _ in found.dominated)) if c.score}
        text = {"measured": "measured here, held out", "reported": "PUBLISHED by others, not measured here"}
        basis = " and ".join(text[b] for b in sorted(bases)) or "of no model that fits"
        lines = [f"scores: {protocol.title} ({protocol.ref}): {basis}"]
        if found.protocols:
            lines.append(f"scores of others (protocol=): {', '.join(found.protocols[:6])}")
    if found.machine:
        lines.append(f"times: {found.machine}; {found.wish.scenario}, {found.wish.stage}")
        if others := [m for m in found.machines if m != found.machine]:
            lines.append(f"also recorded (machine=): {'; '.join(others)}")
    else:
        lines.append("times: nothing has been timed yet")
    return lines


_COLUMNS = (
    "set", "model", "protocol", "metric", "score", "score_low", "score_high", "basis", "score_note", "percentile",
    "latency_ms", "latency_ms_low", "latency_ms_high", "runtime", "device", "precision", "threads", "streams",
    "variant", "record", "size_bytes", "licence", "status", "notes",
)  # fmt: skip


def _rows(found: Recommendation) -> Iterator[dict[str, Any]]:
    """Gives the models that fit, with the names of the JSON document: an estimate is three columns, notes are one."""
    document = _document(found)
    common = {k: document[k] for k in ("protocol", "metric", "percentile")}
    for name in ("pareto", "no_score", "dominated"):
        for one in document[name]:
            row = {"set": name, **common, **{k: v for k, v in one.items() if k in _COLUMNS}, **(one["run"] or {})}
            for key in ("score", "latency_ms"):
                estimate = one[key] or {}
                row |= {key: estimate.get("value")} | {f"{key}_{end}": estimate.get(end) for end in ("low", "high")}
            yield {**row, "notes": "; ".join(one["notes"])}


def _document(found: Recommendation) -> dict[str, Any]:
    from zoo.boards.recommend import commands, size_of

    def one(candidate: Candidate) -> dict[str, Any]:
        timing, score = candidate.timing, candidate.score
        return {
            "model": candidate.entry.name, "score": score.estimate.model_dump() if score else None,
            "basis": score.basis if score else None, "score_note": score.note if score else None,
            "latency_ms": candidate.latency(found.wish.percent).model_dump() if timing else None,
            "run": timing.record.asked.model_dump() if timing else None, "record": timing.path if timing else None,
            "size_bytes": size_of(candidate.entry), "licence": candidate.entry.licence.name,
            "status": candidate.entry.status, "notes": list(candidate.notes),
        }  # fmt: skip

    return {
        "metric": found.protocol.primary.metric if found.protocol else None, "percentile": found.wish.percent,
        "protocol": found.protocol.ref if found.protocol else None, "machine": found.machine,
        "winner": found.winner.entry.name if found.winner else None, "why": found.why,
        "commands": commands(found.winner, found.wish, VERBS) if found.winner else [],
        "pareto": [one(c) for c in found.front], "no_score": [one(c) for c in found.unscored],
        "dominated": [{**one(c), "by": by.entry.name} for c, by in found.dominated],
        "out": [{"model": o.entry.name, "reasons": list(o.reasons)} for o in found.out],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("recommend", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
