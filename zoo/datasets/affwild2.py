"""Aff-Wild2, as the ABAW challenges distribute it: cropped faces of each video, one text file of labels a video.

``cropped_aligned/<video>/00001.jpg`` counts from 1; line k + 1 of ``<video>.txt`` is frame k. Frames without a crop (no
face was found) are usual: they are counted, and no protocol scores them. Each challenge has its own train and
validation videos, so a copy is read for one challenge at a time. Sources: EmotiEffLib, Multitask-Emotion-Recognition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.parse import excerpt
from zoo.datasets.reader import Audit, Copy, Reader, files_in, plain, read_bytes, some, subfolders
from zoo.errors import DatasetMissingError
from zoo.registry.labels import AFFECT, AU_LABELS, Task, canonical_expression

FOLDERS = {
    "expr": ("exprclassificationchallenge", "exprrecognitionchallenge", "exprset"),
    "au": ("audetectionchallenge", "auset"),
    "va": ("vaestimationchallenge", "vaset"),
    "mtl": ("mtlchallenge",),
}
SPLITS = {
    "trainset": "train", "trainingset": "train", "train": "train",
    "validationset": "validation", "validation": "validation",
}  # fmt: skip
TASKS: dict[str, Task] = {"expr": "expression", "au": "au-occurrence", "va": "valence-arousal"}
MISSING_AFFECT = -5

FRAMES = {"expr": 280_532, "au": 445_836, "va": 338_755, "mtl": 26_876}
"""Validation frames with labels and a crop in the copy of EmotiEffLib's author (arXiv 2203.13436, the challenges of
2022): one copy of one release."""

Table = tuple[tuple[str, ...], NDArray[np.float32]]
"""Column names and values ``[rows, columns]``; a row with a missing value is NaN throughout."""


class AffWild2(Reader):
    """Reader of Aff-Wild2.

    Options: ``challenge`` (``expr``, ``au``, ``va`` or ``mtl``), whose videos and splits are read.

    The video (with ``_left`` or ``_right`` where it shows two people) stands for the subject: frames of one video are
    not independent.
    """

    name = "affwild2"
    title = "Aff-Wild2 (ABAW)"
    tasks: tuple[Task, ...] = ("expression", "au-occurrence", "valence-arousal")
    identities = "affwild2"
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"challenge": tuple(FOLDERS)}
    known: ClassVar[tuple[str, ...]] = (
        "the labels of the challenges' test sets are not public: the validation videos are scored",
        "frames without a crop (no face was found) are usual: they are counted and not scored",
        "copies of the challenges of 2020 and 2021 have seven expressions and eight AUs, which no protocol here scores",
    )
    obtain = (
        "Aff-Wild2 is given by Dimitrios Kollias for research, on an agreement signed by academic staff; the cropped "
        "and aligned images of an ABAW challenge are read"
    )

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        challenge = copy.options["challenge"]
        folder = _named(copy.root, FOLDERS[challenge])
        if folder is None:
            raise self.nothing_here(copy.root, f"a folder of the {challenge} challenge with Validation_Set")
        crops = _named(copy.root, ("croppedaligned", "croppedalignedimages", "cropped"))
        if crops is None:
            raise DatasetMissingError(
                "this copy of Aff-Wild2 has labels and no cropped_aligned images",
                where=str(copy.root),
                fix="unpack cropped_aligned beside the annotations",
            )
        if challenge == "mtl":
            self._read_multitask(copy, folder, crops)
        else:
            self._read_videos(copy, folder, crops, challenge)
        if not len(copy.columns):
            raise self.nothing_here(copy.root, f"labels of the {challenge} challenge that have crops")
        here = copy.columns.in_split("validation")
        if not copy.synthetic and here != FRAMES[challenge]:
            copy.audit.warning(
                "frame-count",
                f"validation: {here} labelled frames have a crop; the copy of 2022 that EmotiEffLib's author used has "
                f"{FRAMES[challenge]}. Releases of other years have others: say which one yours is",
                abs(here - FRAMES[challenge]),
            )

    def _read_videos(self, copy: Copy, folder: Path, crops: Path, challenge: str) -> None:
        names: tuple[str, ...] | None = None
        without: list[str] = []
        for split, inside in _splits(folder):
            cropless = 0
            for file, _ in files_in(inside):
                if not file.lower().endswith(".txt"):
                    copy.audit.note("unknown-file", f"{copy.name(inside / file)}: not a label file; it is not read")
                    continue
                path, video = inside / file, file[:-4]
                content = read_bytes(path)
                copy.manifest.labels(copy.name(path), content)
                table = read_video(content, copy.name(path), copy.audit, challenge)
                if table is None:
                    continue
                if names is not None and table[0] != names:
                    copy.audit.error(
                        "labels-differ",
                        f"{copy.name(path)}:1: {', '.join(table[0])}, other files have {', '.join(names)}",
                    )
                    continue
                names = table[0]
                pictures = _crops(copy, crops / video)
                if not pictures:
                    without.append(video)
                    continue
                cropless += self._add(copy, split, video, table[1], pictures, challenge)
            if cropless:
                copy.audit.note(
                    "no-crop", f"{split}: {cropless} labelled frames have no crop (no face was found)", cropless
                )
        if without:
            copy.audit.warning("missing-images", f"no crops of {some(without)}: left out", len(without))
        if names is not None:
            copy.names[TASKS[challenge]] = names

    def _add(
        self,
        copy: Copy,
        split: str,
        video: str,
        values: NDArray[np.float32],
        pictures: Mapping[int, str],
        challenge: str,
    ) -> int:
        """Adds a video's labelled frames; returns how many of them have no crop."""
        labelled = np.flatnonzero(~np.isnan(values).any(axis=1))
        rows = np.array([r for r in labelled.tolist() if r + 1 in pictures], np.int64)
        chosen = values[rows]
        copy.columns.add(
            subject=video,
            sequence=video,
            frame=rows + 1,
            split=split,
            file=[pictures[r + 1] for r in rows.tolist()],
            labels={TASKS[challenge]: chosen[:, 0].astype(np.int16) if challenge == "expr" else chosen},
        )
        return len(labelled) - len(rows)

    def _read_multitask(self, copy: Copy, folder: Path, crops: Path) -> None:
        for name, _ in files_in(folder):
            split = SPLITS.get(plain(Path(name).stem))
            if split is None or not name.lower().endswith(".txt"):
                continue
            content = read_bytes(folder / name)
            copy.manifest.labels(copy.name(folder / name), content)
            table = read_multitask(content, copy.name(folder / name), copy.audit)
            if table is None:
                continue
            copy.names |= {"expression": MTL_CLASSES, "au-occurrence": table.aus, "valence-arousal": AFFECT}
            by_video: dict[str, list[int]] = {}
            for row, video in enumerate(table.video):
                by_video.setdefault(video, []).append(row)
            lost, listing = 0, {}
            for video in sorted(by_video):
                listing = _crops(copy, crops / video)
                rows = sorted(by_video[video], key=lambda r: table.frame[r])
                keep = [r for r in rows if table.frame[r] in listing]
                lost += len(rows) - len(keep)
                copy.columns.add(
                    subject=video, sequence=video, split=split,
                    frame=np.array([table.frame[r] for r in keep], np.int32),
                    file=[listing[table.frame[r]] for r in keep],
                    labels={
                        "expression": table.expression[keep], "au-occurrence": table.au[keep],
                        "valence-arousal": table.affect[keep],
                    },
                )  # fmt: skip
            if lost:
                copy.audit.warning("missing-images", f"{copy.name(folder / name)}: {lost} rows have no image", lost)


# Codes 0..7 of the challenges from 2022 on (ABAW3).
MTL_CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")


def _named(root: Path, names: tuple[str, ...], depth: int = 2) -> Path | None:
    """Finds a folder by its plain name, at most two levels down."""
    here = subfolders(root)
    for folder in here:
        if plain(folder.name) in names:
            return folder
    for folder in here if depth else ():
        if (found := _named(folder, names, depth - 1)) is not None:
            return found
    return None


def _splits(folder: Path) -> list[tuple[str, Path]]:
    return sorted((SPLITS[plain(f.name)], f) for f in subfolders(folder) if plain(f.name) in SPLITS)


def _crops(copy: Copy, folder: Path) -> dict[int, str]:
    """Returns a video's crops by frame number."""
    if not folder.is_dir():
        return {}
    where = copy.name(folder)
    files = [(n, s) for n, s in files_in(folder) if re.fullmatch(r"[0-9]{1,9}\.(jpg|jpeg|png)", n, re.IGNORECASE)]
    copy.manifest.folder(where, files)
    copy.damaged_images(where, [n for n, size in files if not size])
    if zero := [n for n, _ in files if int(Path(n).stem) == 0]:
        copy.audit.error(
            "frame-below-first",
            f"{where}/{zero[0]}: the owners count frames from 1; in a folder that counts from 0 every label may be one "
            "frame off",
        )
    return {int(Path(n).stem): f"{where}/{n}" for n, _ in files}


def _columns(header: str, challenge: str) -> tuple[str, ...] | None:
    """Returns the labels that a header line names, or None where it is not the challenge's."""
    cells = [c.strip() for c in header.split(",")]
    if challenge == "va":
        return AFFECT if [c.lower() for c in cells] == list(AFFECT) else None
    if challenge == "au":
        found = [f"AU{int(m[1]):02d}" for c in cells if (m := re.fullmatch(r"AU\s?([0-9]{1,2})", c, re.IGNORECASE))]
        good = len(found) == len(cells) == len(set(found)) and set(found) <= AU_LABELS
        return tuple(found) if good else None
    classes = [canonical_expression(c) for c in cells]
    known = [c for c in classes if c]
    return tuple(known) if len(known) == len(classes) == len(set(known)) and len(known) >= 7 else None


def read_video(content: bytes, name: str, audit: Audit, challenge: str) -> Table | None:
    """Reads a video's labels.

    Args:
        content: A header, then one line a frame: a class, twelve AUs, or valence and arousal.
        name: The file's name, for findings.
        audit: Takes the findings.
        challenge: ``expr``, ``au`` or ``va``.

    Returns:
        Column names (for ``expr`` the classes, with one column of values), and values; NaN where a value is missing
        (-1, or -5 for valence and arousal): a frame that misses one is left out of the task. None where the file is not
        of this challenge.
    """
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    names = _columns(lines[0].decode("utf-8", "replace"), challenge) if lines else None
    if names is None:
        shown = excerpt(lines[0]) if lines else "the empty file"
        audit.error("damaged-label-file", f"{name}:1: {shown} is not a header of the {challenge} challenge")
        return None
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    width = 1 if challenge == "expr" else len(names)
    values = np.full((len(lines) - 1, width), np.nan, np.float32)
    odd: list[int] = []
    for row, line in enumerate(lines[1:]):
        numbers = _numbers(line, width)
        if numbers is None:
            audit.error(
                "damaged-label-file", f"{name}:{row + 2}: {excerpt(line)} is not {width} numbers; the file is cut short"
            )
            break
        good, missing = _judge(numbers, challenge, len(names))
        if good:
            values[row] = numbers
        elif not missing:
            odd.append(row + 1)
    if odd:
        audit.warning(
            "value-out-of-range",
            f"{name}: {len(odd)} frames hold a value out of range, first {odd[0]}; not coded",
            len(odd),
        )
    return names, values


def _numbers(line: bytes, width: int) -> list[float] | None:
    cells = line.split(b",")
    if len(cells) != width or not all(
        re.fullmatch(rb"\s*-?[0-9]{1,9}(\.[0-9]{0,20})?(e-?[0-9]{1,2})?\s*", c) for c in cells
    ):
        return None
    return [float(c) for c in cells]


def _judge(numbers: list[float], challenge: str, classes: int) -> tuple[bool, bool]:
    """Returns whether all values are labels, and whether what is wrong is only that some are missing."""
    if challenge == "va":
        inside = [-1 <= v <= 1 for v in numbers]
        missing = [v == MISSING_AFFECT for v in numbers]
    else:
        top = classes - 1 if challenge == "expr" else 1
        inside = [v in range(top + 1) for v in numbers]
        missing = [v == -1 for v in numbers]
    return all(inside), all(a or b for a, b in zip(inside, missing, strict=True))


class Multitask:
    """Rows of a multi-task list.

    Attributes:
        video: Of each row.
        frame: Of each row.
        aus: AU labels in the order of the columns.
        affect: float32 ``[n, 2]``.
        expression: int16 ``[n]``.
        au: float32 ``[n, len(aus)]``.
    """

    def __init__(self, aus: tuple[str, ...], rows: list[tuple[str, int, list[float]]], name: str, audit: Audit) -> None:
        self.aus = aus
        self.video = [video for video, _, _ in rows]
        self.frame = [frame for _, frame, _ in rows]
        values = np.array([v for _, _, v in rows], np.float32).reshape(-1, 3 + len(aus))
        odd = 0
        self.affect = np.full((len(rows), 2), np.nan, np.float32)
        self.expression = np.full(len(rows), -1, np.int16)
        self.au = np.full((len(rows), len(aus)), np.nan, np.float32)
        for row, numbers in enumerate(values.tolist()):
            parts = (("va", numbers[:2]), ("expr", numbers[2:3]), ("au", numbers[3:]))
            for challenge, part in parts:
                good, missing = _judge(part, challenge, len(MTL_CLASSES))
                odd += not good and not missing
                if good and challenge == "va":
                    self.affect[row] = part
                elif good and challenge == "expr":
                    self.expression[row] = part[0]
                elif good:
                    self.au[row] = part
        if odd:
            audit.warning("value-out-of-range", f"{name}: {odd} labels hold a value out of range; not coded", odd)


def read_multitask(content: bytes, name: str, audit: Audit) -> Multitask | None:
    """Reads ``video/00001.jpg,valence,arousal,expr,AU1,...`` lines below a header."""
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    header = [c.strip() for c in lines[0].decode("utf-8", "replace").split(",")] if lines else []
    aus = _columns(",".join(header[4:]), "au") if len(header) > 4 else None
    if aus is None or [h.lower() for h in header[1:3]] != list(AFFECT) or not header[3].lower().startswith("expr"):
        shown = excerpt(lines[0]) if lines else "the empty file"
        audit.error("damaged-label-file", f"{name}:1: {shown} is not a header of the multi-task challenge")
        return None
    rows: list[tuple[str, int, list[float]]] = []
    seen: set[tuple[str, int]] = set()
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        path, _, rest = line.partition(b",")
        match = re.fullmatch(rb"([^/\\,]{1,200})/([0-9]{1,9})\.(?:jpg|png)", path.strip())
        numbers = _numbers(rest, 3 + len(aus))
        if match is None or numbers is None or match[1] in (b"..", b"."):
            audit.error("damaged-label-file", f"{name}:{number}: {excerpt(line)} is not a row; the file is cut short")
            break
        key = match[1].decode("utf-8", "replace"), int(match[2])
        if key in seen:
            audit.error("duplicate-image", f"{name}:{number}: {key[0]}/{key[1]} has two rows")
            break
        seen.add(key)
        rows.append((*key, numbers))
    return Multitask(aus, rows, name, audit)
