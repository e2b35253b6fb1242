"""LibreFace's networks, with the keys of its checkpoints (ihp-lab/LibreFace, models/resnet18.py, resnet18_combine.py).

Written from the layout of the published state dicts; torchvision is not needed.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """The basic block of He et al. 2016 (arXiv:1512.03385) under torchvision's names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds two convolutions to ``x``."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def encoder() -> nn.Sequential:
    """Returns ResNet-18 without its last layer; the indices are those of torchvision's children."""
    stages = [
        nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))
        for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
    ]
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        *stages, nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


def classifier(outputs: int, sigmoid: bool = True) -> nn.Sequential:
    """Returns a head: the batch normalisation comes after the ReLU."""
    layers = [nn.Linear(512, 128), nn.ReLU(), nn.BatchNorm1d(128), nn.Dropout(0.1), nn.Linear(128, outputs)]
    return nn.Sequential(*layers, *([nn.Sigmoid()] if sigmoid else []))


class LibreFaceResNet18(nn.Module):
    """The encoder and one or two heads.

    Args:
        outputs: Columns of each head by the name of its output. The first is ``classifier`` in a checkpoint, the
            second ``classifier_2``.
    """

    def __init__(self, outputs: dict[str, int]) -> None:
        super().__init__()
        self.encoder = encoder()
        self._heads = dict(zip(outputs, ("classifier", "classifier_2"), strict=False))
        for name, head in self._heads.items():
            self.add_module(head, classifier(outputs[name]))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to each head's sigmoids ``[n, columns]``."""
        feature = self.encoder(x).flatten(1)
        return {name: self.get_submodule(head)(feature) for name, head in self._heads.items()}


class LibreFaceRepVgg(nn.Module):
    """LibreFace 2: timm's RepVGG-A0 with all its branches, two linear layers after each other, and a head.

    Args:
        name: Name of the output.
        columns: Its columns.
        sigmoid: The expression model ends in a sigmoid; the AU models give raw values.
    """

    def __init__(self, name: str, columns: int, *, sigmoid: bool) -> None:
        super().__init__()
        from zoo.models._timm import import_timm

        self.name = name
        net: nn.Module = import_timm().create_model("repvgg_a0", pretrained=False)
        head = net.get_submodule("head")
        head.fc = nn.Sequential(head.get_submodule("fc"), nn.Linear(1000, 512))
        self.encoder = net
        self.classifier = classifier(columns, sigmoid)

    def folded(self) -> LibreFaceRepVgg:
        """Turns each block's branches into one convolution, as RepVGG is meant to run; the results stay the same.

        Ding et al. 2021 (arXiv:2101.03697), done by timm. LibreFace itself runs the branches.
        """
        from timm.utils.model import reparameterize_model

        self.encoder = reparameterize_model(self.encoder)
        return self

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to ``[n, columns]``."""
        return {self.name: self.classifier(self.encoder(x))}
