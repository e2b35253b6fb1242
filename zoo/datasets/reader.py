"""What the readers share: findings, columns that grow by arrays, the manifest, and finding folders whatever their case.

What is a warning and what is an error is one rule for all datasets. A copy that holds *less* than the owners' (a
subject, a video, rows) can still be scored on what it holds: a warning, and ``zoo.protocols.coverage`` makes the
record say so. A value outside its range is not a label: it becomes "not coded" and is counted as a warning. A file
that is *damaged or contradicts itself* (cut short in mid-line, two label files for one AU) has no reading that is
known to be right: an error, and the copy is not scored until it is mended.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo._util.spool import Spool
from zoo.datasets.base import Finding, Index, Labels, Severity
from zoo.datasets.text import TextSpool
from zoo.errors import DatasetError, DatasetMissingError, UnknownNameError, UsageError
from zoo.registry.labels import Task

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MARKER = "SYNTHFACE.json"


def some(names: Iterable[str], most: int = 4) -> str:
    """Returns the first names of a list and how many more there are: ``a, b and 7 more``."""
    listed = list(names)
    if len(listed) <= most + 1:
        return ", ".join(listed)
    return f"{', '.join(listed[:most])} and {len(listed) - most} more"


@dataclass
class Audit:
    """Collects what a reader finds."""

    findings: list[Finding] = field(default_factory=list)

    def _add(self, severity: Severity, code: str, message: str, count: int) -> None:
        self.findings.append(Finding(severity, code, message, int(count)))

    def note(self, code: str, message: str, count: int = 1) -> None:
        """Says something that changes no number."""
        self._add("note", code, message, count)

    def warning(self, code: str, message: str, count: int = 1) -> None:
        """Says something that changes what a score may be compared with; codes ``missing-*``: an incomplete copy."""
        self._add("warning", code, message, count)

    def error(self, code: str, message: str, count: int = 1) -> None:
        """Says that the copy cannot be scored as it is."""
        self._add("error", code, message, count)


class Manifest:
    """Collects paths, sizes and label contents; its digest names a copy's content wherever the copy lies."""

    def __init__(self) -> None:
        self._lines: set[str] = set()

    def media(self, path: str, size: int) -> None:
        """Adds one media file (a video)."""
        self._lines.add(f"media {path} {size}")

    def folder(self, path: str, files: Iterable[tuple[str, int]]) -> None:
        """Adds the media files of one folder as one line, so that memory does not grow with the frames."""
        digest = hashlib.sha256()
        for name, size in sorted(files):
            digest.update(f"{name} {size}\n".encode("utf-8", "surrogateescape"))
        self._lines.add(f"folder {path} {digest.hexdigest()}")

    def labels(self, path: str, content: bytes) -> None:
        """Adds one label file."""
        self.digested(path, hashlib.sha256(content).hexdigest())

    def digested(self, path: str, digest: str) -> None:
        """Adds one label file, or a long list of files, by a digest that was made while reading."""
        self._lines.add(f"labels {path} {digest}")

    def reaches_into(self, folder: str) -> bool:
        """Says whether anything was read from a folder, given by its path relative to the root."""
        return any(f" {folder}/" in line or line.startswith(f"folder {folder} ") for line in self._lines)

    def digest(self) -> str:
        """Returns the hex sha256 over the sorted lines."""
        return hashlib.sha256("\n".join(sorted(self._lines)).encode("utf-8", "surrogateescape")).hexdigest()


class Columns:
    """Grows an index's columns block by block (one block a video, folder or part of a list); they lie in files."""

    def __init__(self) -> None:
        self._text = {name: TextSpool() for name in ("subject", "sequence", "split", "file")}
        self._numbers = {name: Spool(np.int32) for name in ("frame", "position")}
        self._box = Spool(np.float32, 4)
        self._labels: dict[Task, Spool] = {}

    def add(
        self,
        *,
        frame: NDArray[np.integer[Any]],
        file: str | Iterable[str],
        labels: Mapping[Task, NDArray[Any]],
        subject: str | Iterable[str] = "",
        sequence: str | Iterable[str] = "",
        split: str | Iterable[str] = "",
        position: NDArray[np.integer[Any]] | None = None,
        box: NDArray[np.float32] | None = None,
    ) -> None:
        """Adds one block.

        Args:
            frame: Frame numbers, ``[n]``.
            file: Path relative to the root: one for all (a video), or ``[n]``.
            labels: By task, ``[n]`` or ``[n, names]``.
            subject: Of the whole block, or ``[n]``.
            sequence: Likewise.
            split: Likewise.
            position: Positions in the video, or None for image files.
            box: ``[n, 4]``, or None.

        Raises:
            ZooError: The disk is full.
        """
        n = len(frame)
        if not n:
            return
        for name, text in (("subject", subject), ("sequence", sequence), ("split", split), ("file", file)):
            self._text[name].append(text, n)
        self._numbers["frame"].append(frame)
        self._numbers["position"].append(np.full(n, -1, np.int32) if position is None else position)
        if box is not None:
            self._box.append(box)
        for task, values in labels.items():
            self._labels.setdefault(task, Spool(values.dtype, *values.shape[1:])).append(values)

    def __len__(self) -> int:
        return len(self._numbers["frame"])

    def in_split(self, name: str) -> int:
        """Returns how many samples of a split there are so far."""
        return int((self._text["split"].text() == name).sum())

    def joined(self) -> tuple[dict[str, Any], dict[Task, NDArray[Any]], NDArray[np.float32] | None]:
        """Returns the columns by name (text as :class:`Text`), the labels by task and the boxes."""
        columns = {name: spool.text() for name, spool in self._text.items()}
        numbers = {name: spool.array() for name, spool in self._numbers.items()}
        labels = {task: spool.array() for task, spool in self._labels.items()}
        return {**columns, **numbers}, labels, self._box.array() if len(self._box) else None


@dataclass
class Copy:
    """One copy of a dataset while it is read.

    Attributes:
        root: Its root, an existing folder.
        options: A value for each of the reader's options.
        synthetic: This project rendered it: the owners' counts do not apply.
        names: Label names by task.
        audit: Takes the findings.
        manifest: Takes what is read.
        columns: Takes the samples.
    """

    root: Path
    options: dict[str, str]
    synthetic: bool = False
    names: dict[Task, tuple[str, ...]] = field(default_factory=dict)
    audit: Audit = field(default_factory=Audit)
    manifest: Manifest = field(default_factory=Manifest)
    columns: Columns = field(default_factory=Columns)

    def name(self, path: Path) -> str:
        """Returns a path relative to the root in POSIX form."""
        return path.relative_to(self.root).as_posix()

    def damaged_images(self, where: str, empty: Sequence[str]) -> None:
        """Reports image files of no bytes."""
        if empty:
            self.audit.warning(
                "damaged-image",
                f"{where}: {len(empty)} image files are empty: {some(empty)}; they count as failed",
                len(empty),
            )


def plain(name: str) -> str:
    """Returns a folder name without case, blanks and punctuation: ``Video_RightCamera`` -> ``videorightcamera``."""
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders directly inside one, sorted, without hidden ones and archive litter."""
    try:
        found = [p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX")) and p.is_dir()]
    except OSError as error:
        raise DatasetError(f"the folder cannot be read: {error.strerror}", where=str(folder)) from None
    return sorted(found)


def files_in(folder: Path) -> list[tuple[str, int]]:
    """Returns (name, size) of the files directly inside a folder, sorted; hidden ones are left out.

    A dangling link has size 0: it is listed, and it is damaged.

    Raises:
        DatasetError: The folder cannot be read.
    """
    return sorted(each_file(folder))


def each_file(folder: Path) -> Iterator[tuple[str, int]]:
    """Yields what :func:`files_in` returns, in any order: a folder of a million files is not held in memory."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    if entry.is_dir():
                        continue
                    size = entry.stat().st_size
                except OSError:
                    size = 0
                yield entry.name, size
    except OSError as error:
        raise DatasetError(f"the folder cannot be read: {error.strerror}", where=str(folder)) from None


def read_bytes(path: Path) -> bytes:
    """Returns a label file's bytes.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"the file cannot be read: {error.strerror}", where=str(path)) from None


def unpacked(folder: Path, holds: Callable[[Path], bool], depth: int = 2) -> Path | None:
    """Returns the folder that holds what is looked for: the given one, or one of the same name inside it."""
    if holds(folder):
        return folder
    if depth:
        for child in subfolders(folder):
            if plain(child.name) == plain(folder.name) and (found := unpacked(child, holds, depth - 1)):
                return found
    return None


def read_marker(root: Path) -> dict[str, Any] | None:
    """Returns the marker of a tree that this project rendered, or None for any other tree.

    Raises:
        DatasetError: The marker is there and is not a JSON object that names its identities.
    """
    path = root / MARKER
    if not path.is_file():
        return None
    try:
        marker = json.loads(path.read_bytes())
        if isinstance(marker, dict) and isinstance(marker["identities"], str) and marker["identities"]:
            return marker
        why = "'identities' is not a name"
    except (ValueError, KeyError) as error:
        why = f"{type(error).__name__}: {error}"
    raise DatasetError(
        "the marker of a synthetic tree cannot be read",
        where=str(path), why=why, fix="delete the tree; it is rendered again",
    )  # fmt: skip


def refuse_part_of_rendered(copy: Copy) -> None:
    """Refuses a root that lies inside a rendered tree, or above one that was read: it would pass for a real copy.

    Raises:
        DatasetError: It does; names the tree's root.
    """
    above = [p for p in copy.root.resolve().parents[:3] if (p / MARKER).is_file()]
    below = [f for f in subfolders(copy.root) if (f / MARKER).is_file() and copy.manifest.reaches_into(f.name)]
    if trees := above or below:
        raise DatasetError(
            f"root= points {'into' if above else 'above'} a tree of rendered faces, which would pass for a real copy",
            where=str(copy.root), why=f"{MARKER} is in {trees[0]}", fix=f"root={quote(str(trees[0]))}",
        )  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What a protocol scores, in a dataset's terms.

    Attributes:
        split: Split, or None for all.
        frames: Frame set.
        subjects: Test subjects; empty for all.
        classes: Classes; empty for all, and for tasks without classes.
        options: The reader's options.
        task: Task whose labels are scored.
    """

    split: str | None = None
    frames: str = "all"
    subjects: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    task: Task | None = None


class Reader(ABC):
    """One dataset's layout. Subclasses say how to :meth:`scan` a copy."""

    name: str
    title: str
    tasks: tuple[Task, ...]
    obtain: str
    identities: str
    """Namespace of the people in it; datasets of the same people, or of the same pictures, share it."""
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What can be chosen when the copy is read, the default first: ``camera`` -> ``left``, ``right``."""
    labels_vary: ClassVar[bool] = False
    """Whether copies have labels for some of the tasks only, as their user chose."""
    frame_sets: tuple[str, ...] = ("all",)
    """Named sets of frames that a protocol can ask for."""
    people: frozenset[str] = frozenset()
    """Every subject of the owners' copy, where the list is known."""

    known: ClassVar[tuple[str, ...]] = ()
    """What is known to be wrong with, or unusual in, the owners' own copy, and what it means for a score. One line
    each, for the report."""

    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {}
    """Label names by task."""

    @abstractmethod
    def scan(self, copy: Copy) -> None:
        """Reads a copy: samples into its columns, files into its manifest, what is wrong into its audit.

        Raises:
            DatasetMissingError: The root holds nothing of this dataset.
            DatasetError: A file that cannot be opened at all.
        """

    def chosen(self, options: Mapping[str, str]) -> dict[str, str]:
        """Returns a value for every option: the given one, else the default.

        Raises:
            UnknownNameError: No such option, or no such value of it.
        """
        for key, value in options.items():
            if key not in self.options:
                raise UnknownNameError(f"option of the dataset {self.name}", key, self.options)
            if value not in self.options[key]:
                raise UnknownNameError(f"value of {key}", str(value), self.options[key])
        return {key: options.get(key, values[0]) for key, values in self.options.items()}

    def default_root(self, options: Mapping[str, str], offline: bool | None = None) -> Path | None:
        """Returns the copy that is read when none is named, made now if it is not there.

        Args:
            options: A value for each of the reader's options.
            offline: True: make no request. None: as the environment says.

        Returns:
            Its root; None for datasets that users bring themselves.
        """
        del options, offline
        return None

    def inspect(self, root: Path, **options: str) -> Index:
        """Reads a copy however damaged it is; the findings may hold errors. For reports, not for scores.

        Raises:
            DatasetMissingError: ``root`` is not there, or holds nothing of this dataset.
            DatasetError: A file that cannot be opened at all.
        """
        chosen = self.chosen(options)
        root = Path(root)
        if not root.is_dir():
            why = "there is no such folder" if not root.exists() else "it is not a folder"
            raise DatasetMissingError(f"no copy of {self.title}", where=str(root), why=why, fix=self.obtain)
        return self.read(root, chosen, self.scan)

    def read(self, root: Path, options: Mapping[str, str], scan: Callable[[Copy], None]) -> Index:
        """Runs a scan and joins what it read."""
        marker = read_marker(root)
        copy = Copy(root, dict(options), synthetic=marker is not None, names=dict(self.labels))
        scan(copy)
        if marker is None:
            refuse_part_of_rendered(copy)
        else:
            copy.audit.note("synthetic", "rendered by this project: its scores are a rehearsal, not a result")
        columns, labels, box = copy.columns.joined()
        return Index(
            dataset=self.name,
            root=root,
            manifest=copy.manifest.digest(),
            identities=self.identities if marker is None else marker["identities"],
            synthetic=marker is not None,
            labels={task: Labels(task, copy.names[task], values) for task, values in labels.items()},
            box=box,
            findings=tuple(copy.audit.findings),
            options=dict(copy.options),
            **columns,
        )

    def index(self, root: Path, **options: str) -> Index:
        """Reads a copy.

        Raises:
            DatasetMissingError: ``root`` is not there, or holds nothing of this dataset.
            DatasetError: The copy is damaged or contradicts itself; names the file and the line.
        """
        index = self.inspect(root, **options)
        errors = [f for f in index.findings if f.severity == "error"]
        if errors:
            more = f" (and {len(errors) - 1} more such findings)" if len(errors) > 1 else ""
            raise DatasetError(
                f"this copy of {self.title} is damaged: {errors[0].message}{more}",
                where=str(root),
                fix=f"python -m zoo.check dataset={self.name} root={root} lists everything; copy the named files again",
            )
        return index

    def frame_set(self, index: Index, name: str) -> NDArray[np.bool_]:
        """Returns which samples belong to a named frame set, ``[samples]``.

        Raises:
            UnknownNameError: The dataset has no such set.
        """
        if name not in self.frame_sets:
            raise UnknownNameError(f"frame set of {self.name}", name, self.frame_sets)
        return np.ones(len(index), bool)

    def unread(self, options: Mapping[str, str]) -> frozenset[str]:
        """Returns plain names of large folders that are never looked into, so that they need no stat."""
        del options
        return frozenset()

    def expected(self, wanted: Wanted) -> int | None:
        """Returns how many samples a protocol scores on the owners' whole copy, or None where that is not known."""
        del wanted
        return None

    def nothing_here(self, root: Path, expected: str) -> DatasetMissingError:
        """Returns the error for a root that does not look like this dataset."""
        try:
            names = sorted(p.name for p in root.iterdir() if not p.name.startswith("."))
        except OSError as error:
            raise UsageError(f"the folder cannot be read: {error.strerror}", where=str(root)) from None
        return DatasetMissingError(
            f"this folder holds no copy of {self.title}",
            where=str(root),
            why=f"expected {expected}; " + (f"it holds {some(names)}" if names else "the folder is empty"),
            fix=f"point root= at the folder that holds {expected}. {self.obtain}",
        )
