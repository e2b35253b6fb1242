"""AffectNet: web photographs with one of eight expressions and valence and arousal, in two distributions.

The older one has lists, ``Manually_Annotated_file_lists/{training,validation}.csv``, beside
``Manually_Annotated_Images/<folder>/<hash>.jpg`` with face boxes in the original photographs. The newer one ("8
labels", 2021) has crops ``train_set/images/<id>.jpg`` and one small ``.npy`` an annotation. There is no public test
set: validation is what papers report on. Sources: EmotiEffLib, DAN, OpenFace 3.0, Py-Feat, EmoNet.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from zoo._util.spool import BLOCK
from zoo.datasets.reader import IMAGE_SUFFIXES, Columns, Copy, Reader, Wanted, files_in, plain, some, subfolders
from zoo.errors import DatasetError, UsageError
from zoo.registry.labels import AFFECT, Task

# The owners' codes 0..7; 8 is none of them, 9 uncertain, 10 no face.
CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
NONE, NO_FACE = 8, 10

ROWS = {"train": 414_800, "validation": 5_500}
"""Rows of the lists, all eleven codes (from EmotiEffLib's notebooks)."""
COUNTS = {
    ("csv", "validation"): (500,) * 8,
    ("npy", "validation"): (500, 500, 500, 500, 500, 500, 500, 499),
    ("csv", "train"): (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750),
    ("npy", "train"): (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750),
}

_HEADER = (
    "subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
)  # fmt: skip
_LISTS = {"training.csv": "train", "validation.csv": "validation"}
_SETS = {"train_set": "train", "val_set": "validation"}
_CROP_SIDES = 2**20


@dataclass
class _Block:
    """Takes the rows of one split, of which some thousand are in memory at once, and hands them over to a copy."""

    copy: Copy
    split: str
    boxes: bool
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES), np.int64))
    file: list[str] = field(default_factory=list)
    expression: array[int] = field(default_factory=lambda: array("h"))
    affect: array[float] = field(default_factory=lambda: array("f"))
    box: array[float] = field(default_factory=lambda: array("f"))
    frame: array[int] = field(default_factory=lambda: array("i"))

    seen: array[int] = field(default_factory=lambda: array("q"))
    """Hashes of 64 bits of names and boxes: that two of a million share one has a chance of 1 in 30 million."""
    _rows: Columns = field(default_factory=Columns)

    def add(self, file: str, frame: int, code: int, affect: tuple[float, float], box: tuple[float, ...] = ()) -> None:
        """Adds a row."""
        self.seen.append(hash((file, array("f", box).tobytes())))
        self.file.append(file)
        self.frame.append(frame)
        self.expression.append(code if code < NONE else -1)
        self.affect.extend(affect)
        self.box.extend(box)
        if len(self.file) == BLOCK:
            self._store()

    def _store(self) -> None:
        self._rows.add(
            frame=np.array(self.frame, np.int32),
            file=self.file,
            labels={
                "expression": np.array(self.expression, np.int16),
                "valence-arousal": np.array(self.affect, np.float32).reshape(-1, 2),
            },
            box=np.array(self.box, np.float32).reshape(-1, 4) if self.boxes else None,
        )
        for column in (self.file, self.expression, self.affect, self.box, self.frame):
            del column[:]

    def finish(self, name: str) -> None:
        """Hands the rows over: the first one of a face that is listed more than once, not labelled if they differ.

        A photograph may show several people: the same file with another box is another face.
        """
        self._store()
        if not self.seen:
            return
        columns, labels, box = self._rows.joined()
        expression, affect = labels["expression"], labels["valence-arousal"]
        _, first, image = np.unique(np.array(self.seen, np.int64), return_index=True, return_inverse=True)
        kept = first[image]
        repeated = np.flatnonzero(kept != np.arange(len(kept)))
        clash = {
            int(kept[row])
            for row in repeated.tolist()
            if expression[kept[row]] != expression[row] or affect[kept[row]].tobytes() != affect[row].tobytes()
        }  # bytes: NaN equals NaN
        if len(repeated):
            said = f"{name}: {len(repeated)} rows repeat an image"
            if clash:
                self.copy.audit.warning(
                    "duplicate-image",
                    f"{said}, {len(clash)} of them with other labels: those count as not labelled",
                    len(repeated),
                )
            else:
                self.copy.audit.note("duplicate-image", f"{said}; it counts once", len(repeated))
        for start in range(0, len(kept), BLOCK):
            part = kept[start : start + BLOCK]
            rows = start + np.flatnonzero(part == np.arange(start, start + len(part)))
            torn = np.isin(rows, list(clash))
            code = np.where(torn, np.int16(-1), expression[rows])
            self.counts += np.bincount(code[code >= 0], minlength=len(CLASSES))
            self.copy.columns.add(
                frame=columns["frame"][rows],
                file=columns["file"][rows],
                split=self.split,
                labels={
                    "expression": code,
                    "valence-arousal": np.where(torn[:, None], np.float32(np.nan), affect[rows]),
                },
                box=None if box is None else box[rows],
            )


class AffectNet(Reader):
    """Reader of AffectNet, manually annotated.

    Options: ``splits`` (``validation``, the part that is scored; ``all`` reads the training part too, a hundred times
    larger, which is only needed to check a copy), ``form`` (``auto``, ``csv``, ``npy``).
    """

    name = "affectnet"
    title = "AffectNet"
    tasks: tuple[Task, ...] = ("expression", "valence-arousal")
    identities = "affectnet"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"expression": CLASSES, "valence-arousal": AFFECT}
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "splits": ("validation", "all"), "form": ("auto", "csv", "npy"),
    }  # fmt: skip
    known: ClassVar[tuple[str, ...]] = (
        "there is no public test set: the epochs of most published models were chosen on the validation split",
        "the newer crops hold 499 validation images of contempt where the older lists have 500: 3,999 and 4,000 images",
        "the older training list names one image of happiness twice, which counts once: 134,416 rows, 134,415 images",
    )
    obtain = (
        "AffectNet is given by Mohammad Mahoor's laboratory (University of Denver, mohammadmahoor.com/affectnet) for "
        "research, on a licence that a laboratory manager or professor signs"
    )

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        lists = _find_lists(copy.root)
        sets = {
            _SETS[f.name.lower()]: f
            for place in (copy.root, *subfolders(copy.root))
            for f in subfolders(place)
            if f.name.lower() in _SETS
        }
        form = copy.options["form"]
        if lists and sets and form == "auto":
            raise UsageError(
                "this folder holds both distributions of AffectNet",
                where=str(copy.root),
                fix="say form=csv or form=npy",
            )
        wanted = ("validation",) if copy.options["splits"] == "validation" else ("train", "validation")
        if lists and form != "npy":
            copy.options["form"] = "csv"
            self._read_lists(copy, lists, wanted)
        elif sets and form != "csv":
            copy.options["form"] = "npy"
            self._read_sets(copy, sets, wanted)
        else:
            raise self.nothing_here(
                copy.root,
                "val_set/annotations" if form == "npy" else "Manually_Annotated_file_lists/validation.csv or val_set",
            )

    def unread(self, options: Mapping[str, str]) -> frozenset[str]:
        """See :meth:`Reader.unread`."""
        automatic = {"automaticallyannotated", "automaticallyannotatedimages"}
        return frozenset(automatic | ({"trainset"} if options["splits"] == "validation" else set()))

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`: known for the expressions of the validation split."""
        if wanted.split != "validation" or not wanted.classes:
            return None
        counts = COUNTS["npy" if wanted.options.get("form") == "npy" else "csv", "validation"]
        return sum(n for name, n in zip(CLASSES, counts, strict=True) if name in wanted.classes)

    # -- lists

    def _read_lists(self, copy: Copy, lists: Mapping[str, Path], wanted: tuple[str, ...]) -> None:
        images = _image_root(copy.root)
        if images is None:
            raise self.nothing_here(copy.root, "Manually_Annotated_Images")
        for split in wanted:
            if split in lists:
                block = _Block(copy, split, boxes=True)
                rows = _read_list(copy, lists[split], images, block)
                self._finish(copy, block, "csv")
                if not copy.synthetic and rows != ROWS[split]:
                    copy.audit.warning(
                        "missing-rows" if rows < ROWS[split] else "unexpected-rows",
                        f"{copy.name(lists[split])}: {rows} rows, the owners' list has {ROWS[split]}",
                        abs(rows - ROWS[split]),
                    )
            else:
                copy.audit.warning("missing-rows", f"there is no list of the {split} split")

    # -- one .npy an annotation

    def _read_sets(self, copy: Copy, sets: Mapping[str, Path], wanted: tuple[str, ...]) -> None:
        for split in wanted:
            if split not in sets:
                copy.audit.warning("missing-rows", f"there is no folder for the {split} split")
                continue
            inside = {plain(f.name): f for f in subfolders(sets[split])}
            if "images" not in inside or "annotations" not in inside:
                raise self.nothing_here(copy.root, f"{sets[split].name}/images and {sets[split].name}/annotations")
            block = _Block(copy, split, boxes=False)
            _read_set(copy, inside["images"], inside["annotations"], block)
            self._finish(copy, block, "npy")

    def _finish(self, copy: Copy, block: _Block, form: str) -> None:
        if copy.synthetic:
            return
        split, counts = block.split, block.counts
        expected = COUNTS[form, split]
        if counts.tolist() != list(expected):
            lost = sum(expected) - int(counts.sum())
            copy.audit.warning(
                "missing-images" if lost > 0 else "unexpected-rows",
                f"{split}: {'/'.join(map(str, counts))} images with an expression, the owners' copy has "
                f"{'/'.join(map(str, expected))}; samples of AffectNet circulate, and scores on them compare "
                "with none",
                max(1, abs(lost)),
            )


def _find_lists(root: Path) -> dict[str, Path]:
    """Finds the manual lists; automatic annotations are another set and are never mixed in."""
    found: dict[str, Path] = {}
    for folder in (root, *subfolders(root), *(g for f in subfolders(root) for g in subfolders(f))):
        if "automatic" in folder.name.lower():
            continue
        for name, _ in (
            files_in(folder) if len(folder.relative_to(root).parts) < 2 or "list" in plain(folder.name) else ()
        ):
            if name.lower() in _LISTS:
                found.setdefault(_LISTS[name.lower()], folder / name)
    return found


def _image_root(root: Path) -> Path | None:
    for folder in (root, *subfolders(root)):
        for child in subfolders(folder):
            if plain(child.name) == "manuallyannotatedimages":
                inner = [f for f in subfolders(child) if plain(f.name) == plain(child.name)]
                return inner[0] if inner else child
    return None


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open("rb") as raw:
            reader = csv.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline=""))
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise DatasetError(f"the file cannot be read: {error.strerror}", where=str(path)) from None
    except csv.Error as error:
        raise DatasetError("the list cannot be read as CSV", where=str(path), why=str(error)) from None


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _read_list(copy: Copy, path: Path, images: Path, block: _Block) -> int:
    """Reads one list's labelled rows with an image into a block; returns how many rows it has."""
    name, rows = copy.name(path), 0
    digest = hashlib.sha256()
    counts = {"no-box": 0, "no-label": 0, "affect": 0}
    absent: list[str] = []
    empty: list[str] = []
    bad = 0
    for line, row in _rows(path):
        if not any(row):
            continue
        if rows == 0 and row[0].strip().lower() == _HEADER[0]:
            if tuple(c.strip().lower() for c in row) != _HEADER:
                copy.audit.error("damaged-label-file", f"{name}:{line}: the columns are not {', '.join(_HEADER)}")
                return 0
            continue
        code = int(row[6]) if len(row) == len(_HEADER) and re.fullmatch(r"[0-9]{1,2}", row[6].strip()) else -1
        if not 0 <= code <= NO_FACE:
            bad += 1
            if bad == 1:
                copy.audit.error(
                    "damaged-label-file",
                    f"{name}:{line}: the row has no expression 0..10; the list is cut short or damaged",
                )
            continue
        rows += 1
        valence, arousal, odd = _affect(_float(row[7]), _float(row[8]))
        counts["affect"] += odd
        if code > NONE:
            counts["no-label"] += 1
            continue
        left, top, width, height = (_float(c) for c in row[1:5])
        if not (width > 0 and height > 0 and math.isfinite(left + top)):
            counts["no-box"] += 1
            continue
        relative = row[0].strip().replace("\\", "/")
        if relative.startswith("/") or ".." in relative.split("/"):
            copy.audit.error("damaged-label-file", f"{name}:{line}: the path '{relative[:60]}' leaves the folder")
            continue
        try:
            # Not a Path: it interns its parts, and Python's table of interned words grows with the rows.
            size = os.stat(f"{images}{os.sep}{relative}").st_size  # noqa: PTH116
        except (OSError, ValueError):
            absent.append(relative)
            continue
        if not size:
            empty.append(relative)
        digest.update(f"{relative} {size}\n".encode())
        block.add(
            f"{copy.name(images)}/{relative}", rows, code, (valence, arousal), (left, top, left + width, top + height)
        )
    with path.open("rb") as raw:
        copy.manifest.digested(name, hashlib.file_digest(raw, "sha256").hexdigest())
    copy.manifest.digested(f"images of {name}", digest.hexdigest())
    _report(copy, name, counts, absent, empty)
    if not rows and not bad:
        copy.audit.error("damaged-label-file", f"{name}: there is no row in it")
    block.finish(name)
    return rows


def _report(copy: Copy, name: str, counts: Mapping[str, int], absent: list[str], empty: list[str]) -> None:
    if counts["no-label"]:
        n = counts["no-label"]
        copy.audit.note("not-labelled", f"{name}: {n} images are uncertain or show no face; they are not read", n)
    if counts["no-box"]:
        n = counts["no-box"]
        copy.audit.note("no-box", f"{name}: {n} labelled rows have no face box; they are not read", n)
    if counts["affect"]:
        n = counts["affect"]
        copy.audit.warning(
            "value-out-of-range", f"{name}: {n} values of valence or arousal outside -1..1; not coded", n
        )
    if absent:
        copy.audit.warning(
            "missing-images", f"{name}: {len(absent)} listed images are not there: {some(absent)}", len(absent)
        )
    copy.damaged_images(name, empty)


def _affect(valence: float, arousal: float) -> tuple[float, float, int]:
    """Returns valence and arousal, NaN where not annotated (-2) or out of range, and how many were out of range."""
    odd = 0
    out = []
    for value in (valence, arousal):
        if -1 <= value <= 1:
            out.append(value)
        else:
            odd += value != -2
            out.append(math.nan)
    return out[0], out[1], odd


def _read_set(copy: Copy, images: Path, annotations: Path, block: _Block) -> None:
    """Reads one split of the newer distribution into a block."""
    name = copy.name(annotations)
    listed = {}
    for file, size in files_in(images):
        stem, suffix = Path(file).stem, Path(file).suffix.lower()
        if suffix in IMAGE_SUFFIXES and re.fullmatch(r"[0-9]{1,9}", stem):
            listed[int(stem)] = (file, size)
    notes = {file for file, _ in files_in(annotations)}
    numbers = sorted(int(n[:-8]) for n in notes if re.fullmatch(r"[0-9]{1,9}_exp\.npy", n))
    digest = hashlib.sha256()
    counts = {"no-label": 0, "no-box": 0, "affect": 0}
    absent: list[str] = []
    for number in numbers:
        if number not in listed:
            absent.append(f"{number}.jpg")
            continue
        values = {
            kind: _scalar(copy, annotations / f"{number}_{kind}.npy", digest, notes) for kind in ("exp", "val", "aro")
        }
        code = values["exp"]
        if code is None or code not in range(NO_FACE + 1):
            if code is not None:
                copy.audit.warning("value-out-of-range", f"{name}/{number}_exp.npy: {code} is no expression 0..10")
            continue
        if code > NONE:
            counts["no-label"] += 1
            continue
        unset = -2.0
        valence, arousal, odd = _affect(
            unset if values["val"] is None else values["val"], unset if values["aro"] is None else values["aro"]
        )
        counts["affect"] += odd
        file, size = listed[number]
        digest.update(f"{file} {size}\n".encode())
        block.add(f"{copy.name(images)}/{file}", number, int(code), (valence, arousal))
    copy.manifest.digested(name, digest.hexdigest())
    _report(copy, name, counts, absent, [file for file, size in listed.values() if not size])
    if spare := len(listed.keys() - set(numbers)):
        copy.audit.warning("missing-labels", f"{copy.name(images)}: {spare} images have no annotation", spare)
    block.finish(name)


def _scalar(copy: Copy, path: Path, digest: hashlib._Hash, there: set[str]) -> float | None:
    """Reads an ``.npy`` of one number, which may be stored as text; None (and a finding) where it is not one.

    Objects are refused: reading them would run what is stored.
    """
    name = copy.name(path)
    if path.name not in there:
        copy.audit.warning("missing-labels", f"{name} is not there; not coded")
        return None
    try:
        content = path.read_bytes()
        digest.update(content)
        if len(content) > _CROP_SIDES:
            raise ValueError("far larger than one number")
        value = np.load(io.BytesIO(content), allow_pickle=False)
        text = value.reshape(-1)
        if text.size != 1 or text.dtype.kind not in "iufUSb":
            raise ValueError(f"{text.size} values of type {text.dtype}")
        item = text[0]
        return float(item.decode("ascii") if isinstance(item, bytes) else item)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, MemoryError, OverflowError, BadZipFile) as error:
        copy.audit.error("damaged-label-file", f"{name}: it is not one number ({str(error).splitlines()[0][:80]})")
        return None
