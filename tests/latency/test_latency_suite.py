"""Suite files, the choice of models, the cases that follow, and how they are grouped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.latency.fakes import make_case
from zoo.bench import main
from zoo.errors import RegistryError, UnknownNameError, UsageError
from zoo.latency.case import Case
from zoo.latency.jobs import Jobs
from zoo.latency.suite import SuiteFile, choose, groups, list_suites, load_suite, plan, read_suite_file
from zoo.registry import load_registry
from zoo.results.latency_record import Asked, Baseline

TEXT = """
name: mine
version: 1
title: Mine
models: [hog-ridge, "fer-*"]
structures: [resnet18]
runtimes:
  - {runtime: openvino, precisions: [fp32, bf16], streams: [1, 2]}
threads: [1, 2]
scenarios:
  - {name: SingleStream}
  - {name: Offline, batch: 4}
baseline: {runtime: openvino}
"""


def _suite(tmp_path: Path, text: str = TEXT, name: str = "mine") -> SuiteFile:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    return load_suite(str(path))


def _names(chosen: list[Any]) -> list[str]:
    return [c if isinstance(c, str) else c.name for c in chosen]


def test_the_suites_of_the_project_are_valid_and_named_after_their_files() -> None:
    suites = {s.name: s for s in list_suites()}
    assert {"cpu", "gpu", "openvino", "mobile-like", "libreface-tables"} <= set(suites)
    for name, suite in suites.items():
        assert load_suite(name) == suite == load_suite(suite.ref)
        cases = plan(suite, choose(suite, load_registry(), (), None))
        assert any(suite.baseline.is_this(c.asked) for c in cases)
        for case in cases:  # every case has a baseline among the others
            assert any(
                suite.baseline.is_this(o.asked)
                and (o.model, o.scenario, o.stage, o.tasks, o.asked.threads)
                == (case.model, case.scenario, case.stage, case.tasks, case.asked.threads)
                for o in cases
            )
        assert len({c.id for c in cases}) == len(cases)
    assert suites["mobile-like"].threads == (1,)
    for tables in (suites["libreface-tables"], suites["libreface-tables-gpu"]):
        assert (tables.measure.images, tables.measure.rounds) == (1000, 5)


def test_unknown_suites_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_suite("openvin")
    assert "openvino" in str(caught.value)
    with pytest.raises(UnknownNameError):
        load_suite("openvino@99")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("structures: [resnet18]", "structures: [resnet81]", "resnet18"),
        ("{name: SingleStream}", "{name: SingleStream, batch: 2}", "one image a query"),
        ("{name: SingleStream}", "{name: Video}", "fps belongs to Video"),
        ("{name: SingleStream}", "{name: SingleSteam}", "SingleStream"),
        ("title: Mine", "tittle: Mine", "title"),
        ("runtime: openvino, precisions", "runtime: openvno, precisions", "openvino"),
        ("version: 1", "version: 0", "version"),
        ("streams: [1, 2]}", "variant: compiled}", "variants are torch's"),
        ("runtime: openvino, precisions", "variant: compield, runtime: torch, precisions", "compiled"),
        ('models: [hog-ridge, "fer-*"]\nstructures: [resnet18]', "models: []", "models or structures"),
    ],
)
def test_a_suite_that_is_not_valid_names_the_file_and_the_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(RegistryError) as caught:
        _suite(tmp_path, TEXT.replace(old, new))
    assert "mine.yaml" in str(caught.value)
    assert said in str(caught.value)


def test_a_suite_in_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"mine@1"):
        _suite(tmp_path, name="other")
    with pytest.raises(RegistryError):
        read_suite_file(tmp_path / "none.yaml")


def test_anything_that_moves_a_number_moves_the_hash(tmp_path: Path) -> None:
    one = _suite(tmp_path)
    other = _suite(tmp_path / "b" if (tmp_path / "b").mkdir() is None else tmp_path, TEXT + "limits: {drift: 0.01}\n")
    assert one.hash != other.hash


def test_models_are_chosen_by_name_and_glob(tmp_path: Path) -> None:
    suite, registry = _suite(tmp_path), load_registry()
    assert _names(choose(suite, registry, (), None))[:2] == ["resnet18", "hog-ridge"]
    assert "fer-mini-xception" in _names(choose(suite, registry, (), None))
    assert _names(choose(suite, registry, (), "random")) == ["resnet18"]
    assert "resnet18" not in _names(choose(suite, registry, (), "published"))
    assert _names(choose(suite, registry, ("hog-*", "swin-tiny"), None)) == ["swin-tiny", "hog-ridge"]
    libreface = _names(choose(suite, registry, ("libreface-*",), None))
    assert {"libreface-r18", "libreface-resnet18"} <= set(libreface)
    with pytest.raises(UnknownNameError, match="hog-rigde"):
        choose(suite, registry, ("hog-rigde",), None)
    with pytest.raises(UnknownNameError):
        choose(suite, registry, ("hog-ridge",), "random")
    with pytest.raises(UsageError, match="nothing to time"):
        choose(suite.model_copy(update={"structures": ()}), registry, (), "random")


def test_cases_are_every_combination_once(tmp_path: Path) -> None:
    suite, registry = _suite(tmp_path), load_registry()
    cases = plan(suite, choose(suite, registry, ("hog-ridge", "resnet18"), None))
    # Two models, two thread counts: SingleStream in two precisions, Offline in two precisions and two stream counts.
    assert len(cases) == 2 * 2 * (2 + 4)
    assert {c.fold is None for c in cases if c.model == "resnet18"} == {True}
    hog = next(c for c in cases if c.model == "hog-ridge")
    assert hog.fold is not None and hog.tasks == ("au-intensity",) and hog.weights == "published"
    assert {c.asked.streams for c in cases if c.scenario.name == "SingleStream"} == {1}
    fewer = plan(suite, ["resnet18"], precisions=("bf16",), threads=(4,))
    assert {(c.asked.precision, c.asked.threads) for c in fewer} == {("bf16", 4)}
    single = plan(suite, ["resnet18"], scenarios=("SingleStream",))
    assert {c.scenario.name for c in single} == {"SingleStream"} and len(single) == 4
    with pytest.raises(UsageError, match="no such case"):
        plan(suite, ["resnet18"], runtimes=("torch",))


def test_rows_for_a_few_models_and_variants_of_torch_are_cases_of_their_own(tmp_path: Path) -> None:
    text = TEXT.replace(
        "runtimes:\n",
        """runtimes:
  - {runtime: torch}
  - {runtime: torch, variant: compiled, only: ["resnet*"]}
""",
    )
    suite = _suite(tmp_path, text)
    cases = plan(suite, ["resnet18", "swin-tiny"], runtimes=("torch",), threads=(1,))
    assert [(c.model, c.asked.variant) for c in cases if c.scenario.name == "SingleStream"] == [
        ("resnet18", "eager"), ("resnet18", "compiled"), ("swin-tiny", "eager"),
    ]  # fmt: skip
    assert len({c.id for c in cases}) == len(cases)
    baseline = Baseline(runtime="torch")
    assert [baseline.is_this(c.asked) for c in cases[:2]] == [True, False]
    assert "torch compiled cpu fp32" in cases[1].title
    assert (cases[0].asked.title, cases[1].asked.title) == ("torch", "torch compiled")


def test_task_sets_that_come_to_the_same_are_one_case(tmp_path: Path) -> None:
    text = TEXT + "tasks: [[au-intensity], []]\nstages: [pipeline, encoder]\n"
    suite, registry = _suite(tmp_path, text), load_registry()
    cases = plan(suite, choose(suite, registry, ("hog-ridge", "libreface-r18", "resnet18"), None), threads=(1,))
    tasks = {m: {c.tasks for c in cases if c.model == m} for m in ("hog-ridge", "libreface-r18", "resnet18")}
    assert tasks["hog-ridge"] == {("au-intensity",)}
    assert tasks["libreface-r18"] == {("au-intensity",), ("au-intensity", "au-occurrence", "expression")}
    assert {c.stage for c in cases if c.model == "resnet18"} == {"encoder"}


def _case(model: str, precision: Any = "fp32", threads: int = 1, scenario: str = "SingleStream") -> Case:
    return make_case(model, scenario=scenario, asked=Asked(runtime="openvino", precision=precision, threads=threads))


def test_groups_keep_a_model_together_and_conditions_apart() -> None:
    cases = [_case(m, p, t) for t in (1, 2) for m in ("a", "b", "c") for p in ("fp32", "bf16", "int8")]
    found = groups(cases, together=7)
    assert [{c.model for c in g} for g in found] == [{"a", "b"}, {"c"}, {"a", "b"}, {"c"}]
    assert all(len({c.asked.threads for c in g}) == 1 for g in found)
    assert [c for g in found for c in g] == cases
    assert [len(g) for g in groups(cases[:3], together=2)] == [2, 1]
    assert groups([], 3) == []


def test_ids_tell_cases_apart_and_nothing_else() -> None:
    assert _case("a").id == _case("a").id
    others = [_case("b"), _case("a", "bf16"), _case("a", threads=2), _case("a", scenario="Video")]
    assert len({c.id for c in [_case("a"), *others]}) == 5


def test_what_is_exported_is_opened_before_it_is_measured() -> None:
    jobs = Jobs({}, load_registry())
    assert jobs.exports(jobs.make(_case("resnet18")))
    torch = make_case("resnet18", runtime="torch")
    assert not jobs.exports(jobs.make(torch))


def test_the_verb_lists_cases_and_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite=openvino", "model=resnet18,hog-ridge", "plan=true", "threads=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "hog-ridge encoder openvino cpu fp32, 1 threads, SingleStream" in lines
    assert "resnet18 (random weights) encoder openvino cpu bf16, 1 threads, 2 streams, Offline, batch 32" in lines
    for words in (["suite=opnvino"], ["suite=cpu", "model=resnet81"], ["suite=cpu", "precision=int4"], ["model=x"],
                  ["suite=cpu", "threads=0"], ["suite=cpu", "runtime=openvno"],
                  ["suite=cpu", "scenario=SingleSteam"]):  # fmt: skip
        assert main([*words, "plan=true"]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_the_verb_measures_a_real_model_and_draws_its_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "short.yaml"
    suite.write_text("""
name: short
version: 1
title: Short
models: [hog-ridge]
runtimes: [{runtime: onnxruntime, precisions: [fp32, int8]}]
scenarios: [{name: SingleStream}]
baseline: {runtime: onnxruntime}
measure: {seconds: 0.2, slice: 0.05, rounds: 4, most: 2, warm_up: 0.5, queries: {SingleStream: 20}}
limits: {stolen: 1, foreign: 1, drift: 10, width: 10}
""")
    out = tmp_path / "out"
    assert main([f"suite={suite}", f"out={out}", "format=json", "offline=true"]) == 0
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)
    assert record["model"]["name"] == "hog-ridge" and record["parity"]["passed"]
    assert record["parity"]["reference"].startswith("torch ")
    assert record["runtime"]["threads"] == 1 and record["startup"]["load_ms"] > 0
    assert record["model"]["flops"] > 0
    assert "not timed: hog-ridge in onnxruntime int8: hog-ridge has no int8 file" in captured.err
    assert (out / "latency" / "short@1.md").exists() and (out / "latency" / "short@1.csv").exists()
    assert len(list((out / "results" / "hog-ridge" / "short@1").glob("*.json"))) == 1
