"""EmoNet (Toisoul et al. 2021, Nature Machine Intelligence 3): a face alignment network and a head on its features.

Written from the state dict that ``emonet/models/emonet.py`` of face-analysis/emonet (commit 49eef30) makes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WIDTH = 256
"""Channels of the hourglasses and of the head."""
LANDMARKS = 68


class Block(nn.Module):
    """Three convolutions whose results stand side by side (Bulat and Tzimiropoulos 2017, arXiv:1703.07332)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        for number, (before, after) in enumerate(
            ((inputs, outputs // 2), (outputs // 2, outputs // 4), (outputs // 4, outputs // 4)), 1
        ):
            self.add_module(f"bn{number}", nn.BatchNorm2d(before))
            self.add_module(f"conv{number}", nn.Conv2d(before, after, 3, 1, 1, bias=False))
        self.downsample = (
            nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False))
            if inputs != outputs
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, inputs, h, w]`` to ``[n, outputs, h, w]``."""
        parts = []
        y = x
        for number in (1, 2, 3):
            y = self.get_submodule(f"conv{number}")(functional.relu(self.get_submodule(f"bn{number}")(y)))
            parts.append(y)
        return torch.cat(parts, 1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Four levels down and up again."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            for name in ("b1", "b2", "b3"):
                self.add_module(f"{name}_{level}", Block(WIDTH, WIDTH))
        self.add_module("b2_plus_1", Block(WIDTH, WIDTH))

    def _level(self, level: int, x: torch.Tensor) -> torch.Tensor:
        beside = self.get_submodule(f"b1_{level}")(x)
        below = self.get_submodule(f"b2_{level}")(functional.max_pool2d(x, 2))
        below = self._level(level - 1, below) if level > 1 else self.get_submodule("b2_plus_1")(below)
        below = self.get_submodule(f"b3_{level}")(below)
        return torch.as_tensor(beside + functional.interpolate(below, scale_factor=2, mode="nearest"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 256, 64, 64]`` to the same shape."""
        return self._level(self.depth, x)


class EmoNet(nn.Module):
    """The network.

    Args:
        expressions: Classes; valence and arousal come behind them.
    """

    def __init__(self, expressions: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, WIDTH // 4, 7, 2, 3), nn.BatchNorm2d(WIDTH // 4)
        self.conv2 = Block(WIDTH // 4, WIDTH // 2)
        self.conv3 = Block(WIDTH // 2, WIDTH // 2)
        self.conv4 = Block(WIDTH // 2, WIDTH)
        for number in (0, 1):
            self.add_module(f"m{number}", Hourglass())
            self.add_module(f"top_m_{number}", Block(WIDTH, WIDTH))
            self.add_module(f"conv_last{number}", nn.Conv2d(WIDTH, WIDTH, 1))
            self.add_module(f"bn_end{number}", nn.BatchNorm2d(WIDTH))
            self.add_module(f"l{number}", nn.Conv2d(WIDTH, LANDMARKS, 1))
        self.bl0, self.al0 = nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(LANDMARKS, WIDTH, 1)
        self.conv1x1_input_emo_2 = nn.Conv2d(3 * WIDTH, WIDTH, 1)
        layers = [layer for _ in range(4) for layer in (Block(WIDTH, WIDTH), nn.MaxPool2d(2))]
        self.emo_net_2 = nn.Sequential(*layers)
        self.emo_fc_2 = nn.Sequential(
            nn.Linear(WIDTH, WIDTH // 2), nn.BatchNorm1d(WIDTH // 2), nn.ReLU(), nn.Linear(WIDTH // 2, expressions + 2)
        )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps RGB in 0..1 ``[n, 3, 256, 256]`` to ``emotion``: class logits, then valence and arousal."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.conv4(self.conv3(functional.max_pool2d(self.conv2(x), 2)))

        def stack(number: int, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.get_submodule(f"top_m_{number}")(self.get_submodule(f"m{number}")(y))
            y = self.get_submodule(f"bn_end{number}")(self.get_submodule(f"conv_last{number}")(y))
            y = functional.relu(y)
            return y, self.get_submodule(f"l{number}")(y)

        first, heat = stack(0, x)
        first = self.bl0(first)
        second, heat = stack(1, x + first + self.al0(heat))
        attended = torch.cat([first, second], 1) * heat.sum(1, keepdim=True)
        y = self.emo_net_2(self.conv1x1_input_emo_2(torch.cat([x, attended], 1)))
        return {"emotion": self.emo_fc_2(y.mean((2, 3)))}
