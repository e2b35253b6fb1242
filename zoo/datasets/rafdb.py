"""RAF-DB, basic expressions: 15,339 web photographs of faces in seven classes.

The owners ship ``basic/EmoLabel/list_patition_label.txt`` (their spelling) with lines ``train_00001.jpg 5``, and
``basic/Image/aligned/train_00001_aligned.jpg`` (100 x 100 pixels) beside ``basic/Image/original/train_00001.jpg``.
Repackaged copies on Kaggle hold class folders ``DATASET/train/1`` .. ``7`` and no original images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from zoo.datasets.parse import excerpt
from zoo.datasets.reader import (
    IMAGE_SUFFIXES,
    Audit,
    Copy,
    Reader,
    Wanted,
    files_in,
    plain,
    read_bytes,
    some,
    subfolders,
)
from zoo.errors import DatasetMissingError
from zoo.registry.labels import Task

# Label 1..7 in the owners' list, and how many images each class has (Li, Deng and Du, CVPR 2017; sums checked).
CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
COUNTS: dict[str, tuple[int, ...]] = {
    "train": (1290, 281, 717, 4772, 1982, 705, 2524),
    "test": (329, 74, 160, 1185, 478, 162, 680),
}

_LINE = re.compile(rb"(train|test)_([0-9]{1,6})(\.[A-Za-z]{3,4})[ \t]+(-?[0-9]{1,6})[ \t]*")
_IMAGE = re.compile(r"(train|test)_([0-9]{1,6})(?:_aligned)?", re.IGNORECASE)

Rows = dict[str, dict[int, int]]
"""Split -> image number -> label 1..7, or 0 where it has none."""


class Rafdb(Reader):
    """Reader of RAF-DB (basic).

    Options: ``images`` (``aligned``, the owners' 100 x 100 crops that nearly all papers use, or ``original``).
    """

    name = "rafdb"
    title = "RAF-DB (basic)"
    tasks: tuple[Task, ...] = ("expression",)
    identities = "rafdb"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"expression": CLASSES}
    obtain = (
        "RAF-DB is given by PRIS, Beijing University of Posts and Telecommunications (whdeng.cn/RAF), for "
        "non-commercial research; the archive's password comes by academic e-mail"
    )
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"images": ("aligned", "original")}
    counts: ClassVar[Mapping[str, tuple[int, ...]]] = COUNTS

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        for base in (copy.root, *subfolders(copy.root)):
            inside = {plain(f.name): f for f in subfolders(base)}
            if "emolabel" in inside and (listing := _listing(inside["emolabel"])):
                self._official(copy, base, listing)
                return
            if {"train", "test"} <= inside.keys() and _class_folders(inside["test"]):
                self._repackaged(copy, inside)
                return
        raise self.nothing_here(copy.root, "basic/EmoLabel/list_patition_label.txt")

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`."""
        return sum(
            n for s, counts in self.counts.items() if wanted.split in (None, s)
            for name, n in zip(CLASSES, counts, strict=True) if not wanted.classes or name in wanted.classes
        )  # fmt: skip

    def _official(self, copy: Copy, base: Path, listing: Path) -> None:
        content = read_bytes(listing)
        copy.manifest.labels(copy.name(listing), content)
        rows = read_list(content, copy.name(listing), copy.audit)
        if not any(rows.values()):
            raise self.nothing_here(copy.root, "labels in basic/EmoLabel/list_patition_label.txt")
        self._compare(copy, rows)
        images = copy.options["images"]
        parents = [f for f in subfolders(base) if plain(f.name) == "image"]
        folder = next((f for p in parents for f in subfolders(p) if plain(f.name) == images), None)
        if folder is None:
            raise DatasetMissingError(
                f"this copy of RAF-DB has no {images} images",
                where=str(base / "Image" / images),
                fix=f"unpack {images}.zip there, or use images={'original' if images == 'aligned' else 'aligned'}",
            )
        self._add(copy, rows, [folder])

    def _repackaged(self, copy: Copy, inside: Mapping[str, Path]) -> None:
        where = inside["test"].parent
        if copy.options["images"] == "original":
            raise DatasetMissingError(
                "this repackaged copy of RAF-DB has no original images", where=str(where), fix=self.obtain
            )
        copy.audit.warning(
            "repackaged",
            f"{copy.name(where)}: class folders, not the owners' layout; nobody vouches for images and labels",
        )
        rows: Rows = {"train": {}, "test": {}}
        folders = []
        for split, labels in rows.items():
            for label, folder in _class_folders(inside[split]).items():
                folders.append(folder)
                for name, _ in files_in(folder):
                    match = _IMAGE.fullmatch(Path(name).stem)
                    if match and match[1].lower() == split:
                        _put(labels, (split, int(match[2])), label, copy.name(folder / name), copy.audit)
            for place in (where, where.parent):
                table = place / f"{split}_labels.csv"
                if table.is_relative_to(copy.root) and table.is_file():
                    content = read_bytes(table)
                    copy.manifest.labels(copy.name(table), content)
                    _compare_table(content, labels, copy.name(table), copy.audit)
                    break
        self._compare(copy, rows)
        self._add(copy, rows, folders)

    def _compare(self, copy: Copy, rows: Rows) -> None:
        """Compares the class counts with the owners'."""
        if copy.synthetic:
            return
        for split, expected in self.counts.items():
            found = np.bincount([v for v in rows[split].values() if v], minlength=len(CLASSES) + 1)[1:]
            if found.tolist() == list(expected):
                continue
            total, whole = int(found.sum()), sum(expected)
            text = (
                f"{split}: {total} labelled images ({'/'.join(map(str, found))}), the owners' list has {whole} "
                f"({'/'.join(map(str, expected))}); accuracies on it cannot be compared with published ones"
            )
            if total < whole:
                copy.audit.warning("missing-rows", text, whole - total)
            else:
                copy.audit.warning("unexpected-rows", text, max(1, total - whole))

    def _add(self, copy: Copy, rows: Rows, folders: Sequence[Path]) -> None:
        """Matches labels with image files by split and number."""
        files: dict[tuple[str, int], str] = {}
        spare = 0
        for folder in folders:
            where = copy.name(folder)
            sizes = []
            for name, size in files_in(folder):
                match = _IMAGE.fullmatch(Path(name).stem)
                if match is None or Path(name).suffix.lower() not in IMAGE_SUFFIXES:
                    copy.audit.note("unknown-file", f"{where}/{name}: not an image of RAF-DB; it is not read")
                    continue
                split, number = match[1].lower(), int(match[2])
                if number not in rows[split]:
                    spare += 1
                elif (split, number) in files:
                    if rows[split][number]:  # else two class folders hold it, which is reported already
                        copy.audit.error("duplicate-image", f"{where}/{name}: the same image as {files[split, number]}")
                else:
                    files[split, number] = f"{where}/{name}"
                    sizes.append((name, size))
            copy.manifest.folder(where, sizes)
            copy.damaged_images(where, [n for n, size in sizes if not size])
        if spare:
            copy.audit.note("image-without-label", f"{spare} images are not in the list; they are not read", spare)
        for split in sorted(rows):
            numbers = [n for n in sorted(rows[split]) if (split, n) in files]
            if absent := [n for n in sorted(rows[split]) if (split, n) not in files]:
                copy.audit.warning(
                    "missing-images",
                    f"{split}: {len(absent)} images of the list are not there and are left out: "
                    f"{some(_stem(split, n) for n in absent)}",
                    len(absent),
                )
            copy.columns.add(
                frame=np.array(numbers, np.int32),
                file=[files[split, n] for n in numbers],
                split=split,
                labels={"expression": np.array([rows[split][n] - 1 for n in numbers], np.int16)},
            )


def read_list(content: bytes, name: str, audit: Audit) -> Rows:
    """Reads the owners' list.

    Args:
        content: Lines such as ``train_00001.jpg 5``.
        name: The file's name, for findings.
        audit: Takes the findings.

    Returns:
        Labels by split and number; 0 where a label is not one of 1..7 or two lines disagree.
    """
    rows: Rows = {"train": {}, "test": {}}
    bad: list[tuple[int, bytes]] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            if line.strip():
                bad.append((number, line))
            continue
        split = match[1].decode()
        _put(rows[split], (split, int(match[2])), int(match[4]), f"{name}:{number}", audit)
    if bad:
        audit.error(
            "damaged-label-file",
            f"{name}:{bad[0][0]}: {excerpt(bad[0][1])} is not 'train_00001.jpg 5'; the list is cut short or damaged"
            + (f" ({len(bad)} such lines)" if len(bad) > 1 else ""),
            len(bad),
        )
    return rows


def _put(labels: dict[int, int], image: tuple[str, int], label: int, where: str, audit: Audit) -> None:
    number = image[1]
    if label == 0:
        audit.error(
            "label-below-first", f"{where}: label 0; the owners count classes from 1, so all may be one class off"
        )
    elif not 1 <= label <= len(CLASSES):
        audit.warning("value-out-of-range", f"{where}: label {label} is not 1..7; the image counts as not labelled")
        label = 0
    if number in labels and labels[number] != label:
        audit.warning("duplicate-image", f"{where}: {_stem(*image)} has two labels; it counts as not labelled")
        label = 0
    elif number in labels:
        audit.warning("duplicate-image", f"{where}: {_stem(*image)} is listed twice; it counts once")
    labels[number] = label


def _stem(split: str, number: int) -> str:
    return f"train_{number:05d}" if split == "train" else f"test_{number:04d}"


def _listing(folder: Path) -> Path | None:
    names = [n for n, _ in files_in(folder) if plain(n) in ("listpatitionlabeltxt", "listpartitionlabeltxt")]
    return folder / names[0] if names else None


def _class_folders(folder: Path) -> dict[int, Path]:
    return {int(f.name): f for f in subfolders(folder) if f.name in tuple("1234567")}


def _compare_table(content: bytes, rows: Mapping[int, int], name: str, audit: Audit) -> None:
    """Compares a repackaging's ``image,label`` table with its class folders."""
    for text in content.decode("utf-8-sig", "replace").splitlines():
        line = [cell.strip() for cell in text.split(",")]
        if line in (["image", "label"], [""]):
            continue
        match = _IMAGE.fullmatch(Path(line[0]).stem)
        if match is None or len(line) != 2 or re.fullmatch(r"[0-9]{1,3}", line[1]) is None:
            audit.error("damaged-label-file", f"{name}: {text[:60]!r} is not 'train_00001_aligned.jpg,5'")
            return
        number = int(match[2])
        if number in rows and rows[number] and rows[number] != int(line[1]):
            audit.error(
                "contradicting-labels",
                f"{name}: {line[0]} has label {line[1]} and lies in the folder of class {rows[number]}",
            )
