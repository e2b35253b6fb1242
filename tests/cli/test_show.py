"""``zoo.show``: the list fits the screen, and its filters select."""

from __future__ import annotations

import csv
import io
import json

import pytest

from zoo import show
from zoo.registry import load_registry


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, str]]:
    assert show.main([*words, "format=json"]) == 0
    return {row["model"]: row for row in json.loads(capsys.readouterr().out)}


def test_every_entry_is_listed_once(capsys: pytest.CaptureFixture[str]) -> None:
    entries = load_registry().entries
    assert list(listed(capsys)) == list(entries)
    kinds = [listed(capsys, f"kind={kind}") for kind in ("graph", "checkpoint", "external", "reported")]
    assert sorted(n for kind in kinds for n in kind) == sorted(entries)
    assert listed(capsys, "kind=runnable").keys() == kinds[0].keys() | kinds[1].keys()
    assert "libreface-r18" in kinds[0] and "libreface-r18-disfa" in kinds[1] and "jaa-net" in kinds[3]
    assert set(kinds[2]) == {"openface2", "openface2-svr"}


def test_filters_select(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, "task=valence-arousal", "license=Apache-2.0", "kind=runnable")
    assert found and all("valence-arousal" in r["tasks"] and r["licence"] == "Apache-2.0" for r in found.values())
    assert listed(capsys, "license=mit") == listed(capsys, "license=MIT") != {}
    assert {r["commercial"] for r in listed(capsys, "license=commercial").values()} == {"yes"}
    assert {r["status"] for r in listed(capsys, "status=verified").values()} == {"verified"}
    assert show.main(["license=mitt"]) != 0
    assert "did you mean 'MIT'" in capsys.readouterr().err


def test_a_table_has_short_tasks_and_other_formats_the_names_that_keys_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert show.main(["model=libreface-r18*"]) == 0
    table = capsys.readouterr().out
    assert "AU int, AU occ, expr" in table and "au-intensity" not in table and "official ONNX graphs" in table
    assert show.main(["model=libreface-r18*", "format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["tasks"] == "au-intensity, au-occurrence, expression"
    assert {r["size_bytes"] for r in rows} == {"90645157", "45197696", "45197588", ""}


def test_one_model_is_whole_for_the_eye_and_as_json_and_a_row_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["model=hog-ridge", "format=csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["model"], row["tasks"]) == ("hog-ridge", "au-intensity")
    assert show.main(["model=hog-ridge", "format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "hog-ridge"


def test_lines_are_cut_to_the_screen() -> None:
    head = ("model", "what")
    rows = [("a", "short"), ("name", "x" * 200)]
    fitted = show._fitted(head, rows, 80)
    assert fitted[0] == ["a", "short"]
    assert fitted[1][1] == "x" * 72 + "…" and len("name") + 3 + len(fitted[1][1]) == 80
    assert len(show._fitted(head, rows, 10)[1][1]) == show._NARROWEST


def test_one_name_shows_the_entry_with_its_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["model=libreface-swin-t", "format=json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["contract"]["whole"] == load_registry().get("libreface-swin-t").contract_hash
    assert [r["name"] for r in shown["readings"]] == ["times-five", "as-it-is"]
