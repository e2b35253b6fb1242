"""Large pages under a measured process, so that where its memory happens to lie is no property of a case.

With pages of 4 KiB, each process draws anew which of them share a set of the second-level cache. Two processes of one
artefact then differ by some per cent for as long as they live, and no interval within one process shows it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

_COLLAPSE = 25
"""``MADV_COLLAPSE`` of Linux 6.1 and later (``include/uapi/asm-generic/mman-common.h``)."""
_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 *(\[heap\])?$")


def large_page(root: Path = Path("/")) -> int | None:
    """Returns the bytes of a transparent large page; None where the system has none.

    Args:
        root: Of the file system; another one in tests.
    """
    try:
        text = (root / "sys/kernel/mm/transparent_hugepage/hpage_pmd_size").read_text(encoding="ascii")
        return int(text)
    except (OSError, ValueError):
        return None


def spans(maps: str, size: int) -> Iterator[tuple[int, int]]:
    """Yields (address, bytes) of the whole large pages in the anonymous memory of a process.

    Args:
        maps: Text of ``/proc/self/maps``.
        size: Bytes of a large page.
    """
    for line in maps.splitlines():
        if found := _LINE.match(line):
            begin = -(-int(found[1], 16) // size) * size
            end = int(found[2], 16) // size * size
            if end > begin:
                yield begin, end - begin


def use_large_pages() -> float | None:
    """Moves this process's anonymous memory to large pages, as far as the system can.

    Returns:
        Share of the anonymous memory that lies on large pages then, in 0..1; None where that cannot be told.
    """
    size = large_page()
    if size is None:
        return None
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, length in spans(Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace"), size):
        for at in range(begin, begin + length, size):  # a page that cannot be moved must not keep the others
            advise(at, size, _COLLAPSE)
    return share()


def share(root: Path = Path("/")) -> float | None:
    """Returns the share of this process's anonymous memory that lies on large pages; None where that cannot be told."""
    try:
        text = (root / "proc/self/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    found = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}
    whole = found.get("Anonymous", 0)
    return found.get("AnonHugePages", 0) / whole if whole else None
