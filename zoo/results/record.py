"""The result record: everything needed to trust one measurement, or to doubt it.

A record is written once, under a name that holds its own hash, and never changed. Boards are drawn from records and
from nothing else.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zoo._util.files import content_hash
from zoo.protocols.schema import Aggregation, MetricName
from zoo.registry.labels import Task
from zoo.registry.schema import Frozen, Status

Contamination = Literal["held_out", "in_sample", "identity_overlap", "selection_only", "unknown"]
Rule = Literal["undetected-as-error", "undetected-skipped"]
"""What a sample without a face is: a wrong answer (the primary rule), or no sample."""


class Estimate(Frozen):
    """A value and its 95 % interval; null where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class LabelScore(Estimate):
    """One metric for one AU, class or dimension."""

    label: str
    n: int
    """Samples that count."""
    n_pos: int | None = None
    """Of them positive (occurrence, classes) or above zero (intensity)."""
    threshold: float | None = None
    """Best-threshold F1 only: the threshold found."""


class MetricScore(Frozen):
    """One metric under one aggregation."""

    metric: MetricName
    aggregation: Aggregation
    mean: Estimate
    """The headline: the mean over the model's own labels of the protocol as the metric's users report it (one of the
    two below; :data:`zoo.metrics.METRICS` says which); the score itself where a metric has no labels."""
    mean_defined: Estimate
    """Mean over labels, undefined ones left out."""
    mean_strict: Estimate
    """Mean over labels, undefined ones counted as 0."""
    mean_missing_zero: Estimate | None = None
    """Mean over all labels of the protocol, those that the model lacks counted as 0 (scores, not errors)."""
    undefined: int = 0
    """How many labels have no defined value."""
    per_label: tuple[LabelScore, ...] = ()


class View(Frozen):
    """All metrics under one rule for samples without a face."""

    rule: Rule
    samples: int
    scores: tuple[MetricScore, ...]


class LabelAudit(Frozen):
    """Whether the declared order of a model's labels is the best of the documented ones."""

    metric: str
    """What was compared: ``accuracy`` of expressions, mean ``pcc`` of AUs."""
    declared: float
    """Under the order that the entry declares."""
    best_other: float
    """Under the best other documented order."""
    order: tuple[str, ...]
    """That order."""
    order_of: str
    """Who uses it."""
    beaten: bool
    """Whether it beats the declared one clearly: the columns may be mixed up."""


class Coverage(Frozen):
    """What became of the samples of the protocol."""

    expected: int | None
    """Samples of a whole copy; None where the owners' count is not known."""
    samples: int
    """Samples in this copy that the protocol scores."""
    detected: int
    """Of them with a face."""
    undetected: int
    undecodable: int
    """Files or frames that could not be decoded; they count as undetected."""


class UsedFile(Frozen):
    """A weights file that was used."""

    name: str
    sha256: str
    fold: str | None = None


class ModelUsed(Frozen):
    """The model as it was run."""

    name: str
    contract: str
    """Hash of files, preprocessing and outputs."""
    preprocess: str
    """Hash of the preprocess contract."""
    steps: tuple[str, ...]
    """The preprocess contract in words."""
    weights: tuple[UsedFile, ...]
    missing_labels: tuple[str, ...] = ()
    """Labels of the protocol that the model does not give."""
    derived: str | None = None
    """How the task's values come from another task's: ``au-intensity >= 2``."""
    status: Status


class ProtocolUsed(Frozen):
    """The protocol."""

    ref: str
    hash: str


class DatasetUsed(Frozen):
    """The copy of the dataset."""

    name: str
    manifest: str
    identities: str
    synthetic: bool
    options: dict[str, str] = Field(default_factory=dict)
    """How the copy was read: ``camera`` and the like."""
    subjects: int
    complete: bool
    """Whether every subject and count that the protocol expects is there."""
    findings: tuple[str, ...] = ()
    """Warnings and errors of the integrity check, one line each, without paths outside the dataset's root."""


class RuntimeUsed(Frozen):
    """What ran it."""

    runtime: str
    version: str
    device: str
    precision: str
    threads: int
    streams: int
    provider: str | None
    batch: int


class Environment(Frozen):
    """The machine and the software."""

    system: str
    machine: str
    cpu: str
    cpu_flags: tuple[str, ...]
    """Of the instruction sets that matter to inference, those that the processor has."""
    cores_machine: int
    cores_usable: int
    """By affinity and quota."""
    quota: float | None
    """CPU quota of the control group, in cores."""
    governor: str | None
    memory_gib: float
    gpu: str | None
    python: str
    packages: dict[str, str]


class Code(Frozen):
    """The zoo's own state."""

    version: str
    commit: str | None
    dirty: bool | None


class Seeds(Frozen):
    """What was drawn at random, and how often."""

    bootstrap: int
    resamples: int


class Cost(Frozen):
    """What the run took."""

    seconds: float
    resumed: bool
    """Whether part of the predictions came from an earlier, interrupted or finished run."""
    peak_rss_mib: float


class SubjectScore(Frozen):
    """One subject's mean of the primary metric."""

    subject: str
    n: int
    value: float | None


class ResultRecord(Frozen):
    """One accuracy measurement."""

    schema_version: Literal[1] = 1
    kind: Literal["accuracy"] = "accuracy"
    created: str
    """UTC, ``YYYY-MM-DDTHH:MM:SSZ``."""
    model: ModelUsed
    protocol: ProtocolUsed
    dataset: DatasetUsed
    task: Task
    contamination: Contamination
    contamination_note: str | None = None
    coverage: Coverage
    views: tuple[View, ...]
    tuned: View | None = None
    """Occurrence with folds: each AU's threshold chosen for the best F1 on the other folds' subjects. Never the
    headline; shown apart."""
    label_audit: LabelAudit | None = None
    subjects: tuple[SubjectScore, ...] = ()
    """Per subject, under the primary rule; named by position for datasets whose subject names may not be published."""
    runtime: RuntimeUsed
    environment: Environment
    code: Code
    seeds: Seeds
    cost: Cost
    predictions: str
    """Key of the stored predictions."""

    @property
    def id(self) -> str:
        """Hash of the content."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def file_name(self) -> str:
        """``<stamp>-<hash8>.json``."""
        stamp = self.created.replace("-", "").replace(":", "")
        return f"{stamp}-{self.id[:8]}.json"

    def score(self, metric: str, aggregation: str, rule: str = "undetected-as-error") -> MetricScore | None:
        """Returns one metric's score, or None when the record does not hold it."""
        for view in self.views:
            if view.rule == rule:
                for score in view.scores:
                    if (score.metric, score.aggregation) == (metric, aggregation):
                        return score
        return None
