"""A contact sheet of rendered people and action units, for the documentation."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.datasets.synthface.face import Pose
from zoo.datasets.synthface.media import encoded
from zoo.datasets.synthface.subjects import face_of
from zoo.datasets.synthface.units import intensities

SHOWN: tuple[dict[int, float], ...] = (
    {}, {1: 5}, {2: 5}, {4: 5}, {5: 5}, {6: 5}, {9: 5}, {12: 5}, {15: 5}, {17: 5}, {20: 5}, {25: 5}, {25: 5, 26: 5},
)  # fmt: skip
"""At rest, then DISFA's twelve action units at intensity 5 (AU26 with parted lips)."""


def contact_sheet(
    path: str | os.PathLike[str],
    *,
    people: int = 4,
    seed: int = 0,
    tile: int = 112,
    columns: tuple[dict[int, float], ...] = SHOWN,
) -> Path:
    """Writes a picture with a row for each person and a column for each set of action units.

    Args:
        path: PNG or JPEG file.
        people: Rows.
        seed: Population.
        tile: Side of one face, pixels.
        columns: Intensities by action unit.

    Returns:
        The path.
    """
    from zoo._util.files import atomic_path

    path = Path(path)
    rows = []
    for person in range(1, people + 1):
        face = face_of(seed, person, (2 * tile, 2 * tile))
        pose = Pose(x=0, y=0.0, scale=face.rest.scale * 1.12)
        faces = [Image.fromarray(face.render(intensities(units), pose)) for units in columns]
        rows.append(np.hstack([np.asarray(f.resize((tile, tile), Image.Resampling.LANCZOS)) for f in faces]))
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded(np.vstack(rows), path.suffix))
    return path
