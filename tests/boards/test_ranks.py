"""Places, the places that intervals leave open, and what may be ranked at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.boards.made_up import registry
from tests.helpers.records import make_record
from zoo.boards.collect import Board, Row, collect
from zoo.boards.leaderboard import render
from zoo.protocols import load_protocol
from zoo.results import save_record
from zoo.results.record import Code, Estimate, LabelAudit, ResultRecord, UsedFile

PROTOCOL = load_protocol("disfa-intensity-5fold@1")


def with_interval(model: str, value: float | None, low: float | None, high: float | None, **change: object) -> Row:
    record = make_record(model, value, **change)
    (view,) = record.views
    found = Estimate(value=value, low=low, high=high)
    scores = tuple(s.model_copy(update={"mean": found}) for s in view.scores)
    record = record.model_copy(update={"views": (view.model_copy(update={"scores": scores}),)})
    return Row(f"results/{model}.json", record, PROTOCOL)


def places(*rows: Row) -> dict[str, str]:
    ranks = Board(PROTOCOL, rows).ranks
    return {row.record.model.name: ranks[row.key].text for row in rows if row.key in ranks}


def test_intervals_that_overlap_leave_places_open() -> None:
    assert places(
        with_interval("a", 0.80, 0.75, 0.85), with_interval("b", 0.70, 0.65, 0.76), with_interval("c", 0.60, 0.55, 0.64)
    ) == {"a": "1 (1–2)", "b": "2 (1–2)", "c": "3"}


def test_equal_values_share_a_place_and_no_interval_leaves_all_open() -> None:
    assert places(
        with_interval("a", 0.8, 0.79, 0.81), with_interval("b", 0.8, 0.79, 0.81), with_interval("c", 0.5, None, None)
    ) == {"a": "1 (1–3)", "b": "1 (1–3)", "c": "3 (1–3)"}


def test_a_model_in_two_precisions_takes_no_place_from_the_others() -> None:
    int8 = make_record().runtime.model_copy(update={"precision": "int8"})
    rows = (
        with_interval("a", 0.80, 0.79, 0.81), with_interval("a", 0.78, 0.77, 0.785, runtime=int8),
        with_interval("b", 0.70, 0.69, 0.71), with_interval("empty", None, None, None),
    )  # fmt: skip
    ranks = Board(PROTOCOL, rows).ranks
    assert [ranks[r.key].text for r in rows[:3]] == ["1", "1", "2"]
    assert rows[3].key not in ranks


estimates = st.tuples(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5))


@given(st.lists(estimates, min_size=1, max_size=6))
def test_the_place_lies_between_its_ends(values: list[tuple[float, float, float]]) -> None:
    rows = tuple(with_interval(f"m{i}", v, v - a, v + b) for i, (v, a, b) in enumerate(values))
    ranks = Board(PROTOCOL, rows).ranks
    for rank in ranks.values():
        assert 1 <= rank.best <= rank.place <= rank.worst <= len(values)
    assert min(r.place for r in ranks.values()) == 1


def test_lower_is_better_for_errors() -> None:
    errors = PROTOCOL.model_copy(update={"primary": PROTOCOL.primary.model_copy(update={"metric": "mae"})})
    rows = [with_interval("a", 0.3, 0.25, 0.35), with_interval("b", 0.5, 0.45, 0.55)]
    rows = [Row(r.path, r.record, errors) for r in rows]
    ranks = Board(errors, tuple(rows)).ranks
    assert [ranks[r.key].text for r in rows] == ["1", "2"]


def lacking(model: str, value: float, labels: tuple[str, ...]) -> ResultRecord:
    record = make_record(model, value)
    share = 1 - len(labels) / 12
    (view,) = record.views
    scores = tuple(
        s.model_copy(
            update={
                "per_label": tuple(x for x in s.per_label if x.label not in labels),
                "mean_missing_zero": Estimate(
                    value=value * share, low=(value - 0.1) * share, high=(value + 0.1) * share
                ),
            }
        )
        for s in view.scores
    )
    used = record.model.model_copy(update={"missing_labels": labels})
    return record.model_copy(update={"model": used, "views": (view.model_copy(update={"scores": scores}),)})


def test_a_model_that_lacks_labels_is_ranked_with_zero_for_them(tmp_path: Path) -> None:
    save_record(lacking("seven-aus", 0.8, ("AU05", "AU09", "AU20", "AU25", "AU26")), tmp_path)
    save_record(make_record("all-aus", 0.6), tmp_path)
    (board,) = collect(tmp_path).boards
    assert [r.record.model.name for r in board.rows] == ["all-aus", "seven-aus"]
    few = board.rows[1]
    assert few.headline.value == pytest.approx(0.8 * 7 / 12)
    assert len(board.shared_labels) == 7
    assert board.on_shared(few) == pytest.approx(0.8)
    assert board.on_shared(board.rows[0]) == pytest.approx(0.6)


def test_what_is_measured_with_changed_code_or_a_changed_entry_is_not_ranked(tmp_path: Path) -> None:
    save_record(make_record("dirty", code=Code(version="0", commit=None, dirty=True)), tmp_path)
    save_record(make_record("quick-net"), tmp_path)  # its contract is not the registry's
    (board,) = collect(tmp_path, registry=registry(tmp_path)).boards
    reasons = {r.record.model.name: r.why_not_ranked for r in board.rows}
    assert reasons == {"dirty": "measured with uncommitted code", "quick-net": "the entry has changed since"}


def test_a_model_whose_columns_may_be_mixed_up_is_not_ranked(tmp_path: Path) -> None:
    audit = LabelAudit(
        metric="pcc", declared=0.2, best_other=0.6, order=PROTOCOL.labels, order_of="sorted file names", beaten=True
    )
    save_record(make_record("mixed-up", label_audit=audit), tmp_path)
    save_record(make_record("fine", label_audit=audit.model_copy(update={"beaten": False})), tmp_path)
    (board,) = collect(tmp_path).boards
    assert {r.record.model.name: r.why_not_ranked for r in board.rows} == {
        "fine": "", "mixed-up": "label order in doubt (that of sorted file names fits better)"
    }  # fmt: skip


def test_one_checkpoint_for_everybody_is_a_row_of_its_own(tmp_path: Path) -> None:
    def bound(*folds: str | None, **change: object) -> ResultRecord:
        files = tuple(UsedFile(name=f"{f}.onnx", sha256="0" * 64, fold=f) for f in folds)
        record = make_record("bound", **change)
        return record.model_copy(update={"model": record.model.model_copy(update={"weights": files})})

    save_record(bound("of1", "of2"), tmp_path)
    save_record(bound("of1", created="2026-02-02T00:00:00Z"), tmp_path)
    save_record(bound("of2", created="2026-02-03T00:00:00Z"), tmp_path)
    (board,) = collect(tmp_path).boards
    assert sorted(r.read_as for r in board.rows) == ["", "checkpoint of fold of1", "checkpoint of fold of2"]
    assert "checkpoint of fold of1" in render(collect(tmp_path))["disfa-intensity-5fold@1.md"]


def test_tuned_thresholds_stand_apart(tmp_path: Path) -> None:
    record = make_record("m", 0.4, protocol="disfa-occurrence-3fold")
    tuned = make_record("m", 0.6, protocol="disfa-occurrence-3fold").views[0]
    save_record(record.model_copy(update={"tuned": tuned}), tmp_path)
    (board,) = collect(tmp_path).boards
    assert board.rows[0].headline.value == 0.4
    text = render(collect(tmp_path))[f"{board.name}.md"]
    assert "F1, thresholds of the other folds" in text
    assert "0.600 [0.500, 0.700]" in text
