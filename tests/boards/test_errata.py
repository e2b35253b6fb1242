"""Errata: struck out, never deleted; and no record is lost between the boards."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.boards.made_up import timing
from tests.helpers.records import make_record
from zoo.boards.collect import collect
from zoo.boards.leaderboard import render
from zoo.errors import RecordError, RegistryError
from zoo.results import save_record
from zoo.results.errata import read_errata
from zoo.results.record import ProtocolUsed, ResultRecord

REF = "disfa-intensity-5fold@1"


def save(record: ResultRecord, out: Path) -> str:
    return save_record(record, out).relative_to(out).as_posix()


def write(out: Path, record: str, **more: str) -> None:
    lines = [f"  - record: {record}", "    reason: wrong-weights", "    text: The file was another one.",
             "    date: 2026-02-03", *(f"    {k}: {v}" for k, v in more.items())]  # fmt: skip
    (out / "errata.yaml").write_text("\n".join(["schema_version: 1", "errata:", *lines]) + "\n")


def test_a_superseded_record_is_struck_out_and_the_one_before_it_stands_again(tmp_path: Path) -> None:
    save(make_record("m", 0.4, created="2026-01-01T00:00:00Z"), tmp_path)
    wrong = save(make_record("m", 0.9, created="2026-01-02T00:00:00Z"), tmp_path)
    write(tmp_path, wrong)
    collection = collect(tmp_path)
    (board,) = collection.boards
    assert [r.headline.value for r in board.rows] == [0.4]
    assert [r.path for r in board.superseded] == [wrong]
    text = render(collection)[f"{REF}.md"]
    (line,) = [x for x in text.splitlines() if "~~" in x]
    assert "~~0.900 [0.800, 1.000]~~" in line
    assert "wrong weights: The file was another one." in line
    rows = list(csv.DictReader(io.StringIO(render(collection)[f"{REF}.csv"])))
    assert {r["state"] for r in rows if r["record"] == wrong} == {"superseded"}
    assert {r["ranked"] for r in rows if r["record"] == wrong} == {"false"}


def test_the_record_that_takes_its_place_is_linked(tmp_path: Path) -> None:
    wrong = save(make_record("m", 0.9, created="2026-01-02T00:00:00Z"), tmp_path)
    right = save(make_record("m", 0.5, created="2026-01-03T00:00:00Z"), tmp_path)
    write(tmp_path, wrong, superseded_by=right)
    assert f"([now]({right}))" in render(collect(tmp_path))[f"{REF}.md"]


def test_a_superseded_timing_is_not_used(tmp_path: Path) -> None:
    path = save_record(timing(), tmp_path).relative_to(tmp_path).as_posix()
    assert len(collect(tmp_path).newest_timings) == 1
    write(tmp_path, path)
    assert collect(tmp_path).newest_timings == ()


def test_errata_that_delete_or_chase_each_other_are_refused(tmp_path: Path) -> None:
    path = save(make_record("m"), tmp_path)
    write(tmp_path, path.replace("m/", "gone/", 1))
    with pytest.raises(RecordError, match="not there"):
        read_errata(tmp_path)
    write(tmp_path, path, superseded_by=path)
    with pytest.raises(RegistryError, match="itself wrong"):
        read_errata(tmp_path)
    (tmp_path / "errata.yaml").write_text(f"schema_version: 1\nerrata: [{{record: {path}, reason: because}}]\n")
    with pytest.raises(RegistryError, match="because"):
        read_errata(tmp_path)


def test_every_record_is_somewhere(tmp_path: Path) -> None:
    paths = {save(make_record("m", 0.1 * i, created=f"2026-01-0{i}T00:00:00Z"), tmp_path) for i in range(1, 5)}
    write(tmp_path, sorted(paths)[0])
    text = render(collect(tmp_path))[f"{REF}.md"]
    assert all(path in text for path in paths)


def test_a_record_of_an_unknown_protocol_would_be_nowhere(tmp_path: Path) -> None:
    save(make_record(protocol=REF), tmp_path)
    lost = make_record("m2").model_copy(
        update={"protocol": ProtocolUsed(ref="disfa-intensity-5fold@99", hash="0" * 16)}
    )
    save(lost, tmp_path)
    with pytest.raises(RecordError, match="would be on no board"):
        collect(tmp_path)
