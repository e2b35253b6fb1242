"""A measured process moves its memory to large pages; what is no whole large page of anonymous memory is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.latency import large_pages

MIB = 1 << 20
MAPS = """\
00400000-00a00000 r-xp 00000000 fd:00 123 /usr/bin/python3
10100000-10b00000 rw-p 00000000 00:00 0                                  [heap]
20000000-20100000 rw-p 00000000 00:00 0 
30000000-30400000 rw-p 00000000 00:00 0 
40000000-40800000 rw-s 00000000 00:01 9 /dev/zero (deleted)
50000000-50800000 rw-p 00000000 fd:00 77 /tmp/weights
60000000-60800000 rw-p 00000000 00:00 0                                  [stack]
"""  # noqa: W291 - the kernel ends the lines of nameless mappings so


def test_only_whole_large_pages_of_private_anonymous_memory() -> None:
    assert list(large_pages.spans(MAPS, 2 * MIB)) == [(0x10200000, 8 * MIB), (0x30000000, 4 * MIB)]


def test_the_size_of_a_large_page_is_the_systems(tmp_path: Path) -> None:
    assert large_pages.large_page(tmp_path) is None
    folder = tmp_path / "sys/kernel/mm/transparent_hugepage"
    folder.mkdir(parents=True)
    (folder / "hpage_pmd_size").write_text("2097152\n")
    assert large_pages.large_page(tmp_path) == 2 * MIB


def test_the_share_is_read_back(tmp_path: Path) -> None:
    assert large_pages.share(tmp_path) is None
    folder = tmp_path / "proc/self"
    folder.mkdir(parents=True)
    rollup = folder / "smaps_rollup"
    rollup.write_text("00400000-7fff [rollup]\nAnonymous:        4096 kB\nAnonHugePages:    1024 kB\n")
    assert large_pages.share(tmp_path) == 0.25
    rollup.write_text("Anonymous:        0 kB\n")
    assert large_pages.share(tmp_path) is None


def test_without_large_pages_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "large_page", lambda: None)
    assert large_pages.use_large_pages() is None


def test_memory_is_moved_and_keeps_its_content() -> None:
    code = (
        "import json, numpy as np\n"
        "from zoo.latency import large_pages\n"
        "room = np.arange(8 << 20, dtype=np.int64)\n"
        "before, after = large_pages.share(), large_pages.use_large_pages()\n"
        "kept = int(room.sum()) == (8 << 20) * ((8 << 20) - 1) // 2\n"
        "print(json.dumps([large_pages.large_page(), before, after, kept]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, before, after, whole = json.loads(done.stdout)
    assert whole
    if size is None or before is None:  # not Linux, or a kernel without large pages
        assert after is None
    else:
        assert 0 <= before <= after <= 1
