"""The built-in baseline on the built-in dataset, end to end; the faces come from a pinned distribution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo.datasets.synthface import generate

pytestmark = pytest.mark.package


def run(out: str, *words: str, cwd: Path) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "zoo.eval", "model=hog-ridge", *words, f"out={out}"],
        cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (cwd / out / "results").rglob("*.json")
    return json.loads(path.read_text()), done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered copy of DISFA with six frames a subject."""
    root = tmp_path_factory.mktemp("rendered") / "disfa"
    generate("disfa", root, frames=6, progress=False)
    return root


def test_the_generated_tree_scores_the_same_under_both_names(tree: Path, tmp_path: Path) -> None:
    ours, text = run("a", "dataset=synthface", f"root={tree}", cwd=tmp_path)
    theirs, _ = run("b", "dataset=disfa", f"root={tree}", cwd=tmp_path)
    assert ours["views"] == theirs["views"]
    assert ours["coverage"] == theirs["coverage"]
    assert ours["dataset"]["synthetic"] and theirs["dataset"]["synthetic"]
    assert ours["contamination"] == theirs["contamination"] == "held_out"
    assert "rehearsal" in text
    # Each fold's subjects are scored with that fold's checkpoint, and all five are named by hash.
    assert sorted(w["fold"] for w in ours["model"]["weights"]) == ["of1", "of2", "of3", "of4", "of5"]
    assert ours["coverage"]["detected"] >= 0.95 * ours["coverage"]["samples"]
    pcc = next(
        s["mean"]["value"] for s in ours["views"][0]["scores"] if (s["metric"], s["aggregation"]) == ("pcc", "pooled")
    )
    assert 0.5 < pcc < 0.95  # neither hopeless nor trivial


def test_runtimes_agree_on_every_score(tree: Path, tmp_path: Path) -> None:
    found = {
        runtime: run(runtime, "dataset=synthface", f"root={tree}", f"runtime={runtime}", cwd=tmp_path)[0]
        for runtime in ("onnxruntime", "openvino", "torch")
    }
    scores = {
        runtime: [x["value"] for s in record["views"][0]["scores"] for x in s["per_label"]]
        for runtime, record in found.items()
    }
    for runtime in ("openvino", "torch"):
        assert scores[runtime] == pytest.approx(scores["onnxruntime"], abs=1e-4)
