"""Names: the nearest valid one to a mistyped one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def nearest(name: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Returns the valid names closest to ``name``, best first; a name that contains it counts as close."""
    lowered = {k.lower(): k for k in known}
    close = get_close_matches(name.lower(), list(lowered), n=most, cutoff=0.6)
    close += [k for k in lowered if len(name) > 2 and name.lower() in k and k not in close]
    return [lowered[c] for c in close[:most]]
