"""MobileFaceNet for 68 landmarks (Chen et al. 2018, arXiv:1804.07573), as Py-Feat's ``mobilefacenet`` has it.

Written from the state dict that ``feat/landmark_detectors/mobilefacenet_test.py`` of cosanlab/py-feat (commit 5d235ef)
makes. Its weights come from cunjian/pytorch_face_landmark.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

SIDE = 112
POINTS = 68


class Convolution(nn.Sequential):
    """``conv`` without bias, ``bn`` and, where ``active``, ``prelu``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1,
        active: bool = True,
    ) -> None:  # fmt: skip
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            bn=nn.BatchNorm2d(outputs),
        )
        if active:
            parts["prelu"] = nn.PReLU(outputs)
        super().__init__(parts)


class Bottleneck(nn.Module):
    """Widens, filters each channel 3x3, narrows; added to its input where ``stride`` is 1."""

    def __init__(self, inputs: int, outputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv = Convolution(inputs, width)
        self.conv_dw = Convolution(width, width, 3, stride, 1, groups=width)
        self.project = Convolution(width, outputs, active=False)
        self.residual = stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the block."""
        y: torch.Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class Stage(nn.Module):
    """Bottlenecks of one width, ``model.0`` and on."""

    def __init__(self, channels: int, blocks: int, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(Bottleneck(channels, channels, width, 1) for _ in range(blocks)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the blocks."""
        y: torch.Tensor = self.model(x)
        return y


class Head(nn.Module):
    """A 7x7 convolution of each channel over the whole map, then a linear layer and batch normalisation."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv_6_dw = Convolution(channels, channels, SIDE // 16, groups=channels, active=False)
        self.linear = nn.Linear(channels, outputs, bias=False)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, channels, 7, 7]`` to ``[n, outputs]``."""
        y: torch.Tensor = self.bn(self.linear(self.conv_6_dw(x).flatten(1)))
        return y


class MobileFaceNet(nn.Module):
    """Faces in 0..1, ``[n, 3, 112, 112]``, to 68 points as shares of the crop's sides, ``[n, 136]``: x, y, x, y ..."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Convolution(3, 64, 3, 2, 1)
        self.conv2_dw = Convolution(64, 64, 3, 1, 1, groups=64)
        self.conv_23 = Bottleneck(64, 64, 128, 2)
        self.conv_3 = Stage(64, 4, 128)
        self.conv_34 = Bottleneck(64, 128, 256, 2)
        self.conv_4 = Stage(128, 6, 256)
        self.conv_45 = Bottleneck(128, 128, 512, 2)
        self.conv_5 = Stage(128, 2, 256)
        self.conv_6_sep = Convolution(128, 512)
        self.output_layer = Head(512, 2 * POINTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the network."""
        for part in self.children():
            x = part(x)
        return x
