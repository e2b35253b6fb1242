"""Face detection by YuNet: boxes, scores and five points.

The network is a file of OpenCV Zoo (MIT licence); what surrounds it follows OpenCV's ``FaceDetectorYN``
(``modules/objdetect/src/face_detect.cpp``, Apache-2.0) and OpenCV Zoo's ``models/face_detection_yunet/yunet.py``. The
file has an input of 640 x 640 pixels, to which OpenCV does not keep; here a picture whose longer side is greater is
shrunk to it, and black fills the rest at the right and below. Faces of about 10 to 300 pixels are found there (the
file's README).

The published file could not be run where this was written: its decoding is held against OpenCV on a graph of the same
names and shapes.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.faces import _tools
from zoo.faces.detect import Detections

SIDE: Final = 640
THRESHOLD: Final = 0.6  # confThreshold of yunet.py
_OVERLAP: Final = 0.3  # nmsThreshold of yunet.py
_MOST: Final = 5000  # topK of yunet.py
_STRIDES: Final = (8, 16, 32)
_VALUES: Final = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def decode(
    tensors: dict[str, NDArray[np.float32]], side: int, threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Turns the network's tensors into candidates at or above a threshold.

    Args:
        tensors: ``cls_8`` to ``kps_32``: for each cell of the maps of stride 8, 16 and 32, row by row, the class's and
            the object's score, the box (offset of the centre from the cell's corner and logarithm of the sides, in
            strides) and five points (offsets in strides).
        side: Of the input, in pixels.
        threshold: Lowest score kept, the geometric mean of the two.

    Returns:
        Boxes ``[n, 4]`` (left, top, width, height), scores ``[n]`` and points ``[n, 5, 2]``, in pixels of the input.
    """
    parts = []
    for stride in _STRIDES:
        cells = side // stride
        cls, obj, box, points = (
            tensors[f"{name}_{stride}"].reshape(cells * cells, count) for name, count in _VALUES.items()
        )
        score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        keep = np.flatnonzero(score >= threshold)
        corner = np.column_stack((keep % cells, keep // cells)).astype(np.float32)
        centre = (corner + box[keep, :2]) * np.float32(stride)
        sides = np.exp(box[keep, 2:]) * np.float32(stride)
        placed = (points[keep].reshape(-1, 5, 2) + corner[:, None]) * np.float32(stride)
        parts.append((np.column_stack((centre - sides / 2, sides)), score[keep], placed))
    boxes, scores, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    return boxes, scores, places


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the numbers of the candidates that stay, best first: OpenCV's ``NMSBoxes`` on boxes of whole pixels.

    Args:
        boxes: ``[n, 4]``: left, top, width, height.
        scores: ``[n]``.
    """
    whole = boxes.astype(np.int64)  # towards zero, as the cast in FaceDetectorYN
    order = np.argsort(-scores, kind="stable")[:_MOST]
    low, sides = whole[order, :2], whole[order, 2:]
    area = np.prod(sides, axis=1)
    kept: list[int] = []
    for i in range(len(order)):
        shared = np.minimum(low[kept] + sides[kept], low[i] + sides[i]) - np.maximum(low[kept], low[i])
        inner = np.prod(np.clip(shared, 0, None), axis=1)
        union = area[kept] + area[i] - inner
        overlap = np.divide(inner, union, out=np.ones(len(kept)), where=union > 0)  # two empty boxes are one
        if (overlap <= _OVERLAP).all():
            kept.append(i)
    return order[np.array(kept, np.int64)]


class YuNet:
    """The detector; called as :class:`zoo.faces.detect.BlazeFace` is."""

    def __init__(self, *, threads: int = 1, path: Path | None = None) -> None:
        """Loads the network.

        Args:
            threads: How many calls may run at once.
            path: Its file; the published one when not given.
        """
        if path is None:
            from zoo.weights import locate

            path = locate(_tools.YUNET, entry=_tools.YUNET_ENTRY)
        self._network = _network(path, threads)

    def __call__(self, pixels: NDArray[np.uint8]) -> Detections:
        """Finds the faces of an RGB uint8 picture ``[height, width, 3]``.

        Returns:
            Detections whose keypoints are ``[k, 5, 2]``: the eye left in the picture, the right one, nose tip, the
            mouth's left and right corner.
        """
        height, width = pixels.shape[:2]
        factor = min(1.0, SIDE / max(height, width))
        small = pixels
        if factor < 1:
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1]  # the network takes BGR
        boxes, scores, points = decode(self._network(canvas), SIDE, THRESHOLD)
        kept = suppress(boxes, scores)
        # Edges scale with the picture; points are pixel indices, as all landmarks here.
        scale = np.array([width / small.shape[1], height / small.shape[0]])
        corners = np.column_stack((boxes[kept, :2], boxes[kept, :2] + boxes[kept, 2:])).astype(np.float64)
        placed = points[kept].astype(np.float64)
        placed = placed if factor == 1 else (placed + 0.5) * scale - 0.5
        return Detections(corners * np.tile(scale, 2), scores[kept].astype(np.float64), placed)


class _Network:
    def __init__(self, path: Path, threads: int) -> None:
        from openvino.preprocess import PrePostProcessor

        from zoo._util.openvino import ov

        core = ov.Core()
        model = core.read_model(path)
        model.reshape([1, 3, SIDE, SIDE])
        steps = PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(ov.Type.f32)
        self._compiled = core.compile_model(steps.build(), "CPU", _tools.settings(threads))
        self._names = [f"{name}_{stride}" for name in _VALUES for stride in _STRIDES]
        self._local = threading.local()

    def __call__(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        request.get_input_tensor().data[0] = pixels
        request.infer()
        return {name: np.array(request.get_tensor(name).data) for name in self._names}


@cache
def _network(path: Path, threads: int) -> _Network:
    return _Network(path, threads)
