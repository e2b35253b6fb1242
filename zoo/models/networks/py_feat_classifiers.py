"""Py-Feat's modular path from a face crop to its classifiers as one torch module that exports to ONNX.

Crop, landmarks, aligned and masked face, HOG, projections, classifiers. Formulas and constants: ``align_face`` and
``HOGLayer`` (``image_operations.py``), ``face_mask.py`` and ``geometry.py`` of cosanlab/py-feat at 5d235ef, where HOG
and mask are those of scikit-image. Computed in float32; Py-Feat places the landmarks and projects in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from zoo.models.networks.mobilefacenet import POINTS, MobileFaceNet
from zoo.models.py_feat import BINS, BLOCK, CELL, SIDE, Classifiers, Linear, Projection, Trees

_NOSE_TIP, _MOUTH_LEFT, _MOUTH_RIGHT, _JAW_LEFT, _JAW_RIGHT = 30, 48, 54, 0, 16
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
_ENLARGE = 2.5
"""Side of the aligned crop over the longer side of the box around eyes, nose tip and mouth corners."""
_FILL = 128.0
"""Of aligned pixels that lie outside the crop. Faces are 0..1, and this is what Py-Feat 0.7 to 2.0.3 puts there."""
_UNIT = 1e5
"""Blocks are multiplied by this and 1 is added to their energy: scikit-image's ``energy + 1e-5 ** 2``. The exporter
leaves out the addition of a number as small as that."""
_ROUNDING = 1e-6
"""What the warp's rounding may make of 0 or of equal gradients. It must not tell a pixel's bin where a patch has one
colour, and L2-Hys, which normalises twice, would make gradients of nothing else as large as any."""
_CLIP = 0.2
"""Upper bound of an entry of a normalised block (L2-Hys)."""
_TAN = 2**0.5 - 1
"""Of 22.5 degrees, the width of a bin."""
_FAR = 1e6
"""Beyond any pixel."""
_NEAR = 1e-3
"""Where a hull's edge crosses a row, its column is a fraction of whole numbers far below 1000."""


def align(faces: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turns the eyes level and cuts a square about eyes, nose tip and mouth corners.

    Args:
        faces: ``[n, 3, 112, 112]``.
        points: 68 landmarks in pixels of the crop, ``[n, 68, 2]``.

    Returns:
        The aligned faces, ``[n, 3, 112, 112]``, and the landmarks in them, cut to whole pixels, ``[n, 68, 2]``.
    """
    left, right = points[:, _LEFT_EYE].mean(1), points[:, _RIGHT_EYE].mean(1)
    across = right - left
    across = across / across.norm(dim=1, keepdim=True).clamp(min=1e-12)
    cosine, sine = across[:, :1], across[:, 1:]

    def turned(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([cosine * x + sine * y, cosine * y - sine * x], -1)

    rigid = [points[:, i] for i in (_NOSE_TIP, _MOUTH_LEFT, _MOUTH_RIGHT)]
    anchors = torch.stack([left, right, *rigid], 1)
    anchors = turned(anchors[..., 0], anchors[..., 1])
    low, high = anchors.amin(1, keepdim=True), anchors.amax(1, keepdim=True)
    half = (high - low).amax(-1, keepdim=True) * (_ENLARGE / 2)
    scale = (SIDE - 1) / 2 / half.clamp(min=1e-12)
    corner = (low + high) / 2 - half  # of the square, in turned coordinates
    placed = (turned(points[..., 0], points[..., 1]) - corner) * scale

    line = torch.arange(SIDE, dtype=faces.dtype, device=faces.device)
    x = (line / scale[:, 0] + corner[:, 0, :1])[:, None]  # [n, 1, 112]
    y = (line / scale[:, 0] + corner[:, 0, 1:])[:, :, None]  # [n, 112, 1]
    cosine, sine = cosine[:, None], sine[:, None]
    source = torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
    grid = (2 * source + 1) / SIDE - 1
    inside = (grid.abs() <= 1).all(-1)[:, None]
    # Farther out than 2 nothing changes, and kernels turn the numbers into integers.
    sampled = functional.grid_sample(faces, grid.clamp(-2, 2), align_corners=False)
    return torch.where(inside, sampled, torch.full_like(sampled, _FILL)), placed.trunc()


def hull_mask(points: torch.Tensor) -> torch.Tensor:
    """Marks the pixels in or on the convex hull of whole-numbered points, and the forehead above the jaw's ends.

    A row of the hull reaches from the leftmost to the rightmost place where a chord between two points crosses it. The
    forehead is the rectangle from the top to the higher end of the jaw; a bound below 0 counts from the other side, as
    it does in the slices of Py-Feat's code.

    Args:
        points: Whole numbers, ``[n, 68, 2]``.

    Returns:
        Bool ``[n, 112, 112]``.
    """
    first, second = torch.triu_indices(POINTS, POINTS, device=points.device)  # a point with itself: a hull's corner
    start, end = points[:, first, None], points[:, second, None]  # [n, chords, 1, 2]
    line = torch.arange(SIDE, dtype=points.dtype, device=points.device)
    below, above = line - start[..., 1], end[..., 1] - line
    height = end[..., 1] - start[..., 1]
    place = start[..., 0] + below / torch.where(height == 0, torch.ones_like(height), height) * (
        end[..., 0] - start[..., 0]
    )
    crossed = below * above >= 0  # [n, chords, 112]
    left = torch.where(crossed, place, torch.full_like(place, _FAR)).amin(1)[:, :, None]
    right = torch.where(crossed, place, torch.full_like(place, -_FAR)).amax(1)[:, :, None]
    hull = (line >= left - _NEAR) & (line <= right + _NEAR)

    def bound(value: torch.Tensor) -> torch.Tensor:
        return torch.where(value < 0, (value + SIDE).clamp(min=0), value)[:, None, None]

    jaw = points[:, [_JAW_LEFT, _JAW_RIGHT]]
    across = (line >= bound(jaw[:, 0, 0])) & (line < bound(jaw[:, 1, 0]))
    return hull | (across & (line[:, None] < bound(jaw[..., 1].amin(1))))


def _rounded(gradient: torch.Tensor) -> torch.Tensor:
    return torch.where(gradient.abs() < _ROUNDING, torch.zeros_like(gradient), gradient)


def hog(faces: torch.Tensor) -> torch.Tensor:
    """Computes the histograms of oriented gradients, as scikit-image does.

    Central differences (0 at the border), the channel with the largest gradient at each pixel, hard bins, means over
    cells, blocks of 2x2 cells normalised by L2-Hys. Bins are told by comparisons, not by an angle, which runtimes round
    differently.

    Args:
        faces: ``[n, channels, 112, 112]``.

    Returns:
        ``[n, 5408]``: blocks row by row, in a block its cells row by row, in a cell its orientations.
    """
    right = _rounded(functional.pad(faces[..., 2:] - faces[..., :-2], (1, 1, 0, 0)))
    down = _rounded(functional.pad(faces[..., 2:, :] - faces[..., :-2, :], (0, 0, 1, 1)))
    size = (right * right + down * down).sqrt()
    most = [part[:, :1] for part in (right, down, size)]
    for channel in range(1, faces.shape[1]):
        own = [part[:, channel : channel + 1] for part in (right, down, size)]
        stronger = own[2] > most[2]
        most = [torch.where(stronger, a, b) for a, b in zip(own, most, strict=True)]
    right, down, size = most
    # Opposite gradients are one orientation: the half turn with down > 0, and right > 0 where down is 0.
    right, down = torch.where(down < 0, -right, right), down.abs()
    right = torch.where(down == 0, right.abs(), right)
    reached = (
        down >= _TAN * right, down >= right - _ROUNDING, _TAN * down >= right, right <= 0,
        -right >= _TAN * down, -right >= down - _ROUNDING, _TAN * -right >= down,
    )  # fmt: skip
    own_bin = torch.stack([r.to(faces.dtype) for r in reached]).sum(0)
    bins = torch.arange(BINS, dtype=faces.dtype, device=faces.device).view(1, BINS, 1, 1)
    cells = functional.avg_pool2d((own_bin == bins).to(faces.dtype) * size, CELL)
    count = SIDE // CELL - BLOCK + 1
    corners = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
    blocks = torch.stack([cells[:, :, r : r + count, c : c + count] for r, c in corners], 1)
    for limit in (_CLIP, None):
        blocks = blocks * _UNIT
        blocks = blocks / ((blocks * blocks).sum((1, 2), keepdim=True) + 1).sqrt()
        blocks = blocks if limit is None else blocks.clamp(max=limit)
    return blocks.permute(0, 3, 4, 1, 2).flatten(1)


def _kept(values: NDArray[np.generic]) -> torch.Tensor:
    """Returns a tensor of a copy, floats as float32."""
    found = torch.from_numpy(np.array(values))
    return found.float() if found.is_floating_point() else found


class Project(nn.Module):
    """A scaler and a PCA: ``[n, 5408]`` to ``[n, components]``."""

    centre: torch.Tensor
    weight: torch.Tensor

    def __init__(self, projection: Projection) -> None:
        super().__init__()
        self.register_buffer("centre", _kept(projection.centre))
        self.register_buffer("weight", _kept(projection.weight))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Projects."""
        return (features - self.centre) @ self.weight.T


class Margins(nn.Module):
    """Support vector machines: ``[n, features]`` to their margins, ``[n, models]``."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, models: Sequence[Linear]) -> None:
        super().__init__()
        self.register_buffer("weight", _kept(np.stack([m.weight for m in models])))
        self.register_buffer("bias", _kept(np.array([m.bias for m in models])))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Computes the margins."""
        return features @ self.weight.T + self.bias


class Forests(nn.Module):
    """Boosted trees: ``[n, features]`` to probabilities, ``[n, models]``; 0 or 1 of models trained with a hinge.

    The nodes of all trees lie in one row; each tree is walked for as many steps as the deepest has, and a leaf's
    children are the leaf itself.
    """

    left: torch.Tensor
    right: torch.Tensor
    feature: torch.Tensor
    threshold: torch.Tensor
    roots: torch.Tensor
    owner: torch.Tensor
    start: torch.Tensor
    hinge: torch.Tensor

    def __init__(self, models: Sequence[Trees]) -> None:
        super().__init__()
        trees = [(number, tree) for number, model in enumerate(models) for tree in model.trees]
        roots = np.cumsum([0, *(len(tree.left) for _, tree in trees)])
        own = np.arange(roots[-1])
        base = np.repeat(roots[:-1], np.diff(roots))
        left, right, feature, threshold = (
            np.concatenate([np.asarray(getattr(tree, part)) for _, tree in trees])
            for part in ("left", "right", "feature", "threshold")
        )
        leaf = left < 0
        self.register_buffer("left", _kept(np.where(leaf, own, left + base)))
        self.register_buffer("right", _kept(np.where(leaf, own, right + base)))
        self.register_buffer("feature", _kept(np.where(leaf, 0, feature)))
        self.register_buffer("threshold", _kept(threshold))
        self.register_buffer("roots", _kept(roots[:-1]))
        self.register_buffer("owner", _kept(np.eye(len(models), dtype=np.float32)[[number for number, _ in trees]]))
        self.register_buffer("start", _kept(np.array([m.start for m in models])))
        self.register_buffer("hinge", _kept(np.array([m.hinge for m in models])))
        self.steps = max(tree.depth for _, tree in trees)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Walks the trees; no feature is missing."""
        node = self.roots.expand(features.shape[0], -1)  # len() would fix the batch in an export
        for _ in range(self.steps):
            value = features.gather(1, self.feature[node])
            node = torch.where(value < self.threshold[node], self.left[node], self.right[node])
        margin = self.threshold[node] @ self.owner + self.start
        return torch.where(self.hinge, (margin > 0).to(margin.dtype), margin.sigmoid())


class Judge(nn.Module):
    """HOG and landmarks to one value a label, in the order of ``classifiers.models``."""

    def __init__(self, classifiers: Classifiers) -> None:
        super().__init__()
        self.project = nn.ModuleDict({r: Project(p) for r, p in classifiers.projections.items()})
        self.models = nn.ModuleDict()
        found: list[str] = []
        for region in classifiers.projections:
            of_region = {label: model for label, (r, model) in classifiers.models.items() if r == region}
            models = list(of_region.values())
            self.models[region] = (
                Margins(cast("list[Linear]", models)) if isinstance(models[0], Linear)
                else Forests(cast("list[Trees]", models))
            )  # fmt: skip
            found += of_region
        self.order = [found.index(label) for label in classifiers.models]

    def forward(self, features: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 5408]`` and ``[n, 68, 2]`` to ``[n, labels]``."""
        places = points.flatten(1)
        values = [
            model(torch.cat([self.project[region](features), places], 1)) for region, model in self.models.items()
        ]
        return torch.cat(values, 1)[:, self.order]


class PyFeatClassifiers(nn.Module):
    """Faces in 0..1, ``[n, 3, 112, 112]``, to ``scores`` ``[n, labels]``."""

    def __init__(self, landmarks: MobileFaceNet, classifiers: Classifiers) -> None:
        super().__init__()
        self.landmarks = landmarks
        self.judge = Judge(classifiers)
        self.answers_in_steps = any(isinstance(model, Forests) for model in self.judge.models.values())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Runs the whole path."""
        points = self.landmarks(x).unflatten(1, (POINTS, 2)) * SIDE
        aligned, placed = align(x, points)
        return {"scores": self.judge(hog(aligned * hull_mask(placed)[:, None]), placed)}
