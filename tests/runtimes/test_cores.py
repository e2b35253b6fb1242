"""Cores by affinity and by control group, on made-up file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo._util.cpu import cgroup_quota, usable_cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def make(groups: str, **files: str) -> Path:
        for name, text in {"proc/self/cgroup": groups, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("groups", "files", "quota", "cores"),
    [
        ("0::/\n", {}, None, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, 1),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "400000 100000"}, 4.0, 4),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "300000 100000", "sys/fs/cgroup/a/cpu.max": "max 1"}, 3.0, 3),
        ("4:cpu,cpuacct:/d\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None, 8),
        ("4:cpu,cpuacct:/d\n", {"sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "150000",
                                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000"}, 1.5, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 16.0, 8),
        ("garbage", {"sys/fs/cgroup/cpu.max": "200000 0"}, None, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": ""}, None, 8),
    ],
)  # fmt: skip
def test_quota(machine, groups: str, files: dict[str, str], quota: float | None, cores: int) -> None:
    root = machine(groups, **files)
    assert cgroup_quota(root) == quota
    assert usable_cores(root) == cores


def test_without_proc_or_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path) == 1
