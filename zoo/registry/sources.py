r"""Where a weights file can be had, as one line of text each.

| text | meaning |
|---|---|
| ``hf:owner/name@<40 hex>:path`` | a file of a Hub repository at a commit; ``@main`` where only the sha256 is known |
| ``https://host/path`` | a file on a web server |
| ``https://host/path#member=name`` | a member of a zip there: a path, or a name that occurs once |
| ``github:owner/name@<40 hex>:path`` | a file of a git repository at a commit; Git LFS pointers are followed |
| ``package:name==version:path`` | a file inside a pinned wheel, fetched with the user's pip |
| ``gdrive:id`` | a Google Drive file |
| ``builtin:path`` | a file that this package ships, relative to the package |
| ``path:/absolute`` or ``path:relative`` | a file on this machine, relative to the registry file |
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class HubSource:
    """A file of a Hugging Face Hub repository; ``revision`` is a 40-hex commit, or ``main``."""

    repo: str
    revision: str
    path: str


@dataclass(frozen=True)
class UrlSource:
    """A file on a web server, or one member of a zip archive there."""

    url: str
    member: str | None = None


@dataclass(frozen=True)
class GithubSource:
    """A file of a GitHub repository at a commit."""

    repo: str
    commit: str
    path: str


@dataclass(frozen=True)
class PackageSource:
    """A file inside a pinned Python distribution."""

    name: str
    version: str
    path: str


@dataclass(frozen=True)
class DriveSource:
    """A file on Google Drive."""

    id: str


@dataclass(frozen=True)
class BuiltinSource:
    """A file that the package ships."""

    path: str


@dataclass(frozen=True)
class PathSource:
    """A file on this machine."""

    path: str


Source = HubSource | UrlSource | GithubSource | PackageSource | DriveSource | BuiltinSource | PathSource

_REPO = r"[\w.-]+/[\w.-]+"
# A path inside a repository, archive or package: never absolute, never upwards.
_PATH = r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\s#?]+"
_FORMS: tuple[tuple[re.Pattern[str], type[Source]], ...] = (
    (re.compile(rf"hf:(?P<repo>{_REPO})@(?P<revision>[0-9a-f]{{40}}|main):(?P<path>{_PATH})"), HubSource),
    (re.compile(rf"(?P<url>https?://[^\s#]+)(?:#member=(?P<member>{_PATH}))?"), UrlSource),
    (re.compile(rf"github:(?P<repo>{_REPO})@(?P<commit>[0-9a-f]{{40}}):(?P<path>{_PATH})"), GithubSource),
    (re.compile(rf"package:(?P<name>[\w.-]+)==(?P<version>[\w.!+-]+):(?P<path>{_PATH})"), PackageSource),
    (re.compile(r"gdrive:(?P<id>[\w-]{10,})"), DriveSource),
    (re.compile(rf"builtin:(?P<path>{_PATH})"), BuiltinSource),
    (re.compile(r"path:(?P<path>\S.*)"), PathSource),
)


def parse_source(text: str) -> Source:
    """Reads one source line.

    Raises:
        ValueError: It has none of the forms above (a Hub or git source without a 40-hex commit included).
    """
    for pattern, kind in _FORMS:
        if match := pattern.fullmatch(text):
            return kind(**match.groupdict())
    raise ValueError(
        f"{text!r} is not a source; write hf:owner/name@<40-hex commit>:path, github:owner/name@<40-hex commit>:path, "
        "https://...[#member=name], package:name==version:path, gdrive:id, builtin:path or path:/file"
    )
