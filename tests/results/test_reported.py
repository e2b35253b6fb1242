"""Published figures: carried over whole, honest about what does not add up, and tied to names that exist."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import RegistryError, UnknownNameError
from zoo.protocols import list_protocols
from zoo.registry import load_registry
from zoo.registry.labels import AU_LABELS
from zoo.results.reported import (
    ReportedFile,
    ReportedTable,
    checks,
    discrepancies,
    figures,
    figures_for,
    load_reported,
    read_reported_file,
)

# Protocols that figures point to and that may come later.
PLANNED_PROTOCOLS = {
    "affectnet-affect", "affectnet-expression-7", "affectnet-expression-8", "affwild2-affect", "affwild2-expression",
    "affwild2-occurrence", "disfaplus-intensity", "fer2013-expression",
}  # fmt: skip

# Rows and columns of numbers (averages included) and cells with a number, counted in the papers; and the sum of all
# numbers, taken when every row had been compared with the paper's text: a digit that slips later changes it.
SHAPES = {
    "libreface-2023": {
        "Table 3": (4, 13, 52, "29.51"), "Table 4": (5, 13, 65, "3860.8"), "Table 5": (5, 2, 10, "678.62"),
        "Table 6": (8, 3, 24, "10.014"), "Table 7": (3, 3, 9, "200.56"), "Table 8": (3, 4, 12, "874.27"),
        "Table 9": (2, 3, 6, "235.76"),
    },
    "py-feat-2021": {
        "Table 2": (6, 3, 18, "12.62"), "Table 3": (7, 1, 7, "37.32"), "Table 4": (6, 13, 73, "38.29"),
        "Table 5": (5, 8, 40, "16.09"),
    },
    "savchenko-2022": {
        "Table 1": (9, 2, 17, "6.186"), "Table 2": (1, 8, 8, "3.045"), "Table 3": (9, 2, 17, "8.225"),
        "Table 4": (7, 3, 21, "8.198"), "Table 5": (8, 4, 29, "15.976"),
    },
}  # fmt: skip

# Rows that contradict themselves in their sources: file, table, system, variant, check, printed, computed.
DO_NOT_ADD_UP = {
    ("libreface-2023", "Table 6", "Res-18+Distill", None, "mse-below-mae-squared", "0.550", "0.8028"),
    ("savchenko-2022", "Table 5", "EfficientNet-B2", "embeddings + scores, different AU thresholds", "average", "1.150",
     "1.1760"),
    ("action-unit-models", "ME-GraphAU README, BP4D", "EAC-Net", None, "average", "55.9", "55.5833"),
    ("action-unit-models", "ME-GraphAU README, DISFA", "EAC-Net", None, "average", "48.5", "57.4125"),
    ("action-unit-models", "ME-GraphAU README, DISFA", "UGN-B", None, "average", "60.0", "59.4000"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(repository: Path) -> dict[str, ReportedFile]:
    return {f.name: f for f in load_reported(repository / "leaderboards" / "reported")}


def test_the_folder_is_found_without_being_named(files: dict[str, ReportedFile]) -> None:
    assert [f.name for f in load_reported()] == list(files) == sorted(files)
    assert set(SHAPES) < set(files)


def test_every_table_of_the_papers_is_whole(files: dict[str, ReportedFile]) -> None:
    for name, shapes in SHAPES.items():
        found = {}
        for table in files[name].tables:
            cells = [v for row in table.rows for v in (*row.values, row.average) if v is not None]
            width = len(table.columns) + (table.average is not None)
            found[table.table] = (len(table.rows), width, len(cells), str(sum(cells)))
            assert (*table.shape, table.numbers) == found[table.table][:3]
        assert found == shapes


def test_every_number_is_finite_and_of_its_unit(files: dict[str, ReportedFile]) -> None:
    bounds = {"fraction": (0, 1), "percent": (0, 100), "intensity": (0, 5), "intensity-squared": (0, 25)}
    count = 0
    for file in files.values():
        for figure in figures(file):
            count += 1
            low, high = bounds.get(figure.unit, (0, 1_000_000))
            assert figure.value.is_finite(), figure
            assert low <= figure.value <= high, figure
            assert figure.source.read_from
    assert count == sum(t.numbers for f in files.values() for t in f.tables)


def test_every_entry_and_protocol_has_a_name_that_exists_or_is_planned(files: dict[str, ReportedFile]) -> None:
    rows = [row for file in files.values() for table in file.tables for row in table.rows]
    known = load_registry().entries
    assert {row.entry for row in rows} <= known.keys()  # every row is of a model of the registry
    named = {row.entry for row in rows}
    # Entries without a figure: tools of the papers' feature tables, and checkpoints that nobody has published one of.
    without = {e.name for e in known.values() if not e.runnable} - named
    assert without == {
        "affdex", "affdex-2", "cert", "dlib", "face-api-js", "facetracker", "imotions", "intraface",
        "libreface-combined", "mediapipe", "noldus-facereader", "openface1", "openface2-svr",
        "savchenko-affwild2-heads",
    }  # fmt: skip
    protocols = {f.comparable.protocol for file in files.values() for f in figures(file)} - {None}
    assert protocols <= {p.id for p in list_protocols()} | PLANNED_PROTOCOLS
    assert protocols >= PLANNED_PROTOCOLS


def test_columns_about_an_au_or_a_class_carry_the_zoos_labels(files: dict[str, ReportedFile]) -> None:
    for file in files.values():
        for table in file.tables:
            aus = [c.name for c in table.columns if "AU" in c.name]
            assert set(aus) <= AU_LABELS
            assert aus == sorted(aus)  # a shifted column shows as a label out of order
            assert [c.label for c in table.columns if "AU" in c.name] == aus
    emotion = files["py-feat-2021"].table("Table 5")
    assert [c.label for c in emotion.columns] == [c.name for c in emotion.columns]
    assert all(c.label is None for c in files["libreface-2023"].table("Table 7").columns)


def test_rows_that_do_not_add_up_are_exactly_those_known(files: dict[str, ReportedFile]) -> None:
    stated = {
        (file.name, table.table, row.system, row.variant, d.check, str(d.printed), str(d.computed))
        for file in files.values()
        for table in file.tables
        for row in table.rows
        for d in row.does_not_add_up
    }
    assert stated == DO_NOT_ADD_UP
    # Once more, by arithmetic that shares nothing with the code under test.
    found = set()
    for file in files.values():
        for table in file.tables:
            for row in table.rows:
                if row.average is None or not any(v is not None for v in row.values):
                    continue
                values = [float(v) for v in row.values if v is not None]
                digits = {len(str(v).partition(".")[2]) for v in (*row.values, row.average) if v is not None}
                n = len(row.values) if row.missing == "zero" else len(values)
                assert table.average is not None
                computed = sum(values) / (n if table.average.of == "mean" else 1)
                # Half a digit for the average and half a digit for each value; a sum gathers the latter.
                slack = 0.5 * 10.0 ** -min(digits) * (2 if table.average.of == "mean" else 1 + len(values))
                if abs(computed - float(row.average)) > slack + 1e-9:
                    found.add((file.name, table.table, row.system, row.variant))
                    assert row.uncertain
    assert found == {x[:4] for x in DO_NOT_ADD_UP if x[4] == "average"}
    lines = [line for file in files.values() for table in file.tables for line in checks(table)]
    assert len(lines) == len(DO_NOT_ADD_UP)
    assert "Table 6, Res-18+Distill: mse-below-mae-squared: printed 0.550, computed 0.8028" in lines


def test_printed_digits_are_kept(files: dict[str, ReportedFile], repository: Path) -> None:
    row = files["libreface-2023"].table("Table 3").row("CNN")
    assert [str(v) for v in row.values[:3]] == ["0.60", "0.53", "0.64"]
    assert str(files["py-feat-2021"].table("Table 5").row("FACET iMotions").average) == "0.40"
    for path in sorted((repository / "leaderboards" / "reported").glob("*.yaml")):
        # Within a row of the papers the digits are even; one that is shorter has lost a zero.
        for table in files[path.stem].tables if path.stem in SHAPES else ():
            for r in table.rows:
                for column in {(c.metric or table.metric) for c in table.columns}:
                    cells = [
                        v
                        for c, v in zip(table.columns, r.values, strict=True)
                        if v is not None and (c.metric or table.metric) == column
                    ]
                    assert len({len(str(v).partition(".")[2]) for v in cells}) <= 1, (path.stem, table.table, r.system)


def test_headline_figures(files: dict[str, ReportedFile]) -> None:
    def average(file: str, table: str, *row: str) -> str:
        return str(files[file].table(table).row(*row).average)

    def value(file: str, table: str, column: str, *row: str) -> str:
        found = files[file].table(table)
        index = [c.name for c in found.columns].index(column)
        return str(found.row(*row).values[index])

    assert average("libreface-2023", "Table 3", "LibreFace (Ours)") == "0.63"
    assert average("libreface-2023", "Table 3", "OpenFace 2.0") == "0.59"
    assert average("libreface-2023", "Table 4", "LibreFace (Ours)") == "62.0"
    assert value("libreface-2023", "Table 5", "affectnet", "LibreFace (Ours)") == "49.71"
    assert value("libreface-2023", "Table 5", "rafdb", "LibreFace (Ours)") == "82.79"
    assert value("libreface-2023", "Table 6", "pcc", "MAE_ViT_base+Pre-train") == "0.674"
    assert value("libreface-2023", "Table 7", "fps", "LibreFace (AU only)") == "39.82"
    assert value("libreface-2023", "Table 8", "size", "MAE_ViT_base") == "403"
    assert value("libreface-2023", "Table 9", "fps", "GPU") == "164.82"
    assert average("libreface-repository", "train_resnet_all.txt, PCC", "resnet_disfa_all") == "0.95"
    assert average("py-feat-2021", "Table 4", "OpenFace") == "0.57"
    assert average("py-feat-2021", "Table 4", "Feat-RF (default)") == "0.56"
    assert average("py-feat-2021", "Table 5", "Residual Masking Network (default)") == "0.55"
    assert average("savchenko-2022", "Table 4", "EfficientNet-B0", "scores") == "0.463"
    assert value("expression-models", "opencv_zoo, facial_expression_recognition", "rafdb", "Progressive Teacher") == (
        "88.27"
    )
    assert value("hsemotion", "README", "affectnet-8", "enet_b2_8_best.pt") == "63.125"


def test_numbers_that_stand_in_two_places_agree(files: dict[str, ReportedFile]) -> None:
    libreface, savchenko = files["libreface-2023"], files["savchenko-2022"]
    final = libreface.table("Table 6").row("Res-18+FM_distill").values[0]
    assert final is not None
    assert final.quantize(Decimal("0.01"), ROUND_HALF_UP) == libreface.table("Table 3").row("LibreFace (Ours)").average
    once = libreface.table("Table 7").row("LibreFace (Ours)").values
    assert libreface.table("Table 8").row("Res-18").values[:3] == once
    assert libreface.table("Table 9").row("CPU-only").values == once
    by_class = [v for v in savchenko.table("Table 2").rows[0].values if v is not None]
    whole = savchenko.table("Table 1").row("EfficientNet-B0", "embeddings, 1 hidden layer").values[0]
    assert round(sum(by_class) / len(by_class), 3) == whole
    graph = files["action-unit-models"].table("ME-GraphAU README, BP4D")
    for theirs, ours in (("Ours (ResNet-50)", "Luo et al."), ("JAA-Net", "Shao et al.")):
        assert graph.row(theirs).values == libreface.table("Table 4").row(ours).values


def test_the_five_tools_on_the_aus_that_three_of_them_share(files: dict[str, ReportedFile]) -> None:
    """The shared-AU means, computed from the published values and from nothing else."""
    table = files["py-feat-repository"].table("competitors, DISFA+ F1")
    shared = ["AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26"]
    means = {}
    for row in table.rows:
        values = {c.name: v for c, v in zip(table.columns, row.values, strict=True)}
        if all(values[a] is not None for a in shared):
            means[row.system] = round(sum(float(values[a] or 0) for a in shared) / 8, 3)
    assert means == {"pyfeat_v1": 0.332, "pyfeat_v2": 0.619, "openface3": 0.732, "libreface_repvgg": 0.597}


def test_figures_know_what_a_board_needs(files: dict[str, ReportedFile]) -> None:
    found = figures_for("disfa-intensity-5fold", files.values())
    assert not any(f.comparable.why == "same" for f in found)  # nobody's five folds are published
    ours = [f for f in found if f.entry == "libreface-r18" and f.table == "Table 3"]
    assert [f.label for f in ours][:2] == ["AU01", "AU02"]
    assert (ours[-1].column, ours[-1].label, str(ours[-1].value)) == ("average", None, "0.63")
    assert {(f.metric, f.unit, f.weights) for f in ours} == {("pcc", "fraction", "other")}
    by_column = {f.column: f for f in figures(files["libreface-2023"]) if f.table == "Table 5"}
    assert by_column["affectnet"].comparable.why == "not-stated"
    assert by_column["rafdb"].comparable.protocol == "rafdb-expression"
    sums = [f for f in figures(files["savchenko-2022"]) if f.table == "Table 5" and f.column == "average"]
    assert {f.metric for f in sums} == {"p_mtl"}
    assert [f.adds_up for f in sums].count(False) == 1
    assert not figures_for("no-such-protocol", files.values())
    with pytest.raises(UnknownNameError, match="Tabel 3"):
        files["libreface-2023"].table("Tabel 3")
    with pytest.raises(UnknownNameError, match="LibreFace"):
        files["libreface-2023"].table("Table 3").row("LibreFace")


def _table(**changes: Any) -> dict[str, Any]:
    return {
        "table": "Table 1",
        "title": "A table",
        "protocol_as_stated": "They measured.",
        "comparable": {"protocol": "rafdb-expression", "why": "same", "text": "Nothing differs."},
        "metric": "f1",
        "unit": "fraction",
        "columns": ["AU01", "AU02"],
        "average": {"title": "Avg."},
        "shape": [1, 3],
        "numbers": 3,
        "rows": [{"system": "A", "values": ["0.50", "0.60"], "average": "0.55"}],
        **changes,
    }


def _write(path: Path, **changes: Any) -> Path:
    source = {"kind": "paper", "title": "A paper", "read_from": "the text"}
    text = yaml.safe_dump({"schema_version": 1, "source": source, "tables": [_table(**changes)]}, sort_keys=False)
    path.write_text(re.sub(r"'(-?[\d.]+|\.nan)'", r"\1", text))  # numbers without quotes, digits kept
    return path


def _row(**changes: Any) -> dict[str, Any]:
    return {"rows": [{"system": "A", "values": ["0.50", "0.60"], "average": "0.55", **changes}]}


def test_a_small_file_is_read(tmp_path: Path) -> None:
    file = read_reported_file(_write(tmp_path / "small.yaml"))
    assert (file.name, str(file.tables[0].rows[0].values[0])) == ("small", "0.50")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (_row(average="0.57"), r"row 'A': does_not_add_up .*printed 0.57, computed 0.5500"),
        (_row(does_not_add_up=[{"check": "average", "printed": "0.55", "computed": "0.6"}]), "has to be empty"),
        (_row(values=["0.50"]), "row 'A' has 1 values for 2 columns"),
        (_row(entry="libreface-r18"), "entry and weights belong together"),
        (_row(uncertain=True), "what is uncertain"),
        (_row(avarage="0.55"), "unknown key 'avarage'"),
        (_row(values=[".nan", "0.60"]), "finite"),
        (_row(values=["~0.5", "0.60"]), "0.5"),
        ({"numbers": 4}, "the source shows 1 x 3 with 4 numbers, the file holds 1 x 3 with 3"),
        ({"shape": [2, 3]}, "the source shows 2 x 3"),
        ({"rows": []}, "needs columns and rows"),
        ({"columns": ["AU01", "AU01"]}, "a column occurs twice"),
        ({"columns": ["AU01", "AU99"]}, "AU99"),
        ({"metric": None}, "'AU01' has no metric or no unit"),
        ({"metric": "f2"}, "f2"),
        ({"average": None, "shape": [1, 2], "numbers": 3}, "the table has no such column"),
        ({"comparable": {"why": "same", "text": "x"}}, "name the nearest protocol"),
        ({"comparable": {"protocol": "rafdb-expression", "why": "no-protocol", "text": "x"}}, "no-protocol"),
        ({"comparable": {"protocol": "rafdb-expression", "why": "because", "text": "x"}}, "because"),
    ],
)
def test_what_is_wrong_is_refused_in_plain_words(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = _write(tmp_path / "wrong.yaml", **changes)
    with pytest.raises(RegistryError, match=message) as caught:
        read_reported_file(path)
    assert "wrong.yaml" in str(caught.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such folder"):
        load_reported(tmp_path / "nothing")
    path = tmp_path / "a.yaml"
    path.write_text("tables: [")
    with pytest.raises(RegistryError, match="not valid YAML"):
        load_reported(tmp_path)
    path.write_text("schema_version: 1\nschema_version: 1\ntables: []\n")
    with pytest.raises(RegistryError, match="YAML") as caught:
        load_reported(tmp_path)
    assert "twice" in str(caught.value)
    path.write_text("schema_version: 1\ntables: []\n")
    with pytest.raises(RegistryError, match="has no tables"):
        load_reported(tmp_path)
    _write(path)
    path.write_text(path.read_text() + "name: b\n")
    with pytest.raises(RegistryError, match="calls itself 'b'"):
        load_reported(tmp_path)
    _write(path)
    data = yaml.safe_load(path.read_text())
    del data["source"]
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(RegistryError, match="no source"):
        load_reported(tmp_path)


def test_a_frame_rate_that_does_not_fit_its_seconds_is_found() -> None:
    columns = [{"name": "s", "metric": "seconds", "unit": "s"}, {"name": "fps", "metric": "fps", "unit": "fps"}]
    table = ReportedTable.model_validate(
        _table(
            columns=columns, metric=None, unit=None, average=None, items=1000, shape=[1, 2], numbers=2,
            rows=[{"system": "A", "values": [Decimal("6.07"), Decimal("164.82")]}],
        )
    )  # fmt: skip
    assert checks(table) == []  # 1000/6.07 is 164.74; 6.065 s would give 164.88
    row = table.rows[0].model_copy(update={"values": (Decimal("6.07"), Decimal("164.90"))})
    assert [d.check for d in discrepancies(table, row)] == ["rate"]


@settings(max_examples=200)
@given(
    st.lists(st.decimals(0, 1, places=6), min_size=1, max_size=27),
    st.integers(1, 4),
    st.sampled_from(["mean", "sum"]),
)
def test_rounding_alone_is_never_a_discrepancy(exact: list[Decimal], places: int, of: str) -> None:
    digit = Decimal(1).scaleb(-places)
    total = sum(exact, Decimal())
    true = total / len(exact) if of == "mean" else total
    aus = sorted(AU_LABELS)[: len(exact)]
    row = {"system": "A", "values": [v.quantize(digit) for v in exact], "average": true.quantize(digit)}
    changes = {"columns": aus, "average": {"title": "Avg.", "of": of}, "shape": [1, len(exact) + 1]}
    table = ReportedTable.model_validate(_table(rows=[row], numbers=len(exact) + 1, **changes))
    assert checks(table) == []
    # A mean that is off by more than both roundings together is always one.
    far = row["average"] + digit * (2 if of == "mean" else 2 + len(exact))
    assert [d.check for d in discrepancies(table, table.rows[0].model_copy(update={"average": far}))] == ["average"]
