"""``python -m zoo.score``: score stored predictions again, without running a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.cli import FORMAT, REGISTRY, Arguments, Key, natural, positive, put, run_verb, say, words
from zoo.errors import RecordError

SUMMARY = "Compute the scores of stored predictions again, without running a model."
EXAMPLE = "python -m zoo.score predictions=predictions.parquet root=/data/DISFA"
KEYS = (
    Key("predictions", "a predictions.parquet that zoo.eval wrote; several with commas", words, required=True),
    Key("root", "folder of the dataset copy that they are of; else the variable ZOO_<DATASET>_ROOT"),
    Key("protocol", "protocol; else the one that they were made for"),
    Key("resamples", "bootstrap resamples", positive, 10_000),
    Key("seed", "seed of the bootstrap", natural, 0),
    REGISTRY,
    FORMAT,
)


def _body(given: Arguments) -> int:
    import json

    from tabulate import tabulate

    from zoo.boards.text import AGGREGATION_TITLES, METRIC_TITLES, interval
    from zoo.datasets import load_index
    from zoo.protocols import load_protocol
    from zoo.protocols.rules import assign_folds
    from zoo.registry import load_registry
    from zoo.runs.challenge import Part, multitask_scores
    from zoo.runs.predictions import predictions_key, read_predictions
    from zoo.runs.scoring import output_for, score_predictions

    registry = load_registry(given.registry)
    parts: list[Part] = []
    documents, rows = [], []
    for file in (Path(name).expanduser() for name in given.predictions):
        key = predictions_key(file)
        entry = registry.get(key["model"])
        protocol = load_protocol(given.protocol or key["protocol"])
        index = load_index(key["dataset"], given.root, **key["options"])
        if index.manifest != key["manifest"]:
            raise RecordError(
                "the predictions are of another copy of the dataset", where=str(file),
                why=f"their manifest is {key['manifest'][:16]}..., this copy's is {index.manifest[:16]}...",
                fix="root=<the copy that they were made from>, or run zoo.eval on this one",
            )  # fmt: skip
        scored = score_predictions(
            read_predictions(file), index, protocol, assign_folds(protocol, index), output_for(protocol, entry)[0],
            resamples=given.resamples, seed=given.seed,
        )  # fmt: skip
        parts.append((entry.name, protocol, scored.views[0], bool(scored.missing_labels)))
        documents += [v.model_dump(mode="json") for v in scored.views]
        named = [entry.name, protocol.ref] if len(given.predictions) > 1 else []
        rows += [
            [*named, v.rule, METRIC_TITLES[s.metric], AGGREGATION_TITLES[s.aggregation], interval(s.mean),
             interval(s.mean_strict)]
            for v in scored.views
            for s in v.scores
        ]  # fmt: skip
        say(
            f"{entry.name} on {protocol.ref}, {scored.coverage.samples} samples, {scored.coverage.detected} with a face"
        )
    totals = multitask_scores(parts)
    if given.format == "json":
        put(json.dumps(documents, indent=1))
    else:
        head = ["model", "protocol"] if len(given.predictions) > 1 else []
        head += ["samples without a face", "metric", "aggregation", "mean", "mean, undefined = 0"]
        if given.format == "csv":
            import csv

            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(head)
            writer.writerows(rows)
        else:
            put(tabulate(rows, head, tablefmt="simple" if given.format == "table" else "github", disable_numparse=True))
    for name, total in totals.items():
        say(f"{name}: P_MTL {interval(total)}, the sum of the three scores of the multi-task challenge")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("score", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
