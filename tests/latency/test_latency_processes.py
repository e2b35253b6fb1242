"""A measuring process that dies, hangs, runs out of memory or prints is a reason, never an end."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from tests.latency.fakes import make_case, make_job
from zoo.latency.cores import usable
from zoo.latency.processes import Worker, WorkerError

Start = Callable[[int], Worker]


def _open(model: str = "fine", **case: Any) -> dict[str, Any]:
    return {"do": "open", "job": make_job(make_case(model, **case)).model_dump(mode="json"), "window": 0.01}


def test_a_case_is_opened_measured_and_closed(start: Start) -> None:
    with start(1) as worker:
        opened = worker.ask(_open(), 60)
        assert opened["runtime"]["runtime"] == "onnxruntime"
        assert opened["about"]["name"] == "fine"
        assert opened["startup"]["stable"] in (True, False)
        assert opened["startup"]["first_ms"] >= 2
        answer = worker.ask({"do": "slice", "seconds": 0.05, "least": 5, "round": 0}, 60)
        samples = np.frombuffer(base64.b64decode(answer["samples"]), np.int64)
        assert len(samples) == answer["queries"] >= 5
        assert samples.min() >= 2e6  # each query sleeps for 2 ms
        assert answer["nanoseconds"] >= samples.sum()
        cores = [worker.ask({"do": "slice", "seconds": 0.01, "least": 1, "round": k}, 60)["cores"] for k in range(3)]
        assert cores[0] != cores[1] if len(usable()) > 1 else cores == [None, None, None]
        assert worker.close()["peak_rss_mib"] > 1


def test_threads_reach_the_libraries(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    with start(3) as worker:
        pid = worker._process.pid
        assert psutil.Process(pid).environ()["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("model", "what", "why"),
    [
        ("dies", "ended by SIGKILL", "memory runs out"),
        ("exits", "ended with code 3", ""),
        ("out-of-memory", "out of memory", "64 GB"),
        ("no-gpu", "there is no device 'cuda:0' here", "it has cpu"),
    ],
)
def test_a_failure_to_open_names_its_reason(start: Start, model: str, what: str, why: str) -> None:
    with start(1) as worker, pytest.raises(WorkerError) as caught:
        worker.ask(_open(model), 60)
    assert what in caught.value.what
    assert why in (caught.value.why or "")


@pytest.mark.parametrize(
    ("model", "what"),
    [("crashes-later", "ended by SIGKILL"), ("raises-later", "out of memory"), ("hangs-later", "no answer within 1 s")],
)
def test_a_failure_while_measured_ends_the_process(start: Start, model: str, what: str) -> None:
    with start(1) as worker:
        worker.ask(_open(model), 60)
        pid = worker._process.pid
        with pytest.raises(WorkerError, match=what):
            for _ in range(20):
                worker.ask(
                    {"do": "slice", "seconds": 0.05, "least": 5, "round": 0}, 1 if model == "hangs-later" else 60
                )
        assert not psutil.pid_exists(pid)


def test_a_process_whose_suite_is_gone_ends_by_itself(start: Start) -> None:
    worker = start(1)
    worker.ask(_open(), 60)
    assert worker._process.stdin is not None
    worker._process.stdin.close()
    worker._process.wait(timeout=30)
    worker.kill()


def test_an_ended_process_does_not_answer(start: Start) -> None:
    worker = start(1)
    worker.kill()
    with pytest.raises(WorkerError, match="ended by SIGKILL"):
        worker.ask(_open(), 5)


def test_nothing_is_left_open_after_many_processes(start: Start) -> None:
    me = psutil.Process()
    before = me.num_fds()
    for _ in range(3):
        with start(1) as worker, pytest.raises(WorkerError):
            worker.ask(_open("exits"), 60)
    worker._reader.join(timeout=10)
    assert me.num_fds() <= before + 1
