"""FHOG features and a linear layer as a torch module that exports to ONNX and is exact where exactness matters.

The features are those of dlib's ``extract_fhog_features`` with cells of 8 pixels (dlib/image_transforms/fhog.h;
Felzenszwalb et al., PAMI 32(9), 2010), which OpenFace 2 uses for its AU models.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SIDE, CELL, CELLS = 112, 8, 14
CHANNELS = 31
FEATURES = (CELLS - 2) ** 2 * CHANNELS
"""4464: twelve by twelve cells, row by row, 31 channels each."""

# dlib's nine unit vectors (x, y), in steps of 20 degrees, as integers: with integer gradients every product and sum
# below is exact in float32, so no runtime can round a pixel into another bin.
_DIRECTIONS = (
    (10000, 0), (9397, 3420), (7660, 6428), (5000, 8660), (1736, 9848),
    (-1736, 9848), (-5000, 8660), (-7660, 6428), (-9397, 3420),
)  # fmt: skip
EPSILON = 1e-4
"""Added to the energy of a block of four cells (dlib)."""
CLIP = 0.2
"""Upper bound of a normalised histogram entry (dlib)."""
TEXTURE = 0.2357
"""Factor of the four texture channels (dlib)."""


def cell_weights() -> NDArray[np.float32]:
    """Returns the share of each inner pixel line (1 to 110) in each of the 14 cells: ``[14, 110]``, bilinear."""
    weights = np.zeros((CELLS, SIDE - 2))
    for pixel in range(1, SIDE - 1):
        place = (pixel + 0.5) / CELL - 0.5
        cell = int(np.floor(place))
        for near, share in ((cell, cell + 1 - place), (cell + 1, place - cell)):
            if 0 <= near < CELLS:
                weights[near, pixel - 1] = share
    return weights.astype(np.float32)


class Fhog(nn.Module):
    """FHOG of 112x112 pictures: ``[n, 1 or 3, 112, 112]`` of whole numbers 0..255 to ``[n, 4464]``.

    Of three colours, the one with the strongest gradient counts at each pixel. Channels of a cell: 18 directions, 9
    orientations, 4 textures. A pixel whose gradient is exactly between two directions goes to the first.
    """

    rows: torch.Tensor
    dx: torch.Tensor
    dy: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.from_numpy(cell_weights()), persistent=False)
        both = np.concatenate([_DIRECTIONS, np.negative(_DIRECTIONS)]).astype(np.float32)
        self.register_buffer("dx", torch.from_numpy(both[:, 0].reshape(1, 18, 1, 1)), persistent=False)
        self.register_buffer("dy", torch.from_numpy(both[:, 1].reshape(1, 18, 1, 1)), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes the features."""
        gx, gy, squared = self._gradient(x)
        dots = gx * self.dx + gy * self.dy
        # One bin a pixel. An argmax would do, but runtimes differ in which of two equal values they take.
        best = (dots == dots.amax(dim=1, keepdim=True)).to(x.dtype)
        first = best * (best.cumsum(dim=1) == 1).to(x.dtype)
        votes = first * squared.sqrt()
        histogram = self.rows @ (votes @ self.rows.T)  # [n, 18, 14, 14]

        unsigned = histogram[:, :9] + histogram[:, 9:]
        energy = (unsigned * unsigned).sum(dim=1, keepdim=True)
        pairs = energy[:, :, :-1] + energy[:, :, 1:]
        block = 1 / (pairs[:, :, :, :-1] + pairs[:, :, :, 1:] + EPSILON).sqrt()  # [n, 1, 13, 13]
        inner, folded = histogram[:, :, 1:-1, 1:-1], unsigned[:, :, 1:-1, 1:-1]
        # The four blocks that hold a cell, in dlib's order: below right, above right, below left, above left.
        norms = (block[:, :, 1:, 1:], block[:, :, :-1, 1:], block[:, :, 1:, :-1], block[:, :, :-1, :-1])
        signed = [(inner * n).clamp(max=CLIP) for n in norms]
        plain = [(folded * n).clamp(max=CLIP) for n in norms]
        cells = torch.cat(
            [
                0.5 * (signed[0] + signed[1] + signed[2] + signed[3]),
                0.5 * (plain[0] + plain[1] + plain[2] + plain[3]),
                *(TEXTURE * s.sum(dim=1, keepdim=True) for s in signed),
            ],
            dim=1,
        )
        return cells.permute(0, 2, 3, 1).flatten(1)

    @staticmethod
    def _gradient(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        gx = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2]
        gy = x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
        squared = gx * gx + gy * gy
        most = [part[:, :1] for part in (gx, gy, squared)]
        for colour in range(1, x.shape[1]):
            own = [part[:, colour : colour + 1] for part in (gx, gy, squared)]
            stronger = own[2] > most[2]
            most = [torch.where(stronger, a, b) for a, b in zip(own, most, strict=True)]
        return most[0], most[1], most[2]


class HogRidge(nn.Module):
    """FHOG, then one linear layer ``ridge``.

    Args:
        weight: ``[labels, 4464]``.
        bias: ``[labels]``.
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        super().__init__()
        self.fhog = Fhog()
        self.ridge = nn.Linear(FEATURES, len(bias))
        with torch.no_grad():
            self.ridge.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            self.ridge.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps whole numbers 0..255 ``[n, 1 or 3, 112, 112]`` to ``au_intensity`` ``[n, labels]``."""
        return {"au_intensity": self.ridge(self.fhog(x))}
