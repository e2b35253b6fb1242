"""Comparing models on the same samples: paired differences with intervals and p-values, and where they disagree.

Stored predictions are read; no model is run. Models are scored on the labels that all of them give and on the same
resamples of people, so what people have in common cancels out and small differences can be told from chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import zoo_home
from zoo.errors import RecordError, UsageError
from zoo.metrics import METRICS, Difference, Evaluation, holm, paired_difference
from zoo.results.record import Contamination, Estimate
from zoo.runs.checkpoints import assign_checkpoints
from zoo.runs.predictions import predictions_key, read_predictions
from zoo.runs.scoring import (
    RESAMPLES,
    SEED,
    Scored,
    answers,
    as_stored,
    labels_scored,
    output_for,
    places_of,
    score_predictions,
    values_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from zoo.datasets.base import Index
    from zoo.protocols.schema import ProtocolFile
    from zoo.registry import ModelEntry, Output, Registry

LEVEL = 0.05
"""Holm-corrected p-values below this count as a difference."""


@dataclass(frozen=True)
class Stored:
    """Stored predictions of one model.

    Attributes:
        entry: The model.
        path: The file.
        key: What the numbers depend on.
    """

    entry: ModelEntry
    path: Path
    key: dict[str, Any]

    @property
    def title(self) -> str:
        """Model, and how it was run."""
        return f"{self.entry.name} ({self.key['runtime']} {self.key['precision']})"


@dataclass(frozen=True)
class Side:
    """One model of a comparison.

    Attributes:
        name: As shown; holds the runtime where a model is there twice.
        stored: Its predictions.
        scored: Its scores on the shared labels.
        contamination: Whether it has seen what it is scored on.
    """

    name: str
    stored: Stored
    scored: Scored
    contamination: Contamination

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation under the primary rule for missed faces."""
        return self.scored.evaluations[0]

    def headline(self, protocol: ProtocolFile) -> Estimate:
        """Returns the primary value on the shared labels."""
        found = self.evaluation.get(protocol.primary.metric, protocol.primary.aggregation).headline
        return Estimate(value=found.value, low=found.low, high=found.high)


@dataclass(frozen=True)
class LabelDifference:
    """The difference in one AU, class or dimension.

    Attributes:
        label: Which.
        first: Value of the first model.
        second: Value of the second.
        difference: First minus second.
        p_holm: Corrected for the labels.
        apart: How far the answers themselves are apart: mean absolute difference (intensity, affect) or share of
            samples with another answer (occurrence; expressions: of the samples of this class).
    """

    label: str
    first: float | None
    second: float | None
    difference: Difference
    p_holm: float | None
    apart: float


@dataclass(frozen=True)
class SubjectDifference:
    """The difference in one person: the mean of the primary metric over labels."""

    subject: str
    n: int
    first: float
    second: float


@dataclass(frozen=True)
class Sample:
    """One sample on which two models are far apart.

    Attributes:
        file: Relative to the dataset's root.
        frame: As the owners number frames.
        label: The label that differs most (expressions: the true class).
        first: The first model's answer.
        second: The second's.
        truth: The label.
    """

    file: str
    frame: int
    label: str
    first: str
    second: str
    truth: str


@dataclass(frozen=True)
class Pair:
    """Two models compared.

    Attributes:
        first: Name of one.
        second: Name of the other.
        difference: First minus second in the primary metric.
        p_holm: Corrected for the pairs.
        metrics: The protocol's other metrics that can be tested.
        labels: By AU, class or dimension, in the protocol's order.
        label_metric: Metric of the labels: the primary one; where that has no values by label, recall.
        subjects: People on whom the two differ most.
        samples: Samples on which they differ most.
        answers: Expressions only: pairs of different answers, how often, and how often the first and the second of
            them was right, most frequent first.
        apart: Share of samples with different answers (occurrence: of answers; intensity and affect: None).
    """

    first: str
    second: str
    difference: Difference
    p_holm: float | None
    metrics: tuple[tuple[str, Difference], ...]
    labels: tuple[LabelDifference, ...]
    label_metric: str
    subjects: tuple[SubjectDifference, ...]
    samples: tuple[Sample, ...]
    answers: tuple[tuple[str, str, int, int, int], ...]
    apart: float | None

    @property
    def told_apart(self) -> bool:
        """Whether chance is ruled out at :data:`LEVEL`, corrected for the pairs."""
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` gives.

    Attributes:
        protocol: The protocol, its labels cut to the shared ones.
        left_out: Labels of the protocol that not all models give.
        sides: The models.
        pairs: Each two of them.
        samples: Samples scored.
        synthetic: Whether the faces are rendered.
    """

    protocol: ProtocolFile
    left_out: tuple[str, ...]
    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    samples: int
    synthetic: bool


def find_predictions(
    name: str, registry: Registry, protocol: ProtocolFile, *, runtime: str | None = None, precision: str | None = None
) -> list[Stored]:
    """Returns a model's stored predictions for a protocol, newest first: of its contract as the registry has it now.

    Args:
        name: Model name, or the path of a ``predictions.parquet``.
        registry: Knows the models.
        protocol: The protocol, in this very version.
        runtime: Only those of this runtime.
        precision: Only those of this precision.

    Raises:
        UnknownNameError: No such model.
        RecordError: A file that does not hold predictions.
    """
    if name.endswith(".parquet"):
        path = Path(name).expanduser()
        key = predictions_key(path)
        return [Stored(registry.get(key["model"]), path, key)]
    entry = registry.get(name)
    found = []
    for path in (zoo_home() / "predictions" / name).glob("*/predictions.parquet"):
        key = predictions_key(path)
        wanted = {"protocol": protocol.ref, "frames": protocol.hash, "contract": entry.contract_hash}
        wanted |= {k: v for k, v in (("runtime", runtime), ("precision", precision)) if v}
        if all(key.get(k) == v for k, v in wanted.items()):
            found.append(Stored(entry, path, key))
    return sorted(found, key=lambda s: (s.path.stat().st_mtime_ns, s.path), reverse=True)


def choose_predictions(
    names: Sequence[str],
    registry: Registry,
    protocol: ProtocolFile,
    *,
    runtime: str | None = None,
    precision: str | None = None,
) -> list[Stored]:
    """Chooses, for each model, the newest predictions of one and the same copy of the dataset.

    Args:
        names: Model names or paths of prediction files.
        registry: Knows the models.
        protocol: The protocol.
        runtime: Only predictions of this runtime.
        precision: Only predictions of this precision.

    Raises:
        UsageError: Fewer than two.
        RecordError: A model has none, or no copy of the dataset has been scored with all of them.
    """
    if len(names) < 2:
        raise UsageError("a comparison needs two models or more", fix="models=a,b")
    found = {n: find_predictions(n, registry, protocol, runtime=runtime, precision=precision) for n in names}
    if len(found) < len(names):
        raise UsageError(
            "a model is named twice", fix="models=a,b; for two runs of one model, give their .parquet files"
        )
    if none := [n for n, stored in found.items() if not stored]:
        asked = "".join(f" {k}={v}" for k, v in (("runtime", runtime), ("precision", precision)) if v)
        raise RecordError(
            f"there are no stored predictions of {', '.join(none)} under {protocol.ref}",
            where=str(zoo_home() / "predictions"),
            fix=f"python -m zoo.eval model={','.join(none)} dataset={protocol.dataset} protocol={protocol.id}{asked}",
        )
    copies = [{_copy(s.key): s for s in reversed(stored)} for stored in found.values()]  # the newest of each stays
    shared = [c for c in copies[0] if all(c in others for others in copies)]
    if not shared:
        raise RecordError(
            "the models were run on different copies of the dataset, or read differently",
            why="; ".join(f"{n}: {_described(stored[0].key)}" for n, stored in found.items()),
            fix=f"python -m zoo.eval model={','.join(names)} dataset={protocol.dataset} root=<one copy>",
        )
    newest = max(shared, key=lambda c: min(of[c].path.stat().st_mtime_ns for of in copies))
    return [of[newest] for of in copies]


def _copy(key: dict[str, Any]) -> tuple[str, str]:
    return key["manifest"], ",".join(f"{k}={v}" for k, v in sorted(key["options"].items()))


def _described(key: dict[str, Any]) -> str:
    options = _copy(key)[1]
    return f"manifest {key['manifest'][:12]}{f', {options}' if options else ''}"


def compare(
    stored: Sequence[Stored],
    index: Index,
    protocol: ProtocolFile,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    most: int = 10,
) -> Comparison:
    """Compares models on the same samples, resamples and labels.

    Args:
        stored: Their predictions, of this copy.
        index: The copy of the dataset.
        protocol: The protocol.
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        most: How many samples and half as many people to list.

    Raises:
        RecordError: Predictions of another copy.
        UsageError: No label that all of them give.
    """
    from zoo.protocols.rules import as_coded, assign_folds

    protocol = as_coded(protocol, index)
    if other := [s.title for s in stored if s.key["manifest"] != index.manifest]:
        raise RecordError(
            f"the predictions of {', '.join(other)} are of another copy of the dataset", where=str(index.root),
            fix="root=<the copy that they were made from>, or run zoo.eval on this one",
        )  # fmt: skip
    outputs = [as_stored(output_for(protocol, s.entry)[0], s.key) for s in stored]
    shared = protocol.labels
    if protocol.task != "expression":
        given = [set(labels_scored(protocol, output)) for output in outputs]
        shared = tuple(x for x in protocol.labels if all(x in g for g in given))
        if not shared:
            raise UsageError(f"no label of {protocol.ref} is given by all of {', '.join(s.entry.name for s in stored)}")
    folds = assign_folds(protocol, index)
    cut = protocol.model_copy(update={"labels": shared})
    twice = Counter(s.entry.name for s in stored)
    wanted = np.flatnonzero(folds >= 0)
    sides, said = [], []
    for one, output in zip(stored, outputs, strict=True):
        table = read_predictions(one.path)
        scored = score_predictions(table, index, cut, folds, output, resamples=resamples, seed=seed)
        flag, _ = assign_checkpoints(one.entry, protocol, index, folds, one.key.get("checkpoint")).contamination
        title = one.title if twice[one.entry.name] > 1 else one.entry.name
        sides.append(Side(title, one, scored, flag))
        said.append(_answers(table, index, wanted, cut, output))
    sides = _apart_by_name(sides)
    chosen = list(combinations(range(len(sides)), 2))
    primary = protocol.primary
    differences = [
        paired_difference(sides[i].evaluation, sides[j].evaluation, primary.metric, primary.aggregation)
        for i, j in chosen
    ]
    corrected = holm([d.p for d in differences])
    pairs = tuple(
        _pair(sides[i], sides[j], said[i], said[j], d, p, index, wanted, cut, most)
        for (i, j), d, p in zip(chosen, differences, corrected, strict=True)
    )
    left_out = tuple(x for x in protocol.labels if x not in shared)
    return Comparison(cut, left_out, tuple(sides), pairs, len(wanted), index.synthetic)


def _apart_by_name(sides: list[Side]) -> list[Side]:
    """Gives two runs of one model that share a title their key's start."""
    count = Counter(s.name for s in sides)
    return [
        s
        if count[s.name] == 1
        else Side(f"{s.name} {s.stored.path.parent.name[:8]}", s.stored, s.scored, s.contamination)
        for s in sides
    ]


def _answers(
    table: pa.Table, index: Index, wanted: NDArray[np.int64], protocol: ProtocolFile, output: Output
) -> NDArray[Any]:
    """Returns a model's answers: float32 ``[samples, labels]``, bool for occurrence, class numbers for expressions."""
    place = places_of(table, index, wanted, protocol, output)
    found, scores = answers(values_of(table, place, output), protocol, output, protocol.labels)
    return found if scores is None else found.astype(bool)


def _pair(
    first: Side,
    second: Side,
    a: NDArray[Any],
    b: NDArray[Any],
    difference: Difference,
    p_holm: float | None,
    index: Index,
    wanted: NDArray[np.int64],
    protocol: ProtocolFile,
    most: int,
) -> Pair:
    from zoo.protocols.rules import truth as protocol_truth

    primary = protocol.primary
    one, two = first.evaluation, second.evaluation
    truth = protocol_truth(protocol, index)[wanted]
    others = [m for m in protocol.metrics if m != primary.metric and METRICS[m].scale]
    metric = primary.metric if one.get(primary.metric, primary.aggregation).per_label else "balanced_accuracy"
    share = None
    if protocol.task in ("expression", "au-occurrence"):
        share = float((a != b)[~np.isnan(truth)].mean()) if a.ndim == 2 else float((a != b).mean())
    return Pair(
        first=first.name, second=second.name, difference=difference, p_holm=p_holm,
        metrics=tuple((m, paired_difference(one, two, m, primary.aggregation)) for m in others),
        labels=_labels(one, two, a, b, truth, protocol, metric), label_metric=metric,
        subjects=_subjects(first, second, most // 2),
        samples=_samples(a, b, truth, index, wanted, protocol, most),
        answers=_confusions(a, b, truth, protocol) if protocol.task == "expression" else (), apart=share,
    )  # fmt: skip


def _labels(
    one: Evaluation,
    two: Evaluation,
    a: NDArray[Any],
    b: NDArray[Any],
    truth: NDArray[Any],
    protocol: ProtocolFile,
    metric: str,
) -> tuple[LabelDifference, ...]:
    primary = protocol.primary
    if metric not in protocol.metrics:
        return ()
    found = []
    sides = [{x.label: x.value for x in e.get(metric, primary.aggregation).per_label} for e in (one, two)]
    for number, label in enumerate(protocol.labels):
        coded = truth == number if truth.ndim == 1 else ~np.isnan(truth[:, number])
        x, y = (a[coded], b[coded]) if truth.ndim == 1 else (a[coded, number], b[coded, number])
        apart = np.abs(x - y) if a.dtype.kind == "f" else x != y
        difference = paired_difference(one, two, metric, primary.aggregation, label=label)
        found.append(
            (label, sides[0].get(label), sides[1].get(label), difference, float(apart.mean()) if len(x) else 0.0)
        )
    corrected = holm([d.p for _, _, _, d, _ in found])
    return tuple(LabelDifference(x, v, w, d, p, apart) for (x, v, w, d, apart), p in zip(found, corrected, strict=True))


def _subjects(first: Side, second: Side, most: int) -> tuple[SubjectDifference, ...]:
    theirs = {s.subject: s.value for s in second.scored.subjects}
    found = [
        SubjectDifference(s.subject, s.n, s.value, other)
        for s in first.scored.subjects
        if s.value is not None and (other := theirs.get(s.subject)) is not None
    ]
    return tuple(sorted(found, key=lambda s: (-abs(s.first - s.second), s.subject))[:most])


def _samples(
    a: NDArray[Any],
    b: NDArray[Any],
    truth: NDArray[Any],
    index: Index,
    wanted: NDArray[np.int64],
    protocol: ProtocolFile,
    most: int,
) -> tuple[Sample, ...]:
    if truth.ndim == 1:
        apart = ((a != b) & (truth >= 0)).astype(np.float64)
    else:
        distance = np.where(np.isnan(truth), 0.0, np.abs(a.astype(np.float64) - b.astype(np.float64)))
        apart = distance.mean(1)
    order = np.argsort(-apart, kind="stable")[:most]
    found = []
    for i in order[apart[order] > 0]:
        row = int(wanted[i])
        if truth.ndim == 1:
            names = [_class(protocol, int(v[i])) for v in (a, b, truth)]
            label = names[2]
        else:
            number = int(np.argmax(distance[i]))
            label = protocol.labels[number]
            names = [_value(v[i, number]) for v in (a, b, truth)]
        found.append(Sample(str(index.file[row]), int(index.frame[row]), label, names[0], names[1], names[2]))
    return tuple(found)


def _class(protocol: ProtocolFile, number: int) -> str:
    return protocol.labels[number] if number >= 0 else "no answer"


def _value(value: Any) -> str:
    return ("present" if value else "absent") if isinstance(value, np.bool_) else f"{float(value):.3g}"


def _confusions(
    a: NDArray[Any], b: NDArray[Any], truth: NDArray[Any], protocol: ProtocolFile
) -> tuple[tuple[str, str, int, int, int], ...]:
    differ = (a != b) & (truth >= 0)
    counts: Counter[tuple[int, int]] = Counter(zip(a[differ].tolist(), b[differ].tolist(), strict=True))
    right: Counter[tuple[int, int, str]] = Counter()
    for x, y, t in zip(a[differ].tolist(), b[differ].tolist(), truth[differ].tolist(), strict=True):
        right[x, y, "first"] += x == t
        right[x, y, "second"] += y == t
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    return tuple(
        (_class(protocol, x), _class(protocol, y), n, right[x, y, "first"], right[x, y, "second"])
        for (x, y), n in ordered
    )
