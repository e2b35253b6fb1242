"""Machine counters, read from folders laid out as Linux lays them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zoo.latency.counters import Counters, Gpu, between, held_back, package_joules, read_counters, throttle_count

ZERO = Counters(at=0, busy=0, stolen=0, own=0, cores=2, throttles=0, held=0, joules=0)


def _put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_shares_are_of_the_wanted_and_of_the_whole_time() -> None:
    # Two cores, ten seconds: we ran 8 s, others 2 s, and the hypervisor kept 1 s back.
    after = replace(ZERO, at=10, busy=10, stolen=1, own=8, throttles=3, held=0.5, joules=70.0)
    found = between(ZERO, after)
    assert found.stolen == pytest.approx(1 / 11)
    assert found.foreign == pytest.approx(2 / 20)
    assert (found.throttles, found.held, found.joules) == (3, 0.5, 70.0)


def test_what_cannot_be_read_is_none_and_small_differences_are_not_negative() -> None:
    unknown = Counters(at=0, busy=None, stolen=None, own=0, cores=2, throttles=None, held=None, joules=None)
    found = between(unknown, replace(unknown, at=1))
    assert (found.stolen, found.foreign, found.throttles, found.held, found.joules) == (None,) * 5
    assert between(ZERO, replace(ZERO, at=1, busy=0.99, own=1.0)).foreign == 0
    assert between(replace(ZERO, joules=50.0), replace(ZERO, at=1, joules=1.0)).joules is None  # the counter wrapped
    assert between(ZERO, replace(ZERO, at=1)).stolen == 0


def test_throttle_counters_are_summed(tmp_path: Path) -> None:
    assert throttle_count(tmp_path) is None
    for core, count in ((0, 2), (1, 3)):
        _put(tmp_path, f"sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", f"{count}\n")
    _put(tmp_path, "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "1\n")
    assert throttle_count(tmp_path) == 6


def test_quota_time_of_both_versions(tmp_path: Path) -> None:
    assert held_back(tmp_path) is None
    _put(tmp_path, "proc/self/cgroup", "0::/box\n")
    _put(tmp_path, "sys/fs/cgroup/box/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 1500000\n")
    assert held_back(tmp_path) == 1.5
    _put(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/box\n")
    _put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/box/cpu.stat", "nr_periods 9\nthrottled_time 2500000000\n")
    assert held_back(tmp_path) == 2.5


def test_energy_of_packages_without_their_parts(tmp_path: Path) -> None:
    assert package_joules(tmp_path) is None
    _put(tmp_path, "sys/class/powercap/intel-rapl:0/energy_uj", "3000000\n")
    _put(tmp_path, "sys/class/powercap/intel-rapl:0:0/energy_uj", "1000000\n")
    _put(tmp_path, "sys/class/powercap/intel-rapl:1/energy_uj", "500000\n")
    assert package_joules(tmp_path) == 3.5


def test_this_machine_can_be_read() -> None:
    before = read_counters()
    total = sum(i * i for i in range(200_000))
    after = read_counters()
    assert total
    assert after.own > before.own
    assert after.at > before.at
    assert after.cores >= 1
    found = between(before, after)
    assert found.foreign is None or found.foreign >= 0


class _Nvml:
    """What of pynvml is used."""

    class NVMLError(Exception):
        pass

    def __init__(self, joules: float | None, reasons: int = 0) -> None:
        self._joules, self._reasons = joules, reasons

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        assert handle == "handle"
        if self._joules is None:
            raise self.NVMLError
        return round(self._joules * 1000)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return self._reasons


def test_energy_and_throttling_of_a_gpu() -> None:
    before = read_counters(gpu=Gpu(_Nvml(100.0), "handle"))
    after = read_counters(gpu=Gpu(_Nvml(112.5), "handle"))
    assert between(before, after).gpu_joules == 12.5
    assert not between(replace(before, throttles=0), replace(after, throttles=0)).throttles
    capped = read_counters(gpu=Gpu(_Nvml(113.0, reasons=0x4), "handle"))  # at its power limit: as it has to be
    hot = read_counters(gpu=Gpu(_Nvml(113.0, reasons=0x40), "handle"))
    assert not capped.gpu_slowed and hot.gpu_slowed
    assert between(replace(before, throttles=5), replace(hot, throttles=5)).throttles == 1
    silent = read_counters(gpu=Gpu(_Nvml(None), "handle"))
    assert silent.gpu_joules is None and between(before, silent).gpu_joules is None
    assert read_counters().gpu_joules is None


def test_a_gpu_that_is_not_there_has_no_counters() -> None:
    assert Gpu.of("cuda:99", "torch") is None
