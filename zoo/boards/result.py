"""The table that a person sees after a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zoo.boards.text import AGGREGATION_TITLES, FLAG_TITLES, METRIC_TITLES, interval, number, percent
from zoo.protocols.schema import ProtocolFile
from zoo.results.record import Estimate, MetricScore, ResultRecord, RuntimeUsed, View

SCORE_COLUMNS = (
    "model", "protocol", "runtime", "precision", "contamination", "synthetic",
    "rule", "metric", "aggregation", "label", "value", "low", "high", "n", "n_pos", "threshold",
)  # fmt: skip
"""Columns of scores as CSV, called as in the record: what was run, then those of :func:`score_rows`."""

_MEANS = ("mean", "mean_defined", "mean_strict", "mean_missing_zero")


def score_rows(views: Sequence[View]) -> Iterator[dict[str, Any]]:
    """Gives every score of a record's views for programs: a row a label, and one for each of its means.

    A mean is named in ``label`` as in the record (:class:`zoo.results.record.MetricScore`); its ``n`` is the samples of
    the view. Labels that a model does not give have no row.
    """
    for view in views:
        for score in view.scores:
            named = {"rule": view.rule, "metric": score.metric, "aggregation": score.aggregation}
            for one in score.per_label:
                yield {**named, **one.model_dump()}
            for name in _MEANS:
                if (mean := getattr(score, name)) is not None:
                    yield {**named, "label": name, **mean.model_dump(), "n": view.samples}


def _columns(record: ResultRecord, protocol: ProtocolFile) -> list[MetricScore]:
    """Returns the scores shown per label: the primary aggregation of every metric, the primary metric first."""
    scores = [s for s in record.views[0].scores if s.aggregation == protocol.primary.aggregation]
    return sorted(scores, key=lambda s: s.metric != protocol.primary.metric)


def result_rows(record: ResultRecord, protocol: ProtocolFile) -> tuple[list[str], list[list[str]]]:
    """Returns head and rows of the per-label table; the mean comes last."""
    scores = _columns(record, protocol)
    labelled = [s for s in scores if s.per_label]
    head = ["", "n", *(METRIC_TITLES[s.metric] for s in scores)]
    rows = []
    for i, first in enumerate(labelled[0].per_label if labelled else ()):
        name = first.label if first.n_pos is None else f"{first.label} ({first.n_pos}+)"
        # All intervals are in the record; a screen has room for those of the headline.
        cells = [_cell(s.per_label[i], k == 0) if s.per_label else "" for k, s in enumerate(scores)]
        rows.append([name, str(first.n), *cells])
    shown = {x.label for x in labelled[0].per_label} if labelled else set()
    rows += [[x, "–", *("not given" for _ in scores)] for x in record.model.missing_labels if x not in shown]
    rows.append(
        [
            "mean" if labelled else "all",
            str(record.views[0].samples),
            *(_cell(s.mean, k == 0) for k, s in enumerate(scores)),
        ]
    )
    return head, rows


def _cell(estimate: Estimate, whole: bool) -> str:
    return interval(estimate) if whole else number(estimate.value)


def result_table(record: ResultRecord, protocol: ProtocolFile, style: str = "simple") -> str:
    """Returns the table and what has to be known to read it, as text.

    Args:
        record: The record.
        protocol: Its protocol.
        style: A tabulate format: ``simple`` for a terminal, ``github`` for Markdown.
    """
    from tabulate import tabulate

    head, rows = result_rows(record, protocol)
    table = tabulate(rows, head, tablefmt=style, disable_numparse=True, colalign=("left", "right"))
    lines = [table, "", *result_notes(record, protocol)]
    return "\n".join(lines)


_ABSENT = {"au-occurrence": "predicted absent", "au-intensity": "predicted 0", "valence-arousal": "predicted 0"}


def result_notes(record: ResultRecord, protocol: ProtocolFile) -> list[str]:
    """Returns the lines below the table: other readings of the headline, coverage, contamination, completeness."""
    primary = protocol.primary
    other = "mean_over_folds" if primary.aggregation == "pooled" else "pooled"
    title = METRIC_TITLES[primary.metric]
    unit = "subjects" if protocol.clusters == "subject" or record.subjects else "images"
    lines = [
        f"{record.model.name} on {record.protocol.ref}: values with 95 % intervals (bootstrap over {unit}), "
        f"{AGGREGATION_TITLES[primary.aggregation]}"
    ]
    if len(protocol.folds) > 1 and (score := record.score(primary.metric, other)):
        lines.append(f"{title}, {AGGREGATION_TITLES[other]}: {interval(score.mean)}")
    main = record.score(primary.metric, primary.aggregation)
    # A mean that counts undefined values as 0 is not that of the column above it.
    left_out = [
        f"{METRIC_TITLES[s.metric]} {number(s.mean_defined.value)}"
        for s in record.views[0].scores
        if s.aggregation == primary.aggregation and number(s.mean.value) != number(s.mean_defined.value)
    ]
    if left_out:
        lines.append(
            "undefined values (a label without a positive, or constant, in a fold) count as 0 in the means; left out: "
            + ", ".join(left_out)
        )
    if main and record.model.missing_labels and main.mean_missing_zero:
        lines.append(f"labels that the model lacks counted as 0: {title} {interval(main.mean_missing_zero)}")
    for score in record.tuned.scores if record.tuned else ():
        if (score.metric, score.aggregation) == (primary.metric, primary.aggregation):
            lines.append(f"with thresholds tuned on the other folds (never comparable): {title} {interval(score.mean)}")
    cover = record.coverage
    text = f"faces found: {cover.detected} of {cover.samples} ({percent(cover.detected, cover.samples)})"
    if cover.undetected:
        rule = "counted wrong" if protocol.undetected == "wrong" else _ABSENT[protocol.task]
        text += f"; the others are {rule}"
        skipped = record.score(primary.metric, primary.aggregation, "undetected-skipped")
        if skipped:
            text += f", skipping them gives {title} {interval(skipped.mean)}"
    if cover.undecodable:
        text += f"; {cover.undecodable} could not be decoded"
    lines.append(text)
    if (audit := record.label_audit) and audit.beaten:
        lines.append(
            f"LABEL ORDER: {METRIC_TITLES[audit.metric]} is {number(audit.declared)} in the declared order "
            f"and {number(audit.best_other)} in that of {audit.order_of}: are the model's columns mixed up?"
        )
    flag = f"training data: {FLAG_TITLES[record.contamination]}"
    lines.append(flag + (f" ({record.contamination_note})" if record.contamination_note else ""))
    if record.dataset.synthetic:
        lines.append("rendered faces: a rehearsal, not a measurement on people")
    if not record.dataset.complete and cover.samples == cover.expected and not cover.undecodable:
        lines.append("ALTERED copy: as many samples as the owners', and other labels: zoo.check says which")
    elif not record.dataset.complete:
        text = f"INCOMPLETE copy: {cover.samples} samples of {cover.expected or 'an unknown number'}"
        lines.append(text + (f", {cover.undecodable} of them not decoded" if cover.undecodable else ""))
    if record.model.status == "unverified":
        lines.append("the entry is unverified: nobody has yet run its check on the real file")
    used = record.runtime
    lines.append(
        f"{used.runtime} {used.version}, {used.device} {used.precision}, {_cores(used)}, batch {used.batch}; "
        f"{record.cost.seconds:.1f} s{', predictions partly or wholly from before' if record.cost.resumed else ''}"
    )
    return lines


def _cores(used: RuntimeUsed) -> str:
    if not used.threads:
        return "threads not known"
    threads = "1 thread" if used.threads == 1 else f"{used.threads} threads"
    return threads if used.streams == 1 else f"{used.streams} streams of {threads}"


def result_json(record: ResultRecord) -> dict[str, Any]:
    """Returns the record as plain JSON values."""
    return record.model_dump(mode="json")
