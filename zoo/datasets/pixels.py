"""Pictures stored as text in a table, one row each, read in order like the frames of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ImageError

SIDE = 48
"""Side of FER2013's pictures."""


class PixelTable:
    """Reads the ``pixels`` of a table such as ``fer2013.csv`` row by row.

    Args:
        path: The table; its first line is skipped when it is a header.

    Attributes:
        path: The table.
        next_position: 0-based row that a read without going back can give next.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.next_position = 0
        self._file = path.open("rb")
        first = self._file.readline()
        if not first.removeprefix(b"\xef\xbb\xbf").lower().startswith(b"emotion"):
            self._file.seek(0)

    def read(self, position: int) -> NDArray[np.uint8]:
        """Returns the picture of a row, RGB uint8 ``[48, 48, 3]``; grey is repeated.

        Args:
            position: 0-based row, at or after :attr:`next_position`.

        Raises:
            ImageError: No such row, or its text is no picture.
        """
        line = b""
        while self.next_position <= position:
            line = self._file.readline()
            if not line:
                raise ImageError(f"{self.path.name}: no row {position}", where=str(self.path))
            self.next_position += bool(line.strip())
        cells = line.split(b",")
        try:
            grey = np.array(cells[1].strip(b'"').split(), dtype="S4").astype(np.int64)
        except (IndexError, ValueError):
            grey = np.empty(0, np.int64)
        if grey.size != SIDE * SIDE or grey.min() < 0 or grey.max() > 255:
            raise ImageError(
                f"{self.path.name}: row {position} is no picture of {SIDE} x {SIDE} values 0..255", where=str(self.path)
            )
        return np.repeat(grey.astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
