"""A picture with its faces marked and a panel of bars beside it, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from zoo.errors import UsageError
from zoo.faces.align import EYE_LEFT, EYE_RIGHT, LIPS
from zoo.faces.pipeline import Faces
from zoo.registry.labels import Task

Results = Mapping[Task, Mapping[str, float]]
"""Values of one face: by task, by label."""

# Least and greatest value of a bar, and its colour. Valence and arousal grow from the middle.
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "au-intensity": (0, 5), "au-occurrence": (0, 1), "expression": (0, 1), "valence-arousal": (-1, 1),
}  # fmt: skip
_TITLES: Final[dict[str, str]] = {
    "au-intensity": "AU intensity, 0 to 5", "au-occurrence": "AU occurrence", "expression": "Expression",
    "valence-arousal": "Valence, arousal",
}  # fmt: skip
_BACKGROUND: Final = (22, 24, 28)
_TRACK: Final = (52, 56, 64)
_TEXT: Final = (242, 242, 242)
_OUTLINE: Final = (0, 0, 0)
_BAR: Final = (96, 165, 250)
_BEST: Final = (250, 204, 21)
_CHOSEN: Final = (250, 204, 21)
_OTHER: Final = (203, 213, 225)
_POINT: Final = (110, 231, 183)

_LEAST_SIDE: Final = 400  # a smaller picture is enlarged, so that marks and text do not cover it
_FEW: Final = (*EYE_LEFT, *EYE_RIGHT, *LIPS)
_MANY_FROM: Final = 150  # pixels of a face's width from which all mesh points are drawn, not eyes and lips alone


def annotate(image: NDArray[np.uint8], faces: Faces, results: Sequence[Results]) -> Image.Image:
    """Draws boxes, landmarks and, to the right of the picture, each face's values as bars.

    The face that counts is marked in yellow, and so is the greatest expression. Small pictures are enlarged. Nothing
    is drawn over a face but its own landmarks.

    Args:
        image: RGB uint8 ``[height, width, 3]``.
        faces: The picture's faces.
        results: Values of each face, in the faces' order. Intensities 0..5, probabilities 0..1, valence and arousal
            -1..1; NaN is shown as a dash.

    Returns:
        RGB picture, at least as large as ``image``.

    Raises:
        UsageError: As many results as faces are needed.
    """
    if len(results) != len(faces):
        raise UsageError(f"{len(faces)} faces but {len(results)} results")
    picture, em = _marked(image, faces)
    panels = [_panel(number, faces, results[number], em) for number in range(len(faces))]
    return _beside(picture, panels) if panels else picture


def annotate_frame(image: NDArray[np.uint8], faces: Faces, results: Sequence[Results], blank: Results) -> Image.Image:
    """Does what :func:`annotate` does for a frame of a video: all frames of one size get drawings of one size.

    The panels stand in one column, that of the face that counts first; those without room are left out.

    Args:
        image: RGB uint8 ``[height, width, 3]``.
        faces: The frame's faces.
        results: Values of each face, in the faces' order.
        blank: A result with all tasks and labels, for the column's width.

    Returns:
        RGB picture whose sides are even, as video codecs need them.

    Raises:
        UsageError: As many results as faces are needed.
    """
    if len(results) != len(faces):
        raise UsageError(f"{len(faces)} faces but {len(results)} results")
    picture, em = _marked(image, faces)
    width, height = _panel_size(blank, em)
    width, height = picture.width + width, max(picture.height, height)
    canvas = Image.new("RGB", (width + width % 2, height + height % 2), _BACKGROUND)
    canvas.paste(picture, (0, 0))
    y = 0
    for number in sorted(range(len(faces)), key=lambda n: n != faces.chosen):
        panel = _panel(number, faces, results[number], em)
        if y + panel.height > canvas.height:
            break
        canvas.paste(panel, (picture.width, y))
        y += panel.height
    return canvas


def _marked(image: NDArray[np.uint8], faces: Faces) -> tuple[Image.Image, int]:
    """Returns the picture, enlarged where it is small, with its faces marked, and the height of text on it."""
    picture = Image.fromarray(image)
    factor = max(1.0, _LEAST_SIDE / min(picture.size))
    if factor > 1:
        picture = picture.resize(
            (round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC
        )
    em = max(14, round(min(picture.size) / 40))
    _mark(picture, faces, factor, em)
    if not len(faces):
        _text(ImageDraw.Draw(picture), (em // 2, em // 2), "no face found", em)
    return picture, em


def _mark(picture: Image.Image, faces: Faces, factor: float, em: int) -> None:
    draw = ImageDraw.Draw(picture)
    line = max(2, em // 8)
    for number, box in enumerate(faces.boxes * factor):
        if faces.landmarks is not None:
            points = (faces.landmarks[number, :, :2] + 0.5) * factor
            width = float(box[2] - box[0])
            radius = max(width / 300, 0.5)
            for x, y in points if width >= _MANY_FROM or len(points) <= max(_FEW) else points[list(_FEW)]:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_POINT)
        colour = _CHOSEN if number == faces.chosen else _OTHER
        left, top, right, bottom = (float(v) for v in box)
        draw.rectangle((left - line, top - line, right + line, bottom + line), outline=_OUTLINE, width=3 * line)
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
        # The number stands above the box, or below it where the picture ends.
        large = round(1.3 * em)
        y = top - 1.4 * large if top >= 1.5 * large else min(bottom + 0.2 * large, picture.height - 1.4 * large)
        _text(draw, (min(max(left, 2), picture.width - 2 * large), y), str(number + 1), large, colour)


def _panel(number: int, faces: Faces, results: Results, em: int) -> Image.Image:
    """Draws one face's values."""
    row, pad = round(1.45 * em), em // 2
    name_width, bar_width = round(6.2 * em), 7 * em
    panel = Image.new("RGB", _panel_size(results, em), _BACKGROUND)
    width = panel.width
    draw = ImageDraw.Draw(panel)
    colour = _CHOSEN if number == faces.chosen else _OTHER
    _text(draw, (pad, pad), f"Face {number + 1}, score {faces.scores[number]:.2f}", em, colour)
    y = pad + row
    for task, values in results.items():
        y += pad
        _text(draw, (pad, y), _TITLES[task], em, _OTHER)
        y += row
        numbers = np.array(list(values.values()), np.float64)
        best = int(np.nanargmax(numbers)) if task == "expression" and not np.isnan(numbers).all() else -1
        for i, (label, value) in enumerate(values.items()):
            _text(draw, (pad, y), label, em)
            left = pad + name_width
            _bar(
                draw, (left, y + em // 4, left + bar_width, y + em), value, _RANGES[task], _BEST if i == best else _BAR
            )
            shown = "-" if np.isnan(value) else f"{value:.2f}"
            length = draw.textlength(shown, _font(em))
            _text(draw, (width - pad - length, y), shown, em)
            y += row
    return panel


def _panel_size(results: Results, em: int) -> tuple[int, int]:
    """Returns a panel's width and height: a name, a bar and a value beside one another, one row a value."""
    rows = 1 + sum(1 + len(values) for values in results.values())
    pad = em // 2
    return round(6.2 * em) + 7 * em + round(2.6 * em) + 3 * pad, rows * round(1.45 * em) + pad * (len(results) + 2)


def _bar(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int, int, int],
    value: float,
    bounds: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    left, top, right, bottom = place
    draw.rectangle(place, fill=_TRACK)
    low, high = bounds
    zero = left + (right - left) * (0 - low) / (high - low)
    if not np.isnan(value):
        end = left + (right - left) * (min(max(value, low), high) - low) / (high - low)
        if round(end) != round(zero):
            draw.rectangle((min(zero, end), top, max(zero, end), bottom), fill=colour)
    if low < 0:
        draw.line((zero, top, zero, bottom), fill=_TEXT)


def _beside(picture: Image.Image, panels: Sequence[Image.Image]) -> Image.Image:
    """Puts panels into columns to the right of a picture."""
    height = max(picture.height, *(p.height for p in panels))
    columns: list[list[Image.Image]] = [[]]
    for panel in panels:
        if sum(p.height for p in columns[-1]) + panel.height > height:
            columns.append([])
        columns[-1].append(panel)
    width = picture.width + sum(max(p.width for p in c) for c in columns)
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    canvas.paste(picture, (0, 0))
    x = picture.width
    for column in columns:
        y = 0
        for panel in column:
            canvas.paste(panel, (x, y))
            y += panel.height
        x += max(p.width for p in column)
    return canvas


def _font(em: int) -> Any:
    return ImageFont.load_default(em)


def _text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    em: int,
    colour: tuple[int, int, int] = _TEXT,
) -> None:
    draw.text(place, text, colour, _font(em), stroke_width=max(1, em // 10), stroke_fill=_OUTLINE)
