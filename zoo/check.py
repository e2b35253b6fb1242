"""``python -m zoo.check``: check a dataset copy, the registry, or records measured again."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

from zoo.cli import OFFLINE, READING, Arguments, Key, boolean, path, put, run_verb, say, words
from zoo.errors import ContractError, DatasetError, RecordError, RegistryError, UsageError

SUMMARY = "Check a dataset copy, a model's files, the registry, or records against each other."
EXAMPLE = "python -m zoo.check dataset=disfa root=/data/DISFA"


def _difference(text: str) -> float:
    """Reads a number, 0 or above; NaN, which nothing is larger than, would let every score pass."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError("write a number, 0 or above")
    return value


KEYS = (
    Key("dataset", "report what is in your copy of a dataset, what is missing or damaged, and what that means"),
    Key("root", "folder of the copy; else the variable ZOO_<DATASET>_ROOT"),
    *READING,
    Key("model", "fetch, verify, load and run models on a fixed input", words, ()),
    Key(
        "faces",
        "with model=: folder of pictures with strong expressions, to tell which of an output's open readings "
        "the file supports; else rendered faces",
        path,
    ),
    Key("registry", "true: validate registry.yaml and its JSON Schema; or your own registry files", words, ()),
    Key("write_schema", "with registry=true: write registry.schema.json", boolean, False),
    Key("records", "folder of records; with against=, scores must agree", path),
    Key("against", "folder of records to compare with", path),
    Key("out", "with model=: folder of records, where the evidence of the check is written", path),
    Key("tolerance", "largest difference of a headline score that counts as the same", _difference, 0.002),
    OFFLINE,
)


def schema_text() -> str:
    """Returns the JSON Schema of a registry file, as committed in ``registry.schema.json``."""
    from zoo.registry.schema import RegistryFile

    return json.dumps(RegistryFile.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def _own_files(given: Arguments) -> tuple[str, ...]:
    """The user's registry files: what ``registry=`` names besides true."""
    return tuple(p for p in given.registry if p.lower() not in ("true", "1", "yes"))


def _registry(given: Arguments) -> None:
    from zoo._util.files import resource, write_text
    from zoo.protocols import list_protocols
    from zoo.registry import load_registry
    from zoo.results.evidence import unearned

    extra = _own_files(given)
    registry = load_registry(extra)
    protocols = {p.id: p for p in list_protocols()}
    for entry in registry.entries.values():
        for weight in entry.weights:
            if weight.fold is None:
                continue
            where = f"{entry.where}.weights[{weight.name}].fold"
            protocol = protocols.get(weight.fold.protocol)
            if protocol is None:
                raise RegistryError(f"no protocol '{weight.fold.protocol}'", where=where)
            fold = next((f for f in protocol.folds if f.name == weight.fold.name), None)
            if fold is None or set(fold.test) != set(weight.fold.test_subjects):
                raise RegistryError(f"the fold '{weight.fold.name}' is not that of {protocol.ref}", where=where)
    path_ = resource("registry.yaml").with_name("registry.schema.json")
    boards = resource("registry.yaml").with_name("leaderboards")
    if not extra and boards.is_dir() and (wrong := unearned(list(registry.entries.values()), boards)):
        raise RegistryError(
            wrong[0], why="; ".join(wrong[1:]) or None, fix="python -m zoo.check model=<name> out=leaderboards"
        )
    if given.write_schema:
        write_text(path_, schema_text())
        put(str(path_))
    elif not extra and path_.exists() and path_.read_text(encoding="utf-8") != schema_text():
        raise RegistryError("registry.schema.json is not what the code says", fix="make schema")
    runnable = sum(e.runnable for e in registry.entries.values())
    external = sum(e.status == "external" for e in registry.entries.values())
    say(
        f"registry: {len(registry.entries)} entries, {runnable} runnable, {external} by a program that you install; "
        f"{len(protocols)} protocols"
    )


def _dataset(given: Arguments) -> None:
    from zoo.datasets import check
    from zoo.protocols import list_protocols
    from zoo.protocols.rules import readiness

    options = {k.name: str(given[k.name]) for k in READING if given[k.name]}
    report = check(given.dataset, given.root, offline=given.offline, **options)
    put(report.text([readiness(p, report.index) for p in list_protocols(dataset=given.dataset)]))
    if report.errors:
        raise DatasetError(f"this copy of {given.dataset} has {report.errors} errors", where=str(report.root))


def _models(given: Arguments) -> None:
    from zoo.registry import load_registry
    from zoo.results.evidence import save_evidence
    from zoo.runs.readings import in_words
    from zoo.runs.verify import verify_entry

    registry = load_registry(_own_files(given))
    for entry in registry.match(given.model, runnable=True):
        name = entry.name
        evidence = verify_entry(
            entry, registry, offline=given.offline, faces=given.faces, tell=lambda line: put(f"{name}: {line}")  # noqa: B023
        )  # fmt: skip
        if given.out:
            say(f"evidence: {save_evidence(evidence, given.out)}")
        for found in evidence.readings:
            if found.supported not in (None, found.declared):
                raise ContractError(
                    f"{name}: the file supports '{found.supported}', and the entry declares '{found.declared}'",
                    where=f"{entry.where}, output {found.task}", why=in_words(entry, found),
                    fix="declare the other reading in a registry file of your own, and tell the zoo",
                )  # fmt: skip
            if found.supported is None:
                say(f"{name}: how {found.task} is read stays open; try faces=<folder of strong expressions>")


def _records(given: Arguments) -> None:
    from zoo.boards import collect_boards

    if given.against is None:
        for board in collect_boards(given.records):
            put(f"{board.name}: {len(board.rows)} rows")
        return
    known = {(b.name, r.key): r for b in collect_boards(given.against) for r in b.rows}
    wrong, compared = [], 0
    for board in collect_boards(given.records):
        primary = board.protocol.primary
        for row in board.rows:
            old = known.get((board.name, row.key))
            if old is None:
                say(f"{board.name} {row.key[0]}: no record to compare with")
                continue
            compared += 1
            new_score = row.record.score(primary.metric, primary.aggregation)
            old_score = old.record.score(primary.metric, primary.aggregation)
            new = new_score.mean.value if new_score else None
            was = old_score.mean.value if old_score else None
            say(f"{board.name} {row.key[0]}: {primary.metric} {new} (record {was})")
            if new != was and (new is None or was is None or abs(new - was) > given.tolerance):
                wrong.append(f"{board.name} {row.key[0]}: {new} instead of {was}")
    if wrong:
        raise RecordError("scores moved without a new version", why="; ".join(wrong))
    if not compared:
        raise RecordError("nothing to compare", where=str(given.records))


def _body(given: Arguments) -> int:
    asked = [k for k in ("dataset", "model", "registry", "records") if given[k]]
    if not asked:
        raise UsageError("say what to check", fix=EXAMPLE + ", model=..., registry=true or records=...")
    if given.registry:
        _registry(given)
    if given.dataset:
        _dataset(given)
    if given.model:
        _models(given)
    if given.records:
        _records(given)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("check", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
