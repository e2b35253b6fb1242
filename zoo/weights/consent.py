"""Consent to a licence: asked for once per user and licence, before the first download under it.

What was accepted is kept as small JSON files under ``<ZOO_HOME>/licences``, with a hash of the terms as they were
shown: terms that have changed are asked about again. Files that are on the machine already are used without asking: who
has them has settled their terms.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from zoo._util.files import content_hash, write_text, zoo_home
from zoo.errors import LicenseError, WeightsError
from zoo.registry.schema import Licence, ModelEntry, slug

log = logging.getLogger("zoo.weights")


def needs_consent(licence: Licence) -> bool:
    """Returns whether a licence has to be accepted first: any that does not plainly allow commercial use."""
    return licence.commercial_use is not True


def has_consented(licence: Licence) -> bool:
    """Returns whether this user has accepted the licence, in the terms that the registry gives now, on this machine."""
    try:
        kept = json.loads(_path(licence).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(kept, dict) and kept.get("terms_hash") == _terms_hash(licence)


def remember_consent(licence: Licence) -> Path:
    """Writes down that the user has accepted the licence today.

    Returns:
        The file.

    Raises:
        WeightsError: The folder cannot be written to.
    """
    path = _path(licence)
    kept = {
        "name": licence.name, "url": licence.url, "terms": _whole(licence), "terms_hash": _terms_hash(licence),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }  # fmt: skip
    try:
        write_text(path, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise WeightsError(
            "your consent cannot be written down", where=str(path), why=error.strerror,
            fix="mend the folder's permissions, or set ZOO_HOME to a folder elsewhere",
        ) from None  # fmt: skip
    return path


def require_consent(entry: ModelEntry, *, refused: bool = False) -> None:
    """Sees to it that nothing of an entry is downloaded before its licence was accepted, where that is needed.

    Args:
        entry: The entry.
        refused: Whether the user has been asked and said no.

    Raises:
        LicenseError: It was not accepted; names the command that does.
    """
    licence = entry.licence
    if not needs_consent(licence) or has_consented(licence):
        return
    raise LicenseError(
        f"the weights of {entry.name} are under {licence.name}, which {'was not' if refused else 'has to be'} accepted"
        + ("" if refused else " first"),
        where=licence.url, why="; ".join(_whole(licence)[1:]),
        fix=f"read the terms; if you accept them: python -m zoo.fetch {entry.selector} accept_license=true",
    )  # fmt: skip


def terms(licence: Licence) -> list[str]:
    """Returns what a user has to know of a licence, in lines: its name, where it stands, and notes."""
    lines = [f"{licence.name}{f', {licence.url}' if licence.url else ''}"]
    return [*lines, licence.note] if licence.note else lines


def commercial(licence: Licence) -> str | None:
    """Returns a line that says so where a licence does not plainly allow commercial use; else None."""
    if licence.commercial_use is True:
        return None
    return f"commercial use is {'not allowed' if licence.commercial_use is False else 'unclear'} ({licence.name})"


def warn(entry: ModelEntry) -> None:
    """Logs a line, once a process, about an entry whose weights are in use and may not be used commercially."""
    if said := commercial(entry.licence):
        _warn_once(f"warning: {entry.name}: {said}")


@cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def _whole(licence: Licence) -> list[str]:
    said = commercial(licence)
    return [*terms(licence), said] if said else terms(licence)


def _terms_hash(licence: Licence) -> str:
    return content_hash(_whole(licence), 32)


def _path(licence: Licence) -> Path:
    name = f"{slug(licence.name)[:60] or 'licence'}-{content_hash([licence.name, licence.url], 8)}.json"
    return zoo_home() / "licences" / name
