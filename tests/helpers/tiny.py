"""A tiny model and a folder of pictures that it can score: the whole path without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from zoo._util.files import sha256_of

LABELS = ("anger", "happiness", "neutral")


def tiny_model(path: Path, *, outputs: int = 3) -> None:
    """Writes an ONNX graph ``image [n, 3, 8, 8] -> label [n, outputs]``: class 0 for red, 1 for green, 2 for blue."""
    weight = np.zeros((3, outputs), np.float32)
    np.fill_diagonal(weight, 4.0)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["label"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("label", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def tiny_entry(model: Path, **change: Any) -> dict[str, Any]:
    """Returns the registry entry of :func:`tiny_model`."""
    entry: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "family": "onnx",
        "tasks": ["expression"],
        "architecture": "tiny",
        "weights": [{"name": "tiny.onnx", "format": "onnx", "sources": [f"path:{model}"], "sha256": sha256_of(model)}],
        "preprocess": {"size": [8, 8], "interpolation": "pillow-bilinear"},
        "outputs": [{"task": "expression", "labels": list(LABELS), "activation": "softmax"}],
        "licence": {"name": "Apache-2.0", "commercial_use": True},
        "status": "unverified",
    }
    return {**entry, **change}


def tiny_registry(folder: Path, **change: Any) -> Path:
    """Writes the model and a registry file with its entry; returns the registry file."""
    model = folder / "tiny.onnx"
    tiny_model(model)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({"schema_version": 1, "models": [tiny_entry(model, **change)]}))
    return path


def tiny_pictures(root: Path, count: int = 12, *, wrong: int = 2, side: int = 16) -> Path:
    """Writes a folder per class with ``count`` pictures each; ``wrong`` of each class have the next one's colour."""
    rng = np.random.default_rng(0)
    for number, label in enumerate(LABELS):
        (root / label).mkdir(parents=True)
        for i in range(count):
            colour = (number + (i < wrong)) % 3
            pixels = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
            pixels[..., colour] += 150
            Image.fromarray(pixels).save(root / label / f"{i:05d}.png", compress_level=1)
    return root


def broken_registry(folder: Path) -> Path:
    """Writes :func:`tiny_registry` with a model that gives numbers for a black picture and NaN for bright ones."""
    path, file = tiny_registry(folder), folder / "tiny.onnx"
    model = onnx.load(file)
    model.graph.node[-1].output[0] = "raw"  # 0 for black, about 2 for the pictures' colour
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.float32), "one"))
    model.graph.node.extend([
        helper.make_node("Sub", ["one", "raw"], ["rest"]), helper.make_node("Sqrt", ["rest"], ["label"])
    ])  # fmt: skip
    onnx.save(model, file)
    path.write_text(yaml.safe_dump({"schema_version": 1, "models": [tiny_entry(file)]}))
    return path
