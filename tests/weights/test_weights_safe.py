"""What a file is by its bytes, and checkpoints that would run code."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from tests.weights.hub_server import lfs_pointer
from zoo.errors import UnsafeFileError, WeightsError
from zoo.weights.safe import KINDS, html_title, load_torch, sniff, sniff_bytes


class Trap:
    """Pickles into a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_every_kind_is_told_from_real_files(tmp_path):
    tensors = {"a": torch.zeros(3)}
    torch.save(tensors, tmp_path / "torch")
    torch.save(tensors, tmp_path / "pickle", _use_new_zipfile_serialization=False)
    (tmp_path / "safetensors").write_bytes(save({"a": np.zeros(3)}))
    with h5py.File(tmp_path / "hdf5", "w") as file:
        file["a"] = np.zeros(3)
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:])), tmp_path / "onnx")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", b"b")
    for name, data in {
        "tflite": b"\x20\0\0\0TFL3" + bytes(50),
        "gzip": b"\x1f\x8b\x08",
        "html": b"\n<!-- x -->\n<HTML lang='en'>",
        "git-lfs": lfs_pointer(b"x"),
        "json": b' {"error": 1}',
        "xml": b"<?xml version='1.0'?><net/>",
        "empty": b"",
        "unknown": b"what is this",
    }.items():
        (tmp_path / name).write_bytes(data)
    assert {path.name: sniff(path) for path in tmp_path.iterdir()} == {kind: kind for kind in KINDS}


@given(st.binary(max_size=64))
def test_sniffing_never_fails(data):
    assert sniff_bytes(data) in KINDS
    html_title(data)


def test_titles_are_one_line():
    assert html_title(b"<title>\n Quota\n exceeded </title>") == "Quota exceeded"
    assert html_title(b"<title>") is None


@pytest.mark.parametrize("new", [True, False])
def test_plain_checkpoints_open(tmp_path, new):
    state = {"model": {"w": torch.arange(3.0)}, "epoch": 7}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    loaded = load_torch(tmp_path / "a.pt")
    assert loaded["epoch"] == 7
    assert torch.equal(loaded["model"]["w"], torch.arange(3.0))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path, form):
    path, touched = tmp_path / "evil.pt", tmp_path / "touched"
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(Trap(touched)))
    else:
        torch.save({"w": Trap(touched)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UnsafeFileError) as caught:
        load_torch(path)
    assert not touched.exists()
    assert "evil.pt" in str(caught.value) and str(path) in str(caught.value) and "safetensors" in str(caught.value)


def test_a_whole_pickled_module_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(UnsafeFileError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_torch(tmp_path / "module.pt")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html><title>Sign in</title></html>", "HTML page"),
        (b"", "empty file"),
        (lfs_pointer(b"x"), "Git LFS pointer"),
    ],
)
def test_something_else_under_a_checkpoints_name(tmp_path, data, says):
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(WeightsError, match=says) as caught:
        load_torch(tmp_path / "a.pt")
    assert not isinstance(caught.value, UnsafeFileError)


def test_a_truncated_checkpoint(tmp_path):
    torch.save({"w": torch.zeros(1000)}, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "a.pt").write_bytes(whole[:cut])
        with pytest.raises(WeightsError, match=r"a\.pt is not a whole PyTorch checkpoint"):
            load_torch(tmp_path / "a.pt")


def test_a_missing_checkpoint_is_no_wrong_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_torch(tmp_path / "none.pt")
