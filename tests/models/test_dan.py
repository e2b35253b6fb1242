"""DAN: the published names and shapes load, and run the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import entry_of, layout_of, own_entry, read_layout, runtimes_agree, seeded
from zoo.errors import ContractError, RegistryError
from zoo.models import apply_outputs, load_family
from zoo.models.dan import ORDERS
from zoo.models.networks.dan import Channels, Dan, Spatial
from zoo.registry import ModelEntry


def build(entry: ModelEntry, path: Path) -> torch.nn.Module:
    graph = load_family(entry.family).graph(entry, {path.name: path}, entry.tasks)
    assert graph.torch is not None
    return graph.torch()


def seeded_dan() -> dict[str, torch.Tensor]:
    """A checkpoint whose spatial attention stays near 1: its sum over 512 channels would swamp everything."""
    state = seeded(read_layout("dan"))
    for name, value in state.items():
        if ".sa.conv_" in name and value.ndim <= 1 and value.dtype == torch.float32:
            state[name] = value * 0.01 if not name.endswith("running_var") else value
    return state


def test_an_authors_checkpoint_runs_the_same_everywhere(tmp_path: Path) -> None:
    with torch.device("meta"):
        module = Dan("expression", 8)
    assert layout_of(module.state_dict()) == read_layout("dan")
    assert sum(p.numel() for p in module.parameters()) == entry_of("dan").parameters
    path = tmp_path / "affecnet8.pth"
    entry = own_entry("dan", path)
    state = seeded_dan()
    torch.save({"iter": 5, "model_state_dict": state, "optimizer_state_dict": {}}, path)
    values = apply_outputs(entry, runtimes_agree(entry, {path.name: path}))["expression"]
    assert values.shape == (2, 8)
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)

    torch.save({"model_state_dict": {**state, "fc.weight": torch.zeros(7, 512)}}, path)
    with pytest.raises(ContractError, match=r"fc\.weight is \[7, 512\], \[8, 512\] is needed"):
        build(entry, path)


@pytest.mark.parametrize("architecture", ORDERS)
def test_networks_of_one_shape_have_their_own_order_of_classes(architecture: str, tmp_path: Path) -> None:
    entry = own_entry("dan", tmp_path / "m.pth")
    (output,) = entry.outputs
    for labels in ORDERS.values():
        change = {"architecture": architecture, "outputs": (output.model_copy(update={"labels": labels}),)}
        mine = entry.model_copy(update=change)
        if labels == ORDERS[architecture] or labels == ORDERS[architecture][: len(labels)]:
            assert load_family("dan").graph(mine, {"m.pth": tmp_path / "m.pth"}, mine.tasks).torch is not None
        else:
            with pytest.raises(RegistryError, match="of expression is labelled"):
                build(mine, tmp_path / "m.pth")
    with pytest.raises(RegistryError, match="dan-affectnet8, dan-affectnet7, dan-rafdb"):
        build(entry.model_copy(update={"architecture": "dan"}), tmp_path / "m.pth")


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    spatial, channels = Spatial().eval(), Channels().eval()
    x = torch.randn(2, 512, 3, 3)
    with torch.inference_mode():
        places = spatial(x) / x
        assert torch.allclose(places, places[:, :1].expand_as(places), rtol=1e-3)  # one weight a place
        mean = x.mean((2, 3))
        weights = channels(x) / mean
        assert (weights > 0).all() and (weights < 1).all()
        hidden = channels.attention[1](channels.attention[0](mean)).relu()
        torch.testing.assert_close(weights, channels.attention[3](hidden).sigmoid(), rtol=1e-3, atol=1e-4)
