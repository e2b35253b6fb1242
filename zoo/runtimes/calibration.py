"""Crops that int8 ranges are calibrated on: a user's pictures, or the part of a dataset that no fold is scored on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.base import Index, pictures
from zoo.errors import DatasetError, ImageError, UsageError
from zoo.faces.pipeline import build_pipeline
from zoo.registry.schema import ModelEntry, Preprocess, Training

MOST = 400
"""Crops at the most, spread evenly. NNCF's own default is 300 for the ranges (nncf.quantize, subset_size)."""

FEWEST = 16
"""Crops at the least; ranges of fewer are those of a few people in one light."""

_CHECKED = 4
"""One crop in so many is kept from calibration, and the quantised model is judged on it."""


@dataclass(frozen=True)
class Calibration:
    """Crops of faces.

    Attributes:
        crops: uint8 ``[n, height, width, channels]``, in reading order.
        source: What they are, for the contract: folder or dataset, counts, subjects.
        training: What is added to the entry's ``trained_on``, where they are a dataset's.
    """

    crops: NDArray[np.uint8]
    source: dict[str, Any] = field(default_factory=dict)
    training: Training | None = None

    @property
    def used(self) -> NDArray[np.uint8]:
        """The crops that ranges are taken from."""
        used: NDArray[np.uint8] = self.crops[np.arange(len(self.crops)) % _CHECKED != 0]
        return used

    @property
    def kept(self) -> NDArray[np.uint8]:
        """The others, for the check."""
        return self.crops[::_CHECKED]

    @property
    def sha256(self) -> str:
        """Hash of the crops' bytes, in order."""
        return hashlib.sha256(self.crops.tobytes()).hexdigest()


def _spread(count: int) -> list[int]:
    places: list[float] = np.linspace(0, count - 1, min(count, MOST)).tolist()
    return [round(place) for place in places]


def _stack(found: Iterator[NDArray[np.uint8] | None], what: str) -> NDArray[np.uint8]:
    crops = [c for c in found if c is not None]
    if len(crops) < FEWEST:
        raise UsageError(
            f"{what}: {len(crops)} faces were found, calibration needs {FEWEST} or more",
            fix="give more pictures of faces, some hundreds of different people and lights are best",
        )
    return np.stack(crops)


def from_pictures(paths: Sequence[Path], preprocess: Preprocess, where: str) -> Calibration:
    """Crops the face that counts in each of a user's pictures.

    Args:
        paths: Pictures; of more than :data:`MOST`, evenly spread ones are used.
        preprocess: The model's contract.
        where: Name of the folder, for errors and the contract.

    Raises:
        UsageError: Fewer than :data:`FEWEST` faces.
    """
    from zoo.faces.decode import read_image

    pipeline = build_pipeline(preprocess)

    def crop(path: Path) -> NDArray[np.uint8] | None:
        try:
            return pipeline.crop(read_image(path))
        except ImageError:
            return None

    chosen = [paths[i] for i in _spread(len(paths))]
    crops = _stack((crop(p) for p in chosen), where)
    return Calibration(crops, {"pictures": len(chosen), "faces": len(crops)})


def training_rows(index: Index, entry: ModelEntry, fold: str | None) -> NDArray[np.int64]:
    """Returns the samples of a dataset that calibration may use.

    Where the dataset has splits, those of its training split; never a test subject of the fold's checkpoint.

    Raises:
        DatasetError: Nothing is left.
    """
    allowed = np.ones(len(index), bool)
    if (index.split != "").any():
        allowed &= index.split == "train"
    test = {s for w in entry.weights if w.fold and w.fold.name == fold for s in w.fold.test_subjects}
    allowed &= ~index.subject.isin(test)
    rows = np.flatnonzero(allowed)
    if not len(rows):
        raise DatasetError(
            f"this copy of {index.dataset} has no sample that calibration may use", where=str(index.root),
            why="only the training split counts" if (index.split != "").any() else "all are test subjects of the fold",
            fix="calibrate=<folder of your own pictures>",
        )  # fmt: skip
    return rows


def from_dataset(index: Index, entry: ModelEntry, fold: str | None) -> Calibration:
    """Crops training samples of a dataset.

    Args:
        index: The copy.
        entry: The model.
        fold: Fold of its checkpoint, for entries that have one a fold.

    Raises:
        DatasetError: No sample that may be used.
        UsageError: Fewer than :data:`FEWEST` faces.
    """
    assert entry.preprocess is not None
    rows = training_rows(index, entry, fold)
    chosen = rows[_spread(len(rows))]
    pipeline = build_pipeline(entry.preprocess)
    found = (
        None if p.image is None else pipeline.crop(p.image, None if index.box is None else index.box[p.sample])
        for p in pictures(index, chosen.tolist())
    )
    crops = _stack(found, f"{index.dataset} in {index.root}")
    subjects = [s for s in index.subject[chosen].distinct()[0] if s]
    split = "train" if (index.split != "").any() else None
    source = {
        "dataset": index.dataset, "manifest": index.manifest, "synthetic": index.synthetic, "samples": len(chosen),
        "faces": len(crops), "split": split, "subjects": subjects,
    }  # fmt: skip
    training = Training(
        dataset=index.dataset, subjects=tuple(subjects) or ("all" if split else "unknown"), split=split,
        use="selection", source="int8 calibration of this file",
    )  # fmt: skip
    return Calibration(crops, source, training)
