"""How much memory this program has, as Linux counts it.

Resident memory holds three kinds of pages: anonymous ones, which only the program's end gives back; pages of files that
are mapped, which the system drops and reads again when memory is short; and shared ones. What grows with the data must
not be anonymous.
"""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path


def mib(field: str) -> float:
    """Returns a field of ``/proc/self/status`` in MiB: ``VmHWM``, the most resident memory so far, ``RssAnon`` ..."""
    # Not getrusage: its peak is inherited from the process that started this one.
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return round(int(found[1]) / 1024, 1)


class AnonymousPeak:
    """Watches anonymous memory, which has no high-water mark of the system's, every few milliseconds."""

    def __init__(self) -> None:
        self.mib = mib("RssAnon")
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.mib = max(self.mib, mib("RssAnon"))
            time.sleep(0.002)
