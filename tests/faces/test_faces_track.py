"""Following one face through a video: the rule on boxes, and a clip in which two faces change places in size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo.errors import ContractError
from zoo.faces.encode import write_video
from zoo.faces.pipeline import build_pipeline, describe
from zoo.faces.track import LOST, Tracker
from zoo.registry.schema import Box, Preprocess
from zoo.runs.execute import RawCrops

CONTRACT = Preprocess(detector="mediapipe-short-range", align=Box(expand=1.2), size=(48, 48), faces="tracked")
NONE = np.zeros((0, 4))


def boxes(*centres_and_sides):
    return np.array([(x - s / 2, y - s / 2, x + s / 2, y + s / 2) for x, y, s in centres_and_sides], float)


def test_the_largest_begins_and_is_followed_whatever_grows_beside_it():
    tracker = Tracker()
    sides = [(60, 20), (50, 35), (40, 45), (30, 60), (25, 80)]
    assert [tracker.choose(boxes((300, 100, right), (100, 100, left))) for left, right in sides] == [1] * 5


def test_nobody_stands_in_for_a_missing_subject_and_it_is_found_again():
    tracker = Tracker()
    assert tracker.choose(NONE) == -1  # no face yet: not missing
    assert tracker.choose(boxes((100, 100, 60), (300, 100, 50))) == 0
    assert [tracker.choose(boxes((300, 100, 90))) for _ in range(3)] == [-1, -1, -1]
    assert tracker.choose(boxes((300, 100, 90), (130, 110, 60))) == 1


def test_a_fast_face_is_followed_by_its_place_but_not_to_another_size():
    tracker = Tracker()
    tracker.choose(boxes((100, 100, 40)))
    assert tracker.choose(boxes((119, 100, 19))) == -1  # near, but too small
    assert tracker.choose(boxes((138, 100, 40), (60, 100, 17))) == 0  # 38 px in two frames: reach 2 * 0.5 * 40
    assert tracker.choose(boxes((159, 100, 40))) == 0  # 21 px: overlap 19 / 61
    assert tracker.choose(boxes((181, 100, 40))) == -1  # 22 px: overlap 18 / 62, and farther than 20
    assert tracker.choose(boxes((181, 100, 40))) == 0  # a frame later it is near enough


def test_a_lost_subject_is_given_up_after_a_while():
    tracker = Tracker()
    tracker.choose(boxes((100, 100, 40)))
    far = boxes((500, 100, 30), (600, 300, 35))
    assert [tracker.choose(far) for _ in range(LOST + 1)] == [-1] * LOST + [1]
    assert tracker.choose(far) == 1


coordinate = st.floats(-1e6, 1e6)
some_boxes = st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=4)


@given(st.lists(some_boxes, max_size=12))
def test_any_boxes_give_a_face_or_none_and_always_the_same(frames):
    first, second = Tracker(), Tracker()
    for frame in frames:
        given_boxes = np.array(frame, float).reshape(-1, 4)
        number = first.choose(given_boxes)
        assert -1 <= number < len(frame) and number == second.choose(given_boxes)


@pytest.fixture(scope="module")
def crossing(tmp_path_factory, portrait):
    """A clip: the face on the left shrinks while the one on the right, mirrored, grows; then the left one is hidden."""
    path = tmp_path_factory.mktemp("clip") / "crossing.mp4"
    face = Image.fromarray(portrait[35:225, 130:320])
    with write_video(path, (640, 320)) as add:
        for i in range(16):
            picture = Image.new("RGB", (640, 320), (128, 128, 128))
            left, right = 290 - 8 * i, 170 + 8 * i
            if i < 12:
                picture.paste(face.resize((left, left)), (160 - left // 2, 160 - left // 2))
            picture.paste(face.resize((right, right)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                          (480 - right // 2, 160 - right // 2))  # fmt: skip
            add(picture, i / 25)
    return path


def index_of(path, positions):
    count = len(positions)
    return SimpleNamespace(
        root=path.parent, file=np.array([path.name] * count), position=np.array(positions, np.int32), box=None
    )


@pytest.mark.package
def test_the_subject_of_a_clip_stays_the_subject(crossing, tools):
    from zoo.faces.decode import VideoReader

    pipeline, largest = (build_pipeline(CONTRACT.model_copy(update={"faces": f})) for f in ("tracked", "largest"))
    tracker, sides = Tracker(), []
    with VideoReader(crossing) as reader:
        for frame in reader.read_all():
            faces = pipeline.process(frame.pixels, tracker=tracker)
            sides.append("-" if faces.chosen < 0 else "left" if faces.boxes[faces.chosen][0] < 320 else "right")
            assert faces.only(faces.chosen).crops.shape[0] == (faces.chosen >= 0)
            found = largest.process(frame.pixels)
            if not 6 <= frame.position <= 9:  # about equal there
                assert (found.boxes[found.chosen][0] < 320) == (frame.position < 8)
            if frame.position == 0:  # a picture: the largest
                np.testing.assert_array_equal(pipeline.crop(frame.pixels), largest.crop(frame.pixels))
    assert sides == ["left"] * 12 + ["-"] * 4


@pytest.mark.package
def test_frames_asked_for_out_of_a_clip_are_those_of_the_whole(crossing, tools):
    pipeline = build_pipeline(CONTRACT)
    whole = [c.pixels for c in RawCrops(index_of(crossing, range(16)), pipeline).crops(range(16))]
    assert [c is not None for c in whole] == [True] * 12 + [False] * 4
    # The late frames alone, in which the other face is the larger one, as after an interrupted run.
    for positions in ([9, 11], [10], [3, 14], [11, 2]):
        some = list(RawCrops(index_of(crossing, positions), pipeline).crops(range(len(positions))))
        for position, crop in zip(positions, some, strict=True):
            assert crop.problem is None
            np.testing.assert_array_equal(crop.pixels, whole[position])
    [past] = RawCrops(index_of(crossing, [40]), pipeline).crops([0])
    assert past.pixels is None and "video has 16 frames" in past.problem


@pytest.mark.package
def test_predictions_follow_the_subject(crossing, tools):
    from zoo.registry import load_registry
    from zoo.runs import Settings
    from zoo.runs.predict import Predictor

    registry = load_registry()
    entry = registry.get("hog-ridge")
    entry = entry.model_copy(update={"preprocess": entry.preprocess.model_copy(update={"faces": "tracked"})})
    predictor = Predictor(entry, registry, Settings(runtime="onnxruntime", threads=2), fold="of1")
    every = list(predictor.files([crossing, crossing]))
    alone = list(predictor.files([crossing], only_chosen=True))
    predictor.close()
    for position, item in enumerate(every[:16]):
        assert item.faces.chosen == every[16 + position].faces.chosen  # a tracker for each video
        only = alone[position]
        if position < 12:
            assert item.faces.boxes[item.faces.chosen][0] < 320
            assert only.faces.chosen == 0 and only.results == [item.results[item.faces.chosen]]
        else:
            assert item.faces.chosen == -1 and len(item.faces) == 1 and len(only.faces) == 0 and only.results == []


def test_the_rule_has_an_id_and_is_part_of_the_hash():
    others = [CONTRACT.model_copy(update={"faces": f}) for f in ("largest", "central")]
    assert "choose:tracked" in describe(CONTRACT)
    assert len({CONTRACT.crop_hash, *(c.crop_hash for c in others)}) == 3
    with pytest.raises(ContractError) as caught:
        build_pipeline(CONTRACT.model_copy(update={"detector": "dataset-box"}))
    assert "none to choose" in caught.value.why
