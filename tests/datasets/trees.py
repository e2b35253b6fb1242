"""Writes small trees in the owners' layouts. Values are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.datasets.disfa import AUS, SUBJECTS

Value = Callable[[str, int, int], int]


def disfa_value(subject: str, au: int, frame: int) -> int:
    """A value that tells subject, AU and frame apart, 0..5."""
    return (int(subject[2:]) + 3 * au + frame) % 6


def write_disfa_labels(
    root: Path, rows: Mapping[str, int], *, value: Value = disfa_value, aus: Sequence[int] = AUS
) -> Path:
    for subject, count in rows.items():
        folder = root / "ActionUnit_Labels" / subject
        folder.mkdir(parents=True, exist_ok=True)
        for au in aus:
            lines = "".join(f"{f},{value(subject, au, f)}\n" for f in range(1, count + 1))
            (folder / f"{subject}_au{au}.txt").write_text(lines)
    return root


def write_frames(folder: Path, numbers: Sequence[int], pattern: str = "{:05d}.jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / pattern.format(number)).write_bytes(b"not decoded by these tests")


def write_video(path: Path, frames: int, codec: str = "mjpeg") -> None:
    """Writes an AVI whose frame k is a grey picture of brightness 8 * k."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        for k in range(frames):
            picture = np.full((32, 32, 3), 8 * k % 256, np.uint8)
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
            ):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_disfa(root: Path, subjects: Sequence[str] = SUBJECTS, frames: int = 6) -> Path:
    """A small DISFA with extracted left-camera frames, 1-based as ffmpeg names them."""
    write_disfa_labels(root, dict.fromkeys(subjects, frames))
    for subject in subjects:
        write_frames(root / "Videos_LeftCamera" / subject, range(1, frames + 1))
    return root


def write_image(path: Path, size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(path)


def write_rafdb(root: Path, labels: Mapping[str, Sequence[int]], *, original: bool = False) -> Path:
    """RAF-DB in its owners' layout; ``labels`` holds labels 1..7 by split."""
    lines = []
    for split, values in labels.items():
        for number, label in enumerate(values, 1):
            stem = f"{split}_{number:0{5 if split == 'train' else 4}d}"
            lines.append(f"{stem}.jpg {label}\n")
            folder = root / "basic" / "Image"
            for place, name in (("aligned", f"{stem}_aligned.jpg"), ("original", f"{stem}.jpg")):
                if place == "aligned" or original:
                    (folder / place).mkdir(parents=True, exist_ok=True)
                    (folder / place / name).write_bytes(b"jpeg")
    (root / "basic" / "EmoLabel").mkdir(parents=True)
    (root / "basic" / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines))
    return root
