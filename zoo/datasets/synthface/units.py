"""What each action unit does to a face: where the skin goes, how its relief changes, what lids and lips do.

The directions follow the FACS manual's descriptions of appearance changes (Ekman, Friesen, Hager 2002); the sizes in
millimetres at intensity E (5) are chosen so that B (2) is visible on a face 150 pixels wide. All are linear in the
intensity, which makes the change of the picture grow with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.synthface.head import Canvas, bump, nasolabial, pair
from zoo.datasets.synthface.identity import Identity
from zoo.datasets.synthface.noise import Field, f32, smoothstep, value_noise

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26, 45)
"""The action units that can be rendered; 45 is lid closure, 5 for shut."""

COLUMN = {unit: i for i, unit in enumerate(UNITS)}


def intensities(values: dict[int, float]) -> NDArray[np.float32]:
    """Returns intensities as the vector that the renderer takes: ``intensities({12: 3, 6: 2})``.

    Raises:
        KeyError: An action unit that cannot be rendered.
    """
    vector = np.zeros(len(UNITS), np.float32)
    for unit, value in values.items():
        vector[COLUMN[unit]] = value
    return vector


def motion(who: Identity, x: Field, y: Field) -> NDArray[np.complex64]:
    """Returns where the skin goes at intensity 5, mm, dx + i dy, ``[len(UNITS), rows, columns]``."""
    e, m, w, n = who.eye_distance, who.mouth_y, who.mouth_width, who.nose_length
    out = np.sign(x) * smoothstep(0, 6, np.abs(x))
    brow = -who.brow_y - 2
    zero = np.zeros_like(x)
    corner = pair(x, y, w + 1, m, 13, 12)
    cheek = pair(x, y, 40, 30, 17, 15)
    jaw = smoothstep(m - 3, m + 13, y) * np.exp(-((np.abs(x) / 62) ** 6))
    # Below the chin the outline moves as a whole, so nothing folds there.
    chin = bump(x, y, 0, m + 27, 19, 17)
    moves: dict[int, tuple[Field, Field]] = {
        1: (zero, -7.5 * (bump(x, y, 9, brow, 15, 15) + bump(x, y, -9, brow, 15, 15)) / 1.35),
        2: (1.0 * out * pair(x, y, 46, brow - 2, 15, 14), -8.5 * pair(x, y, 43, brow - 2, 16, 15)),
        4: (
            -4.0 * out * pair(x, y, 17, brow, 13, 13),
            5.5 * (pair(x, y, 14, brow + 1, 15, 13) + 0.4 * pair(x, y, 38, brow, 16, 12)),
        ),
        5: (zero, zero),
        6: (-1.5 * out * pair(x, y, 54, 4, 14, 14), -5.0 * cheek - 2.0 * pair(x, y, 50, 14, 16, 11)),
        7: (zero, -1.2 * pair(x, y, e, 11, 17, 6)),
        9: (
            -1.2 * out * pair(x, y, 12, 4, 10, 14),
            -4.8 * pair(x, y, 13, n - 2, 9, 12)
            - 3.2 * bump(x, y, 0, m - 9, 20, 8)
            + 3.5 * bump(x, y, 0, brow + 4, 20, 12),
        ),
        10: (zero, -4.5 * pair(x, y, 12, m - 8, 13, 9) - 2.0 * pair(x, y, 21, n + 2, 9, 12)),
        12: (7.5 * out * corner, -7.5 * corner - 3.0 * pair(x, y, 42, 38, 16, 14)),
        14: (3.0 * out * pair(x, y, w + 2, m, 9, 9), -0.6 * corner),
        15: (1.0 * out * corner, 7.0 * pair(x, y, w + 1, m + 2, 12, 12)),
        17: (zero, -6.0 * chin - 3.0 * bump(x, y, 0, m + 7, 19, 7)),
        20: (8.5 * out * pair(x, y, w + 2, m + 2, 15, 13), 2.2 * pair(x, y, w + 2, m + 2, 14, 12)),
        23: (-3.0 * out * pair(x, y, w - 2, m, 12, 9), zero),
        24: (-1.0 * out * corner, 1.2 * bump(x, y, 0, m - 8, 22, 7) - 1.8 * bump(x, y, 0, m + 10, 22, 8)),
        25: (zero, -0.8 * bump(x, y, 0, m - 6, 20, 6) + 1.6 * bump(x, y, 0, m + 10, 22, 9)),
        26: (-1.5 * out * pair(x, y, w, m, 12, 12), 11.0 * jaw),
        45: (zero, zero),
    }
    # Eyeballs stay where they are; lids are drawn, not warped.
    still = 1 - 0.9 * np.clip(1.25 * pair(x, y, e, 0, 17, 9.5), 0, 1)
    fields = np.stack([moves[u][0] + 1j * moves[u][1] for u in UNITS]) * still
    sides = 1 + np.float32(who.asymmetry) * np.tanh(x / 8)
    return np.asarray(fields * sides * np.float32(who.gain), np.complex64)


@dataclass(frozen=True)
class Relief:
    """Change of the surface's height at intensity 5 inside a window, mm.

    Attributes:
        window: Rows and columns.
        height: Smooth bulges and narrow folds together.
        folds: The folds alone, as depth (positive in the fold): they also darken the skin.
    """

    window: tuple[slice, slice]
    height: Field
    folds: Field


def _ripples(coordinate: Field, period: float) -> Field:
    """Rounded ridges with narrow furrows: 1 on a furrow, 0 between."""
    wave = np.float32(0.5) - np.float32(0.5) * np.cos(coordinate * np.float32(2 * np.pi / period))
    return f32(wave**3)


def relief(who: Identity, canvas: Canvas) -> dict[int, tuple[Relief, ...]]:
    """Returns what each action unit adds to the surface, by unit."""
    rng = np.random.default_rng([who.seed, 1])
    x, y = canvas.x, canvas.y
    rows, columns = x.shape
    e, m, w, n = who.eye_distance, who.mouth_y, who.mouth_width, who.nose_length
    lines = who.lines * who.gain
    wobble = 1.3 * value_noise(rng, columns, rows, 26 * canvas.scale, 2)
    brow = -who.brow_y
    up = y - brow + 0.0035 * x**2  # forehead lines are parallel to the brows
    forehead = smoothstep(-7, -16, up) * smoothstep(-who.hairline + 2, -who.hairline + 16, y)
    furrows = _ripples(up + wobble, 8.5) * forehead
    between = np.exp(-(((np.abs(x + 0.4 * wobble) - 5.0) / 1.7) ** 2)) * bump(0 * x, y, 0, brow + 3, 1, 13)
    ray = np.arctan2(y - 1, (np.abs(x) - 40).clip(1))
    crow = _ripples(ray * 30 + wobble, 11) * pair(x, y, 58, 3, 10, 15) * smoothstep(45, 51, np.abs(x))
    under = np.exp(-(((y - 13.5 + 0.016 * (np.abs(x) - e) ** 2) / 1.6) ** 2)) * pair(x, y, e, 13, 16, 8)
    bridge = _ripples(y + 0.25 * np.abs(x) + 0.5 * wobble, 5.6) * bump(x, y, 0, 8, 12, 12)
    flank = _ripples(y - 0.9 * np.abs(x) + wobble, 7.0) * pair(x, y, 13, 18, 6, 13)
    fold = nasolabial(who, x, y, 2.4)
    dimple = pair(x, y, w + 5.5, m - 0.5, 2.2, 6)
    pit = np.clip(value_noise(rng, columns, rows, 3.4 * canvas.scale) + 0.2, 0, 1.6) * bump(x, y, 0, m + 27, 13, 10)
    zero = np.zeros_like(x)
    # unit: (bulges, folds) at intensity 5
    parts: dict[int, tuple[Field, Field]] = {
        1: (1.0 * pair(x, y, 12, brow - 4, 12, 6), 1.5 * lines * furrows * np.exp(-((x / 27) ** 4))),
        2: (0.8 * pair(x, y, 42, brow - 4, 13, 6), 1.3 * lines * furrows * (1 - np.exp(-((x / 27) ** 4)))),
        4: (2.5 * pair(x, y, 14, brow + 1, 9, 6) + 1.5 * bump(x, y, 0, brow, 4, 8), 2.6 * lines * between),
        6: (4.5 * pair(x, y, 40, 25, 15, 10), 1.6 * lines * crow + 1.3 * lines * under),
        7: (1.6 * pair(x, y, e, 8, 15, 3.4), 0.8 * lines * under),
        9: (1.6 * pair(x, y, 14, 30, 7, 10), 1.7 * lines * (bridge + 0.7 * flank) + 1.0 * lines * fold),
        10: (1.5 * pair(x, y, 24, n + 4, 7, 9), 2.0 * lines * fold),
        12: (4.0 * pair(x, y, 40, 34, 14, 13) + 2.0 * pair(x, y, w + 12, m - 4, 6, 12), 1.7 * lines * fold),
        14: (1.8 * pair(x, y, w + 11, m, 5, 9), 3.2 * dimple),
        15: (2.0 * pair(x, y, w + 6, m + 12, 8, 7), 1.4 * pair(x, y, w + 2, m + 7, 2.4, 7)),
        17: (4.5 * bump(x, y, 0, m + 26, 14, 10), 0.7 * pit + 2.2 * bump(x, y, 0, m + 14, 17, 2.6)),
        20: (zero, 1.2 * pair(x, y, w + 10, m + 4, 2.6, 12)),
        23: (1.5 * bump(x, y, 0, m, 22, 10), 0.9 * _ripples(x + wobble, 6.5) * bump(x, y, 0, m, 22, 13)),
        24: (
            2.2 * bump(x, y, 0, m - 9, 20, 4) + 2.6 * bump(x, y, 0, m + 11, 20, 4.5),
            1.5 * pair(x, y, w + 2, m, 2.6, 5),
        ),
    }
    result: dict[int, tuple[Relief, ...]] = {}
    for unit, (bulge, folds) in parts.items():
        total = (bulge * np.float32(who.gain) - folds).astype(np.float32)
        found = []
        for half in ((x < 0), (x >= 0)):
            mask = (np.abs(total) > 0.02) & half
            if not mask.any():
                continue
            r, c = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            window = slice(int(r[0]), int(r[-1]) + 1), slice(int(c[0]), int(c[-1]) + 1)
            found.append(Relief(window, total[window].copy(), folds[window].astype(np.float32)))
        result[unit] = tuple(found)
    return result


REGIONS: dict[int, tuple[str, float, float, float, float]] = {
    1: ("bump", 0, -36, 30, 30), 2: ("pair", 44, -36, 24, 30), 4: ("bump", 0, -22, 38, 22),
    5: ("pair", 31.5, -2, 20, 13), 6: ("pair", 44, 16, 28, 30), 7: ("pair", 31.5, 4, 20, 14),
    9: ("bump", 0, 16, 32, 46), 10: ("bump", 0, 54, 38, 22), 12: ("bump", 0, 54, 62, 34),
    14: ("pair", 30, 68, 18, 18), 15: ("bump", 0, 74, 46, 24), 17: ("bump", 0, 88, 34, 30),
    20: ("bump", 0, 70, 56, 28), 23: ("bump", 0, 69, 36, 20), 24: ("bump", 0, 70, 40, 24),
    25: ("bump", 0, 71, 36, 22), 26: ("bump", 0, 92, 72, 44), 45: ("pair", 31.5, 0, 20, 13),
}  # fmt: skip
"""Where each unit acts: one ellipse or a mirrored pair, centre and half axes in mm of an average face."""


def region(unit: int, x: Field, y: Field) -> NDArray[np.bool_]:
    """Returns the points that lie in a unit's region.

    Args:
        unit: Action unit.
        x: Millimetres on the head.
        y: Millimetres on the head.
    """
    kind, cx, cy, sx, sy = REGIONS[unit]
    inside = ((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2 < 1
    if kind == "pair":
        inside |= ((x + cx) / sx) ** 2 + ((y - cy) / sy) ** 2 < 1
    return inside
