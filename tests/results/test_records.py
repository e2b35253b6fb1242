"""Records are immutable, named by their content, and refuse what does not hold together."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.records import make_record
from zoo._util.files import content_hash
from zoo.errors import RecordError, RegistryError
from zoo.results import environment, read_record, read_records, save_record
from zoo.results.errata import read_errata


def test_a_record_goes_out_and_comes_back_the_same(tmp_path: Path) -> None:
    record = make_record()
    path = save_record(record, tmp_path)
    assert path == tmp_path / "results" / "a-model" / "disfa-intensity-5fold@1" / record.file_name
    assert read_record(path) == record
    assert [r for _, r in read_records(tmp_path)] == [record]
    assert save_record(record, tmp_path) == path  # the same again changes nothing


def test_a_changed_record_is_refused(tmp_path: Path) -> None:
    path = save_record(make_record(), tmp_path)
    data = json.loads(path.read_text())
    data["views"][0]["scores"][0]["mean"]["value"] = 0.99
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match="does not hold what its name says"):
        read_record(path)


@pytest.mark.parametrize("keys", [("tuned",), ("views", 0, "scores", 0, "undefined")])
def test_a_record_from_before_a_key_existed_keeps_its_name(tmp_path: Path, keys: tuple[str | int, ...]) -> None:
    record = make_record()
    path = save_record(record, tmp_path)
    data = json.loads(path.read_text())
    *outer, last = keys
    holder = data
    for key in outer:
        holder = holder[key]
    del holder[last]
    old = path.rename(path.with_name(f"20260102T030405Z-{content_hash(data, 8)}.json"))
    old.write_text(json.dumps(data, indent=1))
    assert old.name != record.file_name
    assert [(p, r) for p, r in read_records(tmp_path)] == [(old, record)]

    data["model"]["status"] = "unverified"
    old.write_text(json.dumps(data, indent=1))
    with pytest.raises(RecordError, match="does not hold what its name says"):
        read_record(old)


def test_a_moved_record_is_refused(tmp_path: Path) -> None:
    path = save_record(make_record(), tmp_path)
    other = tmp_path / "results" / "another-model" / path.parent.name / path.name
    other.parent.mkdir(parents=True)
    path.rename(other)
    with pytest.raises(RecordError, match="wrong folder"):
        list(read_records(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "accuracy"}'])
def test_what_is_no_record_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results" / "m" / "p@1" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(RecordError, match=r"x\.json"):
        list(read_records(tmp_path))


def test_nothing_half_written_is_left_when_a_name_is_taken(tmp_path: Path) -> None:
    record = make_record()
    path = save_record(record, tmp_path)
    path.write_text("something else")
    with pytest.raises(RecordError, match="never changed"):
        save_record(record, tmp_path)
    assert path.read_text() == "something else"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_scores_are_found_by_name() -> None:
    record = make_record(value=0.25)
    score = record.score("pcc", "mean_over_folds")
    assert score is not None
    assert score.mean.value == 0.25
    assert record.score("pcc", "pooled", "undetected-skipped") is None
    assert record.score("macro_f1", "pooled") is None


def test_code_that_git_cannot_judge_is_not_called_clean(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if "status" in words:
            raise subprocess.TimeoutExpired(words, 10)
        said = str(repository) if "--show-toplevel" in words else "0" * 40
        return subprocess.CompletedProcess(words, 0, stdout=f"{said}\n")

    monkeypatch.setattr(environment.subprocess, "run", run)
    code = environment.capture_code.__wrapped__()
    assert (code.commit, code.dirty) == ("0" * 40, None)


def test_errata_that_are_no_list_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "errata.yaml").write_text("schema_version: 1\nerrata: 5\n")
    with pytest.raises(RegistryError, match="errata must be a list"):
        read_errata(tmp_path)
