"""Which cores a measured process runs on: by turns on others, so that a slower core is no property of a case.

Left to itself, a system keeps each of two processes that take turns on the core it ran on before. Where the cores are
not alike (a neighbour on the same silicon, another clock), one artefact then looks some per cent faster than itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def usable(root: Path = Path("/")) -> list[int]:
    """Returns one usable processor of each physical core, in their order; empty where the system has no affinity.

    Args:
        root: Of the file system; another one in tests.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    first: dict[str, int] = {}
    for number in sorted(os.sched_getaffinity(0)):
        path = root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        try:
            siblings = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            siblings = str(number)
        first.setdefault(siblings, number)
    return list(first.values())


def choose(cores: Sequence[int], count: int, turn: int) -> tuple[int, ...] | None:
    """Returns the cores of a turn; None where all are used, or too few are there, so that nothing is to choose.

    Args:
        cores: From :func:`usable`.
        count: How many are needed.
        turn: Number of the turn: the next one begins at the next core.
    """
    if count >= len(cores):
        return None
    return tuple(sorted(cores[(turn + i) % len(cores)] for i in range(count)))


def move_to(cores: Sequence[int]) -> None:
    """Moves every thread of this process to these cores (Linux)."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)
