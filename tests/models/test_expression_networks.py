"""ResMaskNet, EmoNet and the Hub's Vision Transformers: published names load and run the same everywhere."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.helpers.checkpoints import (
    entry_of,
    layout_of,
    read_layout,
    runtimes_agree,
    seeded,
    stored_bytes,
)
from zoo.errors import ContractError, RegistryError
from zoo.models import apply_outputs, load_family, select_files
from zoo.models.hf_vit import to_timm
from zoo.models.networks import emonet, resmasknet
from zoo.registry import ModelEntry
from zoo.runtimes import open_session


def build(entry: ModelEntry, path: Path, name: str = "w") -> torch.nn.Module:
    names = [w.name for w in entry.weights] or [name]
    return load_family(entry.family).graph(entry, dict.fromkeys(names, path), entry.tasks).torch()


def test_resmasknet_is_whole_at_full_size() -> None:
    with torch.device("meta"):
        module = resmasknet.ResMaskNet()
    layout = read_layout("resmasknet")
    assert layout_of(module.state_dict()) == layout
    entry = entry_of("resmasknet")
    assert sum(p.numel() for p in module.parameters()) == entry.parameters
    # A shortcut of a mask stands in the file twice and is stored once. What is left is names, shapes and archive.
    once = {k: v for k, v in layout.items() if not (k.startswith("mask") and ".downsample." in k)}
    (file,) = entry.weights
    assert file.size is not None and 100 < (file.size - stored_bytes(once)) / len(layout) < 400


def test_resmasknet_runs_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrower than the real one."""
    narrow = partial(resmasknet.ResMaskNet, widths=(4, 8, 16, 32))
    monkeypatch.setattr(resmasknet, "ResMaskNet", narrow)
    entry = entry_of("resmasknet")
    (file,) = entry.weights
    module = narrow()
    module.load_state_dict(seeded(layout_of(module.state_dict())))
    torch.save({"net": module.state_dict(), "best_acc": 74.1}, tmp_path / "m.pth")
    tensors = runtimes_agree(entry, {file.name: tmp_path / "m.pth"})
    np.testing.assert_allclose(apply_outputs(entry, tensors)["expression"].sum(1), 1, rtol=1e-5)
    state = dict(module.state_dict())
    state["mask1.conv9.conv1.weight"] = torch.zeros(1)
    torch.save({"net": state}, tmp_path / "m.pth")
    with pytest.raises(ContractError, match=r"left over: mask1\.conv9"):
        build(entry, tmp_path / "m.pth")


def test_a_mask_is_a_distribution_over_channels() -> None:
    mask = resmasknet.Mask(4, 3).eval()
    with torch.inference_mode():
        drawn = mask(torch.randn(2, 4, 8, 8))
    assert drawn.shape == (2, 4, 8, 8)
    np.testing.assert_allclose(drawn.sum(1).numpy(), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["emonet-8", "emonet-5"])
def test_emonet_is_whole_at_full_size(name: str) -> None:
    entry = entry_of(name)
    classes = len(entry.output("expression").labels)
    with torch.device("meta"):
        module = emonet.EmoNet(classes)
    found, layout = layout_of(module.state_dict()), read_layout("emonet")
    last = ("emo_fc_2.3.weight", "emo_fc_2.3.bias")
    assert found.keys() == layout.keys()
    assert {k: v for k, v in found.items() if k not in last} == {k: v for k, v in layout.items() if k not in last}
    assert found[last[0]][0] == (classes + 2, 128) and layout[last[0]][0] == (10, 128)
    assert sum(p.numel() for p in module.parameters()) == entry.parameters
    assert entry.output("valence-arousal").start == classes


def test_emonet_runs_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrower than the real one, with smaller hourglasses."""
    monkeypatch.setattr(emonet, "WIDTH", 16)
    monkeypatch.setattr(emonet, "LANDMARKS", 5)
    monkeypatch.setattr(emonet.Hourglass.__init__, "__defaults__", (2,))
    entry = entry_of("emonet-5")
    state = seeded(layout_of(emonet.EmoNet(5).state_dict()))
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "m.pth")
    tensors = runtimes_agree(entry, {"emonet_5.pth": tmp_path / "m.pth"})
    values = apply_outputs(entry, tensors)
    np.testing.assert_allclose(values["valence-arousal"], np.clip(tensors["emotion"][:, 5:], -1, 1))
    with pytest.raises(ContractError, match=r"emo_fc_2\.3\.weight is \[7, 8\], \[10, 8\] is needed"):
        build(entry_of("emonet-8"), tmp_path / "m.pth")


def test_the_hubs_transformer_under_its_own_names(tmp_path: Path) -> None:
    layout = read_layout("hf-vit-base")
    assert len(layout) == 200
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in seeded(layout).items()}, path)
    entry = entry_of("vit-face-expression")
    module = build(entry, path)
    assert sum(p.numel() for p in module.parameters()) == entry.parameters
    assert {m.eps for m in module.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-12}
    assert stored_bytes(layout) == 343_216_156  # the Hub shows 343 MB


def small_layout() -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """That of ViT-Ti/16 with two blocks."""

    def scaled(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple({768: 192, 3072: 768}.get(n, n) for n in shape)

    layout = read_layout("hf-vit-base").items()
    return {k: (scaled(s), kind) for k, (s, kind) in layout if not ("layer." in k and int(k.split(".")[3]) > 1)}


def test_the_hubs_transformer_runs_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.models._timm import import_timm

    timm = import_timm()
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *given, **named: create(*given, **named, depth=2))
    entry = entry_of("vit-face-expression").model_copy(update={"architecture": "vit_tiny_patch16_224"})
    state = seeded(small_layout())
    path = tmp_path / "m.safetensors"
    save_file(state, path)
    tensors = runtimes_agree(entry, {"vit-face-expression.safetensors": path})
    assert tensors["logits"].shape == (2, 7)
    # Attention by hand: queries, keys and values keep their places in the joint matrix.
    joint = to_timm(state, 2, path)["blocks.1.attn.qkv.weight"]
    for n, part in enumerate(("query", "key", "value")):
        own = state[f"vit.encoder.layer.1.attention.attention.{part}.weight"]
        assert torch.equal(joint[192 * n : 192 * (n + 1)], own)

    for change, words in (
        ({"vit.encoder.layer.0.attention.attention.key.bias": None}, "missing: vit.encoder.layer.0.attention"),
        ({"vit.pooler.dense.weight": torch.zeros(192, 192)}, "left over: vit.pooler.dense.weight"),
        ({"classifier.weight": torch.zeros(8, 192)}, r"head\.weight is \[8, 192\], \[7, 192\] is needed"),
    ):
        save_file({k: v for k, v in {**state, **change}.items() if v is not None}, path)
        with pytest.raises(ContractError, match=words):
            build(entry, path)
    with pytest.raises(RegistryError, match="no Vision Transformer 'resnet18'"):
        build(entry.model_copy(update={"architecture": "resnet18"}), path)


@pytest.mark.parametrize(
    ("id2label", "words"),
    [
        ({"0": "Angry", "1": "disgust", "2": "fear", "3": "happy", "4": "neutral", "5": "sad", "6": "surprise"}, None),
        ({"0": "sad", "1": "disgust", "2": "angry", "3": "neutral", "4": "fear", "5": "surprise", "6": "happy"},
         "id2label: sadness, disgust, anger"),
        ({"0": "Ahegao", "1": "angry", "2": "happy", "3": "neutral", "4": "sad", "5": "surprise"}, "id2label: ahegao"),
        ({"1": "angry"}, "it has no '0'"),
        (None, "it has no 'id2label'"),
        (["angry"], "names no classes"),
    ],
)  # fmt: skip
def test_the_order_of_classes_is_held_against_the_repositorys(tmp_path: Path, id2label: Any, words: str | None) -> None:
    entry = entry_of("vit-face-expression")
    raw = entry.model_dump(mode="json", exclude_none=True)
    raw["weights"].append({"name": "config.json", "role": "config", "format": "json", "sha256": "0" * 64,
                           "sources": ["path:config.json"]})  # fmt: skip
    entry = type(entry).model_validate(raw)
    for runtime in ("torch", "onnxruntime", "openvino"):
        names = {w.name for w in select_files(entry, entry.tasks, runtime=runtime)}
        assert names == {"vit-face-expression.safetensors", "config.json"}
    config, path = tmp_path / "config.json", tmp_path / "m.safetensors"
    config.write_text(json.dumps({} if id2label is None else {"id2label": id2label}))
    files = {"vit-face-expression.safetensors": path, "config.json": config}
    if words is None:
        assert load_family(entry.family).graph(entry, files, entry.tasks).torch
        return
    with pytest.raises(ContractError) as caught:
        load_family(entry.family).graph(entry, files, entry.tasks)
    assert words in f"{caught.value.what} {caught.value.why}"


def test_each_hub_repository_keeps_its_own_order_of_classes() -> None:
    orders = {
        name: entry_of(name).output("expression").labels
        for name in ("vit-face-expression", "vit-facial-emotions", "vit-fer-motheecreator")
    }
    assert orders["vit-face-expression"][4:] == ("neutral", "sadness", "surprise")
    assert orders["vit-facial-emotions"][:4] == ("sadness", "disgust", "anger", "neutral")
    assert orders["vit-face-expression"] != orders["vit-facial-emotions"]
    # An entry without weights declares what it would need, and cannot be opened.
    from zoo.errors import UsageError

    with pytest.raises(UsageError, match="cannot be run"):
        open_session(entry_of("vit-facial-emotions"), {}, ["expression"], runtime="onnxruntime")
