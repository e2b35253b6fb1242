"""LibreFace's PyTorch checkpoints: the published names and shapes load and run the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import entry_of, layout_of, read_layout, runtimes_agree, seeded, stored_bytes
from zoo.errors import ContractError, UnsafeFileError, WeightsError
from zoo.models import apply_outputs, load_family
from zoo.models.networks import libreface_transformers as transformers
from zoo.registry import ModelEntry, load_registry
from zoo.runtimes import open_session

LAYOUT = {
    "libreface-r18-disfa": "libreface-resnet18", "libreface-r18-bp4d": "libreface-resnet18",
    "libreface-repvgg": "libreface-repvgg-a0", "libreface-repvgg-bp4d": "libreface-repvgg-a0",
    "libreface-swin-t": "libreface-swin-t", "libreface-mae-b": "libreface-mae-b",
}  # fmt: skip


def build(entry: ModelEntry, path: Path) -> torch.nn.Module:
    graph = load_family(entry.family).graph(entry, {w.name: path for w in entry.weights}, entry.tasks)
    return graph.torch()


def test_every_checkpoint_of_the_repository_is_an_entry() -> None:
    found = {e.name: e for e in load_registry().entries.values() if e.family == "libreface-torch"}
    assert found.keys() == LAYOUT.keys() | {
        "libreface-combined", "libreface-r18-affectnet", "libreface-repvgg-affectnet"
    }  # fmt: skip
    # Git blobs of commit 7bf7ed7, read from its trees.
    assert {w.name: w.git_sha1 for e in found.values() for w in e.weights if w.git_sha1} == {
        "libreface-r18-disfa.pt": "fd9be02c4c21332529041f68b63e17030b721eaa",
        "libreface-r18-bp4d.pt": "30fc24b3d54b520956122faf2a8cc1d7c2678b7c",
        "libreface-r18-affectnet.pt": "bfcc31ba14f8bbf3ab7825fc0c6db6ee13d193eb",
        "libreface-repvgg-disfa.pt": "1f04e7278e39975b385f874ef8379cd760cf9676",
        "libreface-repvgg-bp4d.pt": "a2af9f5a3f96fafc7413f48bf8c5f9696f7fb980",
        "libreface-repvgg-affectnet.pt": "e7f1e419e3ea4a977dddaedef639349749394a6b",
    }
    assert all(e.licence.commercial_use is False for e in found.values())


@pytest.mark.parametrize(
    ("layout", "size", "entries"),
    [
        ("libreface-resnet18", 45_057_919, 129),  # the Git LFS pointer of the same network on another branch
        ("libreface-swin-t", 191_448_499, 199),
        ("libreface-mae-b", 450_504_439, 389),
    ],
)
def test_the_layouts_fill_the_published_files(layout: str, size: int, entries: int) -> None:
    """A file is its tensors and, for each, a few hundred bytes of name, shape and archive."""
    found = read_layout(layout)
    assert len(found) == entries
    once = {k: v for k, v in found.items() if not (layout == "libreface-mae-b" and k.startswith("encoder."))}
    assert 200 < (size - stored_bytes(once)) / len(found) < 600


@pytest.mark.parametrize("name", LAYOUT)
def test_parameters_are_those_of_the_entry(name: str) -> None:
    entry, layout = entry_of(name), read_layout(LAYOUT[name])
    fixed = ("running_mean", "running_var", "num_batches_tracked", "attn_mask", "relative_position_index")
    once = {k: v for k, v in layout.items() if not (name == "libreface-mae-b" and k.startswith("encoder."))}
    trained = {k: v for k, v in once.items() if not k.endswith(fixed) and not k.startswith("encoder.head.weight")}
    trained.pop("encoder.head.bias", None)  # Swin's classifier for ImageNet, which is not run
    assert sum(int(np.prod(shape)) for shape, _ in trained.values()) == entry.parameters


def test_resnet18_of_each_task(tmp_path: Path) -> None:
    state = seeded(read_layout("libreface-resnet18"))
    path = tmp_path / "disfa.pt"
    torch.save({"model": state}, path)
    entry = entry_of("libreface-r18-disfa")
    assert layout_of(build(entry, path).state_dict()) == read_layout("libreface-resnet18")
    tensors = runtimes_agree(entry, {"libreface-r18-disfa.pt": path})
    values = apply_outputs(entry, tensors)["au-intensity"]
    np.testing.assert_allclose(values, 5 * tensors["au-intensity"], rtol=1e-6)  # sigmoids: nothing to clamp
    assert 0 < values.min() < values.max() < 5
    # Eight classes in the place of twelve AUs
    eight = {k: v[:8] if k in ("classifier.4.weight", "classifier.4.bias") else v for k, v in state.items()}
    torch.save({"model": eight}, path)
    with pytest.raises(ContractError, match=r"classifier\.4\.weight is \[8, 128\], \[12, 128\] is needed"):
        build(entry, path)
    assert build(entry_of("libreface-r18-affectnet"), path)


def test_repvgg_is_folded_to_run_and_stays_the_same(tmp_path: Path) -> None:
    layout = read_layout("libreface-repvgg-a0")
    state = seeded(layout)
    torch.save({"model": state}, tmp_path / "m.pt")
    entry = entry_of("libreface-repvgg")
    tensors = runtimes_agree(entry, {"libreface-repvgg-disfa.pt": tmp_path / "m.pt"})
    values = apply_outputs(entry, tensors)["au-intensity"]
    raw = tensors["au-intensity"]
    assert raw.min() < 0  # no sigmoid: the clamp is at work
    np.testing.assert_allclose(values, np.clip(5 * raw, 0, 5), rtol=1e-6)

    folded = build(entry, tmp_path / "m.pt")
    assert not any("conv_1x1" in k or "identity" in k for k in folded.state_dict())
    from zoo.models.networks.libreface import LibreFaceRepVgg

    whole = LibreFaceRepVgg("au-intensity", 12, sigmoid=False)
    assert layout_of(whole.state_dict()) == layout
    whole.load_state_dict(state)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        a, b = whole.eval()(x)["au-intensity"], folded(x)["au-intensity"]
    assert float((a - b).abs().max() / a.abs().max()) < 1e-5


def test_the_expression_models_differ_in_their_last_layer_and_crop(tmp_path: Path) -> None:
    entry = entry_of("libreface-repvgg-affectnet")
    state = seeded(read_layout("libreface-repvgg-a0"))
    for name in ("classifier.4.weight", "classifier.4.bias"):
        state[name] = state[name][:8]
    torch.save({"model": state}, tmp_path / "m.pt")
    session = open_session(entry, {"libreface-repvgg-affectnet.pt": tmp_path / "m.pt"}, entry.tasks, runtime="torch")
    scores = session.infer(np.zeros((1, 224, 224, 3), np.uint8))["expression"]
    assert scores.shape == (1, 8) and ((scores >= 0) & (scores <= 1)).all()  # it ends in a sigmoid
    chain, au = entry.preprocess, entry_of("libreface-repvgg").preprocess
    assert chain is not None and au is not None
    assert (chain.align.output, au.align.output, chain.size, au.size) == (224, 256, (224, 224), (224, 224))


def test_swin_is_whole_under_microsofts_names(tmp_path: Path) -> None:
    layout = read_layout("libreface-swin-t")
    names, unused = transformers.swin_names(transformers.SwinIntensity("y", 12))
    assert names.keys() | unused.keys() == layout.keys() and not names.keys() & unused.keys()
    assert names["encoder.layers.0.downsample.reduction.weight"] == "encoder.layers.1.downsample.reduction.weight"
    assert {k: s for k, (s, _) in layout.items() if k in unused} == unused
    torch.save({"model": seeded(layout)}, tmp_path / "swin.pt")
    module = build(entry_of("libreface-swin-t"), tmp_path / "swin.pt")
    assert sum(p.numel() for p in module.parameters()) == entry_of("libreface-swin-t").parameters


def test_swin_runs_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shallower than the real one."""
    monkeypatch.setattr(transformers, "DEPTHS", (2, 1, 1, 1))
    layout = read_layout("libreface-swin-t")
    names, unused = transformers.swin_names(transformers.SwinIntensity("y", 12))
    state = seeded({k: v for k, v in layout.items() if k in names or k in unused})
    entry, path = entry_of("libreface-swin-t"), tmp_path / "swin.pt"
    torch.save({"model": state}, path)
    tensors = runtimes_agree(entry, {"libreface-swin-t.pt": path})
    np.testing.assert_allclose(
        apply_outputs(entry, tensors)["au-intensity"], np.clip(5 * tensors["au-intensity"], 0, 5), rtol=1e-6
    )
    for change, words in (
        ({"encoder.layers.0.blocks.1.attn_mask": None}, "missing: encoder.layers.0.blocks.1.attn_mask"),
        ({"encoder.head.weight": torch.zeros(22_000, 768)}, r"head\.weight is \[22000, 768\], \[1000, 768\]"),
        ({"encoder.layers.3.downsample.norm.weight": torch.zeros(4)}, "left over: encoder.layers.3.downsample"),
        ({"classifier.0.weight": torch.zeros(512, 768)}, r"classifier\.0\.weight is \[512, 768\]"),
    ):
        torch.save({"model": {k: v for k, v in {**state, **change}.items() if v is not None}}, path)
        with pytest.raises(ContractError, match=words):
            build(entry, path)


def test_the_autoencoder_is_whole_at_full_size() -> None:
    with torch.device("meta"):
        module = transformers.MaeIntensity("y", 12)
    assert layout_of(module.state_dict()) == read_layout("libreface-mae-b")
    assert sum(p.numel() for p in module.parameters()) == entry_of("libreface-mae-b").parameters


def test_the_autoencoder_runs_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrower and shallower than the real one, which differs in these numbers only."""
    for name, value in {"WIDTH": 48, "DEPTH": 2, "HEADS": 3, "DECODER": (24, 1, 2)}.items():
        monkeypatch.setattr(transformers, name, value)
    entry = entry_of("libreface-mae-b")
    path = tmp_path / "mae.pt"
    state = seeded(layout_of(transformers.MaeIntensity("y", 12).state_dict()))
    for name in [k for k in state if k.startswith("encoder.")]:
        state[name] = state[f"mae.{name}"]
    torch.save({"model": state}, path)
    runtimes_agree(entry, {"libreface-mae-b.pt": path})
    state["encoder.norm.weight"] = state["encoder.norm.weight"] + 1
    torch.save({"model": state}, path)
    with pytest.raises(ContractError, match=r"'encoder\.norm\.weight' and 'mae\.encoder\.norm\.weight' differ"):
        build(entry, path)


def test_position_codes_are_the_sines_of_the_paper() -> None:
    codes = transformers.sinusoid(196, 768)[0].numpy()
    assert codes.shape == (196, 768)
    np.testing.assert_array_equal(codes[0], [0.0, 1.0] * 384)
    np.testing.assert_allclose(codes[7, :2], [np.sin(7), np.cos(7)], rtol=1e-6)
    np.testing.assert_allclose(codes[195, 767], np.cos(195 / 10000 ** (766 / 768)), rtol=1e-6)


def test_a_checkpoint_that_is_no_checkpoint(tmp_path: Path) -> None:
    entry = entry_of("libreface-r18-disfa")

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "m.pt"
    torch.save({"model": Trap()}, path)
    with pytest.raises(UnsafeFileError):
        build(entry, path)
    assert not (tmp_path / "executed").exists()
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match="Git LFS pointer"):
        build(entry, path)
