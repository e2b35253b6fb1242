"""Every rendered layout from the check to the score, with the built-in baseline and a published model.

The faces come from a pinned distribution, and so does the expression model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.tiny import tiny_entry
from zoo import check, eval, score
from zoo._util.files import zoo_home
from zoo.datasets.synthface import generate
from zoo.protocols import load_protocol

pytestmark = pytest.mark.package

HOG, XCEPTION, ALL_THREE = "hog-ridge", "fer-mini-xception-tflite", "all-three"

# Small, and with enough people for an interval where the layout names them.
TREES: dict[str, dict[str, Any]] = {
    "disfa": {"subjects": 27, "frames": 3, "size": (160, 160)},
    "disfaplus": {"subjects": 1, "frames": 2, "size": (160, 160)},
    "bp4d": {"subjects": 3, "frames": 2, "size": (160, 160)},
    "bp4dplus": {"subjects": 2, "frames": 2, "size": (160, 160)},
    "ckplus": {"subjects": 6, "frames": 2, "size": (160, 160)},
    "rafdb": {"images": 40},
    "affectnet-csv": {"images": 60},
    "affectnet-npy": {"images": 60},
    "fer2013": {"images": 60},
    "affwild2": {"subjects": 6, "frames": 6},
}


@dataclass(frozen=True)
class Case:
    """One model on one twin."""

    tree: str
    dataset: str
    model: str
    protocols: tuple[str, ...]
    more: tuple[str, ...] = ()
    """Words for the check and the run."""
    run: tuple[str, ...] = ()
    """Words for the run only."""
    whole: bool = True
    """Whether the small tree holds everyone whom the protocols test."""

    def __str__(self) -> str:
        return f"{self.model} on {self.tree} as {self.dataset}: {', '.join(self.protocols)}"


CASES = (
    Case("disfa", "disfa", HOG, ("disfa-intensity-5fold", "disfa-occurrence-3fold")),
    Case("disfaplus", "disfaplus", HOG, ("disfaplus-occurrence", "disfaplus-intensity")),
    Case("bp4d", "bp4d", HOG, ("bp4d-occurrence-3fold", "bp4d-intensity-3part"), run=("fold=of1",), whole=False),
    Case("bp4dplus", "bp4dplus", HOG, ("bp4dplus-occurrence-3fold",), run=("fold=of1",), whole=False),
    Case("ckplus", "ckplus", XCEPTION, ("ckplus-expression", "ckplus-expression-8")),
    Case("rafdb", "rafdb", XCEPTION, ("rafdb-expression",)),
    Case("affectnet-csv", "affectnet", XCEPTION, ("affectnet-expression-8", "affectnet-expression-7")),
    Case("affectnet-npy", "affectnet", XCEPTION, ("affectnet-expression-7-strict", "affectnet-expression-7x500")),
    Case("affectnet-csv", "affectnet", ALL_THREE, ("affectnet-affect",)),
    Case("fer2013", "fer2013", XCEPTION, ("fer2013-expression",)),
    Case("fer2013", "ferplus", XCEPTION, ("ferplus-expression-majority",), more=("rule=majority",)),
    Case("fer2013", "ferplus", XCEPTION, ("ferplus-expression-argmax",), more=("rule=argmax",)),
    Case("affwild2", "affwild2", XCEPTION, ("affwild2-expression",), more=("challenge=expr",)),
    Case("affwild2", "affwild2", HOG, ("affwild2-occurrence",), more=("challenge=au",), run=("fold=of1",)),
    Case("affwild2", "affwild2", ALL_THREE, ("affwild2-affect",), more=("challenge=va",)),
    Case(
        "affwild2", "affwild2", ALL_THREE,
        ("affwild2-mtl-affect", "affwild2-mtl-expression", "affwild2-mtl-occurrence"), more=("challenge=mtl",),
    ),
)  # fmt: skip


def all_three(folder: Path) -> Path:
    """Writes a model of valence and arousal, expressions and AUs: fixed mixtures of the mean colour."""
    protocols = [load_protocol(f"affwild2-mtl-{n}") for n in ("affect", "expression", "occurrence")]
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    weights, outputs, described = [], [], []
    for p in protocols:
        key = p.task.replace("-", "_")
        weights.append(numpy_helper.from_array(rng.normal(0, 1, (3, len(p.labels))).astype(np.float32), f"w_{key}"))
        nodes.append(helper.make_node("MatMul", ["flat", f"w_{key}"], [key]))
        outputs.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, ["n", len(p.labels)]))
        more = {"threshold": 0.5, "activation": "sigmoid"} if p.task == "au-occurrence" else {}
        described.append({"task": p.task, "labels": list(p.labels), "tensor": key, **more})
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])
    graph = helper.make_graph(nodes, "all-three", [image], outputs, weights)
    path = folder / "all-three.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    entry = tiny_entry(path, name=ALL_THREE, tasks=[p.task for p in protocols], outputs=described)
    entry["weights"][0]["name"] = path.name
    file = folder / "all-three.yaml"
    file.write_text(yaml.safe_dump({"schema_version": 1, "models": [entry]}))
    return file


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for all cases: files are fetched once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered trees, each when it is first asked for."""
    return tmp_path_factory.mktemp("trees")


def tree(trees: Path, name: str) -> Path:
    return generate(name, trees / name, progress=False, **TREES[name])


def headline(record: dict[str, Any]) -> dict[str, Any]:
    primary = load_protocol(record["protocol"]["ref"]).primary
    found: dict[str, Any] = next(
        s
        for s in record["views"][0]["scores"]
        if (s["metric"], s["aggregation"]) == (primary.metric, primary.aggregation)
    )
    return found


def records(out: Path, model: str, protocols: Sequence[str]) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted((out / "results").rglob("*.json"))]
    found = [r for r in found if r["model"]["name"] == model]
    return sorted(found, key=lambda r: protocols.index(r["protocol"]["ref"].partition("@")[0]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_from_the_check_to_the_score(
    case: Case,
    trees: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(home))
    root = tree(trees, case.tree)
    words = [f"dataset={case.dataset}", f"root={root}", *case.more]
    assert check.main(words) == 0
    report = capsys.readouterr().out
    assert "complete: 0 errors, 0 warnings" in report
    for name in case.protocols:
        assert f"{load_protocol(name).ref}: " in report
    assert ("INCOMPLETE" in report) is not case.whole

    registry = [f"registry={all_three(tmp_path)}"] if case.model == ALL_THREE else []
    run = [f"model={case.model}", *words, f"protocol={','.join(case.protocols)}", *case.run, *registry,
           f"out={tmp_path / 'out'}", "resamples=50", "threads=2"]  # fmt: skip
    code = eval.main(run)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "rehearsal" in shown.out

    found = records(tmp_path / "out", case.model, case.protocols)
    assert [r["protocol"]["ref"].partition("@")[0] for r in found] == list(case.protocols)
    for record in found:
        assert record["dataset"]["synthetic"]
        assert record["dataset"]["complete"] is case.whole
        cover = record["coverage"]
        assert cover["undecodable"] == 0
        assert cover["detected"] >= 0.9 * cover["samples"] > 0
        # hog-ridge has seen rendered people, none of whom are scored here by a checkpoint that has.
        assert record["contamination"] == ("unknown" if case.model == ALL_THREE else "held_out")
        value = headline(record)["mean"]["value"]
        assert value is not None
        assert -1 <= value <= 1
    if len(case.protocols) == 3:
        assert "P_MTL" in shown.err

    # The same numbers from what is stored, without a model.
    stored = {r["predictions"]: r for r in found}
    for path in (home / "predictions" / case.model).rglob("predictions.parquet"):
        if record := stored.pop(path.parent.name, None):
            assert score.main([f"predictions={path}", f"root={root}", *registry, "resamples=50", "format=json"]) == 0
            assert json.loads(capsys.readouterr().out) == record["views"]
    assert not stored
    assert zoo_home() == home


def test_every_layout_is_here() -> None:
    from zoo.datasets.synthface import layouts

    assert {case.tree for case in CASES} == set(layouts()) == set(TREES)
