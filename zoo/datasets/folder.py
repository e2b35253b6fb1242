"""The user's own images: a folder a class, or a table of paths and labels.

Class folders: ``root/happy/*.jpg`` (any known spelling of a class), or ``root/test/happy/*.jpg`` with splits above.
Table: ``labels.csv`` in the root, or a ``.csv`` file as the root, with a header: ``path`` (relative to the table) and
any of ``expression`` (class names), ``AU01`` .. (intensity 0..5; only 0 and 1 in all of them: occurrence; ``AU01_r``
and ``AU01_c`` say which, as in OpenFace), ``valence``, ``arousal`` (-1..1), ``subject``, ``sequence``, ``frame``,
``split``. An empty cell is "not labelled".
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo._util.text import nearest
from zoo.datasets.base import Index
from zoo.datasets.reader import IMAGE_SUFFIXES, Copy, Reader, files_in, read_bytes, some, subfolders
from zoo.errors import DatasetError, DatasetMissingError
from zoo.registry.labels import AFFECT, AU_LABELS, EXPRESSIONS, Task, canonical_expression

SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
          "validation": "validation", "dev": "validation", "test": "test"}  # fmt: skip
TABLE = "labels.csv"
_AU = re.compile(r"((?:[LR]-)?AU)(\d{1,2})(?:_([rc]))?", re.IGNORECASE)
_TEXT = ("path", "subject", "sequence", "frame", "split", "expression")


class Folder(Reader):
    """Reader of the user's own images."""

    name = "folder"
    title = "a folder of images"
    tasks: tuple[Task, ...] = ("expression", "au-intensity", "au-occurrence", "valence-arousal")
    identities = "folder"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"expression": EXPRESSIONS}
    labels_vary = True
    obtain = f"Put images into one folder a class (root/happiness/*.jpg), or write a {TABLE} with path and labels"

    def inspect(self, root: Path, **options: str) -> Index:
        """See :meth:`Reader.inspect`; the root may also be a ``.csv`` file."""
        root = Path(root)
        if not root.is_file():
            return super().inspect(root, **options)
        if root.suffix.lower() != ".csv":
            raise DatasetMissingError("the root is neither a folder nor a .csv table", where=str(root), fix=self.obtain)
        return self.read(root.parent, self.chosen(options), lambda copy: _read_table(copy, root))

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        if (copy.root / TABLE).is_file():
            _read_table(copy, copy.root / TABLE)
            return
        top = subfolders(copy.root)
        if not top:
            raise self.nothing_here(copy.root, f"class folders or a {TABLE}")
        if all(f.name.lower() in SPLITS for f in top):
            for folder in top:
                _read_classes(copy, folder, SPLITS[folder.name.lower()])
        else:
            _read_classes(copy, copy.root, "")
        if not len(copy.columns):
            raise self.nothing_here(copy.root, "images in its class folders")


def _class_of(name: str, where: str) -> str:
    found = canonical_expression(name)
    if found is None:
        close = nearest(name, EXPRESSIONS)
        raise DatasetError(
            f"'{name}' is not the name of an expression",
            where=where,
            why="a class folder or the column 'expression' holds " + ", ".join(EXPRESSIONS),
            fix=f"did you mean '{close[0]}'?" if close else "rename it, or move it out of the folder",
        )
    return found


def _read_classes(copy: Copy, parent: Path, split: str) -> None:
    seen: dict[str, str] = {}
    for folder in subfolders(parent):
        label = _class_of(folder.name, str(folder))
        if label in seen:
            copy.audit.note("two-folders-one-class", f"{copy.name(folder)} and {seen[label]} are both '{label}'")
        seen.setdefault(label, copy.name(folder))
        before = len(copy.columns)
        _read_images(copy, folder, split, EXPRESSIONS.index(label), frozenset())
        if len(copy.columns) == before:
            copy.audit.warning("empty-class", f"{copy.name(folder)}: no image in it")


def _read_images(copy: Copy, folder: Path, split: str, label: int, above: frozenset[Path]) -> None:
    if (here := folder.resolve()) in above:  # a link to a folder above
        return
    where = copy.name(folder)
    files = files_in(folder)
    images = [(n, size) for n, size in files if Path(n).suffix.lower() in IMAGE_SUFFIXES]
    if odd := [n for n, _ in files if Path(n).suffix.lower() not in IMAGE_SUFFIXES]:
        copy.audit.note("unknown-file", f"{where}: {len(odd)} files are no images: {some(odd)}", len(odd))
    copy.manifest.folder(where, images)
    copy.damaged_images(where, [n for n, size in images if not size])
    copy.columns.add(
        frame=np.arange(1, len(images) + 1),
        file=[f"{where}/{n}" for n, _ in images],
        split=split,
        sequence=where,
        labels={"expression": np.full(len(images), label, np.int16)},
    )
    for child in subfolders(folder):
        _read_images(copy, child, split, label, above | {here})


def _header(names: list[str], where: str) -> dict[int, tuple[str, str]]:
    """Maps column numbers to (kind, label): text columns by name, AUs as ``au``, ``au_r`` or ``au_c``."""
    known = [*_TEXT, *AFFECT, "AU01", "AU02", "AU04"]
    found: dict[int, tuple[str, str]] = {}
    for i, name in enumerate(names):
        key = name.strip()
        if key.lower() in (*_TEXT, *AFFECT):
            column = ("text" if key.lower() in _TEXT else "affect", key.lower())
        elif (match := _AU.fullmatch(key)) and (label := f"{match[1].upper()}{int(match[2]):02d}") in AU_LABELS:
            column = (f"au_{match[3].lower()}" if match[3] else "au", label)
        else:
            close = nearest(key, known)
            raise DatasetError(
                f"unknown column '{key}'",
                where=f"{where}:1",
                why=f"a table holds the columns {', '.join((*_TEXT, *AFFECT))}, and AU01, AU02 ...",
                fix=f"did you mean '{close[0]}'?" if close else "rename or remove the column",
            )
        twins = [column] if column[0] != "au" else [("au", column[1]), ("au_r", column[1]), ("au_c", column[1])]
        twins += [("au", column[1])] if column[0] in ("au_r", "au_c") else []
        if set(twins) & set(found.values()):
            raise DatasetError(f"the column '{key}' occurs twice", where=f"{where}:1", fix="remove one of them")
        found[i] = column
    if ("text", "path") not in found.values():
        raise DatasetError("the table has no column 'path'", where=f"{where}:1", fix="add it: the image's path")
    if not any(kind != "text" or label == "expression" for kind, label in found.values()):
        raise DatasetError(
            "the table has no labels", where=f"{where}:1", fix="add expression, AU01 .., valence and arousal, or some"
        )
    return found


def _value(text: str, kind: str, name: str, where: str) -> float:
    if not text.strip():
        return float("nan")
    low, high = {"affect": (-1.0, 1.0), "au_c": (0.0, 1.0)}.get(kind, (0.0, 5.0))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or (kind == "au_c" and value not in (0, 1)):
        expected = "0 or 1" if kind == "au_c" else f"a number from {low:g} to {high:g}"
        raise DatasetError(
            f"{name} = '{text}' is not {expected}", where=where,
            fix="correct it, or leave the cell empty where the image is not labelled",
        )  # fmt: skip
    return value


@dataclass
class _Table:
    """A table's columns while it is read."""

    header: dict[int, tuple[str, str]]
    text: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _TEXT})
    numbers: dict[int, array[float]] = field(default_factory=dict)
    frames: array[int] = field(default_factory=lambda: array("i"))
    classes: array[int] = field(default_factory=lambda: array("h"))
    media: list[tuple[str, int]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def add(self, row: list[str], root: Path, where: str) -> None:
        """Adds one row."""
        cell = dict.fromkeys(_TEXT, "") | {n: row[i].strip() for i, (k, n) in self.header.items() if k == "text"}
        path, size = _locate(cell["path"], root, where)
        values = {i: _value(row[i], *self.header[i], where) for i in self.numbers}
        label = EXPRESSIONS.index(_class_of(cell["expression"], where)) if cell["expression"] else -1
        if cell["frame"] and not re.fullmatch(r"[0-9]{1,9}", cell["frame"]):
            raise DatasetError(f"frame = '{cell['frame']}' is not a whole number", where=where, fix="correct it")
        if size is None:
            self.absent.append(path)
            return
        self.media.append((path, size))
        self.frames.append(int(cell["frame"]) if cell["frame"] else len(self.frames) + 1)
        self.classes.append(label)
        cell |= {"path": path, "split": SPLITS.get(cell["split"].lower(), cell["split"])}
        for name, column in self.text.items():
            column.append(cell[name])
        for i, value in values.items():
            self.numbers[i].append(value)


def _read_table(copy: Copy, file: Path) -> None:
    """Reads a table of paths and labels, row by row."""
    content = read_bytes(file)
    copy.manifest.labels(file.name, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("the table is not UTF-8 text", where=str(file), why=str(error)) from None
    rows = csv.reader(io.StringIO(text, newline=""))
    table: _Table | None = None
    width = 0
    try:
        for row in rows:
            where = f"{file.name}:{rows.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if table is None:
                header, width = _header(row, file.name), len(row)
                table = _Table(header, numbers={i: array("f") for i, (k, _) in header.items() if k != "text"})
            elif len(row) != width:
                raise DatasetError(f"{len(row)} cells where the header has {width}", where=where, fix="correct the row")
            else:
                table.add(row, copy.root, where)
    except csv.Error as error:
        raise DatasetError(
            "the table cannot be read as CSV", where=f"{file.name}:{rows.line_num}", why=str(error)
        ) from None
    if table is None:
        raise DatasetError("the table is empty", where=str(file), fix="write a header, and a row an image")
    if table.absent:
        copy.audit.warning(
            "missing-images",
            f"{file.name}: {len(table.absent)} images are not there and are left out: {some(table.absent)}",
            len(table.absent),
        )
    if not table.media:
        raise DatasetMissingError("none of the table's images is there", where=str(file), fix="correct the paths")
    if repeated := [path for path, n in Counter(p for p, _ in table.media).items() if n > 1]:
        raise DatasetError(
            f"{len(repeated)} images occur more than once: {some(repeated)}", where=str(file), fix="keep one row each"
        )
    copy.damaged_images(file.name, [p for p, size in table.media if not size])
    copy.manifest.folder("", table.media)
    _add_table(copy, table)


def _locate(text: str, root: Path, where: str) -> tuple[str, int | None]:
    """Returns an image's path relative to the table, and its size; None where there is no such file."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() and path.is_relative_to(root.absolute().as_posix()):
        path = path.relative_to(root.absolute().as_posix())
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in text:
        raise DatasetError(
            f"the path '{text}' does not lie under the table's folder", where=where,
            fix="put the table into a folder above the images, and write paths relative to it",
        )  # fmt: skip
    try:
        file = root / path
        return str(path), file.stat().st_size if file.is_file() else None
    except OSError:
        return str(path), None


def _add_table(copy: Copy, table: _Table) -> None:
    order = np.lexsort((np.array(table.frames), np.array(table.text["sequence"]), np.array(table.text["subject"])))
    by_kind: dict[str, dict[str, NDArray[np.float32]]] = {}
    for i, values in table.numbers.items():
        kind, label = table.header[i]
        by_kind.setdefault(kind, {})[label] = np.array(values, np.float32)[order]
    if unsaid := by_kind.pop("au", None):
        flat = np.concatenate(list(unsaid.values()))
        occurrence = bool(np.isin(flat[~np.isnan(flat)], (0, 1)).all())
        copy.audit.note(
            "au-kind",
            f"the AU columns {'hold only 0 and 1: occurrence' if occurrence else 'are intensities, 0..5'}; "
            "write AU01_r (intensity) or AU01_c (occurrence) to say so yourself",
        )
        by_kind.setdefault("au_c" if occurrence else "au_r", {}).update(unsaid)
    if sided := sorted({x for values in by_kind.values() for x in values if x[:2] in ("L-", "R-")}):
        copy.audit.warning("one-sided", f"{some(sided)}: no protocol scores AUs of one side of the face", len(sided))
    labels: dict[Task, NDArray[np.float32] | NDArray[np.int16]] = {}
    kinds: tuple[tuple[str, Task], ...] = (
        ("au_r", "au-intensity"), ("au_c", "au-occurrence"), ("affect", "valence-arousal"),
    )  # fmt: skip
    for kind, task in kinds:
        if kind in by_kind:
            copy.names[task] = tuple(by_kind[kind])
            labels[task] = np.stack(list(by_kind[kind].values()), axis=1)
    if ("text", "expression") in table.header.values():
        labels["expression"] = np.array(table.classes, np.int16)[order]

    def text(name: str) -> list[str]:
        return [table.text[name][i] for i in order]

    copy.columns.add(
        frame=np.array(table.frames, np.int32)[order],
        file=text("path"),
        subject=text("subject"),
        sequence=text("sequence"),
        split=text("split"),
        labels=labels,
    )
