"""Latency boards: ratios within a run only, INVALID rows with reasons and without figures, nothing hidden."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.records import make_record
from zoo.boards.collect import collect
from zoo.boards.latency import collect_latency, latency_files, latency_tables, run_rows, span
from zoo.results import save_record
from zoo.results.latency_record import (
    Asked,
    Baseline,
    FramesShown,
    LatencyRecord,
    ModelTimed,
    Percentile,
    Samples,
    Scenario,
    SliceTaken,
    Startup,
    SuiteUsed,
    Verdict,
)
from zoo.results.record import Estimate

OK = Verdict(valid=True)


def make_latency(
    name: str = "m", milliseconds: float = 10.0, runtime: Any = "openvino", *, drift: float = 0.0, **change: Any
) -> LatencyRecord:
    """Returns a record of eight rounds whose medians drift."""
    medians = [milliseconds * (1 + drift * r) for r in range(8)]
    slices = tuple(
        SliceTaken(round=r, kept=True, queries=50, images=50, seconds=0.05 * m, median_ms=m, stolen=0, foreign=0)
        for r, m in enumerate(medians)
    )
    any_record = make_record()
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05Z", "run": "run-1", "group": 0, "case": f"{name}-{runtime}",
        "suite": SuiteUsed(ref="s@1", hash="h", title="A suite", baseline=Baseline(runtime="torch")),
        "model": ModelTimed(name=name, weights="published", architecture="net", size=44_700_000),
        "scenario": Scenario(name="SingleStream"), "asked": Asked(runtime=runtime, threads=1),
        "startup": Startup(load_ms=100, first_ms=30, warm_up_queries=9, warm_up_seconds=0.5, stable=True),
        "samples": Samples.pack(np.full(400, int(milliseconds * 1e6))), "slices": slices,
        "percentiles": tuple(
            Percentile(
                percent=p, value=milliseconds, low=milliseconds * 0.99, high=None if p == 99 else milliseconds * 1.01
            )
            for p in (50, 90, 95, 99)
        ),
        "throughput": Estimate(value=1000 / milliseconds, low=900 / milliseconds, high=1100 / milliseconds),
        "peak_rss_mib": 200.0, "verdict": OK, "environment": any_record.environment, "code": any_record.code,
    }  # fmt: skip
    return LatencyRecord(**{**fields, **change})


def _files(out: Path) -> dict[str, str]:
    return latency_files(collect(out), "<!-- generated -->")


def test_a_ratio_cancels_a_drift_that_both_share(tmp_path: Path) -> None:
    save_record(make_latency(milliseconds=10, drift=0.1), tmp_path)
    save_record(make_latency(milliseconds=25, drift=0.1, runtime="torch"), tmp_path)
    text = _files(tmp_path)["latency/s@1.md"]
    ours = next(x for x in text.splitlines() if x.startswith("| m | openvino"))
    assert "2.50 [2.50, 2.50]" in ours
    assert "10.0 [9.90, 10.1]" in ours
    assert "10.0 [9.90, ?]" in ours  # 400 samples cannot bound this p99 from above
    assert "weak baseline" in text
    assert "torch fp32" in text


def test_no_ratio_to_another_run_or_to_an_invalid_baseline(tmp_path: Path) -> None:
    save_record(make_latency(), tmp_path)
    save_record(make_latency(runtime="torch", run="run-0"), tmp_path)
    (board,) = collect_latency(collect(tmp_path))
    assert next(r for r in board.rows if r.record.asked.runtime == "openvino").ratio.value is None
    other = tmp_path / "other"
    save_record(make_latency(), other)
    save_record(make_latency(runtime="torch", verdict=Verdict(valid=False, reasons=("too few samples",))), other)
    (board,) = collect_latency(collect(other))
    assert next(r for r in board.rows if r.record.asked.runtime == "openvino").ratio.value is None


def test_cases_that_took_no_turns_get_a_ratio_without_an_interval(tmp_path: Path) -> None:
    save_record(make_latency(milliseconds=10), tmp_path)
    save_record(make_latency(milliseconds=30, runtime="torch", group=1), tmp_path)
    (board,) = collect_latency(collect(tmp_path))
    ratio = next(r for r in board.rows if r.record.asked.runtime == "openvino").ratio
    assert (ratio.value, ratio.low) == (pytest.approx(3), None)


def test_invalid_rows_show_their_reasons_and_no_figures(tmp_path: Path) -> None:
    wrong = Verdict(valid=False, reasons=("parity with torch failed: au is off by 0.31", "too few samples: 3 of 128"))
    save_record(make_latency("bad", 1.2345, verdict=wrong), tmp_path)
    save_record(make_latency("good", 7.5), tmp_path)
    text = _files(tmp_path)["latency/s@1.md"]
    valid, invalid = text.split("### INVALID")
    assert "| bad" not in valid and "| good" in valid
    assert "parity with torch failed: au is off by 0.31; too few samples: 3 of 128" in invalid
    assert "1.23" not in text


def test_a_failed_measurement_stands_beside_the_last_good_one(tmp_path: Path) -> None:
    save_record(make_latency(milliseconds=5.0, created="2026-01-01T00:00:00Z"), tmp_path)
    lost = Verdict(valid=False, reasons=("9 of 10 slices disturbed",))
    save_record(make_latency(verdict=lost, created="2026-01-02T00:00:00Z"), tmp_path)
    text = _files(tmp_path)["latency/s@1.md"]
    assert "5.00" in text and "9 of 10 slices disturbed" in text
    save_record(make_latency(milliseconds=6.0, created="2026-01-03T00:00:00Z"), tmp_path)
    text = _files(tmp_path)["latency/s@1.md"]
    assert "6.00" in text and "5.00" not in text and "INVALID" not in text


def test_random_weights_are_said_to_be_random(tmp_path: Path) -> None:
    model = ModelTimed(name="resnet18", weights="random", architecture="resnet18")
    path = save_record(make_latency("resnet18", model=model), tmp_path)
    assert path.parts[-3] == "resnet18+random"
    text = _files(tmp_path)["latency/s@1.md"]
    assert "resnet18 (random weights)" in text and "outputs mean nothing" in text


def test_machines_threads_and_scenarios_stand_apart(tmp_path: Path) -> None:
    elsewhere = make_record().environment.model_copy(update={"cpu": "another cpu"})
    save_record(make_latency(), tmp_path)
    save_record(make_latency(environment=elsewhere), tmp_path)
    save_record(make_latency(asked=Asked(runtime="openvino", threads=2)), tmp_path)
    save_record(make_latency(scenario=Scenario(name="Offline", batch=32)), tmp_path)
    video = FramesShown(arrived=300, dropped=12, real_time_factor=Estimate(value=0.4, low=0.39, high=0.41))
    save_record(make_latency(scenario=Scenario(name="Video", fps=30), frames=video), tmp_path)
    text = _files(tmp_path)["latency/s@1.md"]
    for title in ("## a cpu", "## another cpu", "### SingleStream, 2 threads", "### Video, 30 fps"):
        assert title in text
    assert "### Offline, batch 32, 1 thread, encoder" in text
    assert "12 of 300" in text and "0.400 [0.390, 0.410]" in text


def test_rounds_are_shown_as_the_paper_shows_them(tmp_path: Path) -> None:
    slices = tuple(
        SliceTaken(round=r, kept=True, queries=1000, images=1000, seconds=s, median_ms=s, stolen=0, foreign=0)
        for r, s in enumerate((36.0, 37.0, 38.0))
    )
    suite = SuiteUsed(ref="s@1", hash="h", title="Tables", baseline=Baseline(runtime="torch"), images=1000)
    record = make_latency(suite=suite, slices=slices, scenario=Scenario(name="Offline"),
                          stages={"decode": 10.0, "model": 30.0})  # fmt: skip
    save_record(record, tmp_path)
    text = _files(tmp_path)["latency/s@1.md"]
    row = next(x for x in text.splitlines() if x.startswith("| m |"))
    assert "Avg., s for 1000 images" in text
    assert "| 37.0 | 1.00 |" in row
    assert "decode 25%, model 75%" in row


def test_the_csv_holds_every_record_and_reads_back(tmp_path: Path) -> None:
    save_record(make_latency(), tmp_path)
    save_record(make_latency("bad", verdict=Verdict(valid=False, reasons=("a, b", "c")), percentiles=(), samples=None,
                             slices=(), throughput=None, startup=None), tmp_path)  # fmt: skip
    files = _files(tmp_path)
    rows = {r["model"]: r for r in csv.DictReader(io.StringIO(files["latency/s@1.csv"]))}
    assert rows["m"]["p50_ms"] == "10" and rows["m"]["valid"] == "true"
    assert rows["bad"]["reasons"] == "a, b; c" and rows["bad"]["p50_ms"] == ""
    assert "[A suite](s@1.md)" in files["latency/README.md"]
    assert files == _files(tmp_path)


def test_no_records_no_files(tmp_path: Path) -> None:
    assert _files(tmp_path) == {}


def test_a_run_is_shown_on_the_screen_with_its_own_ratios(tmp_path: Path) -> None:
    paths = {
        save_record(r, tmp_path).relative_to(tmp_path).as_posix()
        for r in (
            make_latency(milliseconds=10), make_latency(milliseconds=20, runtime="torch"),
            make_latency("bad", verdict=Verdict(valid=False, reasons=("no GPU",))),
        )
    }  # fmt: skip
    save_record(make_latency("old", run="run-0"), tmp_path)
    text = latency_tables(run_rows(collect(tmp_path), paths), "simple")
    assert "2.00 [2.00, 2.00]" in text and "no GPU" in text
    assert "old" not in text and "json" not in text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (None, "–"), (Estimate(value=None), "–"), (Estimate(value=5.612), "5.61"),
        (Estimate(value=5.612, low=5.58, high=5.66), "5.61 [5.58, 5.66]"),
        (Estimate(value=5.0, low=4.9), "5.00 [4.90, ?]"),
    ],
)  # fmt: skip
def test_spans(estimate: Estimate | None, text: str) -> None:
    assert span(estimate) == text
