"""How many processor cores this process may really use."""

from __future__ import annotations

import os
from pathlib import Path


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _folders(mount: Path, group: str) -> list[Path]:
    """A control group's folder and its parents, innermost first; a container sees its own group as the mount."""
    folders = [mount]
    for part in Path(group.lstrip("/")).parts:
        folders.append(folders[-1] / part)
    return folders[::-1]


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Returns the processor quota of this process's control group, in cores, or None where there is none.

    Both versions are read (``cpu.max``; ``cpu.cfs_quota_us`` over ``cpu.cfs_period_us``); of a group and its parents
    the tightest quota counts.

    Args:
        root: The file system's root; another one in tests.
    """
    quotas = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            for folder in _folders(root / "sys/fs/cgroup", group):
                quota, _, period = (_read(folder / "cpu.max") or "max").partition(" ")
                if quota.isdigit() and period.isdigit() and int(period) > 0:
                    quotas.append(int(quota) / int(period))
        elif "cpu" in controllers.split(","):
            mounts = (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct")
            for folder in (f for mount in mounts for f in _folders(mount, group)):
                quota, period = _read(folder / "cpu.cfs_quota_us") or "", _read(folder / "cpu.cfs_period_us") or ""
                if quota.isdigit() and period.isdigit() and int(period) > 0:  # -1: no quota
                    quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def usable_cores(root: Path = Path("/")) -> int:
    """Returns the cores that this process may keep busy: its affinity mask, cut to its control group's quota.

    A quota of 1.5 cores counts as 1: a second thread would be held back for a part of every period, and the first one
    with it. Runtimes that look only at the machine start a thread per core of the host and get slower for it.

    Args:
        root: The file system's root; another one in tests.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows have none
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cgroup_quota(root)
    return max(1, cores if quota is None else min(cores, int(quota)))
