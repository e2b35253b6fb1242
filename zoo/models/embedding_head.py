"""Family ``embedding-head``: a published ONNX network and a small head on what its last layer reads and gives.

The heads of Savchenko's paper on Aff-Wild2 (arXiv:2203.13436): logistic regression or one hidden layer on the
embeddings of an HSEmotion network (what its last layer reads), its scores (what that layer gives), or both. They are
not published; ``zoo.fit`` makes them.

| role | holds |
|---|---|
| ``encoder`` | the network, ONNX, its last node a ``Gemm`` |
| ``head`` | safetensors: ``<task>.weight`` ``[labels, features]`` and ``<task>.bias`` for each task, with ``_`` for ``-``; ``hidden.weight`` and ``hidden.bias`` where there is a hidden layer |

The architecture is a key of :data:`FEATURES`. Each task has an output tensor of its name: logits, but for valence and
arousal, which end in tanh.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from zoo._util.optional import need
from zoo.errors import ContractError, RegistryError
from zoo.models.base import Family, Files, Graph, the_file
from zoo.models.onnx_graph import read_onnx
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

FEATURES = {"head-on-embeddings": "embeddings", "head-on-scores": "scores", "head-on-both": "both"}
"""Architecture -> what the head reads. The scores are those of the network before any softmax, as the author's notebook
has them (av-savchenko/face-emotion-recognition, src/ABAW/abaw3_train.ipynb); the paper calls them probabilities."""
TENSOR = "features"

Weights = Mapping[str, NDArray[np.float32]]


def tensor_of(task: Task) -> str:
    """Returns the name of a task's output tensor, and of its layer in a head's file."""
    return task.replace("-", "_")


def with_features(path: Path, kind: str) -> onnx.ModelProto:
    """Returns a network that ends in the tensor :data:`TENSOR`, ``[n, features]``: embeddings, scores, or both in turn.

    Args:
        path: ONNX file.
        kind: A value of :data:`FEATURES`.

    Raises:
        ContractError: Not an ONNX file, or one that does not end in a ``Gemm``, so that the embeddings are not known.
    """
    model = read_onnx(path)
    graph = model.graph
    scores = graph.output[0].name
    last = next((n for n in graph.node if scores in n.output), None)
    if len(graph.output) != 1 or last is None or last.op_type != "Gemm":
        raise ContractError(
            "the embeddings of this network are not known", where=str(path),
            why="they are what the one last layer reads, a Gemm; this network ends in "
            + ", ".join(o.name for o in graph.output) + (f" ({last.op_type})" if last else ""),
        )  # fmt: skip
    parts = {"embeddings": [last.input[0]], "scores": [scores], "both": [last.input[0], scores]}[kind]
    graph.node.append(helper.make_node("Concat", parts, [TENSOR], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(TENSOR, onnx.TensorProto.FLOAT, ["n", None]))
    return model


def read_head(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads a head's file.

    Raises:
        ContractError: Not a safetensors file.
        DependencyError: safetensors is not installed.
    """
    try:
        found: dict[str, NDArray[np.float32]] = need("safetensors.numpy", "heads are safetensors").load_file(path)
    except Exception as error:  # safetensors raises a class of its Rust part
        if isinstance(error, ImportError):
            raise
        raise ContractError("not a safetensors file", where=str(path), why=str(error)) from None
    return found


def _check(entry: ModelEntry, weights: Weights, where: Path) -> None:
    """Holds a head's tensors against the entry: each needed one is there, none is left over, and the shapes fit.

    Raises:
        ContractError: Names the first that does not.
    """
    widths = {tensor_of(o.task): len(o.labels) for o in entry.outputs}
    layers = [*(["hidden"] if any(n.startswith("hidden.") for n in weights) else []), *widths]
    expected = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    if wrong := expected ^ weights.keys():
        raise ContractError(
            f"{entry.name}: the head is of other tasks", where=str(where),
            why="missing or left over: " + ", ".join(sorted(wrong)),
        )  # fmt: skip
    hidden = weights.get("hidden.bias")
    for layer in layers:
        weight, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        rows = widths.get(layer, len(bias))
        columns = len(hidden) if hidden is not None and layer != "hidden" else weight.shape[-1]
        if weight.shape != (rows, columns) or bias.shape != (rows,):
            raise ContractError(
                f"{entry.name}: {layer}.weight is {list(weight.shape)}, [{rows}, {columns}] is needed", where=str(where)
            )


def _join(entry: ModelEntry, encoder: Path, head: Path, tasks: Sequence[Task]) -> onnx.ModelProto:
    weights = read_head(head)
    _check(entry, weights, head)
    model = with_features(encoder, FEATURES[entry.architecture])
    graph = model.graph
    del graph.output[:]

    def layer(name: str, source: str, target: str) -> None:
        inputs = [f"head/{name}.weight", f"head/{name}.bias"]
        for key, tensor in zip(("weight", "bias"), inputs, strict=True):
            graph.initializer.append(numpy_helper.from_array(weights[f"{name}.{key}"], tensor))
        graph.node.append(helper.make_node("Gemm", [source, *inputs], [target], transB=1))

    features = TENSOR
    if "hidden.weight" in weights:
        layer("hidden", features, "head/hidden")
        graph.node.append(helper.make_node("Relu", ["head/hidden"], ["head/relu"]))
        features = "head/relu"
    for task in tasks:
        name = tensor_of(task)
        bounded = task == "valence-arousal"
        layer(name, features, f"head/{name}" if bounded else name)
        if bounded:
            graph.node.append(helper.make_node("Tanh", [f"head/{name}"], [name]))
        width = len(entry.output(task).labels)
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", width]))
    return model


def roles(entry: ModelEntry, tasks: Sequence[Task]) -> set[str]:
    """Returns the roles of the files for the tasks: always both."""
    return {"encoder", "head"}


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the network with its head as one ONNX graph."""
    if entry.architecture not in FEATURES:
        raise RegistryError(
            f"{entry.name}: no structure '{entry.architecture}'", where=entry.where,
            fix="use one of: " + ", ".join(FEATURES),
        )  # fmt: skip
    encoder, head = (the_file(entry, files, role)[1] for role in ("encoder", "head"))
    return Graph(onnx=lambda: _join(entry, encoder, head, tasks))


FAMILY = Family(graph=graph, roles=roles)
