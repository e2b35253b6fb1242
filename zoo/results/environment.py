"""The machine and the software that a measurement was made on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from zoo._util.cpu import cgroup_quota, usable_cores
from zoo._version import __version__
from zoo.results.record import Code, Environment

# Instruction sets that decide which kernels the runtimes choose.
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")
_PACKAGES = (
    "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "timm", "onnx", "pillow", "av", "pandas", "pyarrow",
    "huggingface_hub",
)  # fmt: skip


def timestamp() -> str:
    """Returns the time at which a record is made, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cpu() -> tuple[str, tuple[str, ...]]:
    name, flags = platform.processor() or platform.machine(), set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    return name, tuple(f for f in _FLAGS if f in flags)


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else None


def _gpu() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def capture_environment() -> Environment:
    """Describes this machine, once a process."""
    import psutil

    cpu, flags = _cpu()
    return Environment(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=cpu,
        cpu_flags=flags,
        cores_machine=os.cpu_count() or 1,
        cores_usable=usable_cores(),
        quota=cgroup_quota(),
        governor=_governor(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=_gpu(),
        python=platform.python_version(),
        packages=_versions(),
    )


@lru_cache(maxsize=1)
def capture_code() -> Code:
    """Describes the zoo's own state: its version, and the commit when it runs from a git checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # A package installed inside somebody else's repository must not report that repository's commit.
    top = git("rev-parse", "--show-toplevel") if (root / "registry.yaml").exists() else None
    if top is None or Path(top).resolve() != root:
        return Code(version=__version__, commit=None, dirty=None)
    changed = git("status", "--porcelain", "-uno")
    # Not to know whether something was changed is not to know that nothing was.
    dirty = None if changed is None else bool(changed)
    return Code(version=__version__, commit=git("rev-parse", "HEAD"), dirty=dirty)


def peak_rss_mib() -> float:
    """Returns the largest resident memory of this process so far, in MiB."""
    if sys.platform == "win32":
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
