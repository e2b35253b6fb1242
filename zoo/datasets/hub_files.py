"""Files of a dataset repository on the Hugging Face Hub, at one commit: listed, fetched, checked, unpacked, kept.

| under ``<ZOO_HOME>/hub`` | holds |
|---|---|
| ``<owner>--<name>/<commit>.json`` | the list of files with their hashes, as the Hub gave it |
| ``<owner>--<name>/<commit>/`` | the files that were asked for, each of them checked against that list |
| ``partial/`` | downloads that broke off, to be resumed |

huggingface_hub lists; the transfer is the zoo's own (:mod:`zoo.weights.http`), because the library starts a broken one
again from zero in the next call. A commit never changes, so what is here needs no network.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zoo._util.files import canonical_json, content_hash, git_blob_sha1_of, sha256_of, write_text, zoo_home
from zoo.errors import DatasetError, DatasetMissingError, HashMismatchError, UsageError, WeightsError, ZooError
from zoo.weights.hub import answering_commit, credentials, endpoint, refusal
from zoo.weights.layout import locked
from zoo.weights.store import offline_reason

CONNECTIONS = 8
"""Files fetched at once: a folder of thousands of small pictures is all waiting for answers."""
FEW = 20
"""Up to so many files each have a progress bar of their own; more of them share one."""
UNPACK_LIMIT = 64 << 30
"""Bytes that one archive may unpack to."""


@dataclass(frozen=True)
class Listed:
    """One file of a repository.

    Attributes:
        path: Path in the repository, POSIX.
        size: Bytes.
        sha256: Of its content, for files in LFS.
        git_sha1: Of its git blob, for the others.
    """

    path: str
    size: int
    sha256: str | None
    git_sha1: str | None

    @property
    def hash(self) -> str:
        """The hash that the Hub gives."""
        return self.sha256 or self.git_sha1 or ""


@dataclass(frozen=True)
class Snapshot:
    """One dataset repository at one commit.

    Attributes:
        repo: ``owner/name``.
        commit: 40 hex digits.
    """

    repo: str
    commit: str

    @property
    def page(self) -> str:
        """Page of the dataset at this commit."""
        return f"{endpoint()}/datasets/{self.repo}/tree/{self.commit}"

    @property
    def folder(self) -> Path:
        """Where the files are kept."""
        return zoo_home() / "hub" / self.repo.replace("/", "--") / self.commit

    @property
    def _list(self) -> Path:
        return self.folder.with_name(f"{self.commit}.json")

    def kept_list(self) -> tuple[Listed, ...] | None:
        """Returns the list of files from the cache, or None where it is not there."""
        try:
            return tuple(Listed(**item) for item in json.loads(self._list.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def listing(self, offline: bool | None = None) -> tuple[Listed, ...]:
        """Returns the files of the repository, from the cache where it was listed before.

        Raises:
            DatasetMissingError: No such repository or commit, no network, or offline and not in the cache.
            LicenseError: The repository wants terms accepted, or a login.
        """
        if (kept := self.kept_list()) is not None:
            return kept
        self._need_network("its list of files", offline)
        files = tuple(_asked(lambda api: list(_list_files(api, self)), self.repo, self.commit))
        write_text(self._list, canonical_json([asdict(f) for f in files]))
        return files

    def place(self, file: Listed) -> Path:
        """Returns where a file lies; for an archive, the folder that holds what was in it."""
        return self.folder / unpacked_name(file.path)

    def missing(self, files: Iterable[Listed]) -> list[Listed]:
        """Returns those files that are not here."""
        return [f for f in files if not _is_here(self.place(f), f)]

    def bring(self, files: Sequence[Listed], offline: bool | None = None) -> None:
        """Fetches files that are not here, checks them, and unpacks archives.

        Raises:
            DatasetMissingError: They cannot be had; what was fetched is kept.
            LicenseError: Their owners want terms accepted, or a login.
            HashMismatchError: The server gives other bytes than it lists, or another commit's.
            DatasetError: An archive that cannot be unpacked, or a disk that is full.
        """
        if not self.missing(files):
            return
        self._need_network(f"{len(self.missing(files))} of its files", offline)
        with locked(f"dataset-{content_hash([self.repo, self.commit], 16)}", self.repo):
            todo = self.missing(files)
            total = sum(f.size for f in todo)
            try:
                self._fetch(todo)
            except ZooError:
                raise
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise DatasetError(
                    f"cannot keep the files of {self.repo} ({total:,} bytes): "
                    + ("the disk is full" if full else "the cache folder cannot be used"),
                    where=str(self.folder), why=error.strerror,
                    fix=f"{'free some space' if full else 'mend its permissions'}, or set ZOO_HOME to a folder "
                    "elsewhere",
                ) from None  # fmt: skip

    def _need_network(self, what: str, offline: bool | None) -> None:
        if reason := offline_reason(offline):
            raise DatasetMissingError(
                f"the dataset {self.repo} is not on this machine: {what} would have to be fetched",
                where=self.page, why=reason, fix="run the same command once where there is a network",
            )  # fmt: skip

    def _fetch(self, files: Sequence[Listed]) -> None:
        from tqdm import tqdm

        done, failed = 0, None
        bar = tqdm(total=sum(f.size for f in files), desc=self.repo, unit="B", unit_scale=True,
                   disable=len(files) <= FEW, mininterval=0.5)  # fmt: skip
        pool = ThreadPoolExecutor(CONNECTIONS)
        with bar:
            try:
                futures = [(f, pool.submit(self._one, f, progress=len(files) <= FEW)) for f in files]
                for file, future in futures:
                    future.result()
                    done += 1
                    bar.update(file.size)
            except ZooError as error:
                failed = error
            finally:
                pool.shutdown(cancel_futures=True)
        if failed is None:
            return
        if isinstance(failed, WeightsError) and not isinstance(failed, HashMismatchError):
            raise DatasetMissingError(
                f"the dataset {self.repo} could not be fetched whole ({done} of {len(files)} files)",
                where=failed.where, why=failed.what,
                fix="; ".join(filter(None, (failed.fix, "the same command goes on where this one stopped"))),
            ) from None  # fmt: skip
        raise failed

    def _one(self, file: Listed, *, progress: bool) -> None:
        from zoo.weights.http import Download

        url = self.url(file.path)
        part = zoo_home() / "hub" / "partial" / f"{content_hash([self.repo, file.path, file.hash], 32)}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        if not file.size:
            part.touch()
        download = Download(
            url, part, PurePosixPath(file.path).name, size=file.size, headers=credentials(), progress=progress,
            refused=lambda answer: refusal(
                answer, repo=self.repo, revision=self.commit, page=f"{endpoint()}/datasets/{self.repo}", path=file.path
            ),
            accepted=lambda answer: _same_commit(answer, self, url),
        )  # fmt: skip
        while True:
            continued = part.exists() and file.size > 0
            try:
                continued |= file.size > 0 and download.run()
                _verify(part, file, url)
                break
            except HashMismatchError:
                part.unlink(missing_ok=True)
                if not continued:
                    raise
                # Pieces of two answers do not fit together: once more, in one piece.
        place = self.place(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        if is_archive(file.path):
            unpack(part, place, f"{self.repo}: {file.path}")
            part.unlink()
        else:
            part.replace(place)

    def url(self, path: str) -> str:
        """Returns the address of a file."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repo, path, repo_type="dataset", revision=self.commit, endpoint=endpoint())


def newest_commit(repo: str) -> str | None:
    """Returns the commit that a dataset's main branch is at, or None where that cannot be asked."""
    if offline_reason(None):
        return None
    try:
        found = _asked(lambda api: api.dataset_info(repo, timeout=10).sha, repo, "main")
    except ZooError:
        return None
    return found if isinstance(found, str) else None


def is_archive(path: str) -> bool:
    """Whether a file is an archive that is unpacked."""
    return path.lower().endswith(".zip")


def unpacked_name(path: str) -> str:
    """Returns the path at which a file is kept: an archive ``a/b.zip`` becomes the folder ``a/b.zip!``."""
    return f"{path}!" if is_archive(path) else path


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpacks a zip archive into a folder that is there whole or not at all.

    Hidden files and archive litter are left out.

    Args:
        archive: The archive.
        folder: Folder to make.
        name: The archive's name, for errors.

    Raises:
        DatasetError: It cannot be unpacked, or to more bytes than it says, or a member would lie outside the folder.
    """
    growing = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and safe_path(m.filename, name)]
            left = sum(m.file_size for m in members)
            if left > UNPACK_LIMIT:
                raise DatasetError(f"{name} would unpack to {left:,} bytes", fix="use a smaller part of the dataset")
            for member in members:
                target = growing / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, target.open("wb") as file:
                    while block := source.read(1 << 20):
                        left -= len(block)
                        if left < 0:  # what an archive declares is a claim: it is held to it
                            raise DatasetError(f"{name} unpacks to more bytes than it declares")
                        file.write(block)
        growing.replace(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{name} cannot be unpacked", why=str(error) or type(error).__name__) from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def safe_path(path: str, where: str) -> bool:
    """Whether a path of a repository or archive names a file to keep: hidden files and archive litter are not.

    Raises:
        DatasetError: The path would lead out of the folder that it is put into.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or any(c in path for c in "\\\0"):
        raise DatasetError(f"{path!r} is no path below a folder: nothing is kept of what holds it", where=where)
    return not any(part.startswith((".", "__MACOSX")) for part in parts)


def _is_here(place: Path, file: Listed) -> bool:
    """Whether a file is here: nothing but checked files gets its name, so the size tells enough."""
    try:
        return place.is_dir() if is_archive(file.path) else place.stat().st_size == file.size
    except OSError:
        return False


def _list_files(api: Any, snapshot: Snapshot) -> Iterable[Listed]:
    from huggingface_hub.hf_api import RepoFile

    # Asked first because it fails at once; the list is asked for again and again for half a minute.
    found = api.dataset_info(snapshot.repo, revision=snapshot.commit, timeout=10).sha
    if found != snapshot.commit:
        raise HashMismatchError(f"the Hub answers with commit {found}, not the pinned one", where=snapshot.page)
    for item in api.list_repo_tree(
        snapshot.repo, recursive=True, revision=snapshot.commit, repo_type="dataset", token=None
    ):
        if isinstance(item, RepoFile) and safe_path(item.path, snapshot.page):
            sha256 = item.lfs.sha256 if item.lfs else None
            yield Listed(item.path, item.size, sha256, None if sha256 else item.blob_id)


def _asked(question: Callable[[Any], Any], repo: str, revision: str) -> Any:
    """Puts a question to the Hub's interface; its refusals become ours."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    from zoo.weights.http import library

    page = f"{endpoint()}/datasets/{repo}"
    try:
        return question(HfApi(endpoint=endpoint()))
    except HFValidationError as error:
        raise UsageError(f"'{repo}' is not the name of a dataset on the Hub", why=str(error)) from None
    except HfHubHTTPError as error:
        refused = refusal(error.response, repo=repo, revision=revision, page=page)
        if isinstance(refused, WeightsError):
            raise DatasetMissingError(refused.what, where=refused.where, fix=refused.fix) from None
        if refused is not None:
            raise refused from None
        raise DatasetMissingError(
            f"the Hub does not answer about {repo} (HTTP {error.response.status_code})", where=page, fix="try later"
        ) from None
    except (library().HTTPError, OfflineModeIsEnabled, OSError) as error:
        raise DatasetMissingError(
            "the Hub cannot be reached", where=page, why=str(error) or type(error).__name__,
            fix="check the network and the proxy settings (HF_ENDPOINT names another server)",
        ) from None  # fmt: skip


def _same_commit(answer: Any, snapshot: Snapshot, url: str) -> None:
    if commit := answering_commit(answer, snapshot.commit):
        raise HashMismatchError(f"the Hub answers with commit {commit}, not the pinned one", where=url)


def _verify(path: Path, file: Listed, url: str) -> None:
    size = path.stat().st_size
    if size != file.size:
        raise HashMismatchError(f"{file.path} has {size:,} bytes, not {file.size:,}", where=url)
    got = sha256_of(path) if file.sha256 else git_blob_sha1_of(path)
    if got != file.hash:
        kind = "sha256" if file.sha256 else "git sha1"
        raise HashMismatchError(
            f"{file.path} is not the file that the Hub lists: its {kind} is {got}, not {file.hash}", where=url,
            fix="a proxy or mirror may be changing files; try another network",
        )  # fmt: skip
