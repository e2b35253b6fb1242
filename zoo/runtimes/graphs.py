"""Changes to ONNX graphs that every runtime of ONNX needs: any batch size, and uint8 crops as the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from zoo._util.cpu import usable_cores
from zoo.errors import ContractError
from zoo.models.onnx_graph import dims, only_input
from zoo.registry.schema import Precision, Preprocess

PIXELS = "pixels"
"""Name of the uint8 input that sessions feed."""

# A DequantizeLinear alone turns stored weights into floats: what is computed with them is fp32.
_QUANTISED = {
    "QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
}  # fmt: skip


def file_precision(model: onnx.ModelProto) -> Precision:
    """Returns the arithmetic that a graph asks for: by its quantisation nodes, else by the type of its weights."""
    if any(node.op_type in _QUANTISED for node in model.graph.node):
        return "int8"
    sizes = dict.fromkeys((int(TensorProto.FLOAT), int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)), 0)
    for tensor in model.graph.initializer:
        if tensor.data_type in sizes:  # the others are shapes and axes
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    most = max(sizes, key=lambda kind: sizes[kind])
    return "fp16" if most == TensorProto.FLOAT16 else "bf16" if most == TensorProto.BFLOAT16 else "fp32"


def affine(preprocess: Preprocess) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns (a, b), one value a channel: a network's input is ``pixel * a + b``."""
    std = np.broadcast_to(np.asarray(preprocess.std, np.float64), preprocess.channels)
    mean = np.broadcast_to(np.asarray(preprocess.mean, np.float64), preprocess.channels)
    return (preprocess.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


def check_input(shape: Sequence[int | None], preprocess: Preprocess, what: str) -> None:
    """Refuses a network whose input is not the crop that the entry declares.

    Args:
        shape: Shape of the input, None for sizes that are not fixed.
        preprocess: What the entry declares.
        what: The model, for the error.

    Raises:
        ContractError: The shapes differ.
    """
    height, width = preprocess.size
    declared = (
        (preprocess.channels, height, width) if preprocess.layout == "nchw" else (height, width, preprocess.channels)
    )
    if len(shape) != 4 or any(have and have != want for have, want in zip(shape[1:], declared, strict=True)):
        shown = ["any" if d is None else d for d in shape]
        raise ContractError(
            f"{what}: the file's input is {shown}, the entry declares [any, {', '.join(map(str, declared))}]",
            fix="correct 'size', 'colour' or 'layout' in the entry's preprocess",
        )


def static_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Returns a copy whose batch size is fixed."""
    changed = _copy(model)
    for value in (*changed.graph.input, *changed.graph.output):
        if len(value.type.tensor_type.shape.dim):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return changed


def _run(model: onnx.ModelProto, parts: Sequence[NDArray[Any]], outputs: Sequence[str]) -> list[list[Any]]:
    """Runs parts one after the other; the result is per output, then per part."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = usable_cores()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # run twice: compiling costs more
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    entrance = session.get_inputs()[0].name
    return [list(o) for o in zip(*(session.run(list(outputs), {entrance: x}) for x in parts), strict=True)]


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.value_info[:]  # the shapes of the old batch
    return copied


def takes_bytes(model: onnx.ModelProto) -> bool:
    """Whether a graph's one input is uint8, as in exported files with the normalisation inside."""
    return bool(only_input(model, "model").type.tensor_type.elem_type == TensorProto.UINT8)


def nodes_of_values(model: onnx.ModelProto) -> frozenset[str]:
    """Returns the names of the nodes that compute with a graph's input itself, not with its shape alone."""
    moved, names = {only_input(model, "model").name}, set[str]()
    for node in model.graph.node:  # in order: a graph of ONNX is sorted
        if node.op_type not in ("Shape", "Size") and not moved.isdisjoint(node.input):
            moved.update(node.output)
            names.add(node.name)
    return frozenset(names)


def random_input(shape: Sequence[int], kind: Any = np.float32) -> NDArray[Any]:
    """Returns seeded noise: pixels where ``kind`` is uint8, else normal."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, shape, np.uint8) if kind == np.uint8 else rng.standard_normal(shape).astype(kind)


def normalised_inside(preprocess: Preprocess) -> bool:
    """Whether an entry declares that its file takes the crop's bytes as they are."""
    a, b = affine(preprocess)
    return preprocess.layout == "nhwc" and bool((a == 1).all() and (b == 0).all())


def dynamic_batch(model: onnx.ModelProto, size: tuple[int, int]) -> tuple[onnx.ModelProto, bool]:
    """Returns a graph that takes any batch size, if that can be had, and whether it could.

    A graph with an open first dimension is taken at its word. One with a fixed batch is rewritten: exporters write
    the batch of their example into the targets of Reshape nodes, so there the batch is left open and the other sizes
    are those seen in a run of the file. The rewritten graph is only used if it gives two random pictures together the
    values that the file gives them one by one.

    Args:
        model: The graph.
        size: Height and width of the input, where the file leaves them open.

    Returns:
        (graph, True), or (the graph as it is, False) where pictures have to go one by one.

    Raises:
        ContractError: ONNX Runtime refuses the file; or its batch is fixed at more than one and cannot be opened, so
            that one picture cannot be run.
    """
    shape = dims(only_input(model, "model"))
    if not shape or shape[0] is None:
        return model, True
    batch = shape[0]
    rest = [d or size[i % 2] for i, d in enumerate(shape[1:])]
    kind = helper.tensor_dtype_to_np_dtype(only_input(model, "model").type.tensor_type.elem_type)
    x = random_input((2 * batch, *rest), kind)

    outputs = [o.name for o in model.graph.output]
    reshapes = {n.output[0]: n for n in model.graph.node if n.op_type == "Reshape" and n.output[0] not in outputs}
    probe = _copy(model)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in reshapes)
    try:
        apart = _run(probe, (x[:batch], x[batch:]), [*outputs, *reshapes])
    except Exception as error:  # onnxruntime raises a class of its own for each cause
        raise ContractError("onnxruntime refuses the file", why=str(error)) from error
    seen = dict(zip([*outputs, *reshapes], (parts[0].shape for parts in apart), strict=True))
    expected = [np.concatenate(parts) for parts in apart[: len(outputs)]]

    free = _copy(model)
    for node in free.graph.node:
        if node.op_type == "Reshape" and seen[node.output[0]] and seen[node.output[0]][0] % batch == 0:
            name = f"{node.output[0]}/any-batch"
            target = np.array([-1, *seen[node.output[0]][1:]], np.int64)
            free.graph.initializer.append(numpy_helper.from_array(target, name))
            node.input[1] = name
    for value in (*free.graph.input, *free.graph.output):
        if len(value.type.tensor_type.shape.dim):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    try:
        together = [parts[0] for parts in _run(free, (x,), outputs)]
    except Exception:  # whatever the cause, the graph is not free
        together = []
    if len(together) == len(expected) and all(map(same, together, expected)):
        return free, True
    if batch > 1:
        raise ContractError(f"the file is fixed to batches of {batch} and cannot run one picture")
    return model, False


def same(together: NDArray[Any], apart: NDArray[Any]) -> bool:
    """Whether values are equal but for the order of sums, which kernels choose by batch size."""
    if together.shape != apart.shape:
        return False
    return bool(np.abs(together - apart).max() <= 1e-4 * max(1.0, float(np.abs(apart).max())))


def with_pixels(model: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """Returns a copy that takes uint8 crops ``[n, height, width, channels]`` and normalises them in the graph.

    The transpose comes first, while a pixel is one byte. The batch stays as fixed or open as it is.

    Raises:
        ContractError: The graph's input is not the crop that the entry declares.
    """
    changed = _copy(model)
    graph = changed.graph
    taken = only_input(changed, "model")
    check_input(dims(taken), preprocess, "model")
    if taken.name == PIXELS and takes_bytes(model) and normalised_inside(preprocess):
        return changed
    kind = taken.type.tensor_type.elem_type
    steps: list[tuple[str, dict[str, Any], NDArray[np.float32] | None]] = []
    axes = (1, -1, 1, 1) if preprocess.layout == "nchw" else (1, 1, 1, -1)
    if preprocess.layout == "nchw":
        steps.append(("Transpose", {"perm": [0, 3, 1, 2]}, None))
    a, b = affine(preprocess)
    if (a != 1).any() or (b != 0).any():
        steps.append(("Cast", {"to": TensorProto.FLOAT}, None))
        if (a != 1).any():
            steps.append(("Mul", {}, a.reshape(axes)))
        if (b != 0).any():
            steps.append(("Add", {}, b.reshape(axes)))
    steps.append(("Cast", {"to": kind}, None))
    nodes = []
    current = PIXELS
    for index, (operator, attributes, constant) in enumerate(steps):
        name = f"{PIXELS}/{index}"
        inputs = [current]
        if constant is not None:
            graph.initializer.append(numpy_helper.from_array(constant, f"{name}/constant"))
            inputs.append(f"{name}/constant")
        current = taken.name if index == len(steps) - 1 else name
        nodes.append(helper.make_node(operator, inputs, [current], name=name, **attributes))
    first = dims(taken)[0]
    height, width = preprocess.size
    pixels = helper.make_tensor_value_info(
        PIXELS, TensorProto.UINT8, [first or "batch", height, width, preprocess.channels]
    )
    del graph.input[:]
    graph.input.append(pixels)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return changed
