"""A whole suite on models that do nothing: records, failures among successes, interruption and going on."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.latency.fakes import make_case, make_job
from zoo.errors import RuntimeUnavailableError
from zoo.latency.case import Case, Job
from zoo.latency.measure import Measured, _finished
from zoo.latency.processes import Worker, WorkerError
from zoo.latency.ready import References, Starting, make_ready
from zoo.latency.run import run_suite
from zoo.latency.suite import Measure, RuntimeRow, SuiteFile
from zoo.latency.verdict import Limits
from zoo.results import read_latency_records, read_records
from zoo.results.latency_record import Baseline, LatencyRecord, Scenario, SliceTaken

Start = Callable[[int], Worker]


def make_suite(**change: Any) -> SuiteFile:
    fields: dict[str, Any] = {
        "name": "fake", "version": 1, "title": "A suite of nothing", "structures": ("resnet18",),
        "runtimes": (RuntimeRow(runtime="onnxruntime"),), "scenarios": (Scenario(name="SingleStream"),),
        "baseline": Baseline(runtime="torch"),
        "measure": Measure(seconds=0.2, slice=0.05, rounds=4, most=5, queries={"SingleStream": 20}, warm_up=0.5),
        # What else runs beside the tests is not what is tested.
        "limits": Limits(stolen=1, foreign=1, drift=10, width=10),
    }  # fmt: skip
    return SuiteFile(**{**fields, **change})


def _run(cases: list[Case], out: Path, start: Start, **options: Any) -> list[LatencyRecord]:
    make = options.pop("make", make_job)
    done = run_suite(options.pop("suite", make_suite()), cases, make, out=out, start=start, **options)
    return [d.record for d in done]


def test_two_models_take_turns_and_get_valid_records(tmp_path: Path, start: Start) -> None:
    cases = [make_case("fine"), make_case("also-fine"), make_case("fine", runtime="torch")]
    records = _run(cases, tmp_path, start)
    assert [r.model.name for r in records] == ["fine", "also-fine", "fine"]
    for record in records:
        # On a busy machine these two may be true; nothing else may.
        assert set(record.verdict.reasons) <= {
            "the warm-up did not become stable", "too few slices for an interval of the median"
        }  # fmt: skip
        assert record.verdict.valid == (not record.verdict.reasons)
        assert record.samples is not None
        assert record.samples.count == sum(s.queries for s in record.slices) >= 20
        assert len(record.slices) >= 4
        p50, p99 = record.percentile(50), record.percentile(99)
        assert p50 is not None and p99 is not None and p50.value is not None and p99.value is not None
        assert 2 <= p50.value <= p99.value
        assert record.percentile(42) is None
        assert record.parity is not None and record.parity.passed
        assert record.parity.reference == "torch 0 fp32"
        assert record.throughput is not None and record.throughput.value is not None
        assert record.peak_rss_mib is not None
        assert record.folder == (f"{record.model.name}+random", "fake@1")
    assert len({r.run for r in records}) == 1
    # Three models of one thread count and scenario: one group, the same rounds.
    assert {r.group for r in records} == {0}
    assert sorted(r.case for _, r in read_latency_records(tmp_path)) == sorted(c.id for c in cases)
    assert list(read_records(tmp_path)) == []  # none of them is an accuracy record


def _taken(milliseconds: list[float]) -> Measured:
    """A case after so many undisturbed turns of fifty queries, each of one duration (and a little noise)."""
    rng = np.random.default_rng(0)
    case = Measured(make_job(make_case("fine")), worker=object())  # type: ignore[arg-type]
    for number, ms in enumerate(milliseconds):
        durations = (rng.normal(ms, ms / 1000, 50) * 1e6).astype(np.int64)
        case.answers.append({"samples": base64.b64encode(durations.tobytes()).decode()})
        case.slices.append(SliceTaken(
            round=number, kept=True, queries=50, images=50, seconds=durations.sum() / 1e9, median_ms=ms, stolen=0.0,
            foreign=0.0, throttles=0, joules=None,
        ))  # fmt: skip
    return case


def test_a_case_goes_on_while_its_figure_drifts_and_no_longer_than_allowed() -> None:
    measure = Measure(seconds=0.4, slice=0.1, rounds=4, queries={"SingleStream": 20})
    limits = Limits()
    steady, drifting = [2.0] * 4, [2.0 + 0.2 * i for i in range(4)]
    assert not _finished(_taken(steady[:3]), measure, limits)  # too few turns
    assert _finished(_taken(steady), measure, limits)
    assert not _finished(_taken(drifting), measure, limits)
    assert _finished(_taken(drifting), measure.model_copy(update={"settle": 1.0}), limits)
    assert _finished(_taken([2.0 + 0.1 * i for i in range(14)]), measure, limits)  # four times the seconds: enough
    assert _finished(_taken([*drifting, *[2.3] * 9]), measure, limits)


def test_failures_become_invalid_records_and_the_rest_goes_on(tmp_path: Path, start: Start) -> None:
    names = ["dies", "fine", "no-gpu", "wrong", "crashes-later", "raises-later"]
    told: list[str] = []
    records = {r.model.name: r for r in _run([make_case(n) for n in names], tmp_path, start, tell=told.append)}
    assert set(records) == set(names)
    assert records["fine"].percentiles
    reasons = {n: "; ".join(r.verdict.reasons) for n, r in records.items()}
    assert "SIGKILL" in reasons["dies"]
    assert reasons["no-gpu"] == "there is no device 'cuda:0' here (it has cpu)"
    assert "out of memory" in reasons["raises-later"]
    assert "SIGKILL" in reasons["crashes-later"]
    assert reasons["wrong"].startswith("parity with torch 0 fp32 failed: output is off by")
    assert records["wrong"].percentiles  # it was timed, and is not used
    assert not any(records[n].verdict.valid for n in names if n != "fine")
    assert records["dies"].runtime is None and records["dies"].samples is None
    assert sum("INVALID" in line for line in told) >= 5


def test_a_batch_that_memory_does_not_hold_is_invalid_and_the_smaller_one_is_measured(
    tmp_path: Path, start: Start
) -> None:
    batches = [Scenario(name="Offline", batch=b) for b in (512, 4)]
    large, small = _run([make_case("large-batch", scenario=s) for s in batches], tmp_path, start)
    assert large.scenario.batch == 512 and large.samples is None
    assert large.verdict.reasons[0].startswith("out of memory (")
    assert small.samples is not None and "memory" not in "; ".join(small.verdict.reasons)


def test_scenarios_write_what_is_theirs(tmp_path: Path, start: Start) -> None:
    cases = [make_case(scenario=s) for s in ("MultiStream", "Offline", "Video")]
    suite = make_suite(measure=Measure(seconds=0.1, slice=0.05, rounds=3, most=5, warm_up=0.5, queries={
        "MultiStream": 5, "Offline": 5, "Video": 4
    }))  # fmt: skip
    multi, offline, video = _run(cases, tmp_path, start, suite=suite)
    assert multi.slices[0].images == 8 * multi.slices[0].queries
    assert offline.slices[0].images == 4 * offline.slices[0].queries
    assert multi.frames is None and offline.frames is None
    assert video.frames is not None
    assert video.frames.arrived == video.frames.dropped + sum(s.queries for s in video.slices)
    ratio = video.frames.real_time_factor.value
    assert ratio is not None and ratio >= 0.06  # 2 ms of 33


def test_rounds_of_a_fixed_number_of_images(tmp_path: Path, start: Start) -> None:
    measure = Measure(seconds=0, images=10, rounds=5, most=30, queries={"Offline": 15}, warm_up=0.5)
    (record,) = _run([make_case(scenario="Offline")], tmp_path, start, suite=make_suite(measure=measure))
    assert [s.images for s in record.slices] == [12] * 5  # ten images in batches of four
    assert "too few" not in "; ".join(record.verdict.reasons)


def test_a_disturbed_machine_makes_no_valid_record_and_does_not_go_on_for_ever(tmp_path: Path, start: Start) -> None:
    suite = make_suite(limits=Limits(stolen=0, foreign=0))  # the parent's own work is more than nothing
    (record,) = _run([make_case()], tmp_path, start, suite=suite)
    lost = [s for s in record.slices if not s.kept]
    assert len(record.slices) <= 110
    if len(lost) > len(record.slices) / 2:
        assert not record.verdict.valid
        assert "disturbed" in "; ".join(record.verdict.reasons)
        kept = sum(s.queries for s in record.slices if s.kept)
        assert (record.samples.count if record.samples else 0) == kept


def test_the_same_command_goes_on_after_an_interruption(tmp_path: Path, start: Start) -> None:
    cases = [make_case("fine"), make_case("second", scenario="Offline"), make_case("third", scenario="MultiStream")]
    opened: list[str] = []

    def interrupted(threads: int) -> Worker:
        worker = start(threads)
        ask = worker.ask

        def spy(message: Any, timeout: float) -> dict[str, Any]:
            if message["do"] == "open":
                opened.append(message["job"]["case"]["model"])
                if opened[-1] == "second" and opened.count("second") == 1:
                    worker.kill()
                    raise KeyboardInterrupt
            return ask(message, timeout)

        worker.ask = spy  # type: ignore[method-assign]
        return worker

    with pytest.raises(KeyboardInterrupt):
        _run(cases, tmp_path, interrupted)
    (first,) = [r for _, r in read_latency_records(tmp_path)]
    assert first.model.name == "fine"
    told: list[str] = []
    records = _run(cases, tmp_path, interrupted, tell=told.append)
    assert opened == ["fine", "second", "second", "third"]
    assert [r.model.name for r in records] == ["fine", "second", "third"]
    assert records[0] == first
    assert len({r.run for r in records}) == 1  # one run, so its figures may be compared
    assert len({r.group for r in records}) == 3
    assert any("1 of 3 cases are finished" in line for line in told)
    # Finished, the next call is a new run.
    again = _run(cases[:1], tmp_path, start)
    assert again[0].run != first.run


def test_an_interrupt_ends_the_processes_that_make_references() -> None:
    both_run, ended = threading.Barrier(3, timeout=30), threading.Semaphore(0)

    class Slow:
        """A reference that takes for ever, unless it is ended."""

        def __init__(self) -> None:
            self.killed = threading.Event()

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            self.kill()

        def ask(self, message: object, timeout: float) -> dict[str, object]:
            both_run.wait()
            assert self.killed.wait(30)
            ended.release()
            raise WorkerError("the process was ended by SIGKILL")

        def kill(self) -> None:
            self.killed.set()

    started: list[Slow] = []

    def start(threads: int) -> Worker:
        started.append(Slow())
        return started[-1]  # type: ignore[return-value]

    def interrupt(job: Job) -> bool:
        both_run.wait()
        raise KeyboardInterrupt

    starting = Starting(start)
    jobs = [Job(case=make_case(name)) for name in ("first", "second")]
    third = Job(case=make_case("third"))
    references = References(Path("nowhere"), lambda case: Job(case=case), starting)
    references._found[references.key(third.case)] = (None, "there is one", None)
    with pytest.raises(KeyboardInterrupt):
        make_ready([third, *jobs], references, starting, interrupt, workers=3)
    assert len(started) == 2 and all(worker.killed.is_set() for worker in started)
    assert ended.acquire(timeout=30) and ended.acquire(timeout=30)
    with pytest.raises(WorkerError, match="interrupted"):
        starting(1)


def test_fresh_forgets_what_was_finished(tmp_path: Path, start: Start) -> None:
    cases = [make_case("fine"), make_case("other", scenario="Offline")]
    count = 0

    def fail_second(threads: int) -> Worker:
        nonlocal count
        count += 1
        if count == 4:  # both references, the first case, the second
            raise KeyboardInterrupt
        return start(threads)

    with pytest.raises(KeyboardInterrupt):
        _run(cases, tmp_path, fail_second)
    told: list[str] = []
    records = _run(cases, tmp_path, start, fresh=True, tell=told.append)
    assert len(records) == 2
    assert not any("going on" in line for line in told)
    assert len(list(read_latency_records(tmp_path))) == 3


def test_what_cannot_be_made_is_told_and_left_out(tmp_path: Path, start: Start) -> None:
    def make(case: Case) -> Job:
        if case.asked.precision == "int8":
            raise RuntimeUnavailableError("it has no int8 file")
        return make_job(case)

    asked = make_case().asked.model_copy(update={"precision": "int8"})
    told: list[str] = []
    records = _run([make_case(), make_case(asked=asked)], tmp_path, start, make=make, tell=told.append)
    assert len(records) == 1
    assert told[0] == "not timed: fine in onnxruntime int8: it has no int8 file"
    with pytest.raises(RuntimeUnavailableError):
        _run([make_case(asked=asked)], tmp_path, start, make=make)


def test_a_record_goes_out_and_comes_back_the_same(tmp_path: Path, start: Start) -> None:
    (record,) = _run([make_case()], tmp_path, start)
    ((path, read),) = read_latency_records(tmp_path)
    assert read == record
    assert path.name == record.file_name
    assert record.samples is not None
    samples = record.samples.nanoseconds()
    p50 = record.percentile(50)
    assert p50 is not None
    assert np.sort(samples)[-(-len(samples) // 2) - 1] / 1e6 == p50.value  # a reader gets the same figure
