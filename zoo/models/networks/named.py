"""A module with one output, given a name."""

from __future__ import annotations

import torch
from torch import nn


class Named(nn.Module):
    """Makes ``dict[str, Tensor]`` of a module's one tensor.

    Args:
        inner: The module.
        name: Name of its output.
    """

    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        self.inner, self.name = inner, name

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Runs the module."""
        return {self.name: self.inner(x)}
