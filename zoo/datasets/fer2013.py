"""FER2013 and FER+: 35,887 grey web faces of 48 x 48 pixels, stored as text in one table; FER+ adds ten votes each.

``fer2013.csv`` has the columns ``emotion,pixels,Usage``; ``fer2013new.csv`` has the same rows in the same order with
the counts of votes (https://github.com/microsoft/FERPlus). Pictures stay in the table: a sample's position is its row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.parse import excerpt
from zoo.datasets.pixels import SIDE
from zoo.datasets.reader import Audit, Copy, Reader, Wanted, files_in, read_bytes, some, subfolders
from zoo.errors import DatasetError, DatasetMissingError
from zoo.registry.labels import Task

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
COUNTS = (4953, 547, 5121, 8989, 6077, 4002, 6198)
"""Images of each class over all splits."""
USAGES = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
SPLITS = {"train": 28_709, "validation": 3_589, "test": 3_589}

PLUS_CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
VOTES = (*PLUS_CLASSES, "unknown", "nf")
# Labelled rows under each rule, counted in the published table.
PLUS_SPLITS = {
    "majority": {"train": 25_060, "validation": 3_199, "test": 3_153},
    "argmax": {"train": 28_389, "validation": 3_553, "test": 3_546},
}

_ROW = re.compile(rb'"?(-?[0-9]{1,3})"?,"?([0-9 ]+)"?,"?(Training|PublicTest|PrivateTest)"?[ \t\r\n]*')


class Fer2013(Reader):
    """Reader of FER2013. Splits: Training is ``train``, PublicTest ``validation``, PrivateTest ``test``."""

    name = "fer2013"
    title = "FER2013"
    tasks: tuple[Task, ...] = ("expression",)
    identities = "fer2013"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"expression": CLASSES}
    obtain = (
        "FER2013 is the data of a Kaggle competition (Challenges in Representation Learning: Facial Expression "
        "Recognition Challenge); its form with the file fer2013.csv is read"
    )

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        table = _table(copy, "fer2013.csv")
        if table is None:
            raise self.nothing_here(copy.root, "fer2013.csv")
        label, split = _read_faces(copy, table)
        if not copy.synthetic:
            counts = np.bincount(label[label >= 0], minlength=len(CLASSES))
            _compare_splits(copy, split, SPLITS)
            if len(label) == sum(COUNTS) and counts.tolist() != list(COUNTS):
                copy.audit.warning(
                    "unexpected-rows",
                    f"{copy.name(table)}: classes {'/'.join(map(str, counts))}, the owners' table has "
                    f"{'/'.join(map(str, COUNTS))}",
                )
        _add(copy, table, split, label)

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`."""
        if wanted.classes and set(wanted.classes) < set(CLASSES):
            return None
        return sum(SPLITS.values()) if wanted.split is None else SPLITS.get(wanted.split)


class FerPlus(Fer2013):
    """Reader of FER+: FER2013's pictures with new labels.

    Options: ``rule`` (``majority``: counts of 1 are dropped, and the most voted class counts when it has more than half
    of the rest, as the authors' code does; ``argmax``: the most voted column, the first of equals, as many papers do).
    Rows that come out as unknown or not-a-face are not labelled.
    """

    name = "ferplus"
    title = "FER+"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"expression": PLUS_CLASSES}
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"rule": ("majority", "argmax")}
    known: ClassVar[tuple[str, ...]] = (
        "173 rows of fer2013new.csv have no image name (Training 148, PublicTest 10, PrivateTest 15): not labelled",
        "one row has nine votes instead of ten",
    )
    obtain = (
        "FER+ needs two files in one folder: fer2013.csv (the Kaggle competition's) and fer2013new.csv "
        "(github.com/microsoft/FERPlus)"
    )

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        faces, table = _table(copy, "fer2013.csv"), _table(copy, "fer2013new.csv")
        if table is None:
            raise self.nothing_here(copy.root, "fer2013new.csv")
        if faces is None:
            raise DatasetMissingError(
                "FER+ has labels only; its pictures are FER2013's",
                where=str(copy.root), why="there is no fer2013.csv", fix=self.obtain,
            )  # fmt: skip
        _, split = _read_faces(copy, faces)
        content = read_bytes(table)
        copy.manifest.labels(copy.name(table), content)
        votes, usage, named = read_votes(content, copy.name(table), copy.audit)
        if len(votes) != len(split) or (usage != split).any():
            where = len(votes) if len(votes) != len(split) else int(np.argmax(usage != split)) + 2
            copy.audit.error(
                "rows-differ",
                f"{copy.name(table)}: {len(votes)} rows and {len(split)} in fer2013.csv, or a row of another split "
                f"(row {where}): labels and pictures are not of one order",
            )
            return
        label = decide(votes, copy.options["rule"])
        label[~named] = -1
        if not copy.synthetic:
            _compare_splits(copy, split[label >= 0], PLUS_SPLITS[copy.options["rule"]])
        dropped = int((label < 0).sum())
        copy.audit.note("not-labelled", f"{dropped} rows are unknown, no face or without an image name", dropped)
        _add(copy, faces, split, label)

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`."""
        if wanted.classes and set(wanted.classes) < set(PLUS_CLASSES):
            return None
        counts = PLUS_SPLITS[wanted.options.get("rule", "majority")]
        return sum(counts.values()) if wanted.split is None else counts.get(wanted.split)


def _table(copy: Copy, name: str) -> Path | None:
    for folder in (copy.root, *subfolders(copy.root)):
        for file, _ in files_in(folder):
            if file.lower() == name:
                return folder / file
    return None


def _lines(table: Path) -> Iterator[bytes]:
    try:
        with table.open("rb") as file:
            yield from file
    except OSError as error:
        raise DatasetError(f"the file cannot be read: {error.strerror}", where=str(table)) from None


def _read_faces(copy: Copy, table: Path) -> tuple[NDArray[np.int16], NDArray[np.str_]]:
    """Reads the labels and splits of the table, line by line: its pictures are 280 MB of text."""
    name, digest = copy.name(table), hashlib.sha256()
    labels: list[int] = []
    splits: list[str] = []
    short: list[int] = []
    for number, line in enumerate(_lines(table), 1):
        digest.update(line)
        if number == 1 and line.lstrip(b"\xef\xbb\xbf").lower().startswith(b"emotion"):
            continue
        match = _ROW.fullmatch(line)
        if match is None:
            if line.strip():
                copy.audit.error(
                    "damaged-label-file",
                    f"{name}:{number}: {excerpt(line)} is not 'emotion,pixels,Usage'; the file is cut short or another "
                    "release (the images without this file are read with dataset=folder)",
                )
                break
            continue
        label = int(match[1])
        if not 0 <= label < len(CLASSES):
            copy.audit.warning("value-out-of-range", f"{name}:{number}: emotion {label} is not 0..6; not labelled")
            label = -1
        if len(match[2].split()) != SIDE * SIDE:
            short.append(number)
        labels.append(label)
        splits.append(USAGES[match[3].decode()])
    copy.manifest.digested(name, digest.hexdigest())
    if not labels and not any(f.severity == "error" for f in copy.audit.findings):
        copy.audit.error("damaged-label-file", f"{name}: there is no row in it")
    if short:
        copy.audit.warning(
            "damaged-image",
            f"{name}: {len(short)} pictures do not have {SIDE * SIDE} pixels: rows {some(map(str, short))}; they count "
            "as failed",
            len(short),
        )
    return np.array(labels, np.int16), np.array(splits, np.str_)


def read_votes(
    content: bytes, name: str, audit: Audit
) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.bool_]]:
    """Reads FER+'s votes.

    Returns:
        Votes ``[n, 10]`` in the order of VOTES, splits ``[n]``, and whether the row names an image ``[n]``.
    """
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    header = [c.strip().lower() for c in lines[0].decode("utf-8", "replace").split(",")] if lines else []
    empty = np.empty((0, len(VOTES)), np.int64), np.empty(0, "<U1"), np.empty(0, bool)
    if not {"usage", "image name", *VOTES} <= set(header):
        audit.error("damaged-label-file", f"{name}:1: {excerpt(lines[0] if lines else b'')} is not FER+'s header")
        return empty
    place = [header.index(v) for v in VOTES]
    usage_at, name_at = header.index("usage"), header.index("image name")
    votes: list[list[int]] = []
    splits: list[str] = []
    named: list[bool] = []
    unusual = 0
    for number, line in enumerate(lines[1:], 2):
        cells = [c.strip() for c in line.decode("utf-8", "replace").split(",")]
        if not line.strip():
            continue
        counts = [cells[i] for i in place] if len(cells) == len(header) else []
        if not counts or cells[usage_at] not in USAGES or not all(re.fullmatch("[0-9]{1,2}", c) for c in counts):
            audit.error(
                "damaged-label-file", f"{name}:{number}: {excerpt(line)} is not a row of votes; the file is cut short"
            )
            break
        row = [int(c) for c in counts]
        unusual += sum(row) != 10
        votes.append(row)
        splits.append(USAGES[cells[usage_at]])
        named.append(bool(cells[name_at]))
    if unusual:
        audit.note("votes", f"{name}: {unusual} rows do not have ten votes (one in the authors' table)", unusual)
    return np.array(votes, np.int64).reshape(-1, len(VOTES)), np.array(splits, np.str_), np.array(named, bool)


def decide(votes: NDArray[np.int64], rule: str) -> NDArray[np.int16]:
    """Makes votes a label.

    Args:
        votes: Counts ``[n, 10]`` in the order of VOTES.
        rule: ``majority`` or ``argmax``; see :class:`FerPlus`.

    Returns:
        Index into PLUS_CLASSES, -1 for unknown and not-a-face, int16 ``[n]``.
    """
    if rule == "majority":
        votes = np.where(votes <= 1, 0, votes)  # single votes are outliers (ferplus.py)
        decided = 2 * votes.max(axis=1, initial=0) > votes.sum(axis=1)
    else:
        decided = votes.sum(axis=1) > 0
    label: NDArray[np.int16] = votes.argmax(axis=1).astype(np.int16)
    label[~decided | (label >= len(PLUS_CLASSES))] = -1
    return label


def _compare_splits(copy: Copy, split: NDArray[np.str_], expected: Mapping[str, int]) -> None:
    for name, count in expected.items():
        here = int((split == name).sum())
        if here != count:
            copy.audit.warning(
                "missing-rows" if here < count else "unexpected-rows",
                f"{name}: {here} rows, the owners' table has {count}: accuracies compare with none published",
                abs(count - here),
            )


def _add(copy: Copy, table: Path, split: NDArray[np.str_], label: NDArray[np.int16]) -> None:
    row = np.arange(len(label))
    copy.columns.add(
        frame=row + 1, position=row, file=copy.name(table), split=split.tolist(), labels={"expression": label}
    )
