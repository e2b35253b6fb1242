"""EMO-AffectNet's network for single pictures (Ryumina, Dresvyanskiy and Karpov 2022, Neurocomputing).

Written from the state dict that ``src/architectures/video.py`` of ElenaRyumina/AVCER (commit dbba534) makes for
``FER_static_ResNet50_AffectNet.pt``: VGGFace2's ResNet-50, translated from Keras. A stage is halved by its first 1x1
convolution and not by the 3x3 one, padding is TensorFlow's, and batch normalisation adds 1e-3.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-3
"""Of every batch normalisation: Keras' default."""
DEPTHS = (3, 4, 6, 3)
"""Blocks of the four stages."""


def normalised(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Returns a 1x1 convolution with batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, eps=EPSILON))


class Bottleneck(nn.Module):
    """The bottleneck block of He et al. 2016 (arXiv:1512.03385), halved by its first convolution.

    Args:
        inputs: Channels in.
        width: Channels of the 3x3 convolution; four times as many come out.
        stride: 2 halves the map.
        shortcut: Whether the way around is a convolution.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.conv1, self.batch_norm1 = normalised(inputs, width, stride)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.batch_norm2 = nn.BatchNorm2d(width, eps=EPSILON)
        self.conv3, self.batch_norm3 = normalised(width, 4 * width, 1)
        self.i_downsample = normalised(inputs, 4 * width, stride) if shortcut else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds three convolutions to ``x``."""
        y = functional.relu(self.batch_norm1(self.conv1(x)))
        y = functional.relu(self.batch_norm2(self.conv2(y)))
        y = self.batch_norm3(self.conv3(y))
        return functional.relu(y + (x if self.i_downsample is None else self.i_downsample(x)))


class EmoAffectNet(nn.Module):
    """ResNet-50 and two layers.

    Args:
        name: Name of the output.
        classes: Expressions.
    """

    def __init__(self, name: str, classes: int = 7) -> None:
        super().__init__()
        self.name = name
        self.conv_layer_s2_same = nn.Conv2d(3, 64, 7, 2, bias=False)
        self.batch_norm1 = nn.BatchNorm2d(64, eps=EPSILON)
        inputs = 64
        for stage, depth in enumerate(DEPTHS):
            width = 64 * 2**stage
            first = Bottleneck(inputs, width, 1 if stage == 0 else 2, shortcut=True)
            rest = (Bottleneck(4 * width, width) for _ in range(depth - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
            inputs = 4 * width
        self.fc1, self.fc2 = nn.Linear(inputs, 512), nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps BGR in 0..255 less the mean, ``[n, 3, 224, 224]``, to class logits ``[n, classes]``."""
        # TensorFlow's "same" at stride 2 on an even side: of five pixels, two before and three behind.
        x = functional.relu(self.batch_norm1(self.conv_layer_s2_same(functional.pad(x, (2, 3, 2, 3)))))
        x = functional.max_pool2d(x, 3, 2)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return {self.name: self.fc2(functional.relu(self.fc1(x.mean((2, 3)))))}
