"""``docs/faces.md`` shows what the record says, and its measures are what they are called."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import faces
from zoo.registry import load_registry


def test_the_page_is_in_step_with_the_record():
    assert faces.PAGE.render() == faces.PAGE.page.read_text(encoding="utf-8")


def test_the_goal_is_met_and_no_face_is_missing():
    record = json.loads(faces.PAGE.record.read_text(encoding="utf-8"))
    assert record["mediapipe"] == "0.10.21"
    for found in record["sets"].values():
        for counts in found["faces"].values():
            assert counts["ours"] == counts["theirs"] == counts["both"] > 50
        for name in ("mesh-468 quad corner / side", "libreface quad, whole way"):
            assert found["moved"][name]["mean"] < 0.005


def test_libreface_is_cropped_as_the_page_says():
    found = [e for e in load_registry().match(["libreface-*"]) if e.preprocess is not None]
    assert len(found) >= 6
    for entry in found:
        assert (entry.preprocess.landmarks, entry.preprocess.align.method) == ("mesh-478", "libreface-quad")


def test_measures():
    square = np.array([[0.0, 0], [0, 10], [10, 10], [10, 0]])
    np.testing.assert_allclose(faces.quad_moved(square + np.array([0.3, 0.4]), square), [0.05] * 4)
    near, far = square + 1, square + np.array([40, 0])
    assert faces.pairs([far, near], [square], lambda q: 10.0) == [(1, 0)]
    assert faces.pairs([far], [square], lambda q: 10.0) == []
    assert faces.pairs([near], [square, square + 2], lambda q: 10.0) == [(0, 0)]
    assert faces.same("expression", np.array([0.2, 0.8]), np.array([0.45, 0.55])) == 1
    assert faces.same("au-intensity", np.array([0.4, 2.6]), np.array([0.6, 2.9])) == 0.5
    assert faces.same("au-occurrence", np.array([0.5, 0.1]), np.array([0.4, 0.2])) == 0.5
