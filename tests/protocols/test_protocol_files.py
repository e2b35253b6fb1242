"""The committed protocols, and what becomes of a broken one."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from zoo.datasets import get_dataset, list_datasets
from zoo.errors import RegistryError, UnknownNameError, UsageError
from zoo.protocols import default_protocol, list_protocols, load_protocol, read_protocol_file
from zoo.results.reported import figures, load_reported

PROTOCOLS = [p.ref for p in list_protocols()]

GOOD = """\
id: mine
version: 2
title: Mine
dataset: disfa
task: au-intensity
labels: [AU01, AU02]
folds:
  - {name: a, test: [SN001]}
  - {name: b, test: [SN002]}
metrics: [pcc]
primary: {metric: pcc}
undetected: absent
"""


@pytest.mark.parametrize("ref", PROTOCOLS)
def test_a_committed_protocol_holds_together(ref: str) -> None:
    protocol = load_protocol(ref)
    assert protocol.dataset in list_datasets()
    reader = get_dataset(protocol.dataset)
    assert protocol.frames in reader.frame_sets
    if options := protocol.dataset_options:
        assert reader.chosen(options) | options == reader.chosen(options)
    wanted = "au-intensity" if protocol.binarise_at is not None else protocol.task
    assert wanted in reader.tasks
    if reader.labels.get(wanted):
        assert set(protocol.labels) <= set(reader.labels[wanted])
    if reader.people:
        assert set(protocol.subjects) <= reader.people
    assert protocol.synthetic == protocol.dataset.startswith("synthface")
    for paper in protocol.papers:
        assert paper.reproduces == "yes" or paper.why
    if protocol.clusters == "subject" and protocol.folds:
        assert protocol.subjects


def test_a_protocol_cites_who_uses_it_or_says_that_it_is_ours() -> None:
    for protocol in list_protocols():
        ours = protocol.open or protocol.synthetic or (protocol.notes or "").startswith("Ours:")
        assert bool(protocol.papers) != ours, protocol.ref


def test_folds_of_bp4dplus_hold_all_140_people_once() -> None:
    protocol = load_protocol("bp4dplus-occurrence-3fold")
    assert [len(f.test) for f in protocol.folds] == [46, 47, 47]
    assert sorted(protocol.subjects) == sorted(get_dataset("bp4dplus").people)


def test_what_py_feats_paper_scores() -> None:
    paper, strict = load_protocol("affectnet-expression-7x500"), load_protocol("affectnet-expression-7-strict")
    assert (paper.primary.metric, paper.extra_classes, len(paper.labels)) == ("macro_f1", "wrong", 7)
    assert {paper.labels, paper.split, paper.frames} == {strict.labels, strict.split, strict.frames}
    assert [p.table for p in paper.papers] == ["Table 5"]


def test_a_table_that_a_protocol_names_is_one_that_the_boards_know() -> None:
    """A cited table must have its nearest protocol here; a figure with another is cited under that one."""
    known = {(f.source.arxiv, f.table, f.comparable.protocol) for file in load_reported() for f in figures(file)}
    apart = {"affwild2-mtl-affect", "affwild2-mtl-expression", "affwild2-mtl-occurrence"}  # one table for the three
    for protocol in list_protocols():
        for paper in protocol.papers:
            numbers = re.findall(r"\d+", paper.table or "")
            assert bool(paper.table) == bool(numbers)
            for number in numbers if protocol.id not in apart else ():
                assert (paper.arxiv, f"Table {number}", protocol.id) in known


def test_folds_of_disfa_cover_everyone_once() -> None:
    for protocol in list_protocols("disfa"):
        if protocol.folds:
            assert sorted(protocol.subjects) == sorted(get_dataset("disfa").people)
            for a, b in combinations(protocol.folds, 2):
                assert not set(a.test) & set(b.test)


def test_openface_reconstruction_is_called_one() -> None:
    protocol = load_protocol("disfa-intensity-5fold@1")
    assert protocol.split_confidence == "C"
    assert [len(f.test) for f in protocol.folds] == [5, 6, 5, 6, 5]
    assert protocol.fold_aliases["OpenFace"]["3"] == "of3"
    assert "reconstruct" in (protocol.notes or "")
    assert protocol.ref == "disfa-intensity-5fold@1"


@pytest.mark.parametrize(
    ("real", "twin"),
    [("disfa-intensity-5fold", "synthface-intensity-5fold"), ("rafdb-expression", "synthface-expression")],
)
def test_synthetic_twins_have_the_same_rules(real: str, twin: str) -> None:
    apart = {"id", "title", "dataset", "synthetic", "papers", "notes", "fold_aliases", "split_confidence"}
    a, b = load_protocol(real), load_protocol(twin)
    assert a.model_dump(exclude=apart) == b.model_dump(exclude=apart)
    assert b.synthetic
    assert not a.synthetic


def test_names_and_versions() -> None:
    assert load_protocol("rafdb-expression").ref == "rafdb-expression@1"
    with pytest.raises(UnknownNameError, match="did you mean 'rafdb-expression'"):
        load_protocol("rafdb-expresion")
    with pytest.raises(UnknownNameError, match="version of rafdb-expression '9'"):
        load_protocol("rafdb-expression@9")
    with pytest.raises(UnknownNameError):
        load_protocol("rafdb-expression@")
    assert {p.dataset for p in list_protocols("rafdb")} == {"rafdb"}
    assert {p.task for p in list_protocols(task="expression")} == {"expression"}


def test_default_protocols() -> None:
    assert default_protocol("disfa", ["au-intensity"]).id == "disfa-intensity-5fold"
    assert default_protocol("rafdb", ["au-intensity", "expression"]).id == "rafdb-expression"
    assert default_protocol("synthface", ["au-intensity"]).id == "synthface-intensity-5fold"
    with pytest.raises(UsageError, match="rafdb has no protocol for au-intensity") as caught:
        default_protocol("rafdb", ["au-intensity"])
    assert "rafdb-expression" in str(caught.value)
    with pytest.raises(UnknownNameError, match="did you mean 'disfa'"):
        default_protocol("difsa", ["au-intensity"])


def test_every_dataset_has_a_default_for_each_protocol_task() -> None:
    for protocol in list_protocols():
        assert default_protocol(protocol.dataset, [protocol.task]).dataset == protocol.dataset


def test_the_hash_follows_what_moves_a_number(tmp_path: Path) -> None:
    def of(text: str, name: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.yaml").write_text(text)
        return read_protocol_file(tmp_path / name / "mine.yaml").hash

    base = of(GOOD, "a")
    assert of(GOOD.replace("title: Mine", "title: Other"), "b") == base
    assert of(GOOD.replace("AU02", "AU04"), "c") != base
    assert of(GOOD.replace("[SN002]", "[SN003]"), "d") != base
    assert of(GOOD + "frames: jaa\n", "e") != base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("metrics:", "metrcs:"), "did you mean 'metrics'"),
        (("test: [SN001]", "tset: [SN001]"), r"folds\[a\]: unknown key 'tset'"),
        (("{metric: pcc}", "{metric: pc}"), "did you mean 'pcc'"),
        (("version: 2", "version: two"), "version must be a whole number"),
        (("title: Mine\n", ""), "title is missing"),
        (("AU02", "AU03"), "AU03: not a label of the task au-intensity"),
        (("[SN002]", "[SN001]"), "subject SN001 is in the test parts of a and b"),
        (("{metric: pcc}", "{metric: mae}"), "the primary metric is not among the metrics"),
        (("undetected: absent", "undetected: wrong"), "'wrong' is the rule of expressions"),
        (("version: 2", "version: 2\nversion: 3"), "given twice"),
        (("id: mine", "id: other"), "holds the protocol other@2"),
        (("id: mine", "id: [mine"), "not valid YAML"),
        (("test: [SN001]", "test: SN001"), "must be a list"),
        (("id: mine", "id: Mine!"), "does not have the form"),
    ],
)
def test_a_broken_protocol_names_file_and_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "mine.yaml"
    assert change[0] in GOOD
    file.write_text(GOOD.replace(*change))
    with pytest.raises(RegistryError, match=message) as caught:
        load_protocol(str(file))
    assert str(file) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: !!python/object/apply:os.system [true]\n", "\t", "a: &a [*a]\n", "\x00"]
)
def test_files_that_are_no_protocol(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RegistryError):
        load_protocol(str(tmp_path / "mine.yaml"))
    with pytest.raises(RegistryError, match="no such file"):
        load_protocol(str(tmp_path / "absent.yaml"))


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, zoo.protocols as p; import zoo.protocols.rules; p.list_protocols(); "
        "heavy = {'torch', 'pandas', 'onnxruntime', 'openvino', 'pyarrow', 'av'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
