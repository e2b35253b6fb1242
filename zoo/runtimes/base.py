"""The one interface behind which every runtime stands.

A session takes uint8 crops as the face pipeline makes them and gives float32 tensors by name. Scaling, mean, std and
the order of the axes are part of the session, inside the graph where the runtime can do that, because numpy's
normalisation costs more than decoding a JPEG.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]

Variant = Literal["eager", "compiled", "channels-last"]
"""How torch runs a module: operator by operator on contiguous tensors; by ``torch.compile``; operator by operator with
the channels innermost in memory. The other runtimes have no such choice."""


@dataclass(frozen=True)
class SessionInfo:
    """What really runs, as read back from the runtime where it can be read.

    Attributes:
        runtime: ``onnxruntime``, ``openvino`` or ``torch``.
        version: The runtime's version.
        device: ``cpu``, ``cuda:0``, ``gpu``, ``npu``.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        threads: Threads of one inference.
        streams: Inferences that run at once.
        provider: Execution provider or plug-in, such as ``CPUExecutionProvider``.
        batching: ``together``, or ``one-by-one`` where the file is fixed to one picture and could not be freed, so
            that a batch is a loop.
        exported: sha256 of the ONNX graph that was exported from torch to run here; None where the published file
            runs.
        variant: torch only: ``eager``, ``compiled`` or ``channels-last``.
        mode: The mode that ``torch.compile`` was given; None where nothing was compiled by it.
    """

    runtime: str
    version: str
    device: str
    precision: str
    threads: int
    streams: int = 1
    provider: str | None = None
    batching: Literal["together", "one-by-one"] = "together"
    exported: str | None = None
    variant: Variant | None = None
    mode: str | None = None


class Session(Protocol):
    """A loaded model, ready to run."""

    info: SessionInfo

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch.

        Args:
            batch: uint8 ``[n, height, width, channels]``, n >= 1, contiguous.

        Returns:
            Float32 ``[n, columns]`` by tensor name.
        """
        ...

    def infer_async(self, batch: NDArray[np.uint8]) -> Future[Tensors]:
        """Begins one batch and returns at once; as many run together as the session has streams, more wait.

        The batch must not be changed before the result is there. An error is the future's.
        """
        ...

    def stream(self, batches: Iterable[tuple[Any, NDArray[np.uint8]]]) -> Iterator[tuple[Any, Tensors]]:
        """Runs keyed batches, several at once where the runtime can; yields them in the order given.

        A batch must not be changed before its results are given. A few batches are held at a time, whatever their
        number. An error is raised at its batch's turn.
        """
        ...

    def close(self) -> None:
        """Frees what the session holds."""
        ...
