"""Entries that need no code: small networks behind the published names and shapes meet the committed contracts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest

from tests.helpers.checkpoints import entry_of
from tests.helpers.models import Builder, pictures
from zoo.errors import ContractError
from zoo.models import apply_outputs
from zoo.models.base import FAMILIES, select_files
from zoo.registry import ModelEntry, load_registry
from zoo.runtimes import default_runtime, open_session

HSEMOTION = [n for n in load_registry().entries if n.startswith("hsemotion-") and load_registry().get(n).runnable]
ALPHABET = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def network(
    path: Path, entry: ModelEntry, columns: int, *, entrance: str, exit_: str, batch: int | str, flat: bool = True
) -> Path:
    """Writes a network of three layers that takes the entry's crop and ends in a Gemm, or in a 1x1 picture."""
    assert entry.preprocess is not None
    channels, size = entry.preprocess.channels, entry.preprocess.size
    b = Builder(7)
    x = b.node("Relu", b.conv(entrance, channels, 8, 3, 2))
    x = b.node("Relu", b.conv(x, 8, 16, 3, 2))
    if flat:
        x = b.node("Flatten", b.node("GlobalAveragePool", x), axis=1)
        b.linear(x, 16, columns, output=exit_)
        return b.save(path, (entrance, [batch, channels, *size]), [(exit_, [batch, columns])], opset=11)
    x = b.conv(b.node("GlobalAveragePool", x), 16, columns, 1)
    b.node("Softmax", x, axis=1, output=exit_)
    return b.save(path, (entrance, [batch, channels, *size]), [(exit_, [batch, columns, 1, 1])])


def crops(entry: ModelEntry, n: int = 2) -> np.ndarray:
    assert entry.preprocess is not None
    return pictures(n, entry.preprocess.size, entry.preprocess.channels)


@pytest.mark.parametrize("name", HSEMOTION)
def test_hsemotion_orders_by_the_alphabet_and_puts_affect_behind(name: str, tmp_path: Path) -> None:
    entry = entry_of(name)
    (file,) = entry.weights
    multi_task = name.endswith("-mtl")
    columns = 10 if multi_task else 7 if name.endswith("-7") else 8
    network(tmp_path / "m.onnx", entry, columns, entrance="input", exit_="output", batch="batch")
    session = open_session(entry, {file.name: tmp_path / "m.onnx"}, entry.tasks, runtime="onnxruntime", threads=1)
    tensors = session.infer(crops(entry))
    values = apply_outputs(entry, tensors)
    labels = entry.output("expression").labels
    assert labels == (tuple(x for x in ALPHABET if x != "contempt") if columns == 7 else ALPHABET)
    logits = tensors["output"][:, : len(labels)].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(values["expression"], expected, atol=1e-6)
    if multi_task:
        np.testing.assert_array_equal(values["valence-arousal"], tensors["output"][:, 8:])
    assert entry.preprocess is not None
    side = 112 if "mbf" in name else 260 if "-b2-" in name else 224
    assert entry.preprocess.size == (side, side)
    assert (entry.preprocess.mean == (0.5, 0.5, 0.5)) == (side == 112)
    # An eight-class file in the place of a ten-column one is noticed when it is opened.
    network(tmp_path / "m.onnx", entry, columns - 1, entrance="input", exit_="output", batch="batch")
    with pytest.raises(ContractError, match="columns"):
        open_session(entry, {file.name: tmp_path / "m.onnx"}, entry.tasks, runtime="onnxruntime", threads=1)


def test_hsemotions_hashes_are_the_git_blobs_of_its_trees() -> None:
    found = {w.name: w.git_sha1 for n in HSEMOTION for w in entry_of(n).weights}
    assert found == {
        "enet_b0_8_best_vgaf.onnx": "49772db4e87ee6df57087fba131832a959e5c64d",
        "enet_b0_8_best_afew.onnx": "d87faf71e8756d68c701ffd88b4cde4be460f57d",
        "enet_b0_8_va_mtl.onnx": "7ce9d6dd5b82b260bc19bfe7822a6ffa1abb6011",
        "enet_b2_7.onnx": "cdd6a6070b72ed2e59e15e810ae0ecdbcb0f7626",
        "enet_b2_8.onnx": "a7cb612cbab1ce3d50dd52e57285fb2c7ea6d0d9",
        "enet_b2_8_best.onnx": "7e53eb31fefa28f6667195b27c7adade87da0a8f",
        "mbf_va_mtl.onnx": "194db927ec135679e5cd0a267c5605e2e9d68e7e",
        "mobilevit_va_mtl.onnx": "bed5781a1af9924536638ac3786603e124ee900e",
    }


def test_ferplus_reads_grey_pixels_of_a_fixed_batch(tmp_path: Path) -> None:
    entry = entry_of("ferplus-vgg13")
    network(tmp_path / "m.onnx", entry, 8, entrance="Input3", exit_="Plus692_Output_0", batch=1)
    files = {"emotion-ferplus-8.onnx": tmp_path / "m.onnx"}
    session = open_session(entry, files, entry.tasks, runtime="onnxruntime", threads=1)
    batch = crops(entry, 3)
    assert batch.shape == (3, 64, 64, 1)
    found = session.infer(batch)["Plus692_Output_0"]
    import onnxruntime as ort

    alone = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for i, picture in enumerate(batch):  # pixels as they are: 0..255
        (want,) = alone.run(None, {"Input3": picture.transpose(2, 0, 1)[None].astype(np.float32)})
        np.testing.assert_allclose(found[i], want[0], rtol=1e-5, atol=1e-4)
    assert [f.name for f in select_files(entry, entry.tasks, runtime="onnxruntime", precision="int8")] == [
        "emotion-ferplus-12-int8.onnx"
    ]


def test_open_model_zoos_ir_is_run_by_openvino_as_it_is(tmp_path: Path) -> None:
    entry = entry_of("omz-emotions-retail-0003")
    assert default_runtime(entry) == "openvino"
    network(tmp_path / "m.onnx", entry, 5, entrance="data", exit_="prob_emotion", batch=1, flat=False)
    ov.save_model(ov.Core().read_model(str(tmp_path / "m.onnx")), tmp_path / "m.xml", compress_to_fp16=False)
    chosen = select_files(entry, entry.tasks, runtime="openvino")
    assert {f.name.rpartition(".")[2] for f in chosen} == {"xml", "bin"}
    files = {f.name: tmp_path / f"m.{f.name.rpartition('.')[2]}" for f in chosen}
    session = open_session(entry, files, entry.tasks, runtime="openvino", threads=1)
    batch = crops(entry, 3)
    values = apply_outputs(entry, session.infer(batch))["expression"]
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)  # its own softmax, [n, 5, 1, 1]
    model = onnx.load(tmp_path / "m.onnx")
    import onnxruntime as ort

    alone = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for i, picture in enumerate(batch):
        (want,) = alone.run(None, {"data": picture.transpose(2, 0, 1)[None].astype(np.float32)})
        np.testing.assert_allclose(values[i], want.reshape(5), atol=1e-5)
    int8 = select_files(entry, entry.tasks, runtime="openvino", precision="int8")
    assert sorted(f.name for f in int8) == [
        "emotions-recognition-retail-0003-int8.bin", "emotions-recognition-retail-0003-int8.xml",
    ]  # fmt: skip


def test_open_model_zoos_fp16_files_are_taken_for_fp16() -> None:
    entry = entry_of("omz-emotions-retail-0003")
    assert sorted(f.name for f in select_files(entry, entry.tasks, runtime="openvino", precision="fp16")) == [
        "emotions-recognition-retail-0003-fp16.bin", "emotions-recognition-retail-0003-fp16.xml",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["r18-disfa", "r18-bp4d", "swin-t", "mae-b"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_librefaces_graphs_of_2023_are_read_as_their_checkpoints(name: str, runtime: str, tmp_path: Path) -> None:
    entry, checkpoint = entry_of(f"libreface-{name}-onnx"), entry_of(f"libreface-{name}")
    (file,), (task,) = entry.weights, entry.tasks
    assert entry.outputs == tuple(o.model_copy(update={"tensor": "AUs"}) for o in checkpoint.outputs)
    assert (entry.preprocess, entry.readings) == (checkpoint.preprocess, checkpoint.readings)
    assert (entry.trained_on, entry.licence) == (checkpoint.trained_on, checkpoint.licence)
    b = Builder(3)  # tracing writes the tokens' flattening for its batch of one
    x = b.node("Relu", b.conv(b.node("Relu", b.conv("image", 3, 8, 3, 16)), 8, 16, 3, 2))
    flat = b.node("Reshape", x, b.constant(np.array([1, 16 * 7 * 7], np.int64)))
    b.linear(flat, 16 * 7 * 7, 12, output="AUs")
    b.save(tmp_path / "m.onnx", ("image", [1, 3, 224, 224]), [("AUs", [1, 12])])
    session = open_session(entry, {file.name: tmp_path / "m.onnx"}, entry.tasks, runtime=runtime, threads=1)
    batch = crops(entry, 3)
    values = apply_outputs(entry, session.infer(batch))[task]
    import onnxruntime as ort

    alone = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    for i, picture in enumerate((batch / np.float32(255) - mean) / std):
        (raw,) = alone.run(None, {"image": picture.transpose(2, 0, 1)[None].astype(np.float32)})
        want = np.clip(5 * raw[0], 0, 5) if task == "au-intensity" else raw[0]
        np.testing.assert_allclose(values[i], want, atol=1e-4)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_opencvs_weights_of_int8_blocks_are_computed_in_fp32(runtime: str, tmp_path: Path) -> None:
    """The form that the publisher's block_quantize.py gives: opset 21, each weight dequantised by blocks of a row."""
    entry = entry_of("opencv-fer-mobilefacenet-int8bq")
    (file,) = entry.weights
    rng = np.random.default_rng(5)
    b = Builder(5)

    def blocks(rows: int, columns: int, block: int) -> tuple[str, np.ndarray]:
        whole = rng.integers(-127, 128, (rows, columns), np.int8)
        scale = rng.uniform(1e-3, 2e-3, (rows, columns // block)).astype(np.float32)
        zero = rng.integers(-9, 10, scale.shape, np.int8)
        name = b.node("DequantizeLinear", *map(b.constant, (whole, scale, zero)), axis=1, block_size=block)
        wide = np.repeat(zero, block, 1).astype(np.float32)
        return name, (whole.astype(np.float32) - wide) * np.repeat(scale, block, 1)

    kernel, w1 = blocks(16, 3 * 3 * 3, 27)
    kernel = b.node("Reshape", kernel, b.constant(np.array([16, 3, 3, 3], np.int64)))
    x = b.node("Conv", "data", kernel, kernel_shape=[3, 3], strides=[16, 16])
    dense, w2 = blocks(7, 16 * 7 * 7, 56)
    b.node("Gemm", b.node("Flatten", x, axis=1), dense, transB=1, output="label")
    b.save(tmp_path / "m.onnx", ("data", [1, 3, 112, 112]), [("label", [1, 7])], opset=21, ir_version=10)
    session = open_session(entry, {file.name: tmp_path / "m.onnx"}, entry.tasks, runtime=runtime, threads=1, streams=2)
    batch = crops(entry, 2)
    found = session.infer(batch)["label"]
    for _, streamed in session.stream((i, batch) for i in range(4)):
        np.testing.assert_allclose(streamed["label"], found, rtol=1e-5, atol=1e-5)
    pixels = (batch.astype(np.float32) / 255 - 0.5) / 0.5
    at = 16 * np.arange(7)
    patches = np.stack([[p[y : y + 3, x : x + 3].transpose(2, 0, 1).ravel() for y in at for x in at] for p in pixels])
    flat = (patches @ w1.T).transpose(0, 2, 1).reshape(len(batch), -1)
    np.testing.assert_allclose(found, flat @ w2.T, rtol=1e-4, atol=1e-4)


def test_every_runnable_entry_has_a_family_files_for_its_runtime_and_known_steps() -> None:
    from zoo.faces.pipeline import describe

    for entry in load_registry().entries.values():
        if not entry.runnable:
            continue
        assert entry.family in FAMILIES
        assert entry.preprocess is not None and describe(entry.preprocess)
        fold = next((w.fold.name for w in entry.weights if w.fold), None)
        assert select_files(entry, entry.tasks, runtime=default_runtime(entry), fold=fold)
