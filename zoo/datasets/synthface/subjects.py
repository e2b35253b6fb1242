"""What a person does in front of the camera: action units, head, eyes, over time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.synthface.face import Face, Pose
from zoo.datasets.synthface.identity import Identity, draw_identity
from zoo.datasets.synthface.units import COLUMN, UNITS

Program = tuple[tuple[float, dict[int, float]], ...]
"""Things a face does: how often, and the intensity of each action unit at full strength."""

EXPRESSIONS: dict[str, dict[int, float]] = {
    "neutral": {},
    "happiness": {6: 3.6, 12: 4.4, 25: 2.2},
    "sadness": {1: 3.6, 4: 2.8, 15: 3.8, 17: 2.6},
    "surprise": {1: 3.6, 2: 3.8, 5: 3.6, 25: 3.0, 26: 3.6},
    "fear": {1: 3.4, 2: 2.4, 4: 2.8, 5: 4.0, 20: 3.8, 25: 2.4},
    "disgust": {4: 1.8, 9: 4.2, 10: 3.2, 17: 2.2},
    "anger": {4: 4.2, 5: 2.4, 7: 3.6, 23: 3.2, 24: 2.4},
    "contempt": {12: 1.4, 14: 4.2},
}
"""Action units of the basic expressions, after the EMFACS prototypes (Friesen and Ekman 1983)."""

SPONTANEOUS: Program = (
    (1.6, {6: 3.4, 12: 4.0, 25: 2.8}),
    (0.9, {12: 2.8}),
    (0.8, {1: 2.8, 2: 3.2, 5: 3.0, 25: 3.0, 26: 3.6}),
    (0.3, {1: 2.4, 2: 2.8}),
    (1.0, {4: 3.4, 9: 3.6, 10: 2.0, 6: 1.4}),
    (0.8, {1: 2.2, 4: 2.4, 15: 3.4, 17: 2.8}),
    (0.6, {1: 2.2, 4: 2.6, 5: 3.4, 20: 3.8, 25: 3.0}),
    (1.4, {4: 3.6, 7: 1.6}),
    (0.6, {17: 3.4, 15: 1.8, 24: 1.4}),
    (0.9, {25: 3.4, 26: 3.0}),
    (1.0, {25: 3.0}),
    (0.3, {20: 3.2, 25: 2.4, 12: 0.8}),
)
"""A person who watches a film, as in DISFA. The frequencies follow its base rates roughly: on FG-Net's usable frames
AU1 5 %, 2 4 %, 4 15 %, 6 8 %, 9 4 %, 12 13 %, 25 28 %, 26 9 % at intensity 2 or more; a short video has more of the
rare ones, so that most people show every unit."""

POSED: Program = (
    (2.0, {6: 3.4, 7: 2.8, 10: 3.2, 12: 4.0, 14: 2.4, 25: 2.0}),
    (1.4, {6: 3.0, 7: 2.6, 10: 3.0, 12: 3.2}),
    (1.2, {10: 3.0, 14: 3.4, 17: 2.4, 24: 2.2}),
    (1.0, {1: 3.0, 2: 3.2, 5: 2.6, 25: 2.6, 26: 2.8}),
    (1.0, {4: 3.4, 7: 3.2, 17: 2.8, 23: 3.0, 24: 2.6}),
    (0.8, {1: 2.6, 4: 2.6, 15: 3.4, 17: 3.2}),
    (0.8, {4: 3.0, 6: 2.6, 7: 3.4, 9: 3.2, 10: 3.6}),
    (0.6, {14: 3.4, 12: 1.6}),
    (0.4, {15: 2.8, 23: 2.8}),
)
"""A person in BP4D's tasks: much of AU6, 7, 10, 12 and 14, each in about half of its frames."""

AFFECT: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0), "happiness": (0.72, 0.30), "sadness": (-0.68, -0.32), "surprise": (0.22, 0.72),
    "fear": (-0.50, 0.74), "disgust": (-0.68, 0.42), "anger": (-0.62, 0.68), "contempt": (-0.52, 0.45),
}  # fmt: skip
"""Valence and arousal of the expressions at full strength: their usual places on the circumplex (Russell 1980)."""


@dataclass(frozen=True)
class Recording:
    """One video.

    Attributes:
        au: Intensities 0..5, float32 ``[frames, len(UNITS)]``.
        poses: One a frame.
    """

    au: NDArray[np.float32]
    poses: tuple[Pose, ...]

    def labels(self, unit: int) -> NDArray[np.int64]:
        """Returns the coded intensities 0..5 of a unit: the rendered ones, rounded half up."""
        return rounded(self.au[:, COLUMN[unit]])

    def from_the_right(self) -> Recording:
        """Returns the same performance seen by a camera further right: the head seems turned to the left."""
        turned = tuple(replace(p, yaw=float(np.clip(p.yaw - 8, -18, 14))) for p in self.poses)
        return Recording(self.au, turned)


def rounded(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns coded intensities 0..5: the rendered ones, rounded half up."""
    return np.asarray(np.floor(values + 0.5), np.int64)


def usual_pose(who: Identity, size: tuple[int, int]) -> Pose:
    """Returns the pose in which a person sits: the whole head in the picture."""
    rng = np.random.default_rng([who.seed, 6])
    width, height = size
    scale = min(width / 190, height / 262) * float(rng.uniform(0.90, 1.06))
    return Pose(x=float(rng.normal(0, 0.012)) * width, y=float(rng.normal(0.02, 0.012)) * height, scale=scale)


def face_of(seed: int, person: int, size: tuple[int, int]) -> Face:
    """Returns person ``person`` of population ``seed``, seated."""
    who = draw_identity(seed, person)
    return Face(who, size, usual_pose(who, size))


def rest_of(seed: int, person: int, size: tuple[int, int]) -> Pose:
    """Returns the usual pose of a person without drawing them."""
    return usual_pose(draw_identity(seed, person), size)


def _wander(rng: np.random.Generator, frames: int, spread: float) -> NDArray[np.float64]:
    """A slow smooth movement with mean about 0 and the given spread."""
    time = np.arange(frames) / max(frames, 40)
    total = np.zeros(frames)
    turns = max(2.0, frames / 160)
    for _ in range(3):
        total += rng.normal() * np.sin(2 * np.pi * (rng.uniform(0.3, 1.0) * turns * time + rng.random()))
    return np.asarray(spread * total / np.sqrt(1.5), np.float64)


def poses(rng: np.random.Generator, rest: Pose, frames: int) -> tuple[Pose, ...]:
    """Returns a head that moves a little around its usual pose."""
    k = rest.scale
    roll, yaw, pitch = _wander(rng, frames, 2.5), _wander(rng, frames, 4.5), _wander(rng, frames, 3.0)
    x, y, size = _wander(rng, frames, 4 * k), _wander(rng, frames, 2.5 * k), _wander(rng, frames, 0.012)
    gx, gy = _wander(rng, frames, 1.2), _wander(rng, frames, 0.6)
    return tuple(
        Pose(
            x=rest.x + x[i], y=rest.y + y[i], scale=k * (1 + float(size[i])), roll=float(np.clip(roll[i], -12, 12)),
            yaw=float(np.clip(yaw[i], -14, 14)), pitch=float(np.clip(pitch[i], -9, 9)),
            gaze=(float(np.clip(gx[i], -2.5, 2.5)), float(np.clip(gy[i], -1.2, 1.2))),
        )
        for i in range(frames)
    )  # fmt: skip


def envelope(frames: int, start: float, length: float) -> NDArray[np.float64]:
    """Returns onset, apex and offset of one event: 0 .. 1 .. 0, smooth, onset faster than offset."""
    t = (np.arange(frames) + 0.5 - start) / length
    rise, fall = np.clip(t / 0.3, 0, 1), np.clip((1 - t) / 0.4, 0, 1)
    return np.asarray((np.sin(np.pi / 2 * rise) * np.sin(np.pi / 2 * fall)) ** 2, np.float64)


def time_courses(rng: np.random.Generator, frames: int, program: Program = SPONTANEOUS) -> NDArray[np.float32]:
    """Returns intensities over time, 0..5, float32 ``[frames, len(UNITS)]``.

    Events are dealt like cards, so that a short video still shows most of the program. Blinks come on top.
    """
    au = np.zeros((frames, len(UNITS)))
    weights = np.asarray([w for w, _ in program])
    count = max(len(program), round(frames / 45))
    deck: list[int] = []
    while len(deck) < count:  # each round: all cards, the more frequent ones more often
        extra = rng.choice(len(program), size=3, p=weights / weights.sum())
        hand = np.concatenate([np.arange(len(program)), extra])
        keep = rng.random(len(hand)) < np.minimum(1, weights[hand] / 0.9)
        deck += rng.permutation(hand[keep]).tolist()
    step = frames / count
    for place, card in enumerate(deck[:count]):
        strength = float(rng.beta(2.2, 1.6)) * 1.25
        shape = envelope(frames, (place - 0.4 + rng.uniform(-0.3, 0.3)) * step, step * rng.uniform(1.3, 2.2))
        for unit, level in program[card][1].items():
            own = level * strength * rng.uniform(0.55, 1.2)
            column = COLUMN[unit]
            au[:, column] = np.maximum(au[:, column], own * shape)
    blink = COLUMN[45]
    for start in rng.uniform(0, frames, rng.poisson(max(1.0, frames / 60))):
        au[:, blink] = np.maximum(au[:, blink], 5 * envelope(frames, start, 4))
    return np.clip(au, 0, 5).astype(np.float32)


def recording(numbers: tuple[int, int, int], rest: Pose, frames: int, program: Program = SPONTANEOUS) -> Recording:
    """Returns a video of a person: the same for the same numbers.

    Args:
        numbers: Population, person, session.
        rest: The person's usual pose.
        frames: How many.
        program: What they do.
    """
    rng = np.random.default_rng([*numbers, 0xAC7])
    return Recording(time_courses(rng, frames, program), poses(rng, rest, frames))


def drawn_strength(rng: np.random.Generator) -> float:
    """Returns how strong an expression is: mostly clear, sometimes weak, 0.35 .. 1.2."""
    return 0.35 + 0.85 * float(rng.beta(2.2, 1.4))


def expression_sample(rng: np.random.Generator, name: str, strength: float | None = None) -> NDArray[np.float32]:
    """Returns the intensities of one face that shows an expression, ``[len(UNITS)]``.

    Args:
        rng: Source of randomness.
        name: One of :data:`EXPRESSIONS`.
        strength: 0 .. 1.2; None: drawn.
    """
    if strength is None:
        strength = drawn_strength(rng)
    au = np.zeros(len(UNITS))
    for unit in rng.choice(UNITS[:-1], 2):  # faces are never quite at rest
        au[COLUMN[int(unit)]] = rng.uniform(0, 1.1)
    for unit, level in EXPRESSIONS[name].items():
        if rng.random() < 0.9:
            au[COLUMN[unit]] = max(au[COLUMN[unit]], level * strength * rng.uniform(0.6, 1.2))
    if rng.random() < 0.03:
        au[COLUMN[45]] = 5
    return np.clip(au, 0, 5).astype(np.float32)


def affect_sample(rng: np.random.Generator, name: str, strength: float) -> tuple[float, float]:
    """Returns valence and arousal, -1..1, of an expression of a given strength as a rater would give them."""
    valence, arousal = AFFECT[name]
    noisy = np.asarray([valence, arousal]) * strength + rng.normal(0, 0.06, 2)
    v, a = np.clip(noisy, -0.98, 0.98).round(6).tolist()
    return v, a
