"""Consent to a licence: asked for once per user and licence, before the first download under it.

What was accepted is kept as small JSON files under ``<ZOO_HOME>/licences``. Files that are on the machine already are
used without asking: who has them has settled their terms.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from zoo._util.files import content_hash, write_text, zoo_home
from zoo.errors import WeightsError
from zoo.registry.schema import Licence, slug


def needs_consent(licence: Licence) -> bool:
    """Returns whether a licence has to be accepted first: any that does not plainly allow commercial use."""
    return licence.commercial_use is not True


def has_consented(licence: Licence) -> bool:
    """Returns whether this user has accepted the licence, by its name and address, on this machine."""
    try:
        kept = json.loads(_path(licence).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(kept, dict) and (kept.get("name"), kept.get("url")) == (licence.name, licence.url)


def remember_consent(licence: Licence) -> Path:
    """Writes down that the user has accepted the licence today.

    Returns:
        The file.

    Raises:
        WeightsError: The folder cannot be written to.
    """
    path = _path(licence)
    kept = {"name": licence.name, "url": licence.url, "date": datetime.now(UTC).strftime("%Y-%m-%d")}
    try:
        write_text(path, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise WeightsError(
            "your consent cannot be written down", where=str(path), why=error.strerror,
            fix="mend the folder's permissions, or set ZOO_HOME to a folder elsewhere",
        ) from None  # fmt: skip
    return path


def terms(licence: Licence) -> list[str]:
    """Returns what a user has to know of a licence, in lines: its name, where it stands, notes, and a warning."""
    lines = [f"{licence.name}{f', {licence.url}' if licence.url else ''}"]
    if licence.note:
        lines.append(licence.note)
    if licence.commercial_use is not True:
        how = "is not allowed" if licence.commercial_use is False else "is unclear"
        lines.append(f"warning: commercial use {how}")
    return lines


def _path(licence: Licence) -> Path:
    name = f"{slug(licence.name)[:60] or 'licence'}-{content_hash([licence.name, licence.url], 8)}.json"
    return zoo_home() / "licences" / name
