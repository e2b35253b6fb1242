"""How a record becomes part of the boards: the steps of a pull request, and what is looked at there."""

from __future__ import annotations

import shlex
from pathlib import Path

from zoo.boards.collect import Collection, Row
from zoo.boards.validate import accuracy_problems, latency_problems
from zoo.registry import Registry, load_registry
from zoo.results import read_latency_record, read_record
from zoo.results.latency_record import LatencyRecord
from zoo.results.record import ResultRecord

BOARDS = Path("leaderboards")
"""Folder of the boards in a clone of the project."""


def steps(record_path: Path, *, registry: Registry | None = None) -> str:
    """Returns the steps that submit a record, and what would keep it from being taken.

    Args:
        record_path: A record under a ``results/`` folder, as ``zoo.eval`` or ``zoo.bench`` wrote it.
        registry: The registry; the zoo's when not given.

    Raises:
        RecordError: Not a record.
    """
    out, name = _split(record_path)
    record = _read(record_path)
    target = BOARDS / name
    what = f"{record.model.name} on {_where(record)}"
    branch = f"result/{record.model.name}-{_where(record).replace('@', '-v')}"
    lines = [f"To submit {what}, in a clone of the project:", "", f"  git switch -c {shlex.quote(branch)}"]
    if out.resolve() != BOARDS.resolve():
        lines.append(f"  mkdir -p {shlex.quote(str(target.parent))}")
        lines.append(f"  cp {shlex.quote(str(record_path))} {shlex.quote(str(target))}")
    known = load_registry().entries.get(record.model.name)
    entry = known is None or (record.model.contract is not None and known.contract_hash != record.model.contract)
    added = f"{BOARDS} registry.yaml docs/models.md" if entry else str(BOARDS)
    if entry:  # measured with a registry of the author's own
        lines += [
            f"  # put the entry of {record.model.name} into registry.yaml as you measured it, then",
            "  python -m zoo.check registry=true", "  python benchmarks/models_page.py",
        ]  # fmt: skip
    lines += [
        "  python -m zoo.leaderboard", "  python -m zoo.leaderboard check=true",
        f"  git add {added} && git commit -m {shlex.quote(f'Measure {what}')}", "  git push -u origin HEAD", "",
        "Then open a pull request. It is checked there that the record is whole and named by its content, that the",
        "registry has the model and the project the protocol in this version, that its values are possible and that it",
        "holds no label and no path of yours; and the change of every board is shown.",
    ]  # fmt: skip
    if found := problems(record, record_path, registry or load_registry()):
        lines += ["", "Before that, mend:", *(f"  - {text}" for text in found)]
    return "\n".join(lines)


def _split(path: Path) -> tuple[Path, Path]:
    """Returns the boards' folder and the record's path below it."""
    out = path.parents[3] if len(path.parents) > 3 else Path()
    return out, path.relative_to(out)


def _read(path: Path) -> ResultRecord | LatencyRecord:
    import json

    from zoo.errors import RecordError

    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError) as error:
        raise RecordError(f"'{path}' cannot be read", why=str(error)) from None
    return read_latency_record(path) if kind == "latency" else read_record(path)


def _where(record: ResultRecord | LatencyRecord) -> str:
    return record.suite.ref if isinstance(record, LatencyRecord) else record.protocol.ref


def problems(record: ResultRecord | LatencyRecord, path: Path, registry: Registry) -> list[str]:
    """Returns what would keep a record from being taken."""
    from zoo.boards.collect import Timing
    from zoo.errors import UnknownNameError
    from zoo.protocols import load_protocol

    out, name = _split(path)
    entry = registry.entries.get(record.model.name)
    if isinstance(record, LatencyRecord):
        found = latency_problems(Timing(name.as_posix(), record), entry, out)
        return found + (["measured with uncommitted code"] if record.code.dirty else [])
    try:
        protocol = load_protocol(record.protocol.ref)
    except UnknownNameError as error:
        return [f"{error.what}: commit the protocol first"]
    row = Row(name.as_posix(), record, protocol, entry)
    found = accuracy_problems(row, out)
    if protocol.hash != record.protocol.hash:
        found.append(f"{protocol.ref} has changed since: run it again")
    if entry and entry.contract_hash != record.model.contract:
        found.append("the registry's entry has changed since: run it again")
    if record.code.dirty:
        found.append("measured with uncommitted code: commit, then run it again")
    return found


def changes(old: Collection, new: Collection) -> str:
    """Returns what differs between two states of the boards, in Markdown: for a pull request.

    Args:
        old: Before.
        new: After.
    """
    from zoo.boards.leaderboard import headline_title
    from zoo.boards.text import DASH, interval, markdown_table

    before = {b.name: b for b in old.boards}
    after = {b.name: b for b in new.boards}
    parts = []
    for name in sorted({*before, *after}):
        was = {r.key: r for r in before[name].rows} if name in before else {}
        now = {r.key: r for r in after[name].rows} if name in after else {}
        board = after.get(name) or before[name]
        rows = []
        for key in dict.fromkeys([*now, *was]):
            first, second = was.get(key), now.get(key)
            if first and second and first.path == second.path:
                old_rank, new_rank = before[name].ranks.get(key), board.ranks.get(key)
                if old_rank == new_rank:
                    continue
            places = [b.ranks[key].text if b and key in b.ranks else DASH for b in (before.get(name), after.get(name))]
            values = [interval(r.headline) if r else DASH for r in (first, second)]
            kind = "gone" if second is None else "new" if first is None else (
                "rank" if first.path == second.path else "measured again")  # fmt: skip
            model = (second or first).record.model.name if (second or first) else ""  # type: ignore[union-attr]
            rows.append([model, " ".join(x for x in key[1:] if x), kind, *values, *places])
        if rows:
            title = headline_title(board.protocol)
            head = ["model", "run as", "change", f"{title} before", "after", "rank before", "after"]
            parts += [f"### {board.protocol.title}", "", markdown_table(head, rows), ""]
    parts += _timing_changes(old, new)
    return "\n".join(parts) if parts else "No board changes.\n"


def _timing_changes(old: Collection, new: Collection) -> list[str]:
    from zoo.boards.text import DASH, markdown_table, three_digits

    was = {t.key: t for t in old.newest_timings}
    now = {t.key: t for t in new.newest_timings}
    rows = []
    for key in dict.fromkeys([*now, *was]):
        first, second = was.get(key), now.get(key)
        if first and second and first.path == second.path:
            continue
        timing = second or first
        assert timing is not None  # the key is one of theirs
        asked = timing.record.asked
        kind = "gone" if second is None else "new" if first is None else "measured again"
        medians = [three_digits(t.median.value) if t else DASH for t in (first, second)]
        how = f"{asked.how} {asked.precision}, {asked.threads} threads, {timing.record.stage}"
        rows.append(
            [timing.record.suite.ref, timing.record.model.name, how, timing.record.scenario.title, kind, *medians]
        )
    if not rows:
        return []
    head = ["suite", "model", "run as", "scenario", "change", "p50 ms before", "after"]
    return ["### Latency", "", markdown_table(head, rows), ""]
