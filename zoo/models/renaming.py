"""Checkpoints that name their tensors otherwise than the structure here does: renamed, and still all accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ContractError
from zoo.models.checkpoints import few

if TYPE_CHECKING:
    import torch


def renamed(
    state: Mapping[str, torch.Tensor],
    names: Mapping[str, str],
    unused: Mapping[str, tuple[int, ...]],
    where: Path,
) -> dict[str, torch.Tensor]:
    """Renames a checkpoint's tensors; every one of its names is expected, and every expected one is there.

    Args:
        state: The checkpoint.
        names: Published name -> name in the structure.
        unused: Published names of tensors that the network does not need, and their shapes.
        where: The file, for errors.

    Returns:
        The tensors that the network needs, under the structure's names. Their shapes are not checked here.

    Raises:
        ContractError: A tensor is missing or left over, or one that is not needed has another shape; the names are
            the checkpoint's own.
    """
    expected = names.keys() | unused.keys()
    problems = [f"missing: {few(expected - state.keys())}"] if expected - state.keys() else []
    if extra := state.keys() - expected:
        problems.append(f"left over: {few(extra)}")
    problems += [
        f"{name} is {list(state[name].shape)}, {list(shape)} is expected"
        for name, shape in unused.items()
        if name in state and tuple(state[name].shape) != shape
    ][:5]
    if problems:
        raise ContractError("the checkpoint is of another network", where=str(where), why="; ".join(problems))
    return {ours: state[theirs] for theirs, ours in names.items()}
