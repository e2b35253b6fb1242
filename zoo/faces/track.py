"""Who is followed through a video with several faces: the rule of ``faces: tracked``.

- The subject is the largest face of the first frame with a face.
- From then on it is the face whose box overlaps most with the subject's last one; where none overlaps enough, the face
  whose centre is nearest, if it is near for the subject's size and not much larger or smaller. What is near grows with
  the frames that the subject was missing.
- A frame without such a face is a frame without the subject: nobody stands in for it.
- After :data:`LOST` frames in a row without it, the next frame with a face starts anew.

The rule looks at boxes alone, so it depends on nothing but the video's frames, in their order from the first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

OVERLAP: Final = 0.3
"""Least intersection over union of the same face in two frames."""
REACH: Final = 0.5
"""How far a centre may move from one frame to the next, in sides of the last box (square root of its area)."""
FARTHEST: Final = 2.0
"""How far at the most, however long the subject was missing."""
GROWTH: Final = 2.0
"""How many times larger or smaller (in sides) a box without enough overlap may be."""
LOST: Final = 60
"""Frames after which a subject is given up: two seconds at 30 frames a second."""


class Tracker:
    """Follows one face. Frames are given in their order, every one of them; one tracker a video."""

    def __init__(self) -> None:
        self._last: NDArray[np.float64] | None = None
        self._missing = 0

    def choose(self, boxes: NDArray[np.float64]) -> int:
        """Takes the next frame's faces and returns the subject's number, or -1 where it is not among them.

        Args:
            boxes: ``[k, 4]``: left, top, right, bottom in pixels. Of equals the first is taken.
        """
        if self._missing >= LOST:
            self._last = None
        number = self._start(boxes) if self._last is None else self._follow(boxes, self._last)
        if number < 0:
            self._missing += self._last is not None
        else:
            self._last, self._missing = np.array(boxes[number], np.float64), 0
        return number

    def _start(self, boxes: NDArray[np.float64]) -> int:
        return int(np.argmax(_area(boxes))) if len(boxes) else -1

    def _follow(self, boxes: NDArray[np.float64], last: NDArray[np.float64]) -> int:
        if not len(boxes):
            return -1
        sides = np.clip(np.minimum(boxes[:, 2:], last[2:]) - np.maximum(boxes[:, :2], last[:2]), 0, None)
        shared = sides[:, 0] * sides[:, 1]
        overlap = shared / (_area(boxes) + _area(last[None]) - shared)
        if overlap.max() >= OVERLAP:
            return int(np.argmax(overlap))
        side = float(np.sqrt(_area(last[None])[0]))
        moved = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - last[:2] - last[2:]) / 2, axis=1)
        growth = np.sqrt(_area(boxes)) / side
        alike = (growth <= GROWTH) & (growth >= 1 / GROWTH)
        distance = np.where(alike, moved, np.inf)
        near = min(REACH * (1 + self._missing), FARTHEST) * side
        return int(np.argmin(distance)) if distance.min() <= near else -1


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns areas in square pixels, above 0 so that they can divide."""
    area: NDArray[np.float64] = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 1e-6, None), axis=1)
    return area
