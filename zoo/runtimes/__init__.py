"""Runtimes: PyTorch, ONNX Runtime and OpenVINO behind one :class:`~zoo.runtimes.base.Session`.

Nothing falls back: what cannot be had raises :class:`~zoo.errors.RuntimeUnavailableError`, and what runs is read back
from the runtime into :class:`~zoo.runtimes.base.SessionInfo`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zoo._util.cpu import usable_cores
from zoo._util.files import sha256_of
from zoo._util.optional import need
from zoo.errors import RuntimeUnavailableError, UnknownNameError, UsageError, ZooError
from zoo.models.base import RUNTIMES, Graph, check_names, load_family, select_files
from zoo.models.heads import verify_contract
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, RuntimeName
from zoo.runtimes.base import Session, SessionInfo, Tensors, Variant

if TYPE_CHECKING:
    import onnx

__all__ = ["Session", "SessionInfo", "Tensors", "available", "default_runtime", "open_session"]


def available() -> dict[RuntimeName, str | None]:
    """Returns each runtime's installed version, None where it is not installed. Imports none of them."""
    found: dict[RuntimeName, str | None] = {}
    for name in RUNTIMES:
        packages = ("onnxruntime", "onnxruntime-gpu") if name == "onnxruntime" else (name,)
        found[name] = next((v for v in map(_version, packages) if v), None)
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def default_runtime(entry: ModelEntry) -> RuntimeName:
    """Returns the runtime of an entry where the user names none: a property of the entry, never of the machine.

    It is ONNX Runtime, which computes an fp32 graph in fp32 everywhere; OpenVINO for entries that have only TFLite
    or IR files, which nothing else here reads.
    """
    native = all(w.format in ("tflite", "openvino-ir") for w in entry.weights) and entry.weights
    return "openvino" if native else "onnxruntime"


def open_session(
    entry: ModelEntry,
    files: Mapping[str, Path],
    tasks: Sequence[Task],
    *,
    runtime: str,
    device: str = "cpu",
    precision: str = "fp32",
    threads: int | None = None,
    streams: int = 1,
    batch: int | None = None,
    variant: str | None = None,
    verify: bool = True,
) -> Session:
    """Loads a model into a runtime and checks on a black picture that it does what its entry declares.

    Args:
        entry: The model.
        files: Located files, ``WeightFile.name`` -> path: those that :func:`zoo.models.base.select_files` names for
            these tasks, this runtime, precision and fold. Files that it does not name are not used.
        tasks: Tasks wanted; the session makes the tensors of these only.
        runtime: ``onnxruntime``, ``openvino`` or ``torch``.
        device: ``cpu``; ``cuda[:n]`` for onnxruntime and torch, ``tensorrt[:n]`` for onnxruntime, ``gpu[:n]`` and
            ``npu`` for openvino, ``mps`` for torch.
        precision: Arithmetic. openvino computes an fp32 file in fp32 or bf16 as asked; torch likewise, by autocast;
            onnxruntime computes what the file says. ``int8`` needs a quantised file.
        threads: Threads of one inference; None: the cores that the process may use, shared among the streams.
        streams: Inferences at once in ``stream()``.
        batch: None: any batch size. A number: only batches of that size, which a runtime may compile for.
        variant: torch only: ``eager`` (also None), ``compiled`` or ``channels-last``.
        verify: False leaves the black picture out, for who calls :func:`zoo.models.verify_contract` later.

    Raises:
        RuntimeUnavailableError: The runtime, device, precision, variant or number of threads cannot be had.
        ContractError: A file that does not do what the entry declares.
        UsageError: Arguments that make no sense, or files that do not fit them.
        DependencyError: An optional package is missing.
    """
    check_names(runtime, precision)
    for name, value in (("threads", threads), ("streams", streams), ("batch", batch)):
        if value is not None and value < 1:
            raise UsageError(f"{name}={value}: give a number of 1 or more")
    if not entry.runnable or entry.preprocess is None:
        raise UsageError(f"{entry.name} cannot be run", why=f"it {entry.no_run}", where=entry.where)
    check_variant(runtime, variant)
    check_device(runtime, device)
    settings: dict[str, Any] = {
        "device": device, "precision": precision, "streams": streams, "batch": batch,
        "threads": threads or max(1, usable_cores() // streams),
    }  # fmt: skip
    if runtime == "torch":
        settings["variant"] = variant or "eager"
    try:
        session = _open(entry, files, tasks, runtime, settings)
    except ZooError as error:
        error.where = error.where or entry.where
        raise
    try:
        if verify:
            verify_contract(entry, session, tasks, batch)
    except BaseException:
        session.close()
        raise
    return session


def check_variant(runtime: str, variant: str | None) -> None:
    """Refuses a variant that is not one, or that the runtime does not have.

    Raises:
        UnknownNameError: No such variant.
        RuntimeUnavailableError: Another runtime than torch.
    """
    known = get_args(Variant)
    if variant is not None and variant not in known:
        raise UnknownNameError("variant", variant, known)
    if variant not in (None, "eager") and runtime != "torch":
        raise RuntimeUnavailableError(f"{runtime} has no variant '{variant}'", fix="use runtime=torch, or no variant")


def check_device(runtime: str, device: str) -> None:
    """Refuses a device that a runtime does not have here, before anything is exported or loaded for it.

    Raises:
        RuntimeUnavailableError: The runtime is not installed, or does not serve the device.
        DependencyError: torch is not installed.
    """
    if runtime == "torch":
        need("torch", "runtime=torch")
        from zoo.runtimes.torch_ import check_device as of_torch

        of_torch(device)
        return
    need(runtime, f"runtime={runtime}")
    if runtime == "openvino":
        from zoo.runtimes.openvino_ import plugin_of

        plugin_of(device)
    else:
        from zoo.runtimes.onnxruntime_ import provider_of

        provider_of(device)


def onnx_model(
    entry: ModelEntry, files: Mapping[str, Path], tasks: Sequence[Task], graph: Graph
) -> tuple[onnx.ModelProto, str | None]:
    """Returns an entry's ONNX graph, and its sha256 where it was exported from torch.

    Args:
        entry: The model.
        files: Its located files in use.
        tasks: Tasks wanted.
        graph: What the family gave; it has an ``onnx`` or a ``torch`` form.
    """
    if graph.onnx is not None:
        return graph.onnx(), None
    from zoo.models.onnx_graph import read_onnx
    from zoo.runtimes.export import exported_graph

    path = exported_graph(entry, files, tasks, graph)
    return read_onnx(path), sha256_of(path)


def _open(
    entry: ModelEntry, files: Mapping[str, Path], tasks: Sequence[Task], runtime: str, settings: dict[str, Any]
) -> Session:
    assert entry.preprocess is not None
    folds = sorted({w.fold.name for w in entry.weights if w.fold and w.name in files})
    if len(folds) > 1:
        raise UsageError(
            f"{entry.name}: checkpoints of the folds {', '.join(folds)} were given together",
            why="each may score its own test subjects only", fix="give the files of one fold",
        )  # fmt: skip
    needed = select_files(
        entry, tasks, runtime=runtime, precision=settings["precision"], fold=folds[0] if folds else None
    )
    if missing := [w.name for w in needed if w.name not in files]:
        raise UsageError(f"{entry.name}: {', '.join(missing)} not given", fix="locate what select_files() names first")
    files = {w.name: files[w.name] for w in needed}
    preprocess = entry.preprocess
    if layouts := {w.layout for w in needed if w.layout}:
        preprocess = preprocess.model_copy(update={"layout": layouts.pop()})
    graph = load_family(entry.family, entry.where).graph(entry, files, tasks)
    if runtime == "torch":
        if graph.torch is None:
            raise RuntimeUnavailableError(
                f"{entry.name} has no torch structure", why="it is published as a graph",
                fix="use runtime=onnxruntime or runtime=openvino",
            )  # fmt: skip
        from zoo.runtimes.torch_ import TorchSession

        return TorchSession(graph.torch(), preprocess, **settings)
    if graph.native is not None:  # select_files gives such files to OpenVINO only
        from zoo.runtimes.openvino_ import OpenVinoSession

        return OpenVinoSession(graph.native, preprocess, **settings)
    model, exported = onnx_model(entry, files, tasks, graph)
    if runtime == "openvino":
        from zoo.runtimes.openvino_ import OpenVinoSession

        return OpenVinoSession(model, preprocess, **settings, exported=exported)
    from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession

    return OnnxRuntimeSession(model, preprocess, **settings, exported=exported)
