"""Fold-bound checkpoints never score a person they have seen, whatever is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoo.datasets.base import Index, Labels
from zoo.errors import UnknownNameError, UsageError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds
from zoo.protocols.schema import ProtocolFile
from zoo.registry.schema import ModelEntry
from zoo.runs.checkpoints import assign_checkpoints

PARTS = load_protocol("disfa-intensity-3part")
AUS = PARTS.labels


def entry(*, bound: bool = True) -> ModelEntry:
    """A model with one checkpoint for each of DISFA's three parts, or with one for all."""
    file = {"format": "onnx", "sources": ["path:x.onnx"], "sha256": "0" * 64}
    weights = [
        {**file, "name": f"{f.name}.onnx", "fold": {"protocol": PARTS.id, "name": f.name, "test_subjects": f.test}}
        for f in PARTS.folds
    ]
    return ModelEntry.model_validate(
        {
            "name": "m", "title": "M", "family": "onnx", "tasks": ["au-intensity"], "architecture": "a",
            "weights": weights if bound else [{**file, "name": "x.onnx"}], "preprocess": {"size": [8, 8]},
            "outputs": [{"task": "au-intensity", "labels": AUS}], "status": "unverified",
            "licence": {"name": "MIT", "commercial_use": True},
            "trained_on": [{"dataset": "disfa", "subjects": "fold" if bound else "all"}],
        }
    )  # fmt: skip


def index(dataset: str, subjects: list[str], *, identities: str = "disfa") -> Index:
    n = 2 * len(subjects)
    subject = np.repeat(subjects, 2)
    return Index(
        dataset=dataset, root=Path("/nowhere"), manifest="m", identities=identities, synthetic=False, subject=subject,
        sequence=subject, frame=np.tile(np.array([1, 2], np.int32), len(subjects)), split=np.full(n, ""),
        file=np.full(n, "x.jpg"), position=np.full(n, -1, np.int32), options={"camera": "left"},
        labels={"au-intensity": Labels("au-intensity", AUS, np.ones((n, len(AUS)), np.float32))},
    )  # fmt: skip


def protocol(dataset: str) -> ProtocolFile:
    """All samples of a dataset, without folds."""
    return ProtocolFile(
        id="all", version=1, title="All", dataset=dataset, task="au-intensity", labels=AUS, metrics=("pcc",),
        primary={"metric": "pcc"}, undetected="absent",  # type: ignore[arg-type]
    )  # fmt: skip


def test_under_its_own_folds_each_scores_its_test_subjects() -> None:
    data = index("disfa", list(PARTS.subjects))
    folds = assign_folds(PARTS, data)
    got = assign_checkpoints(entry(), PARTS, data, folds)
    assert got.names == tuple(f.name for f in PARTS.folds)
    assert np.array_equal(got.place, folds)
    assert got.contamination == ("held_out", None)


def test_other_recordings_of_the_same_people_go_to_the_checkpoint_that_has_not_seen_them() -> None:
    people = ["SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027"]
    data, rules = index("disfaplus", people), protocol("disfaplus")
    got = assign_checkpoints(entry(), rules, data, assign_folds(rules, data))
    for row, person in enumerate(data.subject):
        fold = next(f for f in PARTS.folds if f.name == got.names[got.place[row]])
        assert person in fold.test
    assert got.contamination[0] == "held_out"


def test_a_named_checkpoint_is_a_fixed_model_and_says_whom_it_has_seen() -> None:
    data, rules = index("disfaplus", ["SN001", "SN003"]), protocol("disfaplus")
    folds = assign_folds(rules, data)
    name = next(f.name for f in PARTS.folds if "SN001" in f.test)
    assert "SN003" not in next(f.test for f in PARTS.folds if f.name == name)
    got = assign_checkpoints(entry(), rules, data, folds, name)
    assert got.names == (name,)
    assert set(got.place.tolist()) == {0}
    assert got.contamination[0] == "identity_overlap"
    only = index("disfaplus", ["SN001"])
    assert assign_checkpoints(entry(), rules, only, assign_folds(rules, only), name).contamination[0] == "held_out"
    with pytest.raises(UnknownNameError, match="fold 'part9'"):
        assign_checkpoints(entry(), rules, data, folds, "part9")


def test_strangers_need_a_named_checkpoint() -> None:
    data, rules = index("disfaplus", ["SN001", "SN099"]), protocol("disfaplus")
    folds = assign_folds(rules, data)
    with pytest.raises(UsageError, match="follow the folds"):
        assign_checkpoints(entry(), rules, data, folds)
    other = index("disfaplus", ["SN001"], identities="synthface")
    with pytest.raises(UsageError, match="follow the folds"):
        assign_checkpoints(entry(), rules, other, assign_folds(rules, other))


def test_one_checkpoint_for_all_has_no_folds() -> None:
    data = index("disfa", list(PARTS.subjects))
    folds = assign_folds(PARTS, data)
    got = assign_checkpoints(entry(bound=False), PARTS, data, folds)
    assert got.names == (None,)
    assert set(got.place.tolist()) == {0}
    assert got.contamination[0] == "in_sample"
    with pytest.raises(UsageError, match="one checkpoint for all"):
        assign_checkpoints(entry(bound=False), PARTS, data, folds, "part1")
