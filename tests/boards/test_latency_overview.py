"""Many timings: machines told apart, grids of models by ways of running, what is INVALID folded."""

from __future__ import annotations

import re
from pathlib import Path

from tests.boards.made_up import machine, timing
from zoo.boards.collect import collect, machine_title
from zoo.boards.latency import collect_latency, headline, overview
from zoo.boards.leaderboard import render
from zoo.boards.site import site_files
from zoo.results import save_record
from zoo.results.latency_record import Verdict

NAMES = [f"net-{i:02d}" for i in range(12)]


def test_machines_of_one_name_are_told_apart() -> None:
    about = timing(cpu="Xeon").environment
    title = machine_title(about, "cpu")
    assert re.fullmatch(r"Xeon, 2 cores, \d+ GiB \(m-[0-9a-f]{6}\)", title)
    for change in ({"cpu_flags": ("avx512f",)}, {"quota": 1.5}, {"cores_machine": 64}, {"memory_gib": 4000.0}):
        assert machine_title(about.model_copy(update=change), "cpu") != title, change
    # What does not decide speed, or is read with noise, makes no other machine.
    for same in ({"memory_gib": about.memory_gib + 0.1}, {"python": "3.99.0"}, {"system": "Linux 9"}, {"packages": {}}):
        assert machine_title(about.model_copy(update=same), "cpu") == title, same
    with_gpu = about.model_copy(update={"gpu": "A GPU"})
    assert machine_title(with_gpu, "cpu") == title
    assert "A GPU" in machine_title(with_gpu, "cuda:0")


def many(out: Path) -> None:
    for name in NAMES:
        for cpu in ("a cpu", "b cpu"):
            for runtime, factor in (("torch", 2.0), ("onnxruntime", 1.0), ("openvino", 0.5)):
                for scenario in ("SingleStream", "Offline"):
                    for threads in (1, 2):
                        made = timing(
                            name, 10 * factor / threads, cpu=cpu, runtime=runtime, scenario=scenario, threads=threads,
                            weights="random",
                        )  # fmt: skip
                        if runtime == "openvino" and name == NAMES[0]:
                            failed = Verdict(valid=False, reasons=("parity failed",))
                            made = made.model_copy(update={"verdict": failed})
                        save_record(made, out)


def test_grids_hold_every_valid_case_once(tmp_path: Path) -> None:
    many(tmp_path)
    (board,) = collect_latency(collect(tmp_path))
    assert len(board.rows) == 288
    usable = [r for r in board.rows if r.timing.usable]
    # One picture at a time first, few threads first.
    here = [r.section for r in usable if r.timing.machine == machine("a cpu")]
    assert list(dict.fromkeys(here)) == [
        ("encoder", 1, "SingleStream"), ("encoder", 2, "SingleStream"),
        ("encoder", 1, "Offline, batch 32"), ("encoder", 2, "Offline, batch 32"),
    ]  # fmt: skip
    section = [r for r in board.rows if r.timing.machine == machine("a cpu") and r.section == here[0]]
    ways, models = overview(section)
    assert ways == [("torch", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32")]  # the baseline first
    assert [name for name, _ in models] == [f"{n} (random weights)" for n in NAMES]
    first, second = models[0][1], models[1][1]
    assert [r.timing.usable for r in first if r] == [True, True, False]
    assert [headline(r)[0] if r else None for r in second] == [20.0, 10.0, 5.0]
    assert second[2] is not None and second[2].ratio.value == 4.0
    assert sum(r is not None for _, cells in models for r in cells) == len(section)


def test_the_board_stays_readable(tmp_path: Path) -> None:
    many(tmp_path)
    collection = collect(tmp_path)
    text = render(collection)["latency/cpu@1.md"]
    assert f"## {machine('a cpu')}\n" in text and f"## {machine('b cpu')}\n" in text
    assert "| net-00 (random weights) | 20.0 (1.00×) | 10.0 (2.00×) | INVALID |" in text
    assert "| net-01 (random weights) | 20.0 (1.00×) | 10.0 (2.00×) | 5.00 (4.00×) |" in text
    # Without what is folded, a few lines a model and machine are left.
    left = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    assert len(left.splitlines()) < 200  # of 288 cases
    assert "parity failed" in text and "parity failed" not in left
    page = site_files(collection)["latency/cpu@1.html"]
    valid, _, rest = page.partition('<details class="fold"><summary>8 cases and their reasons</summary>')
    assert ">parity failed<" in rest and ">parity failed<" not in valid
    assert valid.count('title="parity failed">invalid<') == 8
    assert page.count("<h2>") == 2  # the machines
