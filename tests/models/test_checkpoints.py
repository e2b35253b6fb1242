"""State dicts: strict, never executed; and the families that are made of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.helpers.models import AFFECTNET8, BP4D, DISFA, make_entry, pictures
from zoo.errors import ContractError, RegistryError, UnsafeFileError
from zoo.models import apply_outputs, load_family
from zoo.models.checkpoints import load_strictly, read_state_dict
from zoo.models.networks.libreface import LibreFaceRepVgg, LibreFaceResNet18
from zoo.registry.schema import WeightFile
from zoo.runtimes import open_session
from zoo.runtimes.parity import compare


def file(kind: str) -> WeightFile:
    return WeightFile(name="w", format=kind, sources=("path:/w",), sha256="0" * 64)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_wrapped_and_bare_checkpoints(tmp_path: Path, wrapper: str | None) -> None:
    state = net().state_dict()
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "w")
    found = read_state_dict(file("torch"), tmp_path / "w")
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


def test_safetensors(tmp_path: Path) -> None:
    state = net().state_dict()
    save_file(state, tmp_path / "w")
    found = read_state_dict(file("safetensors"), tmp_path / "w")
    assert all(torch.equal(found[k], state[k]) for k in state)
    (tmp_path / "w").write_bytes(b"<html>")
    with pytest.raises(ContractError, match="not a safetensors file"):
        read_state_dict(file("safetensors"), tmp_path / "w")


def test_a_pickle_that_does_something_is_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    torch.save({"model": Trap()}, tmp_path / "w")
    with pytest.raises(UnsafeFileError):
        read_state_dict(file("torch"), tmp_path / "w")
    (tmp_path / "w").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(Exception, match="w"):
        read_state_dict(file("torch"), tmp_path / "w")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_what_is_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w")
    with pytest.raises(ContractError, match="no state dict"):
        read_state_dict(file("torch"), tmp_path / "w")


def test_everything_has_its_place() -> None:
    state = net().state_dict()
    assert not load_strictly(net(), state, Path("w")).training
    for change, why in (
        ({"0.weight": torch.zeros(4, 2)}, r"0\.weight is \[4, 2\], \[4, 3\] is needed"),
        ({"2.bias": torch.zeros(1)}, r"left over: 2\.bias"),
        ({"0.bias": None}, r"missing: 0\.bias"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        with pytest.raises(ContractError, match=why):
            load_strictly(net(), changed, Path("w"))


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.1)
    return module.eval()


def entry(architecture: str, *outputs: dict, family: str = "libreface-torch", size: int = 224):
    made = make_entry("m", family, [{"name": "w", "format": "torch"}], list(outputs), size=(size, size))
    return made.model_copy(update={"architecture": architecture})


INTENSITY = {"task": "au-intensity", "tensor": "au_intensity", "labels": DISFA, "scale": 5.0, "clamp": (0, 5)}
OCCURRENCE = {"task": "au-occurrence", "tensor": "au_presence", "labels": BP4D, "threshold": 0.5}
EXPRESSION = {"task": "expression", "labels": AFFECTNET8}


def test_the_combined_checkpoint_serves_either_task(tmp_path: Path) -> None:
    module = randomised(LibreFaceResNet18({"au_intensity": 12, "au_presence": 12}))
    torch.save({"model": module.state_dict()}, tmp_path / "w")
    combined = entry("libreface-resnet18", OCCURRENCE, INTENSITY)  # the entry's order is not the checkpoint's
    session = open_session(combined, {"w": tmp_path / "w"}, combined.tasks, runtime="torch", threads=2)
    crops = pictures(2, (224, 224), 3)
    with torch.inference_mode():
        expected = module(torch.from_numpy(crops.transpose(0, 3, 1, 2) / np.float32(255)))
    for name, value in session.infer(crops).items():
        np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-5)
    values = apply_outputs(combined, session.infer(crops), ["au-intensity"])["au-intensity"]
    np.testing.assert_allclose(values, 5 * expected["au_intensity"].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("output", "sigmoid", "columns", "parameters"),
    [(INTENSITY, False, 12, 9_688_948), (EXPRESSION, True, 8, 9_688_432)],
)
def test_repvgg_has_the_published_keys(output, sigmoid: bool, columns: int, parameters: int) -> None:
    module = LibreFaceRepVgg("y", columns, sigmoid=sigmoid)
    keys = module.state_dict().keys()
    assert len(keys) == 362 and sum(p.numel() for p in module.parameters()) == parameters
    assert {
        "encoder.stem.conv_kxk.conv.weight", "encoder.stages.3.0.conv_1x1.bn.bias", "encoder.head.fc.0.weight",
        "encoder.head.fc.1.bias", "classifier.4.weight",
    } <= keys  # fmt: skip
    with torch.inference_mode():
        y = module.eval()(torch.randn(2, 3, 224, 224))["y"]
    assert y.shape == (2, columns)
    assert bool(((y > 0) & (y < 1)).all()) is sigmoid


def test_repvgg_loads(tmp_path: Path) -> None:
    torch.save({"model": LibreFaceRepVgg("y", 8, sigmoid=True).state_dict()}, tmp_path / "w")
    made = entry("libreface-repvgg-a0", EXPRESSION)
    module = load_family("libreface-torch").graph(made, {"w": tmp_path / "w"}, ["expression"]).torch()
    assert list(module(torch.zeros(1, 3, 224, 224))) == ["expression"]
    with pytest.raises(ContractError, match="another network"):
        other = entry("libreface-resnet18", EXPRESSION)
        load_family("libreface-torch").graph(other, {"w": tmp_path / "w"}, ["expression"]).torch()
    with pytest.raises(RegistryError, match="no structure 'libreface-swin'"):
        other = entry("libreface-swin", EXPRESSION)
        load_family("libreface-torch").graph(other, {"w": tmp_path / "w"}, ["expression"]).torch()


def test_a_timm_model_in_two_runtimes(tmp_path: Path) -> None:
    from zoo.models._timm import import_timm

    module = import_timm().create_model("resnet10t", num_classes=8)
    torch.save(randomised(module).state_dict(), tmp_path / "w")
    made = entry("resnet10t", EXPRESSION, family="timm", size=64)
    files = {"w": tmp_path / "w"}
    sessions = [open_session(made, files, ["expression"], runtime=r, threads=1) for r in ("torch", "onnxruntime")]
    assert compare(*sessions, pictures(3, (64, 64), 3))["logits"].within(1e-5)
    with pytest.raises(RegistryError, match="no architecture 'resnet10tt'"):
        open_session(entry("resnet10tt", EXPRESSION, family="timm"), files, ["expression"], runtime="torch")
