"""Detection and mesh against mediapipe 0.10.21, and the arithmetic around the networks by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo.faces import _tools
from zoo.faces.detect import THRESHOLDS, BlazeFace, anchors, decode, weighted_nms
from zoo.faces.landmarks import FaceMesh, Region, region_of_detection, region_of_landmarks


def test_anchors():
    short = anchors("mediapipe-short-range", 128)
    assert short.shape == (896, 2)  # num_boxes of face_detection_short_range.pbtxt: 16 x 16 x 2 + 8 x 8 x 6
    np.testing.assert_allclose(short[0], (0.5 / 16, 0.5 / 16))
    np.testing.assert_allclose(short[1], short[0])
    np.testing.assert_allclose(short[2], (1.5 / 16, 0.5 / 16))
    np.testing.assert_allclose(short[512:518], np.full((6, 2), 0.5 / 8))
    np.testing.assert_allclose(short[-1], (7.5 / 8, 7.5 / 8))
    full = anchors("mediapipe-full-range", 192)
    assert full.shape == (2304, 2)
    np.testing.assert_allclose(full[49], (1.5 / 48, 1.5 / 48))


def test_decoding_by_hand():
    raw = np.zeros((3, 16), np.float32)
    raw[0, :6] = 12.8, -6.4, 64, 32, 1.28, 2.56  # centre +0.1, -0.05; size 0.5, 0.25; first keypoint +0.01, +0.02
    raw[1, 2:4] = 10, -10  # a negative height
    raw[2, 2:4] = 10, 10
    centres = np.full((3, 2), 0.5)
    points, scores = decode(raw, np.array([2.0, 9.0, -1e9], np.float32), centres, 128, 0.5)
    assert points.shape == (1, 8, 2)
    np.testing.assert_allclose(points[0, 0], (0.6 - 0.25, 0.45 - 0.125), atol=1e-7)
    np.testing.assert_allclose(points[0, 1], (0.6 + 0.25, 0.45 + 0.125), atol=1e-7)
    np.testing.assert_allclose(points[0, 2], (0.51, 0.52), atol=1e-7)
    np.testing.assert_allclose(points[0, 3:], 0.5)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-2)))


def test_decoding_clips_the_exponent():
    with np.errstate(all="raise"):
        _, scores = decode(
            np.ones((2, 16), np.float32), np.array([1e30, -1e30], np.float32), np.zeros((2, 2)), 128, 0.5
        )
    assert scores.tolist() == [1.0]


def candidate(left, top, right, bottom):
    return np.concatenate(([[left, top], [right, bottom]], np.full((6, 2), (left + right) / 2)))


def test_overlapping_candidates_become_their_weighted_mean():
    points = np.stack([candidate(0, 0, 1, 1), candidate(0.1, 0, 1.1, 1), candidate(5, 5, 6, 6)])
    merged, scores = weighted_nms(points, np.array([0.6, 0.9, 0.7]))
    assert scores.tolist() == [0.9, 0.7]
    # weights 0.6 and 0.9: the left edge lies at 0.1 * 0.9 / 1.5
    np.testing.assert_allclose(merged[0, 0], (0.06, 0))
    np.testing.assert_allclose(merged[0, 2], (0.56, 0.56))
    np.testing.assert_allclose(merged[1, :2], [[5, 5], [6, 6]])


def test_the_overlap_that_merges():
    for shift, faces in ((0.53, 1), (0.55, 2)):  # intersection over union (1 - s) / (1 + s): 0.307, 0.290; limit 0.3
        points = np.stack([candidate(0, 0, 1, 1), candidate(shift, 0, 1 + shift, 1)])
        assert len(weighted_nms(points, np.array([0.9, 0.8]))[1]) == faces


@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_merging_keeps_order_and_terminates(count, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 1, (count, 1, 2))
    points = np.concatenate((corner, corner + rng.uniform(0.01, 0.5, (count, 1, 2)), np.zeros((count, 6, 2))), axis=1)
    scores = rng.uniform(0.5, 1, count)
    merged, best = weighted_nms(points, scores)
    assert merged.shape == (len(best), 8, 2) and len(best) <= count and (len(best) > 0) == (count > 0)
    assert (np.diff(best) <= 0).all()
    assert count == 0 or best[0] == scores.max()


def test_a_region_maps_its_grid_onto_the_picture():
    matrix = Region((50, 40), 20, np.pi / 2).matrix(10)
    place = lambda x, y: matrix[:, :2] @ (x, y) + matrix[:, 2]  # noqa: E731
    np.testing.assert_allclose(place(5, 5), (50, 40), atol=1e-12)
    np.testing.assert_allclose(place(0, 0), (60, 30), atol=1e-12)  # a quarter turn clockwise: left top goes right
    np.testing.assert_allclose(place(10, 0), (60, 50), atol=1e-12)


def test_regions_of_detections_and_meshes():
    keypoints = np.zeros((6, 2))
    keypoints[0], keypoints[1] = (10, 10), (20, 20)
    region = region_of_detection(np.array([0.0, 10, 40, 30]), keypoints)
    assert region == Region((20, 20), 60, pytest.approx(np.pi / 4))
    mesh = np.full((468, 3), 5.0)
    mesh[33], mesh[263] = (0, 8, 0), (10, 8, 0)
    assert region_of_landmarks(mesh) == Region((5, 6.5), 15, 0)


def test_files_name_the_distribution_and_are_unlike():
    assert len({f.sha256 for f in _tools.FILES}) == len({f.name for f in _tools.FILES}) == 4
    for file in _tools.FILES:
        assert file.sources[0].startswith("package:mediapipe==0.10.21:mediapipe/modules/")
        assert file.sources[0].endswith(file.name)


# mediapipe 0.10.21, mp.solutions: FaceDetection(min_detection_confidence=0.5) with both models, and
# FaceMesh(static_image_mode=True, refine_landmarks=False), on three cuts of the portrait: all of it; one whose side is
# no multiple of the network's; one so close that the mesh's region leaves the picture. Boxes and points in pixels.
CUTS = {"whole": np.s_[:, :], "wide": np.s_[:300, 60:480], "near": np.s_[:200, 130:300], "edge": np.s_[:300, 150:450]}
BOXES = {
    ("whole", "mediapipe-short-range"): ([177.565, 82.871, 272.909, 178.215], 0.92174),
    ("whole", "mediapipe-full-range"): ([173.659, 67.776, 277.588, 171.702], 0.91206),
    ("wide", "mediapipe-short-range"): ([114.478, 78.224, 216.371, 180.117], 0.95303),
    ("wide", "mediapipe-full-range"): ([112.103, 66.368, 220.59, 174.847], 0.87906),
    ("near", "mediapipe-short-range"): ([42.758, 72.197, 146.197, 175.619], 0.94181),
    ("near", "mediapipe-full-range"): ([39.332, 64.773, 149.997, 175.446], 0.87415),
    ("edge", "mediapipe-full-range"): (
        [19.437, 64.02, 132.647, 177.273],
        0.95327,
    ),  # candidates between 0.5 and 0.6 would move it by a pixel
}
KEYPOINTS = {
    ("whole", "mediapipe-short-range"): [
        [201.495, 104.898], [245.846, 109.097], [220.429, 127.262], [219.82, 148.613], [178.189, 115.719],
        [272.195, 123.866]],
    ("near", "mediapipe-full-range"): [
        [73.035, 101.668], [115.73, 103.893], [91.74, 130.879], [91.184, 150.174], [53.944, 107.446],
        [139.585, 113.664]],
}  # fmt: skip
MESH_POINTS = [1, 10, 33, 61, 133, 152, 168, 234, 263, 291, 362, 454]
MESHES = {
    "whole": [
        [224.097, 131.18, -23.311], [227.503, 72.433, -11.205], [194.647, 100.938, 3.927], [201.848, 139.454, 6.931],
        [213.822, 103.647, 0.532], [221.342, 175.486, 8.709], [225.916, 101.037, -11.155], [179.031, 111.051, 41.35],
        [256.709, 104.076, 4.481], [245.914, 142.235, 7.18], [237.439, 104.774, 0.839], [270.861, 116.258, 42.082]],
    "wide": [
        [164.227, 131.393, -23.193], [167.3, 70.25, -12.923], [133.942, 100.918, 3.522], [141.94, 139.266, 7.414],
        [153.589, 103.82, -0.102], [161.813, 175.796, 10.15], [165.839, 100.591, -11.782], [118.236, 111.169, 41.516],
        [197.308, 103.847, 3.948], [185.823, 141.883, 7.608], [177.414, 104.902, 0.112], [211.146, 115.721, 42.201]],
    "near": [
        [93.06, 131.621, -22.924], [97.773, 69.967, -12.28], [64.427, 100.998, 4.097], [70.985, 138.857, 7.812],
        [83.784, 104.104, 0.304], [90.456, 176.163, 8.997], [95.501, 100.727, -11.383], [49.679, 111.834, 41.516],
        [126.931, 104.308, 3.781], [115.947, 141.441, 7.391], [107.13, 105.388, 0.182], [141.133, 116.841, 40.842]],
}  # fmt: skip
# The files and the pixels are the same; what is left are two libraries' float32 sums (measured: 0.002 px).
TOLERANCE = 0.05


@pytest.fixture
def cut_of(portrait):
    return lambda name: np.ascontiguousarray(portrait[CUTS[name]])


@pytest.mark.package
@pytest.mark.parametrize(("name", "variant"), BOXES)
def test_boxes_are_mediapipes(name, variant, cut_of, tools):
    found = BlazeFace(variant)(cut_of(name))
    box, score = BOXES[name, variant]
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], box, atol=TOLERANCE)
    np.testing.assert_allclose(found.scores[0], score, atol=1e-3)
    if (name, variant) in KEYPOINTS:
        np.testing.assert_allclose(found.keypoints[0], KEYPOINTS[name, variant], atol=TOLERANCE)


@pytest.mark.package
@pytest.mark.parametrize("name", MESHES)
def test_meshes_are_mediapipes(name, cut_of, tools):
    picture = cut_of(name)
    found = BlazeFace("mediapipe-short-range")(picture)
    mesh, presence = FaceMesh()(picture, region_of_detection(found.boxes[0], found.keypoints[0]))
    assert mesh.shape == (468, 3) and presence > 0.99
    np.testing.assert_allclose(mesh[MESH_POINTS], MESHES[name], atol=TOLERANCE)


@pytest.mark.package
def test_a_box_without_keypoints_leads_to_nearly_the_same_mesh(cut_of, tools):
    picture = cut_of("whole")
    mesh, presence = FaceMesh().in_box(picture, np.array([170.0, 70.0, 280.0, 185.0]))
    assert presence > 0.99
    eyes = np.linalg.norm(mesh[33, :2] - mesh[263, :2])
    distance = np.linalg.norm(mesh[MESH_POINTS, :2] - np.array(MESHES["whole"])[:, :2], axis=1)
    assert distance.mean() / eyes < 0.03


@pytest.mark.package
def test_a_turned_face_in_an_upright_box(portrait, tools):
    turned = np.asarray(Image.fromarray(portrait).rotate(35, Image.Resampling.BICUBIC))
    found = BlazeFace("mediapipe-short-range")(turned)
    reference, _ = FaceMesh()(turned, region_of_detection(found.boxes[0], found.keypoints[0]))
    low, high = reference[:, :2].min(axis=0), reference[:, :2].max(axis=0)
    mesh, _ = FaceMesh().in_box(turned, np.concatenate((low, high)))
    eyes = np.linalg.norm(reference[33, :2] - reference[263, :2])
    # one upright pass alone is off by 0.05
    assert np.linalg.norm(mesh[:, :2] - reference[:, :2], axis=1).mean() / eyes < 0.03


@pytest.mark.package
@pytest.mark.parametrize("variant", THRESHOLDS)
def test_no_face_where_there_is_none(variant, portrait, tools):
    assert len(BlazeFace(variant)(np.ascontiguousarray(portrait[260:]))) == 0
    for shape in ((1, 1, 3), (1, 500, 3), (500, 1, 3)):
        found = BlazeFace(variant)(np.full(shape, 90, np.uint8))
        assert len(found) == 0 and found.boxes.shape == (0, 4) and found.keypoints.shape == (0, 6, 2)


@pytest.mark.package
def test_no_presence_without_a_face(portrait, tools):
    _, presence = FaceMesh()(portrait, Region((400, 430), 120, 0))
    assert presence < 0.5
