"""CSV files that a user has from OpenFace, as predictions for a dataset's samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.base import Index
from zoo.errors import DatasetError, UsageError
from zoo.models.openface_csv import OpenFaceTable, read_openface_csv
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, Output
from zoo.runs.predictions import column

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
"""What OpenFace takes for a picture in a folder (``ImageCapture.cpp``, ``SequenceCapture.cpp``)."""

WRONG = 0.1
"""A file that lacks more than this share of the frames is refused. A decoder drops a frame or two; a crash or a file of
another video leaves out many."""


DETAILS = "_of_details.txt"
"""FaceLandmarkImg writes this file beside each CSV file, and no CSV file for a picture in which it finds no face: the
CSV file is opened with the first face (``RecorderOpenFace.cpp``)."""

_BARE = 3
"""Columns of a part without AUs: ``row``, ``decoded``, ``face_found``."""


def read_result(path: Path) -> OpenFaceTable:
    """Reads a CSV file, or the details file that stands alone where a picture has no face.

    Raises:
        DatasetError: Not such a file.
    """
    if not path.name.endswith(DETAILS):
        return read_openface_csv(path)
    return OpenFaceTable(
        path, "image", np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.float32), intensity={}, occurrence={}
    )


@dataclass(frozen=True)
class Gap:
    """Frames that a file should have and does not.

    Attributes:
        file: Its name.
        missing: How many of the dataset's samples have no row.
        of: How many samples it should cover.
        first: OpenFace's number of the first one.
    """

    file: str
    missing: int
    of: int
    first: int

    def __str__(self) -> str:
        return f"{self.file}: no row for {self.missing} of {self.of} frames, the first is frame {self.first}"


def match_files(path: str | Path | Sequence[Path], index: Index) -> dict[str, Path]:
    """Finds what each CSV file is of: its video, its folder of frames (with a slash at the end) or its picture.

    Args:
        path: A CSV file, a folder with CSV files below it, or several files.
        index: The dataset.

    Raises:
        UsageError: No CSV file there.
        DatasetError: A file that belongs to nothing or to several things in the dataset, or two files of one thing.
    """
    names, alone = _names(index, units_of(index))
    taken: dict[str, Path] = {}
    for file, parents in _files(path):
        unit = _belongs(file, parents, names, alone)
        if unit in taken:
            raise DatasetError(
                f"two files are named after {unit}", where=f"{taken[unit]}, {file}", fix="leave one of them out"
            )
        taken[unit] = file
    return taken


def predictions_from_openface_csv(
    path: str | Path | Sequence[Path] | Mapping[str, Path],
    index: Index,
    entry: ModelEntry,
    gaps: list[Gap] | None = None,
    read: Callable[[Path], OpenFaceTable] | None = None,
    units: Mapping[str, NDArray[np.int64]] | None = None,
) -> pa.Table:
    """Makes predictions of OpenFace's CSV files, in the form that :func:`zoo.runs.scoring.score_predictions` takes.

    A file belongs to the video, the folder of frames or the picture that it is named after: ``F001_T1.csv``,
    ``F001/T1.csv`` or, where that says it, ``T1.csv`` or ``F001.csv``. In a folder of frames, OpenFace's frame n is the
    n-th picture by name, whatever its number.

    Args:
        path: A CSV file, a folder with CSV files below it, or several files; or what :func:`match_files` gives.
        index: The dataset.
        entry: The model whose outputs the columns are, ``openface2``.
        gaps: Takes what is missing inside the files.
        read: Reads a file; None takes its columns as they are.
        units: What :func:`units_of` gives, where many files are read one by one; None makes it.

    Returns:
        Rows of the index that the files cover, ascending: ``row``, ``face_found`` (OpenFace's ``success``),
        ``decoded``, and a column for each AU that the files have, NaN where no face was found. Score it with
        :func:`output_of`.

    Raises:
        UsageError: No CSV file there.
        DatasetError: A file that cannot be read, that belongs to nothing or to several things in the dataset, two files
            of one thing, a file of something else than it is named after, or a file with other AUs than the first.
    """
    import pyarrow as pa

    files = dict(path) if isinstance(path, Mapping) else match_files(path, index)
    units = units_of(index) if units is None else units
    parts: list[dict[str, NDArray[Any]]] = []
    faceless: list[dict[str, NDArray[Any]]] = []
    first: Path | None = None
    for unit, file in files.items():
        part, gap = _part(index, unit, units[unit], (read or read_result)(file), entry)
        if gap is not None and gaps is not None:
            gaps.append(gap)
        if len(part) == _BARE:  # a picture without a face: its columns are the others'
            faceless.append(part)
            continue
        if parts and first and part.keys() != parts[0].keys():
            other = sorted(part.keys() ^ parts[0].keys())
            raise DatasetError(
                f"'{file.name}' has other AUs than '{first.name}'", where=str(file), why=", ".join(other),
                fix="write all files with one version of OpenFace",
            )  # fmt: skip
        first = first or file
        parts.append(part)
    if not parts:
        raise DatasetError("none of the pictures has a face", where=", ".join(map(str, list(files.values())[:3])))
    for part in faceless:
        parts.append({name: part.get(name, np.full(len(part["row"]), np.nan, np.float32)) for name in parts[0]})
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    order = np.argsort(joined["row"], kind="stable")
    if len(np.unique(joined["row"])) != len(order):
        raise DatasetError(
            "a picture is in two files", where=", ".join(sorted({str(f.parent) for f in files.values()})),
            why="in that of its folder and in one of its own", fix="keep the files of one of OpenFace's programs",
        )  # fmt: skip
    return pa.table({name: pa.array(values[order]) for name, values in joined.items()})


def output_of(table: pa.Table, entry: ModelEntry, task: Task) -> Output:
    """Returns a task's output with the labels that a table of OpenFace's files has: older versions have fewer AUs.

    Raises:
        UsageError: It has none of them.
    """
    output = entry.output(task)
    labels = tuple(x for x in output.labels if column(task, x) in table.column_names)
    if not labels:
        raise UsageError(
            f"the files have no columns for {task}", why="intensity is AU01_r, occurrence is AU01_c",
            fix="run OpenFace with -aus, or without any output flag",
        )  # fmt: skip
    return output.model_copy(update={"labels": labels})


def _part(
    index: Index, name: str, unit: NDArray[np.int64], table: OpenFaceTable, entry: ModelEntry
) -> tuple[dict[str, NDArray[Any]], Gap | None]:
    """The predictions of one file, and what is missing in it."""
    _same_kind(index, name, unit, table)
    rows, numbers = _numbered(index, unit, table)
    places = {number: place for place, number in enumerate(table.frame.tolist())}
    place = np.array([places.get(number, -1) for number in numbers.tolist()], np.int64)
    gap = None
    if table.kind == "sequence":  # a frame that is not in the file is not covered; a picture without a face is
        gone = place < 0
        if gone.any():
            gap = Gap(table.path.name, int(gone.sum()), len(gone), int(numbers[gone].min()))
            if gap.missing > WRONG * gap.of:
                raise DatasetError(
                    f"{table.path.name} is not of {name}, or was cut off", where=str(table.path),
                    why=f"it has no row for {gap.missing} of {gap.of} frames", fix="run OpenFace on it again",
                )  # fmt: skip
        rows, place = rows[place >= 0], place[place >= 0]
    there = place >= 0
    found = np.zeros(len(rows), bool)
    found[there] = table.success[place[there]]
    part: dict[str, NDArray[Any]] = {"row": rows, "decoded": np.ones(len(rows), bool), "face_found": found}
    for task in entry.tasks:
        measured = table.intensity if task == "au-intensity" else table.occurrence
        for label in entry.output(task).labels:
            if label in measured:
                values = np.full(len(rows), np.nan, np.float32)
                values[there] = measured[label][place[there]]
                part[column(task, label)] = values
    return part, gap


def _same_kind(index: Index, name: str, rows: NDArray[np.int64], table: OpenFaceTable) -> None:
    """Refuses a file that cannot be of what it is named after.

    Raises:
        DatasetError: A picture's file for a video or a folder, a video's for a picture, no rows, or too many.
    """
    video = bool((index.position[rows] >= 0).all())
    last = int(table.frame.max(initial=0))
    wrong = None
    if (video or name.endswith("/")) and table.kind == "image":
        wrong, fix = f"it is a picture's, and {name} holds frames", "run FeatureExtraction"
    elif not video and not name.endswith("/") and table.kind == "sequence" and last > 1:
        wrong, fix = f"it has {last} frames, and {name} is one picture", "run FaceLandmarkImg"
    elif table.kind == "sequence" and not last:
        wrong, fix = "it has no rows", "run OpenFace on it again"
    elif video and last > int(index.position[rows].max()) + 1 and (frames := _frames(index.root / name, last)) < last:
        wrong, fix = f"it goes to frame {last}, and the video has {frames}", "run OpenFace on this video"
    if wrong:
        raise DatasetError(f"{table.path.name} is not of {name}", where=str(table.path), why=wrong, fix=fix)


def _frames(video: Path, last: int) -> int:
    """Returns how many frames a video has, or ``last`` where it cannot be opened: there is nothing to compare then."""
    from zoo.datasets.video import VideoDamagedError, frame_count

    try:
        return frame_count(video, last)
    except (VideoDamagedError, OSError):
        return last


def _files(path: str | Path | Sequence[Path]) -> list[tuple[Path, tuple[str, ...]]]:
    """Finds CSV files, each with the folders between it and what was given."""
    given: Iterable[Path] = [Path(path)] if isinstance(path, str | Path) else path
    found: list[tuple[Path, tuple[str, ...]]] = []
    for one in given:
        if one.is_dir():
            files = [*one.rglob("*.csv")]
            there = {f.with_suffix("") for f in files}
            lone = [f for f in one.rglob(f"*{DETAILS}") if f.with_name(f.name.removesuffix(DETAILS)) not in there]
            found += [(f, f.relative_to(one).parts[:-1]) for f in sorted([*files, *lone])]
        elif one.is_file():
            found.append((one, ()))
        else:
            raise UsageError(f"'{one}' does not exist", fix="name the folder that -out_dir named")
    if not found:
        raise UsageError("no CSV file of OpenFace there", where=str(path), fix="name the folder that -out_dir named")
    return found


def units_of(index: Index) -> dict[str, NDArray[np.int64]]:
    """Returns the rows by what OpenFace would be run on: a video, a folder of frames, and each picture by itself."""
    groups: dict[str, list[int]] = {}
    for row, (file, position) in enumerate(zip(index.file.tolist(), index.position.tolist(), strict=True)):
        groups.setdefault(file, []).append(row)
        if position < 0 and "/" in file:
            groups.setdefault(file.rpartition("/")[0] + "/", []).append(row)
    return {unit: np.array(rows, np.int64) for unit, rows in groups.items()}


def _spelled(parts: Sequence[str]) -> Iterable[str]:
    """The names that a file of results may have: the last parts of the path, joined."""
    for start in range(len(parts)):
        for joint in ("/", "_", "-"):
            yield joint.join(parts[start:])


def _names(index: Index, units: dict[str, NDArray[np.int64]]) -> tuple[dict[str, set[str]], set[str]]:
    names: dict[str, set[str]] = {}
    for unit, rows in units.items():
        parts = unit.rstrip("/").split("/")
        if not unit.endswith("/"):
            parts[-1] = parts[-1].rpartition(".")[0] or parts[-1]
        spelled = {*_spelled(parts)}
        if unit.endswith("/") or index.position[rows[0]] >= 0:  # a person's only video or folder has the person's name
            people = index.subject[rows].distinct()[0]
            spelled |= set(people) - {""} if len(people) == 1 else set()
        for name in spelled:
            names.setdefault(name, set()).add(unit)
    return names, {name for name, found in names.items() if len(found) == 1}


def _stem(file: Path) -> str:
    return file.name.removesuffix(DETAILS) if file.name.endswith(DETAILS) else file.stem


def _belongs(file: Path, parents: tuple[str, ...], names: dict[str, set[str]], alone: set[str]) -> str:
    tried = [name for name in _spelled((*parents, _stem(file))) if name in names]
    for name in tried:
        if name in alone:
            return next(iter(names[name]))
    if tried:
        several = sorted(names[tried[0]])
        raise DatasetError(
            f"'{file.name}' could belong to {len(several)} things in the dataset", where=str(file),
            why=", ".join(several[:4]) + (", ..." if len(several) > 4 else ""),
            fix="put it into a folder of the subject's name, or name it subject_sequence.csv",
        )  # fmt: skip
    raise DatasetError(
        f"'{file.name}' belongs to nothing in the dataset", where=str(file),
        fix="name it after the video, the folder of frames or the picture that it is of",
    )  # fmt: skip


def _numbered(
    index: Index, rows: NDArray[np.int64], table: OpenFaceTable
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the rows and OpenFace's frame number of each."""
    position = index.position[rows].astype(np.int64)
    if (position >= 0).all():
        return rows, position + 1
    if table.kind == "image" or len(rows) == 1:
        return rows, np.ones(len(rows), np.int64)
    files = index.file[rows].tolist()
    folder = index.root / files[0].rpartition("/")[0]
    if folder.is_dir():
        listed = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in _IMAGES)
    else:
        listed = sorted(f.rpartition("/")[2] for f in files)
    rank = {name: number for number, name in enumerate(listed, 1)}
    numbers = [rank.get(f.rpartition("/")[2], 0) for f in files]
    if 0 in numbers or len(listed) < len(table.frame):
        raise DatasetError(
            f"{table.path.name} has {len(table.frame)} frames, the folder {folder.name} holds {len(listed)} pictures",
            where=str(table.path), why="frame n of OpenFace is the n-th picture of the folder by name",
            fix="run OpenFace again on this folder",
        )  # fmt: skip
    return rows, np.array(numbers, np.int64)
