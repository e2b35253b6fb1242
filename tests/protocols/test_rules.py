"""Folds, truth, completeness, and who has seen what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.datasets.base import Finding, Index, Labels
from zoo.datasets.disfa import SUBJECTS, Disfa
from zoo.datasets.rafdb import CLASSES, Rafdb
from zoo.errors import DatasetError, RegistryError, UsageError
from zoo.protocols import load_protocol
from zoo.protocols.rules import (
    assign_folds,
    check_fold_binding,
    completeness,
    contamination,
    missing_subjects,
    readiness,
    truth,
)
from zoo.protocols.schema import ProtocolFile
from zoo.registry.labels import au_label
from zoo.registry.schema import ModelEntry

AUS = tuple(au_label(a) for a in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
OF = load_protocol("disfa-intensity-5fold")


def disfa(rows: int | dict[str, int] = 3, names: tuple[str, ...] = AUS, **change: Any) -> Index:
    counts = rows if isinstance(rows, dict) else dict.fromkeys(SUBJECTS, rows)
    subject = np.concatenate([np.full(n, s) for s, n in counts.items()])
    frame = np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in counts.values()])
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (len(frame), len(names))).astype(np.float32)
    empty = np.full(len(frame), "")
    index = Index(
        "disfa", Path("/data"), "0" * 64, "disfa", False, subject, subject, frame, empty, subject, frame - 1,
        {"au-intensity": Labels("au-intensity", names, values)}, options={"camera": "left"},
    )  # fmt: skip
    return replace(index, **change)


def rafdb(train: int = 7, test: int = 7, **change: Any) -> Index:
    n = train + test
    text = np.full(n, "")
    values = np.concatenate([np.arange(train) % 7, np.arange(test) % 7]).astype(np.int16)
    index = Index(
        "rafdb", Path("/data"), "0" * 64, "rafdb", False, text, text, np.arange(n, dtype=np.int32),
        np.array(["train"] * train + ["test"] * test), text, np.full(n, -1, np.int32),
        {"expression": Labels("expression", CLASSES, values)}, options={"images": "aligned"},
    )  # fmt: skip
    return replace(index, **change)


def protocol(base: ProtocolFile = OF, **change: Any) -> ProtocolFile:
    return ProtocolFile.model_validate(base.model_dump() | change)


def entry(*trained: dict[str, Any], bound: dict[str, list[str]] | None = None, to: str = OF.id) -> ModelEntry:
    folds = [{"protocol": to, "name": k, "test_subjects": v} for k, v in (bound or {}).items()] or [None]
    weights = [
        {"name": f"w{i}.onnx", "format": "onnx", "sources": ["path:/w.onnx"], "sha256": "0" * 64, "fold": fold}
        for i, fold in enumerate(folds)
    ]
    return ModelEntry.model_validate({
        "name": "m", "title": "M", "family": "onnx", "tasks": ["au-intensity"], "architecture": "x",
        "status": "unverified", "weights": weights, "preprocess": {"size": [8, 8]},
        "outputs": [{"task": "au-intensity", "labels": ["AU01"]}],
        "licence": {"name": "MIT", "commercial_use": True}, "trained_on": list(trained),
    })  # fmt: skip


BOUND = {f.name: list(f.test) for f in OF.folds}


# -- folds


def test_every_sample_is_in_the_fold_that_tests_its_subject() -> None:
    index = disfa()
    folds = assign_folds(OF, index)
    assert folds.dtype == np.int16
    for subject, fold in zip(index.subject.tolist(), folds.tolist(), strict=True):
        assert subject in OF.folds[fold].test
    assert np.bincount(folds).tolist() == [15, 18, 15, 18, 15]


def test_subjects_that_no_fold_tests_are_left_out() -> None:
    index = disfa({"SN001": 2, "SN014": 3})
    assert assign_folds(OF, index).tolist() == [3, 3, -1, -1, -1]


def test_frame_sets() -> None:
    index = disfa({"SN001": 500, "SN002": 500})
    folds = assign_folds(protocol(frames="jaa"), index)
    left_out = index.frame[folds < 0]
    assert left_out.tolist() == list(range(398, 421))
    assert set(index.subject[folds < 0].tolist()) == {"SN001"}


def test_splits() -> None:
    folds = assign_folds(load_protocol("rafdb-expression"), rafdb(5, 4))
    assert folds.tolist() == [-1] * 5 + [0] * 4


def test_samples_without_any_label_are_left_out() -> None:
    index = disfa({"SN001": 3})
    values = index.labels["au-intensity"].values
    values[0] = np.nan
    values[1, :-1] = np.nan
    assert assign_folds(OF, index).tolist() == [-1, 3, 3]
    pictures = rafdb(0, 3)
    pictures.labels["expression"].values[1] = -1
    assert assign_folds(load_protocol("rafdb-expression"), pictures).tolist() == [0, -1, 0]


def test_another_datasets_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="a protocol of disfa, not of rafdb"):
        assign_folds(OF, rafdb())


def test_reader_options_that_the_protocol_fixes() -> None:
    fixed = protocol(dataset_options={"camera": "right"})
    with pytest.raises(UsageError, match="camera=right"):
        assign_folds(fixed, disfa())
    assert (assign_folds(fixed, disfa(options={"camera": "right"})) >= 0).all()


# -- truth


def test_truth_is_matched_by_name() -> None:
    shuffled = AUS[::-1]
    index = disfa({"SN001": 4}, names=shuffled)
    values = truth(OF, index)
    for column, name in enumerate(OF.labels):
        np.testing.assert_array_equal(values[:, column], index.labels["au-intensity"].values[:, shuffled.index(name)])


def test_a_missing_au_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no labels for AU09"):
        truth(OF, disfa({"SN001": 4}, names=tuple(a for a in AUS if a != "AU09")))
    with pytest.raises(DatasetError, match="no labels for expression"):
        truth(protocol(load_protocol("rafdb-expression"), dataset="disfa"), disfa())


@pytest.mark.parametrize(
    ("at", "expected"), [(1, [0, 1, 1, 1, 1, 1]), (2, [0, 0, 1, 1, 1, 1]), (3, [0, 0, 0, 1, 1, 1])]
)
def test_binarisation_is_at_or_above(at: int, expected: list[int]) -> None:
    index = disfa({"SN001": 7})
    index.labels["au-intensity"].values[:6] = np.arange(6)[:, None]
    index.labels["au-intensity"].values[6] = np.nan
    occurrence = protocol(
        task="au-occurrence", binarise_at=at, metrics=["f1"], primary={"metric": "f1"}, labels=("AU01", "AU26")
    )
    values = truth(occurrence, index)
    assert values[:6, 0].tolist() == values[:6, 1].tolist() == expected
    assert np.isnan(values[6]).all()


def test_classes_that_the_protocol_does_not_have_are_not_labelled() -> None:
    index = rafdb(0, 7)
    some = protocol(load_protocol("rafdb-expression"), labels=["neutral", "surprise"])
    assert truth(some, index).tolist() == [1, -1, -1, -1, -1, -1, 0]
    index.labels["expression"].values[0] = -1
    assert truth(some, index).tolist() == [-1, -1, -1, -1, -1, -1, 0]


# -- completeness


def test_completeness_of_disfa() -> None:
    whole = disfa(dict(Disfa.rows))
    assert completeness(OF, whole) == (True, 130_814)
    assert completeness(protocol(frames="jaa"), whole) == (True, 126_144)
    assert "complete" in readiness(OF, whole)
    without = disfa({s: n for s, n in Disfa.rows.items() if s not in BOUND["of1"]})
    assert completeness(OF, without) == (False, 130_814)
    assert missing_subjects(OF, without) == sorted(BOUND["of1"])
    assert "INCOMPLETE" in readiness(OF, without)
    assert "empty folds: of1" in readiness(OF, without)
    rows = {s: n - 1 for s, n in Disfa.rows.items()}
    assert completeness(OF, disfa(rows)) == (False, 130_814)
    short = tuple(Finding("note", "one-frame-short", s) for s in rows)
    assert completeness(OF, disfa(rows, findings=short)) == (True, 130_814)
    assert completeness(OF, disfa(rows | {"SN001": 4840}, findings=short)) == (False, 130_814)
    damaged = disfa(dict(Disfa.rows), findings=(Finding("warning", "damaged-image", "x"),))
    assert "complete but for damaged images" in readiness(OF, damaged)
    whole.labels["au-intensity"].values[5, 5] = np.nan
    assert completeness(OF, whole) == (False, 130_814)


def test_what_a_protocol_does_not_score_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rafdb, "counts", {"train": (1000,) * 7, "test": (1,) * 7})
    finding = Finding("warning", "missing-rows", "train")
    assert completeness(load_protocol("rafdb-expression"), rafdb(0, 7, findings=(finding,))) == (True, 7)
    assert completeness(load_protocol("rafdb-expression"), rafdb(0, 6)) == (False, 7)


def test_a_synthetic_copy_is_complete_by_its_findings() -> None:
    index = disfa(2, synthetic=True)
    assert completeness(OF, index) == (True, None)
    gap = Finding("warning", "missing-frames", "x")
    assert completeness(OF, disfa(2, synthetic=True, findings=(gap,))) == (False, None)


def test_readiness_says_what_stands_in_the_way() -> None:
    assert "cannot be run" in readiness(OF, rafdb())
    assert "cannot be run" in readiness(OF, disfa({"SN014": 3}))
    broken = disfa(findings=(Finding("error", "damaged-video", "x"),))
    assert "errors" in readiness(OF, broken)


# -- fold-bound checkpoints


def test_bound_checkpoints_on_their_own_folds() -> None:
    check_fold_binding(entry(bound=BOUND), OF)
    check_fold_binding(entry(), OF)


def test_checkpoints_of_other_folds_are_refused() -> None:
    with pytest.raises(UsageError, match="follow the folds of disfa-intensity-5fold"):
        check_fold_binding(entry(bound=BOUND), load_protocol("disfa-occurrence-3fold"))
    renamed = {f"x{name}": subjects for name, subjects in BOUND.items()}
    with pytest.raises(UsageError, match="follow the folds of disfa-occurrence-3fold"):
        check_fold_binding(entry(bound=renamed, to="disfa-occurrence-3fold"), OF)


def test_a_rehearsal_has_the_folds_of_what_it_rehearses() -> None:
    twin = load_protocol("synthface-intensity-5fold")
    check_fold_binding(entry(bound=BOUND), twin)
    check_fold_binding(entry(bound=BOUND, to=twin.id), OF)


def test_protocols_with_the_same_parts_share_checkpoints() -> None:
    three = load_protocol("disfa-occurrence-3fold")
    parts = {f.name: list(f.test) for f in three.folds}
    bound = entry({"dataset": "disfa", "subjects": "fold"}, bound=parts, to=three.id)
    for name in ("disfa-occurrence-3fold", "disfa-occurrence-3fold-jaa", "disfa-intensity-3part"):
        check_fold_binding(bound, load_protocol(name))
        assert contamination(bound, load_protocol(name), disfa(), "part2") == ("held_out", None)
    with pytest.raises(UsageError):
        check_fold_binding(bound, load_protocol("bp4d-occurrence-3fold"))
    with pytest.raises(UsageError):
        check_fold_binding(bound, load_protocol("disfaplus-occurrence"))


def test_a_fold_without_a_checkpoint_is_refused() -> None:
    with pytest.raises(UsageError, match="no checkpoint for the fold of3"):
        check_fold_binding(entry(bound={k: v for k, v in BOUND.items() if k != "of3"}), OF)


def test_a_checkpoint_that_has_seen_test_subjects_is_refused() -> None:
    swapped = BOUND | {"of1": BOUND["of2"], "of2": BOUND["of1"]}
    with pytest.raises(RegistryError, match="for the fold of1 was trained on SN003"):
        check_fold_binding(entry(bound=swapped), OF)
    one_short = BOUND | {"of4": BOUND["of4"][1:]}
    with pytest.raises(RegistryError, match=f"trained on {BOUND['of4'][0]}"):
        check_fold_binding(entry(bound=one_short), OF)


# -- contamination

ALL = {"dataset": "disfa", "subjects": "all"}


@pytest.mark.parametrize(
    ("trained", "flag"),
    [
        ([], "unknown"),
        ([ALL], "in_sample"),
        ([{"dataset": "DISFA", "subjects": "all"}], "in_sample"),
        ([ALL | {"use": "selection"}], "selection_only"),
        ([ALL | {"use": "pretraining"}], "in_sample"),
        ([{"dataset": "disfa"}], "unknown"),
        ([{"dataset": "unknown"}], "unknown"),
        ([{"dataset": "affectnet", "subjects": "all"}], "held_out"),
        ([{"dataset": "bp4d", "subjects": "all"}, ALL | {"use": "selection"}], "selection_only"),
        ([{"dataset": "disfa"}, ALL | {"use": "selection"}], "unknown"),
        ([ALL, {"dataset": "unknown"}], "in_sample"),
        ([{"dataset": "disfa", "subjects": ["SN003"]}], "in_sample"),
        ([{"dataset": "disfa", "subjects": ["SN099"]}], "held_out"),
        ([{"dataset": "synthface", "subjects": "all"}], "held_out"),
    ],
)
def test_contamination_on_disfa(trained: list[dict[str, Any]], flag: str) -> None:
    assert contamination(entry(*trained), OF, disfa(), None)[0] == flag


@pytest.mark.parametrize(
    ("written", "flag"),
    [("DISFA", "in_sample"), ("DISFA+", "identity_overlap"), ("Extended DISFA", "identity_overlap"),
     ("disfa-plus", "identity_overlap"), ("UNBC", "held_out")],
)  # fmt: skip
def test_a_dataset_written_in_another_way_is_still_that_dataset(written: str, flag: str) -> None:
    assert contamination(entry({"dataset": written, "subjects": "all"}), OF, disfa())[0] == flag


def test_contamination_is_judged_fold_by_fold() -> None:
    some = entry({"dataset": "disfa", "subjects": ["SN003", "SN006"]})
    assert contamination(some, OF, disfa(), "of1") == ("in_sample", "trained on 2 of 5 scored subjects (disfa)")
    assert contamination(some, OF, disfa(), "of2")[0] == "held_out"
    with pytest.raises(UsageError, match="no fold 'of9'"):
        contamination(some, OF, disfa(), "of9")


def test_fold_bound_checkpoints_are_held_out() -> None:
    bound = entry({"dataset": "disfa", "subjects": "fold"}, bound=BOUND)
    for fold in OF.folds:
        assert contamination(bound, OF, disfa(), fold.name) == ("held_out", None)
    leaky = entry({"dataset": "disfa", "subjects": "fold"}, bound=BOUND | {"of1": ["SN003"]})
    assert contamination(leaky, OF, disfa(), "of1")[0] == "in_sample"
    unbound = entry({"dataset": "disfa", "subjects": "fold"})
    assert contamination(unbound, OF, disfa(), "of1")[0] == "unknown"


def test_rendered_people_never_meet_real_ones() -> None:
    rendered = disfa(identities="synthface", synthetic=True)
    assert contamination(entry(ALL), OF, rendered, None)[0] == "held_out"
    trained = entry({"dataset": "synthface", "subjects": "all"})
    assert contamination(trained, OF, rendered, None)[0] != "held_out"
    assert contamination(trained, OF, disfa(), None)[0] == "held_out"


def test_names_of_folds_elsewhere() -> None:
    """ME-GraphAU's fold 1 tests part 3; FG-Net's fold 0 tests part 1."""
    for name in ("disfa-occurrence-3fold", "bp4d-occurrence-3fold"):
        aliases = load_protocol(name).fold_aliases
        assert aliases["ME-GraphAU"] == {"fold1": "part3", "fold2": "part2", "fold3": "part1"}
        assert aliases["JAA-Net"]["combine_1_2"] == "part3"
        assert aliases["FG-Net"]["0"] == "part1"


@pytest.mark.parametrize(
    ("trained", "flag"),
    [
        ({"dataset": "rafdb", "split": "train"}, "held_out"),
        ({"dataset": "rafdb", "split": "training", "subjects": "all"}, "held_out"),
        ({"dataset": "rafdb", "split": "test"}, "in_sample"),
        ({"dataset": "rafdb", "split": "test", "use": "selection"}, "selection_only"),
        ({"dataset": "rafdb", "subjects": "all"}, "in_sample"),
        ({"dataset": "rafdb"}, "unknown"),
        ({"dataset": "affectnet", "split": "train"}, "held_out"),
    ],
)
def test_contamination_by_split(trained: dict[str, Any], flag: str) -> None:
    assert contamination(entry(trained), load_protocol("rafdb-expression"), rafdb(), None)[0] == flag


def test_nothing_is_known_of_a_users_own_images() -> None:
    index = rafdb(0, 3, dataset="folder", identities="folder")
    flag, why = contamination(entry(ALL), load_protocol("folder-expression"), index, None)
    assert flag == "unknown"
    assert why
