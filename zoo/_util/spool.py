"""Arrays that grow by blocks and then lie in a file: memory that the system can take back, whatever their length."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from zoo._util.files import zoo_home
from zoo.errors import ZooError

BLOCK = 1 << 13
"""Rows that are in memory at once, where many are gone through."""
HELD = 1 << 16
"""Bytes of a column that are kept in memory before they go to a file, so that short columns need none."""


class Spool:
    """An array that grows by blocks of rows.

    The file has no name: it is gone with the array, however the process ends. It lies in the cache folder, or in the
    system's folder for temporary files where nothing can be written there.

    Args:
        dtype: Type of the numbers.
        shape: Shape of a row; none for a plain column.
    """

    def __init__(self, dtype: DTypeLike, *shape: int) -> None:
        self._empty = np.empty((0, *shape), dtype)
        self._blocks: list[NDArray[Any]] = []
        self._held = 0
        self._rows = 0
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._rows

    def append(self, block: NDArray[Any]) -> None:
        """Adds rows.

        Raises:
            ZooError: The disk is full.
        """
        block = np.ascontiguousarray(block, self._empty.dtype).reshape(-1, *self._empty.shape[1:])
        self._blocks.append(block)
        self._rows += len(block)
        self._held += block.nbytes
        if self._held > HELD:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = _unnamed_file()
        try:
            for block in self._blocks:
                self._file.write(block.data)
            self._file.flush()
        except OSError as error:
            raise ZooError(
                f"a temporary file cannot be written: {error.strerror}", where=str(zoo_home()),
                fix="make room there, or point ZOO_HOME at a folder on another disk",
            ) from None  # fmt: skip
        self._blocks, self._held = [], 0

    def array(self) -> NDArray[Any]:
        """Returns the rows so far, read-only: mapped from the file, or in memory where they are few."""
        if self._file is None:
            joined = np.concatenate([self._empty, *self._blocks])
            joined.flags.writeable = False
            return joined
        self._write()
        return np.asarray(np.memmap(self._file, self._empty.dtype, "r", shape=(self._rows, *self._empty.shape[1:])))


def by_blocks(rows: int, make: Callable[[slice], NDArray[Any]]) -> NDArray[Any]:
    """Returns an array whose rows are made some thousand at a time, as :meth:`Spool.array` does.

    Args:
        rows: How many.
        make: Called with a part of them, at least once; gives their values.

    Raises:
        ZooError: The disk is full.
    """
    first = make(slice(0, BLOCK))
    spool = Spool(first.dtype, *first.shape[1:])
    spool.append(first)
    for start in range(BLOCK, rows, BLOCK):
        spool.append(make(slice(start, start + BLOCK)))
    return spool.array()


def stored(array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array as :meth:`Spool.array` does: in a file, where it is large.

    Raises:
        ZooError: The disk is full.
    """
    spool = Spool(array.dtype, *array.shape[1:])
    spool.append(array)
    return spool.array()


def _unnamed_file() -> IO[bytes]:
    try:
        zoo_home().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=zoo_home())
    except OSError:
        return tempfile.TemporaryFile()
