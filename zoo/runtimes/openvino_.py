"""OpenVINO: ONNX, IR and TFLite files; the precision is always set and read back, for its own default is bf16."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from openvino import opset13, properties
from openvino.preprocess import PrePostProcessor

from zoo._util.openvino import ov
from zoo.errors import ContractError, RuntimeUnavailableError
from zoo.registry.schema import Precision, Preprocess
from zoo.runtimes.base import SessionInfo, Tensors
from zoo.runtimes.graphs import (
    affine,
    check_input,
    dynamic_batch,
    file_precision,
    normalised_inside,
    random_input,
    same,
)
from zoo.runtimes.shared import Lent, Threaded, as_tensors, check_batch, closed, join_tensors

_HINTS = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16, "int8": ov.Type.f32}


def plugin_of(device: str) -> str:
    """Returns OpenVINO's name of a device: ``gpu:1`` is ``GPU.1``.

    Raises:
        RuntimeUnavailableError: There is no such device here.
    """
    plugin, have = device.upper().replace(":", "."), ov.Core().available_devices
    if plugin.partition(".")[0] not in {d.partition(".")[0] for d in have}:
        raise RuntimeUnavailableError(
            f"openvino has no device '{device}' here", why="it has " + ", ".join(have).lower(),
            fix="use device=cpu, or install the device's driver",
        )  # fmt: skip
    return plugin


def _layer_precisions(compiled: ov.CompiledModel) -> set[str]:
    """Precisions in which convolutions and matrix products really run: ``f32``, ``bf16``, ``u8`` ..."""
    found = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul"):
            found.add(info["runtimePrecision"].astype(str))
    return found


def _read(core: ov.Core, source: onnx.ModelProto | tuple[Path, Path | None]) -> ov.Model:
    try:
        if isinstance(source, tuple):
            graph, weights = source
            model = core.read_model(str(graph), str(weights)) if weights else core.read_model(str(graph))
            return _widened(model) if graph.suffix == ".tflite" else model
        model = core.read_model(source.SerializeToString())
        return model if file_precision(source) == "int8" else _widened(model)
    except RuntimeError as error:
        if isinstance(source, tuple):
            raise ContractError("openvino cannot read the file", where=str(source[0]), why=str(error)) from None
        raise RuntimeUnavailableError(
            "openvino cannot read the graph", why=str(error), fix="use runtime=onnxruntime"
        ) from None


def _widened(model: ov.Model) -> ov.Model:
    """Turns weights that are stored as int8 into float ones, as the graph's next step would.

    Left to the plugin, they are misread as soon as there are several streams: OpenVINO 2026.4 then gave another class
    than with one stream, with certainty, and not always the same.
    """
    for node in model.get_ops():
        if node.get_type_name() != "Convert" or node.get_output_element_type(0) != ov.Type.f32:
            continue
        stored = node.input_value(0).get_node()
        if stored.get_type_name() == "Constant":
            node.output(0).replace(opset13.constant(stored.data.astype(np.float32)).output(0))
    return model


def _free_batch(core: ov.Core, source: tuple[Path, Path | None], model: ov.Model) -> tuple[ov.Model, bool]:
    """Opens the batch of a TFLite or IR file; the check is the one of :func:`zoo.runtimes.graphs.dynamic_batch`."""
    shape = model.input().partial_shape
    if shape[0].is_dynamic:
        return model, True
    fixed = core.compile_model(_read(core, source), "CPU", {properties.hint.inference_precision(): ov.Type.f32})
    rest = [d.get_length() for d in list(shape)[1:]]
    pair = random_input((2, *rest), model.input().element_type.to_dtype())
    try:
        model.reshape([-1, *rest])
        free = core.compile_model(model, "CPU", {properties.hint.inference_precision(): ov.Type.f32})
        together = list(free(pair).values())
    except RuntimeError:
        return _read(core, source), False
    apart = [np.concatenate(p) for p in zip(*([y.copy() for y in fixed(x[None]).values()] for x in pair), strict=True)]
    if all(map(same, together, apart)):
        return model, True
    return _read(core, source), False


def pixel_model(
    core: ov.Core, source: onnx.ModelProto | tuple[Path, Path | None], preprocess: Preprocess, batch: int | None
) -> tuple[ov.Model, list[str], bool]:
    """Reads a model and puts uint8 NHWC crops and their normalisation in front of it.

    Args:
        core: Reads the file.
        source: An ONNX graph, or a TFLite or IR file and the IR's weights.
        preprocess: From the entry.
        batch: The only batch size, or None for any.

    Returns:
        The model; the names of its outputs; whether it takes batches, and not one picture alone.

    Raises:
        ContractError: OpenVINO refuses the file, or its input is not the declared crop.
        RuntimeUnavailableError: OpenVINO cannot read the graph.
    """
    if isinstance(source, onnx.ModelProto):
        source, together = dynamic_batch(source, preprocess.size)
        model = _read(core, source)
    else:
        model, together = _free_batch(core, source, _read(core, source))
    if len(model.inputs) != 1:
        raise ContractError(f"one input is expected, the file has {len(model.inputs)}")
    shape = [None if d.is_dynamic else d.get_length() for d in model.input().partial_shape]
    check_input(shape, preprocess, "model")
    published = [o.name for o in source.graph.output] if isinstance(source, onnx.ModelProto) else []
    names = [_name(port, published) for port in model.outputs]
    size = batch if together and batch is not None else -1 if together else 1
    height, width = preprocess.size
    order = (
        (preprocess.channels, height, width) if preprocess.layout == "nchw" else (height, width, preprocess.channels)
    )
    model.reshape([size, *order])
    return _with_pixels(model, preprocess, size), names, together


def _compile(
    core: ov.Core, model: ov.Model, plugin: str, precision: Precision, *, threads: int, streams: int
) -> ov.CompiledModel:
    """Compiles a model and reads back whether it runs as asked."""
    on_cpu = plugin == "CPU"
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "NUM_STREAMS": streams}
    if on_cpu:
        settings["INFERENCE_NUM_THREADS"] = threads * streams
        settings["ENABLE_HYPER_THREADING"] = True  # or it would use fewer threads than asked for
        settings["ENABLE_CPU_PINNING"] = False  # two processes would be pinned to the same cores
    try:
        compiled = core.compile_model(model, plugin, settings)
    except RuntimeError as error:
        raise RuntimeUnavailableError("openvino cannot compile the model", why=str(error)) from None
    fixes = {
        "EXECUTION_DEVICES": "use another device",
        "INFERENCE_PRECISION_HINT": "use precision=fp32",
        "NUM_STREAMS": "use fewer streams",
        "INFERENCE_NUM_THREADS": "use fewer threads",
    }
    wanted = {"EXECUTION_DEVICES": [plugin], **settings}
    for key, fix in fixes.items():
        if key not in wanted:
            continue
        got = compiled.get_property(key)
        if key == "EXECUTION_DEVICES" and "." not in plugin:  # asked for no unit: GPU is answered by GPU.0
            got = [unit.partition(".")[0] for unit in got]
        if got != wanted[key]:
            raise RuntimeUnavailableError(f"openvino took {key} {_plain(got)}, not {_plain(wanted[key])}", fix=fix)
    if on_cpu and precision == "int8" and not _layer_precisions(compiled) & {"i8", "u8"}:
        raise RuntimeUnavailableError(
            "openvino would compute this file in float, not in int8",
            why="no convolution or matrix product of the compiled model takes int8; weights stored as int8 alone "
            "do not make int8 arithmetic",
            fix="declare the file's precision as fp32",
        )
    return compiled


class OpenVinoSession(Threaded):
    """A model compiled by OpenVINO.

    Args:
        source: An ONNX graph with a float input; or a TFLite or IR file, and the IR's weights.
        preprocess: From the entry; put in front of the graph by OpenVINO's own pre-processing.
        device: ``cpu``, ``gpu[:n]`` or ``npu``.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``int8`` for a quantised file.
        threads: Threads of one inference.
        streams: Inferences at once in :meth:`stream`.
        batch: The only batch size, or None for any.
        exported: sha256 of the graph where it was exported from torch.

    Raises:
        RuntimeUnavailableError: The device, the precision or the threads cannot be had, by what OpenVINO reads back.
        ContractError: OpenVINO refuses the file, or its input is not the declared crop.
    """

    def __init__(
        self, source: onnx.ModelProto | tuple[Path, Path | None], preprocess: Preprocess, *, device: str,
        precision: Precision, threads: int, streams: int, batch: int | None, exported: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(streams)
        plugin, core = plugin_of(device), ov.Core()
        if isinstance(source, onnx.ModelProto):
            have = file_precision(source)
            if (precision == "int8") != (have == "int8"):
                raise RuntimeUnavailableError(
                    f"the file is {have}, {precision} was asked for", fix=f"use precision={have}, or another file"
                )
        model, self._names, together = pixel_model(core, source, preprocess, batch)
        self._preprocess, self._batch = preprocess, batch
        compiled = _compile(core, model, plugin, precision, threads=threads, streams=streams)
        self._compiled = compiled
        self._lent: Lent[ov.InferRequest] = Lent(compiled.create_infer_request() for _ in range(streams))
        self.info = SessionInfo(
            runtime="openvino", version=ov.__version__, device=device, precision=precision, threads=threads,
            streams=streams, provider=",".join(compiled.get_property("EXECUTION_DEVICES")),
            batching="together" if together else "one-by-one", exported=exported,
        )  # fmt: skip

    def _pieces(self, batch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        if self._compiled is None:
            raise closed()
        check_batch(batch, self._preprocess, self._batch)
        batch = np.require(batch, requirements=["C", "W"])  # memory is shared, which OpenVINO does with such only
        return [batch] if self.info.batching == "together" else [one[None] for one in batch]

    def _tensors(self, request: ov.InferRequest, count: int) -> Tensors:
        # The request's buffers are overwritten by its next run.
        return as_tensors(self._names, [np.array(t.data, np.float32) for t in request.output_tensors], count)

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch; safe to call from as many threads as there are streams, more wait."""
        pieces, parts = self._pieces(batch), []
        with self._lent.one() as request:
            for piece in pieces:
                request.infer([ov.Tensor(piece, shared_memory=True)])
                parts.append(self._tensors(request, len(piece)))
        return parts[0] if len(parts) == 1 else join_tensors(parts)

    def stream(self, batches: Iterable[tuple[Any, NDArray[np.uint8]]]) -> Iterator[tuple[Any, Tensors]]:
        """Runs keyed batches, one request a stream at a time; yields them in the order given.

        At most one batch a stream is held, besides the one being collected and one that waits, so that a stream goes
        on while results are taken.
        """
        if self._compiled is None:
            raise closed()
        # Requests of its own: what else the session is asked meanwhile must not write into their buffers.
        free = deque(self._compiled.create_infer_request() for _ in range(self.info.streams + 1))
        # (key, number of pieces of its batch, request, piece); the piece has to live until the request is done
        running: deque[tuple[Any, int, ov.InferRequest, NDArray[np.uint8]]] = deque()
        parts: list[Tensors] = []

        def collect() -> tuple[Any, Tensors] | None:
            key, count, request, piece = running.popleft()
            request.wait()
            parts.append(self._tensors(request, len(piece)))
            free.append(request)
            if len(parts) < count:
                return None
            whole = parts[0] if count == 1 else join_tensors(parts)
            parts.clear()
            return key, whole

        try:
            for key, batch in batches:
                pieces = self._pieces(batch)
                for piece in pieces:
                    if not free and (done := collect()):
                        yield done
                    request = free.popleft()
                    request.start_async([ov.Tensor(piece, shared_memory=True)])
                    running.append((key, len(pieces), request, piece))
            while running:
                if done := collect():
                    yield done
        finally:  # left early: the buffers must not go while a request reads them
            for _, _, request, _ in running:
                request.wait()

    def close(self) -> None:
        """Frees the model; nothing can be run after it."""
        super().close()
        self._compiled = None
        self._lent.close()


def _name(port: Any, published: list[str]) -> str:
    """Returns the name of an output; a port may carry several, of which the ONNX graph's own counts."""
    names = [n for n in published if n in port.names] or sorted(port.names) or [port.node.friendly_name]
    return str(names[0])


def _plain(value: Any) -> str:
    if isinstance(value, ov.Type):
        return str(value.get_type_name())
    return ",".join(value) if isinstance(value, list) else str(value)


def _with_pixels(model: ov.Model, preprocess: Preprocess, batch: int) -> ov.Model:
    """Puts uint8 NHWC crops and their normalisation in front of a model, unless it has them inside."""
    if model.input().element_type == ov.Type.u8 and normalised_inside(preprocess):
        return model
    steps = PrePostProcessor(model)
    entrance = steps.input()
    entrance.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    entrance.tensor().set_shape([batch, *preprocess.size, preprocess.channels])
    entrance.model().set_layout(ov.Layout(preprocess.layout.upper()))
    a, b = affine(preprocess)
    change = entrance.preprocess()
    change.convert_element_type(ov.Type.f32)
    # Its steps are (x - mean) / scale; the entry's are x * a + b.
    if (b != 0).any():
        change.mean((-b.astype(np.float64) / a).tolist())
    if (a != 1).any():
        change.scale((1 / a.astype(np.float64)).tolist())
    if preprocess.layout == "nchw":
        change.convert_layout(ov.Layout("NCHW"))
    return steps.build()
