"""The 68 points of the iBUG scheme on a rendered face, for layouts that ship landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.synthface.face import Face, Pose
from zoo.datasets.synthface.head import brow_line
from zoo.datasets.synthface.identity import Identity


def still_points(who: Identity) -> NDArray[np.complex64]:
    """Returns the 68 points on a face at rest, mm, x + iy."""
    points: list[complex] = []
    middle = -5.0
    for angle in np.linspace(np.pi * 0.97, np.pi * 0.03, 17):  # jaw, from the picture's left ear to the right
        n = 2 / who.jaw
        c, s = np.cos(angle), np.sin(angle)
        points.append(complex(0.97 * who.head_width * np.sign(c) * abs(c) ** n, middle + (who.chin - middle) * s**n))
    along = np.linspace(0.04, 1.0, 5)
    x, y = brow_line(who, along)
    points += [complex(-a, b) for a, b in zip(x[::-1], y[::-1], strict=True)]
    points += [complex(a, b) for a, b in zip(x, y, strict=True)]
    n, w = who.nose_length, who.nose_width
    points += [complex(0, t * (n - 1)) for t in (0.05, 0.35, 0.67, 1.0)]
    points += [complex(t * w, n + 6 + 2.5 * (1 - abs(t))) for t in (-0.75, -0.38, 0, 0.38, 0.75)]
    half, up, down = 14.8 * who.eye_size, 5.2 * who.eye_size, 3.9 * who.eye_size
    right = [(-half, 0.0), (-0.4 * half, -up), (0.4 * half, -up), (half, 0.0), (0.4 * half, down), (-0.4 * half, down)]
    tilted = [complex(who.eye_distance + a, b - who.eye_tilt * a) for a, b in right]
    mirrored = [-p.conjugate() for p in tilted]
    points += [mirrored[k] for k in (3, 2, 1, 0, 5, 4)] + tilted
    m, h, u, v = who.mouth_y, who.mouth_width, who.upper_lip, who.lower_lip
    outer_top = [(-1.0, 0.0), (-0.6, -0.62), (-0.22, -1.0), (0.0, -0.76), (0.22, -1.0), (0.6, -0.62), (1.0, 0.0)]
    points += [complex(a * h, m + b * u) for a, b in outer_top]
    points += [complex(a * h, m + b * v) for a, b in ((0.6, 0.72), (0.25, 0.97), (0, 1), (-0.25, 0.97), (-0.6, 0.72))]
    points += [complex(a * h, m) for a in (-0.85, -0.3, 0, 0.3, 0.85, 0.3, 0, -0.3)]
    return np.asarray(points, np.complex64)


def landmarks(face: Face, au: NDArray[np.float32], pose: Pose) -> NDArray[np.float32]:
    """Returns the 68 points in the picture, pixels, ``[68, 2]``: those of the skin, which lids and lips move past."""
    points = face.project(au, pose, still_points(face.who))
    return np.stack([points.real, points.imag], axis=1).astype(np.float32)
