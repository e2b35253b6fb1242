"""The plain script beside an exported model: Pillow, numpy and the runtime, nothing of this package."""

from __future__ import annotations

from zoo.registry.schema import ModelEntry, Output, Precision

_SCRIPT = '''\
"""Runs {name} on aligned face crops of {width}x{height} pixels: python run.py crop.png ...

The crops are what zoo.predict cuts out of a picture (contract.json, before_the_graph). It runs whole pictures:
python -m zoo.predict registry=registry.yaml model={name} runtime={runtime} \\
    precision={precision}{more} input=photo.jpg
"""
import sys
from pathlib import Path

import numpy as np
{imports}
from PIL import Image

FOLDER = Path(__file__).resolve().parent
{load}
for path in sys.argv[1:]:
    crop = Image.open(path).convert("{mode}")
    if crop.size != ({width}, {height}):
        sys.exit(f"{{path}}: {{crop.size[0]}}x{{crop.size[1]}} pixels, a crop is {width}x{height}")
    pixels = {pixels}
{run}
{outputs}'''


def stored_precision(precision: Precision) -> Precision:
    """Returns the precision of an artefact's file: bf16 is how OpenVINO computes one in fp32."""
    return "fp32" if precision == "bf16" else precision


def example(entry: ModelEntry, runtime: str, precision: Precision) -> str:
    """Returns the source of ``run.py``.

    Args:
        entry: The artefact's entry.
        runtime: ``openvino`` or ``onnxruntime``.
        precision: ``fp32``, ``bf16``, ``int8``, or ``fp16`` of an ONNX file, which runs on a GPU.
    """
    assert entry.preprocess is not None
    height, width = entry.preprocess.size
    colour = entry.preprocess.colour
    pixels = {
        "rgb": "np.asarray(crop, np.uint8)[None]",
        "bgr": "np.ascontiguousarray(np.asarray(crop, np.uint8)[None, ..., ::-1])",
        "gray": "np.asarray(crop, np.uint8)[None, ..., None]",
    }[colour]
    declared = stored_precision(precision)
    suffix = ".xml" if runtime == "openvino" else ".onnx"
    file = next(w.name for w in entry.weights if w.precision == declared and w.name.endswith(suffix))
    more = " device=cuda:0" if precision == "fp16" else ""
    more += next((f" fold={w.fold.name}" for w in entry.weights if w.fold), "")
    if runtime == "openvino":
        hint = "bf16" if precision == "bf16" else "f32"
        imports = "import openvino as ov"
        load = f'model = ov.Core().compile_model(FOLDER / "{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "{hint}"}})'
        run = "    tensors = model(pixels)"
    else:
        imports = "import onnxruntime as ort"
        load = (
            _on_gpu(file)
            if precision == "fp16"
            else f'session = ort.InferenceSession(FOLDER / "{file}", providers=["CPUExecutionProvider"])'
        )
        load += "\nnames = [o.name for o in session.get_outputs()]"
        run = '    tensors = dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))'
    return _SCRIPT.format(
        name=entry.name, width=width, height=height, runtime=runtime, precision=precision, more=more, imports=imports,
        load=load, mode="L" if colour == "gray" else "RGB", pixels=pixels, run=run,
        outputs="".join(_lines(o) for o in entry.outputs),
    )  # fmt: skip


def _on_gpu(file: str) -> str:
    """ONNX Runtime goes on without a word on the CPU, which computes fp16 graphs in fp32, where it finds no GPU."""
    return (
        "ort.preload_dlls()  # CUDA and cuDNN, as pip installs them\n"
        f'session = ort.InferenceSession(FOLDER / "{file}", providers=["CUDAExecutionProvider"])\n'
        'if session.get_providers()[0] != "CUDAExecutionProvider":\n'
        '    sys.exit("this file is for an NVIDIA GPU: pip install onnxruntime-gpu")'
    )


def _lines(output: Output) -> str:
    stop = output.start + len(output.labels)
    lines = [f'x = tensors["{output.tensor}"].reshape(-1)[{output.start}:{stop}]']
    if output.activation == "sigmoid":
        lines.append("x = 1 / (1 + np.exp(-x))")
    elif output.activation == "softmax":
        lines.append("x = np.exp(x - x.max()) / np.exp(x - x.max()).sum()")
    if output.scale != 1:
        lines.append(f"x = x * np.float32({output.scale!r})")
    if output.clamp is not None:
        lines.append(f"x = np.clip(x, {output.clamp[0]!r}, {output.clamp[1]!r})")
    lines.append(f"for label, value in zip({' '.join(output.labels)!r}.split(), x, strict=True):")
    shown = f"{{path}} {output.task} {{label}} {{value:.4f}}"
    if output.threshold is not None:
        shown += f" {{int(value >= {output.threshold!r})}}"
    return "".join(f"    {line}\n" for line in lines) + f'        print(f"{shown}")\n'
