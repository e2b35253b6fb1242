"""DISFA: 27 people, one video each from two cameras, twelve AUs coded 0..5 in every frame.

Layout and counts: OpenFace 2's AU training scripts, LibreFace, PyTorch-JAANet and ME-GraphAU agree on what is asserted
here. Label files are ``ActionUnit_Labels/SN001/SN001_au1.txt`` with lines ``frame,intensity`` and frames from 1. The
AU is read from the file's name: a directory listing sorts au12 before au2, and readers that zip it with numbered
columns have swapped AUs (LibreFace issue 2).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo._util.spool import stored
from zoo.datasets.base import Index
from zoo.datasets.parse import Series, read_pairs, tidy
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
    unpacked,
)
from zoo.datasets.video import VIDEO_SUFFIXES, VideoDamagedError, frame_count
from zoo.errors import DatasetMissingError
from zoo.registry.labels import Task, au_label

AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)

SUBJECTS = tuple(
    f"SN{n:03d}"
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
)

# Frames that JAA-Net leaves out because the distributed landmarks fail there; its list files, 0-based, inclusive.
# The labels and the pictures of these frames are good. https://github.com/ZhiwenShao/PyTorch-JAANet
JAA_LEFT_OUT: dict[str, tuple[tuple[int, int], ...]] = {
    "SN001": ((397, 419), (3189, 3242)),
    "SN002": ((799, 825),),
    "SN004": ((4540, 4554),),
    "SN006": ((1348, 1404),),
    "SN009": ((1735, 1807), (1850, 1884)),
    "SN010": ((4844, 4844),),  # does not exist: this video is one frame shorter
    "SN011": ((4528, 4532), (4829, 4844)),
    "SN021": (
        (573, 615), (984, 1163), (1189, 1204), (1304, 1337), (1664, 1709), (1861, 2476), (2553, 4656), (4709, 4721),
    ),
    "SN023": ((1020, 1048), (3377, 3556), (3583, 3667), (4546, 4620), (4740, 4771), (4824, 4844)),
    "SN025": ((4595, 4661), (4815, 4834)),
    "SN027": ((3460, 3493), (4737, 4784)),
    "SN028": ((1874, 1884), (4570, 4689)),
    "SN029": ((4089, 4542),),
    "SN030": ((938, 961), (1405, 1421), (2099, 2131), (2892, 2954)),
}  # fmt: skip

# Share of frames with intensity >= 2 in FG-Net's lists (130,311 frames): swapped AUs would show.
BASE_RATES = {1: 0.0498, 2: 0.0401, 4: 0.1503, 6: 0.0791, 9: 0.0420, 12: 0.1289, 25: 0.2780, 26: 0.0885}

_LABEL_FILE = re.compile(r"(SN\d{3})_au(\d{1,2})\.txt", re.IGNORECASE)
_VIDEO_FILE = re.compile(r"(left|right)video(SN\d{3})(?:_comp)?", re.IGNORECASE)
_FRAME_FOLDER = re.compile(r"(?:(?:left|right)video)?(SN\d{3})(?:_comp)?", re.IGNORECASE)
_FRAME_FILE = re.compile(r"(?:.*[^0-9])?([0-9]{1,9})")
_UNNAMED_CAMERA = frozenset({"images", "image", "imgs", "img", "frames"})

# Changes of value from which two label files of one content are no coincidence: each is at one of thousands of frames.
_TELLING = 12

WITHOUT = "every DISFA protocol runs without it, and its record says that the copy is incomplete"


@dataclass(frozen=True)
class _Media:
    """Where a subject's pictures are: one video, or files by frame number as they are named."""

    video: str | None = None
    frames: int = 0
    numbers: NDArray[np.int64] | None = None
    files: tuple[str, ...] = ()


class Disfa(Reader):
    """Reader of DISFA.

    Options: ``camera`` (``left``, as OpenFace and LibreFace use, or ``right``).
    Frame sets: ``all``; ``jaa``, without the landmark failures that JAA-Net leaves out.
    """

    name = "disfa"
    title = "DISFA"
    tasks: tuple[Task, ...] = ("au-intensity",)
    identities = "disfa"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"au-intensity": tuple(au_label(a) for a in AUS)}
    people = frozenset(SUBJECTS)
    obtain = (
        "DISFA is given by Mohammad Mahoor's laboratory (University of Denver, mohammadmahoor.com) for research, on a "
        "form signed by a member of staff"
    )
    known: ClassVar[tuple[str, ...]] = (
        "SN010 has 4,844 labelled frames and the others 4,845: 130,814 in all (papers also quote 130,788 and 130,815)",
        "the distributed landmarks fail in 4,670 frames of 13 people, 3,052 of them of SN021; pictures and labels are "
        "good there: protocols that end in -jaa leave these frames out, the others score them",
    )
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"camera": ("left", "right")}
    frame_sets = ("all", "jaa")
    rows: ClassVar[Mapping[str, int]] = {s: 4844 if s == "SN010" else 4845 for s in SUBJECTS}
    """Label rows of the owners' copy."""

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        camera = copy.options["camera"]
        coded = self._labels(copy)
        media = self._media(copy, {s: c.frame for s, c in coded.items()})
        if not media:
            other = "right" if camera == "left" else "left"
            raise DatasetMissingError(
                f"this copy of DISFA has no pictures of the {camera} camera",
                where=str(copy.root),
                why=f"neither videos ({camera.capitalize()}VideoSN001_comp.avi in a folder "
                f"Video_{camera.capitalize()}Camera) nor folders SN001 of extracted frames were found",
                fix=f"add the videos, or use camera={other}. {self.obtain}",
            )
        self._coverage(copy, coded, media)
        for subject in sorted(coded.keys() & media.keys()):
            _add(copy, subject, coded[subject], media[subject])

    def frame_set(self, index: Index, name: str) -> NDArray[np.bool_]:
        """See :meth:`Reader.frame_set`."""
        keep = super().frame_set(index, name)
        if name == "jaa":
            for subject, ranges in JAA_LEFT_OUT.items():
                rows = np.flatnonzero(index.subject == subject)
                listed = index.frame[rows] - 1
                for first, last in ranges:
                    keep[rows[(listed >= first) & (listed <= last)]] = False
        return keep

    def unread(self, options: Mapping[str, str]) -> frozenset[str]:
        """See :meth:`Reader.unread`."""
        return frozenset({"landmarkpoints"})

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`."""
        whole = wanted.subjects or SUBJECTS
        total = sum(self.rows.get(s, 0) for s in whole)
        if wanted.frames == "jaa":
            for subject in whole:
                for first, last in JAA_LEFT_OUT.get(subject, ()):
                    total -= max(0, min(last + 1, self.rows[subject]) - first)
        return total

    def _labels(self, copy: Copy) -> dict[str, _Coded]:
        folder = next((f for f in subfolders(copy.root) if plain(f.name) == "actionunitlabels"), None)
        folder = folder and unpacked(folder, lambda f: any(_is_subject(c.name) for c in subfolders(f)))
        if folder is None:
            raise self.nothing_here(copy.root, "ActionUnit_Labels/SN001/SN001_au1.txt")
        coded: dict[str, _Coded] = {}
        seen: dict[bytes, str] = {}
        for child in subfolders(folder):
            subject = child.name.upper()
            if not _is_subject(subject):
                copy.audit.note("unknown-folder", f"{copy.name(child)}: not a subject; it is not read")
            elif subject in coded:
                copy.audit.error("duplicate-subject", f"{copy.name(child)}: two folders name the subject {subject}")
            elif series := _read_series(copy, child, subject, seen):
                coded[subject] = _join(series, subject, copy.audit)
            else:
                copy.audit.warning(
                    "missing-labels", f"{copy.name(child)}: no label file in it; {subject} is left out: {WITHOUT}"
                )
        if not coded:
            raise self.nothing_here(copy.root, "ActionUnit_Labels/SN001/SN001_au1.txt")
        return coded

    def _media(self, copy: Copy, labelled: Mapping[str, NDArray[np.int64]]) -> dict[str, _Media]:
        """Finds each subject's video, or else its extracted frames."""
        camera = copy.options["camera"]
        cameras = {
            match[1]: folder
            for folder in subfolders(copy.root)
            if (match := re.fullmatch(r"videos?(left|right)camera", plain(folder.name)))
        }
        media: dict[str, _Media] = {}
        for side, folder in cameras.items():
            videos = unpacked(folder, lambda f: any(Path(n).suffix.lower() in VIDEO_SUFFIXES for n, _ in files_in(f)))
            _find_videos(copy, videos or folder, media, labelled, own=side == camera)
        folders: dict[str, Path] = {}
        if camera in cameras:
            for child in (*subfolders(cameras[camera]), cameras[camera]):  # also Videos_LeftCamera/frames/SN001
                folders |= _frame_folders(child)
        if not folders and camera == "left" and not media:
            unnamed = [copy.root, *(f for f in subfolders(copy.root) if plain(f.name) in _UNNAMED_CAMERA)]
            folders = {s: f for parent in unnamed for s, f in _frame_folders(parent).items()}
            if folders:
                copy.audit.warning(
                    "camera-not-named",
                    f"{copy.name(folders[min(folders)])}: nothing says which camera these frames are from; they are "
                    "taken for the left one",
                )
        if both := sorted(folders.keys() & media.keys()):
            copy.audit.note(
                "video-preferred", f"{some(both)}: there are a video and extracted frames; the video is read", len(both)
            )
        return media | _find_frames(copy, {s: f for s, f in folders.items() if s not in media}, labelled)

    def _coverage(self, copy: Copy, coded: Mapping[str, _Coded], media: Mapping[str, _Media]) -> None:
        """Compares what is there with what belongs together, and with the owners' counts."""
        warn, camera = copy.audit.warning, copy.options["camera"]
        if unseen := sorted(coded.keys() - media.keys()):
            warn(
                "missing-video", f"{some(unseen, 27)}: labels, but no {camera} video or frames: {WITHOUT}", len(unseen)
            )
        if unlabelled := sorted(media.keys() - coded.keys()):
            warn("missing-labels", f"{some(unlabelled, 27)}: pictures, but no labels: {WITHOUT}", len(unlabelled))
        if copy.synthetic:
            return
        if absent := [s for s in SUBJECTS if s not in coded and s not in media]:
            warn("missing-subject", f"{some(absent, 27)}: neither labels nor pictures: {WITHOUT}", len(absent))
        for subject in sorted(coded):
            rows, expected = len(coded[subject].frame), self.rows.get(subject)
            text = f"{subject}: {rows} labelled frames, the owners' copy has {expected}"
            if expected is None:
                warn("unknown-subject", f"{subject} is not among DISFA's 27 subjects; no protocol scores it")
            elif rows < expected:
                warn("missing-labels", f"{text}: {subject} and its fold are scored on fewer frames", expected - rows)
            elif rows > expected:
                warn("unexpected-labels", f"{text}; the rows beyond have no source", rows - expected)
        total = sum(len(c.values) for c in coded.values())
        if total < 120_000:  # rates of a part of the people say nothing
            return
        for au, rate in BASE_RATES.items():
            here = sum(int((c.values[:, AUS.index(au)] >= 2).sum()) for c in coded.values()) / total
            if abs(here - rate) > 0.015:
                warn(
                    "base-rate",
                    f"AU {au} has intensity 2 or more in {here:.1%} of the frames; other copies have {rate:.1%}: are "
                    "the files of two AUs swapped?",
                )


def _read_series(copy: Copy, folder: Path, subject: str, seen: dict[bytes, str]) -> dict[int, tuple[str, Series]]:
    """Reads a subject's label files; the AU is the one in the file's name.

    ``seen`` holds what was read before, by its digest: a file that was copied under another name has a good name and
    the labels of another person or AU.
    """
    series: dict[int, tuple[str, Series]] = {}
    for name, _ in files_in(folder):
        path = copy.name(folder / name)
        match = _LABEL_FILE.fullmatch(name)
        au = int(match[2]) if match else 0
        if match is None or au not in AUS:
            copy.audit.warning("unknown-file", f"{path}: not a label file of DISFA; it is not read")
        elif match[1].upper() != subject:
            copy.audit.error("misplaced-file", f"{path}: a label file of {match[1].upper()} in the folder of {subject}")
        elif au in series:
            copy.audit.error("duplicate-label-file", f"{path}: AU {au} of {subject} is also in {series[au][0]}")
        else:
            content = read_bytes(folder / name)
            copy.manifest.labels(path, content)
            if not content.strip():
                copy.audit.error("damaged-label-file", f"{path}: the file is empty")
            pairs = read_pairs(content, path, copy.audit)
            one = tidy(*pairs, path, copy.audit, valid=(0, 1, 2, 3, 4, 5))
            series[au] = path, one
            if np.count_nonzero(np.diff(one.value)) >= _TELLING:
                other = seen.setdefault(hashlib.sha256(one.value.tobytes()).digest(), path)
                if other != path:
                    copy.audit.error("same-labels", f"{path}: the labels are those of {other}, value by value")
    return series


def _find_videos(
    copy: Copy, folder: Path, media: dict[str, _Media], labelled: Mapping[str, NDArray[np.int64]], *, own: bool
) -> None:
    """Adds the videos of the wanted camera that lie in a camera's folder (``own``: in its own one)."""
    camera = copy.options["camera"]
    for name, size in files_in(folder):
        path, suffix = copy.name(folder / name), Path(name).suffix.lower()
        match = _VIDEO_FILE.fullmatch(Path(name).stem)
        if match is None or suffix not in VIDEO_SUFFIXES:
            if own:
                copy.audit.note("unknown-file", f"{path}: not a video of DISFA; it is not read")
            continue
        subject = match[2].upper()
        if match[1].lower() != camera:
            if own:
                copy.audit.warning("misplaced-file", f"{path}: its name is that of the other camera; it is not read")
            continue
        if not own:
            copy.audit.warning("misplaced-file", f"{path}: a {camera} video in the other camera's folder; it is read")
        if subject in media:
            copy.audit.error("duplicate-video", f"{path}: {subject} also has {media[subject].video}")
            continue
        if suffix != ".avi":
            copy.audit.warning("re-encoded-video", f"{path}: the owners ship .avi; compressing again moves scores")
        copy.manifest.media(path, size)
        rows = int(labelled[subject][-1]) if len(labelled.get(subject, ())) else None
        frames = 0
        try:
            frames = frame_count(folder / name, rows)
        except VideoDamagedError as error:
            copy.audit.error("damaged-video", f"{path}: {error}; {subject} cannot be scored")
        media[subject] = _Media(video=path, frames=frames)


def _find_frames(
    copy: Copy, folders: Mapping[str, Path], labelled: Mapping[str, NDArray[np.int64]]
) -> dict[str, _Media]:
    """Reads extracted frames; whether they are numbered from 0 or from 1 is decided by evidence.

    Both are in use: ME-GraphAU's and JAA-Net's lists name ``SN002/0.jpg``, ffmpeg and FG-Net count from 1.
    """
    found: dict[str, tuple[NDArray[np.int64], tuple[str, ...]]] = {}
    start: dict[str, int] = {}
    for subject, folder in folders.items():
        numbers, names = _numbered(copy, folder)
        if not len(numbers):
            continue
        found[subject] = numbers, names
        rows = int(labelled[subject][-1]) if len(labelled.get(subject, ())) else 0
        if numbers[0] == 0:
            start[subject] = 0
        elif numbers[0] == 1 and numbers[-1] >= rows:
            start[subject] = 1
    zero, one = (sorted(s for s, n in start.items() if n == first) for first in (0, 1))
    if zero:
        copy.audit.note(
            "frame-numbering", f"{some(zero)}: there is a frame 0, so file n is label frame n + 1", len(zero)
        )
    if one:
        copy.audit.note(
            "frame-numbering",
            f"{some(one)}: numbered from 1 up to the last label frame or beyond, so file n is label frame n",
            len(one),
        )
    common = 0 if zero and not one else 1
    if unclear := sorted(found.keys() - start.keys()):
        like = f"taken for numbered from {common} like the others" if zero or one else "taken for numbered from 1"
        copy.audit.warning(
            "frame-numbering-unclear",
            f"{some(unclear)}: no frame 0, and fewer frames than labels; {like}; if that is wrong, every label of "
            "theirs is one frame off",
            len(unclear),
        )
    return {
        subject: _Media(numbers=numbers + (1 - start.get(subject, common)), files=names)
        for subject, (numbers, names) in found.items()
    }


def _add(copy: Copy, subject: str, coded: _Coded, media: _Media) -> None:
    """Adds the frames that have a picture and a row of labels, and reports those that have one only."""
    if media.numbers is not None:
        _, rows, files = np.intersect1d(coded.frame, media.numbers, return_indices=True)
        file: str | list[str] = [media.files[i] for i in files]
        position, there, name = None, len(media.numbers), f"extracted frames of {subject}"
    else:
        rows = np.flatnonzero(coded.frame <= media.frames)
        file, there, name = str(media.video), media.frames, str(media.video)
        position = coded.frame[rows] - 1
    copy.columns.add(
        subject=subject,
        sequence=subject,
        frame=coded.frame[rows],
        file=file,
        position=position,
        labels={"au-intensity": coded.values[rows]},
    )
    labels = len(coded.frame)
    # One frame more or less at the end is what decoders differ by; it is no sign of a damaged copy.
    if labels - len(rows) == 1 and len(rows) and rows[-1] == labels - 2:
        copy.audit.note("one-frame-short", f"{name}: {there} frames, {labels} labels; the last label has no picture")
    elif lost := labels - len(rows):
        text = f"{name}: {there} frames, {labels} labels; {lost} labels have no picture: left out"
        if lost > _spare(labels) and len(rows) and rows[-1] == len(rows) - 1:
            text += "; if the pictures were taken at another rate than 20 a second, every label is at a wrong one"
        copy.audit.warning("missing-frames", text, lost)
    if (extra := there - len(rows)) > _spare(labels):
        copy.audit.error(
            "another-frame-rate",
            f"{name}: {there} frames, {labels} labels; pictures at another rate than the owners' 20 a second would get "
            "the labels of others: extract every frame of the owners' video",
            extra,
        )
    elif extra:
        say = copy.audit.warning if extra > 1 else copy.audit.note
        say("frames-without-labels", f"{name}: {there} frames, {labels} labels; {extra} frames are left out", extra)


@dataclass(frozen=True)
class _Coded:
    """A subject's labels: frames ``[n]`` and values ``[n, 12]`` in the order of AUS."""

    frame: NDArray[np.int64]
    values: NDArray[np.float32]


def _join(series: Mapping[int, tuple[str, Series]], subject: str, audit: Audit) -> _Coded:
    """Puts a subject's label files side by side by frame number."""
    frame = np.unique(np.concatenate([s.frame for _, s in series.values()]))
    values = np.full((len(frame), len(AUS)), np.nan, np.float32)
    if absent := [a for a in AUS if a not in series]:
        audit.warning(
            "missing-label-file",
            f"{subject}: no label file for {some(f'AU {a}' for a in absent)}; those AUs are scored without {subject}",
            len(absent),
        )
    for au, (path, one) in series.items():
        values[np.searchsorted(frame, one.frame), AUS.index(au)] = one.value
        if len(one.frame) < len(frame):
            gap = np.setdiff1d(frame, one.frame, assume_unique=True)
            audit.warning(
                "missing-labels",
                f"{path}: {len(gap)} frames that other AUs of {subject} have are not in it, first {int(gap[0])}; "
                f"AU {au} counts as not coded there",
                len(gap),
            )
    if len(frame) and (holes := int(frame[-1]) - len(frame)):
        first = int(np.argmax(frame != np.arange(1, len(frame) + 1))) + 1
        audit.warning(
            "missing-labels", f"{subject}: {holes} frame numbers have no row in any file, first {first}", holes
        )
    return _Coded(frame, stored(values))  # all people's labels are read before the first picture is looked for


def _spare(labels: int) -> int:
    """Returns how many frames a good copy may have beyond the labels: users report ten."""
    return max(10, labels // 100)


def _is_subject(name: str) -> bool:
    return re.fullmatch(r"SN\d{3}", name, re.IGNORECASE) is not None


def _frame_folders(parent: Path) -> dict[str, Path]:
    return {m[1].upper(): f for f in subfolders(parent) if (m := _FRAME_FOLDER.fullmatch(f.name))}


def _numbered(copy: Copy, folder: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Returns the numbers of the images of a folder, increasing, and their paths."""
    files: dict[int, str] = {}
    sizes: list[tuple[str, int]] = []
    odd: list[str] = []
    where = copy.name(folder)
    for name, size in files_in(folder):
        match = _FRAME_FILE.fullmatch(Path(name).stem)
        if match is None or Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            odd.append(name)
        elif (number := int(match[1])) in files:
            copy.audit.error("duplicate-frame-file", f"{where}/{name}: frame {number} is also {files[number]}")
        else:
            files[number] = f"{where}/{name}"
            sizes.append((name, size))
    copy.manifest.folder(where, sizes)
    copy.damaged_images(where, [n for n, size in sizes if not size])
    if odd:
        copy.audit.note("unknown-file", f"{where}: {len(odd)} files are no numbered images: {some(odd)}", len(odd))
    numbers = np.array(sorted(files), np.int64)
    return numbers, tuple(files[int(n)] for n in numbers)
