"""The 468-point face mesh of MediaPipe, on a region around a detection or a given box.

Region, sampling and projection follow MediaPipe 0.10.21 (``mediapipe/modules/face_landmark/*.pbtxt``,
``detections_to_rects``, ``rect_transformation``, ``landmark_projection``; Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zoo.faces import _tools
from zoo.faces.warp import Matrix, sample

POINTS: Final = 468
PRESENCE: Final = 0.5
"""Lowest presence of a face in its region: MediaPipe's threshold for static images."""

_EXPANSION: Final = 1.5  # scale_x, scale_y of RectTransformationCalculator, square_long
_OUTER_EYE_CORNERS: Final = (33, 263)  # rotation keypoints of face_landmark_landmarks_to_roi


@dataclass(frozen=True)
class Region:
    """A turned square.

    Attributes:
        centre: x, y in pixels.
        side: Pixels.
        angle: Radians, clockwise as the picture is seen.
    """

    centre: tuple[float, float]
    side: float
    angle: float

    def matrix(self, cells: int) -> Matrix:
        """Returns the map from points of a ``cells`` x ``cells`` grid over the square to the picture."""
        step = self.side / cells
        cos, sin = np.cos(self.angle) * step, np.sin(self.angle) * step
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack((turn, np.array(self.centre) - turn @ np.full(2, cells / 2)))


def _region(low: NDArray[np.float64], high: NDArray[np.float64], axis: NDArray[np.float64]) -> Region:
    centre = (low + high) / 2
    side = float(np.max(high - low)) * _EXPANSION
    return Region((float(centre[0]), float(centre[1])), side, float(np.arctan2(axis[1], axis[0])))


def region_of_detection(box: NDArray[np.float64], keypoints: NDArray[np.float64]) -> Region:
    """Returns the square around a detection, 1.5 times its longer side, turned with the line between the eyes.

    Args:
        box: Left, top, right, bottom.
        keypoints: ``[6, 2]``, the eyes first.
    """
    return _region(box[:2], box[2:], keypoints[1] - keypoints[0])


def region_of_landmarks(landmarks: NDArray[np.float64]) -> Region:
    """Returns the square around a mesh, turned with the line between the outer eye corners."""
    points = landmarks[:, :2]
    right, left = points[list(_OUTER_EYE_CORNERS)]
    return _region(points.min(axis=0), points.max(axis=0), left - right)


def project(mesh: NDArray[np.float64], region: Region, side: int) -> NDArray[np.float64]:
    """Carries landmarks from a network's input of ``side`` pixels to the picture; z is scaled with the region."""
    matrix = region.matrix(side)
    return np.column_stack((mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2], mesh[:, 2] * (region.side / side)))


class FaceMesh:
    """The landmark network.

    Attributes:
        points: Number of landmarks.
    """

    points = POINTS

    def __init__(self, *, threads: int = 1) -> None:
        """Loads the network.

        Args:
            threads: How many calls may run at once.
        """
        self._network = _tools.open_network(_tools.FACE_MESH, "0..1", threads)

    def __call__(self, pixels: NDArray[np.uint8], region: Region) -> tuple[NDArray[np.float64], float]:
        """Places the mesh on the face in a region.

        Args:
            pixels: RGB uint8 ``[height, width, 3]``, contiguous.
            region: Where the face is.

        Returns:
            Landmarks float64 ``[468, 3]`` (x, y in pixels of the picture, z in pixels, negative towards the camera),
            and the probability that the region holds a face, 0..1. Landmarks of a region without one mean nothing.
        """
        side = self._network.side
        raw, presence = self._network(sample(pixels, region.matrix(side), side, border="edge"))
        mesh = project(raw.reshape(POINTS, 3).astype(np.float64), region, side)
        return mesh, float(1 / (1 + np.exp(-float(presence.item()))))

    def in_box(
        self, pixels: NDArray[np.uint8], box: NDArray[np.float64], eyes: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], float]:
        """Places the mesh on the face in a box that did not come from MediaPipe's detectors.

        A first pass finds how the face is turned and how large it is, the second measures, as MediaPipe does from one
        video frame to the next.

        Args:
            pixels: RGB uint8 ``[height, width, 3]``, contiguous.
            box: Left, top, right, bottom.
            eyes: ``[2 or more, 2]``, the picture's left eye and right eye first; without them the face is taken to be
                upright at first.

        Returns:
            As :meth:`__call__`.
        """
        axis = np.array([1.0, 0.0]) if eyes is None else eyes[1] - eyes[0]
        rough, _ = self(pixels, _region(box[:2], box[2:], axis))
        return self(pixels, region_of_landmarks(rough))
