"""The cache folder: what lies where, and one process at a time.

| under ``<ZOO_HOME>/weights`` | holds |
|---|---|
| ``<hash>/<name>`` | a file under its sha256 (or git sha1): right, or not there |
| ``partial/`` | downloads that broke off, to be resumed |
| ``archives/`` | archives and wheels that files were taken out of |
| ``verified/`` | notes of what was hashed when |
| ``locks/`` | locks, held by the system and let go when their process ends, however it ends |
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo._util.files import content_hash, exclusive, zoo_home
from zoo.registry.schema import WeightFile

log = logging.getLogger("zoo.weights")


def cache_dir() -> Path:
    """Returns the folder of the weights cache: ``weights`` under ``ZOO_HOME``."""
    return zoo_home() / "weights"


def identity(file: WeightFile) -> str:
    """Returns the hash that names a file in the cache: its sha256, else the sha1 of its git blob."""
    return file.sha256 or file.git_sha1 or ""


def cache_path(file: WeightFile) -> Path:
    """Returns where a file lies in the cache, or would."""
    return cache_dir() / identity(file) / file.name


def part_path(file: WeightFile, url: str) -> Path:
    """Returns where a download of a file from one address grows."""
    return cache_dir() / "partial" / f"{identity(file)[:16]}-{content_hash(url, 16)}.part"


def parts_of(file: WeightFile) -> list[Path]:
    """Returns the broken downloads of a file."""
    return sorted((cache_dir() / "partial").glob(f"{identity(file)[:16]}-*.part"))


@contextmanager
def locked(name: str, label: str) -> Iterator[None]:
    """Lets one process at a time work on what ``name`` names; says so on stderr when it has to wait."""
    path = cache_dir() / "locks" / f"{name}.lock"
    with exclusive(path, lambda: log.warning("%s: waiting for another process that is fetching it", label)):
        yield
