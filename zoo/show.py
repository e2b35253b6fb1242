"""``python -m zoo.show``: list the models, or show one in full."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli import FORMAT, REGISTRY, TASKS, Arguments, Key, boolean, one_of, put, put_csv, run_verb, words
from zoo.errors import UnknownNameError

if TYPE_CHECKING:
    from zoo.registry import ModelEntry

_SHORT = dict(zip(TASKS, ("AU int", "AU occ", "expr", "V/A"), strict=True))
"""In a table for the eye; json, csv and md have the names that the keys take."""

_KINDS = ("runnable", "graph", "checkpoint", "external", "reported")
_GRAPHS = frozenset({"onnx", "openvino-ir", "tflite"})
_NARROWEST = 24
"""Columns that a title keeps, however narrow the terminal."""

SUMMARY = "List the models of the zoo, filter them, or show one in full."
EXAMPLE = "python -m zoo.show model=libreface-r18"
KEYS = (
    Key("model", "names or globs; one exact name shows the whole entry (csv, md: its row)", words, ()),
    Key("task", " | ".join(TASKS), one_of(*TASKS)),
    Key("license", "commercial: weights whose licence allows commercial use; or a licence's name, such as MIT", str,
        "any"),
    Key("status", "verified | unverified | external | reported-only | deprecated",
        one_of("verified", "unverified", "external", "reported-only", "deprecated")),
    Key("kind", "runnable; of these graph (runs without torch) or checkpoint (needs torch); external (a program that "
        "you install); reported (figures only)", one_of(*_KINDS)),
    Key("datasets", "true: list the datasets instead", boolean, False),
    Key("protocols", "true: list the protocols instead", boolean, False),
    REGISTRY,
    FORMAT,
)  # fmt: skip


def _size(entry: ModelEntry) -> str:
    sizes = [w.size for w in entry.weights]
    if not sizes:
        return "–"
    known = sum(s for s in sizes if s)
    return f"{'' if all(sizes) else '> '}{known / 1e6:.1f} MB" if known else "not stated"


def _size_bytes(entry: ModelEntry) -> int | None:
    """Returns the bytes of all files; None where one is not known, or there are none."""
    sizes = [w.size for w in entry.weights]
    return sum(s for s in sizes if s) if sizes and all(sizes) else None


def _of_kind(entry: ModelEntry, kind: str | None) -> bool:
    if kind in ("external", "reported"):
        return entry.status == {"external": "external", "reported": "reported-only"}[kind]
    if kind in (None, "runnable"):
        return kind is None or entry.runnable
    return entry.runnable and (kind == "graph") == all(w.format in _GRAPHS for w in entry.weights)


def _of_licence(entry: ModelEntry, wanted: str) -> bool:
    if wanted == "commercial":
        return entry.licence.commercial_use is True
    return wanted == "any" or entry.licence.name.lower() == wanted.lower()


def _fitted(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Cuts the last column so that a line fits, with an ellipsis; other formats have it whole."""
    before = sum(max(len(row[i]) for row in [head, *rows]) + 2 for i in range(len(head) - 1))
    room = max(_NARROWEST, width - before)
    return [[*row[:-1], row[-1] if len(row[-1]) <= room else row[-1][: room - 1].rstrip() + "…"] for row in rows]


def _commercial(entry: ModelEntry) -> str:
    allowed = entry.licence.commercial_use
    return allowed if isinstance(allowed, str) else "yes" if allowed else "no"


def _print(head: Sequence[str], rows: Sequence[Sequence[Any]], style: str) -> None:
    if style == "json":
        import json

        put(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=1, ensure_ascii=False))
    elif style == "csv":
        put_csv(head, (dict(zip(head, row, strict=True)) for row in rows))
    else:
        from tabulate import tabulate

        put(tabulate(rows, head, tablefmt="simple" if style == "table" else "github", disable_numparse=True))


def _entry(entry: ModelEntry, source: str, style: str) -> None:
    import json

    data: dict[str, Any] = entry.model_dump(mode="json", exclude_none=True)
    if entry.preprocess:
        from zoo.faces.pipeline import describe

        steps = " > ".join(describe(entry.preprocess))
        data["contract"] = {"steps": steps, "preprocess": entry.preprocess.hash, "whole": entry.contract_hash}
    data["registry"] = source
    if style == "json":
        put(json.dumps(data, indent=1, ensure_ascii=False))
        return
    import yaml

    put(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110).rstrip())


def _body(given: Arguments) -> int:
    if given.datasets:
        from zoo.datasets import get_dataset, list_datasets

        found = [get_dataset(name) for name in list_datasets()]
        _print(("dataset", "tasks", "what", "how to get it"),
               [(d.name, ", ".join(d.tasks), d.title, d.obtain) for d in found], given.format)  # fmt: skip
        return 0
    if given.protocols:
        from zoo.protocols import list_protocols

        _print(
            ("protocol", "dataset", "task", "headline", "what"),
            [
                (p.ref, p.dataset, p.task, f"{p.primary.metric}, {p.primary.aggregation}", p.title)
                for p in list_protocols()
            ],
            given.format,
        )
        return 0
    from zoo.registry import load_registry

    registry = load_registry(given.registry)
    if len(given.model) == 1 and given.model[0] in registry.entries and given.format in ("table", "json"):
        name = given.model[0]
        _entry(registry.entries[name], registry.files[name].name, given.format)
        return 0
    entries = registry.match(given.model or ("*",))
    short: Callable[[str], str] = _SHORT.__getitem__ if given.format == "table" else str
    plain = given.format in ("json", "csv")
    size: Callable[[ModelEntry], Any] = _size_bytes if plain else _size
    rows: list[tuple[Any, ...]] = [
        (e.name, ", ".join(map(short, e.tasks)), size(e), e.licence.name, _commercial(e), e.status, e.title)
        for e in entries
        if (given.task is None or given.task in e.tasks)
        and _of_licence(e, given.license)
        and _of_kind(e, given.kind)
        and (given.status is None or e.status == given.status)
    ]
    names = sorted({e.licence.name for e in registry.entries.values()})
    if given.license not in ("any", "commercial") and given.license.lower() not in [n.lower() for n in names]:
        raise UnknownNameError("licence", given.license, ["commercial", "any", *names], where="license=")
    head = ("model", "tasks", "size_bytes" if plain else "weights", "licence", "commercial", "status", "what")
    if given.format == "table" and sys.stdout.isatty():
        rows = [tuple(row) for row in _fitted(head, rows, shutil.get_terminal_size().columns)]
    _print(head, rows, given.format)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("show", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
