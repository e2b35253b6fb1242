"""Universal Binary JSON (draft 12), as XGBoost stores its models: read whole or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_DEEPEST = 64


def read_ubjson(data: bytes) -> Any:
    """Reads one value; typed arrays of numbers become numpy arrays.

    Raises:
        ValueError: Not UBJSON, cut off, or followed by more.
    """
    reader = _Reader(data)
    found = reader.value(reader.mark(), 0)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes are left over")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("it is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def mark(self) -> str:
        return chr(self.take(1)[0])

    def number(self, mark: str) -> int | float:
        kind = np.dtype(_NUMBERS[mark])
        value: int | float = np.frombuffer(self.take(kind.itemsize), kind)[0].item()
        return value

    def length(self) -> int:
        mark = self.mark()
        if mark not in "iUIlL":
            raise ValueError(f"'{mark}' is no length")
        return int(self.number(mark))

    def text(self) -> str:
        return self.take(self.length()).decode("utf-8")

    def value(self, mark: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deep")
        if mark in _NUMBERS:
            return self.number(mark)
        if mark == "S":
            return self.text()
        if mark == "C":
            return self.mark()
        if mark in "ZTF":
            return {"Z": None, "T": True, "F": False}[mark]
        if mark in "[{":
            return self.container(mark == "{", depth + 1)
        raise ValueError(f"'{mark}' is no value")

    def container(self, is_object: bool, depth: int) -> Any:
        kind, count, mark = None, None, self.mark()
        if mark == "$":
            kind, mark = self.mark(), self.mark()
            if mark != "#" or kind in "ZTF":  # items without bytes: their count could be anything
                raise ValueError("a typed container without a count, or of constants")
        if mark == "#":
            count = self.length()
            if kind in _NUMBERS and not is_object:
                form = np.dtype(_NUMBERS[kind])
                return np.frombuffer(self.take(count * form.itemsize), form).astype(form.newbyteorder("="))
        found: list[tuple[str, Any]] = []
        end = "}" if is_object else "]"
        while len(found) != count if count is not None else mark != end:
            if count is None:
                self.at -= 1  # the mark that was looked at belongs to the item
            key = self.text() if is_object else ""
            found.append((key, self.value(kind or self.mark(), depth)))
            if count is None:
                mark = self.mark()
        return dict(found) if is_object else [item for _, item in found]
