"""``python -m zoo.compare``: which of two models is better, and how sure that is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli import FORMAT, REGISTRY, Arguments, Key, natural, one_of, positive, put, put_csv, run_verb, say, words
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.metrics import Difference
    from zoo.runs.compare import Comparison, Pair

SUMMARY = "Compare models on the same samples: paired differences with intervals, and where they disagree most."
EXAMPLE = "python -m zoo.compare models=libreface-r18,openface2 protocol=disfa-intensity-5fold root=/data/DISFA"
KEYS = (
    Key("models", "two or more names, or predictions.parquet files, with commas", words, required=True),
    Key("protocol", "the protocol that they were run under (zoo.eval stores the predictions)", required=True),
    Key("dataset", "only as a check: the protocol names it"),
    Key("root", "folder of the dataset copy; else the variable ZOO_<DATASET>_ROOT"),
    Key("runtime", "only predictions of this runtime", one_of("onnxruntime", "openvino", "torch")),
    Key("precision", "only predictions of this precision", one_of("fp32", "bf16", "fp16", "int8")),
    Key("resamples", "bootstrap resamples", positive, 10_000),
    Key("seed", "seed of the bootstrap", natural, 0),
    REGISTRY,
    FORMAT,
)


def _body(given: Arguments) -> int:
    from zoo.datasets import load_index
    from zoo.protocols import load_protocol
    from zoo.registry import load_registry
    from zoo.runs.compare import choose_predictions, compare

    protocol = load_protocol(given.protocol)
    if given.dataset and given.dataset != protocol.dataset:
        raise UsageError(f"{protocol.ref} is a protocol of {protocol.dataset}", fix=f"dataset={protocol.dataset}")
    registry = load_registry(given.registry)
    stored = choose_predictions(given.models, registry, protocol, runtime=given.runtime, precision=given.precision)
    index = load_index(protocol.dataset, given.root, **stored[0].key["options"])
    found = compare(stored, index, protocol, resamples=given.resamples, seed=given.seed)
    if given.format == "json":
        import json

        put(json.dumps(_document(found), indent=1))
    elif given.format == "csv":
        columns = ("first", "second", "metric", "aggregation", "label", "value", "low", "high", "p", "p_holm", "apart")
        put_csv(columns, _rows(found))
    else:
        _print(found, "simple" if given.format == "table" else "github")
    for side in found.sides:
        say(f"{side.name}: {side.stored.title}, predictions {side.stored.path}")
    return 0


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _difference(found: Difference) -> str:
    from zoo.boards.text import signed

    if found.value is None:
        return "–"
    if found.low is None or found.high is None:
        return signed(found.value)
    return f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]"


def _verdict(pair: Pair, lower: bool) -> str:
    if pair.difference.value is None or pair.p_holm is None:
        return "cannot be tested"
    if not pair.told_apart:
        return "not told apart"
    return f"{pair.first if (pair.difference.value > 0) != lower else pair.second} is better"


def _print(found: Comparison, style: str) -> None:
    from tabulate import tabulate

    from zoo.boards.text import AGGREGATION_TITLES, FLAG_TITLES, LOWER_IS_BETTER, METRIC_TITLES, interval, number

    protocol = found.protocol
    primary = protocol.primary
    title, lower = METRIC_TITLES[primary.metric], primary.metric in LOWER_IS_BETTER

    def show(rows: Sequence[Sequence[str]], head: Sequence[str]) -> None:
        put(tabulate(rows, head, tablefmt=style, disable_numparse=True))
        put("")

    show(
        [[s.name, interval(s.headline(protocol)), FLAG_TITLES[s.contamination]] for s in found.sides],
        ["model", f"{title} ({AGGREGATION_TITLES[primary.aggregation]})", "training data"],
    )
    show(
        [
            [p.first, p.second, _difference(p.difference), _p(p.difference.p), _p(p.p_holm), _verdict(p, lower)]
            for p in found.pairs
        ],
        ["first", "second", "first − second", "p", "p (Holm)", ""],
    )
    for pair in found.pairs if len(found.pairs) == 1 else ():
        if pair.metrics:
            show(
                [[METRIC_TITLES[m], _difference(d), _p(d.p)] for m, d in pair.metrics],
                ["metric", "first − second", "p"],
            )
        apart = "mean |difference|" if protocol.task in ("au-intensity", "valence-arousal") else "different answers"
        rows = []
        for x in pair.labels:
            values = [number(x.first), number(x.second), _difference(x.difference)]
            rows.append([x.label, *values, _p(x.difference.p), _p(x.p_holm), number(x.apart)])
        if rows:
            what = METRIC_TITLES[pair.label_metric] if pair.label_metric != primary.metric else ""
            show(rows, [what, pair.first, pair.second, "first − second", "p", "p (Holm)", apart])
        _disagreements(pair, show)
    unit = "subjects" if protocol.clusters == "subject" else "images"
    put(f"{protocol.ref}: {found.samples} samples; paired bootstrap over {unit}, 95 % intervals")
    if found.left_out:
        put(f"labels that not all of them give are left out: {', '.join(found.left_out)}")
    if found.synthetic:
        put("rendered faces: a rehearsal, not a measurement on people")
    if len({s.contamination for s in found.sides}) > 1:
        put("warning: not all of them have seen equally much of what they are scored on")


def _disagreements(pair: Pair, show: Any) -> None:
    from zoo.boards.text import number

    if pair.subjects:
        put("Subjects on whom they differ most:")
        show(
            [[s.subject, str(s.n), number(s.first), number(s.second)] for s in pair.subjects],
            ["subject", "samples", pair.first, pair.second],
        )
    if pair.answers:
        put("Different answers, most frequent first:")
        show(
            [[a, b, str(n), str(first), str(second)] for a, b, n, first, second in pair.answers],
            [pair.first, pair.second, "samples", "first right", "second right"],
        )
    if pair.samples:
        put("Samples on which they differ most:")
        show(
            [[s.file, str(s.frame), s.label, s.first, s.second, s.truth] for s in pair.samples],
            ["file", "frame", "label", pair.first, pair.second, "truth"],
        )


def _document(found: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "protocol": found.protocol.ref, "labels": list(found.protocol.labels), "left_out": list(found.left_out),
        "samples": found.samples, "synthetic": found.synthetic,
        "models": [
            {"name": s.name, **s.headline(found.protocol).model_dump(), "contamination": s.contamination,
             "runtime": s.stored.key["runtime"], "precision": s.stored.key["precision"],
             "predictions": s.stored.path.parent.name}
            for s in found.sides
        ],
        "pairs": [asdict(p) for p in found.pairs],
    }  # fmt: skip


def _rows(found: Comparison) -> Iterator[dict[str, Any]]:
    from dataclasses import asdict

    aggregation = found.protocol.primary.aggregation
    for pair in found.pairs:
        named = {"first": pair.first, "second": pair.second, "aggregation": aggregation}
        primary = {**named, "metric": found.protocol.primary.metric, "label": "mean"}
        yield {**primary, **asdict(pair.difference), "p_holm": pair.p_holm}
        for metric, difference in pair.metrics:
            yield {**named, "metric": metric, "label": "mean", **asdict(difference)}
        for x in pair.labels:
            label = {**named, "metric": pair.label_metric, "label": x.label}
            yield {**label, **asdict(x.difference), "p_holm": x.p_holm, "apart": x.apart}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("compare", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
