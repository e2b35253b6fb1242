"""Py-Feat's multi-task network: the publisher's names and shapes load and run the same everywhere, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.helpers.checkpoints import Layout, layout_of, own_entry, read_layout, runtimes_agree, seeded
from zoo.errors import ContractError
from zoo.models import apply_outputs, load_family
from zoo.models.networks.py_feat import Neighbours, Prototypes, PyFeatMultitask, Sizes
from zoo.registry import ModelEntry

# A ModelV2Config of the kind that version 2.5 has; the published file's own is not known.
CONFIG = {
    "backbone": "convnextv2_tiny.fcmae_ft_in22k_in1k", "image_size": 224, "n_au": 20, "n_mesh": 478, "n_emotion": 7,
    "knn_k": 4, "afg_channels": 512, "mefl_channels": 512, "gcn_layers": 2, "drop_path_rate": 0.1, "pretrained": True,
    "use_head_v3": True, "unified_lmk_dim": 256, "drop_mefl": True, "n_blendshape": 52,
}  # fmt: skip


def my_entry(path: Path) -> ModelEntry:
    """The entry that a user with the file would write, from the registry's contract."""
    return own_entry("py-feat-multitask-v2", path, "safetensors")


def build(path: Path) -> torch.nn.Module:
    entry = my_entry(path)
    return load_family(entry.family).graph(entry, {path.name: path}, entry.tasks).torch()


def write(path: Path, state: dict[str, torch.Tensor], **change: Any) -> Path:
    config = {k: v for k, v in {**CONFIG, **change}.items() if v is not None}
    save_file(state, path, {"config": json.dumps(config)})
    return path


def test_the_layout_is_the_publishers() -> None:
    layout = read_layout("py-feat-multitask-v2")
    assert len(layout) == 367
    with torch.device("meta"):
        module = PyFeatMultitask(Sizes())
        wider = PyFeatMultitask(Sizes(from_aus=True))
        bare = PyFeatMultitask(Sizes(blendshapes=0))
    assert layout_of(module.state_dict()) == layout
    assert sum(p.numel() for p in module.parameters()) == 38_226_811
    assert wider.state_dict()["emotion.cls_head.weight"].shape == (7, 768 + 256 + 20)
    assert layout.keys() - bare.state_dict().keys() == {k for k in layout if "blendshape" in k}


def test_it_runs_the_same_everywhere(tmp_path: Path) -> None:
    """A smaller backbone of the same kind; the heads are whole."""
    sizes = Sizes(backbone="convnextv2_atto", from_aus=True)
    layout: Layout = layout_of(PyFeatMultitask(sizes).state_dict())
    path = write(tmp_path / "m.safetensors", seeded(layout), backbone="convnextv2_atto", emotion_use_au_prob=True)
    entry = my_entry(path)
    tensors = runtimes_agree(entry, {path.name: path})
    values = apply_outputs(entry, tensors)
    assert {k: v.shape for k, v in values.items()} == {
        "au-occurrence": (2, 20), "expression": (2, 7), "valence-arousal": (2, 2)
    }  # fmt: skip
    assert (values["au-occurrence"] >= 0).all() and (values["au-occurrence"] <= 1).all()
    np.testing.assert_allclose(values["expression"].sum(1), 1, atol=1e-5)
    assert (abs(values["valence-arousal"]) <= 1).all()


def test_a_file_of_another_structure_is_refused(tmp_path: Path) -> None:
    state = seeded(layout_of(PyFeatMultitask(Sizes(backbone="convnextv2_atto")).state_dict()))
    path, small = tmp_path / "m.safetensors", "convnextv2_atto"
    assert build(write(path, state, backbone=small))
    for change, words in (
        ({"drop_mefl": False}, "drop_mefl=False"), ({"use_head_v3": None}, "use_head_v3=False"),
        ({"n_au": 24}, "declares 20 labels of au-occurrence, the file's configuration says 24"),
        ({"n_emotion": 8}, "declares 7 labels of expression"), ({"n_au": None}, "has no 'n_au'"),
        ({"mefl_channels": 256}, "mefl_channels=256"), ({"backbone": "resnet18"}, "backbone=resnet18"),
        ({"afg_channels": 10**9, "mefl_channels": 10**9}, "afg_channels=1000000000"), ({"knn_k": "4"}, "knn_k=4"),
        ({"something_new": 1}, "something_new=1"),
        ({"n_blendshape": 0}, "left over: blendshape"), ({"emotion_use_au_prob": True}, r"is \[7, 576\], \[7, 596\]"),
    ):  # fmt: skip
        with pytest.raises(ContractError, match=words):
            build(write(path, state, **{"backbone": small, **change}))
    with pytest.raises(ContractError, match=r"missing: gaze\.left_pitch"):
        build(write(path, {k: v for k, v in state.items() if not k.startswith("gaze.left_pitch")}, backbone=small))
    save_file(state, path)
    with pytest.raises(ContractError, match="has no 'config'"):
        build(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(ContractError, match="not Py-Feat's multi-task network"):
        build(path)


def test_the_graph_by_hand() -> None:
    """Three nodes in the plane, one neighbour each: a and b are nearest to one another, c is nearest to b."""
    layer = Neighbours(2, 1)
    with torch.no_grad():
        layer.W.weight.copy_(torch.eye(2))
        layer.W_self.weight.copy_(10 * torch.eye(2))
    a, b, c = torch.tensor([[1.0, 0.0], [2.0, 0.2], [1.0, 1.0]])
    out = layer(torch.stack([a, b, c])[None])[0]
    torch.testing.assert_close(out, torch.stack([10 * a + b, 10 * b + a, 10 * c + b]))
    heads = Prototypes(2, 2)
    with torch.no_grad():
        heads.s.copy_(torch.tensor([[3.0, -1.0], [1.0, 1.0]]))
    found = heads(torch.tensor([[[2.0, 2.0], [-1.0, 5.0]]]))
    torch.testing.assert_close(found, torch.full((1, 2), 0.5**0.5))
