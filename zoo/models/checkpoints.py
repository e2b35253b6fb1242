"""State dicts: read without executing anything, loaded so that every tensor is used once and none is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.errors import ContractError
from zoo.registry.schema import WeightFile
from zoo.weights.safe import load_torch

if TYPE_CHECKING:
    import torch
    from torch import nn

_WRAPPERS = ("model", "state_dict", "model_state_dict", "net")


def read_state_dict(file: WeightFile, path: Path) -> dict[str, torch.Tensor]:
    """Reads a safetensors file or a PyTorch checkpoint; ``{"model": ...}`` and its like are unwrapped.

    Raises:
        ContractError: Not a state dict, or a format that holds none.
        UnsafeFileError: A checkpoint that only executing its pickle could open.
        DependencyError: torch or safetensors is not installed.
    """
    kind = need("torch", f"{file.name} is a torch checkpoint").Tensor
    if file.format == "safetensors":
        try:
            found: dict[str, torch.Tensor] = need("safetensors.torch", f"{file.name} is safetensors").load_file(path)
        except Exception as error:  # safetensors raises a class of its Rust part
            raise ContractError("not a safetensors file", where=str(path), why=str(error)) from None
        return found
    if file.format != "torch":
        raise ContractError(f"{file.name}: a state dict is safetensors or torch, not {file.format}", where=str(path))
    content = load_torch(path)
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, kind) for v in content.values()):
        raise ContractError("the checkpoint holds no state dict", where=str(path))
    return dict(content)


def load_strictly(module: nn.Module, state: Mapping[str, torch.Tensor], where: Path) -> nn.Module:
    """Fills a module; every tensor has its place and every place its tensor, of the same shape.

    Returns:
        The module, in ``eval`` mode.

    Raises:
        ContractError: Names what is missing, left over, or of another shape.
    """
    places = module.state_dict()
    problems = [f"missing: {few(places.keys() - state.keys())}"] if places.keys() - state.keys() else []
    if extra := state.keys() - places.keys():
        problems.append(f"left over: {few(extra)}")
    problems += [
        f"{name} is {list(state[name].shape)}, {list(value.shape)} is needed"
        for name, value in places.items()
        if name in state and state[name].shape != value.shape
    ][:5]
    if problems:
        raise ContractError("the checkpoint is of another network", where=str(where), why="; ".join(problems))
    module.load_state_dict(state, strict=True)
    return module.eval()


def few(names: set[str]) -> str:
    """Returns the first names of a set, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
