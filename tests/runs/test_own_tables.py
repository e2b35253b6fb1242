"""A user's own table of AUs or affect, from the CSV to the score, and which protocol is meant when none is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from tests.helpers.tiny import tiny_entry, tiny_model, tiny_pictures, tiny_registry
from zoo import check, eval, score
from zoo._util.files import zoo_home
from zoo.datasets import load_index

RNG = np.random.default_rng(3)
COUNT = 40
SHADES = RNG.uniform(0, 1, (COUNT, 3))
"""What the tiny model sees: four times the mean of each colour, so 0 to 4."""
NOISY = np.clip(4 * SHADES + RNG.normal(0, 0.8, SHADES.shape), 0, 5)


def table(folder: Path, head: str, cells: list[list[str]]) -> Path:
    """Writes pictures of one colour each, and a table with the given columns after ``path``."""
    root = folder / "mine"
    root.mkdir(exist_ok=True)
    for i, shade in enumerate(SHADES):
        Image.fromarray(np.tile(np.uint8(np.round(255 * shade)), (12, 12, 1))).save(root / f"{i:03d}.png")
    rows = [",".join([f"{i:03d}.png", *row]) for i, row in enumerate(cells)]
    (root / "labels.csv").write_text("\n".join([f"path,{head}", *rows]) + "\n")
    return root


def outputs(*tasks: str) -> dict[str, Any]:
    kinds = {
        "au-intensity": {"labels": ["AU01", "AU12", "AU25"], "clamp": [0, 5]},
        "au-occurrence": {"labels": ["AU01", "AU12", "AU25"], "threshold": 2.0},
        "valence-arousal": {"labels": ["valence", "arousal"]},
        "expression": {"labels": ["anger", "happiness", "neutral"], "activation": "softmax"},
    }  # fmt: skip
    return {"tasks": list(tasks), "outputs": [{"task": t, **kinds[t]} for t in tasks]}


def evaluate(folder: Path, root: Path, *words: str, task: str = "au-intensity") -> dict[str, Any]:
    registry = tiny_registry(folder, **outputs(task))
    run = ["model=tiny", "dataset=folder", f"root={root}", f"registry={registry}", f"out={folder / 'out'}",
           "resamples=100", "fresh=true", *words]  # fmt: skip
    assert eval.main(run) == 0
    newest = max((folder / "out" / "results").rglob("*.json"), key=lambda p: p.stat().st_mtime_ns)
    found: dict[str, Any] = json.loads(newest.read_text())
    return found


def primary(record: dict[str, Any], metric: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        s for s in record["views"][0]["scores"] if s["metric"] == metric and s["aggregation"] == "pooled"
    )
    return found


def people(i: int) -> str:
    return f"p{i // 4}"


def test_intensities_are_scored_on_the_aus_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [[people(i), f"{v[0]:.3f}", f"{v[1]:.3f}" if i % 5 else "", "1.5"] for i, v in enumerate(NOISY)]
    root = table(tmp_path, "subject,AU01,AU12,AU04", cells)
    record = evaluate(tmp_path, root)
    assert record["protocol"]["ref"] == "folder-intensity@1"
    # AU04 is in the table and not in the model, AU25 the other way round.
    assert record["model"]["missing_labels"] == ["AU04"]
    scores = primary(record, "pcc")
    seen = 4 * np.round(255 * SHADES) / 255
    coded = np.arange(COUNT) % 5 > 0
    truth = np.round(NOISY, 3)
    want = {
        "AU01": pearsonr(truth[:, 0], seen[:, 0])[0],
        "AU12": pearsonr(truth[coded, 1], seen[coded, 1])[0],
    }
    assert {x["label"]: x["value"] for x in scores["per_label"]} == pytest.approx(want, abs=1e-4)
    assert {x["label"]: x["n"] for x in scores["per_label"]} == {"AU01": 40, "AU12": 32}
    assert scores["mean_missing_zero"]["value"] == pytest.approx(sum(want.values()) / 3, abs=1e-4)
    assert len(record["subjects"]) == 10  # the table names people: they are what is resampled
    assert record["contamination"] == "unknown"
    shown = capsys.readouterr().out
    assert "bootstrap over subjects" in shown
    assert "AU04" in shown
    (stored,) = (zoo_home() / "predictions").rglob("predictions.parquet")
    words = [f"predictions={stored}", f"root={root}", f"registry={tmp_path / 'tiny.yaml'}", "format=json"]
    assert score.main([*words, "resamples=100"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == record["views"]
    board = (tmp_path / "out" / "folder-intensity@1.md").read_text()
    assert "AU12" in board
    assert "AU45" not in board


def test_without_people_images_are_resampled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = table(tmp_path, "AU01_r", [[f"{v[0]:.3f}"] for v in NOISY])
    record = evaluate(tmp_path, root)
    assert record["subjects"] == []
    assert "bootstrap over images" in capsys.readouterr().out


def test_occurrence_from_a_table_of_zeros_and_ones(tmp_path: Path) -> None:
    truth = (NOISY[:, :2] >= 2).astype(int)
    root = table(tmp_path, "AU01,AU12", [[str(x) for x in row] for row in truth])
    record = evaluate(tmp_path, root, task="au-occurrence")
    assert record["protocol"]["ref"] == "folder-occurrence@1"
    seen = 4 * np.round(255 * SHADES) / 255
    want = np.mean([f1_score(truth[:, j], seen[:, j] >= 2) for j in range(2)])
    assert primary(record, "f1")["mean"]["value"] == pytest.approx(want)


def test_a_model_of_intensities_is_scored_on_occurrence(tmp_path: Path) -> None:
    truth = (NOISY[:, :1] >= 2).astype(int)
    root = table(tmp_path, "AU01_c", [[str(x) for x in row] for row in truth])
    record = evaluate(tmp_path, root, task="au-intensity")
    assert record["protocol"]["ref"] == "folder-occurrence@1"
    assert record["model"]["derived"] == "au-intensity >= 2"


def test_affect_of_one_dimension(tmp_path: Path) -> None:
    registry = tmp_path / "tiny.yaml"
    tiny_model(tmp_path / "tiny.onnx", outputs=2)
    entry = tiny_entry(tmp_path / "tiny.onnx", **outputs("valence-arousal"))
    registry.write_text(yaml.safe_dump({"schema_version": 1, "models": [entry]}))
    root = table(tmp_path, "valence", [[f"{v:.3f}"] for v in 2 * SHADES[:, 0] - 1])
    run = ["model=tiny", "dataset=folder", f"root={root}", f"registry={registry}", f"out={tmp_path / 'out'}",
           "resamples=100"]  # fmt: skip
    assert eval.main(run) == 0
    (path,) = (tmp_path / "out" / "results").rglob("*.json")
    record = json.loads(path.read_text())
    assert record["protocol"]["ref"] == "folder-affect@1"
    assert [x["label"] for x in primary(record, "ccc")["per_label"]] == ["valence"]
    assert primary(record, "pcc")["mean"]["value"] == pytest.approx(1.0, abs=1e-4)


def test_a_table_without_the_models_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = table(tmp_path, "valence", [["0.5"]] * COUNT)
    registry = tiny_registry(tmp_path, **outputs("au-intensity"))
    run = ["model=tiny", "dataset=folder", f"root={root}", f"registry={registry}", f"out={tmp_path / 'out'}"]
    assert eval.main(run) == 2
    shown = capsys.readouterr().err
    assert "no labels for au-intensity or au-occurrence" in shown
    assert "it has labels for valence-arousal" in shown
    assert eval.main([*run, "protocol=folder-intensity"]) == 1
    assert "has no labels for au-intensity" in capsys.readouterr().err
    root = table(tmp_path, "AU04", [["2.5"]] * COUNT)
    assert eval.main(run) == 2
    assert "the model gives none of the labels" in capsys.readouterr().err


def test_class_folders_are_still_expressions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_pictures(tmp_path / "pictures")
    record = evaluate(tmp_path, tmp_path / "pictures", task="expression")
    assert record["protocol"]["ref"] == "folder-expression@2"
    capsys.readouterr()
    assert check.main(["dataset=folder", f"root={tmp_path / 'pictures'}"]) == 0
    shown = capsys.readouterr().out
    assert "folder-expression@2: 36 samples, complete" in shown
    assert "folder-affect@1: cannot be run" in shown


def test_one_sided_aus_are_not_scored_in_silence(tmp_path: Path) -> None:
    root = table(tmp_path, "L-AU12,AU12", [["1", "1.5"]] * COUNT)
    assert "one-sided" in {f.code for f in load_index("folder", root).findings}


def test_no_copy_and_no_weights_are_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert eval.main(["model=libreface-r18", "dataset=folder", f"root={tmp_path / 'gone'}"]) == 3
    shown = capsys.readouterr().err
    assert "there is no such folder" in shown
    assert "zoo.fetch model=libreface-r18" in shown
