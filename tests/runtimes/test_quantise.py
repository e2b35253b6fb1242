"""What stays in float: sums of more products than 32 bits hold, with which an int8 layer runs over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo.registry.schema import Preprocess
from zoo.runtimes.graphs import with_pixels
from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession
from zoo.runtimes.openvino_ import OpenVinoSession, pixel_model
from zoo.runtimes.quantise import _MOST_PRODUCTS, nncf_int8, static_qdq

SIDE = 153
PLAIN = Preprocess(size=(SIDE, SIDE), scale=1 / 255)
INSIDE = PLAIN.model_copy(update={"scale": 1.0, "layout": "nhwc"})


def network(kind: str) -> onnx.ModelProto:
    """A convolution, then one sum over every pixel of every channel: 70,227 products."""
    count = 3 * SIDE * SIDE
    assert count > _MOST_PRODUCTS
    weights = np.full((4, count), 0.01, np.float32)
    last = (
        helper.make_node("Gemm", ["b", "w"], ["y"], transB=1)
        if kind == "Gemm"
        else helper.make_node("MatMul", ["b", "w"], ["y"])
    )
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["a"]), helper.make_node("Flatten", ["a"], ["b"]), last],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1) + 0.01, "k"),
            numpy_helper.from_array(weights if kind == "Gemm" else weights.T.copy(), "w"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def crops() -> np.ndarray:
    """Bright pictures: the largest sums that there are."""
    return np.random.default_rng(0).integers(250, 256, (16, SIDE, SIDE, 3), np.uint8)


SETTINGS = {"device": "cpu", "threads": 1, "streams": 1, "batch": None}


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
def test_a_long_sum_stays_in_float_in_onnxruntime(kind: str) -> None:
    made = static_qdq(with_pixels(network(kind), PLAIN), crops())
    quantised = {i for n in made.graph.node if n.op_type == "DequantizeLinear" for i in n.output}
    by_kind = {n.op_type: set(n.input) & quantised for n in made.graph.node}
    assert by_kind["Conv"] and not by_kind[kind]
    right = OnnxRuntimeSession(network(kind), PLAIN, precision="fp32", **SETTINGS)
    ours = OnnxRuntimeSession(made, INSIDE, precision="int8", **SETTINGS)
    np.testing.assert_allclose(ours.infer(crops())["y"], right.infer(crops())["y"], rtol=0.02)


def test_a_long_sum_stays_in_float_in_openvino(tmp_path: Path) -> None:
    model, names, _ = pixel_model(ov.Core(), network("Gemm"), PLAIN, None)
    made = nncf_int8(model, crops())
    for port, name in zip(made.outputs, names, strict=True):
        port.get_tensor().set_names({name})
    product = next(o for o in made.get_ops() if o.get_type_name() == "MatMul")
    assert product.input_value(0).get_node().get_type_name() != "FakeQuantize"
    assert any(o.get_type_name() == "FakeQuantize" for o in made.get_ops())
    ov.save_model(made, str(tmp_path / "int8.xml"), compress_to_fp16=False)
    right = OnnxRuntimeSession(network("Gemm"), PLAIN, precision="fp32", **SETTINGS)
    ours = OpenVinoSession((tmp_path / "int8.xml", tmp_path / "int8.bin"), INSIDE, precision="int8", **SETTINGS)
    np.testing.assert_allclose(ours.infer(crops())["y"], right.infer(crops())["y"], rtol=0.02)
