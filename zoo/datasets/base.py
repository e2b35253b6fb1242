"""What every dataset gives: an index of samples, labels by name, findings about the copy, and the pictures.

An index is built once by reading the tree, block by block into columns that lie in files, so that its memory does not
grow with the frames. Frames are always integers and 1-based where the owners number them so; pictures are addressed
by (file, position in file), so that an extracted frame and a video frame are the same sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.text import Text
from zoo.errors import ImageError
from zoo.registry.labels import Task

Severity = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that the integrity check has to say.

    Attributes:
        severity: ``note`` changes nothing; ``warning`` changes what a score may be compared with; ``error`` means
            that a protocol cannot be run on this copy.
        code: Short fixed name, such as ``missing-subject``.
        message: One line with the file's name and what it means.
        count: How many files or frames it concerns.
    """

    severity: Severity
    code: str
    message: str
    count: int = 1


@dataclass(frozen=True)
class Labels:
    """Labels of one task.

    Attributes:
        task: The task.
        names: Column names, such as ``AU01`` or, for expressions, the class names.
        values: float32 ``[samples, len(names)]`` for AUs and affect, NaN where not coded; int16 ``[samples]`` class
            index into ``names`` for expressions, -1 where not labelled.
    """

    task: Task
    names: tuple[str, ...]
    values: NDArray[np.float32] | NDArray[np.int16]


@dataclass(frozen=True)
class Index:
    """The samples of one copy of a dataset, in a fixed order (subject, sequence, frame).

    The columns are read-only, and may be parts of a file that the system maps into memory. Text may be given as any
    sequence of str.

    Attributes:
        dataset: Name, such as ``disfa``.
        root: Where the copy is.
        manifest: Hex sha256 over the relative paths and sizes of the media files and the contents of the label files.
        identities: Namespace of the subject names: two datasets with the same one share people (``disfa`` for DISFA
            and DISFA+). Synthetic trees have a namespace of their own.
        synthetic: Whether the tree was rendered by this project.
        subject: Subject of each sample, ``[samples]`` str; empty strings where the dataset names none.
        sequence: Video, task or folder of each sample, ``[samples]`` str.
        frame: Frame number as the owners count, ``[samples]`` int32 (1-based for DISFA and BP4D).
        split: ``train``, ``test`` ... or an empty string, ``[samples]`` str.
        file: Path of the image or video relative to ``root`` (POSIX), ``[samples]`` str.
        position: 0-based position of the frame in a video file, or of the row in a table of pictures (``.csv``,
            ``.parquet``); -1 for an image file, ``[samples]`` int32.
        labels: By task.
        box: Face boxes that the dataset gives, float32 ``[samples, 4]`` (left, top, right, bottom, pixels), or None.
        findings: What the integrity check found.
        options: The reader's options it was read with, such as ``{"camera": "left"}``.
    """

    dataset: str
    root: Path
    manifest: str
    identities: str
    synthetic: bool
    subject: Text
    sequence: Text
    frame: NDArray[np.int32]
    split: Text
    file: Text
    position: NDArray[np.int32]
    labels: dict[Task, Labels]
    box: NDArray[np.float32] | None = None
    findings: tuple[Finding, ...] = field(default=())
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("subject", "sequence", "split", "file"):
            object.__setattr__(self, name, Text.of(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def subjects(self) -> list[str]:
        """Sorted subject names."""
        return [name for name in self.subject.distinct()[0] if name]


class Dataset(Protocol):
    """A reader for one dataset's layout. One module of :mod:`zoo.datasets` each."""

    name: str
    title: str
    tasks: tuple[Task, ...]
    obtain: str
    """How a user gets a copy: owner, form, terms. One or two sentences."""

    def index(self, root: Path) -> Index:
        """Reads a copy.

        Raises:
            DatasetMissingError: ``root`` is not there, or holds nothing of this dataset.
            DatasetError: A label file that cannot be read as what it is; names the file and the line.
        """
        ...


@dataclass(frozen=True)
class Picture:
    """One decoded sample, or the reason why there is none.

    Attributes:
        sample: Row of the index.
        image: RGB uint8 ``[height, width, 3]``; None where decoding failed.
        problem: Why decoding failed (one line with the file's name).
    """

    sample: int
    image: NDArray[np.uint8] | None
    problem: str | None = None


def pictures(index: Index, samples: Sequence[int]) -> Iterator[Picture]:
    """Decodes samples in the order given; frames of one video come from one decoder pass.

    A file that cannot be decoded gives a :class:`Picture` with a problem, never an exception and never a gap.
    """
    from zoo.datasets.pixels import PixelTable
    from zoo.datasets.shards import ShardReader
    from zoo.faces.decode import VideoReader, read_image

    tables: dict[str, type[PixelTable | ShardReader]] = {".csv": PixelTable, ".parquet": ShardReader}
    reader: VideoReader | PixelTable | ShardReader | None = None
    try:
        for sample in samples:
            path = index.root / str(index.file[sample])
            position = int(index.position[sample])
            try:
                if position < 0:
                    image = read_image(path)
                else:
                    if reader is None or reader.path != path or position < reader.next_position:
                        if reader is not None:
                            reader.close()
                            reader = None
                        reader = tables.get(path.suffix.lower(), VideoReader)(path)
                    image = reader.read(position)
            except ImageError as error:
                yield Picture(sample, None, error.what)
                continue
            except OSError as error:
                yield Picture(sample, None, f"{index.file[sample]}: {error.strerror or error}")
                continue
            yield Picture(sample, image)
    finally:
        if reader is not None:
            reader.close()
