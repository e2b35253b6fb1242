"""Which of an output's open readings a real file supports, by the range of its values on faces.

A factor of 5 that the publisher applies in one place and not in another, or a head that is trained as a logit and used
as a score, changes no shape and no name: only the values can tell. They are taken on faces from rest to full strength,
cropped by the entry's own contract, since a range over pictures without a face says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.registry import ModelEntry
from zoo.registry.labels import Task
from zoo.results.evidence import ReadingEvidence

if TYPE_CHECKING:
    from zoo.runtimes.base import Session

PEOPLE = 3
"""Rendered people."""
SIDE = 320
"""Side of a rendered picture in pixels; the face takes about two thirds of it."""
EXPRESSIONS: tuple[dict[int, float], ...] = (
    {}, {1: 5, 2: 5}, {4: 5}, {5: 5}, {6: 5}, {7: 5}, {9: 5}, {10: 5}, {12: 5}, {14: 5}, {15: 5}, {17: 5}, {20: 5},
    {23: 5}, {24: 5}, {25: 5}, {25: 5, 26: 5}, {6: 5, 12: 5, 25: 5}, {1: 5, 2: 5, 5: 5, 25: 5, 26: 5},
    {4: 5, 9: 5, 10: 5, 17: 4}, {1: 4, 4: 4, 15: 5, 17: 4},
)  # fmt: skip
"""Intensities by action unit: rest, every unit that the models know alone, and four expressions."""
FEWEST = 8
"""Faces below which nothing is decided: a percentile of fewer is one face's."""


def rendered_faces() -> Iterator[NDArray[np.uint8]]:
    """Yields the rendered pictures: RGB uint8 ``[SIDE, SIDE, 3]``, ``PEOPLE`` times ``EXPRESSIONS`` of them."""
    from zoo.datasets.synthface.subjects import face_of
    from zoo.datasets.synthface.units import intensities

    for person in range(1, PEOPLE + 1):
        face = face_of(0, person, (SIDE, SIDE))
        for units in EXPRESSIONS:
            yield face.render(intensities(units), face.rest)


def given_faces(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Yields the user's own pictures, RGB uint8 ``[height, width, 3]``.

    Raises:
        UsageError: The folder holds no picture.
    """
    from zoo.faces.decode import read_image
    from zoo.runs.predict import find_images

    for path in find_images([folder]):
        yield read_image(path)


def face_crops(entry: ModelEntry, pictures: Iterator[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Returns the crops of the pictures in which the entry's own pipeline finds a face, ``[n, height, width, c]``."""
    from zoo.faces.pipeline import build_pipeline

    assert entry.preprocess is not None, "a runnable entry has a preprocess"
    pipeline = build_pipeline(entry.preprocess)
    found = [crop for picture in pictures if (crop := pipeline.crop(picture)) is not None]
    return np.stack(found) if found else np.zeros((0, *pipeline.shape), np.uint8)


def decide(entry: ModelEntry, task: Task, values: NDArray[np.float32], pictures: str) -> ReadingEvidence:
    """Holds raw values against the readings of one task.

    Args:
        entry: The model.
        task: A task with readings.
        values: The task's columns as the file gives them, ``[faces, labels]``: no activation, no scale, no clamp.
        pictures: What the faces are, for the record.

    Returns:
        The finding; ``supported`` is None where the values fit no reading or several, or the faces are too few.
    """
    readings = [r for r in entry.readings if r.task == task]
    declared = next(r for r in readings if r.is_of(entry.output(task)))
    enough = len(values) >= FEWEST
    low, high = (float(x) for x in np.percentile(values, [1, 99])) if len(values) else (0.0, 0.0)
    fits = tuple(
        r.name
        for r in readings
        if enough and r.low[0] <= low <= r.low[1] and r.high[0] <= high <= r.high[1]
    )  # fmt: skip
    return ReadingEvidence(
        task=task, declared=declared.name, supported=fits[0] if len(fits) == 1 else None, fits=fits,
        low=round(low, 4), high=round(high, 4), faces=len(values), pictures=pictures,
    )  # fmt: skip


def in_words(entry: ModelEntry, found: ReadingEvidence) -> str:
    """Returns a finding in one line."""
    text = f"{found.task}: raw values {found.low:g} to {found.high:g} (1st and 99th percentile) on {found.faces} "
    text += f"{found.pictures} faces: "
    if found.supported == found.declared:
        return text + f"the file supports the declared reading '{found.declared}'"
    if found.supported is not None:
        other = next(r for r in entry.readings if r.task == found.task and r.name == found.supported)
        return text + (
            f"the file supports '{other.name}' (activation: {other.activation}, scale: {other.scale:g}, threshold: "
            f"{other.threshold}), and the entry declares '{found.declared}'"
        )
    if found.faces < FEWEST:
        return text + f"undecided, {FEWEST} faces are needed"
    names = ", ".join(r.name for r in entry.readings if r.task == found.task)
    return text + (
        f"undecided, it fits {' and '.join(found.fits)}" if found.fits else f"undecided, it fits none of {names}"
    )


def find_readings(
    entry: ModelEntry, session: Session, faces: Path | None, tell: Callable[[str], None]
) -> tuple[ReadingEvidence, ...]:
    """Tells, for each output that the entry leaves open, which reading the file supports.

    Args:
        entry: The model.
        session: A session of it with all tasks.
        faces: Folder of the user's own pictures; None for rendered faces.
        tell: Called with a line a finding.

    Returns:
        The findings, in the order of the entry's tasks; none where nothing is open.

    Raises:
        UsageError: The folder holds no picture.
        WeightsMissingError: A detector or landmark file cannot be had.
    """
    tasks: Sequence[Task] = [t for t in entry.tasks if any(r.task == t for r in entry.readings)]
    if not tasks:
        return ()
    crops = face_crops(entry, rendered_faces() if faces is None else given_faces(faces))
    tensors = {}
    if len(crops):
        parts = [session.infer(crops[i : i + 8]) for i in range(0, len(crops), 8)]
        tensors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = []
    for task in tasks:
        output = entry.output(task)
        none = np.zeros((0, len(output.labels)), np.float32)
        name = output.tensor or next(iter(tensors), "")
        columns = slice(output.start, output.start + len(output.labels))
        values = tensors[name][:, columns] if tensors else none
        evidence = decide(entry, task, values, "rendered" if faces is None else "given")
        tell(in_words(entry, evidence))
        found.append(evidence)
    return tuple(found)
