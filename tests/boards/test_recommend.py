"""Recommendations: constraints, the Pareto set, the winner, and what is said about each number."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.boards.made_up import machine, registry, reported, timing
from tests.helpers.records import make_record
from zoo.boards.collect import Collection, collect
from zoo.boards.recommend import Recommendation, Wish, commands, recommend
from zoo.errors import UnknownNameError, UsageError
from zoo.recommend import main
from zoo.results import save_record
from zoo.results.latency_record import LatencyRecord, Verdict

HERE = machine("a cpu")


def measured(out: Path, model: str, value: float, **change: Any) -> None:
    contract = registry(out).entries[model].contract_hash
    record = make_record(model, value, **change)
    save_record(record.model_copy(update={"model": record.model.model_copy(update={"contract": contract})}), out)


def timed(out: Path, model: str, median: float, **change: Any) -> None:
    entry = registry(out).entries[model]
    record = timing(model, median, architecture=entry.architecture, **change)
    about = record.model.model_copy(update={"contract": entry.contract_hash})
    save_record(record.model_copy(update={"model": about}), out)


def read(out: Path) -> list[Collection]:
    return [collect(out, registry=registry(out))]


def ask(out: Path, here: str | None = HERE, **wish: Any) -> Recommendation:
    return recommend(Wish(task="au-intensity", **wish), read(out), here)


def names(found: Recommendation) -> list[str]:
    return [c.entry.name for c in found.front]


def why(found: Recommendation) -> dict[str, str]:
    return {o.entry.name: "; ".join(o.reasons) for o in found.out}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Quick and middling, slow and good, closed in between; each timed and measured."""
    measured(tmp_path, "quick-net", 0.55)
    measured(tmp_path, "slow-net", 0.85)
    measured(tmp_path, "closed-net", 0.7)
    timed(tmp_path, "quick-net", 5.0)
    timed(tmp_path, "slow-net", 40.0)
    timed(tmp_path, "closed-net", 10.0)
    return tmp_path


def test_the_pareto_set_runs_from_the_best_to_the_fastest(three: Path) -> None:
    found = ask(three)
    assert names(found) == ["slow-net", "closed-net", "quick-net"]
    assert found.protocol is not None and found.protocol.ref == "disfa-intensity-5fold@1"
    assert found.machine == HERE
    # closed-net's interval reaches slow-net's, and it is faster; quick-net's does not.
    assert found.winner is not None and found.winner.entry.name == "closed-net"
    assert "not told apart" in found.why


def test_constraints_put_models_out_with_every_reason(three: Path) -> None:
    found = ask(three, max_latency_ms=15.0, commercial=True)
    assert names(found) == ["quick-net"]
    assert why(found) == {
        "slow-net": "latency at best 40.0 ms (openvino fp32, 1 thread)",
        "closed-net": "commercial use not allowed (Research only)",
        "paper-net": "known by published figures only, no weights to run; commercial use unclear (unknown); not timed",
    }
    assert why(ask(three, verified=True))["closed-net"] == "not verified"
    assert "score 0.550 (measured)" in why(ask(three, min_score=0.6))["quick-net"]
    assert "rate at best 25.0 images/s" in why(ask(three, min_fps=50.0))["slow-net"]
    assert "memory at best 200 MiB" in why(ask(three, max_memory_mib=100.0))["slow-net"]
    assert why(ask(three, max_size_mb=1.0))["slow-net"] == "4.8 MB"
    assert "does not give AU45" in why(ask(three, labels=("AU45",)))["quick-net"]
    assert names(ask(three, max_latency_ms=11.0, percent=50)) == ["closed-net", "quick-net"]
    assert names(ask(three, max_latency_ms=11.0, percent=99)) == ["quick-net"]


def test_the_fastest_way_of_running_a_model_counts(three: Path) -> None:
    timed(three, "slow-net", 8.0, precision="int8")
    timed(three, "slow-net", 4.0, precision="int8", threads=2)
    assert names(ask(three)) == ["slow-net", "closed-net", "quick-net"]  # no limit that fp32 would not meet
    found = ask(three, max_latency_ms=11.0)
    assert names(found) == ["slow-net"]  # now the best and the fastest
    assert found.winner is not None
    assert found.winner.run_as == "openvino int8, 2 threads"
    assert any("int8 passed" in n for n in found.winner.notes)
    assert {c.entry.name for c, _ in found.dominated} == {"slow-net", "closed-net", "quick-net"}
    assert names(ask(three, threads=1, max_latency_ms=11.0)) == ["slow-net", "quick-net"]
    assert names(ask(three, precision="fp32")) == ["slow-net", "closed-net", "quick-net"]


def test_invalid_and_superseded_timings_do_not_count(three: Path) -> None:
    timed(three, "slow-net", 1.0, created="2026-02-02T00:00:00Z", verdict=Verdict(valid=False, reasons=("drift",)))
    assert names(ask(three)) == ["slow-net", "closed-net", "quick-net"]


def test_a_timing_that_failed_is_told_from_none(tmp_path: Path) -> None:
    measured(tmp_path, "quick-net", 0.6)
    timed(tmp_path, "quick-net", 1.0, verdict=Verdict(valid=False, reasons=("the median drifted",)))
    reasons = why(ask(tmp_path, max_latency_ms=10.0))
    assert reasons["quick-net"] == "not timed validly (the median drifted)"
    assert reasons["slow-net"] == "not timed"


def test_published_figures_count_whatever_folder_the_records_are_in(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    found = recommend(Wish(task="expression", protocol="rafdb-expression"), [collect(tmp_path)])
    assert found.winner is not None and found.winner.score is not None
    assert found.winner.score.basis == "reported"


def test_the_protocol_is_the_one_with_most_evidence_about_models_that_may_be_used(tmp_path: Path) -> None:
    measured(tmp_path, "closed-net", 0.9)  # on DISFA, in 5 folds
    measured(tmp_path, "quick-net", 0.5, protocol="bp4d-intensity-fera15@1")
    assert ask(tmp_path, protocol=None).protocol is not None
    found = ask(tmp_path, commercial=True)
    assert found.protocol is not None and found.protocol.ref == "bp4d-intensity-fera15@1"


def test_published_figures_stand_in_and_say_so(tmp_path: Path) -> None:
    reported(tmp_path)
    timed(tmp_path, "quick-net", 5.0)
    timed(tmp_path, "slow-net", 3.0)
    found = ask(tmp_path)
    assert [(c.entry.name, c.score.basis) for c in found.front if c.score] == [("quick-net", "reported")]
    assert [c.entry.name for c in found.unscored] == ["slow-net", "closed-net"]
    assert found.why == "the best published score of those that fit"
    (one,) = found.front
    assert one.score is not None
    assert (one.score.estimate.value, one.score.estimate.low) == (pytest.approx(0.52), None)
    assert "Someone et al. 2023, Table 3" in one.score.note


def test_in_sample_and_synthetic_scores_are_not_used(three: Path) -> None:
    later = "2026-03-03T00:00:00Z"
    measured(three, "quick-net", 0.99, contamination="in_sample", created=later)
    measured(three, "closed-net", 0.99, created=later,
             dataset=make_record().dataset.model_copy(update={"synthetic": True}))  # fmt: skip
    found = ask(three)
    assert names(found) == ["slow-net"]
    (quick,) = [c for c in found.unscored if c.entry.name == "quick-net"]
    assert "in-sample on disfa: 0.990 [0.890, 1.090], not used" in quick.notes


def test_a_structure_timed_with_random_weights_stands_in(tmp_path: Path) -> None:
    measured(tmp_path, "slow-net", 0.8)
    save_record(timing("slownet", 7.0, weights="random", architecture="slownet"), tmp_path)
    found = ask(tmp_path, max_latency_ms=10.0)
    assert names(found) == ["slow-net"]
    assert "timed as a structure with random weights" in found.front[0].notes


def test_a_structure_timed_on_pictures_of_another_size_does_not(tmp_path: Path) -> None:
    measured(tmp_path, "slow-net", 0.8)
    made = timing("slownet", 7.0, weights="random", architecture="slownet")
    larger = made.model.model_copy(update={"input": (224, 224, 3)})
    save_record(made.model_copy(update={"model": larger}), tmp_path)
    found = ask(tmp_path)
    assert not any("random weights" in note for c in found.front for note in c.notes)


def test_machines_are_never_mixed(three: Path) -> None:
    timed(three, "slow-net", 2.0, cpu="another cpu")
    assert ask(three).front[0].latency(50).value == pytest.approx(40.0)
    there = ask(three, machine="another")
    assert there.machine == machine("another cpu")
    assert names(there) == ["slow-net"]
    assert ask(three, here="unknown machine").machine == HERE  # the one with most timings
    with pytest.raises(UsageError, match="nothing was timed on this machine"):
        ask(three, here="unknown machine", machine="this")
    with pytest.raises(UsageError, match="no record was timed"):
        ask(three, machine="m7")


def test_never_timed_is_out_only_when_a_limit_needs_it(tmp_path: Path) -> None:
    measured(tmp_path, "quick-net", 0.6)
    assert names(ask(tmp_path)) == ["quick-net"]
    found = ask(tmp_path, max_latency_ms=10.0)
    assert found.winner is None
    assert why(found)["quick-net"] == "not timed"


def test_scores_of_the_labels_asked_for(three: Path) -> None:
    found = ask(three, labels=("AU12",))
    assert found.front[0].score is not None
    assert found.front[0].score.estimate.low == pytest.approx(0.75)
    with pytest.raises(UnknownNameError):
        ask(three, labels=("AU99",))
    with pytest.raises(UsageError, match="not au-intensity"):
        ask(three, protocol="rafdb-expression")


def test_only_commands_that_exist_are_printed(three: Path) -> None:
    (quick,) = [c for c in ask(three).front if c.entry.name == "quick-net"]
    lines = commands(quick, Wish(task="au-intensity"), {"fetch", "predict"})
    assert lines == [
        "python -m zoo.fetch model=quick-net",
        "python -m zoo.predict model=quick-net input=photo.jpg tasks=au-intensity runtime=openvino threads=1",
    ]
    everything = {"fetch", "predict", "export", "bench"}
    lines = commands(quick, Wish(task="au-intensity"), everything)
    assert lines[1] == "python -m zoo.export model=quick-net runtime=openvino out=quick-net-openvino-fp32"
    assert lines[3] == "python -m zoo.bench suite=cpu model=quick-net"


def test_int8_is_run_from_what_was_exported(three: Path) -> None:
    timed(three, "quick-net", 1.0, precision="int8")
    (exact,) = [c for c in ask(three).front if c.entry.name == "quick-net"]
    assert exact.run_as == "openvino fp32, 1 thread"  # whose score it is; the faster way is told
    assert "1.00 ms in openvino int8 (precision=int8)" in exact.notes
    (quick,) = [c for c in ask(three, precision="int8").front if c.entry.name == "quick-net"]
    made = "quick-net-openvino-int8"
    assert commands(quick, Wish(task="au-intensity"), {"fetch", "predict", "export"})[1:] == [
        f"python -m zoo.export model=quick-net runtime=openvino precision=int8 calibrate=my-faces/ out={made}",
        f"python -m zoo.predict registry={made}/registry.yaml model={made} input=photo.jpg tasks=au-intensity "
        "runtime=openvino precision=int8 threads=1",
    ]


def test_every_command_is_one_that_the_verbs_take(three: Path) -> None:
    from importlib import import_module

    from zoo.cli import VERBS, parse

    for candidate in ask(three).front:
        for line in commands(candidate, Wish(task="au-intensity"), VERBS):
            module, *given = line.removeprefix("python -m ").split()
            parse(module.removeprefix("zoo."), import_module(module).KEYS, given)


def test_on_the_command_line(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["task=au-intensity", f"records={three}", f"registry={three / 'made-up-registry.yaml'}", "machine=a cpu"]
    assert main([*common, "max_latency_ms=15", "license=commercial", "labels=AU12", "all=true"]) == 0
    shown = capsys.readouterr().out
    assert "Take quick-net" in shown
    assert "python -m zoo.fetch model=quick-net" in shown
    assert "latency at best 40.0 ms" in shown
    assert main([*common, "format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["winner"] == "closed-net"
    assert [c["model"] for c in document["pareto"]] == ["slow-net", "closed-net", "quick-net"]
    assert main([*common, "format=csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    fit = [(name, one) for name in ("pareto", "no_score", "dominated") for one in document[name]]
    assert list(zip(table.set, table.model, strict=True)) == [(name, one["model"]) for name, one in fit]
    for column in ("score", "latency_ms"):
        for name, end in ((column, "value"), (f"{column}_low", "low"), (f"{column}_high", "high")):
            told = [(one[column] or {}).get(end) for _, one in fit]
            assert [None if math.isnan(x) else x for x in table[name]] == told
    assert set(table.percentile) == {document["percentile"]} and set(table.protocol) == {document["protocol"]}
    assert main([*common, "max_latency_ms=1"]) == 1
    assert "no model meets" in capsys.readouterr().err
    assert main([*common, "max_latency_ms=-1"]) == 2


def test_made_up_timings_are_records() -> None:
    record = timing(median=5.0)
    assert LatencyRecord.model_validate(record.model_dump()) == record
