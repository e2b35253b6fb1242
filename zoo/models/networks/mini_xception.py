"""mini-XCEPTION (Arriaga, Valdenegro-Toro, Ploeger 2017, arXiv:1710.07557), as oarriaga/face_classification trained it.

Structure read from the ``model_config`` of the published ``fer2013_mini_XCEPTION.102-0.66.hdf5`` (Keras 2.0.5).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-3
"""Of every batch normalisation (``model_config``)."""


class Separable(nn.Sequential):
    """Depthwise 3x3 convolution that keeps the size, pointwise convolution, batch normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs, eps=EPSILON),
        )


def pool_same(x: torch.Tensor) -> torch.Tensor:
    """Maximum of 3x3 at stride 2 with TensorFlow's ``same`` padding: an odd cell of padding goes right and below."""
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.max_pool2d(functional.pad(x, pads, value=float("-inf")), 3, stride=2)


class Block(nn.Module):
    """Two separable convolutions and a maximum, beside a strided 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs, eps=EPSILON)
        )
        self.first = Separable(inputs, outputs)
        self.second = Separable(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halves the size of ``x``, rounding up."""
        pooled = pool_same(self.second(functional.relu(self.first(x))))
        shortcut: torch.Tensor = self.shortcut(x)
        return pooled + shortcut


class MiniXception(nn.Module):
    """The network.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8, eps=EPSILON), nn.ReLU(),
            nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, eps=EPSILON), nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.Sequential(*(Block(i, o) for i, o in ((8, 16), (16, 32), (32, 64), (64, 128))))
        self.head = nn.Conv2d(128, classes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps grey ``[n, 1, 64, 64]`` in -1..1 to ``predictions`` ``[n, classes]``, a softmax."""
        x = self.head(self.blocks(self.stem(x)))
        return {"predictions": torch.softmax(x.mean(dim=(2, 3)), dim=1)}
