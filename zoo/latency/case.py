"""What is to be timed: a case, and the job that carries it to a process of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zoo._util.files import content_hash
from zoo.registry.labels import Task
from zoo.registry.schema import Frozen, ModelEntry, Preprocess
from zoo.results.latency_record import Asked, Scenario

Stage = Literal["encoder", "pipeline"]
Weights = Literal["published", "random"]


class Case(Frozen):
    """One measurement: model x runtime x precision x threads x batch x scenario."""

    model: str
    weights: Weights = "published"
    tasks: tuple[Task, ...] = ()
    """Of a published model; empty for a structure."""
    fold: str | None = None
    """Checkpoint that is timed, for models with one a fold: they differ in values only."""
    stage: Stage = "encoder"
    asked: Asked
    scenario: Scenario
    fixed: bool = True
    """Whether the session is opened for this batch size only, which lets a runtime compile for it."""
    seed: int = 0
    """Of random weights and of the inputs."""

    @property
    def id(self) -> str:
        """Hash of what is asked for."""
        return content_hash(self.model_dump(mode="json"), 16)

    @property
    def title(self) -> str:
        """For people, on one line."""
        a = self.asked
        random = " (random weights)" if self.weights == "random" else ""
        streams = f", {a.streams} streams" if a.streams > 1 else ""
        variant = "" if a.variant == "eager" else f" {a.variant}"
        return (
            f"{self.model}{random} {self.stage} {a.runtime}{variant} {a.device} {a.precision}, "
            f"{a.threads} threads{streams}, "
            f"{self.scenario.title}"
        )


class Job(Frozen):
    """A case with all that its process needs."""

    case: Case
    entry: ModelEntry | None = None
    """Of a published model."""
    preprocess: Preprocess | None = None
    """How faces are cropped for a structure in a pipeline."""
    files: dict[str, str] = Field(default_factory=dict)
    """Located files: name -> path."""
    opener: str = "zoo.latency.workloads:open_job"
    """``module:function`` that opens it in the process."""
