"""From stored predictions to scores: labels are joined here, and the rules of the protocol are applied.

Every metric can be computed again from the predictions without running a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo._util.spool import BLOCK, by_blocks
from zoo.datasets.base import Index
from zoo.errors import RecordError, UsageError
from zoo.metrics import METRICS, Evaluation, evaluate
from zoo.metrics import Estimate as Found
from zoo.metrics.binary import f1_best
from zoo.protocols.rules import as_coded
from zoo.protocols.rules import truth as protocol_truth
from zoo.protocols.schema import MetricName, ProtocolFile
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, Output
from zoo.results.record import Coverage, Estimate, LabelAudit, LabelScore, MetricScore, Rule, SubjectScore, View
from zoo.runs.audit import audit_action_units, audit_expressions
from zoo.runs.predictions import column

RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True)
class Scored:
    """What scoring gives.

    Attributes:
        coverage: What became of the samples.
        views: Scores under both rules for samples without a face, the primary rule first.
        subjects: Per-subject values of the primary metric.
        missing_labels: Labels of the protocol that the model does not give.
        evaluations: The evaluations behind the views, with their bootstrap replicates, for paired comparisons.
        tuned: Occurrence with folds: scores with thresholds chosen on the other folds.
        audit: Whether the declared order of the labels is the best of the documented ones.
    """

    coverage: Coverage
    views: tuple[View, ...]
    subjects: tuple[SubjectScore, ...]
    missing_labels: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    tuned: View | None
    audit: LabelAudit | None


def output_for(protocol: ProtocolFile, entry: ModelEntry) -> tuple[Output, str | None]:
    """Returns the output of a model that a protocol scores, and how occurrence is derived from intensity, if it is.

    Raises:
        UsageError: The model has no output that can be scored under the protocol.
    """
    if protocol.task in entry.tasks:
        return entry.output(protocol.task), None
    if protocol.task == "au-occurrence" and "au-intensity" in entry.tasks:
        return entry.output("au-intensity"), f"au-intensity >= {protocol.intensity_threshold:g}"
    raise UsageError(
        f"'{entry.name}' does not do the task of {protocol.ref}",
        why=f"the protocol scores {protocol.task}; the model gives {', '.join(entry.tasks)}",
        fix=f"python -m zoo.show task={protocol.task}",
    )


def as_stored(output: Output, key: Mapping[str, Any]) -> Output:
    """Returns an output with the labels that stored predictions have: an older program gives fewer than its entry says.

    Args:
        output: The entry's output.
        key: The predictions' key; ``labels`` is in it where they may be fewer.
    """
    labels = key.get("labels")
    return output if labels is None else output.model_copy(update={"labels": tuple(labels)})


def scorable_tasks(entry: ModelEntry) -> tuple[Task, ...]:
    """Returns the tasks whose protocols a model can be scored under: its own, and occurrence from intensity last."""
    if "au-intensity" in entry.tasks and "au-occurrence" not in entry.tasks:
        return (*entry.tasks, "au-occurrence")
    return entry.tasks


def labels_scored(protocol: ProtocolFile, output: Output) -> tuple[str, ...]:
    """Returns the protocol's labels that the model gives, in the protocol's order.

    Raises:
        UsageError: It gives none of them.
    """
    shared = tuple(x for x in protocol.labels if x in output.labels)
    if not shared:
        raise UsageError(
            f"the model gives none of the labels of {protocol.ref}",
            why=f"it gives {', '.join(output.labels)}; the protocol scores {', '.join(protocol.labels)}",
        )
    return shared


def _cluster_ids(protocol: ProtocolFile, index: Index, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
    if protocol.clusters == "sample":
        return np.arange(len(rows)), []
    names, ids = index.subject[rows].distinct()
    if names == [""]:
        raise RecordError(
            f"{protocol.ref} resamples subjects, and this copy of {index.dataset} names none",
            fix="use a protocol whose clusters are samples",
        )
    return ids.astype(np.int64), names


def _choose(scores: NDArray[np.float32], protocol: ProtocolFile, output: Output) -> NDArray[np.int64]:
    """Turns class scores into class indices of the protocol; -1 where there is no answer."""
    columns = [output.labels.index(x) for x in protocol.labels if x in output.labels]
    targets = np.array([protocol.labels.index(output.labels[c]) for c in columns])
    if protocol.extra_classes == "wrong":
        # The arg-max may fall on a class that the protocol does not have; such an answer is wrong.
        lookup = np.full(len(output.labels), -1)
        lookup[columns] = targets
        best = lookup[np.argmax(np.nan_to_num(scores, nan=-np.inf), axis=1)]
    else:
        best = targets[np.argmax(np.nan_to_num(scores[:, columns], nan=-np.inf), axis=1)]
    return np.where(np.isnan(scores).any(axis=1), -1, best)


def _estimate(found: Found, share: float = 1.0) -> Estimate:
    values = (found.value, found.low, found.high)
    value, low, high = (None if v is None else v * share for v in values)
    return Estimate(value=value, low=low, high=high)


def _metric_scores(result: Evaluation, protocol: ProtocolFile, missing: int) -> tuple[MetricScore, ...]:
    share = 1 - missing / len(protocol.labels)
    zero = protocol.task in ("au-intensity", "au-occurrence")
    return tuple(
        MetricScore(
            metric=cast("MetricName", score.metric),
            aggregation=score.aggregation,
            mean=_estimate(score.headline),
            mean_defined=_estimate(score.mean_defined),
            mean_strict=_estimate(score.mean_strict),
            # For errors 0 would be the best value, so an AU that a model lacks has no such reading.
            mean_missing_zero=(
                _estimate(score.mean_strict, share) if zero and METRICS[score.metric].higher_is_better else None
            ),
            undefined=score.undefined,
            per_label=tuple(
                LabelScore(
                    label=x.label, value=x.value, low=x.low, high=x.high, n=x.n, n_pos=x.n_pos, threshold=x.threshold
                )
                for x in score.per_label
            ),
        )
        for score in result.scores
    )


def places_of(
    table: pa.Table, index: Index, wanted: NDArray[np.int64], protocol: ProtocolFile, output: Output
) -> NDArray[np.int64]:
    """Returns where in a table of predictions the wanted rows of the index are, ``[wanted]``.

    Args:
        table: Stored predictions, ascending by ``row``.
        index: The dataset.
        wanted: Rows of the index.
        protocol: The protocol, for errors.
        output: The output that is scored.

    Raises:
        RecordError: A row has no prediction, or one of another sample, which would meet the wrong label; or the
            predictions are of another task than the output's.
    """
    again = "fresh=true runs the model again"
    if absent := [n for n in (column(output.task, x) for x in output.labels) if n not in table.column_names]:
        held = sorted({n.partition("/")[0] for n in table.column_names if "/" in n})
        raise RecordError(
            f"the predictions cannot be scored under {protocol.ref}: they hold no {', '.join(absent[:3])}",
            why=f"they are of {', '.join(held) or 'no task'}", fix="protocol=<one for that task>, or run zoo.eval",
        )  # fmt: skip
    rows = table["row"].to_numpy()
    place = np.searchsorted(rows, wanted)
    if len(wanted) == 0 or place[-1] >= len(rows) or not np.array_equal(rows[place], wanted):
        raise RecordError("the predictions do not cover the protocol's samples", fix=again)
    names = [name for name in ("subject", "sequence", "frame") if name in table.column_names]
    for start in range(0, len(wanted), BLOCK):
        stored = table.select(names).take(place[start : start + BLOCK])
        for name in names:
            if stored[name].to_pylist() != getattr(index, name)[wanted[start : start + BLOCK]].tolist():
                raise RecordError(
                    "the predictions are of other samples than this copy's",
                    why=f"their {name}s are not those of the same rows, as after a change of the reader", fix=again,
                )  # fmt: skip
    return place.astype(np.int64)


def values_of(table: pa.Table, place: NDArray[np.int64], output: Output) -> NDArray[np.float32]:
    """Returns a model's stored values, float32 ``[n, labels]`` in the output's order; NaN where there is no face."""
    columns = table.select([column(output.task, x) for x in output.labels])

    def block(rows: slice) -> NDArray[np.float32]:
        return np.stack([c.to_numpy() for c in columns.take(place[rows]).columns], axis=1)

    return by_blocks(len(place), block)


def answers(
    values: NDArray[np.float32], protocol: ProtocolFile, output: Output, labels: Sequence[str]
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Turns a model's values into answers, by the protocol's rules; a sample without a face is absent, 0 or no answer.

    Args:
        values: What :func:`values_of` gives.
        protocol: The protocol.
        output: The output that they are of.
        labels: Labels that are scored, of those that the model gives; expressions are always the protocol's.

    Returns:
        Expressions: class numbers of the protocol, int64 ``[n]``, -1 for no answer. Else float32 ``[n, labels]``: 0 or
        1 for occurrence, values for intensity and affect. And for occurrence the scores behind it; otherwise None.
    """
    if protocol.task == "expression":
        return _choose(values, protocol, output), None
    columns = [output.labels.index(x) for x in labels]
    filled: NDArray[np.float32] = by_blocks(len(values), lambda rows: np.nan_to_num(values[rows][:, columns], nan=0.0))
    if protocol.task != "au-occurrence":
        return filled, None
    if output.task == "au-intensity":
        threshold: float | None = protocol.intensity_threshold
    else:
        threshold = protocol.threshold if protocol.threshold is not None else output.threshold
    assert threshold is not None  # the registry's schema asks for it
    limit = threshold
    return by_blocks(len(filled), lambda rows: (filled[rows] >= limit).astype(np.float32)), filled


def score_predictions(
    table: pa.Table,
    index: Index,
    protocol: ProtocolFile,
    folds: NDArray[np.int16],
    output: Output,
    *,
    expected: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Scored:
    """Scores predictions under a protocol.

    Args:
        table: Stored predictions of at least the protocol's rows.
        index: The dataset that they are of.
        protocol: The protocol.
        folds: Fold of each row of the index, -1 where the protocol leaves it out.
        output: The model's output that is scored (:func:`output_for`).
        expected: Samples of a whole copy, for the record.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        RecordError: As :func:`places_of`.
        UsageError: The model gives none of the protocol's labels.
    """
    protocol = as_coded(protocol, index)
    wanted = np.flatnonzero(folds >= 0)
    place = places_of(table, index, wanted, protocol, output)
    shared = labels_scored(protocol, output)
    missing = tuple(x for x in protocol.labels if x not in shared)
    found = table["face_found"].to_numpy(zero_copy_only=False)[place]
    decoded = table["decoded"].to_numpy(zero_copy_only=False)[place]
    values = values_of(table, place, output)
    prediction, scores = answers(values, protocol, output, shared)
    target: NDArray[Any] = by_blocks(len(wanted), lambda rows: protocol_truth(protocol, index, wanted[rows]))
    fold = folds[wanted]
    labels = shared
    audit: LabelAudit | None = None
    if protocol.task == "expression":
        labels, audit = protocol.labels, audit_expressions(values, target, protocol.labels, output.labels)
    else:
        if output.task != "valence-arousal":
            audit = audit_action_units(values, target, protocol.labels, output.labels)
        if missing:
            target = target[:, [protocol.labels.index(x) for x in shared]]
    clusters, subjects = _cluster_ids(protocol, index, wanted)

    def run(keep: NDArray[np.bool_] | slice, answer: NDArray[Any] = prediction) -> Evaluation:
        return evaluate(
            protocol.task, labels, target[keep], answer[keep], clusters[keep], fold[keep],
            protocol.metrics, resamples=resamples, seed=seed, scores=None if scores is None else scores[keep],
        )  # fmt: skip

    def view(rule: Rule, result: Evaluation, samples: int) -> View:
        return View(rule=rule, samples=samples, scores=_metric_scores(result, protocol, len(missing)))

    everyone = slice(None)
    evaluations = [run(everyone)]
    views = [view("undetected-as-error", evaluations[0], len(wanted))]
    tuned: View | None = None
    if scores is not None and len(protocol.folds) > 1 and len(np.unique(fold)) > 1:
        decided = tuned_on_other_folds(scores, target, fold)
        tuned = view("undetected-as-error", run(everyone, decided), len(wanted))
    if not found.all() and found.any():
        evaluations.append(run(found))
        views.append(view("undetected-skipped", evaluations[1], int(found.sum())))
    return Scored(
        coverage=Coverage(
            expected=expected,
            samples=len(wanted),
            detected=int(found.sum()),
            undetected=int((~found).sum()),
            undecodable=int((~decoded).sum()),
        ),
        views=tuple(views),
        subjects=_subject_scores(evaluations[0], protocol, subjects),
        missing_labels=missing,
        evaluations=tuple(evaluations),
        tuned=tuned,
        audit=audit,
    )


def tuned_on_other_folds(
    scores: NDArray[np.float32], truth: NDArray[np.float32], folds: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Decides each fold with the thresholds that give the best F1 on the other folds.

    Args:
        scores: float32 ``[n, AUs]``.
        truth: 0, 1 or NaN where not coded, ``[n, AUs]``.
        folds: ``[n]``.

    Returns:
        0 or 1, float32 ``[n, AUs]``. An AU without a positive in the other folds is never present.
    """
    decided = np.zeros_like(scores)
    for fold in np.unique(folds):
        inside = folds == fold
        for unit in range(scores.shape[1]):
            coded = ~inside & ~np.isnan(truth[:, unit])
            _, threshold = f1_best(truth[coded, unit], scores[coded, unit])
            if np.isfinite(threshold):
                decided[inside, unit] = scores[inside, unit] >= threshold
    return decided


def _subject_scores(result: Evaluation, protocol: ProtocolFile, subjects: list[str]) -> tuple[SubjectScore, ...]:
    if not subjects:
        return ()
    values = result.per_cluster(protocol.primary.metric)
    return tuple(
        SubjectScore(subject=name, n=int(n), value=value) for name, (n, value) in zip(subjects, values, strict=True)
    )
