"""Reading what OpenFace 2.x writes: the CSV files of FeatureExtraction and FaceLandmarkImg.

The two programs write different headers (``RecorderCSV.cpp``), and some builds put a space behind each comma:

| program | begins with | one row is |
|---|---|---|
| FeatureExtraction | ``frame, face_id, timestamp, confidence, success`` | a frame, counted from 1 |
| FeatureExtraction before 2.0 | ``frame, timestamp, confidence, success`` | a frame, counted from 1 |
| FaceLandmarkImg | ``face, confidence`` | a face of the one picture |

AU columns are ``AU01_r`` (intensity 0..5) and ``AU01_c`` (0 or 1). In a frame that failed they are zeros, which are not
measurements: such rows are ``success`` 0 here, and their values NaN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DatasetError

_AU = re.compile(r"AU\d\d_[rc]")
_KNOWN = ("frame", "face_id", "face", "timestamp", "confidence", "success")


@dataclass(frozen=True)
class OpenFaceTable:
    """One file, one row a frame (of a sequence) or one row in all (of a picture): the most confident face.

    Attributes:
        path: The file.
        kind: ``sequence`` or ``image``.
        frame: Frame numbers from 1, ascending, int64 ``[rows]``; 1 for a picture.
        success: Whether the face was tracked, bool ``[rows]``.
        confidence: 0..1, float32 ``[rows]``.
        intensity: ``AU01`` -> 0..5, float32 ``[rows]``, NaN where it failed.
        occurrence: ``AU01`` -> 0 or 1, float32 ``[rows]``, NaN where it failed.
    """

    path: Path
    kind: str
    frame: NDArray[np.int64]
    success: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    intensity: dict[str, NDArray[np.float32]]
    occurrence: dict[str, NDArray[np.float32]]


def read_openface_csv(path: Path) -> OpenFaceTable:
    """Reads one CSV file of OpenFace 2.x.

    Raises:
        DatasetError: Not such a file, without AU columns, or with values that no OpenFace writes; names the line.
    """
    import pandas as pd

    def bad(what: str, *, why: str | None = None, fix: str | None = None) -> DatasetError:
        return DatasetError(f"{path.name}: {what}", where=str(path), why=why, fix=fix)

    try:
        table = pd.read_csv(path, skipinitialspace=True, usecols=lambda c: c.strip() in _KNOWN or bool(_AU.match(c)))
    except FileNotFoundError:
        raise bad("there is no such file") from None
    except (ValueError, OSError) as error:  # pandas' parser and decoding errors are ValueErrors
        raise bad("it cannot be read as CSV", why=str(error)) from None
    table.columns = [c.strip() for c in table.columns]
    units = sorted(c for c in table.columns if _AU.fullmatch(c))
    sequence = "frame" in table.columns
    if "confidence" not in table.columns or not (sequence or "face" in table.columns):
        raise bad("it has not the columns of OpenFace 2.x", why="it begins with neither 'frame' nor 'face, confidence'")
    if not units:
        raise bad("it has no AU columns", fix="run OpenFace with -aus, or without any output flag")
    numbers = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise bad(f"line {row + 2}: '{table.columns[column]}' is no number", why="the file was cut off or changed")
    values = dict(zip(table.columns, numbers.T, strict=True))
    rows = len(table)
    success = values["success"] == 1 if "success" in values else values["confidence"] > 0
    frame = values["frame"].astype(np.int64) if sequence else np.ones(rows, np.int64)
    if sequence and (frame != values["frame"]).any():
        raise bad("frame numbers are not whole")
    if rows and frame.min() < 1:
        raise bad(f"it has a frame {frame.min()}", why="OpenFace counts frames from 1")
    for name in units:
        low, high = float(values[name].min(initial=0)), float(values[name].max(initial=0))
        if low < 0 or high > (5 if name.endswith("_r") else 1):
            raise bad(f"'{name}' goes from {low:g} to {high:g}", why="OpenFace writes 0..5 for _r, and 0 or 1 for _c")
    # Several faces in a frame: the one that was tracked, then the most confident.
    order = np.lexsort((-values["confidence"], ~success, frame))
    keep = order[np.unique(frame[order], return_index=True)[1]]

    def measured(name: str) -> NDArray[np.float32]:
        return np.where(success[keep], values[name][keep], np.nan).astype(np.float32)

    return OpenFaceTable(
        path=path, kind="sequence" if sequence else "image", frame=frame[keep], success=success[keep],
        confidence=values["confidence"][keep].astype(np.float32),
        intensity={n[:4]: measured(n) for n in units if n.endswith("_r")},
        occurrence={n[:4]: measured(n) for n in units if n.endswith("_c")},
    )  # fmt: skip
