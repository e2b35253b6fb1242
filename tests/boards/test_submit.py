"""What a record has to be before it is taken, the steps that submit it, and the change of the boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boards.made_up import registry, timing
from tests.helpers.records import make_record
from zoo.boards.collect import collect
from zoo.boards.hub import model_index
from zoo.boards.submit import changes, steps
from zoo.boards.validate import check_records
from zoo.errors import RecordError
from zoo.leaderboard import main
from zoo.registry import load_registry
from zoo.results import save_record
from zoo.results.latency_record import Samples, Verdict
from zoo.results.record import Code, Coverage, Estimate, ResultRecord, SubjectScore, UsedFile


def good(out: Path, model: str = "quick-net", value: float = 0.5, **change: Any) -> ResultRecord:
    record = make_record(model, value, **change)
    about = {"contract": registry(out).entries[model].contract_hash}
    return record.model_copy(update={"model": record.model.model_copy(update=about)})


def wrong(out: Path, record: Any) -> str:
    for path in out.rglob("results/**/*.json"):
        path.unlink()
    save_record(record, out)
    return "\n".join(check_records(collect(out, registry=registry(out))))


def with_score(record: ResultRecord, **change: Any) -> ResultRecord:
    (view,) = record.views
    first, *rest = view.scores
    return record.model_copy(
        update={"views": (view.model_copy(update={"scores": (first.model_copy(update=change), *rest)}),)}
    )


def test_a_good_record_passes(tmp_path: Path) -> None:
    assert wrong(tmp_path, good(tmp_path)) == ""
    assert wrong(tmp_path, timing()) == ""


def test_impossible_values_are_found(tmp_path: Path) -> None:
    record = good(tmp_path)
    assert "1.2 is not between -1 and 1" in wrong(tmp_path, with_score(record, mean=Estimate(value=1.2)))
    backwards = Estimate(value=0.5, low=0.6, high=0.4)
    assert "the interval [0.6, 0.4] is none" in wrong(tmp_path, with_score(record, mean=backwards))
    label = record.views[0].scores[0].per_label[0]
    assert "10 of 5000 of 1000 samples" in wrong(
        tmp_path, with_score(record, per_label=(label.model_copy(update={"n": 5000}),))
    )
    assert "AU45 is not a label" in wrong(
        tmp_path, with_score(record, per_label=(label.model_copy(update={"label": "AU45"}),))
    )
    assert "auc (pooled, undetected-as-error): not a metric" in wrong(tmp_path, with_score(record, metric="auc"))
    cover = Coverage(expected=1000, samples=1000, detected=900, undetected=10, undecodable=1)
    assert "coverage does not add up" in wrong(tmp_path, record.model_copy(update={"coverage": cover}))
    many = tuple(SubjectScore(subject=f"s{i}", n=1, value=0.1) for i in range(28))
    assert "28 subjects' scores of 27 subjects" in wrong(tmp_path, record.model_copy(update={"subjects": many}))


def test_the_registry_has_to_know_the_model_and_agree(tmp_path: Path) -> None:
    assert "no model 'stranger'" in wrong(tmp_path, make_record("stranger"))
    record = good(tmp_path)
    other = record.model.model_copy(update={"weights": (UsedFile(name="w.onnx", sha256="1" * 64),)})
    assert "another hash than in the registry" in wrong(tmp_path, record.model_copy(update={"model": other}))
    (tmp_path / "made-up-registry.yaml").unlink()
    (board,) = collect(tmp_path, registry=registry(tmp_path)).boards
    assert board.rows


def test_a_model_that_was_trained_on_it_is_not_held_out(tmp_path: Path) -> None:
    known = registry(tmp_path)
    text = (tmp_path / "made-up-registry.yaml").read_text().replace("dataset: bp4d", "dataset: disfa")
    (tmp_path / "seen.yaml").write_text(text)
    from zoo.registry import Registry
    from zoo.registry.loading import read_registry_file

    seen = Registry({e.name: e for e in read_registry_file(tmp_path / "seen.yaml").models})
    record = good(tmp_path)
    save_record(record, tmp_path)
    assert check_records(collect(tmp_path, registry=known)) == []
    (line,) = check_records(collect(tmp_path, registry=seen))
    assert "says held out" in line


def test_nothing_of_a_machine_or_a_dataset_leaks(tmp_path: Path) -> None:
    record = good(tmp_path)
    for text in ("warning: /home/me/DISFA/x.txt is empty", "write to me@lab.edu", "in C:\\data\\x.jpg"):
        data = record.dataset.model_copy(update={"findings": (text,)})
        assert "somebody's machine" in wrong(tmp_path, record.model_copy(update={"dataset": data})), text
    data = record.dataset.model_copy(update={"findings": ("warning: ActionUnit_Labels/SN001/x.txt lacks 2 frames",)})
    assert wrong(tmp_path, record.model_copy(update={"dataset": data})) == ""
    data = record.dataset.model_copy(update={"findings": tuple(f"SN001 frame {i}: 3" for i in range(40_000))})
    assert "a record holds no values of single frames" in wrong(tmp_path, record.model_copy(update={"dataset": data}))


def test_timings_have_to_hold_together(tmp_path: Path) -> None:
    made = timing(median=5.0)
    swapped = tuple(p.model_copy(update={"value": 5.0 / p.percent}) for p in made.percentiles)
    assert "do not rise" in wrong(tmp_path, made.model_copy(update={"percentiles": swapped}))
    import numpy as np

    others = Samples.pack(np.full(10, 9_000_000))
    assert "the median of its samples is 9 ms, it says 5" in wrong(
        tmp_path, made.model_copy(update={"samples": others})
    )
    assert "VALID without samples" in wrong(tmp_path, made.model_copy(update={"samples": None}))
    assert "INVALID without a reason" in wrong(tmp_path, made.model_copy(update={"verdict": Verdict(valid=False)}))
    assert "no model 'stranger'" in wrong(tmp_path, timing("stranger"))


def test_a_score_that_moves_without_a_new_version_fails(tmp_path: Path) -> None:
    def after(value: float, **change: Any) -> list[str]:
        for path in tmp_path.rglob("results/**/*.json"):
            path.unlink()
        first = good(tmp_path, value=0.5, created="2026-01-01T00:00:00Z")
        save_record(first, tmp_path)
        again = good(tmp_path, value=value, created="2026-01-02T00:00:00Z")
        save_record(again.model_copy(update=change), tmp_path)
        return check_records(collect(tmp_path, registry=registry(tmp_path)))

    record = good(tmp_path)
    assert after(0.5) == after(0.5015) == []
    (line,) = after(0.49)
    assert "20260102T000000Z" in line.split(":")[0]
    assert "its score moved without a new version, 0.4900 after 0.5000" in line
    assert after(0.49, code=record.code.model_copy(update={"version": "99"})) == []
    assert after(0.49, dataset=record.dataset.model_copy(update={"manifest": "another copy"})) == []
    contract = record.model.model_copy(update={"contract": "another"})
    assert after(0.49, model=contract) == []
    # The record before it is a wrong one, and errata say so: nothing has moved.
    after(0.49)
    (old,) = [p for p in tmp_path.rglob("results/**/*.json") if "20260101" in p.name]
    (tmp_path / "errata.yaml").write_text(
        f"schema_version: 1\nerrata: [{{record: '{old.relative_to(tmp_path).as_posix()}', reason: withdrawn, text: t,"
        " date: 2026-01-02}]\n"
    )
    assert check_records(collect(tmp_path, registry=registry(tmp_path))) == []


def test_superseded_records_are_left_alone(tmp_path: Path) -> None:
    path = save_record(make_record("stranger"), tmp_path).relative_to(tmp_path).as_posix()
    collection = collect(tmp_path, registry=registry(tmp_path))
    assert len(check_records(collection)) == 1
    (tmp_path / "errata.yaml").write_text(
        f"schema_version: 1\nerrata: [{{record: '{path}', reason: withdrawn, text: t, date: 2026-01-01}}]\n"
    )
    assert check_records(collect(tmp_path, registry=registry(tmp_path))) == []


def test_the_steps_name_every_command(tmp_path: Path) -> None:
    path = save_record(good(tmp_path), tmp_path / "zoo-results")
    text = steps(path, registry=registry(tmp_path))
    folder = "leaderboards/results/quick-net/disfa-intensity-5fold@1/"
    branch = "git switch -c result/quick-net-disfa-intensity-5fold-v1"
    for words in (branch, f"cp {path} {folder}{path.name}", "python -m zoo.leaderboard check=true"):
        assert words in text
    assert "mend" not in text
    # The project's registry does not have the made-up model: its entry comes with the record.
    assert "put the entry of quick-net into registry.yaml as you measured it" in text
    assert "git add leaderboards registry.yaml docs/models.md" in text
    ours = load_registry().get("hog-ridge")
    record = make_record("hog-ridge")
    about = record.model.model_copy(update={"contract": ours.contract_hash})
    known = steps(save_record(record.model_copy(update={"model": about}), tmp_path / "k"))
    assert "registry.yaml" not in known and "git add leaderboards &&" in known
    dirty = good(tmp_path, code=Code(version="0", commit="f" * 40, dirty=True))
    assert "measured with uncommitted code" in steps(save_record(dirty, tmp_path / "d"), registry=registry(tmp_path))
    changed = make_record("quick-net")
    assert "entry has changed since" in steps(save_record(changed, tmp_path / "c"), registry=registry(tmp_path))
    assert "quick-net on cpu@1" in steps(save_record(timing(), tmp_path / "t"), registry=registry(tmp_path))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(RecordError):
        steps(tmp_path / "x.json")


def test_a_pull_request_shows_what_changes(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for out in (before, after):
        out.mkdir()
        save_record(good(tmp_path, "quick-net", 0.5), out)
        save_record(good(tmp_path, "closed-net", 0.9), out)
    known = registry(tmp_path)
    assert changes(collect(before, registry=known), collect(after, registry=known)) == "No board changes.\n"
    save_record(good(tmp_path, "quick-net", 0.6, created="2026-05-05T00:00:00Z"), after)
    save_record(good(tmp_path, "slow-net", 0.75), after)
    save_record(timing(), after)
    text = changes(collect(before, registry=known), collect(after, registry=known))
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "| new | – | 0.750 [0.650, 0.850] | – | 2 (1–3) |" in lines["slow-net"]
    assert "| measured again | 0.500 [0.400, 0.600] | 0.600 [0.500, 0.700] |" in lines["quick-net"]
    assert "| rank |" in lines["closed-net"]  # its place is open further down now
    assert "| cpu@1 | quick-net | openvino fp32, 1 threads, encoder | SingleStream | new | – | 5.00 |" in text


def test_only_ranked_results_go_to_the_hub(tmp_path: Path) -> None:
    save_record(good(tmp_path, "quick-net", 0.5), tmp_path)
    save_record(good(tmp_path, "slow-net", 0.9, contamination="in_sample"), tmp_path)
    collection = collect(tmp_path, registry=registry(tmp_path))
    assert model_index(collection, "slow-net") == {}
    data = model_index(collection, "quick-net", url="https://example.org/boards/")
    (model,) = data["model-index"]
    (result,) = model["results"]
    assert model["name"] == "quick-net"
    assert result["dataset"] == {"type": "disfa", "name": collection.boards[0].protocol.title}
    assert result["metrics"][0]["value"] == 0.5
    assert "[0.400, 0.600]" in result["metrics"][0]["name"]
    assert result["source"]["url"].startswith("https://example.org/boards/results/quick-net/")
    from huggingface_hub import ModelCardData

    card = ModelCardData(model_name="quick-net", **{k: v for k, v in data.items() if k != "model-index"})
    assert card is not None
    assert yaml.safe_load(yaml.safe_dump(data)) == data


def test_the_verb_refuses_wrong_records_and_compares_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(make_record("stranger"), tmp_path)
    assert main([f"out={tmp_path}", "check=true"]) == 1
    assert "the registry has no model 'stranger'" in capsys.readouterr().err
    assert main([f"out={tmp_path}", f"against={tmp_path}"]) == 0
    assert "No board changes" in capsys.readouterr().out
    assert main([f"out={tmp_path}", "hub=hog-ridge"]) == 1
    assert "no result of hog-ridge is ranked" in capsys.readouterr().err
    assert main([f"out={tmp_path}", "hub=nobody"]) == 2
