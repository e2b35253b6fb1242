"""The layouts of datasets of expressions and affect: RAF-DB, AffectNet (both), FER2013 with FER+, Aff-Wild2.

Every quirk is one of the owners' distribution, as public loaders show it; the sources are named at the readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.datasets.synthface.face import Pose
from zoo.datasets.synthface.landmarks import landmarks
from zoo.datasets.synthface.media import FlatImages, Picture, write_image
from zoo.datasets.synthface.subjects import (
    EXPRESSIONS,
    affect_sample,
    drawn_strength,
    expression_sample,
    face_of,
    poses,
)
from zoo.datasets.synthface.tree import Layout, Plan
from zoo.datasets.synthface.units import UNITS


def apportioned(total: int, shares: Sequence[int]) -> list[int]:
    """Splits ``total`` in the proportions of ``shares``: exact at their sum; none is left empty if it can be helped."""
    exact = np.asarray(shares, float) * total / sum(shares)
    whole = np.floor(exact).astype(int)
    for k in np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]:
        whole[k] += 1
    for k in np.flatnonzero((whole == 0) & (np.asarray(shares) > 0)):
        if whole.max() > 1:
            whole[whole.argmax()] -= 1
            whole[k] += 1
    return whole.tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Batch:
    """The pictures of one person: (split, number within the split from 1, class index) each."""

    person: int
    items: tuple[tuple[str, int, int], ...]


def _batches(plan: Plan, splits: Mapping[str, tuple[int, ...]], people: int, first_person: int) -> list[Batch]:
    """Deals pictures to people: classes in the owners' proportions, a fifth or more a split, nobody in two splits."""
    total = plan.images or people * plan.frames
    owners = [sum(c) for c in splits.values()]
    if total < sum(owners):  # a small tree still has something to score: AffectNet's validation is 1 % of it
        owners = [max(n, sum(owners) // 5) for n in owners]
    sizes = apportioned(total, owners)
    shares = apportioned(max(people, len(splits)), owners)
    batches, person = [], first_person
    for index, (split, counts) in enumerate(splits.items()):
        rng = np.random.default_rng([plan.seed, index, 0xBA])
        labels = rng.permutation(np.repeat(np.arange(len(counts)), apportioned(sizes[index], counts)))
        who = rng.permutation(np.arange(len(labels)) % shares[index])
        for k in range(shares[index]):
            mine = np.flatnonzero(who == k)
            if len(mine):
                batches.append(Batch(person, tuple((split, int(i) + 1, int(labels[i])) for i in mine)))
            person += 1
    return batches


@dataclass(frozen=True)
class Shot:
    """One picture of a person and what it shows."""

    picture: Picture
    marks: NDArray[np.float32]
    """The 68 landmarks, pixels, ``[68, 2]``."""
    pose: Pose
    valence: float
    arousal: float


class _Studio:
    """Takes the pictures of one person; None for a class that is no single expression.

    Args:
        plan: What is written.
        person: Who.
        expressions: The expression of each class index.
    """

    def __init__(self, plan: Plan, person: int, expressions: Sequence[str | None]) -> None:
        self.seed, self.person, self.expressions = plan.seed, person, expressions
        self.face = face_of(plan.seed, person, plan.size)

    def shoot(self, k: int, label: int) -> Shot:
        """Returns picture number ``k`` of the person, showing class ``label``."""
        rng = np.random.default_rng([self.seed, self.person, k, 0x5407])
        name = self.expressions[label]
        strength = drawn_strength(rng)
        if name is None:
            two = rng.choice([e for e in EXPRESSIONS if e != "neutral"], 2, replace=False)
            au = np.maximum(*(0.6 * expression_sample(rng, str(e), strength) for e in two)).astype(np.float32)
            valence, arousal = rng.uniform(-0.5, 0.5, 2).round(6).tolist()
        else:
            au = expression_sample(rng, name, strength)
            valence, arousal = affect_sample(rng, name, strength)
        pose = poses(rng, self.face.rest, 1)[0]
        return Shot(self.face.render(au, pose, k), landmarks(self.face, au, pose), pose, valence, arousal)


def _studio(plan: Plan, batch: Batch, expressions: Sequence[str | None]) -> _Studio | None:
    return None if plan.pixels == "flat" else _Studio(plan, batch.person, expressions)


def _aligned(picture: Picture, pose: Pose, size: int, scale: float, eyes_y: float) -> Picture:
    """A square cut-out with level eyes: ``scale`` pixels a millimetre, pupils at ``eyes_y`` of its height."""
    height, width = picture.shape[:2]
    turn = np.exp(1j * np.radians(pose.roll)) * pose.scale / scale
    corner = complex(width / 2 + pose.x, height / 2 + pose.y) - turn * complex(size / 2, size * eyes_y)
    matrix = (turn.real, -turn.imag, corner.real, turn.imag, turn.real, corner.imag)
    image = Image.fromarray(picture).transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _aligned_points(
    shot: Shot, picture: tuple[int, int], size: int, scale: float, eyes_y: float
) -> NDArray[np.float64]:
    """Where a shot's landmarks lie in its :func:`_aligned` cut-out, ``[68, 2]``."""
    points = (
        shot.marks[:, 0] + 1j * shot.marks[:, 1] - complex(picture[0] / 2 + shot.pose.x, picture[1] / 2 + shot.pose.y)
    )
    points *= np.exp(-1j * np.radians(shot.pose.roll)) * scale / shot.pose.scale
    return np.stack([points.real + size / 2, points.imag + size * eyes_y], axis=1)


# RAF-DB ----------------------------------------------------------------------------------------------------------

RAFDB_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
RAFDB_COUNTS = {
    "train": (1290, 281, 717, 4772, 1982, 705, 2524),
    "test": (329, 74, 160, 1185, 478, 162, 680),
}


def _rafdb_jobs(plan: Plan) -> list[Batch]:
    return _batches(plan, RAFDB_COUNTS, plan.subjects or 60, 1000)


def _rafdb_name(split: str, number: int) -> str:
    return f"train_{number:05d}" if split == "train" else f"test_{number:04d}"


def _rafdb_write(plan: Plan, batch: Batch, folder: Path) -> list[tuple[str, int, int]]:
    flat = FlatImages()
    studio = _studio(plan, batch, RAFDB_CLASSES)
    for k, (split, number, label) in enumerate(batch.items):
        name = _rafdb_name(split, number)
        original = folder / "basic/Image/original" / f"{name}.jpg"
        aligned = folder / "basic/Image/aligned" / f"{name}_aligned.jpg"
        if studio is None:
            flat.write(original)
            flat.write(aligned)
        else:
            shot = studio.shoot(k, label)
            write_image(original, shot.picture)
            write_image(aligned, _aligned(shot.picture, shot.pose, 100, 0.54, 0.40))
    return list(batch.items)


def _rafdb_finish(plan: Plan, results: list[Any], folder: Path) -> None:
    del plan
    items = sorted((row for part in results for row in part), key=lambda r: (r[0] == "test", r[1]))
    lines = [f"{_rafdb_name(split, number)}.jpg {label + 1}\n" for split, number, label in items]
    path = folder / "basic/EmoLabel/list_patition_label.txt"  # the owners' spelling
    path.parent.mkdir(parents=True)
    path.write_text("".join(lines), encoding="ascii", newline="")


# AffectNet -------------------------------------------------------------------------------------------------------

AFFECTNET_CLASSES: tuple[str | None, ...] = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt", None, None, None,
)  # fmt: skip
"""Codes 0..10; 8 none of these, 9 uncertain, 10 no face."""
NO_FACE = 10
AFFECTNET_CSV_COUNTS = {
    "training": (74_874, 134_416, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750, 33_088, 11_645, 82_415),
    "validation": (500,) * 11,
}
AFFECTNET_NPY_COUNTS = {
    "train": (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750),
    "val": (500, 500, 500, 500, 500, 500, 500, 499),
}
AFFECTNET_COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
)  # fmt: skip


def _affectnet_csv_jobs(plan: Plan) -> list[Batch]:
    return _batches(plan, AFFECTNET_CSV_COUNTS, plan.subjects or 60, 2000)


def _affectnet_csv_write(plan: Plan, batch: Batch, folder: Path) -> list[tuple[str, int, list[str]]]:
    flat = FlatImages()
    studio = _studio(plan, batch, AFFECTNET_CLASSES)
    rows = []
    for k, (split, number, label) in enumerate(batch.items):
        rng = np.random.default_rng([plan.seed, batch.person, k, 0xAF])
        suffix = str(
            rng.choice([".jpg", ".JPG", ".jpeg", ".png", ".bmp", ".tif"], p=[0.9, 0.05, 0.02, 0.01, 0.01, 0.01])
        )
        name = f"{int(rng.integers(1, 1400))}/{rng.bytes(14).hex()}{batch.person:06x}{k:06x}{suffix}"
        path = folder / "Manually_Annotated_Images" / name
        box, points, affect = ["0", "0", "-1", "-1"], "NULL", ["-2", "-2"]
        if studio is None:
            flat.write(path)
            if label != NO_FACE:
                box, points = ["2", "2", "12", "12"], ";".join(["8.0"] * 136)
        elif label == NO_FACE:
            write_image(path, studio.face.empty_room()[:48])
        else:
            shot = studio.shoot(k, label)
            write_image(path, shot.picture)
            low, high = shot.marks.min(0), shot.marks.max(0)
            side = float((high - low).max()) * 1.1
            left, top = (low + high) / 2 - side / 2
            box = [f"{max(0.0, v):.0f}" for v in (left, top)] + [f"{side:.0f}"] * 2
            points = ";".join(f"{v:.1f}" for v in shot.marks.ravel())
            affect = [f"{shot.valence:g}", f"{shot.arousal:g}"]
        if label in (9, NO_FACE):
            affect = ["-2", "-2"]
        elif studio is None:
            affect = [f"{v:g}" for v in rng.uniform(-0.9, 0.9, 2).round(4)]
        rows.append((split, number, [name, *box, points, str(label), *affect]))
    return rows


def _affectnet_csv_finish(plan: Plan, results: list[Any], folder: Path) -> None:
    del plan
    where = folder / "Manually_Annotated_file_lists"
    where.mkdir()
    for split in AFFECTNET_CSV_COUNTS:
        rows = sorted((r for part in results for r in part if r[0] == split), key=lambda r: r[1])
        lines = [",".join(r[2]) for r in rows]
        if split == "training":
            # One happy picture is listed twice, in place of another.
            happy = [i for i, r in enumerate(rows) if r[2][6] == "1"]
            if len(happy) > 1:
                lines[happy[-1]] = lines[happy[0]]
            lines.insert(0, ",".join(AFFECTNET_COLUMNS))
        # Not every copy's validation list has a header: this one has none.
        (where / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="ascii", newline="")


def _affectnet_npy_jobs(plan: Plan) -> list[Batch]:
    return _batches(plan, AFFECTNET_NPY_COUNTS, plan.subjects or 60, 2000)


def _affectnet_npy_write(plan: Plan, batch: Batch, folder: Path) -> None:
    flat = FlatImages()
    studio = _studio(plan, batch, AFFECTNET_CLASSES)
    for k, (split, number, label) in enumerate(batch.items):
        stem = str(number * 3 + number % 2)  # integers with holes
        images, notes = folder / f"{split}_set/images", folder / f"{split}_set/annotations"
        notes.mkdir(parents=True, exist_ok=True)
        valence, arousal, marks = 0.25, -0.25, np.full((68, 2), 112.0)
        if studio is None:
            flat.write(images / f"{stem}.jpg")
        else:
            shot = studio.shoot(k, label)
            scale = 224 / 190
            write_image(images / f"{stem}.jpg", _aligned(shot.picture, shot.pose, 224, scale, 0.42))
            valence, arousal = shot.valence, shot.arousal
            marks = _aligned_points(shot, plan.size, 224, scale, 0.42)
        # Some copies hold the class as text.
        np.save(notes / f"{stem}_exp.npy", np.asarray(str(label)))
        np.save(notes / f"{stem}_val.npy", np.asarray(valence))
        np.save(notes / f"{stem}_aro.npy", np.asarray(arousal))
        np.save(notes / f"{stem}_lnd.npy", marks.astype(np.float64).ravel())


# FER2013 and FER+ ------------------------------------------------------------------------------------------------

FER_CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FER_TOTALS = (4953, 547, 5121, 8989, 6077, 4002, 6198)
FER_USAGES = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
FER_UNNAMED = {"Training": 148, "PublicTest": 10, "PrivateTest": 15}
FERPLUS_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip


def _fer_counts() -> dict[str, tuple[int, ...]]:
    left = np.asarray(FER_TOTALS)
    counts = {}
    for usage, size in list(FER_USAGES.items())[::-1]:
        counts[usage] = tuple(apportioned(size, left.tolist()))
        left = left - counts[usage]
    return {usage: counts[usage] for usage in FER_USAGES}


def _fer_jobs(plan: Plan) -> list[Batch]:
    return _batches(plan, _fer_counts(), plan.subjects or 60, 3000)


def _fer_write(plan: Plan, batch: Batch, folder: Path) -> list[tuple[str, int, str, list[int]]]:
    del folder
    studio = _studio(plan, batch, FER_CLASSES)
    rows = []
    for k, (usage, number, label) in enumerate(batch.items):
        rng = np.random.default_rng([plan.seed, batch.person, k, 0xFE])
        if studio is None:
            pixels = " ".join(["127"] * 2304)
        else:
            shot = studio.shoot(k, label)
            face = _aligned(shot.picture, shot.pose, 96, 96 / 165, 0.42)
            grey = Image.fromarray(face).convert("L").resize((48, 48), Image.Resampling.BOX)
            pixels = " ".join(map(str, np.asarray(grey).ravel().tolist()))
        chance = np.full(10, 0.02)
        chance[FERPLUS_COLUMNS.index(FER_CLASSES[label])] += float(rng.choice([0.9, 0.5, 0.2], p=[0.6, 0.3, 0.1]))
        chance[0] += 0.1
        votes = rng.multinomial(10, chance / chance.sum()).tolist()
        rows.append((usage, number, f"{label},{pixels},{usage}", votes))
    return rows


def _fer_finish(plan: Plan, results: list[Any], folder: Path) -> None:
    del plan
    rows = [r for part in results for r in part]
    faces, votes = ["emotion,pixels,Usage"], ["Usage,Image name," + ",".join(FERPLUS_COLUMNS)]
    position = 0
    for usage, size in FER_USAGES.items():
        mine = sorted((r for r in rows if r[0] == usage), key=lambda r: r[1])
        count = round(FER_UNNAMED[usage] * len(mine) / size)
        unnamed = set(np.linspace(0, len(mine) - 1, count + 2).astype(int)[1:-1].tolist())
        for i, (_, _, line, counts) in enumerate(mine):
            faces.append(line)
            if usage == "Training" and i == 1 and max(counts) > 1:
                counts[int(np.argmax(counts))] -= 1  # one row of FER+ has nine votes
            name = "" if i in unnamed else f"fer{position:07d}.png"
            votes.append(f"{usage},{name},{','.join(map(str, counts))}")
            position += 1
    (folder / "fer2013.csv").write_text("\n".join(faces) + "\n", encoding="ascii", newline="")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n", encoding="ascii", newline="")


# Aff-Wild2 -------------------------------------------------------------------------------------------------------

AFFWILD2_CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
AFFWILD2_AUS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
AFFWILD2_FOLDERS = {
    "EXPR_Classification_Challenge": ",".join(c.capitalize() for c in AFFWILD2_CLASSES),
    "AU_Detection_Challenge": ",".join(f"AU{u}" for u in AFFWILD2_AUS),
    "VA_Estimation_Challenge": "valence,arousal",
}
AFFWILD2_MTL = {"Train_Set": "train_set.txt", "Validation_Set": "validation_set.txt"}
"""The multi-task challenge has one list a split, of the frames that have a crop."""


def _affwild2_jobs(plan: Plan) -> Sequence[int]:
    return range(plan.subjects or 24)


def _affwild2_write(plan: Plan, index: int, folder: Path) -> tuple[str, list[str]]:
    """One video: expressions that come and go, coded frame by frame for the challenges.

    Returns:
        Its split, and its rows in the list of the multi-task challenge.
    """
    person = 4000 + index
    # Every fifth video shows two people, coded apart.
    name = f"{index + 1}-30-1280x720" + ("_left" if index % 5 == 3 else "_right" if index % 5 == 4 else "")
    split = "Validation_Set" if index % 4 == 3 else "Train_Set"
    face = None if plan.pixels == "flat" else face_of(plan.seed, person, plan.size)
    flat = FlatImages()
    rng = np.random.default_rng([plan.seed, person, 0xAB])
    labels = np.repeat(rng.integers(0, len(AFFWILD2_CLASSES), 1 + plan.frames // 8), 8)[: plan.frames]
    moves = poses(rng, face.rest, plan.frames) if face else ()
    images = folder / "cropped_aligned" / name
    images.mkdir(parents=True)
    expression, units, affect, multitask = [], [], [], []
    for i, label in enumerate(labels.tolist()):
        title = AFFWILD2_CLASSES[label]
        strength = float(rng.uniform(0.5, 1.1))
        if title == "other":
            au = (0.5 * expression_sample(rng, "contempt", strength)).astype(np.float32)
            valence, arousal = rng.uniform(-0.4, 0.4, 2).round(4).tolist()
        else:
            au = expression_sample(rng, title, strength)
            valence, arousal = affect_sample(rng, title, strength)
        found = rng.random() > 0.03
        path = images / f"{i + 1:05d}.jpg"
        if found and face:
            write_image(path, _aligned(face.render(au, moves[i], i), moves[i], 112, 112 / 185, 0.42))
        elif found:
            flat.write(path)
        expression.append("-1" if rng.random() < 0.05 else str(label))
        present = [int(au[UNITS.index(u)] >= 1) for u in AFFWILD2_AUS]
        units.append(",".join(map(str, present if rng.random() > 0.05 else [-1] * len(present))))
        affect.append(f"{valence:g},{arousal:g}" if rng.random() > 0.05 else "-5,-5")
        if found:
            multitask.append(f"{name}/{path.name},{affect[-1]},{expression[-1]},{units[-1]}")
    for (challenge, header), rows in zip(AFFWILD2_FOLDERS.items(), (expression, units, affect), strict=True):
        path = folder / challenge / split / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *rows]) + "\n", encoding="ascii", newline="")
    return split, multitask


def _affwild2_finish(plan: Plan, results: list[Any], folder: Path) -> None:
    """Writes the lists of the multi-task challenge."""
    del plan
    header = f"image,valence,arousal,expression,{AFFWILD2_FOLDERS['AU_Detection_Challenge']}"
    for split, file in AFFWILD2_MTL.items():
        path = folder / "MTL_Challenge" / file
        path.parent.mkdir(exist_ok=True)
        rows = [row for where, listed in results if where == split for row in listed]
        path.write_text("\n".join([header, *rows]) + "\n", encoding="ascii", newline="")


LAYOUTS = {
    "rafdb": Layout(
        "RAF-DB", (180, 200), 60, _rafdb_jobs, _rafdb_write, _rafdb_finish, sum(map(sum, RAFDB_COUNTS.values())), False
    ),
    "affectnet-csv": Layout(
        "AffectNet (lists)",
        (256, 256),
        60,
        _affectnet_csv_jobs,
        _affectnet_csv_write,
        _affectnet_csv_finish,
        420_300,
        False,
    ),
    "affectnet-npy": Layout(
        "AffectNet (8 labels)", (256, 256), 60, _affectnet_npy_jobs, _affectnet_npy_write, None, 291_650, False
    ),
    "fer2013": Layout("FER2013 and FER+", (128, 144), 60, _fer_jobs, _fer_write, _fer_finish, 35_887, False),
    "affwild2": Layout("Aff-Wild2", (160, 180), 24, _affwild2_jobs, _affwild2_write, _affwild2_finish, None, False),
}
