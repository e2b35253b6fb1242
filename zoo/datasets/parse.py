"""Label text to numbers: strict about what a line is, and never a wrong number in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.reader import Audit

_PAIR = rb"[ \t]*([0-9]{1,9})[ \t]*,[ \t]*(-?[0-9]{1,9})[ \t]*"
_LINE = re.compile(_PAIR)
# The whole of a clean file at once: one match instead of thousands. (Possessive: a bad line must not backtrack.)
_CLEAN = re.compile(rb"(?>[0-9]{1,9},-?[0-9]{1,9}\r?\n)*+(?>[0-9]{1,9},-?[0-9]{1,9})?+\s*")


@dataclass(frozen=True)
class Series:
    """One column of labels by frame number.

    Attributes:
        frame: Frame numbers, increasing and unique, int64 ``[n]``.
        value: float32 ``[n]``, NaN where not coded.
    """

    frame: NDArray[np.int64]
    value: NDArray[np.float32]


def excerpt(line: bytes) -> str:
    """Returns a line as it can be shown in an error."""
    return repr(line[:40].decode("utf-8", "replace"))


def read_pairs(content: bytes, name: str, audit: Audit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reads a headerless file of ``frame,integer`` lines.

    A line that is anything else (cut short, other text) is an error finding that names file and line.

    Args:
        content: The file.
        name: Its name, for findings.
        audit: Takes the findings.

    Returns:
        Frame numbers and values of the good lines, in file order.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if _CLEAN.fullmatch(content):
        flat = np.array(content.replace(b",", b" ").split(), dtype="S11").astype(np.int64).reshape(-1, 2)
        return flat[:, 0], flat[:, 1]
    pairs: list[tuple[int, int]] = []
    bad: list[tuple[int, bytes]] = []
    for number, line in enumerate(content.splitlines(), 1):
        if match := _LINE.fullmatch(line):
            pairs.append((int(match[1]), int(match[2])))
        elif line.strip():
            bad.append((number, line))
    if bad:
        audit.error(
            "damaged-label-file",
            f"{name}:{bad[0][0]}: {excerpt(bad[0][1])} is not 'frame,value'; the file is cut short or damaged"
            + (f" ({len(bad)} such lines)" if len(bad) > 1 else ""),
            len(bad),
        )
    flat = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return flat[:, 0], flat[:, 1]


def tidy(
    frame: NDArray[np.int64],
    value: NDArray[np.int64],
    name: str,
    audit: Audit,
    *,
    valid: tuple[int, ...],
    missing: tuple[int, ...] = (),
    first: int = 1,
) -> Series:
    """Sorts rows by frame, and turns what is no label into "not coded", counted.

    Args:
        frame: Frame numbers in file order.
        value: Their values.
        name: The file's name, for findings.
        audit: Takes the findings.
        valid: Values that are labels.
        missing: Values that mean "not coded".
        first: Number that the owners give the first frame.

    Returns:
        One value a frame. Two rows of one frame that disagree leave it not coded.
    """
    if (zero := frame < first).any():
        audit.error(
            "frame-below-first",
            f"{name}: frame number {int(frame[np.argmax(zero)])}; the owners count from {first}, "
            "so every label of this file may be one frame off",
            zero.sum(),
        )
        frame, value = frame[~zero], value[~zero]
    labels = value.astype(np.float32)
    wrong = ~np.isin(value, valid + missing)
    if wrong.any():
        at = int(np.argmax(wrong))
        audit.warning(
            "value-out-of-range",
            f"{name}: {int(wrong.sum())} values outside {valid[0]}..{valid[-1]}, first {int(value[at])} at frame "
            f"{int(frame[at])}; they count as not coded",
            wrong.sum(),
        )
    labels[wrong | np.isin(value, missing)] = np.nan
    if len(frame) and (np.diff(frame) <= 0).any():
        order = np.argsort(frame, kind="stable")
        frame, labels = frame[order], labels[order]
        unique, start, count = np.unique(frame, return_index=True, return_counts=True)
        if (count > 1).any():
            low, high = np.minimum.reduceat(labels, start), np.maximum.reduceat(labels, start)  # both carry NaN on
            clash = low != high
            labels = np.where(clash, np.float32(np.nan), low)
            twice = (count > 1).sum()
            audit.warning(
                "duplicate-frame",
                f"{name}: {int(twice)} frame numbers occur more than once, first {int(unique[np.argmax(count > 1)])}; "
                "rows that agree count once, rows that disagree count as not coded",
                twice,
            )
            frame = unique
        else:
            audit.note("unsorted-rows", f"{name}: the rows are not in frame order; they are matched by frame number")
    return Series(frame, labels)
