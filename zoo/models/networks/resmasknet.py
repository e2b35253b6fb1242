"""Residual Masking Network (Pham, Vu, Tran 2020, ICPR), ``resmasking_dropout1`` of phamquiluan/ResidualMaskingNetwork.

Written from the state dict that its ``models/resmasking.py`` and ``masking.py`` (commit 9141618) make: ResNet-34 whose
four stages are each multiplied by one plus a mask, which a small U-Net draws from the stage's own output. Shortcuts of
the U-Nets stand in a checkpoint twice, under the mask and under the block that uses them; here too.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """The basic block of He et al. 2016 (arXiv:1512.03385); its shortcut may be made elsewhere."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds two convolutions to ``x``."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def shortcut(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Returns a 1x1 convolution with batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """Returns a stage of ResNet."""
    first = shortcut(inputs, outputs, stride) if stride != 1 or inputs != outputs else None
    return nn.Sequential(Block(inputs, outputs, stride, first), *(Block(outputs, outputs) for _ in range(blocks - 1)))


class Mask(nn.Module):
    """A U-Net of ``depth`` levels whose width doubles with each; ends in a softmax over the channels.

    Args:
        width: Channels in and out.
        depth: Levels.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        widths = [width * 2**level for level in range(depth + 1)]
        steps = [*pairwise(widths), *pairwise(widths[::-1])]
        for number, (inputs, outputs) in enumerate(steps, 1):
            self.add_module(f"downsample{number}", shortcut(inputs, outputs))
            self.add_module(f"conv{number}", Block(inputs, outputs, 1, self.get_submodule(f"downsample{number}")))
            if depth < number < 2 * depth:  # on the way up, but for the last step
                up = nn.ConvTranspose2d(inputs, outputs, 2, 2)
                self.add_module(f"up_pool{number}", nn.Sequential(up, nn.BatchNorm2d(outputs), nn.ReLU()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Draws the mask of ``x``, of the same shape."""
        kept: list[torch.Tensor] = []
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"conv{number}")(functional.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for number in range(self.depth + 1, 2 * self.depth):
            x = torch.cat([self.get_submodule(f"up_pool{number}")(x), kept.pop()], 1)
            x = self.get_submodule(f"conv{number}")(x)
        last: torch.Tensor = self.get_submodule(f"conv{2 * self.depth}")(x)
        return last.softmax(1)


class ResMaskNet(nn.Module):
    """The network.

    Args:
        classes: Number of classes.
        widths: Channels of the four stages.
    """

    def __init__(self, classes: int = 7, widths: tuple[int, int, int, int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for number, (width, blocks, depth) in enumerate(zip(widths, (3, 4, 6, 3), (4, 3, 2, 1), strict=True), 1):
            self.add_module(f"layer{number}", stage(before, width, blocks, 1 if number == 1 else 2))
            self.add_module(f"mask{number}", Mask(width, depth))
            before = width
        self.fc = nn.Sequential(nn.Dropout(0.4), nn.Linear(before, classes))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps RGB in 0..1 ``[n, 3, 224, 224]`` to ``logits`` ``[n, classes]``."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{number}")(x)
            x = x * (1 + self.get_submodule(f"mask{number}")(x))
        return {"logits": self.fc(x.mean((2, 3)))}
