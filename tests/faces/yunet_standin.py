"""A seeded graph with the input, the outputs and the shapes of ``face_detection_yunet_2023mar.onnx``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 640
VALUES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def write(path: Path, seed: int = 0) -> Path:
    """Writes the graph: for each stride one convolution with that stride, cut into the values of each cell."""
    rng = np.random.default_rng(seed)
    nodes, constants, outputs = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    for stride in (8, 16, 32):
        cells = SIDE // stride
        spread = {"cls": 3.0, "obj": 3.0, "bbox": 1.0, "kps": 1.5}
        scale = np.concatenate([np.full(n, spread[k]) for k, n in VALUES.items()])[:, None, None, None]
        weights = rng.normal(0, 1, (16, 3, stride, stride)) * scale / (128 * stride)
        bias = np.array([-2.0, -1.0, 0.5, 0.5, 0.9, 1.1, *rng.normal(0, 1.5, 10)])
        of = [constant(f"weights_{stride}", weights.astype(np.float32)), constant(f"bias_{stride}", bias.astype("f4"))]
        nodes.append(helper.make_node("Conv", ["input", *of], [f"map_{stride}"], kernel_shape=[stride] * 2,
                                      strides=[stride] * 2))  # fmt: skip
        parts = [f"{name}_map_{stride}" for name in VALUES]
        lengths = constant(f"lengths_{stride}", np.array(list(VALUES.values()), np.int64))
        nodes.append(helper.make_node("Split", [f"map_{stride}", lengths], parts, axis=1))
        for (name, count), cut in zip(VALUES.items(), parts, strict=True):
            part = cut
            if name in ("cls", "obj"):
                part = f"{cut}_s"
                nodes.append(helper.make_node("Sigmoid", [cut], [part]))
            shape = constant(f"{name}_shape_{stride}", np.array([1, -1, count], np.int64))
            nodes.append(helper.make_node("Transpose", [part], [part + "_t"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [part + "_t", shape], [f"{name}_{stride}"]))
            outputs.append(
                helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, cells * cells, count])
            )
    entrance = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "yunet-standin", [entrance], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
