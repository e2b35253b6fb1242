"""The drawn picture: size, what stays untouched, where bars end."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.faces.draw import _BAR, _BEST, _CHOSEN, annotate, annotate_frame
from zoo.faces.pipeline import Faces


def faces_of(*boxes, chosen=0, landmarks=None):
    return Faces(
        crops=np.zeros((len(boxes), 4, 4, 3), np.uint8),
        boxes=np.array(boxes, float).reshape(-1, 4),
        scores=np.full(len(boxes), 0.9),
        landmarks=landmarks,
        chosen=chosen if boxes else -1,
    )


def lengths(picture, colour, beyond):
    """Pixels of each bar of a colour, from top to bottom, right of the picture proper."""
    mask = (np.asarray(picture)[:, beyond:] == colour).all(axis=2)
    rows = np.flatnonzero(mask.sum(axis=1) > 8)
    starts = rows[np.flatnonzero(np.diff(rows, prepend=-9) > 1)]
    return [int(mask[r + 1].sum()) for r in starts]


GREY = np.full((600, 800, 3), 90, np.uint8)


def test_bars_are_as_long_as_their_values():
    values = {"AU01": 0.0, "AU02": 1.25, "AU12": 2.5, "AU25": 5.0, "AU26": 99.0, "AU04": float("nan")}
    drawn = annotate(GREY, faces_of((100, 100, 300, 300)), [{"au-intensity": values}])
    quarter, half, full, over = lengths(drawn, _BAR, 800)
    assert half == pytest.approx(full / 2, abs=2) and quarter == pytest.approx(full / 4, abs=2) and over == full


def test_valence_grows_from_the_middle():
    drawn = annotate(GREY, faces_of((100, 100, 300, 300)), [{"valence-arousal": {"valence": 0.5, "arousal": -0.5}}])
    pixels = (np.asarray(drawn)[:, 800:] == _BAR).all(axis=2)
    rows = np.flatnonzero(pixels.any(axis=1))
    first, last = np.flatnonzero(pixels[rows[2]]), np.flatnonzero(pixels[rows[-2]])
    assert first.min() > last.max() and len(first) == pytest.approx(len(last), abs=2)


def test_the_greatest_expression_is_marked():
    drawn = annotate(
        GREY, faces_of((100, 100, 300, 300)), [{"expression": {"neutral": 0.2, "anger": 0.7, "fear": 0.1}}]
    )
    assert len(lengths(drawn, _BEST, 800)) >= 1
    assert max(lengths(drawn, _BEST, 800)) > max(lengths(drawn, _BAR, 800))


def test_nothing_is_drawn_inside_a_face_without_landmarks():
    drawn = np.asarray(annotate(GREY, faces_of((100, 100, 300, 300), (500, 120, 620, 260)), [{}, {}]))
    assert (drawn[110:290, 110:290] == 90).all() and (drawn[130:250, 510:610] == 90).all()
    assert (drawn[100, 150] == _CHOSEN).all() and not (drawn[120, 550] == _CHOSEN).all()


@pytest.mark.parametrize("shape", [(8, 8), (60, 400), (112, 112), (480, 640), (2000, 3000), (1200, 90)])
def test_any_size_is_legible(shape):
    image = np.full((*shape, 3), 200, np.uint8)
    box = (0.2 * shape[1], 0.2 * shape[0], 0.8 * shape[1], 0.9 * shape[0])
    landmarks = np.broadcast_to([0.5 * shape[1], 0.5 * shape[0], 0], (1, 468, 3))
    values = {f"AU{n:02d}": 0.5 for n in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)}
    drawn = annotate(image, faces_of(box, landmarks=landmarks), [{"au-occurrence": values}])
    assert drawn.mode == "RGB" and drawn.height >= max(shape[0], 12 * 20) and drawn.width >= shape[1] + 200
    assert len(lengths(drawn, _BAR, drawn.width - round(drawn.height))) == 12


def test_many_faces_get_columns_that_do_not_overlap():
    boxes = [(40 + 90 * i, 100, 110 + 90 * i, 180) for i in range(8)]
    one = annotate(GREY, faces_of(boxes[0]), [{"expression": {"anger": 1.0}}])
    drawn = annotate(GREY, faces_of(*boxes), [{"expression": {"anger": 1.0}}] * 8)
    assert drawn.height == 600 and drawn.width > one.width - 1
    assert sum(1 for n in lengths(drawn, _BEST, 800)) >= 4


def test_no_face_is_said():
    drawn = annotate(GREY, faces_of(), [])
    assert drawn.size == (800, 600) and (np.asarray(drawn)[:60, :250] != 90).any()


def test_a_result_for_each_face():
    with pytest.raises(UsageError, match="1 faces but 2 results"):
        annotate(GREY, faces_of((1, 1, 9, 9)), [{}, {}])


@pytest.mark.parametrize("shape", [(600, 800), (97, 131), (1200, 91)])
def test_frames_of_a_video_get_drawings_of_one_size(shape):
    image = np.full((*shape, 3), 90, np.uint8)
    values = {"expression": {"anger": 1.0, "neutral": 0.0}}
    blank = {"expression": {"anger": float("nan"), "neutral": float("nan")}}
    boxes = [(5, 5, 20, 20), (30, 5, 60, 40), (1, 50, 30, 80)] * 9
    drawn = [annotate_frame(image, faces_of(*boxes[:n]), [values] * n, blank) for n in (0, 1, 2, 27)]
    assert len({d.size for d in drawn}) == 1
    assert drawn[0].width % 2 == drawn[0].height % 2 == 0
    one = annotate(image, faces_of(boxes[0]), [values])
    assert drawn[1].width - one.width in (0, 1) and drawn[1].height - one.height in (0, 1)
    with pytest.raises(UsageError, match="1 faces but 0 results"):
        annotate_frame(image, faces_of(boxes[0]), [], blank)


def test_the_face_that_counts_has_the_first_panel_of_a_frame():
    faces = faces_of((100, 100, 300, 300), (500, 120, 620, 260), chosen=1)
    results = [{"au-intensity": {"AU12": x}} for x in (1.0, 4.0)]
    first, second = lengths(annotate_frame(GREY, faces, results, results[0]), _BAR, 800)
    assert first == pytest.approx(4 * second, abs=4)
