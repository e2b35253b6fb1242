"""The aligners, against skimage's Umeyama, scipy's Gaussian and LibreFace's own script."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.transform import SimilarityTransform

from zoo.faces import align
from zoo.faces.detect import BlazeFace
from zoo.faces.landmarks import FaceMesh, region_of_detection
from zoo.faces.warp import affine


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.booleans())
def test_umeyama_is_skimages(seed, count, mirrored):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 50, (count, 2))
    target = rng.normal(0, 50, (count, 2))
    if mirrored:  # the best rotation of a mirrored shape needs the sign's correction
        target = source * (-1, 1) + rng.normal(0, 1, (count, 2))
    reference = SimilarityTransform.from_estimate(source, target)
    np.testing.assert_allclose(align.umeyama(source, target), reference.params[:2], rtol=1e-6, atol=1e-6)


@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-100, 100))
def test_umeyama_finds_an_exact_similarity(angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = align.ARCFACE_112
    found = align.umeyama(source, source @ turn.T + shift)
    np.testing.assert_allclose(found, np.column_stack((turn, [shift, shift])), rtol=1e-7, atol=1e-6)


def flat_mesh():
    """A mesh whose rigid and five points are where the canonical face has them, 20 px a cm, around (300, 200)."""
    mesh = np.zeros((468, 3))
    for number, (x, y) in align._RIGID.items():
        mesh[number, :2] = 300 + 20 * x, 200 - 20 * y
    for eye, x in ((align.EYE_LEFT, -3.15), (align.EYE_RIGHT, 3.15)):
        mesh[list(eye), :2] = 300 + 20 * x, 200 - 20 * 2.65
    mesh[list(align.LIPS), :2] = 300, 200 + 20 * 4.4
    mesh[61, :2], mesh[291, :2] = (300 - 49.0, 200 + 86.8), (300 + 49.0, 200 + 86.8)
    mesh[4, :2] = 300, 200 + 20 * 0.463
    for number, (x, y) in align._RIGID.items():  # the eye corners again, which the contours share
        mesh[number, :2] = 300 + 20 * x, 200 - 20 * y
    return mesh


@given(st.floats(-3, 3), st.floats(0.2, 5), st.sampled_from([(176, 176), (200, 200), (175, 160)]))
def test_the_square_along_the_eyes_is_that_of_jaa_net(angle, grow, size):
    """Its forward map step by step: turn about the origin, shift the square's corner there, scale; then cut."""
    turn = grow * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = align.ARCFACE_112 @ turn.T + (40, -7)
    matrix = align.eye_line_square(points, 2.9, 200, size)
    eyes = points[1] - points[0]
    cos, sin = eyes / np.hypot(*eyes)
    level = np.array([(cos * x + sin * y, -sin * x + cos * y) for x, y in points])
    half = 2.9 / 2 * np.ptp(level, axis=0).max()
    corner = (level.max(axis=0) + level.min(axis=0)) / 2 - half
    aligned = (level - corner) * 199 / (2 * half)
    cropped = aligned - [round((200 - size[1]) / 2), round((200 - size[0]) / 2)]
    np.testing.assert_allclose(cropped @ matrix[:, :2].T + matrix[:, 2], points, atol=1e-6)


@pytest.mark.parametrize("side", [112, 224])
def test_openface_template_is_met_exactly_by_its_own_shape(side):
    mesh = flat_mesh()
    matrix = align.similarity_matrix(mesh, "openface-112", side)
    scale = side / 112
    target = (align.OPENFACE_112 + 0.5) * scale - 0.5
    np.testing.assert_allclose(target @ matrix[:, :2].T + matrix[:, 2], align.rigid_points(mesh), atol=1e-9)
    # 6.6 px a cm on 112 px; no rotation
    np.testing.assert_allclose(matrix[:, :2], np.eye(2) * 20 / 6.6 / scale, atol=1e-9)


def test_openface_template_fills_the_crop_as_openface_does():
    corners = dict(zip(align._RIGID, align.OPENFACE_112, strict=True))
    left, right = (corners[33] + corners[133]) / 2, (corners[362] + corners[263]) / 2
    assert 40 <= right[0] - left[0] <= 45 and right[1] == left[1]
    assert (left[0] + right[0]) / 2 == 56
    np.testing.assert_allclose(align.OPENFACE_112.mean(axis=0)[0], 56)


def test_five_points_sit_near_the_arcface_template():
    matrix = align.similarity_matrix(flat_mesh(), "arcface-112", 112)
    back = np.linalg.inv(matrix[:, :2])
    placed = (align.five_points(flat_mesh()) - matrix[:, 2]) @ back.T
    assert np.abs(placed - align.ARCFACE_112).max() < 3


def test_a_similarity_crop_puts_the_eyes_where_the_template_says(portrait):
    # A dot is painted where each point is meant to land, and looked for in the crop.
    picture = np.zeros((400, 600, 3), np.uint8)
    mesh = flat_mesh()
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mesh[:, :2] = (mesh[:, :2] - (300, 200)) @ turn.T + (300, 200)
    x, y = np.rint(mesh[168, :2]).astype(int)
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    crop = affine(picture, align.similarity_matrix(mesh, "openface-112", 112), (112, 112), "pillow-bilinear-antialias")
    weight = crop[..., 0].astype(float)
    rows, columns = np.mgrid[:112, :112]
    found = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
    np.testing.assert_allclose(found, align.OPENFACE_112[4], atol=0.3)


def test_boxes_grow_about_their_centre():
    box = np.array([10.0, 20.0, 30.0, 60.0])
    assert align.expand_box(box, 1.0, False).tolist() == [10, 20, 30, 60]
    assert align.expand_box(box, 1.5, False).tolist() == [5, 10, 35, 70]
    assert align.expand_box(box, 1.0, True).tolist() == [0, 20, 40, 60]
    assert align.expand_box(box, 2.0, True).tolist() == [-20, 0, 60, 80]


def test_the_gaussian_is_scipys():
    rng = np.random.default_rng(3)
    for inner, sigma in ((20, 0.4), (90, 3.3), (300, 6.0)):
        margin = int(4 * sigma) + 2
        image = np.pad(rng.uniform(0, 255, (inner, inner + 37, 3)).astype(np.float32), [(margin,) * 2] * 2 + [(0, 0)])
        expected = gaussian_filter(image, [sigma, sigma, 0])
        np.testing.assert_allclose(align._gaussian(image, sigma), expected, atol=2e-3)


def plain_blend(pixels, quad):
    """Padding and blending as LibreFace's script describes them, on the whole padded picture; returns the quad too."""
    side = float(np.hypot(*(quad[3] - quad[0])))
    edge = np.array(pixels.shape[1::-1])
    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(axis=0)).astype(int), np.ceil(quad.max(axis=0)).astype(int)
    start, end = np.clip(low - border, 0, edge), np.clip(high + border, 0, edge)
    before, after = np.maximum(start - low + border, 0), np.maximum(high - end + border, 0)
    if max(*before, *after) <= border - 4:
        return pixels, quad
    before, after = np.maximum(before, round(side * 0.3)), np.maximum(after, round(side * 0.3))
    part = pixels[start[1] : end[1], start[0] : end[0]].astype(np.float32)
    padded = np.pad(part, ((before[1], after[1]), (before[0], after[0]), (0, 0)))
    height, width = padded.shape[:2]
    y, x = np.ogrid[:height, :width]
    mask = np.maximum(
        1 - np.minimum(np.float32(x) / before[0], np.float32(width - 1 - x) / after[0]),
        1 - np.minimum(np.float32(y) / before[1], np.float32(height - 1 - y) / after[1]),
    )[..., None]
    blur = side * 0.02
    padded += (gaussian_filter(padded, [blur, blur, 0], mode="constant") - padded) * np.clip(mask * 3 + 1, 0, 1)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(mask, 0, 1)
    return np.uint8(np.clip(np.rint(padded), 0, 255)), quad - start + before


@given(st.integers(0, 2**32 - 1), st.floats(12, 330), st.floats(-0.6, 0.6), st.booleans())
@settings(max_examples=60)
def test_a_padded_crop_is_that_of_the_whole_padded_picture(seed, side, angle, dark):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 260, 2)
    picture = np.kron(rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3)), np.ones((9, 9, 1)))[:height, :width]
    picture = picture.astype(np.uint8) // (5 if dark else 1)
    x = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    y, centre = np.array([-x[1], x[0]]), rng.uniform(-0.2, 1.2, 2) * (width, height)
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    padded, moved = plain_blend(picture, quad)
    across, down = (moved[3] - moved[0]) / 256, (moved[1] - moved[0]) / 256
    matrix = np.column_stack((across, down, moved[0] + (across + down) / 2 + 16 * (across + down)))
    expected = affine(padded, matrix, (224, 224), "pillow-bilinear").astype(int)
    found = align.libreface_crop(picture, quad, (224, 224), output=256, supersample=1, interpolation="pillow-bilinear")
    # The Gaussian is summed in another order: a value next to a half may be rounded to the other side.
    off = np.abs(found - expected)
    assert off.max() <= 1 and (off > 0).mean() < 0.01


# LibreFace's image_align (detect_mediapipe.py at 1aa2b98, ANTIALIAS read as LANCZOS) run on the portrait with the mesh
# of mediapipe 0.10.21: its quad, and the aligned pictures at rows and columns 20, 92, 164, 236. "research" is 4096 px
# shrunk to 256 by Lanczos; "package" is 512 px shrunk by torchvision's kernel. ``near`` is cut close around the face,
# so that the quad leaves it and is padded; ``large`` repeats each pixel 7 x 7, so that the script shrinks first.
WHOLE = [[142.924, 15.4928], [134.4918, 189.0923], [308.0913, 197.5245], [316.5234, 23.925]]
NEAR = [[12.9197, 14.6336], [3.3687, 189.0844], [177.8194, 198.6354], [187.3705, 24.1847]]
LARGE = [[1000.4678, 108.4499], [941.4425, 1323.6462], [2156.6388, 1382.6715], [2215.6641, 167.4752]]
LIBREFACE = {
    ("whole", "research"): (WHOLE, [
        [204, 197, 189], [117, 90, 48], [151, 124, 92], [200, 193, 187], [130, 112, 89], [195, 161, 127], [74, 42, 6],
        [56, 41, 15], [202, 191, 190], [191, 140, 110], [214, 179, 150], [215, 202, 199], [2, 1, 1], [243, 223, 202],
        [144, 117, 87], [220, 209, 207]], [158.63, 140.01, 120.31]),
    ("whole", "package"): (WHOLE, [
        [203, 197, 189], [117, 91, 48], [150, 124, 91], [201, 194, 188], [132, 114, 90], [195, 161, 128], [75, 44, 7],
        [60, 45, 20], [202, 191, 190], [190, 140, 109], [214, 178, 149], [214, 202, 199], [2, 1, 1], [242, 222, 200],
        [144, 118, 87], [220, 209, 207]], [158.79, 140.16, 120.45]),
    ("near", "research"): (NEAR, [
        [202, 196, 187], [123, 98, 55], [144, 117, 83], [25, 24, 24], [148, 132, 112], [192, 157, 123], [74, 42, 6],
        [23, 18, 6], [201, 192, 190], [195, 144, 114], [211, 177, 146], [148, 140, 137], [5, 2, 1], [241, 219, 196],
        [145, 121, 89], [201, 190, 188]], [142.76, 125.01, 105.82]),
    ("near", "package"): (NEAR, [
        [202, 196, 188], [123, 98, 55], [144, 118, 83], [26, 25, 24], [147, 131, 111], [193, 158, 124], [75, 43, 7],
        [23, 18, 6], [201, 191, 190], [194, 143, 113], [211, 176, 146], [148, 141, 137], [6, 3, 1], [240, 219, 196],
        [145, 120, 89], [200, 190, 188]], [142.92, 125.17, 105.97]),
    ("large", "research"): (LARGE, [
        [203, 197, 189], [114, 89, 47], [165, 141, 109], [200, 193, 185], [151, 136, 117], [186, 149, 113], [79, 49, 6],
        [44, 29, 1], [202, 192, 191], [202, 152, 122], [215, 177, 149], [214, 201, 199], [3, 2, 2], [241, 222, 197],
        [142, 117, 84], [220, 209, 206]], [158.87, 140.24, 120.51]),
}  # fmt: skip
VARIANTS = {
    "research": {"supersample": 16, "interpolation": "pillow-bilinear"},
    "package": {"supersample": 2, "interpolation": "pillow-bilinear-antialias"},
}
TIMES = {"whole": 1, "near": 1, "large": 7}


def picture_of(name, portrait):
    if name == "near":
        return portrait[:200, 130:300]
    return portrait.repeat(TIMES[name], 0).repeat(TIMES[name], 1)


@pytest.mark.parametrize(("name", "variant"), LIBREFACE)
def test_libreface_crops_are_its_scripts(name, variant, portrait):
    quad, values, means = LIBREFACE[name, variant]
    crop = align.libreface_crop(picture_of(name, portrait), np.array(quad), (256, 256), output=256, **VARIANTS[variant])
    at = np.arange(20, 256, 72)
    # the quad is given to 4 decimals and another Pillow may round otherwise: one level
    assert np.abs(crop[np.ix_(at, at)].reshape(-1, 3).astype(int) - values).max() <= 1
    np.testing.assert_allclose(crop.mean(axis=(0, 1)), means, atol=0.05)


@pytest.mark.parametrize("name", TIMES)
def test_the_centre_crop_is_cut_from_the_same_picture(name, portrait):
    picture, quad = picture_of(name, portrait), np.array({"whole": WHOLE, "near": NEAR, "large": LARGE}[name])
    for supersample, interpolation in (
        (1, "pillow-bilinear"),
        (4, "pillow-bilinear"),
        (2, "pillow-bilinear-antialias"),
    ):
        options = {"output": 256, "supersample": supersample, "interpolation": interpolation}
        whole = align.libreface_crop(picture, quad, (256, 256), **options)
        crop = align.libreface_crop(picture, quad, (224, 224), **options)
        assert np.abs(crop.astype(int) - whole[16:240, 16:240]).max() <= 1
        assert (crop == whole[16:240, 16:240]).mean() > 0.999


def test_four_times_supersampling_is_the_research_crop_within_one_level(portrait):
    options = {"output": 256, "interpolation": "pillow-bilinear"}
    exact = align.libreface_crop(portrait, np.array(WHOLE), (224, 224), supersample=16, **options)
    fast = align.libreface_crop(portrait, np.array(WHOLE), (224, 224), supersample=4, **options)
    assert np.abs(exact.astype(int) - fast).max() <= 1
    direct = align.libreface_crop(portrait, np.array(WHOLE), (224, 224), supersample=1, **options)
    assert np.abs(exact.astype(int) - direct).mean() < 1


def test_a_quad_far_outside_gives_a_crop_and_no_error(portrait):
    for shift in (-2000, 2000):
        crop = align.libreface_crop(
            portrait, np.array(WHOLE) + shift, (224, 224), output=256, supersample=1, interpolation="pillow-bilinear"
        )
        assert crop.shape == (224, 224, 3) and not crop.any()


def test_the_quad_turns_and_scales_with_the_face():
    mesh = flat_mesh()
    quad = align.libreface_quad(mesh)
    eye_to_eye, eye_to_mouth = 126.0, quad_mouth(mesh)
    side = 2 * max(2.0 * eye_to_eye, 1.8 * eye_to_mouth)
    assert np.hypot(*(quad[3] - quad[0])) == pytest.approx(side, rel=0.01)
    np.testing.assert_allclose(quad.mean(axis=0), (300, 147 + 0.1 * eye_to_mouth), atol=1)
    angle = -0.7
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = mesh.copy()
    turned[:, :2] = mesh[:, :2] @ turn.T + (5, 9)
    np.testing.assert_allclose(align.libreface_quad(turned), quad @ turn.T + (5, 9), atol=1e-9)


def test_a_long_face_is_measured_from_eyes_to_mouth():
    mesh = flat_mesh()
    mesh[:, 0] = 300 + (mesh[:, 0] - 300) * 0.5
    side = 2 * 1.8 * quad_mouth(mesh)
    quad = align.libreface_quad(mesh)
    assert np.hypot(*(quad[3] - quad[0])) == pytest.approx(side, rel=1e-6)


def test_padding_begins_four_pixels_from_the_edge(portrait):
    for start, padded in ((4.2, False), (3.8, True)):
        quad = np.array([[start, 100.0], [start, 300], [start + 200, 300], [start + 200, 100]])
        crop = align.libreface_crop(
            portrait, quad, (200, 200), output=200, supersample=1, interpolation="pillow-bilinear"
        )
        plain = affine(portrait, np.array([[1, 0, start + 0.5], [0, 1, 100.5]]), (200, 200), "pillow-bilinear")
        assert np.array_equal(crop, plain) != padded
        # blending reaches a third of the margin (0.3 of the side) into the picture
        assert np.array_equal(crop[20:-20, 30:-20], plain[20:-20, 30:-20])


@pytest.mark.package
def test_the_quad_of_the_portrait_is_libreface_own(portrait, tools):
    found = BlazeFace("mediapipe-short-range")(portrait)
    mesh, _ = FaceMesh()(portrait, region_of_detection(found.boxes[0], found.keypoints[0]))
    np.testing.assert_allclose(align.libreface_quad(mesh), WHOLE, atol=0.05)


def quad_mouth(mesh):
    eyes = (mesh[list(align.EYE_LEFT), 1].mean() + mesh[list(align.EYE_RIGHT), 1].mean()) / 2
    return mesh[61, 1] - eyes
