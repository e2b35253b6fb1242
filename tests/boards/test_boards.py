"""Boards are a pure function of the records, rank only what may be ranked, and are checked byte by byte."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.helpers.records import make_record
from zoo.boards import check_boards, collect_boards, result_table, write_boards
from zoo.boards.text import interval, number, percent
from zoo.errors import RecordError
from zoo.protocols import load_protocol
from zoo.results import save_record
from zoo.results.record import Coverage, Estimate, LabelAudit, ProtocolUsed

REF = "disfa-intensity-5fold@1"


def _dataset(**change: object) -> object:
    return make_record().dataset.model_copy(update=change)


def test_rows_are_ordered_by_the_headline_and_only_clean_ones_are_ranked(tmp_path: Path) -> None:
    save_record(make_record("good", 0.7), tmp_path)
    save_record(make_record("better", 0.8), tmp_path)
    save_record(make_record("trained-on-it", 0.95, contamination="in_sample"), tmp_path)
    save_record(make_record("who-knows", 0.9, contamination="unknown"), tmp_path)
    save_record(make_record("rendered", 0.99, dataset=_dataset(synthetic=True)), tmp_path)
    save_record(make_record("half-a-copy", 0.97, dataset=_dataset(complete=False)), tmp_path)
    save_record(make_record("nothing", None), tmp_path)
    (board,) = collect_boards(tmp_path)
    assert [r.record.model.name for r in board.rows if r.ranked] == ["better", "good", "nothing"]
    write_boards(tmp_path)
    text = (tmp_path / f"{REF}.md").read_text(encoding="utf-8")
    ranked, rest = text.split("## Measured, not rankable")
    assert ranked.index("better") < ranked.index("good")
    for name, reason in (
        ("trained-on-it", "in-sample"), ("rendered", "rendered faces"), ("half-a-copy", "incomplete copy")
    ):  # fmt: skip
        assert name not in ranked
        line = next(x for x in rest.splitlines() if x.startswith(f"| {name}"))
        assert reason in line
    assert "0.800 [0.700, 0.900]" in ranked
    assert "reconstruction" in ranked  # the folds of this protocol are one


def test_the_newest_record_of_a_cell_is_shown(tmp_path: Path) -> None:
    save_record(make_record("m", 0.9, created="2026-01-01T00:00:00Z"), tmp_path)
    save_record(make_record("m", 0.4, created="2026-01-03T00:00:00Z"), tmp_path)
    save_record(make_record("m", 0.8, created="2026-01-02T00:00:00Z"), tmp_path)
    (board,) = collect_boards(tmp_path)
    assert [r.record.created for r in board.rows] == ["2026-01-03T00:00:00Z"]


def test_boards_are_byte_stable_and_a_change_is_found(tmp_path: Path) -> None:
    save_record(make_record("m", 0.5), tmp_path)
    write_boards(tmp_path)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    write_boards(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == first
    assert set(first) == {"README.md", f"{REF}.md", f"{REF}.csv"}
    assert check_boards(tmp_path) == []
    board = tmp_path / f"{REF}.md"
    board.write_text(board.read_text().replace("0.500", "0.900"))
    (tmp_path / f"{REF}.csv").unlink()
    assert check_boards(tmp_path) == [f"{REF}.md: differs from what the records say", f"{REF}.csv: missing"]


def test_a_board_without_records_is_stale_and_goes(tmp_path: Path) -> None:
    path = save_record(make_record("m", 0.5), tmp_path)
    write_boards(tmp_path)
    (tmp_path / "notes.md").write_text("mine")
    path.unlink()
    assert any("no record stands behind it" in line for line in check_boards(tmp_path))
    write_boards(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["README.md", "notes.md"]


def test_a_protocol_that_changed_without_a_version_is_found(tmp_path: Path) -> None:
    save_record(make_record(), tmp_path)
    bad = make_record("m2").model_copy(update={"protocol": ProtocolUsed(ref=REF, hash="0" * 16)})
    save_record(bad, tmp_path)
    with pytest.raises(RecordError, match="another text"):
        collect_boards(tmp_path)


def test_the_csv_holds_every_value_once(tmp_path: Path) -> None:
    record = make_record("m", 0.5)
    save_record(record, tmp_path)
    write_boards(tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / f"{REF}.csv").read_text())))
    scores = record.views[0].scores
    assert len(rows) == sum(2 + len(s.per_label) for s in scores)
    assert len({(r["metric"], r["aggregation"], r["label"], r["undetected"]) for r in rows}) == len(rows)


def test_the_table_on_screen_says_what_must_be_known() -> None:
    protocol = load_protocol(REF)
    record = make_record("m", 0.5, contamination="in_sample", contamination_note="all 27 subjects")
    record = record.model_copy(update={"dataset": _dataset(synthetic=True, complete=False)})
    text = result_table(record, protocol)
    for words in (
        "AU01", "0.500 [0.400, 0.600]", "990 of 1000 (99.0 %)", "the others are predicted 0", "1 could not be decoded",
        "in-sample (all 27 subjects)", "rehearsal", "INCOMPLETE", "mean over folds",
    ):  # fmt: skip
        assert words in text


def test_a_mean_that_counts_undefined_values_as_0_says_so_on_screen() -> None:
    protocol = load_protocol(REF)
    record = make_record("m", 0.5)
    assert "undefined values" not in result_table(record, protocol)
    view = record.views[0]
    scores = tuple(
        s.model_copy(update={"mean": Estimate(value=0.4, low=None, high=None)}) if s.metric == "icc31" else s
        for s in view.scores
    )
    partly = record.model_copy(update={"views": (view.model_copy(update={"scores": scores}),)})
    assert "count as 0 in the means; left out: ICC(3,1) 0.500" in result_table(partly, protocol)


def test_another_release_of_the_owners_size_is_said_to_be_altered() -> None:
    protocol = load_protocol(REF)
    whole = Coverage(expected=1000, samples=1000, detected=1000, undetected=0, undecodable=0)
    record = make_record("m", 0.5, coverage=whole)
    record = record.model_copy(update={"dataset": _dataset(complete=False)})
    assert "ALTERED copy" in result_table(record, protocol)
    damaged = record.model_copy(update={"coverage": whole.model_copy(update={"undecodable": 2})})
    assert "INCOMPLETE copy: 1000 samples of 1000, 2 of them not decoded" in result_table(damaged, protocol)


def test_tuned_thresholds_and_a_doubtful_label_order_are_said_on_screen() -> None:
    protocol = load_protocol("disfa-occurrence-3fold")
    tuned = make_record("m", 0.75, protocol=protocol.ref).views[0]
    audit = LabelAudit(
        metric="pcc", declared=0.1, best_other=0.6, order=protocol.labels, order_of="somebody", beaten=True
    )
    record = make_record("m", 0.5, protocol=protocol.ref, tuned=tuned, label_audit=audit)
    text = result_table(record, protocol)
    assert "tuned on the other folds (never comparable): F1 0.750 [0.650, 0.850]" in text
    assert "LABEL ORDER: PCC is 0.100 in the declared order and 0.600 in that of somebody" in text
    assert "predicted absent" in text
    fine = record.model_copy(update={"tuned": None, "label_audit": audit.model_copy(update={"beaten": False})})
    assert not {"tuned", "LABEL"} & set(result_table(fine, protocol).split())
    one = load_protocol("bp4d-intensity-fera15")
    assert "mean over folds" not in result_table(make_record("m", 0.5, protocol=one.ref), one)


def test_numbers_are_written_one_way() -> None:
    assert number(None) == "–"
    assert interval(Estimate(value=None)) == "–"
    assert interval(Estimate(value=0.5)) == "0.500"
    assert percent(9999, 10000) == "99.9 %"
    assert percent(10000, 10000) == "100 %"
    assert percent(99999, 100000) == "99.9 %"
    assert percent(0, 0) == "–"
