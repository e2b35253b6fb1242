"""A suite's cases under pytest-benchmark: ``pytest benchmarks/test_latency.py --benchmark-json=latency.json``.

The cases are measured as ``zoo.bench`` measures them (by turns, each in a process of its own); pytest-benchmark is then
given every kept sample, so its tables, its comparisons and its JSON hold the same numbers as the records. The verdict
and the intervals are in ``extra_info``. Records and boards go to ZOO_OUT.

ZOO_SUITE: suite (mobile-like). ZOO_MODEL: models and structures with commas (hog-ridge). ZOO_OUT: folder of the records
(a temporary one).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.latency.case import Case
from zoo.latency.jobs import Jobs
from zoo.latency.run import run_suite
from zoo.latency.suite import choose, load_suite, plan
from zoo.registry import load_registry
from zoo.results.latency_record import LatencyRecord

SUITE = load_suite(os.environ.get("ZOO_SUITE", "mobile-like"))
CHOSEN = choose(SUITE, load_registry(), tuple(os.environ.get("ZOO_MODEL", "hog-ridge").split(",")), None)
CASES = plan(SUITE, CHOSEN)


class Replay:
    """A timer for pytest-benchmark under which each round lasts as long as the next sample."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._time, self._running = 0.0, False

    def load(self, seconds: list[float]) -> None:
        """Takes the samples of the next benchmark."""
        self._samples, self._running = seconds[::-1], False

    def __call__(self) -> float:
        if self._running:
            self._time = self._samples.pop()
        else:
            self._time = 0.0  # each round begins at zero: a sum of samples would round them
        self._running = not self._running
        return self._time


REPLAY = Replay()


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LatencyRecord]:
    """Measures all cases, by turns."""
    out = Path(os.environ.get("ZOO_OUT") or tmp_path_factory.mktemp("latency"))
    jobs = Jobs({e.name: e for e in CHOSEN if not isinstance(e, str)}, load_registry())

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    done = run_suite(SUITE, CASES, jobs.make, out=out, exports=jobs.exports, tell=tell)
    return {d.record.case: d.record for d in done}


@pytest.mark.benchmark(timer=REPLAY)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.title.replace(", ", "-").replace(" ", "-"))
def test_latency(case: Case, records: dict[str, LatencyRecord], benchmark: Any) -> None:
    record = records.get(case.id)
    if record is None:
        pytest.skip("the model has nothing that can be run so")
    benchmark.group = f"{case.scenario.title}, {case.asked.threads} threads, {case.stage}"
    benchmark.extra_info.update(
        valid=record.verdict.valid, reasons=list(record.verdict.reasons), suite=record.suite.ref, run=record.run,
        record=record.file_name,
        percentiles_ms={f"p{p.percent:g}": [p.value, p.low, p.high] for p in record.percentiles},
        images_per_second=record.throughput.model_dump() if record.throughput else None,
    )  # fmt: skip
    if record.samples is None:
        pytest.fail(f"not measured: {'; '.join(record.verdict.reasons)}")
    seconds = record.samples.nanoseconds() / 1e9
    REPLAY.load(seconds.tolist())
    benchmark.pedantic(lambda: None, rounds=len(seconds), iterations=1)
    if benchmark.stats is not None:  # None under --benchmark-disable
        assert np.isclose(benchmark.stats.stats.max, seconds.max())
        assert np.isclose(benchmark.stats.stats.median, np.median(seconds))
