"""ONNX Runtime: what the graph says is what is computed; streams run at once, each on its own threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from zoo.errors import ContractError, RuntimeUnavailableError
from zoo.registry.schema import Precision, Preprocess
from zoo.runtimes.base import SessionInfo, Tensors
from zoo.runtimes.graphs import PIXELS, dynamic_batch, file_precision, static_batch, with_pixels
from zoo.runtimes.shared import as_tensors, check_batch, closed, join_tensors, run_in_order


def provider_of(device: str) -> tuple[str, dict[str, str]]:
    """Returns the execution provider of a device, and its options.

    Raises:
        RuntimeUnavailableError: The device has none here, or the installed ONNX Runtime is built without it.
    """
    kind, _, index = device.partition(":")
    providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
    if kind not in providers:
        raise RuntimeUnavailableError(
            f"onnxruntime does not serve the device '{device}'", fix="use device=cpu or device=cuda:0"
        )
    have = ort.get_available_providers()
    if providers[kind] not in have:
        raise RuntimeUnavailableError(
            f"onnxruntime has no {providers[kind]} here", why="it has " + ", ".join(have),
            fix="pip install onnxruntime-gpu in place of onnxruntime, or use device=cpu",
        )  # fmt: skip
    return providers[kind], {"device_id": index or "0"} if kind == "cuda" else {}


class OnnxRuntimeSession:
    """A graph in ONNX Runtime.

    Args:
        model: Graph with a float input.
        preprocess: From the entry; put in front of the graph.
        device: ``cpu`` or ``cuda[:n]``.
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
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if streams > 1:  # idle threads of one stream must not spin on the cores of another
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        blob = with_pixels(model, preprocess).SerializeToString()
        self._sessions: list[Any] = []
        # A session of one thread computes in the caller's: streams can share it, and so the weights.
        for _ in range(1 if threads == 1 else streams):
            try:
                session = ort.InferenceSession(blob, options, providers=[(provider, settings)])
            except Exception as error:  # onnxruntime raises a class of its own for each cause
                raise ContractError("onnxruntime refuses the graph", why=str(error)) from error
            session.disable_fallback()
            if session.get_providers()[0] != provider:
                raise RuntimeUnavailableError(
                    f"onnxruntime did not take {provider}", why="it took " + ", ".join(session.get_providers())
                )
            self._sessions.append(session)
        self._free: SimpleQueue[Any] = SimpleQueue()
        for i in range(streams):
            self._free.put(self._sessions[i % len(self._sessions)])
        self.info = SessionInfo(
            runtime="onnxruntime", version=ort.__version__, device=device, precision=have, threads=threads,
            streams=streams, provider=provider, batching="together" if together else "one-by-one", exported=exported,
        )  # fmt: skip

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch; safe to call from as many threads as there are streams, more wait."""
        if not self._sessions:
            raise closed()
        check_batch(batch, self._preprocess, self._batch)
        session = self._free.get()
        try:
            if self.info.batching == "together":
                return as_tensors(self._names, session.run(self._names, {PIXELS: batch}), len(batch))
            return join_tensors(
                [as_tensors(self._names, session.run(self._names, {PIXELS: one[None]}), 1) for one in batch]
            )
        finally:
            self._free.put(session)

    def stream(self, batches: Iterable[tuple[Any, NDArray[np.uint8]]]) -> Iterator[tuple[Any, Tensors]]:
        """Runs keyed batches in one thread a stream; yields them in the order given."""
        return run_in_order(self.infer, batches, self.info.streams)

    def close(self) -> None:
        """Frees the sessions; nothing can be run after it."""
        self._sessions.clear()
        while not self._free.empty():
            self._free.get()
