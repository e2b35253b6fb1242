"""Streaming execution: decode and crop in threads while the model infers; memory does not grow with the dataset.

A unit is a fixed set of rows and is cut into batches by itself, so a resumed run puts the same frames into the same
batches and gives the same numbers. The frames of one video are one job: its units come out of a single decoder pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.base import Index, pictures
from zoo.errors import ImageError
from zoo.faces.decode import VideoReader
from zoo.faces.pipeline import FacePipeline
from zoo.faces.track import Tracker
from zoo.runs.labelled import crop_labelled
from zoo.runs.predictions import Unit

Columns = dict[str, NDArray[np.float32]]

UNIT = 64
"""Samples a unit: small enough that little is lost when a run is killed, large enough to fill a batch."""


@dataclass(frozen=True)
class Crop:
    """One sample.

    Attributes:
        pixels: uint8 ``[height, width, channels]``; None where there is no face, or nothing could be decoded.
        problem: Why it could not be decoded.
    """

    pixels: NDArray[np.uint8] | None
    problem: str | None = None


class CropSource(Protocol):
    """Where crops come from: the raw files, or a store of crops made earlier. Called from several threads."""

    shape: tuple[int, int, int]
    """Height, width and channels of a crop."""

    def crops(self, rows: Sequence[int]) -> Iterator[Crop]:
        """Gives the crops of rows, in their order and without a gap."""
        ...


class RawCrops:
    """Crops made from the dataset's own files."""

    def __init__(self, index: Index, pipeline: FacePipeline) -> None:
        self.index, self.pipeline, self.shape = index, pipeline, pipeline.shape

    def crops(self, rows: Sequence[int]) -> Iterator[Crop]:
        """See :class:`CropSource`.

        Where the contract tracks, a video is followed from its first frame on, whichever of them are asked for: a
        resumed run gives the same crops.
        """
        for tracked, group in groupby(rows, key=lambda row: self.pipeline.tracks and self._in_video(row)):
            together = list(group)
            yield from self._tracked(together) if tracked else self._single(together)

    def _single(self, rows: Sequence[int]) -> Iterator[Crop]:
        for picture in pictures(self.index, rows):
            if picture.image is None:
                yield Crop(None, str(picture.problem))
            else:
                box = None if self.index.box is None else self.index.box[picture.sample]
                yield Crop(crop_labelled(self.pipeline, picture.image, box))

    def _in_video(self, row: int) -> bool:
        # Rows of a table of pictures have positions too, but do not follow one another in time.
        suffix = Path(str(self.index.file[row])).suffix.lower()
        return bool(self.index.position[row] >= 0) and suffix not in (".csv", ".parquet")

    def _tracked(self, rows: Sequence[int]) -> Iterator[Crop]:
        reader: VideoReader | None = None
        tracker = Tracker()
        try:
            for row in rows:
                path, position = self.index.root / str(self.index.file[row]), int(self.index.position[row])
                try:
                    if reader is None or reader.path != path or position < reader.next_position:
                        if reader is not None:
                            reader.close()
                            reader = None
                        reader, tracker = VideoReader(path), Tracker()
                    while reader.next_position < position:
                        self._follow(reader, tracker)
                    image = reader.read(position)
                except ImageError as error:
                    yield Crop(None, error.what)
                else:
                    yield Crop(self.pipeline.crop(image, tracker=tracker))
        finally:
            if reader is not None:
                reader.close()

    def _follow(self, reader: VideoReader, tracker: Tracker) -> None:
        """Shows the tracker the next frame, which nobody asked for; a damaged one is passed over.

        Raises:
            ImageError: There is no further frame.
        """
        position = reader.next_position
        try:
            image = reader.read(position)
        except ImageError:
            if reader.next_position == position:
                raise
        else:
            self.pipeline.follow(image, tracker)


@dataclass(frozen=True)
class Crops:
    """The decoded unit.

    Attributes:
        unit: The unit.
        crops: uint8 ``[found, height, width, channels]``, the faces only.
        found: bool ``[rows]``, whether the sample has a face.
        decoded: bool ``[rows]``.
        problems: One line for each sample that could not be decoded.
    """

    unit: Unit
    crops: NDArray[np.uint8]
    found: NDArray[np.bool_]
    decoded: NDArray[np.bool_]
    problems: tuple[str, ...]


def plan(index: Index, folds: NDArray[np.int16], *, size: int = UNIT) -> list[Unit]:
    """Cuts the rows of a protocol into units: rows of one fold, frames of one video together, in reading order.

    Args:
        index: The dataset.
        folds: Fold of each row, -1 where the protocol leaves it out.
        size: Rows a unit at the most.
    """
    rows = np.flatnonzero(folds >= 0)
    video = np.flatnonzero(index.position[rows] >= 0)
    # Images are read one by one in any case; a video is read once, front to back.
    files = np.full(len(rows), -1, np.int32)
    files[video] = index.file[rows[video]].distinct()[1]
    order = np.lexsort((rows, index.position[rows], files, folds[rows]))
    rows, files = rows[order], files[order]
    units: list[Unit] = []
    for members in np.split(rows, np.flatnonzero(np.diff(files) | np.diff(folds[rows])) + 1):
        for start in range(0, len(members), size):
            units.append(Unit(len(units), int(folds[members[0]]), members[start : start + size]))
    return units


def _jobs(index: Index, units: Sequence[Unit]) -> list[list[Unit]]:
    jobs: list[list[Unit]] = []
    last = None
    for unit in units:
        first = unit.rows[0]
        source = (unit.fold, str(index.file[first])) if index.position[first] >= 0 else (unit.number, "")
        if source != last:
            jobs.append([])
        jobs[-1].append(unit)
        last = source
    return jobs


def _crop_unit(unit: Unit, shape: tuple[int, int, int], stream: Iterator[Crop]) -> Crops:
    crops, count = np.empty((len(unit.rows), *shape), np.uint8), 0
    found = np.zeros(len(unit.rows), bool)
    decoded = np.zeros(len(unit.rows), bool)
    problems: list[str] = []
    for i, crop in enumerate(islice(stream, len(unit.rows))):
        decoded[i] = crop.problem is None
        if crop.problem is not None:
            problems.append(crop.problem)
        elif crop.pixels is not None:
            crops[count] = crop.pixels
            count += 1
            found[i] = True
    return Crops(unit, crops[:count], found, decoded, tuple(problems))


def crop_units(
    index: Index, units: Sequence[Unit], source: CropSource, *, workers: int
) -> Generator[Crops, None, None]:
    """Decodes and crops units in threads; yields them as they get ready, at most ``2 * workers`` held at once.

    Closing it early stops the threads.

    Args:
        index: The dataset.
        units: What to do, in the order of :func:`plan`.
        source: Where the crops come from.
        workers: Threads.
    """
    ready: Queue[Crops | BaseException] = Queue(maxsize=2 * workers)
    stop = threading.Event()

    def put(item: Crops | BaseException) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
            except Full:
                continue
            return True
        return False

    def work(job: list[Unit]) -> None:
        try:
            stream = source.crops(np.concatenate([u.rows for u in job]).tolist())
            for unit in job:
                if stop.is_set() or not put(_crop_unit(unit, source.shape, stream)):
                    return
        except BaseException as error:  # handed to the consumer, which raises it
            put(error)

    with ThreadPoolExecutor(workers, thread_name_prefix="zoo-crop") as pool:
        try:
            futures = [pool.submit(work, job) for job in _jobs(index, units)]
            for _ in units:
                while True:
                    try:
                        item = ready.get(timeout=1)
                        break
                    except Empty:
                        if all(f.done() for f in futures) and ready.empty():
                            raise RuntimeError("the decoding threads ended early") from None
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def run_units(
    prepared: Generator[Crops, None, None],
    stream: Callable[[Iterable[tuple[Any, NDArray[np.uint8]]]], Generator[tuple[Any, Columns], None, None]],
    store: Callable[[Unit, dict[str, NDArray[np.generic]]], None],
    columns: Sequence[str],
    *,
    batch: int,
    done: Callable[[Crops], None],
) -> None:
    """Infers every unit and stores it.

    Args:
        prepared: Decoded units; closed at the end, however that comes.
        stream: Runs keyed batches, several at once; yields ``(key, column name -> float32 [n])`` in the order given.
            Closed at the end too, so that no inference goes on in a session that is about to be closed.
        store: Called with a unit and its columns once it is whole.
        columns: Output columns; NaN where there is no face.
        batch: Largest batch.
        done: Called after a unit is stored, for progress.
    """

    def finish(item: Crops, outputs: Columns) -> None:
        store(item.unit, {"face_found": item.found, "decoded": item.decoded, **outputs})
        done(item)

    def batches() -> Iterator[tuple[tuple[Crops, Columns, int], NDArray[np.uint8]]]:
        for item in prepared:
            outputs = {name: np.full(len(item.found), np.nan, np.float32) for name in columns}
            for start in range(0, len(item.crops), batch):
                yield (item, outputs, start), item.crops[start : start + batch]
            if not len(item.crops):
                finish(item, outputs)

    with closing(prepared), closing(stream(batches())) as results:
        for (item, outputs, start), values in results:
            where = np.flatnonzero(item.found)[start : start + batch]
            for name in columns:
                outputs[name][where] = values[name]
            if start + batch >= len(item.crops):
                finish(item, outputs)
