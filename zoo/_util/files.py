"""Files that are either whole or absent, their hashes, and where the zoo keeps its own."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def zoo_home() -> Path:
    """Returns the cache folder: ``ZOO_HOME``, or ``libreface-zoo`` under the user's cache folder."""
    if home := os.environ.get("ZOO_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "libreface-zoo"


def resource(name: str) -> Path:
    """Returns a data file of the project: from the installed wheel, or from the source tree beside the package.

    Args:
        name: ``registry.yaml`` or ``protocols``.

    Raises:
        FileNotFoundError: Neither place has it.
    """
    package = Path(__file__).resolve().parent.parent
    in_tree = {"protocols": "benchmarks/protocols"}.get(name, name)
    for path in (package / "_data" / name, package.parent / in_tree):
        if path.exists():
            return path
    raise FileNotFoundError(name)


PATIENCE_S = 2.0
"""Seconds of waiting for another process before it is told."""


@contextmanager
def exclusive(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Lets one process at a time into the block.

    Args:
        path: File of the lock; it stays. The system holds the lock, and lets go of it when the process ends, however it
            ends.
        waiting: Called when another process has held it for :data:`PATIENCE_S`.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that replaces it when the block ends well and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    temporary.touch(exist_ok=False)  # with the mode of any other new file
    try:
        yield temporary
        with temporary.open("rb") as file:  # a crash after the rename must not leave an empty file
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with line feeds as they are, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def sha256_of(path: Path) -> str:
    """Returns the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_sha1_of(path: Path) -> str:
    """Returns the hash that git gives a file's bytes: sha1 of ``blob <length>``, a zero byte and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any, length: int = 64) -> str:
    """Returns the first ``length`` hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]
