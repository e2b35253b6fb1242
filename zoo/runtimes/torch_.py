"""PyTorch: operator by operator, compiled by ``torch.compile``, or with the channels innermost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zoo.errors import RuntimeUnavailableError
from zoo.registry.schema import Precision, Preprocess
from zoo.runtimes.base import SessionInfo, Tensors, Variant
from zoo.runtimes.graphs import affine
from zoo.runtimes.shared import Threaded, as_tensors, check_batch, closed

COMPILE_MODE = "default"
"""Of ``torch.compile``; recorded. ``reduce-overhead`` and ``max-autotune`` keep a graph's outputs in buffers of their
own, or take minutes to open."""


class Pixels(nn.Module):
    """Turns uint8 NHWC crops into a network's float input.

    Args:
        preprocess: From the entry.
        channels_last: Leave the channels innermost in memory, as crops have them; else an NCHW input is contiguous,
            as torch's own loaders make it.
    """

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, preprocess: Preprocess, *, channels_last: bool = False) -> None:
        super().__init__()
        a, b = affine(preprocess)
        self.register_buffer("a", torch.from_numpy(a), persistent=False)
        self.register_buffer("b", torch.from_numpy(b), persistent=False)
        self.changes = bool((a != 1).any() or (b != 0).any())
        self.nchw = preprocess.layout == "nchw"
        self.order = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps uint8 ``[n, height, width, channels]`` to the float input."""
        x = pixels.to(torch.float32)
        x = x * self.a + self.b if self.changes else x
        return x.permute(0, 3, 1, 2).contiguous(memory_format=self.order) if self.nchw else x


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


def check_device(device: str) -> None:
    """Raises RuntimeUnavailableError unless torch has the device."""
    _device(device)


def _store_weights(module: nn.Module, precision: torch.dtype) -> None:
    """Stores the weights of convolutions and linear layers in the precision that autocast computes them in.

    Autocast would round them anew at each call: the outputs are the same, the time is not.
    """
    for layer in module.modules():
        if type(layer) in (nn.Conv1d, nn.Conv2d, nn.Linear):
            layer.to(precision)


class TorchSession(Threaded):
    """A module in PyTorch.

    ``fp32`` is IEEE single precision: TF32 is switched off for the call on GPUs. ``bf16`` and ``fp16`` are autocast,
    which leaves reductions and softmax in fp32; the weights of convolutions and linear layers are kept in the lower
    precision. ``compiled`` is compiled whole when the session opens, for the batch size that it is opened for; what
    ``torch.compile`` would leave to Python is an error.

    :meth:`infer` takes crops in the host's memory and returns when the tensors are in the host's memory again: on a
    GPU both copies and all kernels lie between.

    Args:
        module: Float input, ``dict[str, Tensor]`` out, in ``eval`` mode.
        preprocess: From the entry; put in front of the module.
        device: ``cpu``, ``cuda[:n]`` or ``mps``.
        precision: ``fp32``, ``bf16``, or ``fp16`` on a GPU.
        threads: Threads of one inference.
        streams: Threads that :meth:`stream` runs batches in.
        batch: The only batch size, or None for any.
        variant: How it runs.

    Raises:
        RuntimeUnavailableError: The device, the precision or the variant cannot be had.
    """

    def __init__(
        self, module: nn.Module, preprocess: Preprocess, *, device: str, precision: Precision, threads: int,
        streams: int, batch: int | None, variant: Variant = "eager",
    ) -> None:  # fmt: skip
        super().__init__(streams)
        self._device = _device(device)
        offered = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16"), "mps": ("fp32", "fp16")}
        if precision not in offered[self._device.type]:
            raise RuntimeUnavailableError(
                f"torch does not compute in {precision} on {device} here",
                fix="use precision=" + " or ".join(offered[self._device.type]),
            )
        self._preprocess, self._batch, self._threads = preprocess, batch, threads
        self._cast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        if variant == "channels-last":
            _check_convolutions(module, preprocess)
        whole = nn.Sequential(Pixels(preprocess, channels_last=variant == "channels-last"), module).eval()
        if self._cast is not None:
            _store_weights(whole, self._cast)
        whole.to(self._device)
        if variant == "channels-last":
            for parameter in module.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self._module: Callable[[torch.Tensor], dict[str, torch.Tensor]] | None = whole
        if variant == "compiled":
            self._compile(whole)
        self.info = SessionInfo(
            runtime="torch", version=torch.__version__, device=str(self._device), precision=precision,
            threads=threads, streams=streams, provider=self._device.type,
            variant=variant, mode=COMPILE_MODE if variant == "compiled" else None,
        )  # fmt: skip

    def _compile(self, whole: nn.Module) -> None:
        """Compiles the module, and runs a black picture so that it is compiled now and fails now."""
        self._use_threads()  # the code that it makes for processors has their number inside
        self._module = torch.compile(whole, mode=COMPILE_MODE, fullgraph=True, dynamic=self._batch is None)
        black = np.zeros((self._batch or 1, *self._preprocess.size, self._preprocess.channels), np.uint8)
        try:
            self.infer(black)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # dynamo, inductor, triton and the compiler raise classes of their own
            self._module = None
            raise _not_compiled(error, self._device) from error

    def peak_memory(self) -> int | None:
        """Returns the most bytes of GPU memory that torch's tensors took in this process; None on a processor."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def _use_threads(self) -> None:
        if torch.get_num_threads() != self._threads:  # the setting belongs to the calling thread's OpenMP team
            torch.set_num_threads(self._threads)

    def _casting(self) -> AbstractContextManager[Any]:
        if self._cast is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._cast)

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch."""
        module = self._module
        if module is None:
            raise closed()
        check_batch(batch, self._preprocess, self._batch)
        self._use_threads()
        with torch.inference_mode(), self._casting(), _ieee(self._device):
            pixels = torch.from_numpy(np.require(batch, requirements=["C", "W"])).to(self._device)
            found = module(pixels)
            arrays = [y.float().cpu().numpy() for y in found.values()]
        return as_tensors(found, arrays, len(batch))

    def close(self) -> None:
        """Frees the module; nothing can be run after it."""
        super().close()
        self._module = None


def _check_convolutions(module: nn.Module, preprocess: Preprocess) -> None:
    """Raises RuntimeUnavailableError for a module to which the order of the channels means nothing."""
    if preprocess.layout == "nchw" and any(p.ndim == 4 for p in module.parameters()):
        return
    raise RuntimeUnavailableError(
        "torch cannot run this model as channels-last",
        why="it has no convolution weights" if preprocess.layout == "nchw" else "it takes NHWC as it is",
        fix="use variant=eager",
    )


def _not_compiled(error: Exception, device: torch.device) -> RuntimeUnavailableError:
    text = " ".join(str(error).split())
    tools = ("InvalidCxxCompiler", "No working C++ compiler", "C compiler", "TritonMissing", "triton installation")
    fix = "use variant=eager"
    if any(words in text for words in tools):
        needed = "triton and a C compiler" if device.type == "cuda" else "a C++ compiler (g++ or clang)"
        fix = f"install {needed}, or {fix}"
    return RuntimeUnavailableError("torch.compile cannot compile the model", why=text[:300], fix=fix)


@contextmanager
def _without_tf32() -> Iterator[None]:
    # Not cudnn.flags(): it switches cuDNN itself off unless it is told not to.
    kinds: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [kind.allow_tf32 for kind in kinds]
    for kind in kinds:
        kind.allow_tf32 = False
    try:
        yield
    finally:
        for kind, value in zip(kinds, before, strict=True):
            kind.allow_tf32 = value


def _ieee(device: torch.device) -> AbstractContextManager[Any]:
    """Keeps cuDNN from its default of TF32 for convolutions, which has ten bits of mantissa."""
    return _without_tf32() if device.type == "cuda" else nullcontext()
