"""The attention mesh: MediaPipe's numbers, and each step against a plain reading of what MediaPipe computes there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo.faces import _tools, attention
from zoo.faces.align import libreface_quad
from zoo.faces.attention import AttentionMesh, cut_graph, cut_patch, patch_matrix
from zoo.faces.detect import BlazeFace
from zoo.faces.landmarks import FaceMesh, region_of_detection
from zoo.faces.pipeline import build_pipeline
from zoo.registry.schema import LibreFaceQuad, Preprocess
from zoo.weights import locate

# mediapipe 0.10.21, FaceMesh(static_image_mode=True, refine_landmarks=True), on the portrait and on the portrait turned
# by 25 degrees: eye corners, mouth, lids and irises. Pixels.
INDICES = [1, 10, 33, 133, 61, 291, 13, 14, 70, 105, 159, 145, 386, 374, 468, 469, 471, 473, 475, 477]
MESHES = {
    0: [
        [223.448, 130.016, -22.877], [226.26, 71.687, -10.589], [195.213, 100.923, 4.531], [213.346, 103.713, 1.067],
        [201.809, 139.216, 7.533], [244.991, 140.987, 7.073], [223.482, 143.24, -5.733], [222.957, 150.083, -3.41],
        [188.09, 91.087, 3.91], [198.783, 86.9, -6.3], [202.833, 97.598, -1.168], [203.434, 104.321, 0.04],
        [248.311, 99.736, -1.559], [246.611, 106.653, -0.364], [203.478, 101.1, 0.91], [207.597, 101.287, 0.91],
        [199.286, 100.901, 0.91], [246.585, 103.47, 0.518], [246.642, 100.113, 0.518], [246.518, 106.817, 0.518]],
    -25: [
        [279.375, 128.232, -22.797], [305.95, 79.186, -11.326], [266.357, 89.58, 4.786], [281.716, 99.723, 1.124],
        [256.574, 127.842, 7.96], [294.696, 146.976, 6.882], [274.4, 140.387, -5.179], [271.172, 146.105, -3.322],
        [264.097, 78.162, 4.002], [275.016, 78.943, -6.471], [274.395, 90.379, -1.041], [272.337, 96.423, 0.297],
        [314.924, 111.2, -2.411], [310.392, 116.502, -1.079], [273.747, 93.767, 1.08], [277.492, 95.716, 1.08],
        [269.955, 91.785, 1.08], [311.582, 114.037, -0.266], [313.117, 111.245, -0.266], [310.054, 116.831, -0.266]],
}  # fmt: skip
TOLERANCE = 0.05  # measured: 0.01 px


@pytest.mark.package
@pytest.mark.parametrize("angle", MESHES)
def test_meshes_are_mediapipes(angle, portrait, tools):
    picture = np.array(Image.fromarray(portrait).rotate(angle, Image.Resampling.BICUBIC))
    found = BlazeFace("mediapipe-short-range")(picture)
    region = region_of_detection(found.boxes[0], found.keypoints[0])
    mesh, presence = AttentionMesh()(picture, region)
    assert mesh.shape == (478, 3) and presence > 0.99
    np.testing.assert_allclose(mesh[INDICES], MESHES[angle], atol=TOLERANCE)
    # It is another mesh than the 468 points: eyes and lips move, and with them LibreFace's crop.
    plain, _ = FaceMesh()(picture, region)
    ours, theirs = libreface_quad(mesh), libreface_quad(plain)
    moved = np.linalg.norm(ours - theirs, axis=1).mean() / np.hypot(*(ours[3] - ours[0]))
    assert 0.002 < moved < 0.05


@pytest.mark.package
def test_a_contract_may_ask_for_it(portrait, tools):
    contract = Preprocess(
        detector="mediapipe-short-range", landmarks="mesh-478", align=LibreFaceQuad(), size=(224, 224)
    )
    pipeline = build_pipeline(contract)
    faces = pipeline.process(portrait)
    assert faces.landmarks is not None and faces.landmarks.shape == (1, 478, 3)
    np.testing.assert_array_equal(pipeline.crop(portrait), faces.crops[0])
    assert pipeline.process(portrait[260:]).landmarks.shape == (0, 478, 3)
    boxed = build_pipeline(contract.model_copy(update={"detector": "dataset-box"})).crop(portrait, (170, 70, 280, 185))
    assert np.corrcoef(boxed.ravel(), faces.crops[0].ravel())[0, 1] > 0.97


@pytest.mark.package
def test_the_cut_file_keeps_what_lies_between(tools, tmp_path):
    import openvino as ov

    path = locate(_tools.ATTENTION_MESH, entry=_tools.ENTRY)
    data = path.read_bytes()
    with pytest.raises(RuntimeError, match="Landmarks2TransformMatrix"):
        ov.Core().read_model(path)  # whole it cannot be read
    trunk = cut_graph(data, (0,), attention._TRUNK)
    branches = cut_graph(data, attention._PATCHES, attention._PLACED)
    for cut, outputs in ((trunk, [[1, 1, 1, 1404], [1, 1, 1, 1], [1, 48, 48, 32]]),
                         (branches, [[1, 80, 2], [1, 71, 2], [1, 5, 2], [1, 71, 2], [1, 5, 2]])):  # fmt: skip
        file = tmp_path / "cut.tflite"
        file.write_bytes(cut)
        assert [list(o.shape) for o in ov.Core().read_model(file).outputs] == outputs


def test_index_lists_are_whole():
    lips, left, right = attention._LIPS, attention._LEFT, attention._RIGHT
    assert (len(lips), len(left), len(right)) == (80, 71, 71)
    assert len({*lips, *left, *right}) == 222
    assert {*attention._LEFT_IRIS, *attention._RIGHT_IRIS} == set(range(468, 478))


angles = st.floats(-3.1, 3.1)


@given(angles, st.floats(2, 30), st.floats(2, 30), st.floats(-10, 60), st.floats(-10, 60))
def test_a_patch_holds_its_points_upright_with_a_margin(angle, width, height, x, y):
    box = np.array([[0, 0], [width, 0], [width, height], [0, height], [width / 2, height / 3]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = box @ turn.T + (x, y)
    matrix = patch_matrix(points, points[:2])
    inverse = np.linalg.inv(matrix[:, :2])
    placed = (points - matrix[:, 2]) @ inverse.T
    low = 8 - 8 / 1.5
    expected = low + box / (width, height) * (16 / 1.5)
    np.testing.assert_allclose(placed, expected, atol=1e-6)


def plain_patch(features, matrix):
    """One point after the other, as transform_tensor_bilinear.cc says it."""
    height, width, channels = features.shape
    found = np.zeros((16, 16, channels))
    shift = matrix[:, 2] + matrix[:, :2].sum(axis=1) * 0.5 - 0.5
    for row in range(16):
        for column in range(16):
            x, y = matrix[:, :2] @ (column, row) + shift
            if x < 0 or x > width - 1 or y < 0 or y > height - 1:
                continue
            left, top = int(np.floor(x)), int(np.floor(y))

            def read(y, x):
                return features[y, x] if y < height and x < width else np.zeros(channels)

            upper = (1 - (x - left)) * read(top, left) + (x - left) * read(top, left + 1)
            lower = (1 - (x - left)) * read(top + 1, left) + (x - left) * read(top + 1, left + 1)
            found[row, column] = (y - top) * lower + (1 - (y - top)) * upper
    return found


@pytest.mark.parametrize("seed", range(6))
def test_patches_are_sampled_as_mediapipe_does(seed):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((12, 15, 3)).astype(np.float32)
    matrix = np.column_stack((rng.normal(0, 0.6, (2, 2)), rng.uniform(0, 12, 2)))
    if seed == 0:  # exactly onto the pixels, up to the last row and column
        matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(cut_patch(features, matrix), plain_patch(features, matrix), atol=1e-5)
