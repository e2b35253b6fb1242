"""``python -m zoo.eval``: score models on a dataset under a protocol."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
    run_verb,
    say,
    words,
)
from zoo.errors import DatasetMissingError, UsageError, ZooError

if TYPE_CHECKING:
    from zoo.datasets.base import Index
    from zoo.protocols.schema import ProtocolFile
    from zoo.registry import ModelEntry

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
    Key("device", "cpu, cuda:0, gpu, npu", str, "cpu"),
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


def _absent_weights(entries: Sequence[ModelEntry]) -> list[str]:
    from zoo.weights import cached

    return [e.name for e in entries if any(cached(w) is None for w in e.weights)]


def _body(given: Arguments) -> int:
    from zoo.boards import result_json, result_table, write_boards
    from zoo.boards.text import interval
    from zoo.datasets import labelled_tasks, load_index
    from zoo.protocols import default_protocol, load_protocol
    from zoo.registry import load_registry
    from zoo.results import save_record
    from zoo.runs import Settings, evaluate_entry
    from zoo.runs.challenge import multitask_scores
    from zoo.runs.openface_program import evaluate_openface
    from zoo.runs.scoring import scorable_tasks

    registry = load_registry(given.registry)
    entries = registry.match(given.model)
    if len(entries) > 1:  # a glob takes in models that are known by reported numbers only
        entries = [e for e in entries if e.runnable or e.name in given.model]
    if (given.binary or given.au_models != "default") and not any(e.family == "openface2" for e in entries):
        raise UsageError("binary= and au_models= belong to OpenFace's own program", fix="model=openface2")
    options = {k.name: str(given[k.name]) for k in READING if given[k.name]}
    indexes: dict[str, Index] = {}

    def index_for(protocol: ProtocolFile) -> Index:
        wanted = {**protocol.dataset_options, **options}
        if (key := repr(sorted(wanted.items()))) not in indexes:
            indexes[key] = load_index(given.dataset, given.root, cache=True, offline=given.offline, **wanted)
            for finding in indexes[key].findings:
                if finding.severity != "note" or finding.code == "licence":
                    say(f"{finding.severity}: {finding.message}")
        return indexes[key]

    def protocols_for(entry: ModelEntry) -> list[ProtocolFile]:
        if given.protocol:
            return [load_protocol(ref) for ref in given.protocol]
        labelled = labelled_tasks(given.dataset, given.root)
        return [default_protocol(given.dataset, scorable_tasks(entry), labelled)]

    try:
        plans = [(entry, protocol) for entry in entries for protocol in protocols_for(entry)]
        index_for(plans[0][1])
    except DatasetMissingError as error:
        # Who has no data has often no weights either: say both at once.
        if absent := _absent_weights(entries):
            error.fix = f"{error.fix or ''}\n  also not here yet: weights of {', '.join(absent)}: " + "; ".join(
                f"python -m zoo.fetch model={name}" for name in absent
            )
        raise
    settings = Settings(
        runtime=given.runtime, device=given.device, precision=given.precision, threads=given.threads,
        batch=given.batch, fold=given.fold, offline=given.offline, fresh=given.fresh,
        resamples=given.resamples, seed=given.seed,
    )  # fmt: skip
    from zoo.weights.consent import terms

    for entry in entries:
        for line in terms(entry.licence)[1:]:
            say(f"{entry.name}: {line}")
    documents = []
    failed: list[ZooError] = []
    for entry, protocol in plans:
        try:
            if entry.family == "openface2":
                done = evaluate_openface(
                    entry, index_for(protocol), protocol, settings,
                    binary=given.binary, au_models=given.au_models, progress=sys.stderr.isatty(), tell=say,
                )  # fmt: skip
            else:
                done = evaluate_entry(
                    entry, index_for(protocol), protocol, settings,
                    registry=registry, progress=sys.stderr.isatty(), tell=say,
                )  # fmt: skip
        except ZooError as error:
            if len(plans) == 1:
                raise
            say(f"error: {entry.name}: {error}")  # the other models go on
            failed.append(error)
            continue
        for line in done.problems[:10]:
            say(f"warning: {line}")
        if len(done.problems) > 10:
            say(f"warning: and {len(done.problems) - 10} more that could not be decoded")
        saved = save_record(done.record, given.out)
        if given.format in ("table", "md"):
            put(result_table(done.record, protocol, "simple" if given.format == "table" else "github"))
            put("")
        documents.append((done.record, protocol))
        say(f"record: {saved}")
        if given.submit:
            from zoo.boards.submit import steps

            say(steps(saved, registry=registry))
    parts = [(r.model.name, p, r.views[0], bool(r.model.missing_labels)) for r, p in documents]
    for name, total in multitask_scores(parts).items():
        say(f"{name}: P_MTL {interval(total)}, the sum of the three scores of the multi-task challenge")
    boards = write_boards(given.out)
    say(f"leaderboard: {given.out / 'README.md'} ({len(boards)} files)")
    if given.format == "json":
        import json

        put(json.dumps([result_json(record) for record, _ in documents], indent=1))
    elif given.format == "csv":
        import csv

        from zoo.boards import result_rows

        writer = csv.writer(sys.stdout, lineterminator="\n")
        for record, protocol in documents:
            head, rows = result_rows(record, protocol)
            writer.writerow(["model", "protocol", *head])
            writer.writerows([record.model.name, protocol.ref, *row] for row in rows)
    if failed:
        say(f"{len(failed)} of {len(plans)} evaluations failed")
    return max((e.exit_code for e in failed), default=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("eval", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
