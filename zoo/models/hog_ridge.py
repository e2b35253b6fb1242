"""Family ``hog-ridge``: FHOG features of aligned 112x112 faces and ridge regression, in OpenFace's manner.

The published file is the ONNX graph, which runs without torch; the torch module takes its ``ridge.weight`` and
``ridge.bias`` from the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from zoo._util.files import atomic_path
from zoo._util.optional import need
from zoo.errors import ContractError
from zoo.models.base import Family, Files, Graph, the_file
from zoo.models.onnx_graph import initializer, read_onnx
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.floating]


def fit(features: Floats, targets: Floats, alpha: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fits a ridge regression in closed form; the intercept is not penalised.

    Minimises ``|targets - features @ weight.T - bias|^2 + alpha |weight|^2``. With fewer samples than features the
    dual form is solved, whose matrix is samples by samples.

    Args:
        features: ``[n, features]``.
        targets: ``[n, labels]``.
        alpha: Penalty, above 0.

    Returns:
        Weight ``[labels, features]`` and bias ``[labels]``, float32; computed in float64.

    Raises:
        ValueError: Shapes that do not fit, values that are not finite, or ``alpha`` not above 0.
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(f"features [n, features] and targets [n, labels] are needed, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features and targets have to be finite: leave out frames that are not coded")
    if not alpha > 0:
        raise ValueError("alpha has to be above 0")
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    if len(x) < x.shape[1]:
        weight = np.linalg.solve(x @ x.T + alpha * np.eye(len(x)), y).T @ x
    else:
        weight = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y).T
    return weight.astype(np.float32), (y_mean - weight @ x_mean).astype(np.float32)


def export_fold(path: Path, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Writes one fold's ONNX graph: ``image`` ``[n, 3, 112, 112]`` of 0..255 to ``au_intensity`` ``[n, labels]``.

    Equal weights give equal bytes under one torch version.

    Args:
        path: File to write; whole or not at all.
        weight: ``[labels, 4464]``.
        bias: ``[labels]``.

    Raises:
        DependencyError: torch or onnxscript is not installed.
    """
    need("torch", "hog-ridge is exported from torch")
    from zoo.models.export import to_onnx
    from zoo.models.networks.hog_ridge import SIDE, HogRidge

    model = to_onnx(HogRidge(weight, bias).eval(), (3, SIDE, SIDE))
    for name in ("ridge.weight", "ridge.bias"):
        initializer(model, name)  # the exporter may fold or rename them; then the torch route could not read them
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)


def read_fold(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reads weight ``[labels, 4464]`` and bias ``[labels]`` from a fold's ONNX graph.

    Raises:
        ContractError: Not such a graph.
    """
    model = read_onnx(path)
    weight, bias = (
        np.array(numpy_helper.to_array(initializer(model, name)), np.float32) for name in ("ridge.weight", "ridge.bias")
    )
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ContractError(
            "not a graph of hog-ridge", where=str(path), why=f"weight {weight.shape}, bias {bias.shape}"
        )
    return weight, bias


def _module(path: Path) -> nn.Module:
    need("torch", "runtime=torch")
    from zoo.models.networks.hog_ridge import HogRidge

    return HogRidge(*read_fold(path)).eval()


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes a fold's graph in both forms.

    Raises:
        ContractError: The entry scales its pixels: the features are defined, and exact, on whole numbers 0..255.
    """
    chain = entry.preprocess
    assert chain is not None
    if chain.scale != 1 or any(chain.mean) or any(s != 1 for s in chain.std):
        raise ContractError(
            f"{entry.name}: hog-ridge reads pixels of 0..255", where=f"{entry.where}, preprocess",
            fix="set scale: 1.0, mean: [0.0], std: [1.0]",
        )  # fmt: skip
    path = the_file(entry, files, entry.output(tasks[0]).role)[1]
    return Graph(onnx=lambda: read_onnx(path), torch=lambda: _module(path))


FAMILY = Family(graph=graph)
