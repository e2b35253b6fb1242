"""The layouts of datasets whose action units are coded: DISFA, DISFA+, BP4D, BP4D+, CK+.

Every quirk is one of the owners' distribution, as public loaders show it; the sources are named at the readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.synthface.face import Face, Pose
from zoo.datasets.synthface.media import FlatImages, jpeg, write_image, write_video
from zoo.datasets.synthface.subjects import (
    EXPRESSIONS,
    POSED,
    Recording,
    envelope,
    expression_sample,
    face_of,
    poses,
    recording,
    rest_of,
    rounded,
)
from zoo.datasets.synthface.tree import Layout, Plan
from zoo.datasets.synthface.units import COLUMN, UNITS

DISFA_AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
DISFA_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
DISFA_RATE = 20


def _pictures(plan: Plan, face: Face, video: Recording) -> list[bytes]:
    return [jpeg(face.render(video.au[i], pose, i)) for i, pose in enumerate(video.poses)]


# DISFA -----------------------------------------------------------------------------------------------------------


def _disfa_jobs(plan: Plan) -> Sequence[int]:
    return DISFA_NUMBERS[: plan.subjects]


def _disfa_write(plan: Plan, number: int, folder: Path) -> None:
    name = f"SN{number:03d}"
    # SN010 has 4844 frames where the others have 4845.
    frames = plan.frames - 1 if number == 10 else plan.frames
    video = recording((plan.seed, number, 0), rest_of(plan.seed, number, plan.size), frames)
    face = None if plan.pixels == "flat" else face_of(plan.seed, number, plan.size)
    where = {
        "left": f"Videos_LeftCamera/LeftVideo{name}_comp.avi",
        "right": f"Video_RightCamera/RightVideo{name}_Comp.avi",
    }
    for camera in plan.cameras:
        if face is None:
            flat = jpeg(np.full((plan.size[1], plan.size[0], 3), 127, np.uint8))
            pictures = [flat] * frames
        else:
            seen = video if camera == "left" else video.from_the_right()
            pictures = _pictures(plan, face, seen)
        write_video(folder / where[camera], pictures, plan.size, DISFA_RATE)
    labels = folder / "ActionUnit_Labels" / name
    labels.mkdir(parents=True)
    for unit in DISFA_AUS:
        rows = [f"{i},{value}\n" for i, value in enumerate(video.labels(unit), start=1)]
        (labels / f"{name}_au{unit}.txt").write_text("".join(rows), encoding="ascii", newline="")


# DISFA+ ----------------------------------------------------------------------------------------------------------

DISFAPLUS_NUMBERS = (1, 3, 4, 7, 9, 10, 13, 25, 27)
DISFAPLUS_TRIALS: dict[str, dict[int, float]] = {
    "A1_AU1": {1: 4}, "A2_AU2": {2: 4}, "A3_AU1_2": {1: 4, 2: 4}, "A4_AU4": {4: 4.5}, "A5_AU1_4b": {1: 3.5, 4: 3.5},
    "A6_AU1_2_4": {1: 4, 2: 3.5, 4: 3}, "A7_AU5": {5: 4.5}, "A8_AU1_2_5": {1: 4, 2: 4, 5: 4},
    "A9_AU4_5x": {4: 4, 5: 4}, "B1_AU9": {9: 4.5, 4: 1.5}, "B2_AU6": {6: 4.5}, "B3_AU6_12": {6: 4, 12: 4.2},
    "C1_AU12": {12: 4.5}, "C2_AU15": {15: 4.5}, "C3_AU17": {17: 4.5}, "C4_AU20": {20: 4.5}, "C5_AU25": {25: 4.5},
    "C6_AU25_26": {25: 4, 26: 4.5}, "C7_AU12_25": {12: 4, 25: 4}, "C8_AU15_17": {15: 4, 17: 4},
    "Y_HappyDescribed": EXPRESSIONS["happiness"], "Z_SupriseText": EXPRESSIONS["surprise"],
    "Z_SadText": EXPRESSIONS["sadness"],
}  # fmt: skip
"""Trials as the owners name them ("Suprise", "TrailNo" are theirs), each recorded twice."""


def _disfaplus_jobs(plan: Plan) -> Sequence[int]:
    return DISFAPLUS_NUMBERS[: plan.subjects]


def _disfaplus_write(plan: Plan, number: int, folder: Path) -> None:
    name = f"SN{number:03d}"
    face = None if plan.pixels == "flat" else face_of(plan.seed, number, plan.size)
    flat = FlatImages()
    # One subject's label archive unpacks with its folder doubled.
    labels = folder / "Labels" / name / (name if number == 4 else "")
    session = 100
    for trial, units in DISFAPLUS_TRIALS.items():
        for take in (1, 2):
            session += 1
            title = f"{trial}_TrailNo_{take}"
            rng = np.random.default_rng([plan.seed, number, session])
            au = posed(rng, plan.frames, units)
            images = folder / "Images" / name / title
            images.mkdir(parents=True)
            moves = poses(rng, face.rest, plan.frames) if face else ()
            for i in range(plan.frames):
                if face:
                    write_image(images / f"{i:03d}.jpg", face.render(au[i], moves[i], session * 10_000 + i))
                else:
                    flat.write(images / f"{i:03d}.jpg")
            stamps = "".join(f"{i / DISFA_RATE:.3f}\n" for i in range(plan.frames))
            (images / "TimeStamp.txt").write_text(stamps, encoding="ascii", newline="")
            (labels / title).mkdir(parents=True)
            for unit in DISFA_AUS:
                rows = [f"Intensity of AU{unit}\n", "Image Name     Intensity\n"]
                rows += [f"{i:03d}.jpg     {v}\n" for i, v in enumerate(rounded(au[:, COLUMN[unit]]))]
                (labels / title / f"AU{unit}.txt").write_text("".join(rows), encoding="ascii", newline="")


def posed(rng: np.random.Generator, frames: int, units: dict[int, float]) -> NDArray[np.float32]:
    """Returns intensities of one posed event that fills a short video, ``[frames, len(UNITS)]``."""
    au = np.zeros((frames, len(UNITS)), np.float32)
    shape = envelope(frames, frames * rng.uniform(0.02, 0.15), frames * rng.uniform(0.75, 0.9))
    for unit, level in units.items():
        au[:, COLUMN[unit]] = np.clip(level * rng.uniform(0.75, 1.1) * shape, 0, 5)
    return au


# BP4D ------------------------------------------------------------------------------------------------------------

BP4D_SUBJECTS = tuple(f"F{n:03d}" for n in range(1, 24)) + tuple(f"M{n:03d}" for n in range(1, 19))
BP4D_TASKS = tuple(f"T{n}" for n in range(1, 9))
BP4D_CODED = tuple(u for u in UNITS if u != 45)
BP4D_INTENSITY = (6, 10, 12, 14, 17)
BP4D_MARGIN = 2
"""Pictures before and after the coded segment; there are many in the owners' copy."""


def _alternate(women: Sequence[str], men: Sequence[str], count: int | None) -> list[str]:
    """Returns so many people, sorted; women and men alternate, so that the first few are some of each."""
    padded = [*men, *[""] * (len(women) - len(men))]
    return sorted([s for pair in zip(women, padded, strict=True) for s in pair if s][:count])


def _bp4d_jobs(plan: Plan) -> Sequence[int]:
    return [BP4D_SUBJECTS.index(s) for s in _alternate(BP4D_SUBJECTS[:23], BP4D_SUBJECTS[23:], plan.subjects)]


def _bp4d_write(plan: Plan, index: int, folder: Path) -> None:
    name = BP4D_SUBJECTS[index]
    for task, video, first in _bp4d_tasks(plan, 100 + index, folder / "BP4D-training" / name, BP4D_TASKS):
        _bp4d_labels(folder / "AUCoding", f"{name}_{task}", video, first, range(100))


def _bp4d_tasks(plan: Plan, person: int, folder: Path, tasks: Sequence[str]) -> Iterator[tuple[str, Recording, int]]:
    """Writes a person's pictures task by task; yields each task, its recording and its first coded frame."""
    face = None if plan.pixels == "flat" else face_of(plan.seed, person, plan.size)
    flat, rest = FlatImages(), rest_of(plan.seed, person, plan.size)
    for number, task in enumerate(tasks):
        rng = np.random.default_rng([plan.seed, person, number, 0xB4])
        # A third of the segments start with the video's first frame; others anywhere, past 999 too.
        first = 1 if rng.random() < 0.36 else int(rng.integers(BP4D_MARGIN + 1, 1500))
        digits = 4 if rng.random() < 0.5 or first + plan.frames > 990 else 3
        video = recording((plan.seed, person, number), rest, plan.frames, POSED)
        images = folder / task
        images.mkdir(parents=True)
        before = BP4D_MARGIN if first > BP4D_MARGIN else 0
        for i in range(-before, plan.frames + BP4D_MARGIN):
            path = images / f"{first + i:0{digits}d}.jpg"
            at = min(max(i, 0), plan.frames - 1)
            if face:
                write_image(path, face.render(video.au[at], video.poses[at], number * 10_000 + at))
            else:
                flat.write(path)
        yield task, video, first


def _bp4d_labels(folder: Path, stem: str, video: Recording, first: int, header: Sequence[int]) -> None:
    frames = len(video.au)
    table = np.full((frames, len(header)), 9, np.int64)
    table[:, 0] = np.arange(first, first + frames)
    for unit in BP4D_CODED:
        if unit in header:
            table[:, header.index(unit)] = video.labels(unit) >= 1
    occurrence = folder / "AU_OCC" / f"{stem}.csv"
    occurrence.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, header)), *(",".join(map(str, row)) for row in table.tolist())]
    occurrence.write_text("\n".join(lines) + "\n", encoding="ascii", newline="")
    for unit in BP4D_INTENSITY:
        path = folder / "AU_INT" / f"AU{unit:02d}" / f"{stem}_AU{unit:02d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = video.labels(unit)
        values[:1] = 9  # a missing code here and there, as in the owners' files
        rows = [f"{first + i},{v}\n" for i, v in enumerate(values.tolist())]
        path.write_text("".join(rows), encoding="ascii", newline="")


# BP4D+ -----------------------------------------------------------------------------------------------------------

BP4DPLUS_SUBJECTS = tuple(f"F{n:03d}" for n in range(1, 83)) + tuple(f"M{n:03d}" for n in range(1, 59))
BP4DPLUS_TASKS = tuple(f"T{n}" for n in range(1, 12))
BP4DPLUS_CODED = ("T1", "T6", "T7", "T8")
BP4DPLUS_HEADER = (0, 1, 2, 4, 5, 6, 7, *range(9, 21), 22, 23, 24, *range(27, 40))
"""Its columns skip numbers: reading by position takes another AU."""


def _bp4dplus_jobs(plan: Plan) -> Sequence[int]:
    people = _alternate(BP4DPLUS_SUBJECTS[:82], BP4DPLUS_SUBJECTS[82:], plan.subjects)
    return [BP4DPLUS_SUBJECTS.index(s) for s in people]


def _bp4dplus_write(plan: Plan, index: int, folder: Path) -> None:
    name = BP4DPLUS_SUBJECTS[index]
    pictures = folder / "2D+3D" / name
    # The owners' copy has no F042_T11.
    tasks = [t for t in BP4DPLUS_TASKS if (name, t) != ("F042", "T11")]
    for task, video, first in _bp4d_tasks(plan, 600 + index, pictures, tasks):
        if task not in BP4DPLUS_CODED:
            continue
        _bp4d_labels(folder / "AUCoding", f"{name}_{task}", video, first, BP4DPLUS_HEADER)
        if (name, task) == ("F041", "T7"):  # whose labels and video differ in length
            for path in sorted((pictures / task).iterdir())[-(BP4D_MARGIN + 1) :]:
                path.unlink()


# CK+ -------------------------------------------------------------------------------------------------------------

CKPLUS_CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
CKPLUS_COUNTS = {
    "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28, "surprise": 83,
}  # fmt: skip
CKPLUS_SUBJECTS, CKPLUS_SEQUENCES = 123, 593


def _ckplus_jobs(plan: Plan) -> Sequence[int]:
    return range(min(plan.subjects or CKPLUS_SUBJECTS, CKPLUS_SUBJECTS))


def _ckplus_write(plan: Plan, index: int, folder: Path) -> None:
    name = f"S{5 + index:03d}" if index < 100 else f"S{400 + index:03d}"
    person = 300 + index
    face = None if plan.pixels == "flat" else face_of(plan.seed, person, plan.size)
    flat = FlatImages()
    names, weights = list(CKPLUS_COUNTS), np.asarray(list(CKPLUS_COUNTS.values()), float)
    rng = np.random.default_rng([plan.seed, person, 0xCC])
    count = CKPLUS_SEQUENCES // CKPLUS_SUBJECTS + (index < CKPLUS_SEQUENCES % CKPLUS_SUBJECTS)
    for take in range(1, count + 1):
        sequence = f"{take:03d}"
        stem = f"{name}_{sequence}"
        frames = int(rng.integers(max(2, plan.frames // 2), plan.frames + 1))
        emotion = str(rng.choice(names, p=weights / weights.sum()))
        peak = expression_sample(rng, emotion)
        rise = (np.sin(np.linspace(0, np.pi / 2, frames)) ** 2)[:, None]  # from neutral to the peak, the last frame
        au = (peak * rise).astype(np.float32)
        moves = poses(rng, face.rest, frames) if face else (Pose(),) * frames
        images = folder / "cohn-kanade-images" / name / sequence
        images.mkdir(parents=True)
        for i in range(frames):
            path = images / f"{stem}_{i + 1:08d}.png"
            if face:
                grey = face.render(au[i], moves[i], take * 1000 + i) @ np.asarray([0.299, 0.587, 0.114], np.float32)
                write_image(path, grey.round().astype(np.uint8))
            else:
                flat.write(path)
        last = f"{stem}_{frames:08d}"
        (folder / "Emotion" / name / sequence).mkdir(parents=True)
        if rng.random() < 327 / 593:  # the others have an empty folder
            code = CKPLUS_CODES.index(emotion)
            path = folder / "Emotion" / name / sequence / f"{last}_emotion.txt"
            path.write_text(f"   {code:.7e}\n", encoding="ascii", newline="")
        lines = [
            # 0: present, grade not given
            f"   {unit:.7e}   {0 if rng.random() < 0.2 else int(value):.7e}\n"
            for unit in BP4D_CODED
            if (value := rounded(au[-1:, COLUMN[unit]])[0]) >= 1
        ]
        path = folder / "FACS" / name / sequence / f"{last}_facs.txt"
        path.parent.mkdir(parents=True)
        path.write_text("".join(lines) + "\n", encoding="ascii", newline="")


LAYOUTS = {
    "disfa": Layout("DISFA", (320, 240), len(DISFA_NUMBERS), _disfa_jobs, _disfa_write),
    "disfaplus": Layout("DISFA+", (320, 240), len(DISFAPLUS_NUMBERS), _disfaplus_jobs, _disfaplus_write),
    "bp4d": Layout("BP4D", (208, 278), len(BP4D_SUBJECTS), _bp4d_jobs, _bp4d_write),
    "bp4dplus": Layout("BP4D+", (208, 278), len(BP4DPLUS_SUBJECTS), _bp4dplus_jobs, _bp4dplus_write),
    "ckplus": Layout("CK+", (320, 245), CKPLUS_SUBJECTS, _ckplus_jobs, _ckplus_write),
}
