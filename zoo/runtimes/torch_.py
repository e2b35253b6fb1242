"""PyTorch in eager mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zoo.errors import RuntimeUnavailableError
from zoo.registry.schema import Precision, Preprocess
from zoo.runtimes.base import SessionInfo, Tensors
from zoo.runtimes.graphs import affine
from zoo.runtimes.shared import as_tensors, check_batch, closed, run_in_order


class Pixels(nn.Module):
    """Turns uint8 NHWC crops into a network's float input.

    Args:
        preprocess: From the entry.
    """

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        a, b = affine(preprocess)
        self.register_buffer("a", torch.from_numpy(a), persistent=False)
        self.register_buffer("b", torch.from_numpy(b), persistent=False)
        self.nchw = preprocess.layout == "nchw"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps uint8 ``[n, height, width, channels]`` to the float input."""
        x = pixels.to(torch.float32) * self.a + self.b
        return x.permute(0, 3, 1, 2) if self.nchw else x


def _device(device: str) -> torch.device:
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise RuntimeUnavailableError(
            f"torch has no device '{device}' here", why="it has " + ", ".join(k for k, v in there.items() if v),
            fix="use device=cpu, or install a torch built for the device",
        )  # fmt: skip
    found = torch.device(device)
    if kind == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise RuntimeUnavailableError(f"torch has no device '{device}'", why=f"it has {torch.cuda.device_count()} GPUs")
    return found


class TorchSession:
    """A module in PyTorch.

    ``fp32`` is IEEE single precision: TF32 is switched off for the call on GPUs. ``bf16`` and ``fp16`` are autocast,
    which leaves reductions and softmax in fp32.

    Args:
        module: Float input, ``dict[str, Tensor]`` out, in ``eval`` mode.
        preprocess: From the entry; put in front of the module.
        device: ``cpu``, ``cuda[:n]`` or ``mps``.
        precision: ``fp32``, ``bf16``, or ``fp16`` on a GPU.
        threads: Threads of one inference.
        streams: Threads that :meth:`stream` runs batches in.
        batch: The only batch size, or None for any.

    Raises:
        RuntimeUnavailableError: The device or the precision cannot be had.
    """

    def __init__(
        self, module: nn.Module, preprocess: Preprocess, *, device: str, precision: Precision, threads: int,
        streams: int, batch: int | None,
    ) -> None:  # fmt: skip
        self._device = _device(device)
        offered = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16"), "mps": ("fp32", "fp16")}
        if precision not in offered[self._device.type]:
            raise RuntimeUnavailableError(
                f"torch does not compute in {precision} on {device} here",
                fix="use precision=" + " or ".join(offered[self._device.type]),
            )
        self._preprocess, self._batch, self._threads = preprocess, batch, threads
        self._cast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self._module: nn.Module | None = nn.Sequential(Pixels(preprocess), module).to(self._device).eval()
        self.info = SessionInfo(
            runtime="torch", version=torch.__version__, device=str(self._device), precision=precision,
            threads=threads, streams=streams, provider=self._device.type,
        )  # fmt: skip

    def _use_threads(self) -> None:
        if torch.get_num_threads() != self._threads:  # the setting belongs to the calling thread's OpenMP team
            torch.set_num_threads(self._threads)

    def _casting(self) -> AbstractContextManager[Any]:
        if self._cast is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._cast)

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch."""
        if self._module is None:
            raise closed()
        check_batch(batch, self._preprocess, self._batch)
        self._use_threads()
        with torch.inference_mode(), self._casting(), _ieee(self._device):
            pixels = torch.from_numpy(np.require(batch, requirements=["C", "W"])).to(self._device)
            found = self._module(pixels)
            arrays = [y.float().cpu().numpy() for y in found.values()]
        return as_tensors(found, arrays, len(batch))

    def stream(self, batches: Iterable[tuple[Any, NDArray[np.uint8]]]) -> Iterator[tuple[Any, Tensors]]:
        """Runs keyed batches in one thread a stream; yields them in the order given."""
        return run_in_order(self.infer, batches, self.info.streams)

    def close(self) -> None:
        """Frees the module; nothing can be run after it."""
        self._module = None


def _ieee(device: torch.device) -> AbstractContextManager[Any]:
    """Keeps cuDNN from its default of TF32 for convolutions, which has ten bits of mantissa."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(allow_tf32=False)
