"""What every session has to do, in every runtime that a model has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.models import pictures
from zoo.errors import ContractError, RuntimeUnavailableError, UnknownNameError, UsageError
from zoo.models import apply_outputs
from zoo.runtimes import available, default_runtime, open_session
from zoo.runtimes.base import Session
from zoo.runtimes.parity import TOLERANCE, batch_invariance, compare, thread_invariance, tolerance

pytestmark = pytest.mark.usefixtures("shared_home")

EVERY = [
    ("mobilefacenet", "onnxruntime"), ("mobilefacenet", "openvino"),
    ("hog", "onnxruntime"), ("hog", "openvino"), ("hog", "torch"),
    ("xception", "onnxruntime"), ("xception", "openvino"), ("xception", "torch"),
]  # fmt: skip


def crops(model, n: int = 5, seed: int = 0) -> np.ndarray:
    return pictures(n, model.entry.preprocess.size, model.entry.preprocess.channels, seed)


@pytest.fixture
def model(request: pytest.FixtureRequest, name: str):
    return request.getfixturevalue(name)


@pytest.fixture
def session(model, runtime: str) -> Iterator[Session]:
    opened = open_session(model.entry, model.files, model.tasks, runtime=runtime, threads=1, streams=2)
    yield opened
    opened.close()


@pytest.mark.parametrize(("name", "runtime"), EVERY)
class TestEverySession:
    def test_gives_named_float_columns(self, model, session: Session) -> None:
        found = session.infer(crops(model))
        values = apply_outputs(model.entry, found)
        for task in model.tasks:
            assert values[task].shape == (5, len(model.entry.output(task).labels))
            assert values[task].dtype == np.float32 and values[task].std(0).max() > 1e-4

    def test_says_what_runs(self, session: Session, runtime: str) -> None:
        info = session.info
        assert (info.runtime, info.device, info.precision) == (runtime, "cpu", "fp32")
        assert (info.threads, info.streams, info.batching) == (1, 2, "together")
        assert info.version.startswith(available()[runtime])

    def test_a_pictures_neighbours_do_not_matter(self, model, session: Session) -> None:
        for found in batch_invariance(session, crops(model, 9)).values():
            assert found.within(1e-5)

    def test_streams_in_order_what_it_infers(self, model, session: Session) -> None:
        batches = [crops(model, n, seed) for seed, n in enumerate((1, 4, 2, 3, 1, 5, 2))]
        found = list(session.stream((f"key {i}", b) for i, b in enumerate(batches)))
        assert [key for key, _ in found] == [f"key {i}" for i in range(7)]
        for (_, tensors), batch in zip(found, batches, strict=True):
            for name, value in session.infer(batch).items():
                np.testing.assert_allclose(tensors[name], value, atol=1e-6)

    def test_infers_in_the_background(self, model, session: Session) -> None:
        batches = [crops(model, n, seed) for seed, n in enumerate((2, 1, 3, 2))]
        futures = [session.infer_async(b) for b in batches]
        for future, batch in zip(futures, batches, strict=True):
            for name, value in session.infer(batch).items():
                np.testing.assert_allclose(future.result(60)[name], value, atol=1e-6)
        with pytest.raises(UsageError, match="a batch of crops is"):
            session.infer_async(batches[0].astype(np.float32)).result(60)
        session.close()
        with pytest.raises(UsageError, match="closed"):
            session.infer_async(batches[0])

    def test_holds_few_batches_at_a_time(self, model, session: Session) -> None:
        taken, most = 0, 0

        def source() -> Iterator[tuple[int, np.ndarray]]:
            nonlocal taken
            for i in range(12):
                taken += 1
                yield i, crops(model, 1, i)

        for given, _ in enumerate(session.stream(source())):
            most = max(most, taken - given)
        assert taken == 12 and most <= 4  # two streams, one more in the queue, and the one just given

    def test_results_stay_when_the_next_batch_runs(self, model, session: Session) -> None:
        first = session.infer(crops(model, 2, 1))
        kept = {name: value.copy() for name, value in first.items()}
        session.infer(crops(model, 2, 2))
        list(session.stream([(0, crops(model, 2, 3)), (1, crops(model, 2, 4))]))
        for name, value in first.items():
            np.testing.assert_array_equal(value, kept[name])

    def test_a_stream_left_early_can_be_followed_by_another(self, model, session: Session) -> None:
        stream = session.stream((i, crops(model, 1, i)) for i in range(6))
        assert next(stream)[0] == 0
        stream.close()
        assert [key for key, _ in session.stream([(8, crops(model, 1)), (9, crops(model, 1))])] == [8, 9]

    def test_an_error_in_the_stream_is_the_callers(self, model, session: Session) -> None:
        wrong = crops(model, 2)[:, :-1]
        stream = session.stream([(0, crops(model, 2)), (1, wrong)])
        with pytest.raises(UsageError, match="a batch of crops is uint8"):
            list(stream)
        assert session.infer(crops(model, 1))

    def test_takes_read_only_and_strided_crops(self, model, session: Session) -> None:
        batch = crops(model, 4)
        expected = session.infer(batch)
        frozen = batch.copy()
        frozen.setflags(write=False)
        strided = np.concatenate([batch, batch], axis=2)[:, :, : batch.shape[2]]
        for other in (frozen, strided):
            for name, value in session.infer(other).items():
                np.testing.assert_array_equal(value, expected[name])

    def test_is_of_no_use_once_closed(self, model, runtime: str) -> None:
        opened = open_session(model.entry, model.files, model.tasks, runtime=runtime, threads=1)
        opened.close()
        opened.close()
        with pytest.raises(UsageError, match="closed"):
            opened.infer(crops(model, 1))
        with pytest.raises(UsageError, match="closed"):
            list(opened.stream([(0, crops(model, 1))]))

    @pytest.mark.parametrize("change", ["float", "empty", "size", "channels", "no batch"])
    def test_refuses_what_is_no_batch(self, model, session: Session, change: str) -> None:
        batch = crops(model, 2)
        wrong = {
            "float": batch.astype(np.float32), "empty": batch[:0], "size": batch[:, 1:],
            "channels": np.concatenate([batch, batch], axis=3), "no batch": batch[0],
        }[change]  # fmt: skip
        with pytest.raises(UsageError, match="a batch of crops is uint8"):
            session.infer(wrong)


def test_who_waits_for_a_stream_is_told_when_the_session_is_closed() -> None:
    from zoo.runtimes.shared import Lent

    lent, begun = Lent(["only"]), threading.Barrier(3)

    def wait() -> str:
        begun.wait(10)
        with lent.one() as thing:
            return thing

    with ThreadPoolExecutor(2) as threads, lent.one():
        waiting = [threads.submit(wait) for _ in range(2)]
        begun.wait(10)
        assert not any(w.done() for w in waiting)
        lent.close()
        for one in waiting:
            with pytest.raises(UsageError, match="closed"):
                one.result(10)
    with pytest.raises(UsageError, match="closed"), lent.one():
        pass


def test_whoever_computes_in_threads_takes_openvino_made_ready(repository: Path) -> None:
    """A race of two first arrays cannot be made to happen at will; see ``zoo/_util/openvino.py``."""
    for path in (*(repository / "zoo" / "faces").glob("*.py"), repository / "zoo" / "runtimes" / "openvino_.py"):
        assert "import openvino as" not in path.read_text(encoding="utf-8"), path


def test_what_is_lent_comes_back() -> None:
    from zoo.runtimes.shared import Lent

    lent = Lent([1, 2])
    with lent.one() as first, lent.one() as second:
        assert {first, second} == {1, 2}
    with pytest.raises(RuntimeError), lent.one():
        raise RuntimeError
    with lent.one() as first, lent.one() as second:
        assert {first, second} == {1, 2}


@pytest.mark.parametrize(("name", "runtime"), EVERY)
def test_threads_do_not_matter(model, runtime: str) -> None:
    def opened(threads: int) -> Session:
        return open_session(model.entry, model.files, model.tasks, runtime=runtime, threads=threads)

    with closing(opened(1)) as session:
        for found in thread_invariance(session, opened, crops(model)).values():
            assert found.within(1e-5)


@pytest.mark.parametrize(("name", "runtime"), [(n, r) for n, r in EVERY if r != "onnxruntime"])
def test_runtimes_agree(model, runtime: str) -> None:
    reference = open_session(model.entry, model.files, model.tasks, runtime="onnxruntime", threads=1)
    other = open_session(model.entry, model.files, model.tasks, runtime=runtime, threads=1)
    noise = np.random.default_rng(0).integers(0, 256, (4, *crops(model, 1).shape[1:]), np.uint8)
    assert tolerance(reference, other) == TOLERANCE["fp32"]
    for batch in (crops(model), noise):
        for found in compare(reference, other, batch).values():
            assert found.within(1e-5) and found.argmax == 1


@pytest.mark.parametrize(("name", "runtime"), EVERY)
def test_a_fixed_batch(model, runtime: str) -> None:
    fixed = open_session(model.entry, model.files, model.tasks, runtime=runtime, threads=1, batch=3)
    free = open_session(model.entry, model.files, model.tasks, runtime=runtime, threads=1)
    for found in compare(free, fixed, crops(model, 3)).values():
        assert found.within(1e-5)
    with pytest.raises(UsageError, match="batches of 3, this one has 2"):
        fixed.infer(crops(model, 2))


def test_libreface_agrees_between_runtimes_and_with_its_batch(libreface) -> None:
    sessions = [
        open_session(libreface.entry, libreface.files, libreface.tasks, runtime=r) for r in ("onnxruntime", "openvino")
    ]
    batch = crops(libreface, 3)
    for found in compare(*sessions, batch).values():
        assert found.within(1e-5)
    for session in sessions:
        assert session.info.batching == "together"
        for found in batch_invariance(session, batch, sizes=(3,)).values():
            assert found.within(1e-5)
    values = apply_outputs(libreface.entry, sessions[0].infer(batch))
    assert {t: v.shape for t, v in values.items()} == {
        "au-intensity": (3, 12), "au-occurrence": (3, 12), "expression": (3, 8),
    }  # fmt: skip
    assert values["au-intensity"].max() > 1  # a sigmoid times five


def test_openvino_bf16_is_bf16_and_near(hog, xception) -> None:
    for model in (hog, xception):
        exact = open_session(model.entry, model.files, model.tasks, runtime="openvino")
        rough = open_session(model.entry, model.files, model.tasks, runtime="openvino", precision="bf16")
        assert (exact.info.precision, rough.info.precision) == ("fp32", "bf16")
        for found in compare(exact, rough, crops(model)).values():
            assert found.relative > 1e-5 and found.within(tolerance(exact, rough))


def test_int8_files_run_in_int8(mobilefacenet) -> None:
    m = mobilefacenet
    exact = open_session(m.entry, m.files, m.tasks, runtime="onnxruntime")
    for runtime in ("onnxruntime", "openvino"):
        session = open_session(m.entry, m.files, m.tasks, runtime=runtime, precision="int8")
        assert session.info.precision == "int8"
        for found in compare(exact, session, crops(m)).values():
            assert found.relative > 0 and found.within(tolerance(exact, session))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"runtime": "onnxruntime", "precision": "bf16"}, "this one says fp32, not bf16"),
        ({"runtime": "onnxruntime", "device": "npu"}, "does not serve the device 'npu'"),
        ({"runtime": "onnxruntime", "device": "cuda:9"}, "CUDAExecutionProvider|device"),
        ({"runtime": "onnxruntime", "device": "tensorrt:0"}, "no TensorrtExecutionProvider here"),
        ({"runtime": "openvino", "device": "npu"}, "no device 'npu'"),
        ({"runtime": "openvino", "threads": 100_000}, "INFERENCE_NUM_THREADS"),
        ({"runtime": "torch"}, "has no torch structure"),
        ({"runtime": "torch", "precision": "int8"}, "torch"),
    ],
)
def test_what_cannot_be_had_is_refused(mobilefacenet, options, why: str) -> None:
    m = mobilefacenet
    with pytest.raises(RuntimeUnavailableError, match=why) as caught:
        open_session(m.entry, m.files, m.tasks, **options)
    assert caught.value.fix or caught.value.why


def test_torch_refuses_what_it_cannot_do_here(hog) -> None:
    for options, why in (({"precision": "fp16"}, "does not compute in fp16"), ({"device": "xpu"}, "no device 'xpu'")):
        with pytest.raises(RuntimeUnavailableError, match=why):
            open_session(hog.entry, hog.files, hog.tasks, runtime="torch", **options)


def test_a_provider_that_was_not_taken_is_noticed(mobilefacenet, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    m = mobilefacenet
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    # onnxruntime warns, and takes the provider of the processor in its place
    with pytest.warns(UserWarning), pytest.raises(RuntimeUnavailableError, match="did not take CUDAExecution"):
        open_session(m.entry, m.files, m.tasks, runtime="onnxruntime", device="cuda")


def test_half_precision_that_the_processor_would_widen_is_refused(mobilefacenet, tmp_path: Path) -> None:
    """ONNX Runtime puts casts around kernels that it has in fp32 only, and says nothing."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from zoo.models.onnx_graph import read_onnx
    from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession

    m = mobilefacenet
    half = convert_float_to_float16(read_onnx(next(iter(m.files.values()))), keep_io_types=True)
    path = tmp_path / "half.onnx"
    onnx.save(half, path)
    with pytest.raises(RuntimeUnavailableError, match="computes this fp16 graph in fp32 on cpu") as caught:
        OnnxRuntimeSession(read_onnx(path), m.entry.preprocess, device="cpu", precision="fp16", threads=1, streams=1,
                           batch=None)  # fmt: skip
    assert "precision=fp32" in caught.value.fix


class _Assigned:
    """A session that says which provider runs what, as ONNX Runtime's does."""

    def __init__(self, **operators: tuple[str, ...]) -> None:
        self._parts = [
            SimpleNamespace(ep_name=f"{name}ExecutionProvider",
                            get_nodes=lambda kinds=kinds: [SimpleNamespace(op_type=k, name=f"a {k}") for k in kinds])
            for name, kinds in operators.items()
        ]  # fmt: skip

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return self._parts


def test_nodes_that_fell_back_to_the_processor_are_noticed() -> None:
    from zoo.runtimes.onnxruntime_ import check_assignment

    def check(values: tuple[str, ...] = ("a Conv",), **operators: tuple[str, ...]) -> None:
        check_assignment(_Assigned(**operators), "CUDAExecutionProvider", values)

    check(CUDA=("Conv", "Relu"), CPU=("Shape", "Gather", "Concat"))
    with pytest.raises(RuntimeUnavailableError, match="does not run the whole graph") as caught:
        check(CUDA=("Conv",), CPU=("Shape", "NonMaxSuppression"))
    assert "NonMaxSuppression" in caught.value.why and "Shape" not in caught.value.why
    with pytest.raises(RuntimeUnavailableError, match="does not run the whole graph") as caught:  # of the pictures
        check(values=("a Conv", "a Mul"), CUDA=("Conv",), CPU=("Shape", "Mul"))
    assert "gave Mul to the CPU" in caught.value.why
    with pytest.raises(RuntimeUnavailableError, match="does not tell which nodes"):
        check_assignment(object(), "CUDAExecutionProvider", ())


def test_nodes_of_shapes_are_told_from_nodes_of_values() -> None:
    from onnx import NodeProto, TensorProto, helper, numpy_helper

    from zoo.runtimes.graphs import nodes_of_values

    def node(operator: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(operator, inputs, [output], name=f"{operator} {output}")

    nodes = [
        node("Cast", ["x"], "y"), node("Shape", ["y"], "shape"), node("Gather", ["shape", "one"], "first"),
        node("Mul", ["first", "one"], "target"), node("Reshape", ["y", "target"], "flat"),
        node("Mul", ["flat", "w"], "z"),
    ]  # fmt: skip
    nodes[0].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    constants = [numpy_helper.from_array(np.array([1], np.int64), "one"), numpy_helper.from_array(np.ones(1), "w")]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in ("x", "z")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants))
    assert nodes_of_values(model) == {"Cast y", "Reshape flat", "Mul z"}


def test_onnxruntime_says_which_provider_runs_which_node(mobilefacenet) -> None:
    """The reading that GPUs rely on is there, and names operators and nodes, in the installed version."""
    import onnx
    import onnxruntime

    from zoo.runtimes.graphs import nodes_of_values

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    path = str(next(iter(mobilefacenet.files.values())))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parts = session.get_provider_graph_assignment_info()
    assert {p.ep_name for p in parts} == {"CPUExecutionProvider"}
    ran = {node.name: node.op_type for p in parts for node in p.get_nodes()}
    assert "Conv" in ran.values()
    assert all(name in nodes_of_values(onnx.load(path)) for name, operator in ran.items() if operator == "Conv")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"runtime": "onnxruntim"}, UnknownNameError),
        ({"runtime": "openvino", "precision": "fp8"}, UnknownNameError),
        ({"runtime": "openvino", "threads": 0}, UsageError),
        ({"runtime": "openvino", "streams": -1}, UsageError),
        ({"runtime": "openvino", "batch": 0}, UsageError),
    ],
)
def test_arguments_without_sense(mobilefacenet, options, error) -> None:
    with pytest.raises(error):
        open_session(mobilefacenet.entry, mobilefacenet.files, mobilefacenet.tasks, **options)


def test_files_that_were_not_located(mobilefacenet) -> None:
    with pytest.raises(UsageError, match=r"fp32\.onnx not given"):
        open_session(mobilefacenet.entry, {}, mobilefacenet.tasks, runtime="openvino")


def test_two_folds_are_never_mixed(hog) -> None:
    folds = [
        {**hog.entry.weights[0].model_dump(), "name": n, "fold": {"protocol": "p", "name": n, "test_subjects": [n]}}
        for n in ("one", "two")
    ]
    entry = type(hog.entry).model_validate({**hog.entry.model_dump(), "weights": folds})
    path = hog.files["hog.onnx"]
    with pytest.raises(UsageError, match="folds one, two were given together"):
        open_session(entry, {"one": path, "two": path}, hog.tasks, runtime="openvino")
    assert open_session(entry, {"two": path}, hog.tasks, runtime="openvino").info.precision == "fp32"


def _entry(model, **changes):
    return type(model.entry).model_validate({**model.entry.model_dump(), **changes})


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_files_that_break_the_contract_are_refused_at_opening(mobilefacenet, runtime: str) -> None:
    m = mobilefacenet
    output = m.entry.outputs[0].model_dump()
    chain = m.entry.preprocess.model_dump()
    for changes, why in (
        ({"outputs": [{**output, "labels": output["labels"][:6]}]}, "7 columns, the entry declares 6 labels"),
        ({"outputs": [{**output, "tensor": "prob"}]}, "no output tensor 'prob'"),
        ({"preprocess": {**chain, "size": (96, 96)}}, r"\[any, 3, 96, 96\]|\[any, 96, 96, 3\]"),
        ({"preprocess": {**chain, "layout": "nhwc"}}, r"declares \[any, 112, 112, 3\]"),
        ({"preprocess": {**chain, "colour": "gray", "mean": (0.5,), "std": (0.5,)}}, r"declares \[any, 1, 112, 112\]"),
    ):
        with pytest.raises(ContractError, match=why):
            open_session(_entry(m, **changes), m.files, m.tasks, runtime=runtime)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_declared_precision_that_the_file_has_not(mobilefacenet, runtime: str) -> None:
    m = mobilefacenet
    swapped = {"fp32.onnx": m.files["int8.onnx"], "int8.onnx": m.files["fp32.onnx"]}
    for precision in ("fp32", "int8"):
        with pytest.raises(RuntimeUnavailableError, match="int8"):
            open_session(m.entry, swapped, m.tasks, runtime=runtime, precision=precision)


def test_reported_only_entries_cannot_be_opened(mobilefacenet) -> None:
    entry = _entry(mobilefacenet, weights=[], outputs=[], preprocess=None, status="reported-only")
    with pytest.raises(UsageError, match="reported numbers only"):
        open_session(entry, {}, ["expression"], runtime="openvino")


def test_default_runtime_is_the_entrys(mobilefacenet, xception) -> None:
    assert default_runtime(mobilefacenet.entry) == default_runtime(xception.entry) == "onnxruntime"
    tflite = {**mobilefacenet.entry.weights[0].model_dump(), "format": "tflite"}
    assert default_runtime(_entry(mobilefacenet, weights=[tflite])) == "openvino"


def test_opening_leaves_no_threads_behind(mobilefacenet) -> None:
    m = mobilefacenet
    session = open_session(m.entry, m.files, m.tasks, runtime="onnxruntime", streams=3, threads=1)
    before = threading.active_count()
    list(session.stream((i, crops(m, 1)) for i in range(5)))
    assert threading.active_count() == before


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_operator_that_a_runtime_lacks_is_named(mobilefacenet, tmp_path: Path, runtime: str) -> None:
    import onnx

    graph = onnx.load(mobilefacenet.files["fp32.onnx"])
    first = graph.graph.node[0]
    first.op_type, first.domain = "Frobnicate", "example.org"
    del first.attribute[:]
    graph.opset_import.append(onnx.helper.make_opsetid("example.org", 1))
    onnx.save(graph, tmp_path / "strange.onnx")
    files = {**mobilefacenet.files, "fp32.onnx": tmp_path / "strange.onnx"}
    with pytest.raises((ContractError, RuntimeUnavailableError), match=r"refuses|cannot") as caught:
        open_session(mobilefacenet.entry, files, mobilefacenet.tasks, runtime=runtime)
    assert "Frobnicate" in str(caught.value)
