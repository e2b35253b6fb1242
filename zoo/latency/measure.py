"""Cases measured by turns, each in a process of its own: what is asked of the processes, and what they answered."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.latency.case import Job
from zoo.latency.counters import Disturbance
from zoo.latency.processes import Worker, WorkerError
from zoo.latency.statistics import throughput
from zoo.latency.suite import Measure, SuiteFile
from zoo.latency.verdict import Limits, disturbed, unsettled
from zoo.results.latency_record import SliceTaken
from zoo.results.record import Estimate

OPEN_SECONDS = 600.0
"""A case that is not open by then has failed; an export from torch is part of the first opening."""

StartWorker = Callable[[int], Worker]


def durations(answer: Mapping[str, Any]) -> NDArray[np.int64]:
    """Returns the durations of the queries of a slice, in nanoseconds, from the answer of its process."""
    return np.frombuffer(base64.b64decode(answer["samples"]), np.int64)


@dataclass
class Measured:
    """A case while it is measured.

    Attributes:
        job: What it is.
        golden: Golden crops and outputs; None where there is no reference.
        reference: Name of the reference.
        worker: Its process; None when it could not be started or has ended.
        opened: Answer of the process when it opened.
        ended: Answer of the process when it closed.
        slices: All slices.
        answers: Answers of the slices, kept or not.
        failures: What went wrong.
        parity_missing: Why there is no comparison.
    """

    job: Job
    golden: Path | None = None
    reference: str | None = None
    worker: Worker | None = None
    opened: dict[str, Any] | None = None
    ended: dict[str, Any] | None = None
    slices: list[SliceTaken] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    parity_missing: str | None = None

    @property
    def kept(self) -> list[SliceTaken]:
        """Slices that count."""
        return [s for s in self.slices if s.kept]

    @property
    def kept_answers(self) -> list[dict[str, Any]]:
        """The answers of the slices that count, in their order."""
        return [a for a, s in zip(self.answers, self.slices, strict=True) if s.kept]

    def fail(self, error: WorkerError) -> None:
        """Notes a failure; the process is gone."""
        self.failures.append(error.what + (f" ({error.why})" if error.why else ""))
        self.worker = None

    def throughput(self) -> Estimate | None:
        """Returns images a second; None before the first turn that counts."""
        kept = self.kept
        return throughput([s.images for s in kept], [s.seconds for s in kept]) if kept else None

    def rate(self) -> Estimate | None:
        """Returns images a second, where that is the scenario's figure."""
        return self.throughput() if self.job.case.scenario.name == "Offline" else None

    def samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the kept durations in nanoseconds and the round of each."""
        if not (kept := self.kept):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        parts = [durations(a) for a in self.kept_answers]
        rounds = [np.full(len(p), s.round) for p, s in zip(parts, kept, strict=True)]
        return np.concatenate(parts), np.concatenate(rounds)


def _finished(case: Measured, measure: Measure, limits: Limits) -> bool:
    if case.worker is None:
        return True
    kept = case.kept
    enough = (
        sum(s.queries for s in kept) >= measure.least(case.job.case.scenario)
        and sum(s.seconds for s in kept) >= measure.seconds
        and len(kept) >= measure.rounds
    )
    again = len(case.slices) - len(kept)
    hopeless = len(case.slices) >= 4 * measure.rounds and again / len(case.slices) > limits.disturbed
    if hopeless or sum(s.seconds for s in case.slices) >= measure.most:
        return True
    return enough and (
        sum(s.seconds for s in kept) >= measure.settle * measure.seconds
        or not unsettled(*case.samples(), case.rate(), limits)
    )


def _load(cases: Sequence[Measured], start: StartWorker) -> None:
    """Starts the processes; they import their libraries side by side, before the first of them is timed."""
    for case in cases:
        try:
            case.worker = start(case.job.case.asked.threads)
            case.worker.send({"do": "load", "job": case.job.model_dump(mode="json")})
        except WorkerError as error:
            case.fail(error)
    for case in cases:
        if case.worker is not None:
            try:
                case.worker.receive(OPEN_SECONDS)
            except WorkerError as error:
                case.fail(error)


def _open(case: Measured, suite: SuiteFile) -> None:
    if case.worker is None:
        return
    try:
        case.opened = case.worker.ask(
            {
                "do": "open", "job": case.job.model_dump(mode="json"), "warm_up": suite.measure.warm_up,
                "large_pages": suite.measure.large_pages,
                "limits": suite.parity.model_dump(mode="json"), "reference": case.reference,
                "golden": str(case.golden) if case.golden else None,
            },
            OPEN_SECONDS,
        )  # fmt: skip
    except WorkerError as error:
        case.fail(error)


def _take(case: Measured, number: int, suite: SuiteFile) -> None:
    assert case.worker is not None and case.opened is not None
    measure, scenario = suite.measure, case.job.case.scenario
    seconds, least = measure.slice, 1
    if measure.images is not None:
        seconds, least = 0.0, math.ceil(measure.images / scenario.batch)
    first = float(case.opened["startup"]["first_ms"]) / 1e3
    try:
        answer = case.worker.ask(
            {"do": "slice", "seconds": seconds, "least": least, "round": number},
            60 + 10 * (seconds + (least + 2) * first),
        )
    except WorkerError as error:
        case.fail(error)
        return
    happened = Disturbance(
        answer["stolen"], answer["foreign"], answer["throttles"], answer["held"], answer["joules"],
        answer.get("gpu_joules"),
    )  # fmt: skip
    case.answers.append(answer)
    taken = SliceTaken(
        round=number, kept=not disturbed(happened, suite.limits), queries=answer["queries"],
        images=answer["images"], seconds=answer["nanoseconds"] / 1e9,
        median_ms=float(np.median(durations(answer))) / 1e6,
        stolen=_rounded(happened.stolen), foreign=_rounded(happened.foreign), throttles=happened.throttles,
        joules=happened.joules, gpu_joules=happened.gpu_joules, cores=answer["cores"],
    )  # fmt: skip
    case.slices.append(taken)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def measure_group(
    cases: Sequence[Measured],
    suite: SuiteFile,
    *,
    start: StartWorker = Worker,
    seed: int = 0,
    step: Callable[[], None] = lambda: None,
) -> None:
    """Measures cases by turns, in a new random order each round, and ends their processes whatever happens.

    Args:
        cases: Filled in.
        suite: How long, and what is allowed.
        start: Makes a process for a number of threads.
        seed: Of the orders.
        step: Called after each turn.
    """
    rng = np.random.default_rng(seed)
    try:
        _load(cases, start)
        for case in cases:
            _open(case, suite)
            step()
        number = 0
        while left := [c for c in cases if not _finished(c, suite.measure, suite.limits)]:
            for i in rng.permutation(len(left)):
                _take(left[i], number, suite)
                step()
            number += 1
        for case in cases:
            if case.worker is not None:
                with suppress(WorkerError):  # the figures are there; what is lost is the peak memory
                    case.ended = case.worker.close()
    finally:
        for case in cases:
            if case.worker is not None:
                case.worker.kill()
