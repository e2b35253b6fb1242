"""From landmarks and boxes to crops: the methods that a preprocess contract can name.

Points are pixel indices (see :mod:`zoo.faces.warp`). Mesh numbers are those of MediaPipe's 468-point mesh; "left" and
"right" are the picture's.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.faces.warp import Interpolation, Matrix, affine, affine_image, kernel

Points = NDArray[np.float64]

# Contours of the eyes and lips in the order of mediapipe.solutions.face_mesh_connections (FACEMESH_LEFT_EYE,
# FACEMESH_RIGHT_EYE, FACEMESH_LIPS), as LibreFace's aligner collects them (detect_mediapipe.py, commit 1aa2b98).
EYE_RIGHT: Final = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
EYE_LEFT: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip

TEMPLATE_SIDE: Final = 112

ARCFACE_112: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Left eye, right eye, nose tip, mouth corners on a 112 px crop: ``arcface_dst`` of insightface
(``python-package/insightface/utils/face_align.py``)."""

# The project's own template in OpenFace's manner. OpenFace 2.x maps rigid points of its 68-point shape onto 0.7 times
# its mean shape on 112 px; that shape is not free to copy. Here: points that expressions move little (eye corners, nose
# bridge, nose base), from the frontal view of MediaPipe's canonical face model (Apache-2.0, face_model_with_iris.obj,
# x to the right and y up in cm).
_RIGID: Final = {
    33: (-4.446, 2.664), 133: (-1.856, 2.585), 362: (1.856, 2.585), 263: (4.446, 2.664),
    168: (0.0, 3.271), 6: (0.0, 2.473), 197: (0.0, 1.728), 195: (0.0, 1.059),
    98: (-1.406, -1.714), 97: (-0.597, -2.014), 2: (0.0, -2.089), 326: (0.597, -2.014), 327: (1.406, -1.714),
}  # fmt: skip
# OpenFace's mean shape spans about 101 px from ear to ear on its crop; the canonical model's ears are 15.5 cm apart.
_PIXELS_PER_CM: Final = 6.6
# Height of the centre of the 68 points on the canonical model: OpenFace puts that centre into the crop's.
_CENTRE_CM: Final = -1.26

OPENFACE_112: Final = np.array(
    [[56 + _PIXELS_PER_CM * x, 56 - _PIXELS_PER_CM * (y - _CENTRE_CM)] for x, y in _RIGID.values()]
)
"""Rigid points on a 112 px crop: eye centres 41.6 px apart at height 30, chin at about 110."""


def five_points(mesh: Points) -> Points:
    """Returns left eye, right eye, nose tip, left and right mouth corner of a mesh, ``[5, 2]``.

    Five landmarks are taken for these. Of a mesh, the eyes are means of their contours. The nose tip is point 4, which
    stands out farthest on the canonical face; with it real faces fit the ArcFace template better than with point 1
    (four portraits and a video, root mean square 0.9 to 4.9 px against 2.1 to 5.6).
    """
    points = mesh[:, :2]
    if len(points) == len(ARCFACE_112):
        return points
    return np.stack(
        [
            points[list(EYE_LEFT)].mean(axis=0),
            points[list(EYE_RIGHT)].mean(axis=0),
            points[4],
            points[61],
            points[291],
        ]
    )


def rigid_points(mesh: Points) -> Points:
    """Returns the points of a mesh that :data:`OPENFACE_112` places, ``[13, 2]``."""
    return mesh[list(_RIGID), :2]


def umeyama(source: Points, target: Points) -> Matrix:
    """Returns the similarity that carries ``source`` onto ``target`` with least squared error, without mirroring.

    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 13(4), 1991.

    Args:
        source: ``[n, 2]``, not all one point.
        target: ``[n, 2]``.

    Returns:
        ``[2, 3]``.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_0, target_0 = source - source_mean, target - target_mean
    u, values, vt = np.linalg.svd(target_0.T @ source_0)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = (u * signs) @ vt
    turn *= (values * signs).sum() / (source_0**2).sum()
    return np.column_stack((turn, target_mean - turn @ source_mean))


def similarity_matrix(mesh: Points, template: Literal["arcface-112", "openface-112"], side: int) -> Matrix:
    """Returns the map from a crop of ``side`` pixels to the picture that puts a mesh onto a template.

    Another side than 112 scales the template with the crop, edges onto edges.
    """
    if template == "arcface-112":
        points, target = five_points(mesh), ARCFACE_112
    else:
        points, target = rigid_points(mesh), OPENFACE_112
    target = (target + 0.5) * (side / TEMPLATE_SIDE) - 0.5
    forward = umeyama(points, target)
    backward = np.linalg.inv(forward[:, :2])
    return np.column_stack((backward, -backward @ forward[:, 2]))


def eye_line_square(mesh: Points, expand: float, output: int, size: tuple[int, int]) -> Matrix:
    """Returns the map from JAA-Net's crop to the picture.

    ``align_face_49pts`` of ZhiwenShao/PyTorch-JAANet (commit 9a0cedc, ``dataset/face_transform.py``): turned so that
    the eyes are level, the box of eye centres, nose tip and mouth corners gives the centre and, times ``expand``, the
    side of a square of ``output`` pixels. Its eye centres are means of six landmarks, here of the mesh's contours.

    Args:
        mesh: Mesh landmarks, or five points.
        expand: Factor on the longer side of the box.
        output: Side of the square in pixels.
        size: Height and width of the centre crop.

    Returns:
        ``[2, 3]``.
    """
    points = five_points(mesh)
    across = (points[1] - points[0]) / np.hypot(*(points[1] - points[0]))
    turn = np.stack((across, across[::-1] * (-1, 1)))  # rows: along the eyes, and down
    level = points @ turn.T
    low, high = level.min(axis=0), level.max(axis=0)
    pitch = expand * (high - low).max() / (output - 1)
    height, width = size
    cut = np.array([round((output - width) / 2), round((output - height) / 2)])  # as torchvision's CenterCrop
    middle = (output - 1) / 2 - cut
    backward = turn.T * pitch
    return np.column_stack((backward, turn.T @ ((low + high) / 2) - backward @ middle))


def expand_box(box: Points, factor: float, square: bool) -> Points:
    """Grows a box about its centre.

    Args:
        box: Left, top, right, bottom.
        factor: On the sides.
        square: Make both sides as long as the longer one.

    Returns:
        Left, top, right, bottom; may reach outside the picture.
    """
    centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    half = (np.full(2, sides.max()) if square else sides) * factor / 2
    return np.concatenate((centre - half, centre + half))


# LibreFace's aligner (detect_mediapipe.py and libreface/detect_mediapipe_image.py at github.com/ihp-lab/LibreFace,
# after FFHQ's dataset tool). Its output_size rules the shrinking even where it warps to another size.
_LIBREFACE_SIDE: Final = 256


def libreface_quad(mesh: Points) -> Points:
    """Returns the oriented square of LibreFace's crop.

    Args:
        mesh: Mesh landmarks.

    Returns:
        ``[4, 2]``: left top, left bottom, right bottom, right top.
    """
    points = mesh[:, :2]
    left, right = points[list(EYE_LEFT)].mean(axis=0), points[list(EYE_RIGHT)].mean(axis=0)
    lips = points[list(LIPS)]
    eyes, eye_to_eye = (left + right) / 2, right - left
    mouth = (lips[lips[:, 0].argmin()] + lips[lips[:, 0].argmax()]) / 2
    eye_to_mouth = mouth - eyes
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / np.hypot(*x)
    y = x[::-1] * (-1, 1)
    centre = eyes + eye_to_mouth * 0.1
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def libreface_crop(
    pixels: NDArray[np.uint8],
    quad: Points,
    size: tuple[int, int],
    *,
    output: int,
    supersample: int,
    interpolation: Interpolation,
) -> NDArray[np.uint8]:
    """Cuts LibreFace's crop as its aligner does: shrink, pad and blend at the picture's edges, warp, centre crop.

    - The research script: ``output`` 256, ``supersample`` 16, ``pillow-bilinear`` (4096 px, then Lanczos).
    - The Python package, action units: ``output`` 256, ``supersample`` 2, ``pillow-bilinear-antialias`` (512 px, then
      torchvision's ``Resize``).
    - ``supersample`` 1 warps straight to ``output``.

    Args:
        pixels: RGB uint8 ``[height, width, 3]``.
        quad: :func:`libreface_quad`.
        size: Height and width of the crop, at most ``output``.
        output: Side of the aligned picture before the centre crop.
        supersample: The warp goes to ``output * supersample`` and is shrunk from there.
        interpolation: With ``supersample`` 1, of the warp. Otherwise the warp is plain bilinear and this names the
            kernel of the shrinking, where ``pillow-bilinear`` stands for the research script's Lanczos.

    Returns:
        RGB uint8 ``[*size, 3]``.
    """
    pixels, quad = _within_picture(pixels, quad)
    height, width = size
    # torchvision's CenterCrop, whose rounding is Python's
    top, left = round((output - height) / 2), round((output - width) / 2)
    side = output * supersample
    across, down = (quad[3] - quad[0]) / side, (quad[1] - quad[0]) / side
    origin = quad[0] + (across + down) / 2
    if supersample == 1:
        matrix = np.column_stack((across, down, origin + across * left + down * top))
        return affine(pixels, matrix, size, interpolation)
    matrix = np.column_stack((across, down, origin))
    large = affine_image(pixels, matrix, (side, side), "pillow-bilinear")
    shrink = Image.Resampling.LANCZOS if interpolation == "pillow-bilinear" else kernel(interpolation)
    aligned = np.asarray(large.resize((output, output), shrink))
    return aligned[top : top + height, left : left + width]


def _within_picture(pixels: NDArray[np.uint8], quad: Points) -> tuple[NDArray[np.uint8], Points]:
    """Shrinks a picture whose face is very large, and pads one whose quad comes near the edge."""
    quad_side = float(np.hypot(*(quad[3] - quad[0])))
    shrink = int(quad_side / _LIBREFACE_SIDE * 0.5)
    if shrink > 1:
        height, width = pixels.shape[:2]
        # round() and numpy's rint, which the scripts use, agree: halves go to the even number
        small = (round(width / shrink), round(height / shrink))
        pixels = np.asarray(Image.fromarray(pixels).resize(small, Image.Resampling.LANCZOS))
        quad, quad_side = quad / shrink, quad_side / shrink
    edge = np.array(pixels.shape[1::-1])
    border = max(round(quad_side * 0.1), 3)
    low, high = np.floor(quad.min(axis=0)).astype(int), np.ceil(quad.max(axis=0)).astype(int)
    start, end = np.clip(low - border, 0, edge), np.clip(high + border, 0, edge)
    before, after = np.maximum(start - low + border, 0), np.maximum(high - end + border, 0)
    if max(before.max(), after.max()) <= border - 4:
        return pixels, quad
    part = pixels[start[1] : end[1], start[0] : end[0]]
    return _blend(part, before, after, quad_side), quad - start + before


def _blend(
    pixels: NDArray[np.uint8], before: NDArray[np.int64], after: NDArray[np.int64], quad_side: float
) -> NDArray[np.uint8]:
    """Pads with black, then fades the margin into a blurred picture and that into the median colour.

    LibreFace's script pads by at least 0.3 of the quad's side on all sides. Most of that is black, which the blur does
    not reach, and lies outside the quad: the first is only counted for the median, the second left out.

    Args:
        pixels: Part of the picture, uint8 ``[height, width, 3]``.
        before: Margin that the quad needs at the left and the top.
        after: Margin that the quad needs at the right and below.
        quad_side: Pixels.

    Returns:
        The padded part with the margins that the quad needs.
    """
    least = round(quad_side * 0.3)
    wide_before, wide_after = np.maximum(before, least), np.maximum(after, least)
    size = np.array(pixels.shape[1::-1])
    whole = wide_before + size + wide_after
    sigma = quad_side * 0.02
    reach = np.full(2, _radius(sigma))
    # Everything further out than the blur reaches is black: the least value, of known number.
    near = np.pad(pixels.astype(np.float32), [(r, r) for r in reach[::-1]] + [(0, 0)])
    mask = _fade(wide_before - reach, near.shape, whole, wide_before, wide_after)
    near += (_gaussian(near, sigma) - near) * np.clip(mask * 3 + 1, 0, 1)
    black = int(np.prod(whole)) - near.shape[0] * near.shape[1]
    median = np.array([_median(near[..., c], black) for c in range(3)], np.float32)
    blended = np.zeros((*(before + size + after)[::-1], 3), np.float32)
    shift = before - reach
    low, high = np.maximum(shift, 0), np.minimum(shift + near.shape[1::-1], blended.shape[1::-1])
    inner = near[low[1] - shift[1] : high[1] - shift[1], low[0] - shift[0] : high[0] - shift[0]]
    blended[low[1] : high[1], low[0] : high[0]] = inner
    mask = _fade(wide_before - before, blended.shape, whole, wide_before, wide_after)
    blended += (median - blended) * np.clip(mask, 0, 1)
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def _fade(
    start: NDArray[np.int64], shape: tuple[int, ...], whole: NDArray[np.int64], before: NDArray[np.int64],
    after: NDArray[np.int64],
) -> NDArray[np.float32]:  # fmt: skip
    """Returns LibreFace's mask on a part of the padded picture: 1 at its edge, 0 where the picture begins, then less.

    Args:
        start: x, y of the part in the padded picture.
        shape: Height and width of the part.
        whole: Width and height of the padded picture.
        before: Its margins at the left and the top.
        after: Its margins at the right and below.
    """
    x, y = (np.arange(n, dtype=np.float32) + np.float32(s) for s, n in zip(start, shape[1::-1], strict=True))
    width, height = whole.tolist()
    inward_x = np.minimum(x / np.float32(before[0]), (width - 1 - x) / np.float32(after[0]))
    inward_y = np.minimum(y / np.float32(before[1]), (height - 1 - y) / np.float32(after[1]))
    mask: NDArray[np.float32] = (1 - np.minimum(inward_x, inward_y[:, None]))[..., None]
    return mask


def _median(values: NDArray[np.float32], zeros: int) -> np.float32:
    """Returns the median of some values, none below 0, and a number of zeros."""
    count = values.size + zeros
    ranks = [r - zeros for r in {(count - 1) // 2, count // 2} if r >= zeros]
    if not ranks:
        return np.float32(0)
    found = np.partition(values.ravel(), ranks)[ranks]
    # One rank of two among the zeros: the mean with 0.
    return np.float32(found.mean() if len(ranks) == 2 or count % 2 else found[0] / 2)


def _radius(sigma: float) -> int:
    """Returns how far :func:`_gaussian` reaches, in pixels: scipy's rule."""
    return int(4 * sigma + 0.5)


def _gaussian(image: NDArray[np.float32], sigma: float, block: int = 128) -> NDArray[np.float32]:
    """Blurs rows and columns with a Gaussian cut at four sigma, taking black outside.

    The same as ``scipy.ndimage.gaussian_filter``, whose edge rule does not matter inside a black margin. Written as
    products with a banded matrix, block by block: five times as fast.
    """
    radius = _radius(sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    band = np.zeros((block, block + 2 * radius), np.float32)
    for i in range(block):
        band[i, i : i + 2 * radius + 1] = taps / taps.sum()
    for _ in range(2):
        length = len(image)
        flat = image.reshape(length, -1)
        blurred = np.empty_like(flat)
        for start in range(0, length, block):
            end = min(start + block, length)
            low, high = max(start - radius, 0), min(end + radius, length)
            skip = low - (start - radius)
            blurred[start:end] = band[: end - start, skip : skip + high - low] @ flat[low:high]
        image = np.ascontiguousarray(blurred.reshape(image.shape).swapaxes(0, 1))
    return image
