"""The warps, against OpenCV's numbers, Pillow's own resize and an interpolation by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import map_coordinates

from zoo.faces.landmarks import Region
from zoo.faces.warp import affine, cut, resize_box, sample

NAMES = ("pillow-bilinear", "pillow-bilinear-antialias", "pillow-bicubic-antialias")


def turn(angle, scale, shift):
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def bilinear(pixels, matrix, size):
    """Bilinear samples in float, and which source points lie well inside."""
    y, x = np.mgrid[: size[0], : size[1]]
    xs = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    ys = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    values = np.stack([map_coordinates(pixels[..., c].astype(float), [ys, xs], order=1) for c in range(3)], -1)
    inside = (xs >= 0) & (ys >= 0) & (xs <= pixels.shape[1] - 1) & (ys <= pixels.shape[0] - 1)
    return values, inside


# cv2.warpPerspective (OpenCV 4.11) of portrait[:200, 130:300] for the region below: its diagonal in steps of 27, and
# the sum of all values.
CV2 = {
    "black": (
        [[0, 0, 0], [200, 193, 185], [144, 114, 76], [201, 169, 135], [197, 155, 139], [144, 117, 90], [0, 0, 0],
         [0, 0, 0]],
        10972348,
    ),
    "edge": (
        [[192, 183, 181], [200, 193, 185], [144, 114, 76], [201, 169, 135], [197, 155, 139], [144, 117, 90], [0, 0, 0],
         [236, 223, 223]],
        14275753,
    ),
}  # fmt: skip


@pytest.mark.parametrize("border", CV2)
def test_sampling_for_the_networks_is_opencvs_to_the_bit(border, portrait):
    near = np.ascontiguousarray(portrait[:200, 130:300])
    out = sample(near, Region((94.4776, 123.908), 200.0, 0.31).matrix(192), 192, border=border)
    diagonal, total = CV2[border]
    steps = np.arange(0, 192, 27)
    assert out[steps, steps].tolist() == diagonal
    assert int(out.astype(np.int64).sum()) == total


@given(st.floats(-3, 3), st.floats(0.05, 6), st.tuples(st.floats(-50, 200), st.floats(-50, 200)))
@settings(max_examples=30)
def test_sampling_is_bilinear(angle, scale, shift):
    pixels = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(pixels).resize((180, 140), Image.Resampling.BICUBIC))
    matrix = turn(angle, scale, shift)
    expected, inside = bilinear(pixels, matrix, (24, 24))
    # a source grid of 1/32 pixel: half a step, times the steepest slope, in both axes
    slope = max(np.abs(np.diff(pixels.astype(int), axis=a)).max() for a in (0, 1))
    out = sample(pixels, matrix, 24)
    assert np.abs(out[inside] - expected[inside]).max(initial=0) <= 0.5 + 2 * slope / 64
    edge = sample(pixels, matrix, 24, border="edge")
    np.testing.assert_array_equal(edge[inside], out[inside])


@given(st.floats(-3, 3), st.floats(0.05, 6), st.tuples(st.floats(-50, 200), st.floats(-50, 200)))
@settings(max_examples=30)
def test_a_plain_warp_samples_at_the_right_points(angle, scale, shift):
    pixels = np.random.default_rng(2).integers(0, 256, (140, 180, 3), dtype=np.uint8)
    matrix = turn(angle, scale, shift)
    expected, inside = bilinear(pixels, matrix, (20, 30))
    out = affine(pixels, matrix, (20, 30), "pillow-bilinear")
    assert out.shape == (20, 30, 3) and out.dtype == np.uint8
    assert np.abs(out[inside] - expected[inside]).max(initial=0) <= 1.01  # Pillow rounds down


@pytest.mark.parametrize("name", NAMES)
def test_the_identity_warp_gives_the_pixels_back(name, portrait):
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(affine(portrait[:50, :60], identity, (50, 60), name), portrait[:50, :60])
    np.testing.assert_array_equal(resize_box(portrait[:50, :60], (0, 0, 60, 50), (50, 60), name), portrait[:50, :60])


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_outside_is_black(name):
    white = np.full((40, 40, 3), 255, np.uint8)
    shifted = affine(white, np.array([[1.0, 0, -10], [0, 1, -10]]), (40, 40), name)
    assert not shifted[:10].any() and not shifted[:, :10].any() and (shifted[10:, 10:] == 255).all()
    assert not affine(white, np.array([[1.0, 0, 900], [0, 1, 0]]), (8, 8), name).any()
    boxed = resize_box(white, (-20, -20, 20, 20), (40, 40), name)
    assert not boxed[:19].any() and not boxed[:, :19].any() and (boxed[21:, 21:] == 255).all()


@pytest.mark.parametrize("name", NAMES[1:])
def test_antialiased_boxes_are_pillows_resize(name, portrait):
    kernel = Image.Resampling.BILINEAR if "bilinear" in name else Image.Resampling.BICUBIC
    expected = np.asarray(Image.fromarray(portrait).resize((112, 112), kernel))
    np.testing.assert_array_equal(resize_box(portrait, (0, 0, 512, 512), (112, 112), name), expected)
    box = (100.25, 60.5, 300.75, 240.125)
    # From the cut region, where Pillow clamps at the region's own edges as it would at the picture's.
    part = Image.fromarray(portrait[60:241, 100:301])
    expected = np.asarray(part.resize((64, 48), kernel, box=(0.25, 0.5, 200.75, 180.125)))
    np.testing.assert_array_equal(resize_box(portrait, box, (48, 64), name), expected)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_antialiasing_removes_what_the_crop_cannot_show(name, angle):
    # Stripes of two pixels shrunk four times: their mean is 127.5 everywhere.
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = turn(angle, 4.0, (120, 60))
    smooth = affine(stripes, matrix, (40, 40), name).astype(int)
    assert np.abs(smooth - 127).max() <= 6


def test_plain_bilinear_aliases():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    assert affine(stripes, turn(0.3, 4.0, (120, 60)), (40, 40), "pillow-bilinear").std() > 30


@pytest.mark.parametrize("name", NAMES[1:])
def test_an_upright_antialiased_warp_is_close_to_pillows_resize(name, portrait):
    box = (100, 60, 324, 284)  # twice 112: the grid of the resized region and the crop's coincide
    warped = affine(portrait, np.array([[2.0, 0, 100.5], [0, 2, 60.5]]), (112, 112), name)
    resized = resize_box(portrait, box, (112, 112), name)
    assert np.abs(warped[2:-2, 2:-2].astype(int) - resized[2:-2, 2:-2]).max() <= 1


def test_where_nothing_shrinks_antialiasing_changes_nothing(portrait):
    matrix = turn(0.2, 0.6, (180, 80))
    plain = affine(portrait, matrix, (112, 112), "pillow-bilinear")
    np.testing.assert_array_equal(affine(portrait, matrix, (112, 112), "pillow-bilinear-antialias"), plain)


def test_cutting(portrait):
    np.testing.assert_array_equal(cut(portrait, 3, 4, 10, 20), portrait[4:20, 3:10])
    part = cut(portrait, -2, 508, 5, 520)
    assert part.shape == (12, 7, 3)
    np.testing.assert_array_equal(part[:4, 2:], portrait[508:, :5])
    assert not part[4:].any() and not part[:, :2].any()
    assert not cut(portrait, -9, -9, -2, -2).any() and not cut(portrait, 600, 0, 610, 9).any()
