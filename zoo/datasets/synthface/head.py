"""The still head of one person, seen from the front: height, colour, outline and gloss on a grid in millimetres.

The origin lies between the pupils, x to the right of the picture, y down, z towards the camera. Everything that
does not move with an expression is drawn here, once a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zoo.datasets.synthface.identity import Identity
from zoo.datasets.synthface.noise import Field, f32, resized, sample_periodic, smoothstep, value_noise

LEFT, TOP, RIGHT, BOTTOM = -100.0, -140.0, 100.0, 150.0
DEPTH = 85.0
"""From the plane of the head's outline to the face, mm."""


@dataclass(frozen=True)
class Canvas:
    """The grid that a head is drawn on.

    Attributes:
        scale: Pixels a millimetre.
        x: Millimetres, ``[rows, columns]``.
        y: Millimetres, ``[rows, columns]``.
    """

    scale: float
    x: Field
    y: Field

    @classmethod
    def of(cls, scale: float) -> Canvas:
        """Returns the grid with ``scale`` pixels a millimetre."""
        columns, rows = round((RIGHT - LEFT) * scale), round((BOTTOM - TOP) * scale)
        x = (np.arange(columns, dtype=np.float32) + 0.5) / np.float32(scale) + np.float32(LEFT)
        y = (np.arange(rows, dtype=np.float32) + 0.5) / np.float32(scale) + np.float32(TOP)
        xx, yy = np.meshgrid(x, y)
        return cls(scale, xx.astype(np.float32), yy.astype(np.float32))

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Returns the rows and columns that a rectangle in millimetres covers."""
        s = self.scale
        return (
            slice(max(0, int((top - TOP) * s)), max(0, int((bottom - TOP) * s) + 1)),
            slice(max(0, int((left - LEFT) * s)), max(0, int((right - LEFT) * s) + 1)),
        )


@dataclass(frozen=True)
class Head:
    """What :func:`build_head` draws. All ``[rows, columns]`` float32 but ``albedo`` ``[3, rows, columns]``.

    Attributes:
        canvas: The grid.
        height: z of the surface, mm.
        albedo: Linear RGB of skin, hair, brows and beard.
        alpha: 1 inside the head's outline.
        occlusion: Share of the light from everywhere that reaches the surface.
        shadow: Share of the main light that reaches the surface.
        gloss: Strength of the highlight.
        parallax: Height without hair and ears, smooth and bounded, for turning the head, mm.
    """

    canvas: Canvas
    height: Field
    albedo: Field
    alpha: Field
    occlusion: Field
    shadow: Field
    gloss: Field
    parallax: Field


def bump(x: Field, y: Field, cx: float, cy: float, sx: float, sy: float) -> Field:
    """Returns a Gaussian of height 1 at (cx, cy)."""
    return np.exp(-(((x - np.float32(cx)) / np.float32(sx)) ** 2) - ((y - np.float32(cy)) / np.float32(sy)) ** 2)


def pair(x: Field, y: Field, cx: float, cy: float, sx: float, sy: float) -> Field:
    """Returns two mirrored Gaussians at (±cx, cy)."""
    return bump(x, y, cx, cy, sx, sy) + bump(x, y, -cx, cy, sx, sy)


def outline(who: Identity, x: Field, y: Field, grow: float = 0.0) -> Field:
    """Returns the head's radial coordinate: 0 at the centre of the face, 1 on its outline.

    Args:
        who: The person.
        x: Millimetres.
        y: Millimetres.
        grow: Moves the outline outward, mm.
    """
    middle = -5.0
    up = ((middle - y) / np.float32(113 + grow)).clip(0)
    down = ((y - middle) / np.float32(who.chin - middle + grow)).clip(0)
    side = np.abs(x) / np.float32(who.head_width + grow)
    n = np.where(y < middle, np.float32(2.3), np.float32(who.jaw))
    return f32((side**n + np.maximum(up, down) ** n) ** (1 / n))


def _face_height(who: Identity, x: Field, y: Field) -> Field:
    """Height of the bare face, mm."""
    rho = outline(who, x, y)
    # The 0.94 keeps the slope finite at the outline, where a sphere's would not be.
    z = np.float32(DEPTH) * np.sqrt(np.clip(1 - 0.94 * rho**2.2, 0.02, 1)).astype(np.float32)
    e = who.eye_distance
    z += np.float32(who.brow_ridge) * pair(x, y, 25, -who.brow_y + 2, 17, 7)
    z -= 3.5 * bump(x, y, 0, -3, 9, 8)
    z += -8.5 * pair(x, y, e, 1, 17, 10) + 5.0 * pair(x, y, e, 0, 12.5, 9)
    z += np.float32(who.cheekbone) * pair(x, y, 46, 26, 17, 13)
    z += np.float32(who.fullness) * pair(x, y, 46, 60, 15, 20)
    z -= 2.5 * pair(x, y, 68, -15, 10, 22)
    # Nose: a ridge that rises from the eyes, a round tip, wings and nostrils.
    length, tall = who.nose_length, who.nose_height
    rise = np.clip((y + 8) / np.float32(length + 8), 0, 1)
    ridge = rise**1.15 * (1 - smoothstep(length - 6, length + 8, y))
    z += np.float32(0.52 * tall) * ridge * np.exp(-((x / (6.2 + 3.2 * rise)) ** 2))
    z += np.float32(0.22 * tall) * ridge * np.exp(-((x / (11 + 7 * rise)) ** 2))
    z += np.float32(0.36 * tall) * bump(x, y, 0, length - 1.5, 7.8, 8.0)
    z += 5.2 * pair(x, y, who.nose_width - 5.5, length + 0.5, 4.6, 5.0)
    z -= 2.6 * pair(x, y, 6.0, length + 6.0, 3.4, 2.0)
    z -= 1.2 * pair(x, y, who.nose_width + 2.0, length, 2.0, 6.0)
    # Between nose and chin.
    m = who.mouth_y
    z += 5.5 * bump(x, y, 0, m, 27, 17)
    z -= 1.1 * bump(x, y, 0, m - 12.5, 2.6, 5) - 0.7 * pair(x, y, 5, m - 12.5, 2.4, 5)
    z -= 3.2 * bump(x, y, 0, m + 14.5, 15, 4.5)
    z += 7.0 * bump(x, y, 0, m + 28, 15, 10)
    z -= 1.6 * pair(x, y, who.mouth_width + 4, m + 1, 4, 5)
    fold = nasolabial(who, x, y)
    return f32(z - np.float32(0.9 * who.lines) * fold)


def nasolabial(who: Identity, x: Field, y: Field, width: float = 2.2) -> Field:
    """Returns 1 along the two folds from the nose wings past the mouth corners, falling off over ``width`` mm."""
    top, bottom = who.nose_length - 3, who.mouth_y + 6
    t = np.clip((y - top) / np.float32(bottom - top), -0.2, 1.2)
    tc = np.clip(t, 0, 1)
    at = np.float32(who.nose_width + 3.0) + np.float32(who.mouth_width + 7.5 - who.nose_width) * tc**1.2
    fade = smoothstep(-0.2, 0.15, t) * (1 - smoothstep(0.8, 1.15, t))
    return f32(np.exp(-(((np.abs(x) - at) / np.float32(width)) ** 2)) * fade)


def brow_line(who: Identity, t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns x and y of the middle of the (right-hand) brow at 0 (inner end) .. 1 (tail)."""
    x = 12 + 42 * t
    y = -who.brow_y + 1.5 - who.brow_arch * np.sin(np.pi * np.clip(t * 0.92 + 0.02, 0, 1)) ** 1.3 + 4.0 * t**3
    return x, y


def _brows(who: Identity, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Coverage of brow hair, 0..1."""
    fine = 3
    rows, columns = canvas.x.shape
    image = Image.new("L", (columns * fine, rows * fine))
    pen = ImageDraw.Draw(image)
    k = canvas.scale * fine
    count = int(260 * who.brow_density)
    for side in (-1, 1):
        t = rng.random(count)
        x, y = brow_line(who, t)
        thickness = who.brow_thickness * (1 - 0.65 * t**1.5) * np.clip(0.45 + 4 * t, 0, 1)
        y = y + thickness * (rng.random(count) - 0.5)
        angle = np.radians(62) * (1 - t) ** 2 + np.radians(8) + np.radians(10) * rng.standard_normal(count)
        length = rng.uniform(5, 8, count)
        dx, dy = np.cos(angle) * length, -np.sin(angle) * length + 2.0 * t
        for i in range(count):
            ends = (side * x[i], y[i]), (side * (x[i] + dx[i]), y[i] + dy[i])
            points = [((px - LEFT) * k, (py - TOP) * k) for px, py in ends]
            pen.line(points, fill=int(rng.integers(150, 256)), width=max(1, round(0.55 * k)))
    small = image.resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def _skin(who: Identity, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Colour of the bare skin, ``[3, rows, columns]``."""
    x, y = canvas.x, canvas.y
    rows, columns = x.shape
    s = canvas.scale
    red = 0.10 * pair(x, y, 42, 32, 18, 15) + 0.12 * bump(x, y, 0, who.nose_length, 14, 9)
    red += 0.06 * bump(x, y, 0, who.mouth_y + 26, 14, 9) + 0.05 * pair(x, y, who.eye_distance, 3, 18, 10)
    red += 0.035 * value_noise(rng, columns, rows, 22 * s, 3)
    shade = 1 + 0.03 * value_noise(rng, columns, rows, 30 * s, 4) + 0.022 * value_noise(rng, columns, rows, 1.6 * s)
    shade -= 0.16 * pair(x, y, who.eye_distance, 2, 15, 9) + 0.10 * pair(x, y, who.eye_distance - 8, 12, 9, 4.5)
    if who.freckles > 0:
        spots = np.clip(value_noise(rng, columns, rows, 2.6 * s) - 1.5, 0, 1.0)
        shade -= who.freckles * 0.5 * spots * np.clip(pair(x, y, 28, 24, 26, 16) + bump(x, y, 0, 22, 20, 15), 0, 1)
    shade -= 0.55 * np.clip(1.3 * pair(x, y, 6.2, who.nose_length + 5.6, 3.4, 1.7), 0, 1)
    moles = rng.integers(0, 5)
    for _ in range(moles):
        shade -= 0.45 * bump(x, y, rng.uniform(-55, 55), rng.uniform(15, 95), *rng.uniform(0.8, 1.5, 2))
    color = np.asarray(who.skin, np.float32)[:, None, None] * shade
    color[0] *= 1 + 0.25 * red
    color[1] *= 1 - 0.75 * red
    color[2] *= 1 - 0.65 * red
    return np.asarray(color, np.float32)


def _beard_area(who: Identity, canvas: Canvas) -> Field:
    """Where a beard grows, 0..1."""
    x, y = canvas.x, canvas.y
    m = who.mouth_y
    cheek = smoothstep(0, 14, y - (m - 24) - 26 * np.exp(-((np.abs(x) / 30) ** 2)) + 10)
    side = smoothstep(52, 64, np.abs(x)) * smoothstep(-5, 20, y)
    jaw = np.maximum(smoothstep(m - 8, m + 14, y - 0.25 * (np.abs(x) - 30).clip(0)), side)
    moustache = bump(x, y, 0, m - 11, 24, 6.0)
    jaw *= 1 - 0.95 * np.clip(1.5 * bump(x, y, 0, m + 1, who.mouth_width + 2, 11), 0, 1)
    return f32(np.clip(np.maximum(jaw * np.clip(cheek + 0.3, 0, 1), 1.2 * moustache), 0, 1))


def _hair(who: Identity, canvas: Canvas, rng: np.random.Generator) -> tuple[Field, Field, Field]:
    """Coverage of the hair over the face, its outline beyond the head, and its strands (mean 0)."""
    x, y = canvas.x, canvas.y
    rows, columns = x.shape
    s = canvas.scale
    ragged = 0.9 * value_noise(rng, columns, rows, 6 * s, 3)
    wide = np.abs(x)
    noise = value_noise(rng, 512, 512, 3.0, 1)
    part = float(rng.uniform(-28, 28))
    if who.hair == "long":  # strands run round the face, from the parting down
        across = 74 * outline(who, x - np.float32(0.3 * part) * np.clip(-y / 110, 0, 1), np.where(y > 0, 0.3 * y, y))
        along = (60 * np.arctan2(x, -(y - 40).clip(-200)) + 0.4 * y).astype(np.float32)
    else:  # strands run away from a point on the forehead
        across = (95 * np.arctan2(x - np.float32(part), -(y - 25))).astype(np.float32)
        along = np.hypot(x - np.float32(part), y - 25)
    across = across + 0.5 * ragged
    strands = 0.6 * sample_periodic(noise, across * 1.1, along * 0.07)
    strands += 0.6 * sample_periodic(noise, across * 2.6 + 90, along * 0.13)
    strands += 0.5 * value_noise(rng, columns, rows, 20 * s, 2)
    dip = {"short": 5.0, "swept": 11.0, "long": 0.0, "tied": 8.0, "bald": 0.0}[who.hair]
    # Hairline: an arch over the forehead that falls to the temples, and sideburns.
    line = -who.hairline - dip * np.exp(-(((wide - 32) / 14) ** 2)) + 62 * smoothstep(44, 70, wide)
    if who.hair == "swept":
        line = line + 5 * np.sin((x + part) / 26)
    over = smoothstep(-3.0, 3.0, line + ragged - y)
    burn = smoothstep(63, 69, wide + 0.8 * ragged) * (1 - smoothstep(2, 20, y))
    volume = who.hair_volume
    grow = outline(who, x, y, volume)
    inside = smoothstep(0.012, -0.012, grow - 1 - 0.008 * ragged)
    if who.hair == "bald":
        stub = smoothstep(56, 68, wide) * (1 - smoothstep(5, 25, y)) * smoothstep(-75, -35, y)
        return (0.5 * stub).astype(np.float32), np.zeros_like(x), strands
    if who.hair == "long":
        fall = float(rng.uniform(70, 145))
        reach = 60 - 0.10 * (y - 10).clip(-70, 90)
        curtain = smoothstep(-2.5, 2.5, wide - reach + 0.8 * ragged) * (
            1 - smoothstep(fall, fall + 16, y + 1.5 * ragged)
        )
        border = who.head_width + 0.8 * volume + 12 * smoothstep(0, 100, y) + 3 * np.sin(y / 34 + part) + 0.8 * ragged
        sides = smoothstep(1.5, -1.5, wide - border) * smoothstep(-30, 0, y)
        inside = np.maximum(inside * smoothstep(30, 0, y), sides * curtain)
        return np.maximum(over, curtain).astype(np.float32), np.clip(inside, 0, 1).astype(np.float32), strands
    # Above the ears the hair stands out less and ends.
    inside = inside * smoothstep(1.0, -1.0, wide - who.head_width - volume * (0.25 + 0.75 * smoothstep(-20, -70, y)))
    inside = inside * (1 - smoothstep(-14, 12, y))
    return np.clip(np.maximum(over, burn), 0, 1).astype(np.float32), inside.astype(np.float32), strands


def _cast_shadow(height: Field, scale: float, light: tuple[float, float, float]) -> Field:
    """Share of the main light that reaches each point of a height field: 1 lit, 0 in shadow, soft between."""
    small = 2
    rows, columns = height.shape
    z = resized(height, columns // small, rows // small)
    per_mm = scale / small
    flat = float(np.hypot(light[0], light[1])) + 1e-6
    dx, dy, climb = light[0] / flat, light[1] / flat, light[2] / flat
    depth = np.full_like(z, -50.0)
    for mm in np.linspace(2, 34, 14):
        i, j = round(dy * mm * per_mm), round(dx * mm * per_mm)
        depth = np.maximum(depth, np.roll(z, (-i, -j), (0, 1)) - z - np.float32(mm * climb))
    lit = 1 - smoothstep(-1.0, 3.5, depth)
    return np.clip(resized(lit, columns, rows), 0, 1)


def _hollows(height: Field, scale: float, radius: float, strength: float) -> Field:
    """Share of light from everywhere: less where the surface lies below its surroundings within ``radius`` mm."""
    rows, columns = height.shape
    step = max(1, round(radius * scale))
    around = resized(resized(height, columns // step, rows // step), columns, rows)
    return np.clip(1 - np.float32(strength) * (around - height), 0.45, 1.15).astype(np.float32)


def build_head(who: Identity, canvas: Canvas) -> Head:
    """Draws the still head of a person."""
    rng = np.random.default_rng(who.seed)
    x, y = canvas.x, canvas.y
    face = _face_height(who, x, y)
    rho = outline(who, x, y)
    edge = 1.2 / (canvas.scale * 70)
    inside = smoothstep(1 + edge, 1 - edge, rho)
    color = _skin(who, canvas, rng)

    area = _beard_area(who, canvas)
    if who.stubble > 0 or who.beard > 0:
        rows, columns = x.shape
        grain = np.clip(0.5 + 0.35 * value_noise(rng, columns, rows, 1.7 * canvas.scale, 2), 0, 1)
        cover = area * np.clip(0.30 * who.stubble + who.beard * (0.35 + 0.65 * grain), 0, 0.93)
        tint = np.asarray(who.hair_color, np.float32) * np.float32(1.15)
        color += (tint[:, None, None] - color) * cover
    brows = np.clip(1.15 * _brows(who, canvas, rng), 0, 0.92)
    color += ((0.75 * np.asarray(who.hair_color, np.float32))[:, None, None] - color) * brows

    ear = np.clip(np.maximum(_ear(who, x, y, 1), _ear(who, x, y, -1)), 0, 1)
    outside = ear * (1 - inside)
    ear_color = np.asarray(who.skin, np.float32) * np.asarray([0.82, 0.62, 0.58], np.float32)
    rim = 0.72 + 0.35 * smoothstep(0.05, 0.5, 1 - ear)
    color += outside * (ear_color[:, None, None] * rim - color)

    over, beyond, strands = _hair(who, canvas, rng)
    # Beyond the face all is hair, also where it is half transparent: no skin shines through its edge.
    hair = np.maximum(over * np.maximum(inside, beyond), smoothstep(0.0, 0.05, beyond) * (1 - inside))
    tone = np.clip(1 + 0.32 * strands, 0.3, 2.2)
    band = np.exp(-(((outline(who, x, y, who.hair_volume) - 0.82) / 0.11) ** 2)) * smoothstep(10, -40, y)
    sheen = np.float32(0.35 * np.mean(who.hair_color) + 0.012) * band * np.clip(0.7 + 0.5 * strands, 0, 2)
    color += hair * (np.asarray(who.hair_color, np.float32)[:, None, None] * tone + sheen - color)
    shadow_under = np.clip(_shifted(_softened(hair, canvas.scale, 4), canvas.scale, 4.0) - hair, 0, 1) * inside
    color *= 1 - 0.30 * shadow_under

    bulk = np.float32(DEPTH) * np.sqrt(np.clip(1 - 0.9 * outline(who, x, y, who.hair_volume + 4) ** 2, 0.03, 1))
    soft_hair = _softened(hair, canvas.scale, 7)
    height = face + soft_hair * smoothstep(-20, -50, y) * (bulk + 3 - face).clip(0) * 0.9 + 0.10 * hair * strands
    height = height + 5 * outside * (1 - hair) * (ear - 0.6)
    gloss = (1 - hair) * (1 - 0.85 * brows) * (1 - 0.6 * area * who.beard)
    gloss *= 0.6 + 0.7 * bump(x, y, 0, -42, 34, 20) + 0.6 * bump(x, y, 0, 30, 12, 18) + 0.4 * pair(x, y, 38, 24, 16, 12)
    alpha = np.maximum(np.maximum(inside, beyond), ear)
    return Head(
        canvas=canvas,
        height=height.astype(np.float32),
        albedo=np.clip(color, 0.004, 0.9).astype(np.float32),
        alpha=np.clip(alpha, 0, 1).astype(np.float32),
        occlusion=_hollows(face, canvas.scale, 16, 0.045) * _hollows(face, canvas.scale, 5, 0.06),
        shadow=_cast_shadow(face, canvas.scale, who.light) * (1 - 0.35 * shadow_under),
        gloss=gloss.astype(np.float32),
        parallax=face,
    )


def _ear(who: Identity, x: Field, y: Field, side: int) -> Field:
    """Coverage of one ear with a soft inside: 1 in the hollow, falling to the rim."""
    cx, cy = side * (who.head_width + 1.0), 8.0
    lean = (y - cy) * np.float32(0.12 * side)
    r = ((x - cx + lean) / 9.5) ** 2 + ((y - cy) / (25 - 0.15 * (y - cy).clip(-20, 20))) ** 2
    return smoothstep(1.08, 0.86, r)


def _shifted(field: Field, scale: float, mm: float) -> Field:
    """The field moved down by ``mm``."""
    return np.roll(field, max(1, round(mm * scale)), axis=0)


def _softened(field: Field, scale: float, mm: float) -> Field:
    """The field blurred over about ``mm``."""
    rows, columns = field.shape
    step = max(1, round(mm * scale))
    return resized(resized(field, columns // step, rows // step), columns, rows)
