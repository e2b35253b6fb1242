"""skops files read as data: a zip of ``schema.json`` and arrays. No class is imported, nothing of the file is called.

skops itself would build the objects that the schema names. Here an object stays its class's name and its attributes,
and only classes on the caller's list may occur. Format: ``skops.io``, protocols 0 to 2.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ContractError, UnsafeFileError

_LARGEST = 1 << 30
"""Bytes that all members of a file may have together; the published files have 150 MB."""
_DEEPEST = 64


@dataclass(frozen=True)
class SkopsObject:
    """An object of a file: its class by name, and its attributes.

    Attributes:
        kind: ``module.Class``.
        state: Attribute -> value: numbers, text, lists, dicts, numpy arrays, bytes, and objects again.
    """

    kind: str
    state: dict[str, Any]


def read_skops(path: Path, allowed: Collection[str]) -> Any:
    """Reads a file.

    Args:
        path: The file.
        allowed: Classes that may occur, ``module.Class``; ``*.Class`` for any module.

    Returns:
        What was stored.

    Raises:
        ContractError: Not a skops file, cut off, or too large.
        UnsafeFileError: A class that is not on the list, or a function, a method or a pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST:
                raise ContractError(f"{path.name} unpacks to more than {_LARGEST >> 20} MiB", where=str(path))
            schema = json.loads(archive.read("schema.json"))
            return _Reader(path, archive, allowed).value(schema, 0)
    except RecursionError:
        raise ContractError(f"{path.name} is not a skops file", where=str(path), why="its JSON is too deep") from None
    except (
        zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError, EOFError, MemoryError, OSError,
        RuntimeError, NotImplementedError,
    ) as error:  # fmt: skip
        raise ContractError(
            f"{path.name} is not a skops file", where=str(path), why=" ".join(str(error).split())[:200] or None
        ) from None


class _Reader:
    def __init__(self, path: Path, archive: zipfile.ZipFile, allowed: Collection[str]) -> None:
        self.path, self.archive, self.allowed = path, archive, allowed
        self.seen: dict[int, Any] = {}
        self.kinds: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "JsonNode": self._json, "DictNode": self._dict, "ListNode": self._list, "TupleNode": self._tuple,
            "BytesNode": self._bytes, "BytearrayNode": self._bytes, "NdArrayNode": self._array,
            "ObjectNode": self._object,
        }  # fmt: skip

    def value(self, node: dict[str, Any], depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its objects are nested too deep")
        loader = node["__loader__"]
        if loader == "CachedNode":
            return self.seen[node["__id__"]]
        read = self.kinds.get(loader)
        if read is None:
            raise self._unsafe(f"{node.get('__module__')}.{node.get('__class__')} ({loader})")
        found = read(node, depth + 1)
        if node.get("__id__") is not None:
            self.seen[node["__id__"]] = found
        return found

    def _unsafe(self, kind: str) -> UnsafeFileError:
        return UnsafeFileError(
            f"{self.path.name} holds what does not belong in it", where=str(self.path), why=f"it refers to {kind}",
            fix="use the publisher's file; its hash is in the registry",
        )  # fmt: skip

    def _json(self, node: dict[str, Any], depth: int) -> Any:
        del depth
        return json.loads(node["content"])

    def _dict(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        return {str(key): self.value(item, depth) for key, item in node["content"].items()}

    def _list(self, node: dict[str, Any], depth: int) -> list[Any]:
        return [self.value(item, depth) for item in node["content"]]

    def _tuple(self, node: dict[str, Any], depth: int) -> tuple[Any, ...]:
        return tuple(self.value(item, depth) for item in node["content"])

    def _bytes(self, node: dict[str, Any], depth: int) -> bytes:
        del depth
        return self.archive.read(node["file"])

    def _array(self, node: dict[str, Any], depth: int) -> Any:
        if node["type"] != "numpy":  # arrays of objects are stored as JSON
            return self.value(node["content"], depth) if isinstance(node["content"], dict) else node["content"]
        return np.load(io.BytesIO(self.archive.read(node["file"])), allow_pickle=False)

    def _object(self, node: dict[str, Any], depth: int) -> SkopsObject:
        module, name = str(node["__module__"]), str(node["__class__"])
        if f"{module}.{name}" not in self.allowed and f"*.{name}" not in self.allowed:
            raise self._unsafe(f"{module}.{name}")
        state = self.value(node["content"], depth) if node.get("content") else {}
        if not isinstance(state, dict):
            raise ValueError(f"the state of {module}.{name} is no dict")
        return SkopsObject(f"{module}.{name}", state)
