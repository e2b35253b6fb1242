"""Draws a person's face with given action units, pose and light.

One height field and one colour map a person; a frame adds the relief of its action units, shades, draws eyes and
mouth into small windows, and samples the result once through an inverse warp that holds pose, parallax and the
motion of the skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zoo.datasets.synthface.head import BOTTOM, LEFT, RIGHT, TOP, Canvas, build_head, outline
from zoo.datasets.synthface.identity import Identity
from zoo.datasets.synthface.noise import Field, blurred, resized, smoothstep, value_noise
from zoo.datasets.synthface.units import COLUMN, UNITS, motion, region, relief

GRID = 4.0
"""Step of the motion fields, mm."""


@dataclass(frozen=True)
class Pose:
    """Where the head is in one frame.

    Attributes:
        x: Pixels from the middle of the picture to the point between the pupils.
        y: Pixels, likewise.
        scale: Pixels a millimetre.
        roll: Degrees, clockwise.
        yaw: Degrees, positive turns the nose to the right of the picture.
        pitch: Degrees, positive lifts the chin.
        gaze: Shift of the irises, mm (right, down).
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


class Face:
    """A person in a room, ready to be rendered frame by frame. One thread at a time.

    Args:
        who: The person.
        size: Width and height of the pictures, pixels.
        rest: The usual pose: the shoulders are drawn there, and the head a little finer than its scale.
    """

    def __init__(self, who: Identity, size: tuple[int, int], rest: Pose) -> None:
        self.who, self.size = who, size
        self.rest = rest
        self.canvas = Canvas.of(max(0.8, 1.15 * rest.scale))
        self.head = build_head(who, self.canvas)
        self._relief = relief(who, self.canvas)
        gx = np.arange(LEFT - 8, RIGHT + 9, GRID, dtype=np.float32)
        gy = np.arange(TOP - 8, BOTTOM + 9, GRID, dtype=np.float32)
        self._grid_shape = len(gy), len(gx)
        mx, my = (a.astype(np.float32) for a in np.meshgrid(gx, gy))
        self._motion = motion(who, mx, my).reshape(len(UNITS), -1)
        columns = np.clip(((mx - LEFT) * self.canvas.scale).astype(int), 0, self.canvas.x.shape[1] - 1)
        rows = np.clip(((my - TOP) * self.canvas.scale).astype(int), 0, self.canvas.x.shape[0] - 1)
        # The head turns about z = 62 mm, near the eyes; bounded, so that no outline folds over.
        self._depth = np.clip(self.head.parallax[rows, columns] - 62, -40, 45).ravel()
        self._warm = np.asarray([1 + 0.16 * who.warmth, 1.0, 1 - 0.22 * who.warmth], np.float32)
        self._exposure = self._expose()
        rng = np.random.default_rng([who.seed, 2])
        self.background = self._room(rng, rest)
        self._noise = np.float32(2.2) * rng.standard_normal((3, size[1] * 2, size[0] + 64), dtype=np.float32)
        self._eyes = [_Eye(who, self.canvas, side) for side in (-1, 1)]
        self._mouth = _Mouth(who, self.canvas)
        self._glasses = self._draw_glasses() if who.glasses else None
        self._layer = np.empty((4, *self.canvas.x.shape), np.float32)  # drawn anew for each frame

    # Shading ---------------------------------------------------------------------------------------------------

    def _expose(self) -> float:
        """Exposure that brings the middle of the face to a photograph's usual brightness, half-way for dark skin."""
        face = outline(self.who, self.canvas.x, self.canvas.y) < 0.7
        lit, ambient, _ = self._light(self.head.height, Pose())
        level = float((self.head.albedo[1] * (lit * self.head.shadow + ambient))[face].mean())
        return float((0.34 / level) ** 0.6)

    def _light(self, height: Field, pose: Pose) -> tuple[Field, Field, Field]:
        """Main light, light from everywhere, and highlight at every point of a surface."""
        k = np.float32(self.canvas.scale / 2)
        nx, ny = np.zeros_like(height), np.zeros_like(height)
        np.subtract(height[:, :-2], height[:, 2:], out=nx[:, 1:-1])
        np.subtract(height[:-2], height[2:], out=ny[1:-1])
        nx *= k
        ny *= k
        inverse = nx * nx
        inverse += ny * ny
        inverse += 1
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        lx, ly, lz = self._turned_light(pose)
        lit = nx * lx
        lit += ny * ly
        lit += lz
        lit *= inverse
        half = np.asarray([lx, ly, lz + 1], np.float32)
        half /= np.linalg.norm(half)
        shine = nx * half[0]
        shine += ny * half[1]
        shine += half[2]
        shine *= inverse
        np.maximum(shine, 0, out=shine)
        for _ in range(4):
            shine *= shine
        ny *= inverse
        ambient = np.float32(self.who.ambient) * (np.float32(0.78) - np.float32(0.22) * ny)
        np.maximum(lit, -0.3, out=lit)
        return lit * np.float32(self.who.key), ambient, shine

    def _turned_light(self, pose: Pose) -> NDArray[np.float32]:
        """The light's direction as the turned head sees it."""
        lx, ly, lz = self.who.light
        a, b = np.radians(pose.yaw), np.radians(pose.pitch)
        lx, lz = lx * np.cos(a) - lz * np.sin(a), lx * np.sin(a) + lz * np.cos(a)
        ly, lz = ly * np.cos(b) + lz * np.sin(b), -ly * np.sin(b) + lz * np.cos(b)
        return np.asarray([lx, ly, lz], np.float32)

    # A frame ---------------------------------------------------------------------------------------------------

    def _draw_head(self, au: NDArray[np.float32], pose: Pose) -> NDArray[np.float32]:
        """The head's picture seen from the front: premultiplied linear RGB and alpha, ``[4, rows, columns]``."""
        height = self.head.height.copy()
        folds = np.zeros_like(height)
        for unit, parts in self._relief.items():
            strength = np.float32(au[COLUMN[unit]] / 5)
            if strength > 0.004:
                for part in parts:
                    height[part.window] += strength * part.height
                    folds[part.window] += strength * part.folds
        eyes = [eye.shape(au, pose) for eye in self._eyes]
        mouth = self._mouth.shape(au)
        for eye, state in zip(self._eyes, eyes, strict=True):
            eye.emboss(state, height, folds)
        self._mouth.emboss(mouth, height)
        lit, ambient, shine = self._light(height, pose)
        occlusion = np.maximum(folds, 0, out=folds)
        occlusion *= -0.30
        occlusion += 1
        np.maximum(occlusion, 0.35, out=occlusion)
        occlusion *= self.head.occlusion
        ambient *= occlusion
        shine *= self.head.gloss
        shine *= np.float32(0.085)
        self._mouth.gloss(mouth, shine)
        layer = self._layer
        albedo = self.head.albedo
        lips = self._mouth.tint(mouth, albedo)
        shadow = self.head.shadow * (np.float32(0.4) + np.float32(0.6) * occlusion)
        for channel, wrap in enumerate((0.30, 0.17, 0.12)):
            light = lit + np.float32(wrap)
            light *= np.float32(1 / (1 + wrap))
            np.maximum(light, 0, out=light)
            light *= shadow
            light *= self._warm[channel]
            light += ambient
            window, tinted = lips
            plane = layer[channel]
            np.multiply(light, albedo[channel], out=plane)
            plane[window] = light[window] * tinted[channel]
            plane += shine
        layer[:3] *= np.float32(self._exposure)
        brightness = np.float32(min(self._exposure, 1.35) * (self.who.key + self.who.ambient))
        for eye, state in zip(self._eyes, eyes, strict=True):
            eye.paint(state, layer, brightness, self._turned_light(pose))
        self._mouth.paint(mouth, layer, brightness)
        layer[3] = 1
        layer *= self.head.alpha
        return layer

    def _head_points(
        self, au: NDArray[np.float32] | None, pose: Pose, points: NDArray[np.complex64]
    ) -> NDArray[np.complex64]:
        """Returns the points of the still head (mm, x + iy) that are seen at picture points (pixels, x + iy).

        Args:
            au: Intensities, or None for a still face.
            pose: The pose.
            points: Picture points, ``[n]`` complex64.
        """
        flat = (points - self._centre(pose)) * np.complex64(np.exp(-1j * np.radians(pose.roll)) / pose.scale)
        yaw, pitch = np.radians(pose.yaw), np.radians(pose.pitch)
        target = (flat.real / np.cos(yaw) + 1j * (flat.imag / np.cos(pitch))).astype(np.complex64)
        field = self._shift(au, pose)
        found: NDArray[np.complex64] = target
        for _ in range(5):
            found = target - self._read(field, found)
        return found

    def project(
        self, au: NDArray[np.float32] | None, pose: Pose, points: NDArray[np.complex64]
    ) -> NDArray[np.complex64]:
        """Returns where points of the still head (mm, x + iy) are seen in the picture (pixels, x + iy)."""
        moved = points + self._read(self._shift(au, pose), points)
        flat = moved.real * np.cos(np.radians(pose.yaw)) + 1j * (moved.imag * np.cos(np.radians(pose.pitch)))
        turned = flat * (np.exp(1j * np.radians(pose.roll)) * pose.scale)
        return np.asarray(turned + self._centre(pose), np.complex64)

    def _centre(self, pose: Pose) -> complex:
        return complex(self.size[0] / 2 + pose.x, self.size[1] / 2 + pose.y)

    def _shift(self, au: NDArray[np.float32] | None, pose: Pose) -> NDArray[np.complex64]:
        """Motion of the skin and parallax on the motion grid, mm."""
        tilt = np.complex64(np.tan(np.radians(pose.yaw)) - 1j * np.tan(np.radians(pose.pitch)))
        field: NDArray[np.complex64] = (self._depth * tilt).astype(np.complex64)
        if au is not None:
            active = np.flatnonzero(au > 0.004)
            if len(active):
                field += (self._motion[active] * (au[active, None] / np.float32(5))).sum(0)
        return field

    def _read(self, field: NDArray[np.complex64], at: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Returns a field on the motion grid read bilinearly at points of the head, mm."""
        rows, columns = self._grid_shape
        u = np.clip((at.real - np.float32(LEFT - 8)) / np.float32(GRID), 0, columns - 1.01)
        v = np.clip((at.imag - np.float32(TOP - 8)) / np.float32(GRID), 0, rows - 1.01)
        i, j = u.astype(np.int32), v.astype(np.int32)
        fu, fv = u - i, v - j
        k = j * columns + i
        top = field[k] * (1 - fu) + field[k + 1] * fu
        bottom = field[k + columns] * (1 - fu) + field[k + columns + 1] * fu
        return np.asarray(top * (1 - fv) + bottom * fv, np.complex64)

    def _lookup(self, au: NDArray[np.float32] | None, pose: Pose, step: int = 4) -> tuple[Field, Field]:
        """Returns the head point of every pixel, mm, ``[height, width]`` each."""
        width, height = self.size
        columns, rows = width // step, height // step
        x = (np.arange(columns, dtype=np.float32) + 0.5) * np.float32(width / columns)
        y = (np.arange(rows, dtype=np.float32) + 0.5) * np.float32(height / rows)
        points = (x[None] + 1j * y[:, None]).astype(np.complex64).ravel()
        found = self._head_points(au, pose, points).reshape(rows, columns)
        return _enlarged(found.real, width, height), _enlarged(found.imag, width, height)

    def render(self, au: NDArray[np.float32], pose: Pose, noise: int | None = 0) -> NDArray[np.uint8]:
        """Returns one picture, uint8 RGB ``[height, width, 3]``.

        Args:
            au: Intensities 0..5 in the order of :data:`~zoo.datasets.synthface.units.UNITS`.
            pose: The pose.
            noise: Number of the frame, which decides its sensor noise; None for a picture without noise.
        """
        layer = self._draw_head(au, pose)
        x, y = self._lookup(au, pose)
        picture = self.background.copy()
        _composite(picture, layer, self.canvas.scale, x, y)
        if self._glasses is not None:
            x, y = self._lookup(None, pose)
            _composite(picture, self._glasses, self.canvas.scale, x, y)
        _develop(picture)
        if noise is not None:
            start = np.random.default_rng([self.who.seed, noise])
            row, column = int(start.integers(self.size[1])), int(start.integers(64))
            picture += self._noise[:, row : row + self.size[1], column : column + self.size[0]]
        picture += 0.5
        np.clip(picture, 0, 255, out=picture)
        return np.ascontiguousarray(picture.astype(np.uint8).transpose(1, 2, 0))

    def where(self, unit: int, pose: Pose) -> NDArray[np.bool_]:
        """Returns the pixels of a unit's region in a pose, ``[height, width]``."""
        x, y = self._lookup(None, pose)
        return region(unit, x, y)

    def empty_room(self) -> NDArray[np.uint8]:
        """Returns the room behind the person, shoulders and all, uint8 RGB ``[height, width, 3]``."""
        picture = _develop(self.background.copy())
        return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0))

    # What stands still -----------------------------------------------------------------------------------------

    def _room(self, rng: np.random.Generator, rest: Pose) -> Field:
        """The room and the shoulders, linear RGB ``[3, height, width]``."""
        width, height = self.size
        tone = (rng.uniform(0.5, 0.75) + rng.uniform(-0.1, 0.1, 3)) * rng.uniform(0.5, 1.2)
        base = Image.new("RGB", self.size, tuple(int(255 * t) for t in tone))
        pen = ImageDraw.Draw(base)
        kind = self.who.room
        if kind in (1, 3):
            for _ in range(26):
                a, b = rng.uniform(-0.1, 1.0, 2)
                c, d = rng.uniform(0.05, 0.35, 2)
                color = tuple(int(v) for v in np.clip(rng.uniform(30, 220) + rng.uniform(-28, 28, 3), 0, 255))
                pen.rectangle((a * width, b * height, (a + c) * width, (b + d) * height), fill=color)
        if kind == 2:
            for i in range(int(width / 9) + 1):
                level = int(rng.uniform(0.55, 1.0) * 255)
                pen.rectangle((i * 9, 0, i * 9 + 8, height), fill=tuple(int(t * level) for t in tone))
        radius = (2.0 if kind == 3 else 7.0) * width / 320
        picture = blurred(np.asarray(base), radius).astype(np.float32) / 255
        picture = picture**2 * np.float32(0.55 + 0.35 * self.who.ambient)
        texture = value_noise(rng, width, height, width / 5, 5)[..., None]
        across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        picture *= np.clip(1 + 0.10 * texture - 0.22 * across * np.float32(self.who.light[0]), 0.2, 2)

        x = ((np.arange(width) + 0.5 - width / 2 - rest.x) / rest.scale).astype(np.float32)[None]
        y = ((np.arange(height) + 0.5 - height / 2 - rest.y) / rest.scale).astype(np.float32)[:, None]
        x, y = np.broadcast_arrays(x, y)
        slope = (y - 95).clip(0)
        neck_half = 0.68 * self.who.head_width + 0.0035 * slope**2 + 2.0 * np.exp(-(((y - 80) / 30) ** 2))
        neck = smoothstep(1.2, -1.2, np.abs(x) - neck_half) * smoothstep(30, 34, y)
        fall = np.clip(1 - (np.abs(x) / (neck_half + 3)) ** 2.4, 0.0, 1) ** 0.5
        drop = np.exp(-(((y - self.who.chin - 2 + 0.006 * x * x) / 20) ** 2))
        cords = 1 + 0.10 * np.exp(-(((np.abs(x) - 22 + 0.25 * (y - 110)) / 5) ** 2)) * smoothstep(100, 130, y)
        side = 0.85 + 0.5 * np.float32(self.who.light[0]) * x / 60
        level = (
            np.float32(self._exposure)
            * cords
            * (
                np.float32(self.who.key * 0.62) * fall * np.clip(side, 0.1, 2) * (1 - 0.9 * drop)
                + np.float32(self.who.ambient * 0.55) * (0.45 + 0.55 * fall) * (1 - 0.45 * drop)
            )
        )
        skin = np.asarray(self.who.skin, np.float32) * self._warm * np.asarray([0.92, 0.82, 0.80], np.float32)
        picture += neck[..., None] * (skin * level[..., None] - picture)
        shirt = np.asarray(rng.uniform(0.02, 0.5, 3) ** 1.2, np.float32)
        collar = 118 + 26 * np.exp(-((x / 34) ** 2)) * float(rng.uniform(0.3, 1.3))
        shoulder = collar + 0.0042 * (np.abs(x) - 38).clip(0) ** 2 + 0.16 * (np.abs(x) - 30).clip(0)
        cloth = smoothstep(-1.2, 1.2, y - shoulder)
        weave = 1 + 0.10 * value_noise(rng, width, height, 18, 4) + 0.25 * x / 150 * np.float32(self.who.light[0])
        weave *= 0.75 + 0.25 * np.exp(-(((y - shoulder) / 25) ** 2))
        picture += cloth[..., None] * (shirt * np.clip(weave, 0.1, 2)[..., None] * np.float32(0.9) - picture)
        return np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)

    def _draw_glasses(self) -> NDArray[np.float32]:
        """Frames of glasses, premultiplied linear RGB and alpha on the head's grid."""
        canvas, who = self.canvas, self.who
        rows, columns = canvas.x.shape
        fine = 3
        image = Image.new("L", (columns * fine, rows * fine))
        pen = ImageDraw.Draw(image)
        k = canvas.scale * fine

        def at(x: float, y: float) -> tuple[float, float]:
            return (x - LEFT) * k, (y - TOP) * k

        thick = max(2, round(1.7 * k))
        for side in (-1, 1):
            cx = side * (who.eye_distance + 1.5)
            box = (*at(cx - 25, -15), *at(cx + 25, 22)) if who.glasses == 2 else (*at(cx - 23, -18), *at(cx + 23, 26))
            if who.glasses == 2:
                pen.rounded_rectangle(box, radius=8 * k, outline=255, width=thick)
            else:
                pen.ellipse(box, outline=255, width=thick)
            outer = side * (who.eye_distance + 26)
            pen.line((*at(outer, -6), *at(side * (who.head_width + 1), -4)), fill=255, width=thick)
        pen.arc((*at(-9.5, -5), *at(9.5, 9)), 195, 345, fill=255, width=thick)
        alpha = np.asarray(image.resize((columns, rows), Image.Resampling.BOX), dtype=np.float32) / 255
        rng = np.random.default_rng([who.seed, 3])
        color = np.asarray(rng.choice([(0.02, 0.02, 0.02), (0.10, 0.05, 0.03), (0.2, 0.2, 0.22)]), np.float32)
        return np.stack([*(alpha * c * (1.0 + 0.5 * who.key) for c in color), alpha * 0.95]).astype(np.float32)


def _enlarged(field: Field, width: int, height: int) -> Field:
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _develop(picture: Field) -> Field:
    """Turns linear light into grey values 0..255 in place: a soft shoulder, then gamma 2, near sRGB's."""
    np.maximum(picture, 0, out=picture)
    picture /= 1 + 0.25 * picture
    np.sqrt(picture, out=picture)
    picture *= 268
    return picture


def _composite(picture: Field, layer: NDArray[np.float32], scale: float, x: Field, y: Field) -> None:
    """Puts a premultiplied layer over a picture, reading it bilinearly at the head point of every pixel."""
    rows, columns = layer.shape[1:]
    u = (x - np.float32(LEFT)) * np.float32(scale) - np.float32(0.5)
    v = (y - np.float32(TOP)) * np.float32(scale) - np.float32(0.5)
    inside = (u > 0) & (u < columns - 1.001) & (v > 0) & (v < rows - 1.001)
    r, c = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(r):
        return
    box = slice(int(r[0]), int(r[-1]) + 1), slice(int(c[0]), int(c[-1]) + 1)
    u, v = np.clip(u[box], 0, columns - 1.001), np.clip(v[box], 0, rows - 1.001)
    i, j = u.astype(np.int32), v.astype(np.int32)
    u -= i
    v -= j
    k = (j * columns + i).ravel()
    flat, fu, fv = layer.reshape(4, -1), u.ravel(), v.ravel()

    def row(at: NDArray[np.int32]) -> NDArray[np.float32]:
        left = np.take(flat, at, axis=1, mode="clip")  # "clip" spares the copy that the check of "raise" makes
        right = np.take(flat, at + 1, axis=1, mode="clip")
        right -= left
        right *= fu
        left += right
        return left

    top, bottom = row(k), row(k + columns)
    bottom -= top
    bottom *= fv
    top += bottom
    top *= inside[box].ravel()
    top = top.reshape(4, *i.shape)
    target = picture[:, *box]
    target *= 1 - top[3]
    target += top[:3]


@dataclass(frozen=True)
class _Lids:
    """One eye in one frame: the two lid edges over the window, mm, and what is seen between them."""

    upper: Field
    lower: Field
    open: Field
    crease: float
    closed: float
    squeeze: float
    gaze: tuple[float, float]


class _Eye:
    """One eye: lids, eyeball, lashes, drawn into a window of the head.

    Args:
        who: The person.
        canvas: The head's grid.
        side: -1 left in the picture, 1 right.
    """

    def __init__(self, who: Identity, canvas: Canvas, side: int) -> None:
        self.who, self.side, self.scale = who, side, canvas.scale
        cx = side * who.eye_distance
        self.window = canvas.window(cx - 24, -19, cx + 24, 18)
        x, y = canvas.x[self.window] - np.float32(cx), canvas.y[self.window]
        self.gx, self.gy = x, y  # for the iris: not tilted, not mirrored
        x = x * side
        tilt = np.float32(who.eye_tilt)
        self.x, self.y = x + tilt * y, y + tilt * x
        self.half = 14.8 * who.eye_size
        self.t = np.clip(self.x / np.float32(self.half), -1.6, 1.6)
        inside = np.clip(1 - self.t**2, 0, None)
        t = self.t
        self.up = np.clip(1 - (t + 0.14 * inside) ** 2, 0, None) ** 0.72
        self.down = np.clip(1 - (t - 0.16 * inside) ** 2, 0, None) ** 0.9
        self.along = smoothstep(1.12, 0.92, np.abs(t))
        rng = np.random.default_rng([who.seed, 4, side + 1])
        ray = np.arctan2(self.gy, self.gx)
        self.streaks = (0.12 * np.sin(ray * 23 + rng.uniform(0, 6)) + 0.08 * np.sin(ray * 37)).astype(np.float32)

    def shape(self, au: NDArray[np.float32], pose: Pose) -> _Lids:
        """Returns the lids for some intensities."""
        size = self.who.eye_size
        a = {u: float(au[COLUMN[u]]) / 5 * self.who.gain for u in (1, 2, 4, 5, 6, 7, 9)}
        closed = min(1.0, float(au[COLUMN[45]]) / 5)
        high = (5.8 + 3.6 * a[5] - 1.0 * a[7] - 0.6 * a[6] - 0.9 * a[4] - 0.6 * a[9] + 0.3 * (a[1] + a[2])) * size
        low = (4.1 - 2.3 * a[7] - 1.7 * a[6] - 0.9 * a[9] + 0.5 * a[5]) * size
        high, low = max(high, 1.2), max(low, 1.2)
        high += 0.5 * -pose.gaze[1]
        shut = -low * 0.75
        upper = -(high * (1 - closed) + shut * closed) * self.up + closed * 0.3
        lower = low * self.down
        soft = np.float32(0.75 * self.scale)
        gap = np.clip((self.y - upper) * soft + 0.2, 0, 1) * np.clip((lower - self.y) * soft + 0.2, 0, 1)
        gap *= np.abs(self.t) < 1
        crease = 3.6 - 2.2 * a[5] - 0.8 * a[4] + 1.0 * (a[1] + a[2]) * 0.5 + 2.5 * closed
        return _Lids(upper, lower, gap, max(crease, 0.9), closed, a[7] + a[6], pose.gaze)

    def emboss(self, lids: _Lids, height: Field, folds: Field) -> None:
        """Adds the folds of the lids to the surface."""
        crease = lids.upper - np.float32(lids.crease) + 1.2 * lids.closed
        groove = np.exp(-(((self.y - crease) / 0.95) ** 2)) * self.along
        bag = np.exp(-(((self.y - lids.lower - 4.6) / 1.5) ** 2)) * self.along
        edge = np.exp(-(((self.y - lids.lower - 1.0) / 1.3) ** 2)) * self.along
        depth = np.float32(self.who.crease * 1.5) * groove + np.float32(0.25 + 0.5 * lids.squeeze) * bag
        height[self.window] += 0.5 * edge - 0.7 * depth
        folds[self.window] += depth

    def paint(self, lids: _Lids, layer: Field, brightness: np.float32, light: NDArray[np.float32]) -> None:
        """Draws the eyeball and the lashes."""
        target = layer[:, *self.window]
        dx, dy = self.gx - np.float32(lids.gaze[0]), self.gy + np.float32(0.6 - lids.gaze[1])
        radius = np.sqrt(dx * dx + dy * dy)
        soft = np.float32(self.scale * 0.8)
        iris = np.clip((5.9 - radius) * soft + 0.5, 0, 1)
        pupil = np.clip((2.2 - radius) * soft + 0.5, 0, 1)
        ring = np.float32(0.45) + np.float32(0.55) * smoothstep(5.9, 4.6, radius)
        shade = np.clip(0.30 + 0.30 * (self.y - lids.upper), 0.30, 1) * (1 - 0.42 * np.clip(self.t**2, 0, 1))
        corner = smoothstep(-0.72, -1.0, self.t)
        spot = light * 3.0
        catch = np.exp(-((dx - spot[0]) ** 2 + (dy - spot[1]) ** 2) / np.float32(1.1))
        for channel, (white, pink) in enumerate(((0.60, 0.42), (0.55, 0.20), (0.53, 0.17))):
            ball = np.float32(white) * (1 - corner) + np.float32(pink) * corner
            tint = np.float32(self.who.iris[channel]) * (1 + self.streaks * 2) * ring * 1.25
            ball = ball + iris * (tint - ball)
            ball *= 1 - 0.92 * pupil
            ball *= shade * brightness * np.float32(0.62)
            ball += 0.75 * catch * brightness * (lids.closed < 0.5)
            plane = target[channel]
            plane += lids.open * (ball - plane)
        lash = np.exp(-(((self.y - lids.upper + 0.25) / 1.25) ** 2)) * smoothstep(1.25, 1.0, np.abs(self.t))
        lash *= smoothstep(-1.15, -0.7, self.t) * np.float32(self.who.lashes)
        lower = np.exp(-(((self.y - lids.lower - 0.3) / 0.7) ** 2)) * self.along * np.float32(0.32 * self.who.lashes)
        dark = 1 - np.clip(lash * 1.15 + lower, 0, 0.93)
        target[:3] *= dark


@dataclass(frozen=True)
class _Lips:
    """The mouth in one frame over its window: borders (mm), coverage of lips and of what is seen between them."""

    top: Field
    bottom: Field
    upper: Field
    lower: Field
    lips: Field
    gap: Field
    opening: float
    smile: float
    tight: float


class _Mouth:
    """The mouth: lips, teeth, cavity, drawn into a window of the head.

    Args:
        who: The person.
        canvas: The head's grid.
    """

    def __init__(self, who: Identity, canvas: Canvas) -> None:
        self.who, self.scale = who, canvas.scale
        w, m = who.mouth_width, who.mouth_y
        self.window = canvas.window(-w - 8, m - 24, w + 8, m + 32)
        self.x, self.y = canvas.x[self.window], canvas.y[self.window] - np.float32(m)
        self.t = np.clip(self.x / np.float32(w), -1.4, 1.4)
        t = self.t
        self.arch = np.clip(1 - t**2, 0, None)
        bow = 1 - 0.28 * np.exp(-((t / 0.13) ** 2)) + 0.10 * np.exp(-(((np.abs(t) - 0.26) / 0.16) ** 2))
        self.top = self.arch**0.80 * bow
        self.bottom = self.arch**0.62
        self.line = (0.9 * np.exp(-((t / 0.22) ** 2)) - 0.5 * np.exp(-(((np.abs(t) - 0.5) / 0.25) ** 2))) * self.arch
        rng = np.random.default_rng([who.seed, 5])
        rows, columns = t.shape
        self.cracks = value_noise(rng, columns, max(2, rows // 8), 2.2 * canvas.scale)
        self.cracks = resized(self.cracks, columns, rows)

    def shape(self, au: NDArray[np.float32]) -> _Lips:
        """Returns the lips for some intensities."""
        a = {u: float(au[COLUMN[u]]) / 5 * self.who.gain for u in (10, 12, 15, 17, 20, 23, 24, 25, 26)}
        press = 1 - 0.55 * min(1.0, a[24]) - 0.42 * min(1.0, a[23])
        thin = max(0.25, press) * (1 - 0.22 * min(1.0, a[12]) - 0.22 * min(1.0, a[20]))
        # The jaw opens the lips as far as they are parted: AU26 alone is a dropped jaw behind closed lips.
        opening = 6.0 * a[25] + 6.5 * a[26] * min(1.0, 2.5 * a[25])
        opening *= max(0.2, press)
        sag = np.abs(self.t) ** 2 * np.float32(1.2 * a[17] + 0.8 * a[15])
        base = self.line + sag - np.float32(1.2 * a[17]) * self.arch
        half = self.arch**0.6
        upper = base - np.float32(0.30 * opening) * half
        lower = base + np.float32(0.70 * opening) * half
        rise = 1.0 + 0.10 * a[10]
        top = upper - np.float32(self.who.upper_lip * thin * rise) * self.top - 0.15
        bottom = lower + np.float32(self.who.lower_lip * thin * (1 + 0.20 * a[17])) * self.bottom + 0.15
        soft = np.float32(self.scale * 0.75)
        y = self.y
        border = np.float32(self.scale * 0.40)
        lips = np.clip((y - top) * border + 0.5, 0, 1) * np.clip((bottom - y) * border + 0.5, 0, 1)
        inside = np.abs(self.t) < 1
        lips = lips * inside
        gap = np.clip((y - upper) * soft + 0.1, 0, 1) * np.clip((lower - y) * soft + 0.1, 0, 1) * inside
        return _Lips(top, bottom, upper, lower, lips, gap, opening, a[12], a[23] + a[24])

    def emboss(self, lips: _Lips, height: Field) -> None:
        """Adds the roundness of the lips to the surface."""
        up = (lips.upper - lips.top).clip(0.5)
        low = (lips.bottom - lips.lower).clip(0.5)
        s = np.clip((self.y - lips.top) / up, 0, 1)
        r = np.clip((self.y - lips.lower) / low, 0, 1)
        upper = s * (1.35 - 0.9 * s * s) * (self.y <= lips.upper)
        lower = 4 * r * (1 - r) * (self.y > lips.lower)
        flat = 1 - 0.45 * min(1.0, lips.tight)
        rounded = (2.4 * upper + 2.3 * lower) * self.arch**0.5 * np.float32(flat)
        groove = np.exp(-(((self.y - 0.5 * (lips.upper + lips.lower)) / 0.9) ** 2)) * (self.arch > 0)
        height[self.window] += rounded - 0.9 * groove + 0.10 * self.cracks * lips.lips

    def gloss(self, lips: _Lips, shine: Field) -> None:
        """Lips are wetter than skin."""
        shine[self.window] *= 1 + 1.2 * lips.lips

    def tint(self, lips: _Lips, albedo: Field) -> tuple[tuple[slice, slice], Field]:
        """Returns the window and its colours with the lips, ``[3, rows, columns]``."""
        skin = albedo[:, self.window[0], self.window[1]]
        rose = np.asarray(self.who.lip_color, np.float32) * np.asarray(self.who.skin, np.float32)
        cover = lips.lips * np.float32(0.85)
        return self.window, skin + cover * (rose[:, None, None] * (1 + 0.04 * self.cracks) - skin)

    def paint(self, lips: _Lips, layer: Field, brightness: np.float32) -> None:
        """Draws the lip line, the cavity and the teeth."""
        target = layer[:, *self.window]
        seam = np.exp(-(((self.y - 0.5 * (lips.upper + lips.lower)) / 0.75) ** 2))
        seam *= smoothstep(1.06, 0.96, np.abs(self.t)) * np.float32(0.62 * max(0.0, 1 - lips.opening / 3))
        target[:3] *= 1 - seam
        if lips.opening < 0.15:
            return
        down = self.y - lips.upper
        size = 2.4 + 0.28 * lips.opening
        teeth = (
            np.clip(down * 1.2 - 0.2, 0, 1)
            * np.clip((size - down) * 1.2, 0, 1)
            * smoothstep(0.86, 0.62, np.abs(self.t))
        )
        teeth *= np.float32(min(1.0, 0.35 + lips.smile + 0.06 * lips.opening))
        gaps = 1 - 0.22 * np.exp(-(((((self.x / 7.6 + 100) % 1.0 - 0.5).clip(-0.5, 0.5) ** 2 - 0.25) / 0.06) ** 2))
        fall = (1 - 0.55 * self.t**2) * np.clip(1.05 - 0.05 * down, 0.6, 1)
        above = lips.lower - self.y
        tongue = (
            smoothstep(7.5, 1.5, above) * smoothstep(0.8, 0.4, np.abs(self.t)) * np.float32(min(1.0, lips.opening / 8))
        )
        for channel, (dark, red, white) in enumerate(((0.030, 0.20, 0.50), (0.010, 0.060, 0.46), (0.010, 0.055, 0.38))):
            inner = np.float32(dark) + tongue * np.float32(red)
            inner = inner + teeth * (np.float32(white) * gaps * fall - inner)
            inner *= brightness * np.float32(0.72)
            plane = target[channel]
            plane += lips.gap * (inner - plane)
