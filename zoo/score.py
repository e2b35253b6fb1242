"""``python -m zoo.score``: score stored predictions again, or CSV files of OpenFace, without running a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.cli import (
    FORMAT,
    READING,
    REGISTRY,
    Arguments,
    Key,
    boolean,
    natural,
    path,
    paths,
    positive,
    put,
    put_csv,
    run_verb,
    say,
)
from zoo.errors import MissingError, RecordError, UsageError

SUMMARY = "Score stored predictions again, or CSV files of OpenFace, without running a model."
EXAMPLE = (
    "python -m zoo.score predictions=predictions.parquet root=/data/DISFA\n"
    "       python -m zoo.score csv=openface-output dataset=disfa root=/data/DISFA"
)
KEYS = (
    Key("predictions", "a predictions.parquet that zoo.eval wrote; several with commas", paths),
    Key("csv", "OpenFace's CSV files, or a folder of them, named after the videos; with commas", paths),
    Key("root", "folder of the dataset copy that they are of; else the variable ZOO_<DATASET>_ROOT"),
    Key(
        "protocol", "protocol; else the one that they were made for (csv: the dataset's first for a task of the model)"
    ),
    Key("dataset", "csv: disfa, bp4d ...: what the files are of"),
    Key("model", "csv: the entry whose outputs the columns are [openface2]"),
    Key(
        "openface",
        "openface2-svr: your OpenFace 2 folder; its AU models are computed here on the files' features",
        path,
    ),
    Key("partial", "csv: true: score what there are files for, though files are missing", boolean, False),
    Key("out", "csv: folder of records and boards [zoo-results]", path),
    *READING,
    Key("resamples", "bootstrap resamples", positive, 10_000),
    Key("seed", "seed of the bootstrap", natural, 0),
    REGISTRY,
    FORMAT,
)

_CSV_KEYS = ("dataset", "model", "openface", "partial", "out", *(k.name for k in READING))


def _body(given: Arguments) -> int:
    if (given.predictions is None) == (given.csv is None):
        raise UsageError(
            "zoo.score needs either predictions= or csv=", fix="csv=<folder of OpenFace's files> dataset=... root=..."
        )
    if given.csv is not None:
        return _score_csv(given)
    if wrong := [name for name in _CSV_KEYS if given[name] not in (None, False)]:
        raise UsageError(
            f"{', '.join(w + '=' for w in wrong)} belongs to csv=", fix="predictions know what they are of"
        )
    return _score_predictions(given)


def _score_csv(given: Arguments) -> int:
    """Scores OpenFace's files: a record and a board, as zoo.eval writes them."""
    import json

    from zoo.boards import result_json, result_table, write_boards
    from zoo.datasets import labelled_tasks, load_index
    from zoo.eval import check_out, put_scores
    from zoo.protocols import default_protocol, load_protocol
    from zoo.registry import load_registry
    from zoo.results import save_record
    from zoo.runs import Settings
    from zoo.runs.openface import match_files
    from zoo.runs.openface_score import found_files, own_models, score_openface
    from zoo.runs.scoring import scorable_tasks

    out = given.out or Path("zoo-results")
    check_out(out)
    if given.dataset is None:
        raise UsageError("csv= needs dataset=", fix="say what the files are of: dataset=disfa root=/data/DISFA")
    entry = load_registry(given.registry).get(given.model or "openface2")
    if entry.family not in ("openface2", "openface2-svr"):
        raise UsageError(
            f"'{entry.name}' does not write OpenFace 2's CSV files", fix="model=openface2, or python -m zoo.eval"
        )
    own = entry.family == "openface2-svr"
    if own and given.openface is None:
        raise MissingError(
            f"'{entry.name}' needs OpenFace's AU models", why="they may not be passed on",
            fix="openface=<your OpenFace 2 folder>, with the folder AU_predictors in it",
        )  # fmt: skip
    if given.openface and not own:
        raise UsageError("openface= belongs to model=openface2-svr", fix="leave it out: the columns are read")
    if given.protocol:
        protocol = load_protocol(given.protocol)
    else:
        tasks = labelled_tasks(given.dataset, given.root)
        protocol = default_protocol(given.dataset, scorable_tasks(entry), tasks)
    options = {k.name: str(given[k.name]) for k in READING if given[k.name]}
    index = load_index(given.dataset, given.root, cache=True, offline=None, **{**protocol.dataset_options, **options})
    for finding in index.findings:
        if finding.severity != "note" or finding.code == "licence":
            say(f"{finding.severity}: {finding.message}")
    files = match_files(list(given.csv), index)
    made, read = own_models(given.openface) if own else (found_files(files), None)
    done = score_openface(
        entry, index, protocol, files, made, Settings(resamples=given.resamples, seed=given.seed),
        read=read, incomplete=given.partial, tell=say,
    )  # fmt: skip
    for line in done.problems:
        say(f"warning: {line}")
    saved = save_record(done.record, out)
    if given.format in ("table", "md"):
        put(result_table(done.record, protocol, "simple" if given.format == "table" else "github"))
    elif given.format == "json":
        put(json.dumps([result_json(done.record)], indent=1))
    else:
        put_scores([done.record])
    say(f"record: {saved}")
    boards = write_boards(out)
    say(f"leaderboard: {out / 'README.md'} ({len(boards)} files)")
    return 0


def _score_predictions(given: Arguments) -> int:
    import json

    from tabulate import tabulate

    from zoo.boards import SCORE_COLUMNS, score_rows
    from zoo.boards.text import AGGREGATION_TITLES, FLAG_TITLES, METRIC_TITLES, interval
    from zoo.datasets import load_index
    from zoo.protocols import load_protocol
    from zoo.protocols.rules import assign_folds, readiness
    from zoo.registry import load_registry
    from zoo.runs.challenge import Part, multitask_scores
    from zoo.runs.checkpoints import assign_checkpoints
    from zoo.runs.predictions import predictions_key, read_predictions
    from zoo.runs.scoring import as_stored, output_for, score_predictions

    registry = load_registry(given.registry)
    parts: list[Part] = []
    documents: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    plain: list[dict[str, Any]] = []
    several = len(given.predictions) > 1
    for file in given.predictions:
        key = predictions_key(file)
        entry = registry.get(key["model"])
        protocol = load_protocol(given.protocol or key["protocol"])
        if key.get("contract", entry.contract_hash) != entry.contract_hash:
            say(
                f"warning: {file} was predicted under the contract {key['contract']} of {entry.name}, and the registry "
                f"has {entry.contract_hash} now; thresholds are the registry's, values the file's"
            )
        index = load_index(key["dataset"], given.root, **key["options"])
        if index.manifest != key["manifest"]:
            raise RecordError(
                "the predictions are of another copy of the dataset", where=str(file),
                why=f"their manifest is {key['manifest'][:16]}..., this copy's is {index.manifest[:16]}...",
                fix="root=<the copy that they were made from>, or run zoo.eval on this one",
            )  # fmt: skip
        folds = assign_folds(protocol, index)
        scored = score_predictions(
            read_predictions(file), index, protocol, folds,
            as_stored(output_for(protocol, entry)[0], key),
            resamples=given.resamples, seed=given.seed,
        )  # fmt: skip
        parts.append((entry.name, protocol, scored.views[0], bool(scored.missing_labels)))
        views = [v.model_dump(mode="json") for v in scored.views]
        ran = {"model": entry.name, "protocol": protocol.ref, "runtime": key["runtime"], "precision": key["precision"]}
        named = [entry.name, protocol.ref, f"{key['runtime']} {key['precision']}"] if several else []
        documents += [{**ran, "views": views}] if several else views
        rows += [
            [*named, v.rule, METRIC_TITLES[s.metric], AGGREGATION_TITLES[s.aggregation], interval(s.mean),
             interval(s.mean_strict)]
            for v in scored.views
            for s in v.scores
        ]  # fmt: skip
        say(
            f"{entry.name} on {protocol.ref}, {scored.coverage.samples} samples, {scored.coverage.detected} with a face"
        )
        flag, why = assign_checkpoints(entry, protocol, index, folds, key.get("checkpoint")).contamination
        ran |= {"contamination": flag, "synthetic": index.synthetic}
        plain += [{**ran, **row} for row in score_rows(scored.views)]
        say(f"training data: {FLAG_TITLES[flag]}" + (f" ({why})" if why else ""))
        if index.synthetic:
            say("rendered faces: a rehearsal, not a measurement on people")
        if scored.missing_labels:
            say(f"labels that the model does not give: {', '.join(scored.missing_labels)}")
        say(readiness(protocol, index))
    totals = multitask_scores(parts)
    if given.format == "json":
        put(json.dumps(documents, indent=1))
    elif given.format == "csv":
        put_csv(SCORE_COLUMNS, plain)
    else:
        head = ["model", "protocol", "run as"] if several else []
        head += ["samples without a face", "metric", "aggregation", "mean", "mean, undefined = 0"]
        put(tabulate(rows, head, tablefmt="simple" if given.format == "table" else "github", disable_numparse=True))
    for name, total in totals.items():
        say(f"{name}: P_MTL {interval(total)}, the sum of the three scores of the multi-task challenge")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("score", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
