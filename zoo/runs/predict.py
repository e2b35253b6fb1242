"""A model on a user's own pictures and videos: every face, every head."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo.datasets.reader import some
from zoo.errors import ImageError, UsageError
from zoo.registry import ModelEntry, Registry
from zoo.registry.labels import Task

if TYPE_CHECKING:
    from zoo.faces.pipeline import Faces
    from zoo.runs.evaluate import Settings
    from zoo.runtimes.base import SessionInfo

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".mov", ".m4v", ".wmv", ".webm", ".mpg", ".mpeg", ".3gp"})
_BATCH = 4
"""Faces an inference: more is hardly faster, and holds more pictures in memory."""
_HELD = 64 << 20
"""Bytes of pictures after which a batch is closed."""

Results = dict[Task, dict[str, float]]
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Prediction:
    """One picture, or one frame of a video.

    Attributes:
        path: The file.
        image: RGB uint8 ``[height, width, 3]``; None when it could not be decoded, or was not to be kept.
        faces: What the pipeline found; None when it could not be decoded.
        results: For each face: task -> label -> value.
        problem: Why it could not be decoded.
        frame: Number of the frame from 1, as OpenFace counts; None for a picture, and where the problem is of a whole
            video.
        seconds: The frame's time stamp, counted from the first frame's; None for a picture, or where there is none.
    """

    path: Path
    image: NDArray[np.uint8] | None
    faces: Faces | None
    results: list[Results] = field(default_factory=list)
    problem: str | None = None
    frame: int | None = None
    seconds: float | None = None


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_images(inputs: Sequence[str | Path], *, videos: bool = False, but: Path | None = None) -> list[Path]:
    """Returns the pictures that paths name: files as they are, folders with all pictures below them.

    Args:
        inputs: Files and folders.
        videos: Take videos from folders as well.
        but: A folder whose files are not taken from a folder above it: what was drawn before is no input.

    Raises:
        UsageError: A path does not exist, or a folder holds no picture.
    """
    suffixes = SUFFIXES | VIDEO_SUFFIXES if videos else SUFFIXES
    found: list[Path] = []
    for given in map(Path, inputs):
        if given.is_dir():
            top, away = given.resolve(), None if but is None else but.resolve()
            own = given / away.relative_to(top) if away and top in away.parents else None
            files = sorted(p for p in given.rglob("*") if p.is_file() and not (own and own in p.parents))
            inside = [p for p in files if p.suffix.lower() in suffixes]
            if not inside:
                raise UsageError(
                    f"the folder '{given}' holds no picture" + (" or video" if videos else ""),
                    fix=f"suffixes: {', '.join(sorted(suffixes))}",
                )
            if odd := [p.name for p in files if p.suffix.lower() not in suffixes and not p.name.startswith(".")]:
                warnings.warn(f"{given}: left out by their suffix: {some(odd)}", stacklevel=1)
            found += inside
        elif given.exists():
            found.append(given)
        else:
            raise UsageError(f"'{given}' does not exist", fix="name a file, or a folder with pictures in it")
    return list(dict.fromkeys(found))


def count_pictures(paths: Sequence[Path]) -> int | None:
    """Returns the number of pictures and frames in files, as far as videos' headers tell; None where one does not."""
    from zoo.faces.decode import VideoReader

    total = 0
    for path in paths:
        if not is_video(path):
            total += 1
            continue
        try:
            with VideoReader(path) as reader:
                if reader.frames is None:
                    return None
                total += reader.frames
        except ImageError:
            total += 1
    return total


def _in_order(
    work: Callable[[T], U], items: Iterable[T], pool: ThreadPoolExecutor, ahead: int
) -> Generator[U, None, None]:
    """Maps in a pool's threads, at most ``ahead`` items before the consumer; results in the items' order."""
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _pictures(paths: Iterable[Path]) -> Iterator[Prediction]:
    """Yields pictures, which are not decoded yet, and the decoded frames of videos."""
    from zoo.faces.decode import VideoReader

    for path in paths:
        if not is_video(path):
            yield Prediction(path, None, None)
            continue
        try:
            with VideoReader(path) as reader:
                for frame in reader.read_all():
                    yield Prediction(
                        path, frame.pixels, None, problem=frame.problem, frame=frame.position + 1, seconds=frame.seconds
                    )
                if reader.shortfall:
                    yield Prediction(path, None, None, problem=reader.shortfall)
        except ImageError as error:
            yield Prediction(path, None, None, problem=error.what)


class Predictor:
    """A model ready for pictures and videos.

    Args:
        entry: The model.
        registry: Where it comes from, for ``path:`` sources.
        settings: Runtime, device, precision, threads.
        tasks: Tasks wanted; all of the entry's when empty.
        fold: Which checkpoint, for entries that have one a fold.

    Raises:
        UsageError: The entry cannot be run, lacks a task, or needs a fold.
    """

    def __init__(
        self,
        entry: ModelEntry,
        registry: Registry,
        settings: Settings,
        *,
        tasks: Sequence[Task] = (),
        fold: str | None = None,
    ) -> None:
        from zoo.faces.pipeline import build_pipeline
        from zoo.models import select_files
        from zoo.runtimes import default_runtime, open_session
        from zoo.weights import locate

        if not entry.runnable or entry.preprocess is None:
            raise UsageError(f"'{entry.name}' {entry.no_run} and cannot be run here", why=entry.notes)
        if lacking := [t for t in tasks if t not in entry.tasks]:
            raise UsageError(
                f"'{entry.name}' does not do {', '.join(lacking)}", why=f"it does {', '.join(entry.tasks)}"
            )
        folds = sorted({w.fold.name for w in entry.weights if w.fold})
        if folds and fold not in folds:
            raise UsageError(
                f"'{entry.name}' has a checkpoint for each fold; say which one" if fold is None
                else f"'{entry.name}' has no fold '{fold}'",
                why="each was trained on other subjects", fix=f"fold={folds[0]} (there are {', '.join(folds)})",
            )  # fmt: skip
        if fold and not folds:
            raise UsageError(f"'{entry.name}' has no folds", fix="leave fold= out")
        self.entry, self.tasks = entry, tuple(tasks) or entry.tasks
        runtime = settings.runtime or default_runtime(entry)
        chosen = select_files(entry, tasks=self.tasks, runtime=runtime, precision=settings.precision, fold=fold)
        base = registry.base(entry.name)
        files = {f.name: locate(f, entry=entry, base=base, offline=settings.offline) for f in chosen}
        self._threads = settings.threads or usable_cores()
        streams = self._threads if settings.device == "cpu" else 1
        self._session = open_session(
            entry, files, self.tasks, runtime=runtime, device=settings.device, precision=settings.precision,
            threads=self._threads // streams, streams=streams,
        )  # fmt: skip
        self._pipeline = build_pipeline(entry.preprocess, threads=self._threads)

    @property
    def info(self) -> SessionInfo:
        """What runs."""
        return self._session.info

    def _results(self, tensors: dict[str, NDArray[np.float32]]) -> list[Results]:
        """Returns the values of each face of a batch."""
        from zoo.models import apply_outputs, check_finite

        check_finite(self.entry, tensors, self._session.info.precision)
        values = apply_outputs(self.entry, tensors, self.tasks)
        count = len(next(iter(values.values())))
        return [
            {t: dict(zip(self.entry.output(t).labels, map(float, values[t][i]), strict=True)) for t in self.tasks}
            for i in range(count)
        ]

    def image(self, image: NDArray[np.uint8]) -> tuple[Faces, list[Results]]:
        """Predicts every face of one RGB uint8 picture."""
        faces = self._pipeline.process(image)
        return faces, self._results(self._session.infer(faces.crops)) if len(faces) else []

    def files(
        self, paths: Sequence[Path], *, only_chosen: bool = False, keep_images: bool = True
    ) -> Iterator[Prediction]:
        """Predicts pictures and videos in their order; what cannot be decoded comes with its problem.

        Decoding, detection and alignment run in threads beside the model. Memory does not grow with the number of
        pictures. The numbers do not depend on the threads.

        Args:
            paths: Pictures and videos, told apart by their suffix.
            only_chosen: Take the face that counts and leave out the others.
            keep_images: Hand the pictures on with their predictions, to be drawn on.
        """
        from zoo.faces.decode import read_image

        def find(item: Prediction) -> Prediction:
            image = item.image
            if image is None:
                if item.problem:
                    return item
                try:
                    image = read_image(item.path)
                except ImageError as error:
                    return replace(item, problem=error.what)
            faces = self._pipeline.process(image)
            return replace(item, faces=faces, image=image if keep_images else None)

        with (
            ThreadPoolExecutor(self._threads, thread_name_prefix="zoo-faces") as pool,
            closing(_in_order(find, _pictures(paths), pool, ahead=2 * self._threads)) as found,
        ):
            chosen = self._choose(found, only_chosen=only_chosen)
            for group, tensors in self._session.stream(self._batches(chosen)):
                left = iter(self._results(tensors))
                for item in group:
                    count = 0 if item.faces is None else len(item.faces)
                    yield replace(item, results=[next(left) for _ in range(count)])

    def _choose(self, found: Iterable[Prediction], *, only_chosen: bool) -> Iterator[Prediction]:
        """Follows the subject through videos, where the contract tracks, and leaves the others out."""
        from zoo.faces.track import Tracker

        path, tracker = None, Tracker()
        for item in found:
            faces = item.faces
            if faces is not None:
                if self._pipeline.tracks and item.frame is not None:
                    if item.path != path:
                        path, tracker = item.path, Tracker()
                    faces = replace(faces, chosen=tracker.choose(faces.boxes))
                if only_chosen:
                    faces = faces.only(faces.chosen)
            yield replace(item, faces=faces)

    def _batches(self, found: Iterable[Prediction]) -> Iterator[tuple[list[Prediction], NDArray[np.uint8]]]:
        """Puts consecutive pictures' faces together."""
        group: list[Prediction] = []
        faces = held = 0
        for item in found:
            group.append(item)
            faces += 0 if item.faces is None else len(item.faces)
            held += 0 if item.image is None else item.image.nbytes
            if faces >= _BATCH or held >= _HELD or len(group) >= 4 * _BATCH:
                yield group, self._crops(group)
                group, faces, held = [], 0, 0
        if group:
            yield group, self._crops(group)

    def _crops(self, group: Sequence[Prediction]) -> NDArray[np.uint8]:
        crops = [item.faces.crops for item in group if item.faces is not None and len(item.faces)]
        # Pictures without a face keep their turn with a black crop, whose result nobody reads.
        return np.concatenate(crops) if crops else np.zeros((1, *self._pipeline.shape), np.uint8)

    def close(self) -> None:
        """Frees the session."""
        self._session.close()
