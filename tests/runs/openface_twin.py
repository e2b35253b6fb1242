"""OpenFace's CSV files as its two programs write them, and a DISFA twin to have them of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from zoo.datasets import load_index
from zoo.datasets.base import Index

INTENSITY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
OCCURRENCE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)

HEADERS = {
    "2.0": (", ", ("frame", "timestamp", "confidence", "success")),
    "2.2": (",", ("frame", "face_id", "timestamp", "confidence", "success")),
}
"""Version -> what is between cells of the header, and its beginning. Rows have no spaces in either."""


def disfa(root: Path, subjects: int = 3, frames: int = 20) -> Index:
    """Writes a twin of DISFA (videos of a grey frame, real label files) and reads it."""
    from zoo.datasets.synthface import generate

    generate("disfa", root, subjects=subjects, frames=frames, pixels="flat", workers=1)
    return load_index("disfa", root)


def answers(index: Index, subject: str, noise: float = 0.6) -> np.ndarray:
    """Intensities that a model might give for a subject: the labels and noise, two decimals, ``[frames, 17]``."""
    rows = np.flatnonzero(index.subject == subject)
    labels = index.labels["au-intensity"]
    rng = np.random.default_rng(int(subject[2:]))
    values = rng.uniform(0, 5, (len(rows), len(INTENSITY)))
    for column, au in enumerate(INTENSITY):
        if (name := f"AU{au:02d}") in labels.names:
            truth = labels.values[rows, labels.names.index(name)]
            values[:, column] = np.clip(truth + rng.normal(0, noise, len(rows)), 0, 5)
    return values.round(2)


def write_sequence(
    path: Path, values: np.ndarray, version: str = "2.2", failed: Iterable[int] = (), without: Iterable[int] = ()
) -> Path:
    """Writes what FeatureExtraction -aus writes.

    Args:
        path: The file.
        values: Intensities, ``[frames, 17]``.
        version: One of :data:`HEADERS`.
        failed: Frames (from 1) in which no face was tracked: zeros.
        without: Frames (from 1) that have no row.
    """
    joint, first = HEADERS[version]
    head = [*first, *(f"AU{a:02d}_r" for a in INTENSITY), *(f"AU{a:02d}_c" for a in OCCURRENCE)]
    lines = [joint.join(head)]
    bad, gone = set(failed), set(without)
    for frame, row in enumerate(values, 1):
        if frame in gone:
            continue
        there = frame not in bad
        cells = {
            "frame": frame, "face_id": 0, "timestamp": f"{(frame - 1) / 20:.3f}",
            "confidence": 0.98 if there else 0, "success": int(there),
        }  # fmt: skip
        shown = row if there else np.zeros_like(row)
        present = [float(shown[INTENSITY.index(a)] >= 1) if a in INTENSITY else 0.0 for a in OCCURRENCE]
        lines.append(",".join([*(str(cells[c]) for c in first), *(f"{v:.2f}" for v in [*shown, *present])]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path
