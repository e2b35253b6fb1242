"""The weights cache: a file by its hash, from the cache or from its first good source."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import HashMismatchError, LicenseError, WeightsError, WeightsMissingError, ZooError
from zoo.registry.schema import ModelEntry, WeightFile
from zoo.registry.sources import HubSource, Source, parse_source
from zoo.weights.consent import require_consent, warn
from zoo.weights.hub import mirror
from zoo.weights.layout import cache_dir, cache_path, identity, locked, parts_of
from zoo.weights.sources import Wanted, local_path
from zoo.weights.verification import is_verified, remember

__all__ = ["FileStatus", "cache_dir", "cached", "locate", "status"]

log = logging.getLogger("zoo.weights")

_TRUE = ("1", "true", "yes", "on")
_Tried = tuple[str, ZooError]


@dataclass(frozen=True)
class FileStatus:
    """Whether a file is on this machine."""

    state: Literal["here", "partial", "changed", "absent"]
    """``here``: verified, no network needed. ``partial``: a broken download can be resumed. ``changed``: the cache
    holds other bytes than the registry names; they are not used."""
    path: Path
    """Where the file is, or would be in the cache."""
    bytes_here: int
    """Bytes of the file that need not be downloaded."""


def cached(file: WeightFile, *, base: Path | None = None) -> Path | None:
    """Returns the file where it can be had, verified, without a network: the cache, ``builtin:``, ``path:``; else None.

    Args:
        file: The file.
        base: Folder of the registry file, for relative ``path:`` sources.
    """
    places = [cache_path(file)]
    places += [path for text in file.sources if (path := local_path(parse_source(text), base))]
    return next((path for path in places if is_verified(path, file)), None)


def status(file: WeightFile, *, base: Path | None = None) -> FileStatus:
    """Returns whether a file is on this machine; changes nothing and asks nobody."""
    if path := cached(file, base=base):
        return FileStatus("here", path, path.stat().st_size)
    path = cache_path(file)
    if path.exists():
        return FileStatus("changed", path, 0)
    most = max((part.stat().st_size for part in parts_of(file)), default=0)
    return FileStatus("partial" if most else "absent", path, most)


def locate(
    file: WeightFile,
    *,
    entry: ModelEntry | str,
    base: Path | None = None,
    offline: bool | None = None,
    progress: bool = True,
) -> Path:
    """Returns a verified local path of a weights file, fetching it from its first good source if need be.

    A file that is in the cache is used without any request. ``ZOO_HUB_MIRROR=<owner>`` puts the Hub repository
    ``<owner>/<entry>`` in front of the entry's own sources. An entry's licence that does not plainly allow commercial
    use is named in a warning, and has to be accepted before anything is downloaded under it.

    Args:
        file: The file.
        entry: The registry entry that it belongs to; a name, as ``tool:<name>``, for files that belong to none.
        base: Folder of the registry file, for relative ``path:`` sources.
        offline: True: ask nothing over a network. None: as ``ZOO_OFFLINE`` and ``HF_HUB_OFFLINE`` say.
        progress: Whether a progress bar may be drawn on stderr.

    Returns:
        Path of a file whose hash is the registry's. It must not be written to.

    Raises:
        WeightsMissingError: Neither the cache nor any source has it.
        LicenseError: It would have to be downloaded, and the entry's licence was not accepted; or a source has it, and
            its owners ask for terms to be accepted or a login.
        HashMismatchError: Every source gives other bytes than the registry names.
        WeightsError: The cache cannot be written to, or the disk is full.
    """
    owner = entry if isinstance(entry, ModelEntry) else None
    key = _key(file, entry)
    entry = entry.name if isinstance(entry, ModelEntry) else entry
    if owner:
        warn(owner)
    if path := cached(file, base=base):
        return path
    wanted = Wanted(file, base, offline_reason(offline), progress)
    sources: list[tuple[str, Source]] = [(text, parse_source(text)) for text in file.sources]
    # Without a network nothing is downloaded, and what is missing is said instead.
    if owner and not wanted.offline and any(local_path(source, base) is None for _, source in sources):
        require_consent(owner)
    if front := mirror(file, entry):
        sources.insert(0, (_text(front), front))
    tried: list[_Tried] = []
    with _cache_writable(file, key), locked(identity(file), file.name):
        if path := cached(file, base=base):  # another process has fetched it meanwhile
            return path
        if cache_path(file).exists():
            cache_path(file).unlink()
            log.warning("%s had changed in the cache and was removed: %s", file.name, cache_path(file))
        for text, source in sources:
            try:
                path = _keep(wanted.bring(source), file)
            except ZooError as error:
                tried.append((text, error))
                continue
            for bad, failed in tried:
                if isinstance(failed, HashMismatchError):  # a later source was good, but somebody should know
                    log.warning("%s: %s: %s", file.name, bad, failed.what)
            return path
    fetch = (
        None if entry.startswith("tool:") else f"python -m zoo.fetch {owner.selector if owner else f'model={entry}'}"
    )
    raise _failure(file, fetch, key, tried, wanted.offline)


def offline_reason(asked: bool | None) -> str | None:
    """Returns why nothing may be asked over a network, or None: the caller's wish, else the environment's."""
    if asked is not None:
        return "offline mode was asked for" if asked else None
    for name in ("ZOO_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").strip().lower() in _TRUE:
            return f"{name} is set"
    return None


def _keep(path: Path, file: WeightFile) -> Path:
    """Moves verified bytes into the cache in one step; files that are in place already stay there."""
    if path.parent == cache_dir() / "partial":
        with path.open("rb") as opened:  # a crash after the rename must not leave an empty file
            os.fsync(opened.fileno())
        target = cache_path(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        path = path.replace(target)
        for left in parts_of(file):  # broken downloads from other sources
            left.unlink(missing_ok=True)
            left.with_suffix(".json").unlink(missing_ok=True)
    remember(path, file)
    return path


@contextmanager
def _cache_writable(file: WeightFile, key: str) -> Iterator[None]:
    try:
        yield
    except ZooError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WeightsError(
            f"cannot keep {file.name}: {'the disk is full' if full else 'the cache folder cannot be used'}",
            where=f"{cache_dir()} (for {key})",
            why=error.strerror,
            fix=f"{'free some space' if full else 'mend its permissions'}, or set ZOO_HOME to a folder elsewhere",
        ) from None


def _text(source: Source) -> str:
    if isinstance(source, HubSource):
        return f"hf:{source.repo}@{source.revision}:{source.path}"
    return str(source)


def _key(file: WeightFile, entry: ModelEntry | str) -> str:
    if isinstance(entry, ModelEntry):
        return f"{entry.where}.weights[{file.name}]"
    kind, _, tool = entry.partition(":")
    return f"{tool}: {file.name}" if kind == "tool" else f"models.{entry}.weights[{file.name}]"


def _failure(file: WeightFile, fetch: str | None, key: str, tried: list[_Tried], offline: str | None) -> ZooError:
    """Makes one error of what every source answered; ``fetch`` is the command that fetches it, if one does."""
    again = fetch or "run the command again"
    errors = [error for _, error in tried]
    fixes = list(dict.fromkeys(error.fix for error in errors if error.fix))
    what = f"{file.name} ({file.size:,} bytes)" if file.size else file.name
    kind: type[ZooError] = WeightsMissingError
    if offline:
        what += " is not on this machine, and nothing may be fetched"
        leave = f"unset {offline.split()[0]}" if offline.endswith("is set") else "leave offline mode"
        fixes.append(f"where there is a network, {leave} and {f'run: {fetch}' if fetch else again}")
    else:
        what += " could not be had from any of its sources"
        if any(isinstance(error, LicenseError) for error in errors):
            kind = LicenseError
        elif all(isinstance(error, HashMismatchError) for error in errors):
            kind = HashMismatchError
            again += "; if it stays like this, the file has changed where it is published: report it to the registry"
        if all(text.startswith("path:") for text, _ in tried):  # the user's own entry: nothing to fetch
            again = "correct path: (from the registry file's folder) or the hash in your entry"
        fixes.append(f"then: {again}" if fixes else again)
    fixes.append(f"or put the file at {cache_path(file)} yourself (it is checked like any other)")
    lines = [f"{text}: {error.what}" + (f"; {error.why}" if error.why else "") for text, error in tried]
    numbered = [f"{i}. {line}" for i, line in enumerate(lines, 1)]
    return kind(
        what,
        where=key,
        why=lines[0] if len(lines) == 1 else "\n    ".join([f"all {len(lines)} sources failed:", *numbered]),
        fix="\n    ".join(fixes),
    )
