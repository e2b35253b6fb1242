"""EMO-AffectNet's network: the publisher's names and shapes load, run the same everywhere, and TensorFlow's padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import (
    drawn,
    entry_of,
    frozen,
    layout_of,
    own_entry,
    read_layout,
    runtimes_agree,
    seeded,
)
from zoo.errors import ContractError, RegistryError
from zoo.models import apply_outputs, load_family
from zoo.models.emo_affectnet import COLUMNS
from zoo.models.networks import emo_affectnet
from zoo.models.networks.emo_affectnet import Bottleneck, EmoAffectNet
from zoo.registry import ModelEntry


def build(entry: ModelEntry, path: Path) -> torch.nn.Module:
    return load_family(entry.family).graph(entry, {path.name: path}, entry.tasks).torch()


def test_it_is_whole_at_full_size() -> None:
    with torch.device("meta"):
        module = EmoAffectNet("expression")
    assert layout_of(module.state_dict()) == read_layout("emo-affectnet")
    assert sum(p.numel() for p in module.parameters()) == entry_of("emo-affectnet").parameters
    norms = [m.eps for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 53 and set(norms) == {1e-3}


def test_it_runs_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block a stage."""
    monkeypatch.setattr(emo_affectnet, "DEPTHS", (1, 1, 1, 1))
    path = tmp_path / "m.pt"
    entry = own_entry("emo-affectnet", path)
    state = seeded(layout_of(EmoAffectNet("expression").state_dict()), gain=1.25)
    torch.save(state, path)
    values = apply_outputs(entry, runtimes_agree(entry, {path.name: path}))["expression"]
    assert values.shape == (2, 7)
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)

    whole = build(entry, path)(drawn(1, 224))["expression"]
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    assert torch.equal(build(entry, path)(drawn(1, 224))["expression"], whole)  # Keras has no such counters
    for change, words in (
        ({"batch_norm1.num_batches_tracked": None}, r"missing: batch_norm1\.num_batches_tracked"),
        ({"conv1.weight": torch.zeros(1)}, r"left over: conv1\.weight"),  # torchvision's name
        ({"fc2.weight": torch.zeros(8, 512)}, r"fc2\.weight is \[8, 512\], \[7, 512\] is needed"),
    ):
        torch.save({k: v for k, v in {**state, **change}.items() if v is not None}, path)
        with pytest.raises(ContractError, match=words):
            build(entry, path)


def test_another_order_of_classes_is_refused(tmp_path: Path) -> None:
    entry = own_entry("emo-affectnet", tmp_path / "m.pt")
    (output,) = entry.outputs
    assert output.labels == COLUMNS
    affectnet8 = (*COLUMNS, "contempt")
    for labels in (affectnet8, (*COLUMNS[:5], "anger", "disgust")):
        wrong = entry.model_copy(update={"outputs": (output.model_copy(update={"labels": labels}),)})
        with pytest.raises(RegistryError, match="of expression is labelled"):
            build(wrong, tmp_path / "m.pt")


def test_the_first_convolution_pads_as_tensorflow_does() -> None:
    """Output (i, j) of a kernel with its one weight at (r, c) is input (2i + r - 2, 2j + c - 2), 0 outside."""
    module = EmoAffectNet("expression").eval()
    seen: list[torch.Tensor] = []
    module.batch_norm1.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        module.conv_layer_s2_same.weight.zero_()
        module.conv_layer_s2_same.weight[0, 0, 0, 0] = 1
        module.conv_layer_s2_same.weight[1, 0, 6, 6] = 1
        module(x)
    first, last = seen[0][0, 0], seen[0][0, 1]
    assert first.shape == (112, 112)
    assert torch.equal(first[1:, 1:], x[0, 0, :222:2, :222:2]) and not first[0].any() and not first[:, 0].any()
    assert torch.equal(last[:110, :110], x[0, 0, 4::2, 4::2]) and not last[110:].any() and not last[:, 110:].any()


def test_a_block_is_halved_by_its_first_convolution() -> None:
    """With an identity in the 3x3 convolution every second pixel goes on, and no other has a part in it."""
    block = Bottleneck(4, 4, 2, shortcut=True).eval()
    with torch.inference_mode():
        for parameter in block.parameters():
            if parameter.ndim == 4:
                parameter.zero_()
        block.conv1.weight[:, :, 0, 0] = torch.eye(4)
        block.conv2.weight[:, :, 1, 1] = torch.eye(4)
        block.conv3.weight[:4, :, 0, 0] = torch.eye(4)
        x = torch.rand(1, 4, 9, 9)
        y = block(x)
    assert y.shape == (1, 16, 5, 5)
    np.testing.assert_allclose(y[:, :4], x[:, :, ::2, ::2] * (1 + 1e-3) ** -1.5, rtol=1e-5)


# What the publisher's own module gives on these weights and this picture.
REFERENCE = [-35126.77, 39266.32, 33364.64, -95055.70, 43248.30, -19390.44, -197709.36]


def test_the_publishers_code_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(frozen(read_layout("emo-affectnet")), path)
    with torch.inference_mode():
        values = build(own_entry("emo-affectnet", path), path)(drawn(2, 224, 100))["expression"]
    np.testing.assert_allclose(values[1].numpy(), REFERENCE, rtol=1e-3)
