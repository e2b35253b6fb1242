"""A model that computes nothing, and clocks and processes that do as they are told."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zoo.latency.case import Case, Job
from zoo.latency.clock import Clock
from zoo.results.latency_record import Asked, ModelTimed, Scenario
from zoo.runtimes.base import SessionInfo, Tensors

FAKE = "tests.latency.fakes:open_fake"


class FakeClock:
    """Time passes only when something is called or slept."""

    def __init__(self) -> None:
        self.time = 0
        self.slept: list[float] = []

    def now(self) -> int:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += round(seconds * 1e9)

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep)


class FakeSession:
    """Takes the durations given, in turn, on a fake clock, and remembers its inputs."""

    def __init__(self, clock: FakeClock, durations: Iterable[int]) -> None:
        self.clock, self.durations = clock, list(durations)
        self.seen: list[Any] = []

    def infer(self, batch: Any) -> Any:
        self.clock.time += self.durations[len(self.seen) % len(self.durations)]
        self.seen.append(batch)
        return {"output": batch}

    def stream(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        for key, batch in batches:
            yield key, self.infer(batch)


def room(n: int = 10_000) -> array[int]:
    return array("q", bytes(8 * n))


class FakeWorkload:
    """Burns a little processor time; misbehaves as the model's name says."""

    def __init__(self, job: Job) -> None:
        self.case = job.case
        asked = job.case.asked
        self.info = SessionInfo(
            runtime=asked.runtime, version="0", device=asked.device, precision=asked.precision, threads=asked.threads,
            streams=asked.streams,
        )  # fmt: skip
        self.about = ModelTimed(
            name=job.case.model, weights=job.case.weights, architecture="fake", input=(4, 4, 3), size=10
        )
        self.making = 0.0
        self.calls = 0
        self.name = job.case.model

    def pool(self) -> list[Any]:
        return [np.full((self.case.scenario.batch, 4, 4, 3), i, np.uint8) for i in range(4)]

    def infer(self, query: Any) -> Any:
        self.calls += 1
        if self.name == "crashes-later" and self.calls > 30:
            os.kill(os.getpid(), 9)
        if self.name == "raises-later" and self.calls > 30:
            raise RuntimeError("std::bad_alloc")
        if self.name == "hangs-later" and self.calls > 30:
            time.sleep(600)
        time.sleep(0.002)
        return None

    def stream(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        for key, batch in batches:
            yield key, self.infer(batch)

    def outputs(self, crops: Any) -> Tensors:
        values = crops.reshape(len(crops), -1)[:, :5].astype(np.float32)
        if self.name == "wrong" and self.info.runtime != "torch":
            values = values + 100
        return {"output": values}

    def decisions(self, tensors: Tensors) -> dict[str, Any]:
        return {}

    def stages(self) -> dict[str, float] | None:
        return None

    def verify(self) -> None:
        pass

    def peak_memory(self) -> int | None:
        return 3 << 20 if self.case.asked.device != "cpu" else None

    def close(self) -> None:
        pass


def open_fake(job: Job) -> FakeWorkload:
    print("a library that prints to stdout")  # what the protocol has to survive
    name = job.case.model
    if name == "dies":
        os.kill(os.getpid(), 9)
    if name == "exits":
        os._exit(3)
    if name == "large-batch" and job.case.scenario.batch >= 512:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: 77 GB")
    if name == "out-of-memory":
        raise MemoryError("64 GB")
    if name == "no-gpu" and job.case.asked.runtime != "torch":
        from zoo.errors import RuntimeUnavailableError

        raise RuntimeUnavailableError("there is no device 'cuda:0' here", why="it has cpu")
    return FakeWorkload(job)


def make_case(model: str = "fine", runtime: Any = "onnxruntime", scenario: Any = "SingleStream", **change: Any) -> Case:
    batch = {"MultiStream": 8, "Offline": 4}.get(scenario, 1) if isinstance(scenario, str) else scenario.batch
    fields: dict[str, Any] = {
        "model": model, "weights": "random", "asked": Asked(runtime=runtime, threads=1),
    }  # fmt: skip
    if isinstance(scenario, str):
        scenario = Scenario(name=scenario, batch=batch, fps=30.0 if scenario == "Video" else None)
    fields["scenario"] = scenario
    return Case(**{**fields, **change})


def make_job(case: Case) -> Job:
    return Job(case=case, opener=FAKE)
