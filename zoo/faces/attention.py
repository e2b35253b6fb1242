"""MediaPipe's attention mesh: 478 points, of which lips, eyes and irises are placed by networks of their own.

The file (``face_landmark_with_attention.tflite`` of the package ``mediapipe`` 0.10.21) holds three operations that only
MediaPipe knows. The graph is cut at them: a trunk that gives a coarse mesh and features, and branches that look at
patches of the features. What lies between, which patch a branch sees and where its points fall, is numpy here, after
``mediapipe/util/tflite/operations/`` (``landmarks_to_transform_matrix.cc``, ``transform_tensor_bilinear.cc``,
``transform_landmarks.cc``, version 2 of each) and ``face_landmark/tensors_to_face_landmarks_with_attention.pbtxt``
(Apache-2.0). Numbers of tensors are those of the file, which is held to its hash.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zoo.faces import _tools
from zoo.faces.align import EYE_LEFT, EYE_RIGHT, LIPS
from zoo.faces.landmarks import FaceMesh, Region, project
from zoo.faces.warp import sample

POINTS: Final = 478
_MESH: Final = 468

_PIXELS: Final = 0
_TRUNK: Final = (186, 710, 35)  # mesh, logit of a face's presence, features
_PATCHES: Final = (199, 200, 201)  # lips, left eye, right eye
_PLACED: Final = (697, 700, 703, 704, 707)  # lips, left eye and iris, right eye and iris

# Which mesh points a branch places, in its order. They are also those whose bounding box makes its patch. The first
# ones are the contours that align.py names; the rest are rings around them.
_LIPS: Final = (
    *LIPS,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
_LEFT: Final = (
    *EYE_LEFT,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65,
    143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
_RIGHT: Final = (
    *EYE_RIGHT,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295,
    372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
_LEFT_IRIS: Final = tuple(range(468, 473))
_RIGHT_IRIS: Final = tuple(range(473, 478))
# Points of a patch and the two that are level in it: left_rotation_idx, right_rotation_idx.
_REGIONS: Final = ((_LIPS, (61, 291)), (_LEFT, (33, 133)), (_RIGHT, (362, 263)))

_PATCH: Final = 16  # output_width, output_height
_MARGIN: Final = 1.5  # scale_x, scale_y
_SHRINK: Final = 0.25  # from the input's 192 pixels to the features' 48


def _u32(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _field(data: bytes | bytearray, table: int, number: int) -> int:
    """Returns where a FlatBuffers table keeps a field, 0 where it has none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * number
    length = struct.unpack_from("<H", data, vtable)[0]
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < length else 0
    return table + offset if offset else 0


def _vector(data: bytes | bytearray, table: int, number: int) -> tuple[int, int]:
    """Returns the first item's place and the number of items of a vector field."""
    at = _field(data, table, number)
    if not at:
        return 0, 0
    start = at + _u32(data, at)
    return start + 4, _u32(data, start)


def cut_graph(data: bytes, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Returns a TFLite file whose graph goes from some tensors to others, with the operations between them only.

    Field numbers are those of ``schema.fbs`` (TensorFlow Lite, version 3): ``Model.subgraphs`` 2; ``SubGraph.inputs``
    1, ``outputs`` 2, ``operators`` 3; ``Operator.inputs`` 1, ``outputs`` 2.

    Args:
        data: The file.
        inputs: Numbers of the tensors where the new graph begins.
        outputs: Numbers of the tensors that it gives.
    """
    edited = bytearray(data)
    first, _ = _vector(data, _u32(data, 0), 2)
    graph = first + _u32(data, first)
    start, count = _vector(data, graph, 3)
    operators = [start + 4 * i + _u32(data, start + 4 * i) for i in range(count)]

    def tensors(operator: int, number: int) -> tuple[int, ...]:
        place, length = _vector(data, operator, number)
        return struct.unpack_from(f"<{length}i", data, place)

    maker = {tensor: i for i, operator in enumerate(operators) for tensor in tensors(operator, 2)}
    needed: set[int] = set()
    wanted = [t for t in outputs if t not in inputs]
    while wanted:
        made_by = maker.get(wanted.pop())  # constants are made by none
        if made_by is not None and made_by not in needed:
            needed.add(made_by)
            wanted += [t for t in tensors(operators[made_by], 1) if t not in inputs]
    # Offsets point forwards: an operator may move to an earlier place of its vector, a new vector to the end.
    struct.pack_into("<I", edited, start - 4, len(needed))
    for place, number in enumerate(sorted(needed)):
        struct.pack_into("<I", edited, start + 4 * place, operators[number] - (start + 4 * place))
    for number, chosen in ((1, inputs), (2, outputs)):
        edited += bytes(-len(edited) % 4)
        field = _field(data, graph, number)
        struct.pack_into("<I", edited, field, len(edited) - field)
        edited += struct.pack(f"<I{len(chosen)}i", len(chosen), *chosen)
    return bytes(edited)


def patch_matrix(points: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the map from a patch's pixels to the features that puts the box of some points, grown, upright into it.

    Args:
        points: ``[n, 2]`` in feature pixels.
        level: ``[2, 2]``: the line from the first to the second is level in the patch.

    Returns:
        ``[2, 3]``, between pixels counted from their edges.
    """
    along = level[1] - level[0]
    cos, sin = along / np.hypot(*along)
    turn = np.array([[cos, -sin], [sin, cos]])
    upright = points @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    matrix = turn * (_MARGIN * (high - low) / _PATCH)
    centre = turn @ ((low + high) / 2)
    return np.column_stack((matrix, centre - matrix @ np.full(2, _PATCH / 2)))


def cut_patch(features: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Samples a patch bilinearly; points outside the features are 0.

    Args:
        features: ``[height, width, channels]``.
        matrix: :func:`patch_matrix`.

    Returns:
        ``[16, 16, channels]``.
    """
    height, width, channels = features.shape
    grid = np.arange(_PATCH) + 0.5
    x, y = (row[0] * grid[None] + row[1] * grid[:, None] + row[2] - 0.5 for row in matrix)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = x.clip(0, width - 1).ravel(), y.clip(0, height - 1).ravel()
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    right, bottom = ((x - left)[:, None], (y - top)[:, None])
    flat = features.reshape(-1, channels)
    corner = top * width + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + width] * (1 - right) + flat[corner + width + 1] * right
    patch = (upper * (1 - bottom) + lower * bottom) * inside.reshape(-1, 1)
    found: NDArray[np.float32] = patch.astype(np.float32).reshape(_PATCH, _PATCH, channels)
    return found


class AttentionMesh(FaceMesh):
    """The landmark networks; called as :class:`zoo.faces.landmarks.FaceMesh` is."""

    points = POINTS

    def __init__(self, *, threads: int = 1) -> None:
        """Loads the networks.

        Args:
            threads: How many calls may run at once.
        """
        self._trunk, self._branches = _networks(threads)

    def __call__(self, pixels: NDArray[np.uint8], region: Region) -> tuple[NDArray[np.float64], float]:
        """Places the mesh on the face in a region; see :meth:`zoo.faces.landmarks.FaceMesh.__call__`.

        Returns:
            Landmarks float64 ``[478, 3]``, the irises' centre and edges last, and the probability of a face.
        """
        side = self._trunk.side
        raw, presence, features = self._trunk(sample(pixels, region.matrix(side), side, border="edge"))
        mesh = np.zeros((POINTS, 3))
        mesh[:_MESH] = raw.reshape(_MESH, 3)
        coarse = mesh[:, :2] * _SHRINK
        matrices = [patch_matrix(coarse[list(points)], coarse[list(level)]) for points, level in _REGIONS]
        placed = self._branches(*(cut_patch(features[0], m) for m in matrices))
        owners = (_LIPS, 0), (_LEFT, 1), (_LEFT_IRIS, 1), (_RIGHT, 2), (_RIGHT_IRIS, 2)
        for points, (indices, which) in zip(placed, owners, strict=True):
            matrix = matrices[which]
            # A branch counts in pixels of the input, whose patch is four times that of the features.
            mesh[list(indices), :2] = points[0] @ matrix[:, :2].T + matrix[:, 2] / _SHRINK
        for iris, eye in ((_LEFT_IRIS, EYE_LEFT), (_RIGHT_IRIS, EYE_RIGHT)):
            mesh[list(iris), 2] = mesh[list(eye), 2].mean()
        return project(mesh, region, side), float(1 / (1 + np.exp(-float(presence.item()))))


@cache
def _networks(threads: int) -> tuple[_tools.Network, _tools.Network]:
    from zoo.weights import locate

    data = locate(_tools.ATTENTION_MESH, entry=_tools.ENTRY).read_bytes()
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads TFLite from files only
        path = Path(folder) / "cut.tflite"
        path.write_bytes(cut_graph(data, (_PIXELS,), _TRUNK))
        trunk = _tools.Network(path, pixel_range="0..1", threads=threads)
        path.write_bytes(cut_graph(data, _PATCHES, _PLACED))
        return trunk, _tools.Network(path, pixel_range=None, threads=threads)
