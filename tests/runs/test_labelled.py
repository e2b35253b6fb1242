"""Photographs of several people: the face that is scored is the one that the labels are of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.datasets.affectnet import AffectNet
from zoo.faces.pipeline import Faces
from zoo.runs.execute import RawCrops
from zoo.runs.labelled import crop_labelled, overlaps

SMALL, LARGE = (10.0, 10.0, 30.0, 30.0), (50.0, 0.0, 100.0, 60.0)


class Detecting:
    """A pipeline that finds the given faces; a crop is a pixel with the face's number; alone it takes the last."""

    shape = (1, 1, 3)
    tracks = False

    def __init__(self, *boxes: tuple[float, ...], detector: str = "mediapipe-short-range") -> None:
        self.boxes, self.preprocess = np.array(boxes, np.float64).reshape(-1, 4), SimpleNamespace(detector=detector)

    def process(self, image: Any) -> Faces:
        del image
        n = len(self.boxes)
        crops = np.arange(n, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)
        return Faces(crops, self.boxes, np.ones(n), None, chosen=n - 1)

    def crop(self, image: Any, box: Any = None) -> Any:
        del image, box
        return np.full((1, 1, 3), len(self.boxes) - 1, np.uint8) if len(self.boxes) else None


def number(crop: Any) -> int | None:
    return None if crop is None else int(crop[0, 0, 0])


PICTURE = np.zeros((100, 120, 3), np.uint8)


@pytest.mark.parametrize(
    ("box", "chosen"),
    [
        (SMALL, 0), (LARGE, 1), (None, 1),
        ((5.0, 5.0, 35.0, 35.0), 0),  # another detector draws wider
        ((15.0, 15.0, 25.0, 25.0), 0),  # or half as wide
        ((28.0, 28.0, 60.0, 60.0), None),  # somebody between the two, who was not found
        ((110.0, 80.0, 119.0, 99.0), None),
        ((np.nan,) * 4, None),
    ],
)  # fmt: skip
def test_the_detected_face_is_the_one_in_the_datasets_box(box: Any, chosen: int | None) -> None:
    pipeline: Any = Detecting(SMALL, LARGE)
    assert number(crop_labelled(pipeline, PICTURE, box)) == chosen


def test_nobody_is_found() -> None:
    nobody: Any = Detecting()
    assert crop_labelled(nobody, PICTURE, SMALL) is None


@pytest.mark.parametrize("detector", ["none", "dataset-box"])
def test_contracts_that_do_not_detect_are_left_alone(detector: str) -> None:
    pipeline: Any = Detecting(SMALL, LARGE, detector=detector)
    assert number(crop_labelled(pipeline, PICTURE, SMALL)) == 1


def test_overlaps_are_intersections_over_unions() -> None:
    found = overlaps([SMALL, (10.0, 10.0, 30.0, 50.0), LARGE, (10.0, 10.0, 10.0, 10.0)], SMALL)
    np.testing.assert_allclose(found, [1, 0.5, 0, 0])
    assert overlaps(np.empty((0, 4)), SMALL).shape == (0,)


def test_a_photograph_of_affectnets_lists_with_two_people(tmp_path: Path) -> None:
    lists, images = tmp_path / "Manually_Annotated_file_lists", tmp_path / "Manually_Annotated_Images" / "1"
    lists.mkdir(parents=True)
    images.mkdir(parents=True)
    Image.fromarray(PICTURE).save(images / "two.jpg")
    # Both people of one photograph are labelled, each in a row of their own.
    rows = ["1/two.jpg,10,10,20,20,,1,0.5,0.5", "1/two.jpg,50,0,50,60,,2,-0.5,0.5"]
    (lists / "validation.csv").write_text("\n".join(rows) + "\n")
    index = AffectNet().inspect(tmp_path)
    pipeline: Any = Detecting(SMALL, LARGE)
    assert [number(c.pixels) for c in RawCrops(index, pipeline).crops([0, 1])] == [0, 1]
