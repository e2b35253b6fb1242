"""Mistakes in an entry that loads and runs, made on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoo.registry import ModelEntry
from zoo.runs.doubts import find_doubts

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 3.0, -2.0]], np.float32)
SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
RAW = {"mean": [0.0], "std": [1.0]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def entry(task: str = "expression", activation: str = "none", **preprocess: Any) -> ModelEntry:
    occurrence = task == "au-occurrence"
    labels = ["AU01", "AU02", "AU04"] if occurrence else ["anger", "fear", "neutral"]
    output = {"task": task, "labels": labels, "activation": activation, "threshold": 0.5 if occurrence else None}
    return ModelEntry.model_validate({
        "name": "mine", "title": "Mine", "family": "onnx", "tasks": [task], "architecture": "mine",
        "weights": [{"name": "a.onnx", "format": "onnx", "sources": ["path:a.onnx"], "sha256": "0" * 64}],
        "preprocess": {"size": [48, 48], **IMAGENET, **preprocess}, "outputs": [output],
        "licence": {"name": "MIT", "commercial_use": True}, "status": "unverified",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("made", "tensor", "said"),
    [
        (entry(), SHARES, None),
        (entry(activation="softmax"), LOGITS, None),
        (entry(), LOGITS, "is activation softmax missing"),
        (entry(), SHARES * 3, "no probabilities"),
        (entry(activation="softmax"), SHARES, "softmax in the file already"),
        (entry("au-occurrence"), SHARES, None),
        (entry("au-occurrence", "sigmoid"), LOGITS, None),
        (entry("au-occurrence"), LOGITS, "is activation sigmoid missing"),
        (entry("au-occurrence", "sigmoid"), SHARES, "sigmoid in the file already"),
        (entry(mean=IMAGENET["std"], std=IMAGENET["mean"]), SHARES, "the other way round"),
        (entry(scale=1.0), SHARES, "is scale 1/255"),
        (entry(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]), SHARES, "is scale 1?"),
        (entry(scale=1.0, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]), SHARES, None),
        (entry(scale=1.0, **RAW), SHARES, None),
        (entry(scale=2 / 255, mean=[1.0], std=[1.0]), SHARES, None),
    ],
)
def test_one_mistake_gives_one_doubt(made: ModelEntry, tensor: np.ndarray, said: str | None) -> None:
    found = find_doubts(made, {"out": tensor})
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
