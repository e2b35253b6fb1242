"""The throughput tables: what they compute, and that the page shows the record."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import memory, throughput
from benchmarks.throughput import CASES, LOOP, Contest, Pass


def record():
    """Two rounds in which ``zoo.eval`` takes 20 s and 10 s, the bare pipeline 18 s and 9.8 s, the loop 100 s."""
    images, loop, photographs = Contest(400), Contest(200), Contest(120)
    for case in CASES:
        name = " ".join(case)
        images.passes[f"bare {name}"] = [Pass(18.0, 19, 30, 0.0, 0.01), Pass(9.8, 11, 17, 0.0, 0.03)]
        images.passes[f"zoo.eval {name}"] = [Pass(20.0, 24, 33, 0.1, 0.01), Pass(10.0, 12, 18, 0.1, 0.03)]
        photographs.passes[name] = [Pass(2.0, 2, 4), Pass(1.5, 2, 3)]
    loop.passes[LOOP] = [Pass(20.0, 21, 40, 0.0, 0.0)]
    stages = {"decode": 3.0, "detect": 2.0, "mesh": 4.0, "align": 1.0, **{f"AUs, {' '.join(c)}": 10.0 for c in CASES}}
    stored = {n: throughput._stored(c) for n, c in (("images", images), ("loop", loop), ("photographs", photographs))}
    return {
        "created": "2026-01-01T00:00:00Z", "cpu": "made up", "cores": 2, "system": "Linux", "python": "3.11",
        "versions": {"openvino": "1"}, "load": [0.0, 2.0], "stages": stages, **stored,
    }  # fmt: skip


def cells(table, name):
    return [c.strip() for line in table.splitlines() if line.startswith(f"| {name} ") for c in line.split("|")[1:-1]]


def test_tables_compute_what_their_heads_say():
    drawn = throughput.tables(record())
    row = cells(drawn["images"], "openvino int8")
    # 400 / 20 and 400 / 10; 18 / 20 and 9.8 / 10; 30 / 33 and 17 / 18; over 200 / 20 images/s of the loop
    assert row[1:] == ["30 [20, 40]", "32 [22, 41]", "0.94 [0.90, 0.98]", "0.95", "0.93", "3.0 [2.0, 4.0]", "6", "2 %",
                       "10 %"]  # fmt: skip
    row = cells(drawn["photographs"], "onnxruntime fp32")
    assert row[1:8] == ["70 [60, 80]", "60", "3.0 (15 %)", "2.0 (10 %)", "4.0 (20 %)", "1.0 (5 %)", "10.0 (50 %)"]
    assert "made up, 2 cores" in drawn["about"]


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [5.0, 1.0, 9.0], list(range(30))])
def test_intervals_hold_the_median_and_stay_within_the_values(values):
    middle, low, high = throughput.interval(values)
    assert min(values) <= low <= middle <= high <= max(values) and middle == np.median(values)


def test_the_page_shows_the_record():
    assert throughput.PAGE.render() == throughput.PAGE.page.read_text(encoding="utf-8")


def test_memory_is_shown_as_measured_and_a_video_costs_nothing_per_frame():
    assert memory.PAGE.render() == memory.PAGE.page.read_text(encoding="utf-8")
    rows = json.loads(memory.PAGE.record.read_text(encoding="utf-8"))["rows"]
    peaks = {(r["verb"], r["pictures"]): r["peak_mib"] for r in rows}
    assert set(peaks) == {(verb, count) for verb in memory.CASES for count in memory.COUNTS}
    assert peaks["video", 100_000] < 1.1 * peaks["video", 1_000]


def test_the_memory_run_measures_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "COUNTS", (30,))
    registry = memory.write_model(tmp_path)
    memory.write_pictures(tmp_path / "pictures", 30)
    memory.write_video(tmp_path / "30.mp4", 30)
    for verb, given in (("eval", "pictures"), ("predict", "pictures"), ("video", "30.mp4")):
        found = memory.measure(verb, str(registry), str(tmp_path / given))
        assert found["peak_mib"] > 20
