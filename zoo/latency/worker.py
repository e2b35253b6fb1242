"""The process that measures one case: ``python -m zoo.latency.worker``, spoken to in JSON lines.

| message | answer |
|---|---|
| ``{"do": "load", "job": ...}`` | imports the libraries that the job needs |
| ``{"do": "open", "job": ..., "limits": ..., "golden": path, "reference": name}`` | start, what runs, parity |
| ``{"do": "slice", "seconds": s, "least": n, "round": k}`` | durations, on which cores, and what the machine did |
| ``{"do": "reference", "job": ..., "golden": path}`` | writes golden crops and their outputs |
| ``{"do": "prepare", "job": ...}`` | opens and closes, so that what is made once (an export) is there |
| ``{"do": "close"}`` | peak memory; the process ends |

An answer with the key ``error`` is a failure; the process stays. Whatever a library prints goes to stderr.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.latency import cores
from zoo.latency.case import Job
from zoo.latency.clock import preallocate
from zoo.latency.counters import Gpu, between, read_counters, usable_processors
from zoo.latency.large_pages import use_large_pages
from zoo.latency.parity import ParityLimits, check_parity, golden_crops, load_golden, save_golden
from zoo.latency.scenarios import run_slice, settle, warm_up
from zoo.latency.workloads import Workload, count_flops, open_workload

ROOM = 1 << 17
"""Samples of one slice at most."""

Message = dict[str, Any]


def peak_rss_mib() -> float | None:
    """Returns this process's peak resident memory in MiB.

    Linux keeps the parent's peak in ``getrusage`` across ``exec``, so the figure is read from ``/proc`` there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    from zoo.results.environment import peak_rss_mib as portable

    return portable()


class Measurement:
    """One opened case."""

    def __init__(self, message: Message) -> None:
        job = Job.model_validate(message["job"])
        self.case = job.case
        _load(job)  # loading a library is not loading a model
        self.room = preallocate(ROOM)
        start = time.perf_counter()
        self.workload: Workload = open_workload(job)
        loaded = time.perf_counter()
        self.pool = self.workload.pool()
        self.position = 0
        self.processors, self.cores = usable_processors(), cores.usable()
        before = time.perf_counter()
        self.workload.infer(self.pool[0])  # the first of the process, but for what a compiled module has to run
        first = time.perf_counter() - before
        self.workload.verify()
        self.gpu = Gpu.of(self.workload.info.device, self.case.asked.runtime)
        parity = self._parity(message)
        on_cpu = self.workload.info.device == "cpu"
        large = use_large_pages() if on_cpu and message.get("large_pages") else None
        warm = warm_up(
            self.workload.infer, self.pool, self.room,
            least=1, window=message.get("window", 0.2), most=message.get("warm_up", 10.0),
        )  # fmt: skip
        self.last = warm.seconds / warm.queries
        gc.collect()
        gc.freeze()  # what start-up made is not looked through again while queries are timed
        info = self.workload.info
        self.opened = {
            "startup": {
                "load_ms": (loaded - start - self.workload.making) * 1e3, "first_ms": first * 1e3,
                "warm_up_queries": warm.queries, "warm_up_seconds": warm.seconds, "stable": warm.stable,
                "large_pages": large,
            },
            "runtime": {
                "runtime": info.runtime, "version": info.version, "device": info.device, "precision": info.precision,
                "threads": info.threads, "streams": info.streams, "provider": info.provider,
                "batch": self.case.scenario.batch, "variant": info.variant, "mode": info.mode,
            },
            "batching": info.batching,
            "about": self.workload.about.model_dump(mode="json"),
            "parity": parity,
        }  # fmt: skip

    def _parity(self, message: Message) -> Message | None:
        if not message.get("golden"):
            return None
        crops, reference = load_golden(Path(message["golden"]))
        found = check_parity(
            self.workload.outputs, self.workload.decisions, crops, reference, batch=self.case.scenario.batch,
            precision=self.case.asked.precision, limits=ParityLimits.model_validate(message.get("limits", {})),
            name=message["reference"], seed=self.case.seed,
        )  # fmt: skip
        return found.model_dump(mode="json")

    def take(self, message: Message) -> Message:
        """Runs one slice."""
        seconds = float(message["seconds"])
        info, chosen = self.workload.info, None
        if info.device == "cpu":  # a GPU's driver has threads of its own
            chosen = cores.choose(self.cores, info.threads * info.streams, int(message["round"]))
        if chosen:
            cores.move_to(chosen)
        if self.last < max(seconds, 1.0) / 2:  # of a query longer than that, the start is nothing
            settle(self.workload.infer, self.pool, seconds=seconds / 20)
        before = read_counters(gpu=self.gpu, processors=self.processors)
        taken = run_slice(
            self.case.scenario, self.workload, self.pool, self.room, seconds=seconds, least=int(message["least"]),
            streams=info.streams, position=self.position,
        )  # fmt: skip
        after = read_counters(gpu=self.gpu, processors=self.processors)
        self.position = taken.position
        self.last = taken.nanoseconds / taken.queries / 1e9
        happened = between(before, after)
        return {
            "samples": base64.b64encode(self.room[: taken.queries].tobytes()).decode(),
            "cores": chosen, "queries": taken.queries, "images": taken.images, "nanoseconds": taken.nanoseconds,
            "arrived": taken.arrived, "dropped": taken.dropped,
            "stolen": happened.stolen, "foreign": happened.foreign, "throttles": happened.throttles,
            "held": happened.held, "joules": happened.joules, "gpu_joules": happened.gpu_joules,
        }  # fmt: skip

    def end(self) -> Message:
        """Frees the model; returns what can be said only now."""
        stages, memory = self.workload.stages(), self.workload.peak_memory()
        self.workload.close()
        return {
            "peak_rss_mib": peak_rss_mib(), "peak_gpu_mib": None if memory is None else round(memory / 2**20, 1),
            "stages": stages,
        }  # fmt: skip


def _load(job: Job) -> None:
    asked = job.case.asked
    for module in ("zoo.runtimes", asked.runtime):
        with suppress(ImportError):
            import_module(module)
    if asked.runtime == "torch" and job.case.weights == "random":
        from zoo.latency.structures import load_libraries

        load_libraries()


def _reference(message: Message) -> Message:
    workload = open_workload(Job.model_validate(message["job"]))
    try:
        crops = golden_crops(tuple(workload.about.input))
        parts = [workload.outputs(crops[i : i + 1]) for i in range(len(crops))]
        tensors = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        if workload.info.runtime == "torch":
            workload.about = workload.about.model_copy(update={"flops": count_flops(workload, crops[:1])})
        save_golden(Path(message["golden"]), crops, tensors)
        info = workload.info
        name = f"{info.runtime} {info.version} {info.precision}"
        return {"name": name, "about": workload.about.model_dump(mode="json")}
    finally:
        workload.close()


def _prepare(message: Message) -> Message:
    workload = open_workload(Job.model_validate(message["job"]))
    workload.pool()
    workload.close()
    return {}


def _failure(error: BaseException) -> Message:
    if isinstance(error, ZooError):
        return {"error": error.what, "why": error.why, "kind": type(error).__name__}
    text = " ".join(str(error).split())
    # The runtimes report an allocation that failed in their own words.
    words = ("bad_alloc", "bad allocation", "out of memory", "failed to allocate", "can't allocate", "cannot allocate",
             "not enough memory")  # fmt: skip
    if isinstance(error, MemoryError) or any(w in text.lower() for w in words):
        return {"error": "out of memory", "why": text[:300] or None, "kind": type(error).__name__}
    return {"error": f"{type(error).__name__}: {text[:300]}", "why": None, "kind": type(error).__name__}


def main() -> int:
    """Answers messages until told to close or until nobody is there to ask."""
    with suppress(OSError):  # where memory runs out, this process is the one to go, not the suite
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    measurement: Measurement | None = None
    for line in sys.stdin:
        message = json.loads(line)
        answer: Message
        try:
            match message["do"]:
                case "load":
                    _load(Job.model_validate(message["job"]))
                    answer = {}
                case "open":
                    measurement = Measurement(message)
                    answer = measurement.opened
                case "slice":
                    assert measurement is not None
                    answer = measurement.take(message)
                case "reference":
                    answer = _reference(message)
                case "prepare":
                    answer = _prepare(message)
                case "close":
                    answer = measurement.end() if measurement else {}
                case other:
                    raise ValueError(f"unknown message '{other}'")
        except Exception as error:
            answer = _failure(error)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if message["do"] == "close":
            break
    answers.flush()
    # Some runtimes crash while the interpreter takes them down; everything has been said by now.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
