"""LibreFace's graphs: joined, they give what the files give one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tests.helpers.models import libreface_entry, libreface_files
from zoo.errors import ContractError
from zoo.models.libreface import FAMILY, join
from zoo.models.networks.libreface import LibreFaceResNet18
from zoo.models.onnx_graph import read_onnx


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return libreface_files(tmp_path_factory.mktemp("libreface"))


def run(model: Path | onnx.ModelProto, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def apart(files: dict[str, Path], image: np.ndarray) -> dict[str, np.ndarray]:
    feature = run(files["LibreFace_AU_Encoder.onnx"], image=image)["feature"]
    return {
        **run(files["LibreFace_AU_Intensity.onnx"], feature=feature),
        **run(files["LibreFace_AU_Presence.onnx"], feature=feature),
        **run(files["LibreFace_FE.onnx"], image=image),
    }


def test_the_joined_graph_gives_what_the_files_give(files, image, apart) -> None:
    entry = libreface_entry()
    graph = FAMILY.graph(entry, files, entry.tasks).onnx()
    assert [i.name for i in graph.graph.input] == ["image"]
    onnx.checker.check_model(graph, full_check=True)
    together = run(graph, image=image)
    assert list(together) == ["au_intensity", "au_presence", "FEs"]
    for name, value in together.items():
        np.testing.assert_allclose(value, apart[name], atol=1e-6)


def test_a_graph_of_some_tasks_has_their_outputs_and_parts_only(files, image, apart) -> None:
    entry = libreface_entry()
    occurrence = FAMILY.graph(entry, files, ["au-occurrence"]).onnx()
    found = run(occurrence, image=image)
    assert list(found) == ["au_presence"]
    np.testing.assert_allclose(found["au_presence"], apart["au_presence"], atol=1e-6)
    assert not any(t.name.startswith(("expression/", "au-intensity/")) for t in occurrence.graph.initializer)
    # without the file, too: it need not even have been fetched
    alone = FAMILY.graph(entry, {"LibreFace_FE.onnx": files["LibreFace_FE.onnx"]}, ["expression"]).onnx()
    assert list(run(alone, image=image)) == ["FEs"]


def test_files_in_each_others_place_are_noticed(files) -> None:
    entry = libreface_entry()
    swapped = {
        **files,
        "LibreFace_AU_Intensity.onnx": files["LibreFace_AU_Presence.onnx"],
        "LibreFace_AU_Presence.onnx": files["LibreFace_AU_Intensity.onnx"],
    }
    with pytest.raises(ContractError, match="role 'au-intensity' maps 'feature' to \\['au_presence'\\]"):
        FAMILY.graph(entry, swapped, ["au-intensity"]).onnx()
    whole = {**files, "LibreFace_AU_Encoder.onnx": files["LibreFace_FE.onnx"]}
    with pytest.raises(ContractError, match="role 'encoder'"):
        FAMILY.graph(entry, whole, ["au-intensity"]).onnx()


def test_a_head_for_another_feature_is_noticed(files) -> None:
    head = read_onnx(files["LibreFace_AU_Intensity.onnx"])
    head.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 256
    with pytest.raises(ContractError, match=r"reads 'feature' as \[1, 256\].*gives as \[1, 512\]"):
        join({"encoder": read_onnx(files["LibreFace_AU_Encoder.onnx"]), "head": head}, ["au_intensity"])


@pytest.mark.parametrize(
    ("heads", "entries", "parameters"),
    [
        ({"AUs": 12}, 129, 11_243_980),  # printed in the repository's train_resnet_all.txt
        ({"FEs": 8}, 129, 11_243_464),
        ({"au_intensity": 12, "au_presence": 12}, 138, 11_311_448),
    ],
)
def test_the_torch_structure_has_the_published_keys(heads, entries, parameters) -> None:
    module = LibreFaceResNet18(heads)
    keys = module.state_dict().keys()
    assert len(keys) == entries
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert {
        "encoder.0.weight", "encoder.1.running_var", "encoder.4.0.conv1.weight", "encoder.7.1.bn2.num_batches_tracked",
        "encoder.5.0.downsample.0.weight", "encoder.5.0.downsample.1.bias", "classifier.0.weight", "classifier.2.bias",
        "classifier.4.weight",
    } <= keys  # fmt: skip
    assert "encoder.4.0.downsample.0.weight" not in keys
    with torch.inference_mode():
        found = module.eval()(torch.zeros(2, 3, 224, 224))
    assert {name: tuple(y.shape) for name, y in found.items()} == {name: (2, n) for name, n in heads.items()}
