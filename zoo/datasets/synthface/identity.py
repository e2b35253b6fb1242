"""Who a rendered person is: proportions, skin, hair, brows, eyes, mouth, light, room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Hair = Literal["short", "swept", "long", "tied", "bald"]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Identity:
    """One person and the recording they are in. Lengths in millimetres, colours linear RGB in 0..1.

    Attributes:
        seed: Seed of the person's own textures.
        head_width: Half of the greatest width of the head.
        jaw: Exponent of the lower face's outline: 1.9 pointed, 2.6 square.
        chin: Height of the chin below the pupils.
        brow_ridge: Height of the bone above the eyes.
        cheekbone: Height of the cheek bones.
        fullness: Height of the cheeks, negative where hollow.
        nose_width: Half of the width of the nose wings.
        nose_length: From the pupils to the tip.
        nose_height: How far the tip stands out.
        eye_distance: Half of the distance between the pupils.
        eye_size: Scale of the lid opening.
        eye_tilt: Slope of the lid opening; positive: outer corner higher.
        crease: Strength of the fold of the upper lid.
        lashes: Darkness of the upper lashes.
        iris: Colour of the iris.
        mouth_y: Height of the lip line below the pupils.
        mouth_width: Half of the width of the mouth.
        upper_lip: Thickness of the upper lip.
        lower_lip: Thickness of the lower lip.
        lip_color: Tint of the lips relative to the skin.
        brow_y: Height of the brows above the pupils.
        brow_arch: Height of the brow's arch.
        brow_thickness: Thickness of the brow.
        brow_density: 0..1.
        skin: Colour of the skin.
        lines: Depth of the wrinkles: young 0.7, old 1.4.
        freckles: 0..1.
        beard: 0 none, 1 full.
        stubble: 0..1 shadow of a shaved beard.
        hair: Cut.
        hair_color: Colour of the hair.
        hairline: Height of the hairline above the pupils.
        hair_volume: Thickness of the hair on top of the head.
        glasses: 0 none, 1 round, 2 rectangular.
        light: Direction to the main light (x right, y down, z to the camera), unit length.
        key: Strength of the main light.
        ambient: Strength of the light from everywhere.
        warmth: Colour of the main light: -1 blue .. 1 orange.
        room: Kind of background, 0..3.
        gain: How strongly this person moves for a given intensity, about 1.
        asymmetry: Relative difference of the two sides, small.
    """

    seed: int
    head_width: float
    jaw: float
    chin: float
    brow_ridge: float
    cheekbone: float
    fullness: float
    nose_width: float
    nose_length: float
    nose_height: float
    eye_distance: float
    eye_size: float
    eye_tilt: float
    crease: float
    lashes: float
    iris: Color
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip_color: Color
    brow_y: float
    brow_arch: float
    brow_thickness: float
    brow_density: float
    skin: Color
    lines: float
    freckles: float
    beard: float
    stubble: float
    hair: Hair
    hair_color: Color
    hairline: float
    hair_volume: float
    glasses: int
    light: Color
    key: float
    ambient: float
    warmth: float
    room: int
    gain: float
    asymmetry: float


_LIGHT_SKIN, _DARK_SKIN = np.log([0.68, 0.43, 0.32]), np.log([0.105, 0.055, 0.038])
_IRIS: tuple[Color, ...] = ((0.07, 0.035, 0.02), (0.11, 0.06, 0.03), (0.10, 0.11, 0.06), (0.10, 0.16, 0.22))
_HAIR: tuple[Color, ...] = (
    (0.012, 0.010, 0.010), (0.03, 0.02, 0.014), (0.075, 0.045, 0.025), (0.20, 0.13, 0.065), (0.13, 0.05, 0.02),
    (0.17, 0.165, 0.16),
)  # fmt: skip


def _triple(values: object) -> Color:
    r, g, b = np.asarray(values, dtype=float).tolist()
    return r, g, b


def draw_identity(seed: int, person: int) -> Identity:
    """Returns person number ``person`` of the population ``seed``.

    Proportions are drawn around those of adult faces (pupils 63 mm apart, 68 mm from pupils to lips, lid opening
    29 x 10 mm): general anthropometric knowledge, no table of anyone's.
    """
    rng = np.random.default_rng([seed, person, 0xFACE])

    def near(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.standard_normal(), -2, 2))

    male = bool(rng.random() < 0.5)
    melanin = float(rng.beta(1.1, 1.5))
    skin = np.exp((1 - melanin) * _LIGHT_SKIN + melanin * _DARK_SKIN) * (1 + 0.05 * rng.standard_normal(3))
    old = float(rng.random())
    dark = melanin > 0.45
    hair_color = _HAIR[int(rng.choice(2 if dark else 5))] if old < 0.88 else _HAIR[5]
    hair: Hair = str(
        rng.choice(["short", "swept", "bald"], p=[0.55, 0.35, 0.10])
        if male
        else rng.choice(["long", "tied", "swept"], p=[0.55, 0.30, 0.15])
    )  # type: ignore[assignment]
    azimuth, height = np.radians(near(0, 28)), np.radians(rng.uniform(12, 48))
    light = (np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height))
    return Identity(
        seed=int(rng.integers(2**31)),
        head_width=near(74 if male else 71, 2.5),
        jaw=near(2.35 if male else 2.1, 0.12),
        chin=near(113 if male else 107, 3),
        brow_ridge=near(3.4 if male else 1.4, 0.6),
        cheekbone=near(4.0, 1.2),
        fullness=near(0.0, 2.0),
        nose_width=near(17.0 + 3 * melanin, 1.3),
        nose_length=near(39, 2.2),
        nose_height=near(22, 2.2),
        eye_distance=near(31.5, 1.2),
        eye_size=near(1.05, 0.07),
        eye_tilt=near(0.05, 0.035),
        crease=float(np.clip(near(0.7, 0.3), 0.1, 1.0)),
        lashes=near(0.55 if male else 0.85, 0.1),
        iris=_IRIS[int(rng.choice(2 if dark else 4))],
        mouth_y=near(68.5, 2.0),
        mouth_width=near(25.5, 1.5),
        upper_lip=near(6.8 + 2.5 * melanin, 1.1),
        lower_lip=near(9.0 + 2.0 * melanin, 1.2),
        lip_color=_triple([near(0.80, 0.06), near(0.43, 0.06), near(0.56, 0.06)]),
        brow_y=near(20.5 if male else 23, 1.6),
        brow_arch=near(4.0 if male else 6.0, 1.2),
        brow_thickness=near(8.5 if male else 6.2, 1.0),
        brow_density=float(np.clip(near(0.8, 0.15), 0.4, 1.0)),
        skin=_triple(np.clip(skin, 0.03, 0.75)),
        lines=0.7 + 0.7 * old,
        freckles=float(max(0.0, rng.uniform(-1.5, 1.0)) * (melanin < 0.4)),
        beard=float(rng.uniform(0.6, 1.0)) if male and rng.random() < 0.22 else 0.0,
        stubble=float(rng.uniform(0.1, 0.7)) if male else 0.0,
        hair=hair,
        hair_color=_triple(np.asarray(hair_color) * (1 + 0.2 * rng.uniform(-1, 1))),
        hairline=near(66, 4) + (6 if male and old > 0.6 else 0),
        hair_volume=near(11 if male else 15, 3),
        glasses=int(rng.integers(1, 3)) if rng.random() < 0.2 else 0,
        light=_triple(light),
        key=near(1.0, 0.12),
        ambient=near(0.55, 0.12),
        warmth=near(0.1, 0.35),
        room=int(rng.integers(4)),
        gain=near(1.0, 0.1),
        asymmetry=near(0.0, 0.06),
    )
