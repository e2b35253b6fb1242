"""Face detection by MediaPipe's BlazeFace networks: boxes, scores and six keypoints.

Everything around the networks is numpy, after MediaPipe 0.10.21's graphs and calculators
(``mediapipe/modules/face_detection/face_detection*.pbtxt``, ``image_to_tensor``, ``ssd_anchors``,
``tensors_to_detections``, ``non_max_suppression``; Apache-2.0), whose constants are named where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.faces import _tools
from zoo.faces.warp import sample

Variant = Literal["mediapipe-short-range", "mediapipe-full-range"]

THRESHOLDS: Final = {"mediapipe-short-range": 0.5, "mediapipe-full-range": 0.6}
"""Lowest score of a face: ``min_score_thresh`` of the graphs. MediaPipe's Python class, asked for 0.5, lowers only the
short-range one's; the full-range graph stays at 0.6 (seen in its merged boxes)."""

_SCORE_CLIP: Final = 100.0  # score_clipping_thresh
_OVERLAP: Final = 0.3  # min_suppression_threshold
# Strides of the feature maps and anchors on each cell. The short-range network has four layers of strides 8, 16, 16,
# 16 with two anchors each, of which those on equal strides lie together; fixed_anchor_size makes all of them 1 x 1.
_GRIDS: Final = {"mediapipe-short-range": ((8, 2), (16, 6)), "mediapipe-full-range": ((4, 1),)}
_FILES: Final = {"mediapipe-short-range": _tools.SHORT_RANGE, "mediapipe-full-range": _tools.FULL_RANGE}


@dataclass(frozen=True)
class Detections:
    """Faces of one picture, best score first.

    Attributes:
        boxes: float64 ``[k, 4]``: left, top, right, bottom in pixels; may reach outside the picture.
        scores: float64 ``[k]``, from the threshold to 1.
        keypoints: float64 ``[k, 6, 2]`` x, y in pixels: the eye left in the picture, the right one, nose tip, mouth
            centre, left and right ear tragion. YuNet's are ``[k, 5, 2]``.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    keypoints: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)


def anchors(variant: Variant, side: int) -> NDArray[np.float64]:
    """Returns the anchors' centres, ``[anchors, 2]`` x, y as fractions of the input, in the network's order."""
    parts = []
    for stride, count in _GRIDS[variant]:
        cells = -(-side // stride)
        y, x = np.divmod(np.arange(cells * cells), cells)
        parts.append(np.repeat((np.column_stack((x, y)) + 0.5) / cells, count, axis=0))
    return np.concatenate(parts)


def decode(
    regressors: NDArray[np.float32],
    logits: NDArray[np.float32],
    centres: NDArray[np.float64],
    side: int,
    threshold: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turns the network's tensors into candidates above the threshold.

    Args:
        regressors: ``[anchors, 16]``: offsets of box centre, box size, then six keypoints, in input pixels.
        logits: ``[anchors]``.
        centres: Anchors.
        side: Input side in pixels.
        threshold: Lowest score kept.

    Returns:
        Points ``[n, 8, 2]`` as fractions of the input (box corners left-top and right-bottom, then keypoints), and
        scores ``[n]``.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -_SCORE_CLIP, _SCORE_CLIP)))
    keep = scores >= threshold
    raw = regressors[keep].astype(np.float64).reshape(-1, 8, 2) / side
    half = raw[:, 1] / 2
    points = raw + centres[keep][:, None]
    centre = points[:, 0].copy()
    points[:, 0], points[:, 1] = centre - half, centre + half
    upright = (half > 0).all(axis=1)  # a network may say a negative size
    return points[upright], scores[keep][upright]


def weighted_nms(
    points: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merges overlapping candidates: each cluster around a best one becomes its score-weighted mean.

    The score is the best one's (``algorithm: WEIGHTED`` of MediaPipe's ``NonMaxSuppressionCalculator``).

    Args:
        points: ``[n, 8, 2]``, the first two the box's corners.
        scores: ``[n]``.

    Returns:
        The same shapes with k faces, best score first.
    """
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    area = np.prod(points[:, 1] - points[:, 0], axis=1)
    left = np.ones(len(scores), bool)
    merged, best = [], []
    for i in range(len(scores)):
        if not left[i]:
            continue
        shared = np.minimum(points[:, 1], points[i, 1]) - np.maximum(points[:, 0], points[i, 0])
        overlap = np.prod(np.clip(shared, 0, None), axis=1)
        union = area + area[i] - overlap
        cluster = left & (overlap > _OVERLAP * union)
        cluster[i] = True
        merged.append(np.average(points[cluster], axis=0, weights=scores[cluster]))
        best.append(scores[i])
        left &= ~cluster
    return np.array(merged).reshape(-1, 8, 2), np.array(best)


class BlazeFace:
    """A detector."""

    def __init__(self, variant: Variant, *, threads: int = 1) -> None:
        """Loads the network.

        Args:
            variant: ``mediapipe-short-range`` (128 px, faces near the camera) or ``mediapipe-full-range`` (192 px).
            threads: How many calls may run at once.
        """
        self._network = _tools.open_network(_FILES[variant], "-1..1", threads)
        self._centres = anchors(variant, self._network.side)
        self._threshold = THRESHOLDS[variant]

    def __call__(self, pixels: NDArray[np.uint8]) -> Detections:
        """Finds the faces of an RGB uint8 picture ``[height, width, 3]``, contiguous."""
        # The picture is put in the middle of a black square (keep_aspect_ratio, BORDER_ZERO) and sampled at the
        # square's corner plus whole steps, without MediaPipe's half-pixel shift being mended.
        height, width = pixels.shape[:2]
        side = max(height, width)
        corner = np.array([width - side, height - side]) / 2
        step = side / self._network.side
        matrix = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
        regressors, logits = self._network(sample(pixels, matrix, self._network.side))
        points, scores = decode(regressors[0], logits[0, :, 0], self._centres, self._network.side, self._threshold)
        points, scores = weighted_nms(points, scores)
        points = points * side + corner
        return Detections(points[:, :2].reshape(-1, 4), scores, points[:, 2:])
