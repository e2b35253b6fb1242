"""Seeded files and entries that stand in for published weights, with the published names and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zoo.registry.schema import ModelEntry

DISFA = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU09", "AU12", "AU15", "AU17", "AU20", "AU25", "AU26")
BP4D = ("AU01", "AU02", "AU04", "AU06", "AU07", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24")
FER7 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
AFFECTNET8 = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


def make_entry(
    name: str, family: str, files: list[dict[str, Any]], outputs: list[dict[str, Any]], **preprocess: Any
) -> ModelEntry:
    """An entry; files need name and format, outputs need task and labels."""
    return ModelEntry.model_validate({
        "name": name, "title": name, "family": family, "architecture": family, "status": "verified",
        "licence": {"name": "Apache-2.0", "commercial_use": True}, "tasks": [o["task"] for o in outputs],
        "weights": [{"sources": ["path:/nowhere"], "sha256": "0" * 64, **f} for f in files],
        "preprocess": preprocess, "outputs": outputs,
    })  # fmt: skip


class Builder:
    """Writes an ONNX graph node by node with seeded weights."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int, scale: float) -> str:
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=f"n{len(self.nodes)}", **attributes))
        return output

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        w = self.weight(outputs, inputs, kernel, kernel, scale=(2 / (inputs * kernel**2)) ** 0.5)
        pad = kernel // 2
        return self.node(
            "Conv", x, w, self.weight(outputs, scale=0.05), kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[pad] * 4,
        )  # fmt: skip

    def linear(self, x: str, inputs: int, outputs: int, output: str | None = None, gain: float = 1.0) -> str:
        w = self.weight(outputs, inputs, scale=gain * inputs**-0.5)
        return self.node("Gemm", x, w, self.weight(outputs, scale=0.1), transB=1, output=output)

    def save(
        self, path: Path, entrance: tuple[str, list[int | str]], exits: list[tuple[str, list[int | str]]],
        opset: int = 13, ir_version: int = 7,
    ) -> Path:  # fmt: skip
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info(entrance[0], TensorProto.FLOAT, entrance[1])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in exits], self.constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def _resnet18(b: Builder, x: str) -> str:
    x = b.node("Relu", b.conv(x, 3, 64, 7, 2))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for inputs, outputs, stride in ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
                                    (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)):  # fmt: skip
        y = b.conv(b.node("Relu", b.conv(x, inputs, outputs, 3, stride)), outputs, outputs, 3)
        if stride != 1 or inputs != outputs:
            x = b.conv(x, inputs, outputs, 1, stride)
        x = b.node("Relu", b.node("Mul", b.node("Add", x, y), b.constant(np.float32(0.6))))
    return b.node("GlobalAveragePool", x)


def _head(b: Builder, x: str, labels: int, output: str) -> str:
    x = b.node("Relu", b.linear(x, 512, 128, gain=10.0))  # or all pictures look alike
    scale, shift, mean = (b.weight(128, scale=s) for s in (1.0, 0.1, 0.1))
    x = b.node("BatchNormalization", x, scale, shift, mean, b.constant(np.ones(128, np.float32)), epsilon=1e-5)
    return b.node("Sigmoid", b.linear(x, 128, labels), output=output)


def libreface_files(folder: Path) -> dict[str, Path]:
    """LibreFace's four graphs: names, shapes and the fixed batch of the published ones, random weights."""
    found = {}
    b = Builder(1)
    b.node("Flatten", _resnet18(b, "image"), axis=1, output="feature")
    found["LibreFace_AU_Encoder.onnx"] = b.save(
        folder / "LibreFace_AU_Encoder.onnx", ("image", [1, 3, 224, 224]), [("feature", [1, 512])]
    )
    for seed, file, output in ((2, "LibreFace_AU_Intensity.onnx", "au_intensity"),
                               (3, "LibreFace_AU_Presence.onnx", "au_presence")):  # fmt: skip
        b = Builder(seed)
        _head(b, "feature", 12, output)
        found[file] = b.save(folder / file, ("feature", [1, 512]), [(output, [1, 12])])
    b = Builder(4)  # here the flattening is a Reshape to [1, 512], as tracing x.view(1, -1) writes it
    flat = b.node("Reshape", _resnet18(b, "image"), b.constant(np.array([1, 512], np.int64)))
    _head(b, flat, 8, "FEs")
    found["LibreFace_FE.onnx"] = b.save(
        folder / "LibreFace_FE.onnx", ("image", [1, 3, 224, 224]), [("FEs", [1, 8])], opset=12
    )
    return found


def libreface_entry(**changes: Any) -> ModelEntry:
    roles = ("encoder", "au-intensity", "au-occurrence", "expression")
    names = ("LibreFace_AU_Encoder.onnx", "LibreFace_AU_Intensity.onnx", "LibreFace_AU_Presence.onnx",
             "LibreFace_FE.onnx")  # fmt: skip
    outputs = [
        {"task": "au-intensity", "role": "au-intensity", "tensor": "au_intensity", "labels": DISFA, "scale": 5.0,
         "clamp": (0.0, 5.0)},
        {"task": "au-occurrence", "role": "au-occurrence", "tensor": "au_presence", "labels": BP4D, "threshold": 0.5},
        {"task": "expression", "role": "expression", "tensor": "FEs", "labels": AFFECTNET8},
    ]  # fmt: skip
    return make_entry(
        "libreface-r18", "libreface-onnx",
        [{"name": n, "role": r, "format": "onnx"} for n, r in zip(names, roles, strict=True)], outputs,
        size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), **changes,
    )  # fmt: skip


def mobilefacenet_file(path: Path, classes: int = 7, batch: int | str = 1) -> Path:
    """A small network behind OpenCV's published names: ``data`` 1x3x112x112 to ``label``."""
    b = Builder(5)
    x = b.node("Relu", b.conv("data", 3, 16, 3, 2))
    x = b.node("Relu", b.conv(x, 16, 32, 3, 2))
    x = b.node("Relu", b.conv(x, 32, 32, 3, 2))
    x = b.node("Reshape", b.node("GlobalAveragePool", x), b.constant(np.array([1 if batch == 1 else -1, 32], np.int64)))
    b.linear(x, 32, classes, output="label")
    return b.save(path, ("data", [batch, 3, 112, 112]), [("label", [batch, classes])])


def mobilefacenet_entry(layout: str = "nchw") -> ModelEntry:
    labels = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    return make_entry(
        "opencv-fer-mobilefacenet", "onnx",
        [{"name": "fp32.onnx", "format": "onnx"}, {"name": "int8.onnx", "format": "onnx", "precision": "int8"}],
        [{"task": "expression", "tensor": "label", "labels": labels, "activation": "softmax"}],
        size=(112, 112), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), layout=layout,
    )  # fmt: skip


def quantised(source: Path, target: Path, form: str) -> Path:
    """The static int8 version of a file: ``form`` is QDQ or QOperator."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.samples = iter([{"data": rng.uniform(-1, 1, (1, 3, 112, 112)).astype(np.float32)} for _ in range(4)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.samples, None)

    quantize_static(str(source), str(target), Reader(), quant_format=QuantFormat[form], per_channel=True)
    return target


def pictures(n: int, size: tuple[int, int], channels: int, seed: int = 0) -> np.ndarray:
    """Smooth random uint8 pictures ``[n, height, width, channels]``: blocks of 7 pixels plus noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = rng.integers(0, 256, (n, -(-height // 7), -(-width // 7), channels))
    fine = coarse.repeat(7, axis=1).repeat(7, axis=2)[:, :height, :width] + rng.integers(-20, 21, (n, *size, channels))
    return np.ascontiguousarray(fine.clip(0, 255).astype(np.uint8))
