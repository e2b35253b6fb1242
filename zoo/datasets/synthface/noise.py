"""Smooth random fields, made from a generator with numpy and Pillow only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Field = NDArray[np.floating[Any]]


def f32(values: Any) -> Field:
    """Returns values as float32."""
    return np.asarray(values, np.float32)


def resized(field: Field, width: int, height: int) -> Field:
    """Returns a field ``[h, w]`` resampled bicubically to ``[height, width]``."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def value_noise(rng: np.random.Generator, width: int, height: int, cell: float, octaves: int = 1) -> Field:
    """Returns noise ``[height, width]`` of mean 0 and standard deviation about 1.

    Args:
        rng: Source of randomness.
        width: Columns.
        height: Rows.
        cell: Size of the largest blobs, pixels.
        octaves: Each further octave has half the size and 0.6 of the amplitude of the one before.
    """
    total = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        columns, rows = max(2, round(width / cell) + 2), max(2, round(height / cell) + 2)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += amplitude * resized(grid, width, height)
        amplitude *= 0.6
        cell = max(1.0, cell / 2)
    return total / np.float32(total.std() + 1e-6)


def sample_periodic(field: Field, u: Field, v: Field) -> Field:
    """Returns ``field`` read bilinearly at columns ``u`` and rows ``v``, wrapping round at the edges."""
    height, width = field.shape
    u0, v0 = np.floor(u), np.floor(v)
    fu, fv = u - u0, v - v0
    i0, j0 = u0.astype(np.int64) % width, v0.astype(np.int64) % height
    i1, j1 = (i0 + 1) % width, (j0 + 1) % height
    top = field[j0, i0] * (1 - fu) + field[j0, i1] * fu
    bottom = field[j1, i0] * (1 - fu) + field[j1, i1] * fu
    return f32(top * (1 - fv) + bottom * fv)


def blurred(image: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """Returns a grey or RGB picture with a Gaussian blur of ``radius`` pixels."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)), dtype=np.uint8)


def smoothstep(low: float, high: float, value: Field) -> Field:
    """Returns 0 below ``low``, 1 above ``high`` and a cubic between (reversed when ``low`` > ``high``)."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return f32(t * t * (3 - 2 * t))
