"""On a GPU: ONNX Runtime computes there what it computes on the CPU, all of it, and in the precision that it says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.models import pictures
from zoo.errors import RuntimeUnavailableError
from zoo.latency.counters import Gpu
from zoo.registry.schema import Precision, Preprocess
from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession, provider_of
from zoo.runtimes.quantise import half

SIZE = 32
PLAIN = Preprocess(size=(SIZE, SIZE), scale=1 / 255)


def network(*, unique: bool = False) -> onnx.ModelProto:
    """A convolution over 64 channels, in which ten bits of mantissa show; ``unique``: and an operator of the CPU's."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape, np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["y"]),
    ]
    if unique:
        nodes[-1].output[0] = "e"
        nodes += [helper.make_node("Unique", ["e"], ["f"]), helper.make_node("ReduceSum", ["f"], ["g"], keepdims=0),
                  helper.make_node("Add", ["e", "g"], ["y"])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [weight("w1", 64, 3, 3, 3), weight("w2", 64, 64, 3, 3)],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def outputs(model: onnx.ModelProto, device: str, precision: Precision = "fp32") -> NDArray[np.float32]:
    """Runs four pictures."""
    session = OnnxRuntimeSession(
        model, PLAIN, device=device, precision=precision, threads=1, streams=1, batch=4
    )  # fmt: skip
    try:
        assert (session.info.device, session.info.precision) == (device, precision)
        return session.infer(pictures(4, (SIZE, SIZE), 3))["y"]
    finally:
        session.close()


def apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max() / np.abs(a).max())


needs_gpu = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="needs a GPU and onnxruntime-gpu"
)


@pytest.mark.gpu
@needs_gpu
def test_fp32_is_single_precision_and_fp16_is_computed_in_fp16() -> None:
    expected = outputs(network(), "cpu")
    assert apart(expected, outputs(network(), "cuda:0")) < 2e-5  # TF32 would be off by 1e-4 and more
    assert 1e-6 < apart(expected, outputs(half(network()), "cuda:0", "fp16")) < 1e-2


@pytest.mark.gpu
@needs_gpu
def test_an_operator_that_falls_back_to_the_cpu_is_an_error() -> None:
    with pytest.raises(RuntimeUnavailableError, match="does not run the whole graph") as caught:
        outputs(network(unique=True), "cuda:0")
    assert "Unique" in (caught.value.why or "")


@pytest.mark.gpu
@needs_gpu
def test_its_energy_is_read() -> None:
    gpu = Gpu.of("cuda:0", "onnxruntime")
    assert gpu is not None and gpu.joules()


def test_a_gpu_is_told_to_leave_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers",
        lambda: ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
    )  # fmt: skip
    assert provider_of("cuda:1") == ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"})
    assert provider_of("tensorrt") == ("TensorrtExecutionProvider", {"device_id": "0"})
    assert provider_of("cpu") == ("CPUExecutionProvider", {})


def test_an_fp16_graph_keeps_its_inputs_and_outputs() -> None:
    made = half(network())
    assert {i.data_type for i in made.graph.initializer} == {TensorProto.FLOAT16}
    assert made.graph.input[0].type.tensor_type.elem_type == made.graph.output[0].type.tensor_type.elem_type == 1
    assert network().graph.initializer[0].data_type == TensorProto.FLOAT
    with pytest.raises(RuntimeUnavailableError, match="computes this fp16 graph in fp32"):
        outputs(made, "cpu", "fp16")


def nvml(count: int, **found: Any) -> Any:
    """What of pynvml finds a GPU."""
    return SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda index: found["index"][index],
        nvmlDeviceGetHandleByUUID=lambda uuid: found["uuid"][uuid],
    )  # fmt: skip


def test_a_gpu_is_found_by_the_index_that_cuda_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)

    def use(module: Any) -> None:
        monkeypatch.setattr("zoo.latency.counters.import_module", lambda name: module)

    use(nvml(1, index={0: "only"}))
    found = Gpu.of("cuda:0", "onnxruntime")
    assert found is not None and found._handle == "only"
    assert Gpu.of("cuda:1", "onnxruntime") is None  # there is none
    use(nvml(4, index=dict(enumerate("abcd")), uuid={"GPU-1": "by name"}))
    assert Gpu.of("cuda:0", "onnxruntime") is None  # CUDA may number four GPUs in another order
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-1")
    first, second = Gpu.of("cuda:0", "onnxruntime"), Gpu.of("tensorrt:1", "onnxruntime")
    assert first is not None and first._handle == "c"
    assert second is not None and second._handle == "by name"
    assert Gpu.of("cuda:2", "onnxruntime") is None
    assert Gpu.of("cpu", "onnxruntime") is None and Gpu.of("GPU.0", "openvino") is None
