"""YuNet's decoding against OpenCV's ``FaceDetectorYN``, on a made-up graph with the published file's shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.faces import yunet_standin
from zoo.faces import _tools, align, yunet
from zoo.faces.draw import annotate
from zoo.faces.pipeline import build_pipeline
from zoo.faces.yunet import YuNet, suppress
from zoo.registry.schema import Box, Preprocess, Similarity

# cv2.FaceDetectorYN (OpenCV 4.11.0) with the graph of yunet_standin (seed 0), 640 x 640, score 0.6, overlap 0.3, on the
# portrait at the left top of a black square: number of faces, the best eight (left, top, width, height, five points,
# score), and the sum of all.
COUNT = 321
BEST = [
    [324.837, 378.696, 194.379, 20.387, 435.625, 479.185, 468.607, 290.546, 375.441, 403.910, 355.043, 213.703, 611.847,
     368.779, 0.999949],
    [494.158, 431.720, 11.264, 13.796, 532.095, 534.035, 493.471, 369.577, 433.690, 446.941, 460.310, 284.420, 656.275,
     464.379, 0.999818],
    [268.788, 254.548, 119.711, 39.357, 350.282, 349.103, 369.473, 215.696, 319.148, 304.370, 289.653, 153.312, 477.323,
     267.409, 0.999789],
    [355.171, 412.282, 254.774, 8.164, 527.451, 530.370, 507.930, 392.327, 435.468, 456.204, 382.788, 269.934, 639.526,
     416.097, 0.999755],
    [438.120, 388.898, 74.488, 3.437, 505.973, 491.950, 480.381, 357.538, 391.467, 393.000, 333.346, 251.788, 599.270,
     367.860, 0.999495],
    [347.720, 232.456, 98.840, 28.318, 434.292, 328.551, 431.858, 187.139, 342.231, 255.813, 318.833, 102.862, 555.144,
     233.356, 0.999485],
    [113.044, 406.865, 61.798, 19.766, 166.779, 461.850, 118.967, 377.183, 96.909, 416.588, 97.410, 334.943, 242.703,
     393.360, 0.999467],
    [180.854, 461.176, 118.494, 10.420, 285.970, 580.358, 241.775, 445.020, 204.199, 491.259, 184.086, 349.832, 389.305,
     493.144, 0.999386],
]  # fmt: skip
SUM = [
    64031.92, 80954.99, 32015.79, 10010.18, 88281.82, 104748.12, 81945.52, 77767.96, 72922.36, 86124.89, 61383.49,
    53802.66, 111444.81, 80847.32, 295.05,
]  # fmt: skip


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return yunet_standin.write(tmp_path_factory.mktemp("yunet") / "standin.onnx")


@pytest.fixture
def published(graph, monkeypatch):
    """Lets contracts find the made-up graph where the published file would be."""
    monkeypatch.setattr("zoo.weights.locate", lambda file, **_: graph if file == _tools.YUNET else None)


def table(found):
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return np.column_stack((found.boxes[:, :2], sides, found.keypoints.reshape(-1, 10), found.scores))


def test_detections_are_opencvs(graph, portrait):
    found = table(YuNet(path=graph)(portrait))
    assert len(found) == COUNT
    np.testing.assert_allclose(found[: len(BEST)], BEST, atol=2e-3)
    np.testing.assert_allclose(found.sum(axis=0), SUM, atol=0.1)


def test_a_large_picture_is_shrunk_and_its_faces_are_carried_back(graph, portrait):
    large = np.asarray(Image.fromarray(portrait).resize((1280, 1280), Image.Resampling.BICUBIC))
    small = np.asarray(Image.fromarray(large).resize((640, 640), Image.Resampling.BILINEAR))
    found, direct = YuNet(path=graph)(large), YuNet(path=graph)(small)
    np.testing.assert_allclose(found.boxes, 2 * direct.boxes, atol=1e-3)
    np.testing.assert_allclose(found.keypoints, 2 * direct.keypoints + 0.5, atol=1e-3)  # centres of pixels
    np.testing.assert_array_equal(found.scores, direct.scores)


def plain_suppression(boxes, scores):
    """Pair by pair, on Python's integers."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        left, top, width, height = (int(v) for v in boxes[i])
        for j in kept:
            x, y, w, h = (int(v) for v in boxes[j])
            inner = max(0, min(left + width, x + w) - max(left, x)) * max(0, min(top + height, y + h) - max(top, y))
            union = width * height + w * h - inner
            if (inner / union if union > 0 else 1.0) > 0.3:
                break
        else:
            kept.append(i)
    return kept


side = st.floats(0, 60, width=32)


@given(st.lists(st.tuples(st.floats(-40, 90, width=32), side, side, side, st.floats(0.5, 1, width=32)), max_size=12))
def test_suppression_is_that_of_a_plain_loop(rows):
    values = np.array(rows, np.float32).reshape(-1, 5)
    assert suppress(values[:, :4], values[:, 4]).tolist() == plain_suppression(values[:, :4], values[:, 4].tolist())


def test_nothing_is_found_in_nothing():
    tensors = {f"{n}_{s}": np.zeros((1, (640 // s) ** 2, c), np.float32)
               for s in (8, 16, 32) for n, c in yunet_standin.VALUES.items()}  # fmt: skip
    boxes, scores, points = yunet.decode(tensors, 640, 0.6)
    assert boxes.shape == (0, 4) and scores.shape == (0,) and points.shape == (0, 5, 2)
    assert suppress(boxes, scores).shape == (0,)


def test_its_points_align_by_the_arcface_template(published, portrait):
    contract = Preprocess(
        detector="yunet", landmarks="yunet-5", align=Similarity(template="arcface-112"), size=(112, 112)
    )
    pipeline = build_pipeline(contract)
    faces = pipeline.process(portrait)
    assert faces.landmarks.shape == (COUNT, 5, 3) and faces.crops.shape == (COUNT, 112, 112, 3)
    np.testing.assert_allclose(faces.landmarks[0, :, :2].ravel(), BEST[0][4:14], atol=2e-3)
    np.testing.assert_array_equal(align.five_points(faces.landmarks[0]), faces.landmarks[0, :, :2])
    np.testing.assert_array_equal(pipeline.crop(portrait), faces.crops[faces.chosen])
    first = faces.only(0)
    assert annotate(portrait, first, [{"expression": {"neutral": 1.0}}]).width > 512


@pytest.mark.package
def test_a_mesh_is_placed_in_its_box_along_its_eyes(portrait, tools):
    from zoo.faces.detect import BlazeFace
    from zoo.faces.landmarks import FaceMesh

    turned = np.asarray(Image.fromarray(portrait).rotate(50, Image.Resampling.BICUBIC))
    found = BlazeFace("mediapipe-short-range")(turned)
    mesh, presence = FaceMesh().in_box(turned, found.boxes[0], found.keypoints[0])
    assert presence > 0.9
    eyes = mesh[263, :2] - mesh[33, :2]
    assert abs(np.degrees(np.arctan2(eyes[1], eyes[0])) + 50 - 3) < 8  # the portrait's own eyes are 3 degrees off


def test_a_box_is_enough(published, portrait):
    faces = build_pipeline(Preprocess(detector="yunet", align=Box(), size=(32, 32))).process(portrait)
    assert faces.landmarks is None and faces.crops.shape == (COUNT, 32, 32, 3)
