"""Any batch for graphs fixed to one, and normalisation inside the graph, against numpy."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.helpers.models import Builder, mobilefacenet_file, pictures, quantised
from zoo.errors import ContractError
from zoo.models.onnx_graph import dims, read_onnx
from zoo.registry.schema import Preprocess
from zoo.runtimes.graphs import PIXELS, affine, dynamic_batch, file_precision, static_batch, with_pixels


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


CHAINS = [
    Preprocess(size=(8, 6), scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    Preprocess(size=(8, 6), scale=1 / 255, mean=(0.5,), std=(0.5,), layout="nhwc"),
    Preprocess(size=(8, 6), scale=2 / 255, mean=(1.0,), colour="gray"),
    Preprocess(size=(8, 6), scale=1.0),
    Preprocess(size=(8, 6), scale=1.0, std=(127.5,), colour="bgr"),
    Preprocess(size=(8, 6), scale=1.0, mean=(127.5,)),
]


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_normalisation_in_the_graph_is_numpys(tmp_path, chain: Preprocess) -> None:
    c = chain.channels
    shape = [c, 8, 6] if chain.layout == "nchw" else [8, 6, c]
    b = Builder(0)
    b.node("Identity", "x", output="y")
    model = read_onnx(b.save(tmp_path / "a.onnx", ("x", ["n", *shape]), [("y", ["n", *shape])]))
    pixels = pictures(3, (8, 6), c)
    expected = (pixels.astype(np.float64) * chain.scale - chain.mean) / chain.std
    if chain.layout == "nchw":
        expected = expected.transpose(0, 3, 1, 2)
    changed = with_pixels(model, chain)
    onnx.checker.check_model(changed, full_check=True)
    assert [(i.name, dims(i)) for i in changed.graph.input] == [(PIXELS, [None, 8, 6, c])]
    (found,) = run(changed, pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert model.graph.input[0].name == "x"  # the graph given is left as it is


def test_openvino_normalises_alike(tmp_path) -> None:
    from zoo.runtimes.openvino_ import OpenVinoSession

    for chain in CHAINS:
        c = chain.channels
        shape = [c, 8, 6] if chain.layout == "nchw" else [8, 6, c]
        b = Builder(0)
        b.node("Abs", "x", output="y")
        model = read_onnx(b.save(tmp_path / "a.onnx", ("x", ["n", *shape]), [("y", ["n", *shape])]))
        pixels = pictures(2, (8, 6), c)
        session = OpenVinoSession(model, chain, device="cpu", precision="fp32", threads=1, streams=1, batch=None)
        a, shift = affine(chain)
        expected = np.abs(pixels * a + shift)
        if chain.layout == "nchw":
            expected = expected.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(session.infer(pixels)["y"], expected.reshape(2, -1), atol=1e-5)


def test_whole_numbers_stay_exact(tmp_path) -> None:
    b = Builder(0)
    b.node("Identity", "x", output="y")
    model = read_onnx(b.save(tmp_path / "a.onnx", ("x", ["n", 3, 16, 16]), [("y", ["n", 3, 16, 16])]))
    every = np.arange(768, dtype=np.int64).reshape(1, 16, 16, 3).astype(np.uint8)
    (found,) = run(with_pixels(model, Preprocess(size=(16, 16), scale=1.0)), every)
    np.testing.assert_array_equal(found, every.transpose(0, 3, 1, 2))


def test_a_reshape_to_one_picture_is_freed(tmp_path) -> None:
    model = read_onnx(mobilefacenet_file(tmp_path / "a.onnx"))
    x = np.random.default_rng(1).standard_normal((5, 3, 112, 112)).astype(np.float32)
    with pytest.raises(Exception, match=r"(?i)invalid|shape|dimension"):
        run(model, x)
    free, freed = dynamic_batch(model, (112, 112))
    assert freed and dims(free.graph.input[0])[0] is None and dims(free.graph.output[0])[0] is None
    np.testing.assert_allclose(run(free, x)[0], np.concatenate([run(model, one[None])[0] for one in x]), atol=1e-5)


def test_an_open_batch_is_left_alone(tmp_path) -> None:
    model = read_onnx(mobilefacenet_file(tmp_path / "a.onnx", batch="batch"))
    assert dynamic_batch(model, (112, 112)) == (model, True)


def mixing(path, batch: int = 1) -> onnx.ModelProto:
    """A network in which pictures of a batch would mix: it takes off the mean over everything."""
    b = Builder(2)
    flat = b.node("Reshape", "x", b.constant(np.array([batch, 12], np.int64)))
    mean = b.node("ReduceMean", flat, axes=[0, 1], keepdims=1)
    b.node("Sub", flat, mean, output="y")
    return read_onnx(b.save(path, ("x", [batch, 3, 2, 2]), [("y", [batch, 12])]))


def test_a_batch_that_would_mix_pictures_stays_closed(tmp_path) -> None:
    model = mixing(tmp_path / "a.onnx")
    same, freed = dynamic_batch(model, (2, 2))
    assert not freed and same == model


def test_a_graph_that_cannot_run_two_stays_closed(tmp_path) -> None:
    b = Builder(3)  # the class token of a transformer, written out for one picture
    b.node("Concat", b.weight(1, 1, 4, scale=1.0), "x", axis=1, output="y")
    model = read_onnx(b.save(tmp_path / "a.onnx", ("x", [1, 3, 4]), [("y", [1, 4, 4])]))
    assert dynamic_batch(model, (3, 4))[1] is False


def test_a_larger_fixed_batch_is_opened_or_refused(tmp_path) -> None:
    b = Builder(4)
    flat = b.node("Reshape", "x", b.constant(np.array([4, 12], np.int64)))
    b.linear(flat, 12, 3, output="y")
    model = read_onnx(b.save(tmp_path / "a.onnx", ("x", [4, 3, 2, 2]), [("y", [4, 3])]))
    assert dynamic_batch(model, (2, 2))[1] is True
    with pytest.raises(ContractError, match="batches of 4"):
        dynamic_batch(mixing(tmp_path / "b.onnx", batch=4), (2, 2))


def test_closed_graphs_run_one_by_one_and_say_so(tmp_path) -> None:
    from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession
    from zoo.runtimes.openvino_ import OpenVinoSession

    chain = Preprocess(size=(2, 2))
    batches = [(i, pictures(n, (2, 2), 3, i)) for i, n in enumerate((3, 1, 2))]
    for kind in (OnnxRuntimeSession, OpenVinoSession):
        session = kind(
            mixing(tmp_path / "a.onnx"), chain, device="cpu", precision="fp32", threads=1, streams=2, batch=None
        )
        assert session.info.batching == "one-by-one"
        for _, batch in batches:
            x = (batch / 255).transpose(0, 3, 1, 2).reshape(len(batch), 12)
            expected = x - x.mean(axis=1, keepdims=True)
            np.testing.assert_allclose(session.infer(batch)["y"], expected, atol=1e-6)
        for (key, found), (wanted, batch) in zip(session.stream(batches), batches, strict=True):
            assert key == wanted
            np.testing.assert_array_equal(found["y"], session.infer(batch)["y"])


def test_a_fixed_batch_is_written_into_the_graph(tmp_path) -> None:
    model = read_onnx(mobilefacenet_file(tmp_path / "a.onnx", batch="n"))
    fixed = static_batch(model, 4)
    assert dims(fixed.graph.input[0])[0] == dims(fixed.graph.output[0])[0] == 4
    assert dims(with_pixels(fixed, Preprocess(size=(112, 112))).graph.input[0]) == [4, 112, 112, 3]


def test_precision_is_read_from_the_graph(tmp_path) -> None:
    from onnx import TensorProto

    source = mobilefacenet_file(tmp_path / "a.onnx")
    assert file_precision(read_onnx(source)) == "fp32"
    for form in ("QDQ", "QOperator"):
        assert file_precision(read_onnx(quantised(source, tmp_path / f"{form}.onnx", form))) == "int8"
    half = read_onnx(source)
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    assert file_precision(half) == "fp16"


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantised_graphs_are_freed_too(tmp_path, form: str) -> None:
    source = mobilefacenet_file(tmp_path / "a.onnx")
    model = read_onnx(quantised(source, tmp_path / "q.onnx", form))
    free, freed = dynamic_batch(model, (112, 112))
    assert freed
    x = np.random.default_rng(1).uniform(-1, 1, (3, 3, 112, 112)).astype(np.float32)
    np.testing.assert_allclose(run(free, x)[0], np.concatenate([run(model, one[None])[0] for one in x]), atol=1e-5)
