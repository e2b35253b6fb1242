"""What `registry.yaml` may say: frozen models that refuse unknown keys.

The contract of an entry is everything that decides its numbers: the files (by hash), the way from pixels to the
input (:class:`Preprocess`), and the way from the network's tensors to named labels (:class:`Output`).
"""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from zoo._util.files import content_hash
from zoo.registry.labels import Task, labels_allowed
from zoo.registry.sources import parse_source

NAME = r"^[a-z0-9][a-z0-9.-]*$"

RuntimeName = Literal["onnxruntime", "openvino", "torch"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
FileFormat = Literal["onnx", "safetensors", "torch", "skops", "keras-hdf5", "tflite", "openvino-ir", "json"]


class Frozen(BaseModel):
    """Base: immutable, and an unknown key is an error rather than a silent nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _source_ok(text: str) -> str:
    parse_source(text)
    return text


SourceText = Annotated[str, AfterValidator(_source_ok)]


class FoldBinding(Frozen):
    """Ties a checkpoint to one fold: it may score that fold's test subjects and nothing else."""

    protocol: str
    """Protocol id without version whose folds the checkpoints follow, such as ``disfa-intensity-5fold``."""
    name: str
    """Name of the fold, which is the name of its test part."""
    test_subjects: tuple[str, ...]
    """Subjects that the checkpoint has not seen."""


class WeightFile(Frozen):
    """One file of an entry."""

    name: str = Field(pattern=r"^[\w+-][\w.+-]*$")
    """File name in the cache."""
    role: str = "model"
    """What the file is to its family: ``model``, ``encoder``, ``au-intensity`` ...; ``config``: a ``config.json``, in
    which the family ``hf-vit`` looks up the order of the classes."""
    format: FileFormat
    precision: Precision = "fp32"
    """Precision of the arithmetic that the file declares; int8 files are artefacts of their own."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Order of the axes that this file wants, where it is not the entry's."""
    sources: tuple[SourceText, ...] = Field(min_length=1)
    """In order of preference; see :mod:`zoo.registry.sources`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    git_sha1: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    """Hash of the git blob, for files whose publisher gives no sha256."""
    size: int | None = Field(default=None, gt=0)
    """Bytes."""
    fold: FoldBinding | None = None

    @model_validator(mode="after")
    def _verifiable(self) -> WeightFile:
        if not (self.sha256 or self.git_sha1):
            raise ValueError("give sha256 or git_sha1: a file that cannot be verified is not used")
        if not self.sha256 and any("@main:" in source for source in self.sources):
            raise ValueError("a Hub source at @main needs the file's sha256, or a 40-hex commit instead of main")
        return self


class WholeImage(Frozen):
    """The image is the face: resized to ``size``, nothing cut."""

    method: Literal["whole-image"] = "whole-image"


class Box(Frozen):
    """The detector's box, grown about its centre."""

    method: Literal["box"] = "box"
    expand: float = Field(default=1.0, gt=0, le=4)
    """Factor on the box's sides."""
    square: bool = True
    """True: side = the longer one (isotropic). False: both sides are kept (the resize is anisotropic)."""


class Similarity(Frozen):
    """Rotation, uniform scale and shift that carry landmarks onto a template, by least squares (Umeyama)."""

    method: Literal["similarity"] = "similarity"
    template: Literal["arcface-112", "openface-112"]
    """``arcface-112``: five points of the ArcFace crop. ``openface-112``: rigid points of OpenFace's mean shape."""


class LibreFaceQuad(Frozen):
    """LibreFace's FFHQ-style oriented crop, then a centre crop to ``size``."""

    method: Literal["libreface-quad"] = "libreface-quad"
    output: int = Field(default=256, gt=0)
    """Side in pixels of the aligned image before the centre crop."""
    supersample: int = Field(default=1, gt=0)
    """The research script warps to 4096 px and shrinks; 1 warps straight to ``output``."""


class EyeLineSquare(Frozen):
    """JAA-Net's crop: the square along the eyes' line about eyes, nose and mouth, then a centre crop to ``size``."""

    method: Literal["eye-line-square"] = "eye-line-square"
    expand: float = Field(default=2.9, gt=0, le=8)
    """Side of the square, by the longer side of the five points' box."""
    output: int = Field(default=200, gt=0)
    """Side in pixels of the aligned image before the centre crop."""


Align = Annotated[WholeImage | Box | Similarity | LibreFaceQuad | EyeLineSquare, Field(discriminator="method")]


class Preprocess(Frozen):
    """The way from an image to the network's input. Its hash names the contract."""

    detector: Literal["none", "mediapipe-short-range", "mediapipe-full-range", "yunet", "dataset-box"] = "none"
    """``none`` takes the image for the face (datasets of aligned crops)."""
    landmarks: Literal["none", "mesh-468", "mesh-478", "yunet-5"] = "none"
    faces: Literal["largest", "central", "tracked"] = "largest"
    """Which face counts when there are several. ``tracked``: in a video, the one that was the largest at the start is
    followed (:mod:`zoo.faces.track`); in a picture, the largest."""
    align: Align = WholeImage()
    size: tuple[int, int]
    """Height and width of the input in pixels."""
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    interpolation: Literal["pillow-bilinear", "pillow-bilinear-antialias", "pillow-bicubic-antialias"] = (
        "pillow-bilinear-antialias"
    )
    """Library and kernel of the one warp from the original pixels to ``size``."""
    scale: float = 1 / 255
    """The uint8 crop is multiplied by this, then ``mean`` is taken off and ``std`` divides."""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the axes that the network's file wants."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Preprocess:
        channels = 1 if self.colour == "gray" else 3
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, channels):
                raise ValueError(f"{name} needs 1 or {channels} values")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        method = self.align.method
        if method in ("similarity", "libreface-quad", "eye-line-square") and self.landmarks == "none":
            raise ValueError(f"align {method} needs landmarks")
        if method != "whole-image" and self.detector == "none":
            raise ValueError(f"align {method} needs a detector")
        return self

    @property
    def channels(self) -> int:
        """Channels of the crop: 1 for grey, else 3."""
        return 1 if self.colour == "gray" else 3

    @property
    def crop_hash(self) -> str:
        """Hash of the part that makes the uint8 crop: entries with the same one can share stored crops."""
        return content_hash(self.model_dump(exclude={"scale", "mean", "std", "layout"}), 16)

    @property
    def hash(self) -> str:
        """Hash of the whole contract, written into every record."""
        return content_hash(self.model_dump(), 16)


class Output(Frozen):
    """The way from one output tensor to one task's labels."""

    task: Task
    labels: tuple[str, ...] = Field(min_length=1)
    """In the tensor's order; the project's spelling (:mod:`zoo.registry.labels`)."""
    role: str = "model"
    """Role of the file that makes it."""
    tensor: str | None = None
    """Name of the output tensor; None where the file has one."""
    start: int = Field(default=0, ge=0)
    """First column of the tensor that belongs to this task."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """Applied here, because the file ends before it."""
    scale: float = 1.0
    clamp: tuple[float, float] | None = None
    threshold: float | None = None
    """Occurrence only: present when the value is at or above this."""

    @model_validator(mode="after")
    def _labels_known(self) -> Output:
        wrong = [x for x in self.labels if x not in labels_allowed(self.task)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not a label of the task {self.task}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if (self.task == "au-occurrence") != (self.threshold is not None):
            raise ValueError("threshold belongs to au-occurrence, and has to be given there")
        return self


class Reading(Frozen):
    """One of several ways to read an output's tensor, where the publisher's own sources disagree.

    ``zoo.check model=...`` runs faces from rest to full strength and tells which reading the real file supports: the
    one whose two ranges hold the tensor's 1st and 99th percentile, if it is the only one.
    """

    name: str = Field(pattern=NAME)
    task: Task
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    scale: float = 1.0
    threshold: float | None = None
    low: tuple[float, float]
    """Where the 1st percentile of the file's raw values lies on such faces if this reading is right."""
    high: tuple[float, float]
    """Where the 99th percentile lies."""
    source: str
    """Who reads it so, and where the ranges come from."""

    @model_validator(mode="after")
    def _in_order(self) -> Reading:
        if self.low[0] > self.low[1] or self.high[0] > self.high[1]:
            raise ValueError("a range is its lower and its upper end")
        return self

    def is_of(self, output: Output) -> bool:
        """Whether an output is declared in this reading."""
        mine = (self.task, self.activation, self.scale, self.threshold)
        return mine == (output.task, output.activation, output.scale, output.threshold)


class Licence(Frozen):
    """Terms of the weights."""

    name: str
    """SPDX identifier, or the licence's own name."""
    commercial_use: bool | Literal["unknown"]
    redistribution: bool | Literal["ask", "unknown"] = "unknown"
    """Whether the files may be passed on, converted as well. ``ask``: what is said of it does not settle it, so that
    the owners have to be asked. ``unknown``: as the licence's name tells, if it does."""
    redistribution_source: str | None = None
    """Who says so, and under which conditions."""
    url: str | None = None
    note: str | None = None


class Training(Frozen):
    """What one dataset was to a model's making."""

    dataset: str
    """Dataset name in this project, or a plain name for sets it does not hold."""
    subjects: Literal["all", "fold", "unknown"] | tuple[str, ...] = "unknown"
    """``fold``: each checkpoint's own training fold, that is every subject but its test subjects."""
    split: str | None = None
    """Split trained on, where the dataset has splits: ``train``."""
    use: Literal["training", "selection", "pretraining"] = "training"
    """``selection``: only the checkpoint or epoch was chosen on it."""
    source: str | None = None
    """Who says so."""


class Reference(Frozen):
    """A paper or a repository."""

    title: str
    url: str | None = None
    arxiv: str | None = Field(default=None, pattern=r"^\d{4}\.\d{4,5}$")
    year: int | None = None


Status = Literal["verified", "unverified", "external", "reported-only", "deprecated"]
"""``external``: computed by a program that the user installs, whose output is scored; ``reported-only``: known by
published figures alone."""


class ModelEntry(Frozen):
    """One model of the zoo."""

    name: str = Field(pattern=NAME)
    title: str
    family: str
    """Module of :mod:`zoo.models` that knows the structure and the checkpoint layout; ``onnx`` needs no code."""
    tasks: tuple[Task, ...]
    weights: tuple[WeightFile, ...] = ()
    architecture: str
    """timm name or the project's own; models with one structure share the name."""
    parameters: int | None = Field(default=None, gt=0)
    """Trained parameters."""
    preprocess: Preprocess | None = None
    outputs: tuple[Output, ...] = ()
    readings: tuple[Reading, ...] = ()
    """The ways to read an output that are open: two or more a task, one of them the declared one."""
    licence: Licence
    trained_on: tuple[Training, ...] = ()
    paper: Reference | None = None
    repository: str | None = None
    status: Status
    notes: str | None = None
    """What a user must know and the other fields cannot say; of a reported-only entry, why it cannot be run."""
    _file: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _whole(self) -> ModelEntry:
        for task in {r.task for r in self.readings}:
            open_ = [r for r in self.readings if r.task == task]
            declared = [r for r in open_ for o in self.outputs if r.is_of(o)]
            if len({r.name for r in open_}) != len(open_) or len(open_) < 2 or len(declared) != 1:
                raise ValueError(f"readings of {task}: give two or more by name, one of them as the output declares it")
        if not self.runnable:
            if self.weights:
                raise ValueError(f"an entry with the status {self.status} has no weights")
            if self.status == "external" and not (self.outputs and self.notes):
                raise ValueError("an external entry needs outputs, and notes that say which program computes it")
            return self
        missing = [f for f in ("weights", "preprocess", "outputs") if not getattr(self, f)]
        if missing:
            raise ValueError(f"a runnable entry needs {', '.join(missing)}")
        if set(self.tasks) != {o.task for o in self.outputs}:
            raise ValueError("tasks and the outputs' tasks differ")
        roles = {w.role for w in self.weights}
        for output in self.outputs:
            if output.role not in roles:
                raise ValueError(f"output {output.task}: no weights file has the role '{output.role}'")
        names = [w.name for w in self.weights]
        if len(set(names)) != len(names):
            raise ValueError("two weights files share a name")
        return self

    @property
    def where(self) -> str:
        """The registry file that it was read from, and its key there; for the ``where`` of errors."""
        return f"{self._file or 'registry.yaml'}: models.{self.name}"

    @property
    def selector(self) -> str:
        """What chooses it on a command line: ``model=``, and ``registry=`` where it is not of the zoo's own file."""
        if (file := self._file) is None:
            return f"model={self.name}"
        here = Path.cwd()
        return f"model={self.name} registry={quote(str(file.relative_to(here) if file.is_relative_to(here) else file))}"

    def read_from(self, file: Path) -> None:
        """Notes the registry file that the entry was read from, where it is not the zoo's own."""
        self._file = file

    def output(self, task: Task) -> Output:
        """Returns the output of a task."""
        return next(o for o in self.outputs if o.task == task)

    @property
    def runnable(self) -> bool:
        """Whether it can be run here; one that cannot may still declare outputs, for predictions made elsewhere."""
        return self.status not in ("external", "reported-only")

    @property
    def no_run(self) -> str:
        """Why it cannot be run here, to follow its name; empty where it can."""
        return {
            "external": "is computed by a program that you install",
            "reported-only": "is known by reported numbers only",
        }.get(self.status, "")

    @property
    def fold_bound(self) -> bool:
        """Whether the checkpoints are tied to folds."""
        return any(w.fold for w in self.weights)

    @property
    def contract_hash(self) -> str:
        """Hash of what decides the numbers: files, preprocessing and outputs."""
        dump: dict[str, Any] = self.model_dump(mode="json", include={"preprocess", "outputs", "architecture", "family"})
        dump["weights"] = [[w.name, w.role, w.sha256 or w.git_sha1] for w in self.weights]
        return content_hash(dump, 16)


class RegistryFile(Frozen):
    """A whole registry file."""

    schema_version: Literal[1]
    models: tuple[ModelEntry, ...]

    @model_validator(mode="after")
    def _names_once(self) -> RegistryFile:
        seen: set[str] = set()
        for entry in self.models:
            if entry.name in seen:
                raise ValueError(f"the name '{entry.name}' occurs twice")
            seen.add(entry.name)
        return self


def slug(text: str) -> str:
    """Returns text as a file-name part: lower case, anything else a hyphen."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
