"""Seeded checkpoints with the names and shapes of published ones, and the checks that every structure has to pass.

``tests/models/layouts`` holds the names, shapes and integer types of state dicts, one tensor a line, as the publishers'
own code makes them. They are facts about files; the values here are random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from tests.helpers.models import pictures
from zoo.registry import ModelEntry, load_registry
from zoo.runtimes import open_session
from zoo.runtimes.parity import TOLERANCE, compare

LAYOUTS = Path(__file__).parent.parent / "models" / "layouts"

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]


def read_layout(name: str) -> Layout:
    """Reads a published layout: tensor -> shape and type."""
    found = {}
    for line in (LAYOUTS / f"{name}.txt").read_text().splitlines():
        tensor, shape, *kind = line.split()
        sizes = () if shape == "-" else tuple(map(int, shape.split("x")))
        found[tensor] = (sizes, torch.int64 if kind else torch.float32)
    return found


def layout_of(state: Mapping[str, torch.Tensor]) -> Layout:
    """The layout of a state dict."""
    return {name: (tuple(value.shape), value.dtype) for name, value in state.items()}


def stored_bytes(layout: Layout) -> int:
    """Bytes that the tensors of a layout take."""
    return sum(math.prod(shape) * kind.itemsize for shape, kind in layout.values())


def seeded(layout: Layout, seed: int = 0, gain: float = 1.0) -> dict[str, torch.Tensor]:
    """Makes a checkpoint of a layout; ``gain`` is for networks that would make all pictures look alike."""
    generator = torch.Generator().manual_seed(seed)

    def value(name: str, shape: tuple[int, ...], kind: torch.dtype) -> torch.Tensor:
        if kind == torch.int64:
            return torch.zeros(shape, dtype=kind)
        if name.endswith("running_var"):
            return torch.rand(shape, generator=generator) + 0.5
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            return noise * gain * math.prod(shape[1:]) ** -0.5
        return noise * 0.1 + (1.0 if name.endswith("weight") else 0.0)

    return {name: value(name, *what) for name, what in layout.items()}


def entry_of(name: str) -> ModelEntry:
    """An entry of the committed registry."""
    return load_registry().get(name)


def runtimes_agree(
    entry: ModelEntry, files: Mapping[str, Path], *, n: int = 2, tolerance: float = TOLERANCE["fp32"]
) -> dict[str, np.ndarray]:
    """Opens an entry in the three runtimes, which checks its contract, and holds them together; returns torch's."""
    assert entry.preprocess is not None
    crops = pictures(n, entry.preprocess.size, entry.preprocess.channels)
    torch_session = open_session(entry, files, entry.tasks, runtime="torch", threads=2)
    try:
        tensors = torch_session.infer(crops)
        assert all(np.ptp(y, axis=0).max() > 1e-4 for y in tensors.values()), "all pictures look alike to it"
        for runtime in ("onnxruntime", "openvino"):
            other = open_session(entry, files, entry.tasks, runtime=runtime, threads=2)
            try:
                for name, found in compare(torch_session, other, crops).items():
                    assert found.within(tolerance), (runtime, name, found)
            finally:
                other.close()
    finally:
        torch_session.close()
    return tensors


def own_entry(name: str, path: Path, form: str = "torch") -> ModelEntry:
    """The entry that a user who has the file would write, from the contract of one that is known by figures only."""
    raw = entry_of(name).model_dump(mode="json", exclude_none=True)
    file = {"name": path.name, "format": form, "sources": [f"path:{path}"], "sha256": "0" * 64}
    return ModelEntry.model_validate({**raw, "status": "unverified", "weights": [file]})


def frozen(layout: Layout) -> dict[str, torch.Tensor]:
    """Makes a checkpoint that is the same under every version, for values written down in a test.

    numpy promises that the stream of ``RandomState`` never changes (NEP 19); no such promise is known of torch's.
    """

    def value(number: int, name: str, shape: tuple[int, ...], kind: torch.dtype) -> torch.Tensor:
        if kind == torch.int64:
            return torch.zeros(shape, dtype=kind)
        even = torch.from_numpy(np.random.RandomState(number).uniform(-1, 1, shape).astype(np.float32))
        if name.endswith("running_var"):
            return 1 + 0.5 * even
        if len(shape) > 1:
            return even * (6 / math.prod(shape[1:])) ** 0.5  # He's variance
        return 0.1 * even + (1.0 if name.endswith("weight") else 0.0)

    return {name: value(number, name, *what) for number, (name, what) in enumerate(sorted(layout.items()))}


def drawn(n: int, size: int, scale: float = 1.0) -> torch.Tensor:
    """Draws ``n`` different pictures ``[n, 3, size, size]`` from sines, values in ``-scale..scale``."""
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    planes = [torch.sin(6 * (i + 1) * x + 9 * y * (c + 1)) * torch.cos(4 * y + i) for i in range(n) for c in range(3)]
    return scale * torch.stack(planes).reshape(n, 3, size, size)
