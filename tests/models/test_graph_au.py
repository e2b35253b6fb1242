"""OpenFace 3.0 and ME-GraphAU: published names and shapes, the graphs' formulas, and the same results everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import entry_of, layout_of, read_layout, runtimes_agree, seeded
from tests.helpers.models import BP4D, make_entry
from zoo.errors import ContractError, RegistryError
from zoo.models import apply_outputs, load_family
from zoo.models.networks.graph_au import BACKBONES, GatedGraph, MeGraphAu, NearestGraph, OpenFace3, similarity
from zoo.registry import ModelEntry


def build(entry: ModelEntry, path: Path) -> torch.nn.Module:
    graph = load_family(entry.family).graph(entry, {w.name: path for w in entry.weights}, entry.tasks)
    return graph.torch()


def test_openface3_loads_and_runs_the_same_everywhere(tmp_path: Path) -> None:
    entry, layout = entry_of("openface3"), read_layout("openface3")
    with torch.device("meta"):
        module = OpenFace3()
    assert layout_of(module.state_dict()) == layout
    assert sum(p.numel() for p in module.parameters()) == entry.parameters
    path = tmp_path / "m.pth"
    state = seeded(layout, gain=1.25)
    for name in ("fc_emotion.weight", "fc_au.weight"):  # or random features would say the same of all pictures
        state[name] *= 30
    torch.save(state, path)  # bare, as published
    tensors = runtimes_agree(entry, {"openface3-mtl.pth": path})
    assert {k: v.shape for k, v in tensors.items()} == {"expression": (2, 8), "au": (2, 8)}
    values = apply_outputs(entry, tensors)
    np.testing.assert_allclose(values["expression"].sum(1), 1, rtol=1e-5)
    assert (values["au-occurrence"] >= 0).all() and (values["au-occurrence"] <= 1).all()
    torch.save({k: v for k, v in state.items() if not k.startswith("gaze")}, path)
    with pytest.raises(ContractError, match=r"missing: gaze_regressor\.bias, gaze_regressor\.weight"):
        build(entry, path)


def graph_entry(backbone: str, labels: tuple[str, ...]) -> ModelEntry:
    made = make_entry(
        "m", "me-graphau", [{"name": "w", "format": "torch"}],
        [{"task": "au-occurrence", "labels": labels, "threshold": 0.5}],
        size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    return made.model_copy(update={"architecture": f"me-graphau-{backbone}"})


@pytest.mark.parametrize(
    ("backbone", "aus", "parameters"), [("resnet50", 12, 31_666_132), ("swin-b", 8, 93_319_772)]
)  # fmt: skip
def test_me_graphau_has_the_published_names(backbone: str, aus: int, parameters: int) -> None:
    with torch.device("meta"):
        module = MeGraphAu(backbone, "au", aus)
    names, unused = module.names()
    layout = read_layout(f"me-graphau-{backbone}")
    assert layout.keys() == names.keys() | unused.keys()
    ours = layout_of(module.state_dict())
    assert {theirs: ours[name] for theirs, name in names.items()} == {k: v for k, v in layout.items() if k in names}
    assert sum(p.numel() for p in module.parameters()) == parameters


def test_me_graphau_runs_the_same_everywhere(tmp_path: Path) -> None:
    entry = graph_entry("resnet18", BP4D)
    state = seeded(layout_of(MeGraphAu("resnet18", "au", 12).state_dict()))
    # As DataParallel saves it
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "w")
    tensors = runtimes_agree(entry, {"w": tmp_path / "w"})
    assert tensors["au"].shape == (2, 12) and (tensors["au"] >= 0).all() and (tensors["au"] <= 1 + 1e-6).all()
    torch.save({"state_dict": state}, tmp_path / "w")
    eight = graph_entry("resnet18", BP4D[:8])  # a DISFA entry that names a BP4D file
    with pytest.raises(ContractError, match=r"left over: head\.class_linears\.10"):
        build(eight, tmp_path / "w")
    with pytest.raises(RegistryError, match="me-graphau-swin-b"):
        build(graph_entry("resnet34", BP4D), tmp_path / "w")


def test_a_swin_backbone_is_read_under_microsofts_names() -> None:
    with torch.device("meta"):
        names, unused = MeGraphAu("swin-t", "au", 12).names()
    assert names["backbone.layers.2.downsample.norm.bias"] == "backbone.layers.3.downsample.norm.bias"
    assert names["head.sc"] == "head.sc"
    assert unused["backbone.layers.0.blocks.1.attn_mask"] == (64, 49, 49)
    assert BACKBONES["swin-t"] == ("swin_tiny_patch4_window7_224", 2)


def test_the_nearest_graph_is_that_of_the_paper() -> None:
    """One picture by hand: edges to the largest products, D^-1/2 A D^-1/2, ReLU(x + BN(A V(x) + U(x)))."""
    torch.manual_seed(0)
    layer = NearestGraph(4, 5, neighbours=2).eval()
    x = torch.randn(1, 5, 4)
    with torch.inference_mode():
        got = layer(x)[0].numpy()
        u, v = layer.U(x)[0].numpy(), layer.V(x)[0].numpy()
    product = x[0].numpy() @ x[0].numpy().T
    edges = np.zeros((5, 5))
    for i, row in enumerate(product):
        edges[i, np.argsort(-row)[:2]] = 1
    d = np.diag(edges.sum(1) ** -0.5)
    expected = np.maximum(x[0].numpy() + (d @ edges @ d @ v + u) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_gated_graph_is_that_of_the_paper() -> None:
    """One layer by hand, with its second layer switched off."""
    torch.manual_seed(0)
    layer = GatedGraph(3, 4).eval()
    with torch.no_grad():
        layer.bnv2.weight.zero_()  # the second layer then adds nothing to what is already positive
    x, edges = torch.rand(1, 4, 3), torch.randn(1, 16, 3)
    with torch.inference_mode():
        got = layer(x, edges)[0].numpy()
        u, v, a, b = (m(x)[0].numpy() for m in (layer.U1, layer.V1, layer.A1, layer.B1))
        e = layer.E1(edges)[0].numpy()
    after = np.zeros((4, 4, 3))
    scale = 1 / np.sqrt(1 + 1e-5)
    for i in range(4):
        for j in range(4):
            k = 4 * i + j
            after[i, j] = edges[0, k].numpy() + np.maximum((a[i] + b[j] + e[k]) * scale, 0)
    gates = np.exp(1 / (1 + np.exp(-after)))
    gates /= gates.sum(1, keepdims=True)
    expected = np.maximum(x[0].numpy() + (u + (gates * v[None]).sum(1) / 4) * scale, 0)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_similarity_is_a_cosine_with_the_positive_part() -> None:
    nodes = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    centres = torch.tensor([[1.0, -5.0], [0.0, 2.0]])
    np.testing.assert_allclose(similarity(nodes, centres).numpy(), [[0.6, 0.0]], atol=1e-6)
