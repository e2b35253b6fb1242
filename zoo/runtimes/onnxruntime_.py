"""ONNX Runtime: what the graph says is what is computed; streams run at once, each on its own threads.

It falls back in silence in two places, and both are read back here: nodes that a GPU's provider does not take run on
the CPU, and an fp16 graph on a CPU without such kernels runs in fp32 between casts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from zoo.errors import ContractError, RuntimeUnavailableError
from zoo.registry.schema import Precision, Preprocess
from zoo.runtimes.base import SessionInfo, Tensors
from zoo.runtimes.graphs import PIXELS, dynamic_batch, file_precision, nodes_of_values, static_batch, with_pixels
from zoo.runtimes.shared import Lent, Threaded, as_tensors, check_batch, closed, join_tensors

PROVIDERS = {
    "cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider",
}  # fmt: skip
"""Execution provider by kind of device."""

_SHAPES = {
    "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Gather", "Mul", "Range", "Reshape",
    "Shape", "Size", "Slice", "Squeeze", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators by which a graph computes the shapes of its tensors. ONNX Runtime leaves them on the CPU by design
(``GetCpuPreferredNodes`` of its source); anything else there has fallen back, and so has one of these that computes
with the pictures."""


def provider_of(device: str) -> tuple[str, dict[str, str]]:
    """Returns the execution provider of a device, and its options.

    The CUDA provider computes fp32 in TF32, which has ten bits of mantissa, unless it is told not to.

    Raises:
        RuntimeUnavailableError: The device has none here, or the installed ONNX Runtime is built without it.
    """
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS:
        raise RuntimeUnavailableError(
            f"onnxruntime does not serve the device '{device}'",
            fix="use device=cpu, device=cuda:0 or device=tensorrt:0",
        )
    have = ort.get_available_providers()
    if PROVIDERS[kind] not in have:
        raise RuntimeUnavailableError(
            f"onnxruntime has no {PROVIDERS[kind]} here", why="it has " + ", ".join(have),
            fix="pip install onnxruntime-gpu in place of onnxruntime, or use device=cpu",
        )  # fmt: skip
    if kind == "cpu":
        return PROVIDERS[kind], {}
    return PROVIDERS[kind], {"device_id": index or "0"} | ({"use_tf32": "0"} if kind == "cuda" else {})


def load_gpu_libraries() -> None:
    """Loads CUDA and cuDNN from the packages that pip installs them in, which no loader's path leads to.

    What is missing shows when the session is opened: the provider is not among its own then.
    """
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            ort.preload_dlls()


def check_assignment(session: Any, provider: str, values: Collection[str]) -> None:
    """Refuses a session of which another provider computes a part.

    Args:
        session: Opened with ``session.record_ep_graph_assignment_info``.
        provider: The one that was asked for.
        values: Names of the graph's nodes that compute with the pictures (:func:`zoo.runtimes.graphs.nodes_of_values`).

    Raises:
        RuntimeUnavailableError: Nodes other than those of shapes run elsewhere, or the installed version cannot tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise RuntimeUnavailableError(
            f"this version of onnxruntime ({ort.__version__}) does not tell which nodes {provider} runs",
            why="what falls back to the CPU would be timed and reported as the GPU's",
            fix="pip install -U onnxruntime-gpu",
        )
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info() if part.ep_name != provider
        for node in part.get_nodes() if node.op_type not in _SHAPES or node.name in values
    }  # fmt: skip
    if elsewhere:
        raise RuntimeUnavailableError(
            f"{provider} does not run the whole graph",
            why=f"onnxruntime gave {', '.join(sorted(elsewhere))} to the CPU",
            fix="use device=cuda:0, runtime=torch, or device=cpu",
        )


def opened(blob: bytes, options: Any, provider: tuple[str, dict[str, str]]) -> Any:
    """Returns ONNX Runtime's session of a graph.

    Raises:
        ContractError: ONNX Runtime refuses the graph.
    """
    try:
        return ort.InferenceSession(blob, options, providers=[provider])
    except Exception as error:  # onnxruntime raises a class of its own for each cause
        raise ContractError("onnxruntime refuses the graph", why=str(error)) from error


def computed_precision(blob: bytes, options: Any, provider: tuple[str, dict[str, str]]) -> Precision:
    """Returns the precision that a graph has after ONNX Runtime has made it fit its kernels.

    Raises:
        ContractError: As :func:`opened`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        try:
            opened(blob, options, provider)
        finally:
            options.optimized_model_filepath = ""
        return file_precision(onnx.load(path))


class OnnxRuntimeSession(Threaded):
    """A graph in ONNX Runtime.

    Args:
        model: Graph with a float input.
        preprocess: From the entry; put in front of the graph.
        device: ``cpu``, ``cuda[:n]`` or ``tensorrt[:n]``.
        precision: Has to be the file's own.
        threads: Threads of one inference.
        streams: Inferences at once in :meth:`stream`; with more threads than one each has a session, and so the
            weights, of its own.
        batch: The only batch size, or None for any.
        exported: sha256 of the graph where it was exported from torch.

    Raises:
        RuntimeUnavailableError: The device or the precision cannot be had.
        ContractError: ONNX Runtime refuses the graph.
    """

    def __init__(
        self, model: onnx.ModelProto, preprocess: Preprocess, *, device: str, precision: Precision, threads: int,
        streams: int, batch: int | None, exported: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(streams)
        have = file_precision(model)
        if have != precision:
            raise RuntimeUnavailableError(
                f"onnxruntime computes what the file says, and this one says {have}, not {precision}",
                fix=f"use precision={have}, or runtime=openvino, which can compute an fp32 file in bf16",
            )
        model, together = dynamic_batch(model, preprocess.size)
        if batch is not None and together:
            model = static_batch(model, batch)
        self._preprocess, self._batch = preprocess, batch
        self._names = [o.name for o in model.graph.output]
        provider, settings = provider_of(device)
        if device != "cpu":
            load_gpu_libraries()
        options = ort.SessionOptions()
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "0" if device == "cpu" else "1")
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if streams > 1:  # idle threads of one stream must not spin on the cores of another
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = with_pixels(model, preprocess)
        blob = graph.SerializeToString()
        if have in ("fp16", "bf16") and (computed := computed_precision(blob, options, (provider, settings))) != have:
            raise RuntimeUnavailableError(
                f"onnxruntime computes this {have} graph in {computed} on {device}",
                why="it has no such kernels there and puts casts around its own",
                fix="use precision=fp32, or a device that computes it",
            )
        sessions: list[Any] = []
        values = nodes_of_values(graph) if device != "cpu" else frozenset()
        # A session of one thread computes in the caller's: streams can share it, and so the weights.
        for _ in range(1 if threads == 1 else streams):
            session = opened(blob, options, (provider, settings))
            session.disable_fallback()
            if session.get_providers()[0] != provider:
                raise RuntimeUnavailableError(
                    f"onnxruntime did not take {provider}", why="it took " + ", ".join(session.get_providers())
                )
            if device != "cpu":
                check_assignment(session, provider, values)
            sessions.append(session)
        self._lent = Lent(sessions[i % len(sessions)] for i in range(streams))
        self.info = SessionInfo(
            runtime="onnxruntime", version=ort.__version__, device=device, precision=have, threads=threads,
            streams=streams, provider=provider, batching="together" if together else "one-by-one", exported=exported,
        )  # fmt: skip

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch; safe to call from as many threads as there are streams, more wait."""
        if self._lent.closed:
            raise closed()
        check_batch(batch, self._preprocess, self._batch)
        with self._lent.one() as session:
            if self.info.batching == "together":
                return as_tensors(self._names, session.run(self._names, {PIXELS: batch}), len(batch))
            return join_tensors(
                [as_tensors(self._names, session.run(self._names, {PIXELS: one[None]}), 1) for one in batch]
            )

    def close(self) -> None:
        """Frees the sessions; nothing can be run after it."""
        super().close()
        self._lent.close()
