"""Which of several faces in a photograph is the one that the labels are of."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.faces.pipeline import FacePipeline

OVERLAP = 0.2
"""Least intersection over union of a detected box with the dataset's for the two to be of one face. Two boxes of one
face that differ by a factor of two in each side still reach 0.25; those of neighbours hardly meet."""


def overlaps(boxes: ArrayLike, box: ArrayLike) -> NDArray[np.float64]:
    """Returns the intersection over union of boxes with one box, ``[n]``; 0 where the box is not finite or empty.

    Args:
        boxes: Left, top, right, bottom, ``[n, 4]``.
        box: ``[4]``.
    """
    many, one = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(box, np.float64)
    sides = np.minimum(many[:, 2:], one[2:]) - np.maximum(many[:, :2], one[:2])
    common = np.prod(np.clip(sides, 0, None), axis=1)
    union = np.prod(many[:, 2:] - many[:, :2], axis=1) + np.prod(one[2:] - one[:2]) - common
    found: NDArray[np.float64] = np.divide(common, union, out=np.zeros(len(many)), where=(common > 0) & (union > 0))
    return found


def crop_labelled(pipeline: FacePipeline, image: NDArray[np.uint8], box: ArrayLike | None) -> NDArray[np.uint8] | None:
    """Crops the face that a sample's labels are of.

    Photographs such as AffectNet's show several people, and the labels are of one of them: the dataset's box says whom.
    A contract that detects faces gives the detected face that overlaps most with that box, and none where no face
    does; another person's face would be scored against labels that are not theirs. Py-Feat's benchmark matches boxes
    too. Without a box the contract's own rule decides.

    Args:
        pipeline: The contract.
        image: RGB uint8 ``[height, width, 3]``.
        box: The dataset's, left, top, right, bottom in pixels, or None.

    Returns:
        uint8 ``[height, width, channels]``, or None where the face was not found.

    Raises:
        UsageError: As :meth:`FacePipeline.process`.
    """
    if box is None or pipeline.preprocess.detector in ("none", "dataset-box"):
        return pipeline.crop(image, box)
    faces = pipeline.process(image)
    shared = overlaps(faces.boxes, box)
    if not len(shared) or shared.max() < OVERLAP:
        return None
    crop: NDArray[np.uint8] = faces.crops[int(shared.argmax())]
    return crop
