"""Whether a file is the one that the registry names, and remembering that it is.

Hashing half a gigabyte takes a second, so a file that was found good is not hashed again while its size and its
times stay as they were. The note about it lies in the cache folder, never beside the file.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from zoo._util.files import content_hash, git_blob_sha1_of, sha256_of, write_text
from zoo.errors import HashMismatchError
from zoo.registry.schema import WeightFile
from zoo.weights.layout import cache_dir, identity
from zoo.weights.safe import KINDS, html_title, sniff

_LOOKS_LIKE = {
    "onnx": ("onnx", "unknown"),
    "safetensors": ("safetensors",),
    "torch": ("torch", "pickle"),
    "skops": ("zip",),
    "keras-hdf5": ("hdf5",),
    "tflite": ("tflite",),
    "openvino-ir": ("xml", "zip", "unknown"),
    "json": ("json",),
}
# A clock tick of the file system: a change within the same one would leave the times as they are.
_TICK_S = 0.02


def verify(path: Path, file: WeightFile) -> None:
    """Checks size and hashes of a file.

    Raises:
        HashMismatchError: It is another file; the reason says what it looks like.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise HashMismatchError(f"it has {size:,} bytes, not {file.size:,}{_looks(path, file)}", where=str(path))
    for name, want, hash_of in (("sha256", file.sha256, sha256_of), ("git sha1", file.git_sha1, git_blob_sha1_of)):
        if want and (got := hash_of(path)) != want:
            raise HashMismatchError(f"its {name} is {got}, not {want}{_looks(path, file)}", where=str(path))


def _looks(path: Path, file: WeightFile) -> str:
    kind = sniff(path)
    if kind in _LOOKS_LIKE[file.format]:
        return ""
    with path.open("rb") as opened:
        title = html_title(opened.read(1 << 16)) if kind == "html" else None
    return f": it is {KINDS[kind]}{f', titled {title!r}' if title else ''}"


def is_verified(path: Path, file: WeightFile) -> bool:
    """Returns whether a file is there and right; hashes it only when it has changed since it was last found right."""
    try:
        state = _state(path, file)
    except OSError:
        return False
    if _read_note(path) == state:
        return True
    try:
        verify(path, file)
    except (HashMismatchError, OSError):
        return False
    remember(path, file)
    return True


def remember(path: Path, file: WeightFile) -> None:
    """Notes that a file has just been found right; where the cache cannot be written to, it will be hashed again."""
    with suppress(OSError):
        before = _state(path, file)
        if time.time() - path.stat().st_ctime < _TICK_S:
            time.sleep(_TICK_S)
        if _state(path, file) == before:
            write_text(_note(path), json.dumps(before))


def _state(path: Path, file: WeightFile) -> dict[str, int | str]:
    stat = path.stat()
    times = {"mtime": stat.st_mtime_ns, "ctime": stat.st_ctime_ns}
    return {"hash": identity(file), "size": stat.st_size, **times}


def _note(path: Path) -> Path:
    return cache_dir() / "verified" / f"{content_hash(os.path.abspath(path), 32)}.json"  # noqa: PTH100


def _read_note(path: Path) -> object:
    try:
        return json.loads(_note(path).read_text())
    except (OSError, ValueError):
        return None
