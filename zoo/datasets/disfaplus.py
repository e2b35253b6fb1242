"""DISFA+: nine of DISFA's people, posed and spontaneous trials, twelve AUs coded 0..5, distributed as images.

``Images/SN001/A1_AU1_TrailNo_1/000.jpg`` and ``Labels/SN001/A1_AU1_TrailNo_1/AU1.txt`` with two header lines and then
``000.jpg     3``. Frames are counted from 0. Sources: two loaders of Py-Feat, FERGI, and three more that agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.disfa import AUS
from zoo.datasets.parse import Series, excerpt, tidy
from zoo.datasets.reader import IMAGE_SUFFIXES, Audit, Copy, Reader, files_in, plain, read_bytes, some, subfolders
from zoo.registry.labels import Task, au_label

SUBJECTS = ("SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027")
FRAMES = 57_150
"""Frames with an image and all twelve labels, as several runs of Py-Feat report them: one laboratory's copy."""

_LABEL_FILE = re.compile(r"AU(\d{1,2})\.txt", re.IGNORECASE)
_ROW = re.compile(rb"[ \t]*([0-9]{1,9})\.(?:jpe?g|png|bmp)[ \t,]+(-?[0-9]{1,9})[ \t]*", re.IGNORECASE)
_HEADER_LINES = 2


class DisfaPlus(Reader):
    """Reader of DISFA+."""

    name = "disfaplus"
    title = "DISFA+ (Extended DISFA)"
    tasks: tuple[Task, ...] = ("au-intensity",)
    identities = "disfa"  # all nine people are also in DISFA
    people = frozenset(SUBJECTS)
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"au-intensity": tuple(au_label(a) for a in AUS)}
    known: ClassVar[tuple[str, ...]] = (
        "all nine people are also in DISFA: a model trained on DISFA has met them; its result says identity_overlap",
        "57,150 frames with an image and all labels are one laboratory's count",
    )
    obtain = (
        "DISFA+ is given by Mohammad Mahoor's laboratory (University of Denver, mohammadmahoor.com) for research, on a "
        "form signed by a member of staff"
    )

    def unread(self, options: Mapping[str, str]) -> frozenset[str]:
        """See :meth:`Reader.unread`."""
        return frozenset({"facelandmarks", "aligned"})

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        inside = {plain(f.name): f for f in subfolders(copy.root)}
        if "labels" not in inside or "images" not in inside:
            raise self.nothing_here(copy.root, "Labels/SN001/<trial>/AU1.txt and Images/SN001/<trial>/000.jpg")
        labels, images = (_trials(inside[name]) for name in ("labels", "images"))
        if not labels:
            raise self.nothing_here(copy.root, "Labels/SN001/<trial>/AU1.txt")
        whole = 0
        for subject, trial in sorted(labels):
            frame, values = _read_trial(copy, labels[subject, trial])
            pictures = _pictures(copy, images[subject, trial]) if (subject, trial) in images else {}
            rows = [i for i, n in enumerate(frame.tolist()) if n in pictures]
            where = f"{subject}/{trial}"
            if len(frame) and pictures and min(pictures) == frame[0] + 1 and max(pictures) == frame[-1] + 1:
                copy.audit.error(
                    "frame-numbering",
                    f"Images/{where}: the images are numbered {min(pictures)} to {max(pictures)} and the labels "
                    f"{frame[0]} to {frame[-1]}: every label would be one frame off",
                )
            if not pictures:
                copy.audit.warning("missing-images", f"Images/{where}: no images of this trial; it is left out")
            elif len(rows) < len(frame):
                lost = len(frame) - len(rows)
                copy.audit.warning("missing-images", f"Images/{where}: {lost} labelled frames have no image", lost)
            if extra := len(pictures) - len(rows):
                copy.audit.warning("images-without-labels", f"Images/{where}: {extra} images have no label", extra)
            whole += int((~np.isnan(values[rows])).all(axis=1).sum())
            copy.columns.add(
                subject=subject,
                sequence=trial,
                frame=frame[rows],
                file=[pictures[int(n)] for n in frame[rows]],
                labels={"au-intensity": values[rows]},
            )
        for subject, trial in sorted(images.keys() - labels.keys()):
            copy.audit.warning("missing-labels", f"Labels/{subject}/{trial}: no labels of this trial; it is left out")
        if copy.synthetic:
            return
        there = {s for s, _ in labels}
        if absent := [s for s in SUBJECTS if s not in there]:
            copy.audit.warning("missing-subject", f"{some(absent, 9)}: not in this copy", len(absent))
        if unknown := sorted(there - self.people):
            copy.audit.warning("unknown-subject", f"{some(unknown, 9)}: not among the nine of DISFA+", len(unknown))
        if whole != FRAMES:
            copy.audit.warning(
                "frame-count",
                f"{whole} frames have an image and all labels; the copy of Py-Feat's authors has {FRAMES}",
                abs(whole - FRAMES),
            )


def _trials(folder: Path) -> dict[tuple[str, str], Path]:
    """Returns the trial folders by subject and trial; a subject's archive may have doubled its folder."""
    found = {}
    for subject in subfolders(folder):
        if not re.fullmatch(r"SN\d{3}", subject.name, re.IGNORECASE):
            continue
        for child in subfolders(subject):
            inner = subfolders(child) if child.name.upper() == subject.name.upper() else [child]
            for trial in inner:
                found[subject.name.upper(), trial.name] = trial
    return found


def _read_trial(copy: Copy, folder: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Reads a trial's label files: frames ``[n]`` and values ``[n, 12]`` in the order of AUS."""
    series: dict[int, Series] = {}
    for name, _ in files_in(folder):
        path = copy.name(folder / name)
        match = _LABEL_FILE.fullmatch(name)
        au = int(match[1]) if match else 0
        if au not in AUS:
            copy.audit.note("unknown-file", f"{path}: not a label file of DISFA+; it is not read")
        elif au in series:
            copy.audit.error("duplicate-label-file", f"{path}: a second file for AU {au}")
        else:
            content = read_bytes(folder / name)
            copy.manifest.labels(path, content)
            pairs = read_rows(content, path, copy.audit)
            series[au] = tidy(*pairs, path, copy.audit, valid=(0, 1, 2, 3, 4, 5), first=0)
    frame = np.unique(np.concatenate([np.empty(0, np.int64), *(s.frame for s in series.values())]))
    values = np.full((len(frame), len(AUS)), np.nan, np.float32)
    where = copy.name(folder)
    if absent := [a for a in AUS if a not in series]:
        copy.audit.warning(
            "missing-label-file", f"{where}: no file for {some(f'AU {a}' for a in absent)}: not coded", len(absent)
        )
    for au, one in series.items():
        values[np.searchsorted(frame, one.frame), AUS.index(au)] = one.value
        if len(one.frame) < len(frame):
            lost = len(frame) - len(one.frame)
            copy.audit.warning("missing-labels", f"{where}/AU{au}.txt: {lost} frames of the trial are not in it", lost)
    return frame, values


def read_rows(content: bytes, name: str, audit: Audit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reads ``000.jpg     3`` lines below two header lines (or below comments).

    A line that is neither is an error finding with file and line, so that a file cut short is seen.
    """
    rows: list[tuple[int, int]] = []
    header = 0
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if match := _ROW.fullmatch(line):
            rows.append((int(match[1]), int(match[2])))
        elif not line.strip() or line.lstrip().startswith(b"#"):
            continue
        elif not rows and header < _HEADER_LINES:
            header += 1
        else:
            audit.error("damaged-label-file", f"{name}:{number}: {excerpt(line)} is not '014.jpg     3'")
    if not rows:
        audit.error("damaged-label-file", f"{name}: no label in it")
    flat = np.array(rows, np.int64).reshape(-1, 2)
    return flat[:, 0], flat[:, 1]


def _pictures(copy: Copy, folder: Path) -> dict[int, str]:
    """Returns a trial's images by number."""
    where = copy.name(folder)
    found: dict[int, str] = {}
    sizes = []
    for name, size in files_in(folder):
        path = Path(name)
        if path.suffix.lower() not in IMAGE_SUFFIXES or not re.fullmatch(r"[0-9]{1,9}", path.stem):
            if plain(name) != "timestamptxt":
                copy.audit.note("unknown-file", f"{where}/{name}: not a numbered image; it is not read")
            continue
        if int(path.stem) in found:
            copy.audit.error("duplicate-frame-file", f"{where}/{name}: the same frame as {found[int(path.stem)]}")
            continue
        found[int(path.stem)] = f"{where}/{name}"
        sizes.append((name, size))
    copy.manifest.folder(where, sizes)
    copy.damaged_images(where, [n for n, size in sizes if not size])
    return found
