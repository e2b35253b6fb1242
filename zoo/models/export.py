"""From a torch module to an ONNX graph that is held against the module."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx

from zoo._util.optional import need
from zoo.errors import ContractError

if TYPE_CHECKING:
    from torch import nn

EXPORT_TOLERANCE = 1e-4
"""Largest difference, relative to the largest output (at least 1), of an exported graph from its torch module."""

OPSET = 20
"""ONNX operator set of exported graphs (2023-11; onnxruntime >= 1.17, openvino >= 2024.0)."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Hushes the exporter, which reports on its own progress and on deprecations inside itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy without doc strings and metadata: exporters write stack traces with the builder's paths there."""
    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    graph = clean.graph
    clean.producer_name = "libreface-zoo"
    clean.ClearField("producer_version")
    for part in (clean, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *clean.functions):
        for field in ("doc_string", "metadata_props"):
            part.ClearField(field)
    del graph.value_info[:]
    return clean


def to_onnx(module: nn.Module, shape: Sequence[int]) -> onnx.ModelProto:
    """Exports a module with an open batch, and holds the graph against the module.

    Args:
        module: Float input, ``dict[str, Tensor]`` out, in ``eval`` mode; the keys name the graph's outputs. With an
            attribute ``answers_in_steps``, half of each output's values have to agree, else all.
        shape: Shape of the input without the batch.

    Returns:
        A graph with the input ``image``, without metadata: equal modules give equal bytes under one torch version.

    Raises:
        DependencyError: torch or onnxscript is not installed.
        ContractError: ONNX Runtime's results on the graph differ from the module's by more than
            :data:`EXPORT_TOLERANCE`.
    """
    torch = need("torch", "models kept as torch structures are exported by torch")
    need("onnxscript", "torch exports to ONNX through onnxscript")
    import onnxruntime as ort

    # Three pictures: a batch of one would be taken for a constant. Pixel-like values, as 0..255 networks need them.
    example = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.float32))
    with torch.inference_mode(), _quiet():
        expected = {name: y.numpy() for name, y in module(example).items()}
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=OPSET, input_names=["image"],
            output_names=list(expected), dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    model = strip(program.model_proto)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for count in (3, 1):
        got = session.run(list(expected), {"image": example.numpy()[:count]})
        for (name, want), have in zip(expected.items(), got, strict=True):
            apart = np.abs(want[:count] - have)
            # Trees answer in steps, and the last digit of a feature may turn one: half of the values have to agree.
            most = np.median(apart) if getattr(module, "answers_in_steps", False) else apart.max()
            off = float(most / max(1.0, float(np.abs(want).max())))
            if not off <= EXPORT_TOLERANCE:
                raise ContractError(f"the exported graph's '{name}' is off by {off:.2g} from the torch module's")
    return model
