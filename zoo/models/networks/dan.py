"""DAN (Wen et al., Biomimetics 2023, arXiv:2109.07270): ResNet-18 and attention heads whose answers compete.

Written from the state dict and formulas of yaoing/DAN (commit 3872eef, ``networks/dan.py``).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from zoo.models.networks.libreface import encoder

WIDTH = 512
"""Channels of the backbone's last stage."""


class Spatial(nn.Module):
    """Weighs the places of a feature map by three convolutions of different shape."""

    def __init__(self) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, size: tuple[int, int]) -> nn.Sequential:
            padding = size[0] // 2, size[1] // 2
            return nn.Sequential(nn.Conv2d(inputs, outputs, size, padding=padding), nn.BatchNorm2d(outputs))

        self.conv1x1 = layer(WIDTH, WIDTH // 2, (1, 1))
        self.conv_3x3 = layer(WIDTH // 2, WIDTH, (3, 3))
        self.conv_1x3 = layer(WIDTH // 2, WIDTH, (1, 3))
        self.conv_3x1 = layer(WIDTH // 2, WIDTH, (3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 512, side, side]`` to the same shape."""
        y = self.conv1x1(x)
        y = functional.relu(self.conv_3x3(y) + self.conv_1x3(y) + self.conv_3x1(y))
        return x * y.sum(1, keepdim=True)


class Channels(nn.Module):
    """Weighs the channels of a feature map's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(WIDTH, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, WIDTH), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 512, side, side]`` to ``[n, 512]``."""
        x = x.mean((2, 3))
        y: torch.Tensor = x * self.attention(x)
        return y


class Head(nn.Module):
    """One head: places, then channels."""

    def __init__(self) -> None:
        super().__init__()
        self.sa, self.ca = Spatial(), Channels()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 512, side, side]`` to ``[n, 512]``."""
        y: torch.Tensor = self.ca(self.sa(x))
        return y


class Dan(nn.Module):
    """The whole network.

    Args:
        tensor: Name of the output.
        classes: Classes.
        heads: Attention heads.
    """

    def __init__(self, tensor: str, classes: int, heads: int = 4) -> None:
        super().__init__()
        self.tensor, self.heads = tensor, heads
        self.features = encoder()[:-1]
        for i in range(heads):
            setattr(self, f"cat_head{i}", Head())
        self.fc = nn.Linear(WIDTH, classes)
        self.bn = nn.BatchNorm1d(classes)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps ``[n, 3, 224, 224]`` to logits ``[n, classes]``."""
        x = self.features(x)
        answers = torch.stack([getattr(self, f"cat_head{i}")(x) for i in range(self.heads)], 1)
        return {self.tensor: self.bn(self.fc(answers.log_softmax(1).sum(1)))}
