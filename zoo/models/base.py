"""What a family of models gives to the runtimes, and which of an entry's files it needs for a task.

A family is one module of this package with a ``FAMILY``. It reads checkpoints and describes the network in up to
three forms; a runtime takes the one that is nearest to it:

| form | who runs it |
|---|---|
| ``onnx``: an ONNX graph with a float input, as published | ONNX Runtime, OpenVINO |
| ``native``: a file that OpenVINO reads itself (TFLite, IR) | OpenVINO |
| ``torch``: a module | torch; exported to ONNX for the other two |

Scaling, mean and std are not part of any form: sessions put them in front (:mod:`zoo.runtimes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from zoo.errors import ContractError, RegistryError, RuntimeUnavailableError, UnknownNameError, UsageError
from zoo.registry.labels import Task
from zoo.registry.schema import FileFormat, ModelEntry, Precision, RuntimeName, WeightFile

if TYPE_CHECKING:
    import onnx
    from torch import nn

Files = Mapping[str, Path]
"""Located files: ``WeightFile.name`` -> path."""


@dataclass(frozen=True)
class Graph:
    """One network in the forms that its family can give. Nothing is read before a form is asked for.

    Attributes:
        onnx: Makes the ONNX graph: one float input ``[n, channels, height, width]`` (or the entry's layout), outputs
            named as :class:`~zoo.registry.schema.Output` names them.
        torch: Makes the module: float NCHW in, ``dict[str, Tensor]`` out, ready for inference (``eval``).
        native: A TFLite or IR file, and the IR's weights file.
    """

    onnx: Callable[[], onnx.ModelProto] | None = None
    torch: Callable[[], nn.Module] | None = None
    native: tuple[Path, Path | None] | None = None


def output_roles(entry: ModelEntry, tasks: Sequence[Task]) -> set[str]:
    """Returns the roles of the files that make the outputs of ``tasks``."""
    return {entry.output(task).role for task in tasks}


@dataclass(frozen=True)
class Family:
    """How one family reads its files.

    Attributes:
        graph: (entry, the files in use, tasks) -> :class:`Graph`.
        roles: (entry, tasks) -> roles of the files that the tasks need.
    """

    graph: Callable[[ModelEntry, Files, Sequence[Task]], Graph]
    roles: Callable[[ModelEntry, Sequence[Task]], set[str]] = output_roles


FAMILIES = {
    "onnx": "zoo.models.onnx_graph",
    "libreface-onnx": "zoo.models.libreface",
    "libreface-torch": "zoo.models.libreface_torch",
    "mini-xception": "zoo.models.mini_xception",
    "embedding-head": "zoo.models.embedding_head",
    "hog-ridge": "zoo.models.hog_ridge",
    "timm": "zoo.models.timm_model",
    "hf-vit": "zoo.models.hf_vit",
    "openface3": "zoo.models.openface3",
    "dan": "zoo.models.dan",
    "jaa-net": "zoo.models.jaa_net",
    "me-graphau": "zoo.models.me_graphau",
    "opengraphau": "zoo.models.opengraphau",
    "resmasknet": "zoo.models.resmasknet",
    "emonet": "zoo.models.emonet",
    "emo-affectnet": "zoo.models.emo_affectnet",
    "py-feat-multitask": "zoo.models.py_feat_multitask",
    "py-feat-classifiers": "zoo.models.py_feat",
}
"""Family -> module with its ``FAMILY``. Packages add more by the entry point group ``zoo.families``."""


def load_family(name: str, where: str | None = None) -> Family:
    """Returns a family by the name that registry entries use.

    Args:
        name: Its name.
        where: Where the name stands, for the error.

    Raises:
        UnknownNameError: No module and no installed package gives it.
    """
    if name in FAMILIES:
        return cast("Family", import_module(FAMILIES[name]).FAMILY)
    added = {point.name: point for point in entry_points(group="zoo.families")}
    if name in added:
        return cast("Family", added[name].load())
    raise UnknownNameError("family", name, [*FAMILIES, *added], where=where)


# Which of several files of one role serves a runtime, best first. A format that is not listed cannot serve it.
_FORMATS: dict[str, tuple[FileFormat, ...]] = {
    "onnxruntime": ("onnx", "safetensors", "torch", "skops", "keras-hdf5", "json"),
    "openvino": ("openvino-ir", "onnx", "safetensors", "torch", "skops", "keras-hdf5", "tflite", "json"),
    "torch": ("safetensors", "torch", "skops", "keras-hdf5", "onnx", "json"),
}


RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def check_names(runtime: str, precision: str) -> None:
    """Refuses runtimes and precisions that do not exist.

    Raises:
        UnknownNameError: Suggests the nearest one.
    """
    if runtime not in RUNTIMES:
        raise UnknownNameError("runtime", runtime, RUNTIMES)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)


def check_tasks(entry: ModelEntry, tasks: Sequence[Task]) -> None:
    """Refuses an empty task list and tasks that the entry does not have.

    Raises:
        UsageError: No task.
        UnknownNameError: A task that the entry does not have.
    """
    if not tasks:
        raise UsageError(f"no task asked of {entry.name}", fix="use one of: " + ", ".join(entry.tasks))
    for task in tasks:
        if task not in entry.tasks:
            raise UnknownNameError("task", task, entry.tasks, where=entry.where)


def check_columns(entry: ModelEntry, task: Task, columns: Sequence[str]) -> None:
    """Holds an output's labels against the order in which the publisher's code has the tensor's columns.

    Raises:
        RegistryError: Names the first column that is labelled otherwise.
    """
    output = entry.output(task)
    for number, label in enumerate(output.labels, output.start):
        if number >= len(columns) or columns[number] != label:
            has = f"column {number} is {columns[number]}" if number < len(columns) else f"it has {len(columns)} columns"
            raise RegistryError(
                f"{entry.name}: column {number} of {task} is labelled {label}", where=entry.where, why=has,
                fix="give the labels in this order: " + ", ".join(columns),
            )  # fmt: skip


def _of_fold(entry: ModelEntry, found: list[WeightFile], fold: str | None) -> list[WeightFile]:
    folds = [w.fold.name for w in found if w.fold]
    if not folds:
        return found
    if fold is None:
        raise UsageError(
            f"{entry.name} has one checkpoint a fold and no fold was named", where=entry.where,
            fix="name one of: " + ", ".join(dict.fromkeys(folds)),
        )  # fmt: skip
    if fold not in folds:
        raise UnknownNameError("fold", fold, set(folds), where=entry.where)
    return [w for w in found if w.fold and w.fold.name == fold]


def select_files(
    entry: ModelEntry,
    tasks: Sequence[Task],
    *,
    runtime: str,
    precision: str = "fp32",
    fold: str | None = None,
) -> tuple[WeightFile, ...]:
    """Returns the files to locate before a session can be opened: for these tasks only, and of one fold only.

    ``int8`` wants a file of its own. ``bf16`` and ``fp16`` use a file declared so, else the fp32 file, which the
    runtime then computes in that precision (or refuses).

    Args:
        entry: The model.
        tasks: Tasks wanted.
        runtime: Runtime that will run it.
        precision: Arithmetic asked for.
        fold: Name of the fold, for entries with one checkpoint a fold; ignored by others.

    Raises:
        UsageError: No task, or a fold-bound entry and no fold.
        UnknownNameError: A task or a fold that the entry does not have.
        RuntimeUnavailableError: The entry has no file for that runtime and precision.
    """
    check_names(runtime, precision)
    check_tasks(entry, tasks)
    files: list[WeightFile] = []
    for role in sorted(load_family(entry.family, entry.where).roles(entry, tasks)):
        found = _of_fold(entry, [w for w in entry.weights if w.role == role], fold)
        if not found:
            raise RegistryError(f"{entry.name}: no weights file has the role '{role}'", where=entry.where)
        exact = [w for w in found if w.precision == precision or w.format == "json"]  # text has no precision
        if not exact and precision in ("bf16", "fp16"):
            exact = [w for w in found if w.precision == "fp32"]
        if not exact:
            have = ", ".join(sorted({w.precision for w in found}))
            raise RuntimeUnavailableError(
                f"{entry.name} has no {precision} file", where=f"{entry.where}, role '{role}'",
                why=f"its files are {have}", fix=f"use precision={found[0].precision}",
            )  # fmt: skip
        formats = [f for f in _FORMATS[runtime] if any(w.format == f for w in exact)]
        if not formats:
            raise RuntimeUnavailableError(
                f"{runtime} cannot run {entry.name} in {precision}", where=entry.where,
                why="its file is " + ", ".join(sorted({w.format for w in exact})), fix="use runtime=openvino",
            )  # fmt: skip
        chosen = [w for w in exact if w.format == formats[0]]
        if len(chosen) > (2 if formats[0] == "openvino-ir" else 1):  # an IR is a graph and its weights
            raise RegistryError(
                f"{entry.name}: {', '.join(w.name for w in chosen)} are interchangeable, so none can be chosen",
                where=entry.where, fix="give them different roles, precisions or folds, or make two entries",
            )  # fmt: skip
        files += chosen
    return tuple(files)


def in_use(entry: ModelEntry, files: Files, role: str) -> list[tuple[WeightFile, Path]]:
    """Returns the located files of one role.

    Raises:
        UsageError: No file of that role was located, or files of several folds were.
    """
    found = [(w, files[w.name]) for w in entry.weights if w.role == role and w.name in files]
    if not found:
        names = ", ".join(w.name for w in entry.weights if w.role == role)
        raise UsageError(f"{entry.name}: no file of the role '{role}' was given", fix=f"locate {names} first")
    folds = {w.fold.name for w, _ in found if w.fold}
    if len(folds) > 1:
        raise UsageError(f"{entry.name}: files of several folds were given: {', '.join(sorted(folds))}")
    return found


def the_file(entry: ModelEntry, files: Files, role: str) -> tuple[WeightFile, Path]:
    """Returns the one located file of a role.

    Raises:
        UsageError: None was located, or several.
    """
    found = in_use(entry, files, role)
    if len(found) > 1:
        raise UsageError(f"{entry.name}: several files of the role '{role}' were given", fix="give one of them")
    return found[0]


def native_file(entry: ModelEntry, files: Files, role: str) -> tuple[Path, Path | None] | None:
    """Returns the file that OpenVINO reads itself, and an IR's weights file; None where the file is another format.

    Raises:
        ContractError: An IR without its ``.bin`` or ``.xml``.
    """
    found = in_use(entry, files, role)
    if found[0][0].format == "tflite":
        return the_file(entry, files, role)[1], None
    if found[0][0].format != "openvino-ir":
        return None
    parts = {Path(w.name).suffix: path for w, path in found}
    if parts.keys() != {".xml", ".bin"}:
        raise ContractError(
            f"{entry.name}: an OpenVINO IR is one .xml and one .bin file", why="given: " + ", ".join(sorted(parts))
        )
    return parts[".xml"], parts[".bin"]
