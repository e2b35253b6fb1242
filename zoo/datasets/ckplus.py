"""CK+: posed sequences from neutral to peak, grey or colour images, FACS codes and an emotion of the peak frame.

``cohn-kanade-images/S005/001/S005_001_00000011.png``; ``Emotion/S005/001/S005_001_00000011_emotion.txt`` holds one
number such as ``3.0000000e+00``, in 327 of 593 sequences; ``FACS/.../S005_001_00000011_facs.txt`` holds lines
``AU intensity``, where intensity 0 means present without a grade. Only the last frame, the peak, is coded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.base import Index
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
)  # fmt: skip
from zoo.registry.labels import AU_NUMBERS, Task, au_label

# Codes 0..7. The numbers of sequences with each differ, so that the counts of a whole copy confirm the order.
CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
COUNTS = {
    "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28, "surprise": 83,
}  # fmt: skip
SEQUENCES, SUBJECTS = 593, 123

_FRAME = re.compile(r"(S\d{3})_(\d{3})_([0-9]{1,9})", re.IGNORECASE)
_NUMBER = rb"([0-9]{1,3}(?:\.[0-9]{0,12})?(?:e[+-]?[0-9]{1,3})?)"
_PAIR = re.compile(_NUMBER + rb"[ \t,]+" + _NUMBER, re.IGNORECASE)

Key = tuple[str, str]


class CkPlus(Reader):
    """Reader of CK+.

    Frame sets: ``peak``, the last frame of each sequence, the one that was coded; ``peak3-first``, the last three
    frames with the emotion of the peak and the first one as neutral, as is usual in papers on expressions; ``all``,
    the same frames.
    """

    name = "ckplus"
    title = "CK+ (Extended Cohn-Kanade)"
    tasks: tuple[Task, ...] = ("expression", "au-occurrence")
    identities = "ckplus"
    frame_sets = ("all", "peak", "peak3-first")
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {
        "expression": CODES, "au-occurrence": tuple(au_label(a) for a in AU_NUMBERS),
    }  # fmt: skip
    known: ClassVar[tuple[str, ...]] = (
        "327 of the 593 sequences have an emotion; only the last frame, the peak, is coded",
        "FACS files give grade 0 for units that are present and not graded: they count as present",
    )
    obtain = "CK+ is given by its owners (jeffcohn.net) for research, under an agreement"

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        places = {
            plain(f.name): f for parent in (*subfolders(copy.root), copy.root) for f in subfolders(parent)
        }  # folders of the root win
        images = places.get("cohnkanadeimages")
        if images is None or not ({"emotion", "facs"} & places.keys()):
            raise self.nothing_here(copy.root, "cohn-kanade-images with Emotion and FACS beside it")
        emotions = _codes(copy, places.get("emotion"), "emotion")
        facs = _codes(copy, places.get("facs"), "facs")
        counts = dict.fromkeys(CODES, 0)
        sequences: set[Key] = set()
        for subject, sequence, folder in _sequences(images):
            key = subject, sequence
            frames = _frames(copy, folder, key)
            if not frames:
                copy.audit.warning("missing-images", f"{copy.name(folder)}: no images of {subject}_{sequence} in it")
                continue
            sequences.add(key)
            emotion = -1
            if key in emotions:
                emotion = read_emotion(read_bytes(emotions[key]), copy.name(emotions[key]), copy.audit)
            aus = np.full(len(AU_NUMBERS), np.nan, np.float32)
            if key in facs:
                aus = read_facs(read_bytes(facs[key]), copy.name(facs[key]), copy.audit)
            if emotion >= 0:
                counts[CODES[emotion]] += 1
            self._add(copy, key, frames, emotion, aus)
            for file in (emotions.get(key), facs.get(key)):
                if file is not None and (m := _FRAME.match(file.name)) and int(m[3]) != max(frames):
                    copy.audit.warning(
                        "peak-differs",
                        f"{copy.name(file)}: it codes frame {int(m[3])}, and the last image is {max(frames)}",
                    )
        unseen = sorted((emotions.keys() | facs.keys()) - sequences)
        if unseen:
            copy.audit.warning(
                "missing-images", f"{some(f'{s}_{q}' for s, q in unseen)}: codes, but no images", len(unseen)
            )
        if not copy.synthetic:
            self._compare(copy, sequences, counts, len(facs))

    def frame_set(self, index: Index, name: str) -> NDArray[np.bool_]:
        """See :meth:`Reader.frame_set`."""
        keep = super().frame_set(index, name)
        if name == "peak" and len(index):
            _, group = index.sequence.distinct()
            last = np.zeros(group.max() + 1, np.int32)
            np.maximum.at(last, group, index.frame)
            keep = index.frame == last[group]
        return keep

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`."""
        if wanted.frames != "peak" or not wanted.classes:
            return None
        return sum(COUNTS.get(name, 0) for name in wanted.classes)

    def _add(self, copy: Copy, key: Key, frames: Mapping[int, str], emotion: int, aus: NDArray[np.float32]) -> None:
        numbers = sorted(frames)
        chosen = sorted({numbers[0], *numbers[-3:]})
        expression = np.full(len(chosen), emotion, np.int16)
        if len(chosen) > 1 and emotion >= 0:
            expression[0] = CODES.index("neutral") if len(numbers) > 3 else -1
        coded = np.full((len(chosen), len(AU_NUMBERS)), np.nan, np.float32)
        coded[-1] = aus
        copy.columns.add(
            subject=key[0],
            sequence=f"{key[0]}_{key[1]}",
            frame=np.array(chosen),
            file=[frames[n] for n in chosen],
            labels={"expression": expression, "au-occurrence": coded},
        )

    def _compare(self, copy: Copy, sequences: set[Key], counts: Mapping[str, int], coded: int) -> None:
        people = len({s for s, _ in sequences})
        if len(sequences) != SEQUENCES or people != SUBJECTS:
            copy.audit.warning(
                "missing-sequences" if len(sequences) < SEQUENCES else "unexpected-sequences",
                f"{len(sequences)} sequences of {people} people, the owners' copy has {SEQUENCES} of {SUBJECTS}",
                max(1, abs(SEQUENCES - len(sequences))),
            )
        if coded < len(sequences):
            copy.audit.warning(
                "missing-label-file", f"{len(sequences) - coded} sequences have no FACS codes", len(sequences) - coded
            )
        here = {name: counts[name] for name in COUNTS}
        if here != COUNTS:
            lost = sum(COUNTS.values()) - sum(here.values())
            copy.audit.warning(
                "missing-labels" if lost > 0 else "unexpected-labels",
                f"emotions {here}, the owners' copy has {COUNTS}",
                max(1, abs(lost)),
            )


def _sequences(images: Path) -> list[tuple[str, str, Path]]:
    return [
        (subject.name.upper(), sequence.name, sequence)
        for subject in subfolders(images)
        if re.fullmatch(r"S\d{3}", subject.name, re.IGNORECASE)
        for sequence in subfolders(subject)
        if re.fullmatch(r"\d{3}", sequence.name)
    ]


def _frames(copy: Copy, folder: Path, key: Key) -> dict[int, str]:
    where = copy.name(folder)
    found: dict[int, str] = {}
    sizes = []
    for name, size in files_in(folder):
        match = _FRAME.fullmatch(Path(name).stem)
        if match is None or Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            copy.audit.note("unknown-file", f"{where}/{name}: not an image of CK+; it is not read")
        elif (match[1].upper(), match[2]) != key:
            copy.audit.error("misplaced-file", f"{where}/{name}: an image of another sequence")
        elif int(match[3]) in found:
            copy.audit.error("duplicate-frame-file", f"{where}/{name}: the same frame as {found[int(match[3])]}")
        else:
            found[int(match[3])] = f"{where}/{name}"
            sizes.append((name, size))
    copy.manifest.folder(where, sizes)
    copy.damaged_images(where, [n for n, size in sizes if not size])
    return found


def _codes(copy: Copy, folder: Path | None, kind: str) -> dict[Key, Path]:
    """Returns the label files of a kind by sequence; empty folders of sequences without a label are usual."""
    found: dict[Key, Path] = {}
    inner = [f for f in subfolders(folder) if plain(f.name) == kind] if folder else []
    for subject, sequence, place in _sequences(inner[0] if inner else folder) if folder else ():
        for name, _ in files_in(place):
            path = place / name
            match = re.fullmatch(rf"(S\d{{3}})_(\d{{3}})_([0-9]{{1,9}})_{kind}\.txt", name, re.IGNORECASE)
            if match is None:
                copy.audit.note("unknown-file", f"{copy.name(path)}: not a label file of CK+; it is not read")
            elif (match[1].upper(), match[2]) != (subject, sequence):
                copy.audit.error("misplaced-file", f"{copy.name(path)}: a label file of another sequence")
            elif (subject, sequence) in found:
                copy.audit.error("duplicate-label-file", f"{copy.name(path)}: a second {kind} file of the sequence")
            else:
                found[subject, sequence] = path
                copy.manifest.labels(copy.name(path), read_bytes(path))
    return found


def read_emotion(content: bytes, name: str, audit: Audit) -> int:
    """Reads an emotion file; returns the place in CODES, or -1."""
    text = content.removeprefix(b"\xef\xbb\xbf").strip()
    if not re.fullmatch(_NUMBER, text, re.IGNORECASE):
        audit.error("damaged-label-file", f"{name}:1: {excerpt(text)} is not one number")
        return -1
    value = float(text)
    if value not in range(len(CODES)):
        audit.warning("value-out-of-range", f"{name}: {value:g} is no emotion 0..7; not labelled")
        return -1
    return int(value)


def read_facs(content: bytes, name: str, audit: Audit) -> NDArray[np.float32]:
    """Reads the AUs of a peak frame: 1 for those listed, whatever their grade, 0 for the others.

    Returns:
        float32 ``[len(AU_NUMBERS)]``; NaN throughout where the file is damaged or empty: a peak shows some unit.
    """
    values = np.zeros(len(AU_NUMBERS), np.float32)
    if not content.removeprefix(b"\xef\xbb\xbf").strip():
        audit.warning("missing-labels", f"{name}: there is no AU in it; the peak counts as not coded")
        return np.full(len(AU_NUMBERS), np.nan, np.float32)
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        match = _PAIR.fullmatch(line.strip())
        au = float(match[1]) if match else 0.5
        if match is None or not au.is_integer() or not 0 <= float(match[2]) <= 5:
            audit.error("damaged-label-file", f"{name}:{number}: {excerpt(line)} is not 'AU intensity'")
            return np.full(len(AU_NUMBERS), np.nan, np.float32)
        if int(au) in AU_NUMBERS:
            values[AU_NUMBERS.index(int(au))] = 1
        else:
            audit.note("unknown-au", f"{name}:{number}: AU {int(au)} is not among the units this project names")
    return values
