"""One folder to a repository of the Hugging Face Hub, in one commit: all of it is there, or nothing.

huggingface_hub transfers; large files go up first and are nowhere to be seen until the commit that names them.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo._version import __version__
from zoo.errors import MissingError, UsageError, WeightsError, ZooError
from zoo.weights.http import library
from zoo.weights.hub import endpoint
from zoo.weights.store import offline_reason

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_LOGIN = "hf auth login (or set HF_TOKEN), with a token that may write"
_GIT = ".gitattributes"
"""The one file that the Hub itself puts into a new repository."""


@dataclass(frozen=True)
class Commit:
    """What an upload made."""

    id: str
    """40-hex commit."""
    url: str
    """Page of the commit."""


@dataclass(frozen=True)
class Target:
    """A repository that may be written to; see :func:`target`."""

    repo: str
    private: bool
    head: str | None
    """Its newest commit; None where the repository has yet to be made."""

    def commit(self, folder: Path, message: str) -> Commit:
        """Uploads all files of a folder in one commit, making the repository if need be.

        Args:
            folder: Its files; folders in it are not looked into.
            message: Message of the commit.

        Raises:
            MissingError: The login does not allow it.
            WeightsError: The Hub refuses or the transfer broke off: no file of the folder is published. Where the
                answer to the commit itself got lost, the error says that it may be there.
        """
        from huggingface_hub import CommitOperationAdd
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        api = _api()
        files = [p for p in sorted(folder.iterdir()) if p.is_file()]
        try:
            if self.head is None:
                api.create_repo(self.repo, private=self.private, repo_type="model")
            done = api.create_commit(
                self.repo, [CommitOperationAdd(path_in_repo=p.name, path_or_fileobj=p) for p in files],
                commit_message=message, repo_type="model", parent_commit=self.head,
            )  # fmt: skip
        except _errors() as error:
            raise _failure(error, self.repo, self._left(api, files)) from None
        return Commit(done.oid, done.commit_url)

    def _left(self, api: HfApi, files: list[Path]) -> str:
        """Says what a failed upload left behind, which after a lost answer only the Hub knows."""
        try:
            info = api.model_info(self.repo)
        except _errors() as error:
            return "nothing was published" if _status(error) in (401, 403, 404) else "look there for what was published"
        held = {s.rfilename for s in info.siblings or ()}
        if info.sha != self.head and held.issuperset(p.name for p in files):
            return "the repository has a new commit with all these files all the same: look there before another try"
        return "nothing was published" + ("" if self.head else " (the repository was made and is empty)")


def target(repo: str, *, private: bool = False, overwrite: bool = False) -> Target:
    """Looks whether a repository can be published to, before any work is done for it.

    Args:
        repo: ``owner/name``.
        private: Whether it shall be private.
        overwrite: Whether it may hold files already, which the commit replaces where names are the same.

    Raises:
        UsageError: Not a repository's name; it holds something and ``overwrite`` is not set; it is public and
            ``private`` is set; or nothing may be asked over a network.
        MissingError: No login, or one that the Hub does not accept.
        WeightsError: The Hub cannot be reached, or refuses.
    """
    check_name(repo)
    if reason := offline_reason(None):
        raise UsageError("publishing needs a network", why=reason, fix="leave offline mode, or dry_run=true out=folder")
    page = f"{endpoint()}/{repo}"
    try:
        info = _api().model_info(repo)
    except _errors() as error:
        if _status(error) == 404:
            return Target(repo, private, None)
        raise _failure(error, repo, "nothing was made") from None
    if private and not info.private:
        raise UsageError(f"the repository {repo} is public", where=page, fix="make it private there, or name another")
    held = [s.rfilename for s in info.siblings or () if s.rfilename != _GIT]
    if held and not overwrite:
        raise UsageError(
            f"the repository {repo} holds {len(held)} files already", where=page,
            why=f"among them {', '.join(held[:3])}",
            fix="name another repository, or say overwrite=true for a new commit",
        )  # fmt: skip
    return Target(repo, private, info.sha)


def check_name(repo: str) -> None:
    """Refuses what is not ``owner/name``.

    Raises:
        UsageError: It is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", repo) or ".." in repo or "--" in repo:
        raise UsageError(
            f"'{repo}' is not the name of a Hub repository", fix="write owner/name, such as my-lab/my-model"
        )


def _api() -> HfApi:
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise MissingError("you are not logged in to the Hub", where=endpoint(), fix=_LOGIN)
    return HfApi(endpoint=endpoint(), token=token, library_name="libreface-zoo", library_version=__version__)


def _errors() -> tuple[type[Exception], ...]:
    # huggingface_hub wraps a failed transfer of a large file into RuntimeError, and a card or an answer of the Hub that
    # it cannot read into ValueError.
    return (library().HTTPError, OSError, RuntimeError, ValueError)


def _status(error: BaseException) -> int | None:
    while error.__cause__ is not None and getattr(error, "response", None) is None:
        error = error.__cause__
    return getattr(getattr(error, "response", None), "status_code", None)


def _failure(error: Exception, repo: str, left: str) -> ZooError:
    """Says what went wrong with the Hub, and what is there now."""
    status, page = _status(error), f"{endpoint()}/{repo}"
    if status == 401:
        return MissingError(f"the Hub does not accept your login (HTTP 401); {left}", where=endpoint(), fix=_LOGIN)
    if status == 403:
        return MissingError(
            f"your login may not write to {repo} (HTTP 403); {left}", where=page,
            fix=f"name a repository of your own, or be given access: {_LOGIN}",
        )  # fmt: skip
    if status in (409, 412):
        return WeightsError(
            f"the repository {repo} was changed meanwhile (HTTP {status}); {left}", where=page, fix="run it again"
        )
    # Only RuntimeError hides what happened behind the name of a file.
    said = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]
    return WeightsError(
        f"publishing to {repo} failed; {left}", where=page, why=" ".join(lines[:3]) or type(said).__name__,
        fix="run the same command again; what has gone up already is not sent twice",
    )  # fmt: skip
