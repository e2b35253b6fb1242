"""Paired comparisons on stored predictions."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from tests.datasets.trees import write_disfa, write_rafdb
from zoo.compare import main
from zoo.datasets import load_index
from zoo.datasets.base import Index
from zoo.errors import RecordError, UnknownNameError, UsageError
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, truth
from zoo.protocols.schema import ProtocolFile
from zoo.registry import Registry
from zoo.registry.loading import read_registry_file
from zoo.registry.schema import RegistryFile
from zoo.runs.compare import choose_predictions, compare
from zoo.runs.predictions import PredictionStore, Unit, column

AUS = load_protocol("disfa-intensity-5fold").labels

ENTRIES = """
schema_version: 1
models:
  - &model
    name: a
    title: A
    family: onnx
    tasks: [au-intensity, expression]
    architecture: a
    weights: [{{name: w.onnx, format: onnx, sources: ["path:w.onnx"], sha256: "{zero}"}}]
    preprocess: {{size: [8, 8]}}
    outputs:
      - {{task: au-intensity, tensor: y, labels: [{aus}]}}
      - {{task: expression, tensor: z, labels: [surprise, fear, disgust, happiness, sadness, anger, neutral]}}
    licence: {{name: MIT, commercial_use: true}}
    trained_on: [{{dataset: bp4d, subjects: all}}]
    status: unverified
  - {{<<: *model, name: b, trained_on: [{{dataset: disfa, subjects: all}}]}}
  - {{<<: *model, name: c}}
  - <<: *model
    name: few
    tasks: [au-intensity]
    outputs: [{{task: au-intensity, tensor: y, labels: [AU12, AU25]}}]
"""

CONTRACTS = {
    e.name: e.contract_hash
    for e in RegistryFile.model_validate(yaml.safe_load(ENTRIES.format(zero="0" * 64, aus=", ".join(AUS)))).models
}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    path = tmp_path / "registry.yaml"
    path.write_text(ENTRIES.format(zero="0" * 64, aus=", ".join(AUS)))
    return Registry({e.name: e for e in read_registry_file(path).models})


@pytest.fixture
def disfa(tmp_path: Path) -> Index:
    return load_index("disfa", write_disfa(tmp_path / "DISFA", frames=12))


def store(
    model: str, index: Index, protocol: ProtocolFile, values: dict[str, NDArray[Any]], **key: Any
) -> PredictionStore:
    """Stores predictions as a run would; ``values`` are of the scored rows."""
    rows = np.flatnonzero(assign_folds(protocol, index) >= 0)
    unit = Unit(0, 0, rows)
    found = PredictionStore(
        model,
        {"model": model, "protocol": protocol.ref, "frames": protocol.hash, "manifest": index.manifest,
         "options": index.options, "dataset": index.dataset, "runtime": "openvino", "precision": "fp32",
         "contract": CONTRACTS[model], **key},
    )  # fmt: skip
    found.begin()
    whole = {"face_found": np.ones(len(rows), bool), "decoded": np.ones(len(rows), bool)}
    found.write_unit(unit, {**whole, **{column(protocol.task, x): v.astype(np.float32) for x, v in values.items()}})
    found.finish([unit])
    return found


def noisy(
    index: Index, protocol: ProtocolFile, noise: float, seed: int, labels: tuple[str, ...] = AUS
) -> dict[str, Any]:
    rows = np.flatnonzero(assign_folds(protocol, index) >= 0)
    target = truth(protocol, index)[rows]
    random = np.random.default_rng(seed)
    values = target + random.normal(0, noise, target.shape)
    return {x: values[:, protocol.labels.index(x)] for x in labels}


def test_a_better_model_is_told_apart_and_an_equal_one_is_not(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-intensity-5fold")
    store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1))
    store("b", disfa, protocol, noisy(disfa, protocol, 2.0, 2))
    store("c", disfa, protocol, noisy(disfa, protocol, 0.5, 3))
    stored = choose_predictions(["a", "b", "c"], registry, protocol)
    found = compare(stored, disfa, protocol, resamples=500)
    pairs = {(p.first, p.second): p for p in found.pairs}
    better, equal = pairs["a", "b"], pairs["a", "c"]
    assert better.told_apart
    assert better.difference.value is not None and better.difference.low is not None
    assert 0 < better.difference.low < better.difference.value
    assert not equal.told_apart
    assert equal.p_holm is not None and equal.difference.p is not None
    assert equal.p_holm >= equal.difference.p
    # Holm over three pairs: the smallest p-value counts threefold.
    smallest = min(found.pairs, key=lambda p: p.difference.p or 0)
    assert smallest.p_holm == pytest.approx(min(1, 3 * (smallest.difference.p or 0)))
    assert [x.label for x in better.labels] == list(AUS)
    assert all(x.apart > 1 for x in better.labels)
    assert {s.name: s.contamination for s in found.sides} == {"a": "held_out", "b": "in_sample", "c": "held_out"}


def test_the_difference_is_that_of_the_two_values(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-intensity-5fold")
    store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1))
    store("c", disfa, protocol, noisy(disfa, protocol, 1.0, 3))
    (pair,) = compare(choose_predictions(["a", "c"], registry, protocol), disfa, protocol, resamples=100).pairs
    first, second = (np.array([getattr(x, side) for x in pair.labels]) for side in ("first", "second"))
    assert pair.difference.value == pytest.approx(float((first - second).mean()))
    assert [x.difference.value for x in pair.labels] == pytest.approx((first - second).tolist())


def test_models_with_other_labels_meet_on_the_shared_ones(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-intensity-5fold")
    store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1))
    store("few", disfa, protocol, noisy(disfa, protocol, 0.5, 1, ("AU12", "AU25")))
    found = compare(choose_predictions(["a", "few"], registry, protocol), disfa, protocol, resamples=100)
    assert found.protocol.labels == ("AU12", "AU25")
    assert len(found.left_out) == 10
    (pair,) = found.pairs
    # The same numbers on the shared labels: no difference in any resample.
    assert (pair.difference.value, pair.difference.p) == (0.0, 1.0)
    assert pair.samples == ()


def test_where_they_disagree_most_is_found(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-intensity-5fold")
    values = noisy(disfa, protocol, 0.1, 1)
    other = {k: v.copy() for k, v in values.items()}
    rows = np.flatnonzero(assign_folds(protocol, disfa) >= 0)
    other["AU12"][40] += 30.0
    store("a", disfa, protocol, values)
    store("c", disfa, protocol, other)
    (pair,) = compare(choose_predictions(["a", "c"], registry, protocol), disfa, protocol, resamples=50).pairs
    (sample,) = pair.samples
    assert (sample.file, sample.frame) == (str(disfa.file[rows[40]]), int(disfa.frame[rows[40]]))
    assert sample.label == "AU12"
    assert float(sample.second) - float(sample.first) == pytest.approx(30, abs=0.1)
    assert pair.subjects[0].subject == str(disfa.subject[rows[40]])
    apart = {x.label: x.apart for x in pair.labels}
    assert max(apart, key=lambda x: apart[x]) == "AU12"


def test_expressions_show_which_answers_differ_and_who_is_right(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = load_protocol("rafdb-expression")
    root = write_rafdb(tmp_path / "RAF", {"train": [1], "test": [1 + i % 7 for i in range(70)]})
    index = load_index("rafdb", root)
    rows = np.flatnonzero(assign_folds(protocol, index) >= 0)
    target = truth(protocol, index)[rows]
    right = np.eye(7)[target]
    wrong = right.copy()
    swapped = np.flatnonzero(target == protocol.labels.index("fear"))
    wrong[swapped] = np.eye(7)[protocol.labels.index("surprise")]
    names = protocol.labels
    store("a", index, protocol, {x: right[:, i] for i, x in enumerate(names)})
    store("c", index, protocol, {x: wrong[:, i] for i, x in enumerate(names)})
    (pair,) = compare(choose_predictions(["a", "c"], registry, protocol), index, protocol, resamples=200).pairs
    assert pair.answers == (("fear", "surprise", 10, 10, 0),)
    assert pair.apart == pytest.approx(10 / 70)
    assert pair.label_metric == "balanced_accuracy"
    assert {x.label: x.apart for x in pair.labels}["fear"] == 1
    assert len(pair.samples) == 10
    assert main(["models=a,c", "protocol=rafdb-expression", f"root={root}", "resamples=100",
                 f"registry={tmp_path / 'registry.yaml'}"]) == 0  # fmt: skip
    shown = capsys.readouterr().out
    assert "a is better" in shown
    assert "Different answers" in shown
    assert main(["models=a,c", "protocol=rafdb-expression", f"root={root}", "resamples=100", "format=json",
                 f"registry={tmp_path / 'registry.yaml'}"]) == 0  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    (pair,) = document["pairs"]
    assert pair["difference"]["value"] == pytest.approx(10 / 70)
    assert main(["models=a,c", "protocol=rafdb-expression", f"root={root}", "resamples=100", "format=csv",
                 f"registry={tmp_path / 'registry.yaml'}"]) == 0  # fmt: skip
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    said = [{**pair["difference"], "p_holm": pair["p_holm"]}, *(d for _, d in pair["metrics"])]
    said += [{**x["difference"], "p_holm": x["p_holm"], "apart": x["apart"]} for x in pair["labels"]]
    for name in ("value", "low", "high", "p", "p_holm", "apart"):
        assert [None if np.isnan(x) else x for x in table[name]] == [one.get(name) for one in said]
    assert list(table.label[table.label != "mean"]) == [x["label"] for x in pair["labels"]]


def test_occurrence_is_taken_from_intensity_where_a_model_gives_no_other(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-occurrence-3fold")
    rows = np.flatnonzero(assign_folds(protocol, disfa) >= 0)
    target = truth(protocol, disfa)[rows]
    right = {f"au-intensity/{x}": 3.0 * target[:, i] for i, x in enumerate(protocol.labels)}
    wrong = {k: v.copy() for k, v in right.items()}
    wrong["au-intensity/AU12"] = 3.0 - wrong["au-intensity/AU12"]
    for name, values in (("a", right), ("c", wrong)):
        made = store(name, disfa, protocol, {}, task="au-intensity")
        made.begin(fresh=True)
        unit = Unit(0, 0, rows)
        whole = {"face_found": np.ones(len(rows), bool), "decoded": np.ones(len(rows), bool)}
        made.write_unit(unit, {**whole, **{k: v.astype(np.float32) for k, v in values.items()}, **{
            f"au-intensity/{x}": np.zeros(len(rows), np.float32) for x in AUS if f"au-intensity/{x}" not in values
        }})  # fmt: skip
        made.finish([unit])
    (pair,) = compare(choose_predictions(["a", "c"], registry, protocol), disfa, protocol, resamples=100).pairs
    apart = {x.label: x.apart for x in pair.labels}
    assert apart["AU12"] == 1
    assert sum(apart.values()) == 1
    assert pair.apart == pytest.approx(1 / len(protocol.labels))


def test_the_newest_predictions_of_one_copy_are_taken(registry: Registry, disfa: Index, tmp_path: Path) -> None:
    import os

    protocol = load_protocol("disfa-intensity-5fold")
    old = store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1), batch=1)
    new = store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1), batch=2)
    elsewhere = store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1), manifest="f" * 64)
    theirs = store("c", disfa, protocol, noisy(disfa, protocol, 0.5, 1))
    store("c", disfa, protocol, noisy(disfa, protocol, 0.5, 1), frames="another text of it")
    store("c", disfa, protocol, noisy(disfa, protocol, 0.5, 1), contract="0" * 16)  # of the entry as it was
    for age, made in enumerate((elsewhere, new, old)):
        os.utime(made.path, ns=(10**18 - age, 10**18 - age))
    found = choose_predictions(["a", "c"], registry, protocol)
    assert [s.path for s in found] == [new.path, theirs.path]
    by_path = choose_predictions([str(old.path), str(new.path)], registry, protocol)
    sides = compare(by_path, disfa, protocol, resamples=20).sides
    assert len({s.name for s in sides}) == 2
    with pytest.raises(RecordError, match="different copies"):
        choose_predictions([str(elsewhere.path), "c"], registry, protocol)


def test_mistakes_are_answered_with_the_command_that_mends_them(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-intensity-5fold")
    store("a", disfa, protocol, noisy(disfa, protocol, 0.5, 1))
    with pytest.raises(RecordError, match="no stored predictions of c") as caught:
        choose_predictions(["a", "c"], registry, protocol, precision="fp32")
    assert "zoo.eval model=c dataset=disfa protocol=disfa-intensity-5fold precision=fp32" in str(caught.value.fix)
    with pytest.raises(UsageError, match="two models"):
        choose_predictions(["a"], registry, protocol)
    with pytest.raises(UsageError, match="twice"):
        choose_predictions(["a", "a"], registry, protocol)
    with pytest.raises(UnknownNameError):
        choose_predictions(["a", "nothing"], registry, protocol)


def test_predictions_of_another_task_are_refused_and_not_a_traceback(registry: Registry, disfa: Index) -> None:
    protocol = load_protocol("disfa-intensity-5fold")
    rows = np.flatnonzero(assign_folds(protocol, disfa) >= 0)
    classes = dict.fromkeys(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), rows * 0.0)
    other = protocol.model_copy(update={"task": "expression"})
    unit = Unit(0, 0, rows)
    made = store("a", disfa, protocol, {})
    made.begin(fresh=True)
    there = {"face_found": np.ones(len(rows), bool), "decoded": np.ones(len(rows), bool)}
    made.write_unit(unit, {**there, **{column(other.task, x): v for x, v in classes.items()}})
    made.finish([unit])
    one = store("c", disfa, protocol, noisy(disfa, protocol, 0.5, 1))
    chosen = choose_predictions([str(made.path), str(one.path)], registry, protocol)
    with pytest.raises(RecordError, match="hold no au-intensity/AU01") as caught:
        compare(chosen, disfa, protocol, resamples=20)
    assert caught.value.why == "they are of expression"
