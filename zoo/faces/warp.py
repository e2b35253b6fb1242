"""One warp from the original pixels to the crop, by Pillow.

Coordinates of points are pixel indices: the centre of the first pixel is (0, 0), as landmarks, OpenCV and the aligners
of the literature count. Boxes are edges: the first pixel spans 0 to 1.

What the interpolation names mean:

- ``pillow-bilinear``: each output pixel is one bilinear sample of the original. Shrinking aliases, as OpenCV's
  ``warpAffine`` and ``resize`` do.
- ``pillow-bilinear-antialias``, ``pillow-bicubic-antialias``: ``Image.resize``, whose kernel widens with the shrinking
  factor (what torchvision does for Pillow images). A rotated crop cannot be cut by ``resize``: where it shrinks, the
  region is first resized with that kernel to the crop's own pixel pitch and then sampled with the plain one.

What lies outside the picture is black.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Interpolation: TypeAlias = Literal["pillow-bilinear", "pillow-bilinear-antialias", "pillow-bicubic-antialias"]
Matrix: TypeAlias = NDArray[np.float64]
"""``[2, 3]``: output point to source point, ``source = m[:, :2] @ output + m[:, 2]``, both pixel indices."""

_AFFINE: Final = Image.Transform.AFFINE
_OUTWARDS: Final = (math.floor, math.floor, math.ceil, math.ceil)


def kernel(interpolation: Interpolation) -> Literal[Image.Resampling.BILINEAR, Image.Resampling.BICUBIC]:
    """Returns Pillow's filter of an interpolation name."""
    if interpolation == "pillow-bicubic-antialias":
        return Image.Resampling.BICUBIC
    return Image.Resampling.BILINEAR


def _edges(matrix: Matrix) -> tuple[float, ...]:
    """Returns Pillow's six numbers for a matrix between pixel indices: Pillow counts from the pixels' edges."""
    shift = matrix[:, 2] + 0.5 - 0.5 * matrix[:, :2].sum(axis=1)
    (a, b), (c, d) = matrix[:, :2].tolist()
    return a, b, float(shift[0]), c, d, float(shift[1])


def _corners(matrix: Matrix, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the least and the greatest source point of a warp, pixel indices."""
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    points = corners @ matrix[:, :2].T + matrix[:, 2]
    return points.min(axis=0), points.max(axis=0)


def affine(
    pixels: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int], interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Warps by an affine map.

    Args:
        pixels: RGB uint8 ``[height, width, 3]``.
        matrix: Output point to source point, pixel indices.
        size: Height and width of the output.
        interpolation: See the module.

    Returns:
        RGB uint8 ``[*size, 3]``; black where the source point lies outside.
    """
    return np.asarray(affine_image(pixels, matrix, size, interpolation))


def affine_image(
    pixels: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int], interpolation: Interpolation
) -> Image.Image:
    """Does what :func:`affine` does and returns the Pillow picture."""
    resample = kernel(interpolation)
    pitch = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    low, high = _corners(matrix, size)
    margin = 2 * max(pitch, 1)  # what the kernels reach beyond the outermost source points
    edge = np.array(pixels.shape[1::-1])
    left, top = np.clip(np.floor(low - margin), 0, edge).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high + margin) + 1, 0, edge).astype(int).tolist()
    if left >= right or top >= bottom:  # all of it outside
        return Image.new("RGB", (size[1], size[0]))
    image = Image.fromarray(pixels[top:bottom, left:right])
    matrix = np.column_stack((matrix[:, :2], matrix[:, 2] - (left, top)))
    if interpolation != "pillow-bilinear" and pitch > 1:
        full = np.array(image.size)
        small = np.maximum(np.rint(full / pitch), 1).astype(int)
        image = image.resize((int(small[0]), int(small[1])), resample)
        factor = small / full
        offset = (matrix[:, 2] + 0.5) * factor - 0.5
        matrix = np.column_stack((matrix[:, :2] * factor[:, None], offset))
    return image.transform((size[1], size[0]), _AFFINE, _edges(matrix), resample)


def resize_box(
    pixels: NDArray[np.uint8], box: ArrayLike, size: tuple[int, int], interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Cuts a box and resizes it; both sides have their own factor.

    Args:
        pixels: RGB uint8 ``[height, width, 3]``.
        box: Left, top, right, bottom in pixels (edges, fractions allowed). May reach outside: black there.
        size: Height and width of the output.
        interpolation: See the module.

    Returns:
        RGB uint8 ``[*size, 3]``.
    """
    left, top, right, bottom = (float(v) for v in np.asarray(box, np.float64))
    height, width = size
    if interpolation == "pillow-bilinear":
        step_x, step_y = (right - left) / width, (bottom - top) / height
        matrix = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])
        return affine(pixels, matrix, size, interpolation)
    x, y, end_x, end_y = (int(f(v)) for f, v in zip(_OUTWARDS, (left, top, right, bottom), strict=True))
    image = Image.fromarray(cut(pixels, x, y, end_x, end_y))
    inside = (left - x, top - y, right - x, bottom - y)
    return np.asarray(image.resize((width, height), kernel(interpolation), box=inside))


def cut(pixels: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
    """Returns a rectangle of whole pixels, black where it reaches outside."""
    inner = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inner.shape[:2] == (bottom - top, right - left):
        return inner
    whole = np.zeros((bottom - top, right - left, 3), np.uint8)
    y, x = max(-top, 0), max(-left, 0)
    whole[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return whole


def sample(
    pixels: NDArray[np.uint8], matrix: Matrix, side: int, *, border: Literal["black", "edge"] = "black"
) -> NDArray[np.uint8]:
    """Samples a square for a network bit for bit as OpenCV's ``warpPerspective`` with ``INTER_LINEAR`` does.

    MediaPipe feeds its networks with it, and Pillow's bilinear transform, which rounds down, moves weak faces: plain
    bilinear without antialiasing, source points on a grid of 1/32 pixel, integer weights, rounding to nearest.

    Args:
        pixels: RGB uint8 ``[height, width, 3]``, contiguous.
        matrix: Output point to source point, pixel indices.
        side: Side of the output.
        border: What lies outside: black, or the picture's outermost pixels repeated.

    Returns:
        RGB uint8 ``[side, side, 3]``.
    """
    height, width = pixels.shape[:2]
    grid = np.arange(side, dtype=np.float64)
    across, down = grid[None], grid[:, None]
    x, y = (np.rint((row[0] * across + (row[1] * down + row[2])) * 32).astype(np.int32).ravel() for row in matrix)
    flat = pixels.reshape(-1)
    total = np.full((3, side * side), 512, np.int32)  # half of the weights' sum: rounds to nearest
    part = np.empty(side * side, np.int32)
    columns = [_taps(x, end, width, 3, border) for end in (0, 1)]
    for end in (0, 1):
        row_offset, row_weight = _taps(y, end, height, 3 * width, border)
        for column_offset, column_weight in columns:
            offset, weight = row_offset + column_offset, row_weight * column_weight
            for colour in range(3):  # planes: numpy is slow on rows of three
                np.multiply(flat[colour:].take(offset), weight, out=part)
                total[colour] += part
    total >>= 10
    return np.ascontiguousarray(total.astype(np.uint8).T).reshape(side, side, 3)


def _taps(
    place: NDArray[np.int32], end: int, length: int, step: int, border: Literal["black", "edge"]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Returns the offsets and weights of one of the two pixels around places in 1/32 pixel along an axis."""
    pixel, weight = (place >> 5) + end, place & 31
    if not end:
        weight = 32 - weight
    inner = pixel.clip(0, length - 1)
    if border == "black":
        weight *= pixel == inner
    inner *= step
    return inner, weight
