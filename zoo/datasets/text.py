"""Text columns: a number a row, and the values that the numbers stand for, all in :mod:`zoo._util.spool`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from zoo._util.spool import Spool

Rows = slice | Sequence[int] | NDArray[Any]


class Text:
    """A read-only column of text that is decoded where it is looked at.

    It is indexed and compared like a numpy array; numpy's functions take it, as an array that then is in memory.
    """

    dtype = np.dtype(np.str_)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: NDArray[np.uint8], ends: NDArray[np.int64], codes: NDArray[np.int32]) -> None:
        """Takes over what a :class:`TextSpool` collected.

        Args:
            values: UTF-8 of all values one after another; a value may recur. Lone surrogates, which stand for bytes of
                a file name that are no text, are kept.
            ends: Where each value ends, ``[values]``.
            codes: Value of each row, ``[rows]``.
        """
        self._values, self._ends, self._codes = values, ends, codes

    @classmethod
    def of(cls, texts: Text | Sequence[str] | NDArray[np.str_]) -> Text:
        """Returns a sequence as a column; a column as it is."""
        if isinstance(texts, Text):
            return texts
        spool = TextSpool()
        spool.append(texts, len(texts))
        return spool.text()

    def _value(self, code: int) -> str:
        start = int(self._ends[code - 1]) if code else 0
        return self._values[start : int(self._ends[code])].tobytes().decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def nbytes(self) -> int:
        """Bytes of the values and the numbers, wherever they lie."""
        return self._values.nbytes + self._ends.nbytes + self._codes.nbytes

    def __iter__(self) -> Iterator[str]:
        return (self._value(code) for code in self._codes)

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, rows: Rows) -> Text: ...
    def __getitem__(self, rows: int | np.integer[Any] | Rows) -> str | Text:
        if isinstance(rows, int | np.integer):
            return self._value(int(self._codes[rows]))
        return Text(self._values, self._ends, self._codes[rows])

    def distinct(self) -> tuple[list[str], NDArray[np.int32]]:
        """Returns the values that occur, sorted, and the place of each row's value among them, ``[rows]``."""
        used = np.unique(self._codes)
        values = [self._value(code) for code in used.tolist()]
        names = sorted(set(values))
        place = {name: i for i, name in enumerate(names)}
        of = np.array([place[value] for value in values], np.int32)
        return names, of[np.searchsorted(used, self._codes)]

    def isin(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Returns which rows have one of the names, ``[rows]``."""
        mine, place = self.distinct()
        return np.array([name in names for name in mine], bool)[place]

    def tolist(self) -> list[str]:
        """Returns the rows' values."""
        names, place = self.distinct()
        return [names[i] for i in place.tolist()]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        names, place = self.distinct()
        return np.array(names or [""], dtype or np.str_)[place]

    def __eq__(self, other: object) -> NDArray[np.bool_]:  # type: ignore[override]
        if isinstance(other, str):
            return self.isin((other,))
        return np.asarray(np.asarray(self) == other)

    def __ne__(self, other: object) -> NDArray[np.bool_]:  # type: ignore[override]
        return ~(self == other)


class TextSpool:
    """A text column that grows by blocks."""

    def __init__(self) -> None:
        self._values, self._ends, self._codes = Spool(np.uint8), Spool(np.int64), Spool(np.int32)

    def append(self, texts: str | Iterable[str], rows: int) -> None:
        """Adds a block: one text for all of its rows, or one for each."""
        given = [texts] * rows if isinstance(texts, str) else [str(t) for t in texts]
        distinct = {t: len(self._ends) + i for i, t in enumerate(dict.fromkeys(given))}
        encoded = [t.encode("utf-8", "surrogatepass") for t in distinct]
        self._codes.append(np.array([distinct[t] for t in given], np.int32))
        self._ends.append(len(self._values) + np.cumsum([len(e) for e in encoded], dtype=np.int64))
        self._values.append(np.frombuffer(b"".join(encoded), np.uint8))

    def text(self) -> Text:
        """Returns the column so far."""
        return Text(self._values.array(), self._ends.array(), self._codes.array())
