"""BP4D and BP4D+: spontaneous tasks, AU occurrence in a coded stretch of each, intensity of five AUs.

Images lie in ``<subject>/<task>/<frame>.jpg`` with three or four digits, by sequence. Occurrence is
``AUCoding/AU_OCC/F001_T1.csv``, whose first row names the AU of each column (9: not coded); intensity is
``AU_INT/AU06/F001_T1_AU06.csv`` without a header. AUs are found by the header, never by position: BP4D+'s columns skip
numbers. Sources: ME-GraphAU, JAA-Net, OpenFace 2's training scripts, Py-Feat, rPPG-Toolbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.base import Index
from zoo.datasets.bp4d_ranges import RANGES
from zoo.datasets.parse import Series, excerpt, read_pairs, tidy
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
from zoo.registry.labels import Task, au_label

OCCURRENCE_AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
"""The twelve AUs of the benchmark; the value 9 does not occur in their coded frames."""
INTENSITY_AUS = (6, 10, 12, 14, 17)
CODED_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27, 32, 38, 39)
"""AU columns that OpenGraphAU reads."""

# Coded frames of each subject over T1..T8: 146,847 in 328 sequences.
FRAMES = {s: sum(b - a + 1 for (who, _), (a, b) in RANGES.items() if who == s) for s, _ in RANGES}

# Frames absent from JAA-Net's lists (271), inclusive; the reason is not stated.
JAA_LEFT_OUT: dict[tuple[str, str], tuple[tuple[int, int], ...]] = {
    ("M009", "T4"): ((749, 753), (755, 760)),
    ("M003", "T5"): ((844, 845),),
    ("M003", "T7"): ((1386, 1461),),
    ("F021", "T3"): ((223, 227),),
    ("F017", "T3"): ((198, 201), (203, 206), (209, 263), (265, 267), (269, 332), (335, 335)),
    ("M010", "T6"): ((942, 957),),
    ("F023", "T6"): ((1002, 1031),),
}

_OCCURRENCE_FILE = re.compile(r"([FM]\d{3})_(T\d{1,2})\.csv", re.IGNORECASE)
_INTENSITY_FILE = re.compile(r"([FM]\d{3})_(T\d{1,2})_AU(\d{1,2})\.csv", re.IGNORECASE)
_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)
_LABEL_FOLDERS = ("aucoding", "auocc", "auint", "auintensitycodes")

Key = tuple[str, str]
"""Subject and task."""


@dataclass(frozen=True)
class Coded:
    """A sequence's occurrence codes.

    Attributes:
        frame: Increasing frame numbers, int64 ``[n]``.
        values: float32 ``[n, len(aus)]``, NaN where not coded.
    """

    frame: NDArray[np.int64]
    values: NDArray[np.float32]


class Bp4d(Reader):
    """Reader of BP4D. Frame sets: ``all``; ``jaa``, without the 271 frames that JAA-Net's lists leave out."""

    name = "bp4d"
    title = "BP4D-Spontaneous"
    tasks: tuple[Task, ...] = ("au-occurrence", "au-intensity")
    identities = "bp4d"
    people = frozenset(FRAMES)
    frame_sets: tuple[str, ...] = ("all", "jaa")
    obtain = (
        "BP4D is given by Lijun Yin's laboratory (Binghamton University, record RB440) under an agreement signed by a "
        "member of the faculty and the institution"
    )
    known: ClassVar[tuple[str, ...]] = (
        "one stretch of each task is coded; images before and after it have no labels and are not read",
        "271 frames of seven sequences are absent from JAA-Net's lists, which give no reason: protocols that end in "
        "-jaa leave them out, the others score them",
        "9 in an intensity file means not coded; how many there are is not published: under the intensity protocols "
        "missing files are seen, missing codes are not",
    )
    coded: tuple[int, ...] = CODED_AUS
    required: tuple[int, ...] = OCCURRENCE_AUS
    codings: tuple[str, ...] = tuple(f"T{n}" for n in range(1, 9))
    """Tasks that carry AU codes."""
    frames: ClassVar[Mapping[str, int]] = FRAMES
    ranges: ClassVar[Mapping[Key, tuple[int, int]]] = RANGES
    """First and last coded frame of each sequence of the owners' copy, where they are known."""
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {
        "au-occurrence": tuple(au_label(a) for a in CODED_AUS),
        "au-intensity": tuple(au_label(a) for a in INTENSITY_AUS),
    }

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        occurrence, intensity = _label_files(copy)
        if not occurrence and not intensity:
            raise self.nothing_here(copy.root, "AUCoding/AU_OCC/F001_T1.csv")
        folders = _sequence_folders(copy.root)
        if not folders:
            raise DatasetMissingError(
                f"this copy of {self.title} has labels and no images",
                where=str(copy.root),
                why="no folder F001/T1 with images was found under it, BP4D-training, Sequences(2D+3D) or 2D+3D",
                fix="unpack the archives of the 2D images there",
            )
        if not intensity:
            copy.audit.note("no-intensity", "there are no intensity codes (AU_INT/AU06/F001_T1_AU06.csv)")
        rows: dict[str, int] = {}
        spans: dict[Key, tuple[int, int]] = {}
        unseen: list[Key] = []
        for key in sorted(occurrence.keys() | intensity.keys()):
            coded = self._occurrence(copy, occurrence.get(key), key)
            graded = {au: _intensity(copy, file) for au, file in sorted(intensity.get(key, {}).items())}
            rows[key[0]] = rows.get(key[0], 0) + len(coded.frame)
            if len(coded.frame):
                spans[key] = int(coded.frame[0]), int(coded.frame[-1])
            if key not in folders:
                unseen.append(key)
                continue
            self._add(copy, key, coded, graded, folders[key])
        if unseen:
            names = some(f"{s}/{t}" for s, t in unseen)
            copy.audit.warning("missing-images", f"{names}: labels, but no folder of images; left out", len(unseen))
        for au in INTENSITY_AUS if intensity else ():
            if absent := [f"{s}_{t}" for s, t in sorted(occurrence) if au not in intensity.get((s, t), {})]:
                copy.audit.warning(
                    "missing-label-file",
                    f"AU {au}: no intensity codes of {some(absent)}; intensity is scored without them",
                    len(absent),
                )
        self._coverage(copy, rows, occurrence)
        if not copy.synthetic:
            self._compare_ranges(copy, spans)

    def unread(self, options: Mapping[str, str]) -> frozenset[str]:
        """See :meth:`Reader.unread`."""
        return frozenset({"2dfeatures", "3dfeatures", "irfeatures", "physiology", "thermal"})

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`."""
        if not self.frames or wanted.task == "au-intensity":  # 9 occurs in intensities; nobody says how often
            return None
        whole = wanted.subjects or tuple(self.frames)
        total = sum(self.frames.get(s, 0) for s in whole)
        if wanted.frames == "jaa":
            total -= sum(b - a + 1 for (s, _), ranges in JAA_LEFT_OUT.items() if s in whole for a, b in ranges)
        return total

    def frame_set(self, index: Index, name: str) -> NDArray[np.bool_]:
        """See :meth:`Reader.frame_set`."""
        keep = super().frame_set(index, name)
        if name == "jaa":
            for (subject, task), ranges in JAA_LEFT_OUT.items():
                here = np.flatnonzero((index.subject == subject) & (index.sequence == task))
                for first, last in ranges:
                    keep[here[(index.frame[here] >= first) & (index.frame[here] <= last)]] = False
        return keep

    def _occurrence(self, copy: Copy, file: Path | None, key: Key) -> Coded:
        if file is None:
            copy.audit.warning("missing-label-file", f"{'_'.join(key)}: intensity, but no occurrence file")
            return Coded(np.empty(0, np.int64), np.empty((0, len(self.coded)), np.float32))
        content = read_bytes(file)
        name = copy.name(file)
        copy.manifest.labels(name, content)
        coded = read_occurrence(content, name, copy.audit, self.coded, self.required)
        if len(coded.frame) and (holes := int(coded.frame[-1] - coded.frame[0]) + 1 - len(coded.frame)):
            copy.audit.warning("missing-labels", f"{name}: {holes} frames within its coded stretch have no row", holes)
        return coded

    def _add(self, copy: Copy, key: Key, coded: Coded, graded: Mapping[int, Series], folder: Path) -> None:
        frame = np.unique(np.concatenate([coded.frame, *(s.frame for s in graded.values())]))
        present = np.full((len(frame), len(self.coded)), np.nan, np.float32)
        present[np.searchsorted(frame, coded.frame)] = coded.values
        grade = np.full((len(frame), len(INTENSITY_AUS)), np.nan, np.float32)
        for au, one in graded.items():
            grade[np.searchsorted(frame, one.frame), INTENSITY_AUS.index(au)] = one.value
            if len(coded.frame) and not np.array_equal(one.frame, coded.frame):
                copy.audit.warning(
                    "label-rows-differ",
                    f"{'_'.join(key)}: AU {au} is graded in other frames than those coded",
                )
        files = _numbered_images(copy, folder, frame)
        rows = [i for i, n in enumerate(frame.tolist()) if n in files]
        if lost := len(frame) - len(rows):
            copy.audit.warning(
                "missing-images", f"{copy.name(folder)}: {lost} of {len(frame)} coded frames have no image", lost
            )
        copy.columns.add(
            subject=key[0],
            sequence=key[1],
            frame=frame[rows],
            file=[files[int(n)] for n in frame[rows]],
            labels={"au-occurrence": present[rows], "au-intensity": grade[rows]},
        )

    def _coverage(self, copy: Copy, rows: Mapping[str, int], occurrence: Mapping[Key, Path]) -> None:
        if copy.synthetic:
            return
        known = self.people
        if absent := sorted(known - rows.keys()):
            copy.audit.warning("missing-subject", f"{some(absent, 41)}: no AU codes in this copy", len(absent))
        if unknown := sorted(rows.keys() - known):
            copy.audit.warning("unknown-subject", f"{some(unknown)}: not a subject of {self.title}", len(unknown))
        lost = [f"{s}_{t}" for s in sorted(known & rows.keys()) for t in self.codings if (s, t) not in occurrence]
        if lost:
            copy.audit.warning("missing-label-file", f"{some(lost)}: no occurrence codes", len(lost))
        for subject, expected in self.frames.items():
            if subject in rows and rows[subject] != expected:
                code = "missing-labels" if rows[subject] < expected else "unexpected-labels"
                copy.audit.warning(
                    code, f"{subject}: {rows[subject]} coded frames, other copies have {expected}",
                    abs(expected - rows[subject]),
                )  # fmt: skip

    def _compare_ranges(self, copy: Copy, spans: Mapping[Key, tuple[int, int]]) -> None:
        """Compares the coded stretches with those of other copies: the labels of another sequence would show."""
        odd = [k for k, span in spans.items() if self.ranges.get(k, span) != span]
        if odd:
            (first, last), (a, b) = spans[odd[0]], self.ranges[odd[0]]
            copy.audit.warning(
                "unexpected-labels",
                f"{some('_'.join(k) for k in odd)}: other frames are coded than in other copies (of {'_'.join(odd[0])} "
                f"{first} to {last} instead of {a} to {b}): cut short, or the labels of another sequence?",
                len(odd),
            )


_PLUS_CODED = (1, 2, 4, 5, 6, 7, *range(9, 21), 22, 23, 24, *range(27, 40))


class Bp4dPlus(Bp4d):
    """Reader of BP4D+: 140 people, of whose tasks T1, T6, T7 and T8 are coded.

    Known defects of the owners' copy, as rPPG-Toolbox names them: the labels and the video of F041_T7 differ in length,
    and F042_T11 is absent.
    """

    name = "bp4dplus"
    title = "BP4D+"
    identities = "bp4dplus"
    people = frozenset([f"F{n:03d}" for n in range(1, 83)] + [f"M{n:03d}" for n in range(1, 59)])
    frame_sets = ("all",)
    coded = _PLUS_CODED
    codings = ("T1", "T6", "T7", "T8")
    frames: ClassVar[Mapping[str, int]] = {}
    ranges: ClassVar[Mapping[Key, tuple[int, int]]] = {}
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {
        "au-occurrence": tuple(au_label(a) for a in _PLUS_CODED),
        "au-intensity": tuple(au_label(a) for a in INTENSITY_AUS),
    }
    known: ClassVar[tuple[str, ...]] = (
        "of its tasks T1, T6, T7 and T8 are coded",
        "the labels and the video of F041_T7 differ in length: labels without an image are left out and reported",
        "F042_T11 is absent; that task has no AU codes, so no score misses it",
    )
    obtain = (
        "BP4D+ is given by Lijun Yin's laboratory (Binghamton University) under an agreement signed by a member of the "
        "faculty and the institution; unpack 2D+3D/F001.zip and the others beside themselves"
    )


def read_occurrence(content: bytes, name: str, audit: Audit, aus: Sequence[int], required: Sequence[int] = ()) -> Coded:
    """Reads an occurrence table: a header of AU numbers, then a frame number and 0, 1 or 9 for each.

    Args:
        content: The file.
        name: Its name, for findings.
        audit: Takes the findings.
        aus: AUs to take, by their number in the header.
        required: Those whose absence is reported.
    """
    nothing = Coded(np.empty(0, np.int64), np.empty((0, len(aus)), np.float32))
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        audit.error("damaged-label-file", f"{name}: the file is empty")
        return nothing
    header = [cell.strip() for cell in lines[0].split(b",")]
    if not all(re.fullmatch(rb"[0-9]{1,3}", cell) for cell in header) or int(header[0]) != 0 or len(header) < 2:
        audit.error("damaged-label-file", f"{name}:1: {excerpt(lines[0])} is not a header of AU numbers '0,1,2,...'")
        return nothing
    numbers = [int(cell) for cell in header]
    if repeated := sorted({n for n in numbers if numbers.count(n) > 1}):
        audit.error("damaged-label-file", f"{name}:1: the AU {repeated[0]} has two columns")
        return nothing
    if absent := [a for a in required if a not in numbers]:
        audit.warning("missing-labels", f"{name}: no column for {some(f'AU {a}' for a in absent)}", len(absent))
    table = _integers(lines[1:], len(header), name, audit)
    frame, columns = table[:, 0], [a for a in aus if a in numbers]
    codes = table[:, [numbers.index(a) for a in columns]]
    values = np.full((len(table), len(aus)), np.nan, np.float32)
    good = (codes == 0) | (codes == 1)
    place = [aus.index(a) for a in columns]
    values[:, place] = np.where(good, codes, np.nan)
    if (odd := ~good & (codes != 9)).any():
        row, column = (int(i[0]) for i in np.nonzero(odd))
        audit.warning(
            "value-out-of-range",
            f"{name}: {int(odd.sum())} values other than 0, 1 and 9, first {int(codes[row, column])} for AU "
            f"{columns[column]} at frame {int(frame[row])}; they count as not coded",
            odd.sum(),
        )
    wanted = [columns.index(a) for a in required if a in columns]
    if uncoded := int((codes[:, wanted] == 9).any(axis=1).sum()):
        audit.note("not-coded", f"{name}: {uncoded} frames have an AU of the benchmark that is not coded", uncoded)
    if len(frame) and frame.min() < 1:
        audit.error("frame-below-first", f"{name}: frame number {int(frame.min())}; the owners count from 1")
        frame, values = frame[frame >= 1], values[frame >= 1]
    unique, start, count = np.unique(frame, return_index=True, return_counts=True)
    if (count > 1).any():
        audit.error("duplicate-frame", f"{name}: the frame {int(unique[np.argmax(count > 1)])} has two rows")
    return Coded(unique, values[start])


def _integers(lines: Sequence[bytes], width: int, name: str, audit: Audit) -> NDArray[np.int64]:
    """Returns rows of non-negative integers; a row that is anything else is an error finding with its line."""
    cells = b",".join(lines).replace(b" ", b"")
    if all(line.count(b",") == width - 1 for line in lines) and re.fullmatch(rb"(?>[0-9]{1,9},)*+[0-9]{1,9}", cells):
        return np.array(cells.split(b","), dtype="S9").astype(np.int64).reshape(-1, width)
    rows = []
    bad: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, 2):
        row = [cell.strip() for cell in line.split(b",")]
        if len(row) == width and all(re.fullmatch(rb"[0-9]{1,9}", cell) for cell in row):
            rows.append([int(cell) for cell in row])
        elif line.strip():
            bad.append((number, line))
    if bad:
        audit.error(
            "damaged-label-file",
            f"{name}:{bad[0][0]}: {excerpt(bad[0][1])} is not {width} whole numbers; the file is cut short or damaged",
            len(bad),
        )
    return np.array(rows, np.int64).reshape(-1, width)


def _intensity(copy: Copy, file: Path) -> Series:
    content = read_bytes(file)
    name = copy.name(file)
    copy.manifest.labels(name, content)
    if not content.strip():
        copy.audit.error("damaged-label-file", f"{name}: the file is empty")
    pairs = read_pairs(content, name, copy.audit)
    return tidy(*pairs, name, copy.audit, valid=(0, 1, 2, 3, 4, 5), missing=(9,))


def _label_files(copy: Copy) -> tuple[dict[Key, Path], dict[Key, dict[int, Path]]]:
    """Finds the label files in the folders that copies keep them in, whatever their depth."""
    occurrence: dict[Key, Path] = {}
    intensity: dict[Key, dict[int, Path]] = {}
    tops = [f for f in subfolders(copy.root) if plain(f.name).startswith(_LABEL_FOLDERS)]
    for folder in (inside for top in tops for inside in _below(top, 3)):
        for name, _ in files_in(folder):
            path = folder / name
            if match := _OCCURRENCE_FILE.fullmatch(name):
                key = match[1].upper(), match[2].upper()
                if key in occurrence:
                    copy.audit.error(
                        "duplicate-label-file", f"{copy.name(path)}: the same sequence as {copy.name(occurrence[key])}"
                    )
                occurrence.setdefault(key, path)
            elif match := _INTENSITY_FILE.fullmatch(name):
                key, au = (match[1].upper(), match[2].upper()), int(match[3])
                if au not in INTENSITY_AUS:
                    copy.audit.note("unknown-file", f"{copy.name(path)}: AU {au} has no intensity codes; not read")
                elif au in intensity.setdefault(key, {}):
                    copy.audit.error(
                        "duplicate-label-file", f"{copy.name(path)}: the same as {copy.name(intensity[key][au])}"
                    )
                else:
                    intensity[key][au] = path
    return occurrence, intensity


def _below(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for child in subfolders(folder):
            yield from _below(child, depth - 1)


def _sequence_folders(root: Path) -> dict[Key, Path]:
    """Finds ``<subject>/<task>`` below the root or one of the folders that copies put between."""
    parents = [root]
    for child in subfolders(root):
        if plain(child.name) in ("bp4dtraining", "sequences2d+3d", "2d+3d", "release", "sequences"):
            parents += [child, *(c for c in subfolders(child) if plain(c.name) == "bp4dtraining")]
    found: dict[Key, Path] = {}
    for parent in parents:
        for subject in subfolders(parent):
            if _SUBJECT.fullmatch(subject.name):
                for task in subfolders(subject):
                    if re.fullmatch(r"T\d{1,2}", task.name, re.IGNORECASE):
                        found.setdefault((subject.name.upper(), task.name.upper()), task)
    return found


def _numbered_images(copy: Copy, folder: Path, wanted: NDArray[np.int64]) -> dict[int, str]:
    """Returns the images of the wanted frames by number, whatever their zero padding."""
    numbers = set(wanted.tolist())
    where = copy.name(folder)
    found: dict[int, str] = {}
    sizes = []
    for name, size in files_in(folder):
        stem, suffix = Path(name).stem, Path(name).suffix.lower()
        if suffix not in IMAGE_SUFFIXES or not re.fullmatch(r"[0-9]{1,9}", stem):
            continue
        if int(stem) == 0:
            copy.audit.error(
                "frame-below-first",
                f"{where}/{name}: the owners count frames from 1; in a folder that counts from 0 every label may be "
                "one frame off",
            )
        if int(stem) not in numbers:
            continue
        if int(stem) in found:
            copy.audit.error("duplicate-frame-file", f"{where}/{name}: the same frame as {found[int(stem)]}")
            continue
        found[int(stem)] = f"{where}/{name}"
        sizes.append((name, size))
    copy.manifest.folder(where, sizes)
    copy.damaged_images(where, [n for n, size in sizes if not size])
    return found
