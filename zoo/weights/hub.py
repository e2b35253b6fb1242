"""The Hugging Face Hub: addresses, credentials and what its refusals mean.

huggingface_hub gives address and token; the transfer is the zoo's own, because the library starts a broken one again
from zero in the next call.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from zoo.errors import HashMismatchError, LicenseError, WeightsError, ZooError
from zoo.registry.schema import WeightFile, slug
from zoo.registry.sources import HubSource

_LOGIN = "hf auth login (or set HF_TOKEN)"


def endpoint() -> str:
    """Returns the Hub's address: ``HF_ENDPOINT`` as it is now, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def mirror(file: WeightFile, entry: str) -> HubSource | None:
    """Returns the place of a file in the mirror that ``ZOO_HUB_MIRROR`` names, or None.

    The mirror of an owner holds one repository an entry, named like it, with the files at its top under their names in
    the registry. It follows its newest commit: the hash, not the commit, says that the file is the right one.
    """
    owner = os.environ.get("ZOO_HUB_MIRROR")
    return HubSource(f"{owner}/{slug(entry)}", "main", file.name) if owner else None


def credentials() -> dict[str, str]:
    """Returns the request headers of the user's token, when there is one."""
    from huggingface_hub import constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def refusal(response: Any, *, repo: str, revision: str, page: str, path: str = "") -> ZooError | None:
    """Says what a refusal of the Hub means.

    Args:
        response: Its answer, of status 400 or above.
        repo: The repository.
        revision: The commit that was asked for.
        page: Page of the repository, where terms are accepted.
        path: The file that was asked for, if it was one.

    Returns:
        The error, or None where the status says it all.
    """
    code, status = response.headers.get("x-error-code"), response.status_code
    if code == "GatedRepo":
        return LicenseError(
            f"the repository {repo} is gated: its owners ask you to accept their terms first (HTTP {status})",
            where=page,
            fix=f"accept the terms at {page}, then {_LOGIN}",
        )
    if code == "RevisionNotFound":
        return WeightsError(f"the repository {repo} has no commit {revision} (any more)", where=page)
    if code == "EntryNotFound":
        return WeightsError(f"the repository {repo} has no file {path} at commit {revision}", where=page)
    if code == "RepoNotFound" or status == 401:
        return WeightsError(
            f"there is no repository {repo}, or it is private (HTTP {status})",
            where=page,
            fix=f"if you have access to it: {_LOGIN}",
        )
    if status == 403:
        return LicenseError(
            f"access to {repo} is refused (HTTP 403)", where=page, fix=f"use a token that may read {page}: {_LOGIN}"
        )
    return None


def answering_commit(response: Any, revision: str) -> str | None:
    """Returns the commit that an answer is about, where that is not the pinned one; else None."""
    # The Hub answers for large files with a redirect, and its own headers are on that first answer.
    for answer in (*response.history, response):
        commit = answer.headers.get("x-repo-commit")
        if commit and len(revision) == 40 and commit != revision:
            return str(commit)
    return None


@dataclass(frozen=True)
class HubFile:
    """One file of a repository: how to ask for it and how to read the answers."""

    source: HubSource
    file: WeightFile

    @property
    def url(self) -> str:
        """Address of the file."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.source.repo, self.source.path, revision=self.source.revision, endpoint=endpoint())

    @property
    def page(self) -> str:
        """Page of the repository, where terms are accepted."""
        return f"{endpoint()}/{self.source.repo}"

    def headers(self) -> dict[str, str]:
        """Returns the request headers: the user's token, when there is one."""
        return credentials()

    def refused(self, response: Any) -> ZooError | None:
        """Says what a refusal of the Hub means, or None where the status says it all."""
        return refusal(
            response, repo=self.source.repo, revision=self.source.revision, page=self.page, path=self.source.path
        )

    def accepted(self, response: Any) -> None:
        """Checks that the answer is about the pinned commit and the file wanted, before its body is read.

        Raises:
            HashMismatchError: It is about another commit or file.
        """
        if commit := answering_commit(response, self.source.revision):
            raise HashMismatchError(f"the Hub answers with commit {commit}, not the pinned one", where=self.url)
        for answer in (*response.history, response):
            etag = (answer.headers.get("x-linked-etag") or "").removeprefix("W/").strip('"')
            if self.file.sha256 and re.fullmatch(r"[0-9a-f]{64}", etag) and etag != self.file.sha256:
                raise HashMismatchError(
                    f"the Hub has a file with sha256 {etag}, not {self.file.sha256}", where=self.url
                )
