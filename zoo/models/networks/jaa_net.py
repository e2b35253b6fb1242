"""JAA-Net (Shao et al., IJCV 2021, arXiv:2003.08834): regions, landmarks, and an attention map for each AU.

Written from the state dicts and formulas of ZhiwenShao/PyTorch-JAANet (commit 9a0cedc; ``network.py``, and
``test_JAAv1.py`` and ``test_JAAv2.py`` for how the six parts are joined). There the maps are drawn by numpy, picture by
picture; here they are drawn as tensors, so that the network is one graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn
from torch.nn import functional

SIDE: Final = 176
"""Side of the input in pixels."""
UNIT: Final = 8
MAP: Final = 52
"""Side of an attention map before its refinement, which cuts 8 off."""
LANDMARKS: Final = 49
_SPREAD: Final = 0.14
"""Side of the square that is attended to, as a part of the map's."""
_FALL: Final = 0.56
"""How fast attention falls with the distance (the sum over x and y) from a centre, by the square's side."""

# AU -> its two centres: landmarks (of the 49 without jaw and inner mouth corners, from 0), and how far below them the
# centre lies, in distances of the inner eye corners.
_CENTRES: Final[dict[str, tuple[int, int, float]]] = {
    "AU01": (4, 5, -1 / 2), "AU02": (1, 8, -1 / 3), "AU04": (2, 7, 1 / 3), "AU06": (24, 29, 1.0), "AU07": (21, 26, 0.0),
    "AU09": (15, 17, -1 / 2), "AU10": (43, 45, 0.0), "AU12": (31, 37, 0.0), "AU14": (31, 37, 0.0),
    "AU15": (31, 37, 0.0), "AU17": (39, 41, 1 / 2), "AU23": (34, 40, 0.0), "AU24": (34, 40, 0.0),
    "AU25": (34, 40, 0.0), "AU26": (39, 41, 1 / 2),
}  # fmt: skip
_INNER_EYES: Final = (22, 25)

BP4D: Final = ("AU01", "AU02", "AU04", "AU06", "AU07", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24")
DISFA: Final = ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
ORDERS: Final = (BP4D, DISFA)
"""The AUs of the released networks, in the order of their outputs."""


class Cells(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution of their own for each cell of a grid.

    The cells become groups of one convolution; each is padded with zeros by itself.

    Args:
        grid: Cells along a side.
        inputs: Channels in.
        outputs: Channels out.
    """

    def __init__(self, grid: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.grid = grid
        self.bns = nn.ModuleList(nn.BatchNorm2d(inputs) for _ in range(grid**2))
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for _ in range(grid**2))

    def _all(self, parts: nn.ModuleList, name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, inputs, side, side]`` to ``[n, outputs, side, side]``; the side is a multiple of the grid."""
        g, channels, side = self.grid, x.shape[1], x.shape[-1] // self.grid
        x = x.reshape(-1, channels, g, side, g, side).permute(0, 2, 4, 1, 3, 5).flatten(1, 3)
        x = functional.batch_norm(
            x, self._all(self.bns, "running_mean"), self._all(self.bns, "running_var"),
            self._all(self.bns, "weight"), self._all(self.bns, "bias"),
        )  # fmt: skip
        weight, bias = self._all(self.convs, "weight"), self._all(self.convs, "bias")
        x = functional.conv2d(functional.relu(x), weight, bias, padding=1, groups=g**2)
        return x.reshape(-1, g, g, x.shape[1] // g**2, side, side).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


class RegionLayer(nn.Module):
    """A convolution, refined in cells of three sizes one after the other.

    Args:
        inputs: Channels in.
        outputs: Channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.local_conv_branch1 = Cells(8, outputs, outputs // 2)
        self.local_conv_branch2 = Cells(4, outputs // 2, outputs // 4)
        self.local_conv_branch3 = Cells(2, outputs // 4, outputs // 4)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, inputs, side, side]`` to ``[n, outputs, side, side]``."""
        x = self.conv(x)
        first = self.local_conv_branch1(x)
        second = self.local_conv_branch2(first)
        third = self.local_conv_branch3(second)
        y: torch.Tensor = functional.relu(self.bn(x + torch.cat((first, second, third), 1)))
        return y


class Regions(nn.Module):
    """The shared features ``[n, 64, 44, 44]`` of a picture ``[n, 3, 176, 176]``."""

    def __init__(self) -> None:
        super().__init__()
        self.multiscale_feat = nn.Sequential(
            RegionLayer(3, UNIT * 4), nn.MaxPool2d(2), RegionLayer(UNIT * 4, UNIT * 8), nn.MaxPool2d(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs both layers."""
        y: torch.Tensor = self.multiscale_feat(x)
        return y


class Features(nn.Module):
    """Three times two convolutions and a halving: ``[n, 64, 44, 44]`` to ``[n, 160, 5, 5]``."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = UNIT * 8
        for outputs in (UNIT * 12, UNIT * 16, UNIT * 20):
            for _ in range(2):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.feat_extract = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the layers."""
        y: torch.Tensor = self.feat_extract(x)
        return y


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Linear(hidden, outputs))  # nothing between, as published


class Alignment(nn.Module):
    """Features of the alignment, and 49 landmarks in pixels of the input: x and y in turn, ``[n, 98]``."""

    def __init__(self) -> None:
        super().__init__()
        self.align_feat = Features()
        self.align_output = _two_layers(4000, UNIT * 64, LANDMARKS * 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps the shared features."""
        features = self.align_feat(x)
        return features, self.align_output(features.flatten(1))


def attention_maps(landmarks: torch.Tensor, aus: Sequence[str]) -> torch.Tensor:
    """Draws where the AUs show: two squares each, brightest in the middle.

    Args:
        landmarks: ``[n, 98]``, as :class:`Alignment` gives them.
        aus: AUs.

    Returns:
        ``[n, AUs, 52, 52]``, 0 to 1.
    """
    x, y = landmarks[:, 0::2], landmarks[:, 1::2]
    ruler = (x[:, _INNER_EYES[0]] - x[:, _INNER_EYES[1]]).abs()
    both = torch.tensor([_CENTRES[au][:2] for au in aus], device=landmarks.device)  # [AUs, 2]
    below = torch.tensor([_CENTRES[au][2] for au in aus], dtype=landmarks.dtype, device=landmarks.device)
    scale = MAP / SIDE
    across = torch.round(x[:, both] * scale)[..., None]
    down = torch.round((y[:, both] + (ruler[:, None] * below)[..., None]) * scale)[..., None]
    places = torch.arange(MAP, dtype=landmarks.dtype, device=landmarks.device)
    half = round((MAP - 1) / 2 * _SPREAD)

    def inside(centre: torch.Tensor) -> torch.Tensor:  # both ends are kept within the map, as published
        low, high = (torch.clamp(centre + by, 0, MAP - 1) for by in (-half, half))
        return (places >= low) & (places <= high)

    square = inside(down)[..., :, None] & inside(across)[..., None, :]
    distance = (places - down).abs()[..., :, None] + (places - across).abs()[..., None, :]
    value = torch.where(square, 1 - distance * (_FALL / (MAP * _SPREAD)), torch.zeros_like(distance))
    return value.amax(2).clamp(min=0)


class Refinement(nn.Module):
    """Refines each AU's map with four convolutions of its own: ``[n, AUs, 52, 52]`` to ``[n, AUs, 44, 44]``."""

    def __init__(self, aus: int) -> None:
        super().__init__()
        width = UNIT * 8

        def branch() -> nn.Sequential:
            layers: list[nn.Module] = []
            for inputs in (1, width, width):
                layers += [nn.Conv2d(inputs, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
            return nn.Sequential(*layers, nn.Conv2d(width, 1, 3), nn.Sigmoid())

        self.local_aus_attention = nn.ModuleList(branch() for _ in range(aus))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Runs each AU's branch."""
        return torch.cat([branch(maps[:, i : i + 1]) for i, branch in enumerate(self.local_aus_attention)], 1)


class LocalFeatures(nn.Module):
    """Features of each AU under its map, averaged over the AUs.

    Args:
        aus: AUs.
        answers: Whether the file holds an answer of each branch too, which training used (version 2).
    """

    def __init__(self, aus: int, *, answers: bool) -> None:
        super().__init__()
        self.local_aus_branch = nn.ModuleList(Features() for _ in range(aus))
        if answers:
            self.local_aus_output = nn.ModuleList(_two_layers(4000, UNIT * 8, 2) for _ in range(aus))

    def forward(self, x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Maps the shared features and the refined maps to ``[n, 160, 5, 5]``."""
        parts = [branch(x * maps[:, i : i + 1]) for i, branch in enumerate(self.local_aus_branch)]
        return torch.stack(parts).mean(0)


class Answers(nn.Module):
    """Absent and present of each AU from the three features, before the softmax: ``[n, 2, AUs]``."""

    def __init__(self, aus: int) -> None:
        super().__init__()
        self.au_output = _two_layers(12000, UNIT * 64, aus * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs both layers."""
        y: torch.Tensor = self.au_output(x.flatten(1))
        return y.reshape(-1, 2, y.shape[1] // 2)


class JaaNet(nn.Module):
    """The whole network, its parts under the names of their files.

    Args:
        tensor: Name of the output.
        aus: AUs in the order of the output: one of :data:`ORDERS`.
        version: 1 (ECCV 2018) or 2 (IJCV).
    """

    def __init__(self, tensor: str, aus: Sequence[str], version: int) -> None:
        super().__init__()
        self.tensor, self.aus = tensor, tuple(aus)
        self.region_learning = Regions()
        self.align_net = Alignment()
        self.local_attention_refine = Refinement(len(aus))
        self.local_au_net = LocalFeatures(len(aus), answers=version == 2)
        self.global_au_feat = Features()
        self.au_net = Answers(len(aus))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps ``[n, 3, 176, 176]`` to the probability of each AU, ``[n, AUs]``."""
        shared = self.region_learning(x)
        alignment, landmarks = self.align_net(shared)
        maps = self.local_attention_refine(attention_maps(landmarks, self.aus))
        parts = (alignment, self.global_au_feat(shared), self.local_au_net(shared, maps))
        return {self.tensor: self.au_net(torch.cat(parts, 1)).softmax(1)[:, 1]}
