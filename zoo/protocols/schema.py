"""What a protocol file may say. Changing anything that moves a number is a new version."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from zoo._util.files import content_hash
from zoo.registry.labels import Task, labels_allowed
from zoo.registry.schema import NAME, Frozen, Reference

Aggregation = Literal["pooled", "mean_over_folds"]
MetricName = Literal[
    "pcc", "icc31", "ccc", "mae", "mse", "rmse",
    "f1", "accuracy", "auc", "f1_best",
    "balanced_accuracy", "macro_f1",
    "sagr",
]  # fmt: skip


class Fold(Frozen):
    """One fold, named by its test part."""

    name: str = Field(pattern=NAME)
    test: tuple[str, ...] = Field(min_length=1)
    """Test subjects."""


class Primary(Frozen):
    """The headline figure."""

    metric: MetricName
    aggregation: Aggregation = "pooled"


class Paper(Reference):
    """A paper that uses this protocol."""

    table: str | None = None
    reproduces: Literal["yes", "approximately", "no"]
    """Whether a figure measured here means what the paper's table means."""
    why: str | None = None


class ProtocolFile(Frozen):
    """One protocol: what is scored, on whom, how."""

    id: str = Field(pattern=NAME)
    version: int = Field(ge=1)
    title: str
    dataset: str
    task: Task
    labels: tuple[str, ...] = Field(min_length=1)
    """AUs, classes or affect dimensions, in the order shown."""
    labels_from_copy: bool = False
    """Whether those of the labels are scored that the copy codes, as in a user's own table. Otherwise a copy that lacks
    one is refused."""
    split: str | None = None
    """Split of the dataset that is scored; None where folds decide."""
    frames: str = "all"
    """Named frame set of the dataset reader."""
    dataset_options: dict[str, str] = Field(default_factory=dict)
    """Options of the dataset reader that the protocol fixes, such as the rule that makes FER+ votes a label."""
    folds: tuple[Fold, ...] = ()
    fold_aliases: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Numbering of other repositories: repository -> their name -> our fold name."""
    split_confidence: Literal["A", "B", "C"] = "A"
    """A: the split is in two independent sources. B: in one. C: reconstructed; boards say so."""
    binarise_at: float | None = None
    """Occurrence from intensity labels: present at or above this."""
    threshold: float | None = None
    """Fixed decision threshold for occurrence predictions; None: the one of the model's entry."""
    intensity_threshold: float = 2.0
    """Occurrence from a model that gives intensities only: present at or above this, on the 0 to 5 scale. Py-Feat's
    comparison uses 2."""
    metrics: tuple[MetricName, ...] = Field(min_length=1)
    primary: Primary
    extra_classes: Literal["drop", "wrong"] = "drop"
    """Expression: a model's classes that the protocol does not have. ``drop``: their scores are dropped before the
    arg-max, as HSEmotion does on AffectNet-7. ``wrong``: the arg-max is over all, and such an answer is wrong, as
    Py-Feat does."""
    undetected: Literal["absent", "wrong"]
    """Primary rule for samples without a face. ``absent``: every AU predicted 0, as OpenFace writes failed frames.
    ``wrong``: counts as a wrong class. Skipping them is shown beside it with the coverage."""
    clusters: Literal["subject", "sample", "subject-or-sample"] = "subject"
    """Unit of the bootstrap. ``subject-or-sample``: subjects where the copy names one for every sample, else
    samples."""
    synthetic: bool = False
    """A rehearsal on rendered faces; never ranked beside real data."""
    papers: tuple[Paper, ...] = ()
    notes: str | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> ProtocolFile:
        wrong = [x for x in self.labels if x not in labels_allowed(self.task)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not a label of the task {self.task}")
        if self.primary.metric not in self.metrics:
            raise ValueError("the primary metric is not among the metrics")
        seen: dict[str, str] = {}
        for fold in self.folds:
            for subject in fold.test:
                if subject in seen:
                    raise ValueError(f"subject {subject} is in the test parts of {seen[subject]} and {fold.name}")
                seen[subject] = fold.name
        names = {f.name for f in self.folds}
        for repository, aliases in self.fold_aliases.items():
            if unknown := set(aliases.values()) - names:
                raise ValueError(f"fold_aliases.{repository}: no fold named {', '.join(sorted(unknown))}")
        if (self.undetected == "wrong") != (self.task == "expression"):
            raise ValueError("undetected: 'wrong' is the rule of expressions, 'absent' of the other tasks")
        return self

    @property
    def ref(self) -> str:
        """The name with its version, as records write it: ``disfa-intensity-5fold@1``."""
        return f"{self.id}@{self.version}"

    @property
    def hash(self) -> str:
        """Hash of what moves a number: not of titles, papers or notes."""
        # Defaults are left out, so that a field added later does not move the hash of older protocols.
        dump = self.model_dump(exclude={"title", "papers", "notes", "fold_aliases"}, exclude_defaults=True)
        return content_hash(dump, 16)

    @property
    def clusters_title(self) -> str:
        """The unit of the bootstrap in words."""
        named = {
            "subject": "subjects",
            "sample": "images",
            "subject-or-sample": "subjects (images where none are named)",
        }
        return named[self.clusters]

    @property
    def open(self) -> bool:
        """Whether it is for pictures of the user's choice: nothing measured under it can be ranked or looked up."""
        return self.dataset in ("folder", "hub")

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every test subject of every fold."""
        return tuple(s for f in self.folds for s in f.test)
