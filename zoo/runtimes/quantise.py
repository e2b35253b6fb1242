"""Lower precision after training: int8 by NNCF for OpenVINO and by static QDQ for ONNX Runtime, and fp16 graphs.

The int8 graphs take uint8 crops, as sessions do.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from zoo._util.optional import need
from zoo.errors import RuntimeUnavailableError
from zoo.runtimes.graphs import PIXELS

if TYPE_CHECKING:
    import openvino as ov

_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Clip")
"""What ONNX Runtime computes in int8: sums of products, and what passes int8 on between them. Activations such as
Sigmoid, HardSwish and Softmax stay in float."""

_MOST_PRODUCTS = (2**31 - 1) // (255 * 127)
"""Products of an activation (0..255) and a weight (-127..127) that fit into the 32 bits that runtimes sum them in. A
longer sum can run over, which no calibration shows: such layers (of all tokens of a ViT at once, say) stay in float."""


def _long_sums(model: ov.Model) -> list[str]:
    """Returns the names of the matrix products of an OpenVINO model that sum too many products for int8."""
    found = []
    for operator in model.get_ops():
        if operator.get_type_name() == "MatMul":
            shape = operator.input(0).get_partial_shape()
            inner = shape[-2 if operator.get_attributes().get("transpose_a") else -1] if len(shape) > 1 else shape[0]
            if inner.is_static and inner.get_length() > _MOST_PRODUCTS:
                found.append(operator.get_friendly_name())
    return found


def _long_sum(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether an ONNX node sums too many products for int8, by the shape of its weights."""
    shape = shapes.get(node.input[1]) if len(node.input) > 1 else None
    if shape is None or len(shape) < 2:
        return False
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return shape[1 if transposed else 0] > _MOST_PRODUCTS
    if node.op_type == "Conv":
        return int(np.prod(shape[1:])) > _MOST_PRODUCTS
    return node.op_type == "MatMul" and shape[-2] > _MOST_PRODUCTS


def nncf_int8(model: ov.Model, crops: NDArray[np.uint8]) -> ov.Model:
    """Quantises an OpenVINO model that takes crops.

    Args:
        model: uint8 ``[n, height, width, channels]`` in, normalisation inside.
        crops: Calibration crops.

    Raises:
        DependencyError: nncf is not installed.
        RuntimeUnavailableError: NNCF cannot quantise it.
    """
    os.environ.setdefault("NNCF_CI", "1")  # or it would report its use to its makers over the network
    nncf = need("nncf", "OpenVINO models are quantised by NNCF")
    # Not nncf.set_log_level: it also sets the level of handlers that others have put there.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    kinds = {operator.get_type_name() for operator in model.get_ops()}
    transformer = "ScaledDotProductAttention" in kinds or {"MVN", "Softmax", "MatMul"} <= kinds
    data = nncf.Dataset([crop[None] for crop in crops])
    long = _long_sums(model)
    try:
        with redirect_stdout(sys.stderr):  # its progress is not data
            return nncf.quantize(
                model, data, subset_size=len(crops),
                model_type=nncf.ModelType.TRANSFORMER if transformer else None,
                ignored_scope=nncf.IgnoredScope(names=long) if long else None,
            )  # fmt: skip
    except Exception as error:  # nncf raises classes of its own and of OpenVINO
        raise RuntimeUnavailableError("nncf cannot quantise the model", why=str(error)) from error


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns an ONNX graph that computes in fp16 between its float32 inputs and outputs.

    Operators without such kernels stay in fp32 (the list of ``onnxruntime.transformers.float16``).

    Args:
        model: Float graph; not changed.

    Raises:
        RuntimeUnavailableError: It cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        made = convert_float_to_float16(model, keep_io_types=True)
    except Exception as error:  # of whatever class an unexpected graph leads to
        raise RuntimeUnavailableError("onnxruntime cannot convert the model to fp16", why=str(error)) from error
    assert isinstance(made, onnx.ModelProto)
    return made


def static_qdq(model: onnx.ModelProto, crops: NDArray[np.uint8]) -> onnx.ModelProto:
    """Quantises an ONNX graph that takes crops: uint8 activations, int8 weights a channel, by ranges seen.

    Args:
        model: uint8 ``[n, height, width, channels]`` in, normalisation inside.
        crops: Calibration crops.

    Raises:
        RuntimeUnavailableError: ONNX Runtime cannot quantise it.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    named = onnx.ModelProto()
    named.CopyFrom(model)
    for number, node in enumerate(named.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (Path(folder) / name for name in ("source.onnx", "ready.onnx", "int8.onnx"))
        onnx.save(named, source)
        try:
            root.setLevel(logging.ERROR)  # it advises at every call to do what was done
            quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
            graph = onnx.load(ready).graph
            shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
            in_float = [n.name for n in graph.node if n.name.startswith(f"{PIXELS}/") or _long_sum(n, shapes)]
            with np.errstate(all="ignore"):  # it divides by the range of channels that are constant
                quantize_static(
                    str(ready), str(target), _Reader(crops), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    op_types_to_quantize=sorted({n.op_type for n in graph.node} & set(_OPERATORS)),
                    nodes_to_exclude=in_float,
                )  # fmt: skip
        except Exception as error:  # onnxruntime and its tools raise classes of their own
            raise RuntimeUnavailableError("onnxruntime cannot quantise the model", why=str(error)) from error
        finally:
            root.setLevel(level)
        return onnx.load(target)


class _Reader:
    """Crops one by one, as ``onnxruntime.quantization`` asks for them."""

    def __init__(self, crops: NDArray[np.uint8]) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, Any] | None:
        crop = next(self._crops, None)
        return None if crop is None else {PIXELS: crop[None]}
