"""The latency record: what was timed, how, every sample, what the machine did meanwhile, and whether it may be used."""

from __future__ import annotations

import base64
import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from zoo._util.files import content_hash
from zoo.registry.labels import Task
from zoo.registry.schema import Frozen, Precision, RuntimeName
from zoo.results.record import Code, Environment, Estimate, RuntimeUsed, UsedFile
from zoo.runtimes.base import Variant

ScenarioName = Literal["SingleStream", "MultiStream", "Offline", "Video"]


class Scenario(Frozen):
    """How queries arrive; names after MLPerf's LoadGen."""

    name: ScenarioName
    batch: int = Field(default=1, ge=1)
    """Images a query: 1 in SingleStream and Video, 8 in MultiStream."""
    fps: float | None = Field(default=None, gt=0)
    """Video: frames that arrive in a second."""

    @property
    def title(self) -> str:
        """``SingleStream``, ``Offline, batch 32``, ``Video, 30 fps``."""
        if self.name == "Offline":
            return f"Offline, batch {self.batch}"
        if self.name == "MultiStream":
            return f"MultiStream, {self.batch} images a query"
        return f"Video, {self.fps:g} fps" if self.fps else self.name


class Asked(Frozen):
    """The runtime as asked for."""

    runtime: RuntimeName
    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int = Field(ge=1)
    """Of one inference."""
    streams: int = Field(default=1, ge=1)
    """Inferences at once."""
    variant: Variant = "eager"
    """Of torch; the other runtimes have no choice."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Asked:
        if self.variant != "eager" and self.runtime != "torch":
            raise ValueError(f"{self.runtime} has no variant '{self.variant}'; variants are torch's")
        return self

    @property
    def how(self) -> str:
        """``torch``, ``torch compiled``: the runtime, and the variant where it is not the usual one."""
        return self.runtime if self.variant == "eager" else f"{self.runtime} {self.variant}"

    @property
    def title(self) -> str:
        """``torch compiled cuda:0``: the same with the device where it is not the processor."""
        return self.how if self.device == "cpu" else f"{self.how} {self.device}"


class Baseline(Frozen):
    """What a suite's figures are divided by: the same model, scenario and threads, run this way."""

    runtime: RuntimeName
    device: str = "cpu"
    precision: Precision = "fp32"

    def is_this(self, asked: Asked) -> bool:
        """Whether a case is the baseline."""
        ours = (asked.runtime, asked.device, asked.precision)
        plain = asked.streams == 1 and asked.variant == "eager"
        return plain and ours == (self.runtime, self.device, self.precision)

    @property
    def title(self) -> str:
        """``torch fp32``."""
        device = "" if self.device == "cpu" else f" {self.device}"
        return f"{self.runtime}{device} {self.precision}"


class SuiteUsed(Frozen):
    """The suite."""

    ref: str
    """``name@version``."""
    hash: str
    title: str
    baseline: Baseline
    images: int | None = None
    """Images of a turn, in suites whose turns are rounds of so many images."""


class ModelTimed(Frozen):
    """What was timed."""

    name: str
    weights: Literal["published", "random"]
    """``random``: seeded weights in the structure; the time is that of any weights, the outputs mean nothing."""
    architecture: str
    tasks: tuple[Task, ...] = ()
    contract: str | None = None
    """Of the registry entry."""
    files: tuple[UsedFile, ...] = ()
    exported: str | None = None
    """sha256 of the graph that was exported from torch and run; None where a published file or torch itself ran."""
    input: tuple[int, ...] = ()
    """Height, width and channels of an image."""
    size: int | None = None
    """Bytes on disk of what was run: the published files, or the exported graph."""
    parameters: int | None = None
    flops: int | None = None
    """Floating-point operations of one image's convolutions and matrix products (a multiply-add counts as two), counted
    in torch; None where nothing counted."""


class Samples(Frozen):
    """Every kept sample: durations of queries, in the order taken."""

    count: int
    unit: int
    """Nanoseconds of one step; at most 1/2000 of the median, so that rounding moves nothing that is shown."""
    data: str
    """Steps as little-endian uint32, the four bytes of all samples apart, zlib, base64."""

    @classmethod
    def pack(cls, nanoseconds: NDArray[np.int64]) -> Samples:
        """Stores durations."""
        unit = 1
        while unit * 20_000 <= np.median(nanoseconds) or nanoseconds.max() // unit >= 2**32 - 1:
            unit *= 10
        steps = np.rint(nanoseconds / unit).astype("<u4")
        planes = steps.view(np.uint8).reshape(-1, 4).T.copy()
        return cls(count=len(steps), unit=unit, data=base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode())

    def nanoseconds(self) -> NDArray[np.int64]:
        """Returns the durations.

        Raises:
            ValueError: The text is not what ``pack`` writes.
        """
        planes = np.frombuffer(zlib.decompress(base64.b64decode(self.data, validate=True)), np.uint8)
        if len(planes) != 4 * self.count:
            raise ValueError(f"{self.count} samples are declared, the data holds {len(planes) / 4:g}")
        steps = planes.reshape(4, -1).T.copy().view("<u4").reshape(-1)
        return steps.astype(np.int64) * self.unit


class SliceTaken(Frozen):
    """One slice of a measurement; the cases of a group take turns, a slice each."""

    round: int
    kept: bool
    """False: the machine was disturbed beyond the suite's limits, and the slice was taken again."""
    queries: int
    images: int
    seconds: float
    median_ms: float
    stolen: float | None
    """Share of the wanted processor time that the hypervisor took."""
    foreign: float | None
    """Share of the usable cores' time that other processes took."""
    throttles: int | None = None
    joules: float | None = None
    """Energy of the processor packages, whoever used it."""
    gpu_joules: float | None = None
    """Energy of the GPU that the case runs on, as NVML counts it."""
    cores: tuple[int, ...] | None = None
    """The processors that it ran on, where it uses fewer than there are; other ones in the next round."""


class RuntimeTimed(RuntimeUsed):
    """What was timed, as the session says."""

    variant: Variant | None = None
    """Of torch."""
    mode: str | None = None
    """That ``torch.compile`` was given."""


class Percentile(Estimate):
    """A percentile of the query durations in milliseconds, with its 95 % interval."""

    percent: float


class FramesShown(Frozen):
    """Video only."""

    arrived: int
    dropped: int
    """Frames that were replaced by a newer one before the model was free."""
    real_time_factor: Estimate
    """Processing time of a second of video, in seconds; below 1 the model keeps up."""


class Startup(Frozen):
    """Before the first counted sample."""

    load_ms: float
    """From the call that opens the session to its return, libraries imported before; compiling is part of it, as far as
    the runtime has not kept an earlier result; making random weights is not."""
    first_ms: float
    """The first query after that; no other has been run by the process, but for a black picture through a module that
    ``torch.compile`` compiled, which is not compiled before it runs."""
    warm_up_queries: int
    warm_up_seconds: float
    stable: bool
    """Whether the medians of the last windows of the warm-up agreed."""
    large_pages: float | None = None
    """Share of the process's anonymous memory that lay on large pages when the warm-up began; None where the suite
    leaves pages alone, on a GPU, and where the system does not tell."""


class OutputChecked(Frozen):
    """How one output compares with the reference's."""

    tensor: str
    n: int
    max_abs: float | None
    """None: not a finite number, or another shape."""
    mean_abs: float | None
    relative: float | None
    """``max_abs`` over the largest absolute value of the reference."""
    decisions: float | None = None
    """Share of equal decisions: same expression, same side of the occurrence threshold; None for other outputs."""


class Parity(Frozen):
    """Whether the artefact computes what the reference computes."""

    reference: str
    """Runtime, version and precision of the reference, at one thread and one image at a time."""
    outputs: tuple[OutputChecked, ...]
    order: float | None
    """Largest relative difference when the same images come in another order and among other neighbours."""
    limit: float
    """On ``relative``."""
    order_limit: float
    decisions_limit: float
    passed: bool


class Verdict(Frozen):
    """Whether the figures may be used."""

    valid: bool
    reasons: tuple[str, ...] = ()
    """Why not."""


class LatencyRecord(Frozen):
    """One latency measurement."""

    schema_version: Literal[1] = 1
    kind: Literal["latency"] = "latency"
    created: str
    """UTC, ``YYYY-MM-DDTHH:MM:SSZ``."""
    run: str
    """Name of the run of the suite; figures of one run may be divided by each other."""
    group: int
    """Cases of one group took turns; only their slices pair up."""
    suite: SuiteUsed
    case: str
    """Hash of what was asked for."""
    model: ModelTimed
    stage: Literal["encoder", "pipeline"] = "encoder"
    """``encoder``: from the uint8 crop to the tensors. ``pipeline``: from the encoded picture to the labels."""
    scenario: Scenario
    asked: Asked
    runtime: RuntimeTimed | None = None
    """As read back from the session; None when it could not be opened."""
    startup: Startup | None = None
    samples: Samples | None = None
    slices: tuple[SliceTaken, ...] = ()
    percentiles: tuple[Percentile, ...] = ()
    throughput: Estimate | None = None
    """Images a second over the kept slices."""
    frames: FramesShown | None = None
    stages: dict[str, float] | None = None
    """Pipeline only: mean milliseconds of each stage of an image."""
    peak_rss_mib: float | None = None
    peak_gpu_mib: float | None = None
    """Most memory of the GPU that torch's tensors took, MiB; None where it cannot be told."""
    joules_per_image: float | None = None
    """Of the processor packages."""
    gpu_joules_per_image: float | None = None
    parity: Parity | None = None
    verdict: Verdict
    environment: Environment
    code: Code

    @property
    def id(self) -> str:
        """Hash of the content."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def file_name(self) -> str:
        """``<stamp>-<hash8>.json``."""
        stamp = self.created.replace("-", "").replace(":", "")
        return f"{stamp}-{self.id[:8]}.json"

    @property
    def folder(self) -> tuple[str, str]:
        """Folders below ``results/``: model and suite; random weights are told apart by name."""
        return self.model.name + ("+random" if self.model.weights == "random" else ""), self.suite.ref

    def percentile(self, percent: float) -> Percentile | None:
        """Returns one percentile, or None when the record does not hold it."""
        return next((p for p in self.percentiles if p.percent == percent), None)

    def round_medians(self) -> dict[int, float]:
        """Returns round -> median in milliseconds of the kept slices."""
        return {s.round: s.median_ms for s in self.slices if s.kept}
