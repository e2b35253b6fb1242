"""``python -m zoo.eval``: score models on a dataset under a protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli import (
    FORMAT,
    OFFLINE,
    READING,
    REGISTRY,
    Arguments,
    Key,
    boolean,
    natural,
    one_of,
    path,
    positive,
    put,
    put_csv,
    run_verb,
    say,
    words,
)
from zoo.errors import DatasetMissingError, UsageError, ZooError

if TYPE_CHECKING:
    from zoo.datasets.base import Index
    from zoo.protocols.schema import ProtocolFile
    from zoo.registry import ModelEntry, Registry
    from zoo.registry.labels import Task
    from zoo.results import ResultRecord

    _Run = tuple[ModelEntry, ProtocolFile]

SUMMARY = "Score models on a dataset under a protocol; writes a record and a leaderboard."
EXAMPLE = "python -m zoo.eval model=hog-ridge dataset=synthface"
KEYS = (
    Key("model", "names or globs, with commas: libreface-r18, libreface-*", words, required=True),
    Key(
        "dataset",
        "disfa, rafdb, folder, synthface, hub:owner/name@commit ... (python -m zoo.show datasets=true)",
        required=True,
    ),
    Key("root", "folder of your copy; else the variable ZOO_<DATASET>_ROOT"),
    Key("protocol", "protocols with commas; else the dataset's first one for a task of the model", words, ()),
    *READING,
    Key("fold", "models with one checkpoint a fold: use this one for everything, as a fixed model"),
    Key(
        "runtime",
        "onnxruntime | openvino | torch; else the entry's default",
        one_of("onnxruntime", "openvino", "torch"),
    ),
    Key("device", "cpu, cuda:0, tensorrt:0, gpu, npu", str, "cpu"),
    Key("precision", "fp32 | bf16 | fp16 | int8", one_of("fp32", "bf16", "fp16", "int8"), "fp32"),
    Key("threads", "cores to use; else all that the process may use", positive),
    Key("batch", "images an inference", positive, 32),
    Key("out", "folder of records and boards", path, Path("zoo-results")),
    Key("fresh", "true: run the model again even when its predictions are stored", boolean, False),
    Key("resamples", "bootstrap resamples", positive, 10_000),
    Key("seed", "seed of the bootstrap", natural, 0),
    Key("binary", "openface2: its FeatureExtraction, their folder, or docker:<image>; else ZOO_OPENFACE or PATH"),
    Key(
        "au_models",
        "openface2: default | static (-au_static: no person's neutral face is taken off)",
        one_of("default", "static"),
        "default",
    ),
    Key("submit", "true: print the steps that bring the record to the leaderboard", boolean, False),
    OFFLINE,
    REGISTRY,
    FORMAT,
)


def _absent_weights(entries: Sequence[ModelEntry], registry: Registry) -> list[ModelEntry]:
    from zoo.weights import cached

    return [e for e in entries if any(cached(w, base=registry.base(e.name)) is None for w in e.weights)]


class _Copy:
    """The copy of the dataset: read once for all protocols that want it read in the same way."""

    def __init__(self, given: Arguments) -> None:
        self.given = given
        self.options = {k.name: str(given[k.name]) for k in READING if given[k.name]}
        self.indexes: dict[str, Index] = {}
        self.labelled: list[tuple[Task, ...] | None] = []

    def index(self, protocol: ProtocolFile) -> Index:
        """Returns the index as a protocol wants it, and says at the first time what is wrong with the copy."""
        from zoo.datasets import load_index

        given, wanted = self.given, {**protocol.dataset_options, **self.options}
        if (key := repr(sorted(wanted.items()))) not in self.indexes:
            index = load_index(given.dataset, given.root, cache=True, offline=given.offline, **wanted)
            self.indexes[key] = index
            for finding in index.findings:
                if finding.severity != "note" or finding.code == "licence":
                    say(f"{finding.severity}: {finding.message}")
        return self.indexes[key]

    def default_protocol(self, entry: ModelEntry) -> ProtocolFile:
        """Returns the protocol that is meant for a model where none is named."""
        from zoo.datasets import labelled_tasks
        from zoo.protocols import default_protocol
        from zoo.runs.scoring import scorable_tasks

        if not self.labelled:
            self.labelled.append(labelled_tasks(self.given.dataset, self.given.root))
        return default_protocol(self.given.dataset, scorable_tasks(entry), self.labelled[0])


def _entries(given: Arguments, registry: Registry) -> list[ModelEntry]:
    entries = registry.match(given.model, runnable=True)
    if (given.binary or given.au_models != "default") and not any(e.family == "openface2" for e in entries):
        raise UsageError("binary= and au_models= belong to OpenFace's own program", fix="model=openface2")
    return entries


def _plan(given: Arguments, entries: Sequence[ModelEntry], copy: _Copy) -> tuple[list[_Run], list[ZooError]]:
    """Returns what is to be run, and the errors of models that have no protocol on this dataset."""
    from zoo.protocols import load_protocol

    named = [load_protocol(ref) for ref in given.protocol]
    plans: list[_Run] = []
    failed: list[ZooError] = []
    for entry in entries:
        try:
            plans += [(entry, protocol) for protocol in named or [copy.default_protocol(entry)]]
        except UsageError as error:
            if len(entries) == 1:
                raise
            failed.append(error)
            say(f"error: {entry.name}: {error}")
    if not plans:
        raise failed[0]
    copy.index(plans[0][1])
    return plans, failed


def _evaluate(run: _Run, given: Arguments, copy: _Copy, registry: Registry) -> ResultRecord:
    """Evaluates one model under one protocol; the record is saved and shown."""
    from zoo.boards import result_table
    from zoo.results import save_record
    from zoo.runs import Settings, evaluate_entry

    entry, protocol = run
    settings = Settings(
        runtime=given.runtime, device=given.device, precision=given.precision, threads=given.threads,
        batch=given.batch, fold=given.fold, offline=given.offline, fresh=given.fresh,
        resamples=given.resamples, seed=given.seed,
    )  # fmt: skip
    shown = sys.stderr.isatty()
    if entry.family == "openface2":
        from zoo.runs.openface_program import evaluate_openface

        done = evaluate_openface(
            entry, copy.index(protocol), protocol, settings,
            binary=given.binary, au_models=given.au_models, progress=shown, tell=say,
        )  # fmt: skip
    else:
        done = evaluate_entry(
            entry, copy.index(protocol), protocol, settings, registry=registry, progress=shown, tell=say
        )
    for line in done.problems[:10]:
        say(f"warning: {line}")
    if len(done.problems) > 10:
        say(f"warning: and {len(done.problems) - 10} more that could not be decoded")
    say(f"predictions: {done.predictions}")
    saved = save_record(done.record, given.out)
    if given.format in ("table", "md"):
        put(result_table(done.record, protocol, "simple" if given.format == "table" else "github"))
        put("")
    say(f"record: {saved}")
    if given.submit:
        from zoo.boards.submit import steps

        say(steps(saved, registry=registry))
    return done.record


def check_out(out: Path) -> None:
    """Refuses a folder whose README.md is somebody's own: the leaderboard would take its place.

    Raises:
        UsageError: It is, as in ``out=.`` of a project.
    """
    from zoo.boards.leaderboard import MARK

    readme = out / "README.md"
    if readme.is_file() and MARK not in readme.read_text(encoding="utf-8", errors="replace")[:300]:
        raise UsageError(
            f"'{readme}' is no leaderboard, and would be overwritten by one",
            fix="out=<a folder for records and boards>",
        )


def put_scores(records: Iterable[ResultRecord]) -> None:
    """Writes the scores of records to stdout as one CSV table."""
    from zoo.boards import SCORE_COLUMNS, score_rows

    put_csv(
        SCORE_COLUMNS,
        (
            {"model": r.model.name, "protocol": r.protocol.ref, "runtime": r.runtime.runtime,
             "precision": r.runtime.precision, "contamination": r.contamination, "synthetic": r.dataset.synthetic,
             **row}
            for r in records
            for row in score_rows(r.views)
        ),
    )  # fmt: skip


def _body(given: Arguments) -> int:
    from zoo.boards import result_json, write_boards
    from zoo.boards.text import interval
    from zoo.registry import load_registry
    from zoo.runs.challenge import multitask_scores

    check_out(given.out)
    registry = load_registry(given.registry)
    entries = _entries(given, registry)
    copy = _Copy(given)
    try:
        plans, failed = _plan(given, entries, copy)
    except DatasetMissingError as error:
        # Who has no data has often no weights either: say both at once.
        if absent := _absent_weights(entries, registry):
            error.fix = (
                f"{error.fix or ''}\n  also not here yet: weights of {', '.join(e.name for e in absent)}: "
                + "; ".join(f"python -m zoo.fetch {e.selector}" for e in absent)
            )
        raise
    asked = len(plans) + len(failed)
    documents: list[tuple[ResultRecord, ProtocolFile]] = []
    for entry, protocol in plans:
        try:
            documents.append((_evaluate((entry, protocol), given, copy, registry), protocol))
        except ZooError as error:
            if asked == 1:
                raise
            say(f"error: {entry.name}: {error}")  # the other models go on
            failed.append(error)
    parts = [(r.model.name, p, r.views[0], bool(r.model.missing_labels)) for r, p in documents]
    for name, total in multitask_scores(parts).items():
        say(f"{name}: P_MTL {interval(total)}, the sum of the three scores of the multi-task challenge")
    boards = write_boards(given.out)
    say(f"leaderboard: {given.out / 'README.md'} ({len(boards)} files)")
    if given.format == "json":
        import json

        put(json.dumps([result_json(record) for record, _ in documents], indent=1))
    elif given.format == "csv":
        put_scores(record for record, _ in documents)
    if failed:
        say(f"{len(failed)} of {asked} evaluations failed")
    return max((e.exit_code for e in failed), default=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("eval", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
