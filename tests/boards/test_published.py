"""Published figures beside ours: which one, the gap, the reason; and figures that stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.boards.made_up import registry, reported, timing
from tests.helpers.records import make_record
from zoo.boards import check_boards
from zoo.boards.collect import Row, collect
from zoo.boards.leaderboard import render
from zoo.boards.papers import paper_pages
from zoo.boards.published import published_for
from zoo.protocols import load_protocol
from zoo.results import save_record
from zoo.results.reported import load_reported

REF = "disfa-intensity-5fold@1"


def run(out: Path, value: float, **change: Any) -> None:
    entry = registry(out).entries["quick-net"]
    record = make_record("quick-net", value, **change)
    record = record.model_copy(update={"model": record.model.model_copy(update={"contract": entry.contract_hash})})
    save_record(record, out)


def row(out: Path) -> Row:
    (board,) = collect(out, registry=registry(out)).boards
    return board.rows[0]


@pytest.mark.parametrize(
    ("value", "why", "weights", "change", "code"),
    [
        (0.5, "same", "same", {}, "reproduced"),
        (0.5, "same", "unknown", {}, "reproduced"),
        (0.4, "same", "same", {}, "outside"),
        (0.4, "same", "unknown", {}, "weights-uncertain"),
        (0.5, "same", "other", {}, "weights-unavailable"),
        (0.5, "other-split", "same", {}, "protocol-differs"),
        (0.9, "same", "same", {"contamination": "in_sample"}, "in-sample"),
        (0.5, "in-sample", "same", {"contamination": "in_sample"}, "reproduced"),
        (0.5, "in-sample", "same", {}, "protocol-differs"),
        (0.5, "same", "same", {"dataset": make_record().dataset.model_copy(update={"complete": False})}, "incomplete"),
    ],
)
def test_the_gap_has_a_reason(
    tmp_path: Path, value: float, why: str, weights: str, change: dict[str, Any], code: str
) -> None:
    reported(tmp_path, why=why, weights=weights)
    run(tmp_path, value, **change)
    found = row(tmp_path).beside
    assert found is not None
    assert found.code == code
    assert found.gap == pytest.approx(value - 0.52)


def test_rounding_of_the_printed_value_counts_for_it(tmp_path: Path) -> None:
    reported(tmp_path)
    run(tmp_path, 0.416)  # up to 0.516; the paper's 0.52 may have been 0.5151
    found = row(tmp_path).beside
    assert found is not None
    assert found.code == "reproduced"


def test_figures_stand_beside_or_alone_never_twice(tmp_path: Path) -> None:
    reported(tmp_path)
    run(tmp_path, 0.5)
    collection = collect(tmp_path, registry=registry(tmp_path))
    (board,) = collection.boards
    assert [p.system for p in board.alone] == ["Paper net"]
    text = render(collection)[f"{REF}.md"]
    ranked, alone = text.split("## Reported only")
    assert "| 0.52 (Table 3) | −0.020 | reproduced within interval |" in ranked
    assert "Paper net" not in ranked
    assert "| Paper net | PCC | 0.60 |" in alone
    assert "weights unavailable" in alone
    assert "| 1.2 M | 4.8 MB |" in ranked


def test_a_board_of_reported_figures_alone_is_drawn_for_the_project_only(tmp_path: Path) -> None:
    reported(tmp_path / "project")
    (tmp_path / "mine" / "results").mkdir(parents=True)
    assert [b.name for b in collect(tmp_path / "project").boards] == [REF]
    assert collect(tmp_path / "mine").boards == ()
    assert check_boards(tmp_path / "project") != []


def test_percentages_and_means_are_put_on_our_scale() -> None:
    by_system = {
        (p.file, p.table, p.system): p for p in published_for(load_protocol("rafdb-expression@1"), load_reported())
    }
    libreface = by_system["libreface-2023", "Table 5", "LibreFace (Ours)"]
    assert (libreface.value, libreface.text) == (pytest.approx(0.8279), "0.8279")
    disfa = published_for(load_protocol(REF), load_reported())
    # OpenFace's file prints values by AU and no mean: the mean is ours and says so.
    openface = next(p for p in disfa if p.file == "openface-repository" and p.metric == "pcc")
    assert openface.computed
    assert "*" in openface.text
    assert openface.value == pytest.approx(sum(v for _, v in openface.by_label) / 12)
    doubtful = next(p for p in disfa if p.system == "Res-18+Distill" and p.metric == "mse")
    assert doubtful.text.endswith("?")


def test_a_paper_page_lays_our_row_below_the_papers(tmp_path: Path) -> None:
    reported(tmp_path)
    run(tmp_path, 0.5)
    save_record(make_record("not-in-the-paper", 0.3), tmp_path)
    collection = collect(tmp_path, registry=registry(tmp_path))
    (page,) = paper_pages(collection)
    assert [r.name for r in page.rows] == ["Quick", "ours: quick-net", "Paper net", "ours: not-in-the-paper"]
    assert page.rows[0].cells[-1] == "0.52"
    assert page.rows[1].cells == ("0.500 [0.400, 0.600]",) * 13
    text = render(collection)[f"{page.path}.md"]
    assert "**ours: quick-net**" in text
    assert "(../results/quick-net/" in text


def test_a_table_of_speed_takes_rows_from_its_own_suite(tmp_path: Path) -> None:
    folder = tmp_path / "reported"
    folder.mkdir()
    (folder / "libreface-2023.yaml").write_text("""
schema_version: 1
source: {kind: paper, title: A paper, arxiv: "2301.00001", year: 2023, read_from: text}
tables:
  - table: Table 7
    title: Speed
    protocol_as_stated: 1,000 images.
    comparable: {protocol: null, why: no-protocol, text: Another machine.}
    columns:
      - {name: seconds, title: "Avg.", metric: seconds, unit: s}
      - {name: fps, title: FPS, metric: fps, unit: fps}
    items: 1000
    shape: [1, 2]
    numbers: 2
    rows:
      - {system: Quick, entry: quick-net, weights: unknown, values: [25.11, 39.82]}
""")
    contract = registry(tmp_path).entries["quick-net"].contract_hash
    about = timing().model.model_copy(update={"contract": contract})
    save_record(timing(suite="libreface-tables@1", stage="pipeline").model_copy(update={"model": about}), tmp_path)
    save_record(timing(suite="cpu@1"), tmp_path)
    (page,) = paper_pages(collect(tmp_path, registry=registry(tmp_path)))
    assert [r.ours for r in page.rows] == [False, True]
    assert page.rows[1].cells == ("5.00", "200")
