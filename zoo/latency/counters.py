"""What else happened on the machine: time stolen by the hypervisor, time taken by others, throttling, energy."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Counters:
    """Counters of the machine at one moment; None for what this machine does not show.

    Attributes:
        at: Seconds of a monotonic clock.
        busy: Seconds that the usable cores were not idle, together.
        stolen: Seconds that the hypervisor kept the usable cores from running.
        own: Seconds that this process ran, all threads together.
        cores: Usable cores.
        throttles: Times that the processor slowed itself for its heat.
        held: Seconds that the control group's quota held its processes back.
        joules: Energy that the processor packages have used.
        gpu_joules: Energy that the GPU has used.
        gpu_slowed: Whether the GPU runs slower for its heat or its supply at this moment.
    """

    at: float
    busy: float | None
    stolen: float | None
    own: float
    cores: int
    throttles: int | None
    held: float | None
    joules: float | None
    gpu_joules: float | None = None
    gpu_slowed: bool = False


@dataclass(frozen=True)
class Disturbance:
    """What happened between two readings; None for what this machine does not show.

    Attributes:
        stolen: Stolen time over the time that the usable cores wanted to run, 0 to 1.
        foreign: Time that others ran on the usable cores over those cores' whole time, 0 to 1.
        throttles: Times that the processor slowed itself; one more where the GPU did.
        held: Seconds held back by the quota.
        joules: Energy of the processor packages.
        gpu_joules: Energy of the GPU.
    """

    stolen: float | None
    foreign: float | None
    throttles: int | None
    held: float | None
    joules: float | None
    gpu_joules: float | None = None


def usable_processors() -> list[int]:
    """Returns the processors that this process may use at this moment."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def throttle_count(root: Path = Path("/")) -> int | None:
    """Returns how often the processor has throttled (Linux on bare metal), summed over cores; None elsewhere."""
    folder = root / "sys/devices/system/cpu"
    counts = [_number(p) for p in folder.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")]
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def held_back(root: Path = Path("/")) -> float | None:
    """Returns the seconds that the quotas of this process's control group have held it back; None where none counts."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    folders = [root / "sys/fs/cgroup"]
    for line in groups:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            folders.append(root / "sys/fs/cgroup" / group.lstrip("/"))
        elif "cpu" in controllers.split(","):
            folders += [root / "sys/fs/cgroup" / c / group.lstrip("/") for c in ("cpu", controllers)]
    found = []
    for folder in folders:
        try:
            text = (folder / "cpu.stat").read_text(encoding="ascii")
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition(" ")
            if key in ("throttled_usec", "throttled_time") and value.isdigit():  # v2: microseconds, v1: nanoseconds
                found.append(int(value) / (1e6 if key == "throttled_usec" else 1e9))
    return max(found, default=None)


def package_joules(root: Path = Path("/")) -> float | None:
    """Returns the energy counters of the processor packages (RAPL), summed; None where they cannot be read."""
    zones = (root / "sys/class/powercap").glob("intel-rapl:*/energy_uj")
    found = [_number(p) for p in zones if p.parent.name.count(":") == 1]  # a second colon is a part of a package
    known = [f for f in found if f is not None]
    return sum(known) / 1e6 if known else None


# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (nvml.h): HwSlowdown, SwThermalSlowdown, HwThermalSlowdown,
# HwPowerBrakeSlowdown. SwPowerCap is not among them: at full load a GPU is at its power limit as a rule.
_SLOWED = 0x08 | 0x20 | 0x40 | 0x80

_UUIDS = ("GPU-", "MIG-")


def _torch_uuid(device: str) -> str:
    import torch

    uuid = str(torch.cuda.get_device_properties(torch.device(device)).uuid)
    return uuid if uuid.startswith(_UUIDS) else f"GPU-{uuid}"


def _cuda_name(index: int, count: int) -> str:
    """Returns NVML's index, or the UUID, of a GPU among those that ``CUDA_VISIBLE_DEVICES`` leaves.

    Raises:
        LookupError: CUDA and NVML may number the machine's GPUs in different orders: there are several, and
            ``CUDA_DEVICE_ORDER`` is not ``PCI_BUS_ID``.
    """
    if count > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise LookupError("the order of the GPUs is not known")
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[index] if visible else str(index)


class Gpu:
    """The counters of one NVIDIA GPU, by NVML; what cannot be read is None.

    Args:
        nvml: The module ``pynvml``.
        handle: NVML's handle of the GPU.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    @classmethod
    def of(cls, device: str, runtime: str) -> Gpu | None:
        """Returns the GPU that a runtime calls by this name; None for another device, or where NVML cannot tell.

        NVML numbers GPUs in its own way and knows nothing of ``CUDA_VISIBLE_DEVICES``: by its UUID a GPU is the same.
        """
        kind, _, index = device.partition(":")
        if kind not in ("cuda", "tensorrt"):
            return None
        try:
            nvml = import_module("pynvml")
            nvml.nvmlInit()
            name = _torch_uuid(device) if runtime == "torch" else _cuda_name(int(index or 0), nvml.nvmlDeviceGetCount())
            if name.startswith(_UUIDS):
                return cls(nvml, nvml.nvmlDeviceGetHandleByUUID(name))
            return cls(nvml, nvml.nvmlDeviceGetHandleByIndex(int(name)))
        except Exception:  # no package, no library, no driver, no such GPU: each with a class of its own
            return None

    def joules(self) -> float | None:
        """Returns the energy used since the driver was loaded."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3  # millijoules
        except self._nvml.NVMLError:
            return None

    def slowed(self) -> bool:
        """Whether it runs slower at this moment for its heat or its supply."""
        try:
            return bool(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle) & _SLOWED)
        except self._nvml.NVMLError:
            return False


def read_counters(root: Path = Path("/"), gpu: Gpu | None = None, processors: Sequence[int] | None = None) -> Counters:
    """Reads the counters; takes about a tenth of a millisecond, so it belongs outside the timing loop.

    Args:
        root: Of the file system; another one in tests.
        gpu: The GPU that is used.
        processors: Those to look at; None: the ones that this process may use.
    """
    import psutil

    cores = processors or usable_processors()
    try:
        every = psutil.cpu_times(percpu=True)
        times = [every[i] for i in cores]
    except (IndexError, OSError, NotImplementedError):  # cores taken offline, or a system that does not tell
        times = []
    busy = stolen = None
    if times:
        parts = ("user", "nice", "system", "irq", "softirq")
        busy = float(sum(getattr(t, part, 0.0) for t in times for part in parts))
        if hasattr(times[0], "steal"):
            stolen = float(sum(t.steal for t in times))
    return Counters(
        at=time.perf_counter(), busy=busy, stolen=stolen, own=time.process_time(), cores=len(cores),
        throttles=throttle_count(root), held=held_back(root), joules=package_joules(root),
        gpu_joules=gpu.joules() if gpu else None, gpu_slowed=bool(gpu and gpu.slowed()),
    )  # fmt: skip


def between(before: Counters, after: Counters) -> Disturbance:
    """Returns what happened between two readings of one process."""
    seconds = after.at - before.at
    stolen = foreign = None
    if before.busy is not None and after.busy is not None:
        busy = max(0.0, after.busy - before.busy)
        # The kernel counts the cores' time in ticks and this process's exactly: the share may miss 0 to 1 by a little.
        foreign = (busy - (after.own - before.own)) / max(seconds * after.cores, 1e-9)
        foreign = min(1.0, max(0.0, foreign))
        if before.stolen is not None and after.stolen is not None:
            taken = max(0.0, after.stolen - before.stolen)
            stolen = taken / (busy + taken) if busy + taken > 0 else 0.0
    throttles = held = joules = None
    if before.throttles is not None and after.throttles is not None:
        throttles = after.throttles - before.throttles
    if before.held is not None and after.held is not None:
        held = after.held - before.held
    if before.joules is not None and after.joules is not None and after.joules >= before.joules:  # else it has wrapped
        joules = after.joules - before.joules
    if before.gpu_slowed or after.gpu_slowed:
        throttles = (throttles or 0) + 1
    gpu_joules = None
    if before.gpu_joules is not None and after.gpu_joules is not None and after.gpu_joules >= before.gpu_joules:
        gpu_joules = after.gpu_joules - before.gpu_joules
    return Disturbance(
        stolen=stolen, foreign=foreign, throttles=throttles, held=held, joules=joules, gpu_joules=gpu_joules
    )
