"""OpenGraphAU: the publisher's names and shapes load, run the same everywhere, and give what its formulas give."""

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
from zoo.models.networks.open_graph_au import SIDED, OpenGraphAu, OpenHead, PairLayer
from zoo.models.opengraphau import COLUMNS
from zoo.registry import ModelEntry, load_registry


def structure(architecture: str) -> OpenGraphAu:
    backbone, stage = architecture.removeprefix("opengraphau-").rsplit("-stage", 1)
    with torch.device("meta"):
        return OpenGraphAu(backbone, int(stage), "au")


def build(entry: ModelEntry, path: Path) -> torch.nn.Module:
    return load_family(entry.family).graph(entry, {path.name: path}, entry.tasks).torch()


@pytest.mark.parametrize(
    "name", ["opengraphau-resnet18-stage1", "opengraphau-swin-t-stage2", "opengraphau-mae-vit-stage1"]
)
def test_the_names_are_the_publishers(name: str) -> None:
    module = structure(name)
    names, unused = module.names()
    layout = read_layout(name)
    assert layout.keys() == names.keys() | unused.keys()
    ours = layout_of(module.state_dict())
    assert {theirs: ours[name] for theirs, name in names.items()} == {k: v for k, v in layout.items() if k in names}
    assert {k: layout[k][0] for k in unused} == unused
    assert bool(unused) == ("swin" in name)


def test_every_entry_has_a_structure_with_its_parameters_and_all_41_labels() -> None:
    entries = [e for e in load_registry().entries.values() if e.family == "opengraphau"]
    assert len({e.architecture for e in entries}) == len(entries) == 12
    for entry in entries:
        assert sum(p.numel() for p in structure(entry.architecture).parameters()) == entry.parameters, entry.name
        assert entry.output("au-occurrence").labels == COLUMNS
    assert len(COLUMNS) == 41 and COLUMNS[26:29] == ("AU39", "L-AU01", "R-AU01")


@pytest.mark.parametrize("name", ["opengraphau-r18", "opengraphau-r18-stage2"])
def test_it_runs_the_same_everywhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / "best_model.pth"
    entry = own_entry(name, path)
    backbone, stage = "resnet18", int(entry.architecture[-1])
    state = seeded(layout_of(OpenGraphAu(backbone, stage, "au").state_dict()))
    # As DataParallel saves it, beside what training needs to go on
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {}}, path)
    tensors = runtimes_agree(entry, {path.name: path})
    values = apply_outputs(entry, tensors)["au-occurrence"]
    assert values.shape == (2, 41) and (values >= 0).all() and (values <= 1 + 1e-6).all()

    other = own_entry("opengraphau-r18" if stage == 2 else "opengraphau-r18-stage2", path)
    with pytest.raises(ContractError, match=r"missing: head\."):
        build(other, path)
    for change, words in (
        ({"head.main_class_linears.26.fc.bias": None}, r"missing: head\.main_class_linears\.26\.fc\.bias"),
        ({"head.edge_fc.weight": torch.zeros(4, 128)}, r"left over: head\.edge_fc\.weight"),  # as ME-GraphAU has
        ({"head.sub_sc": torch.zeros(12, 128)}, r"head\.sub_sc is \[12, 128\], \[14, 128\] is needed"),
    ):
        torch.save({"state_dict": {k: v for k, v in {**state, **change}.items() if v is not None}}, path)
        with pytest.raises(ContractError, match=words):
            build(entry, path)


def test_another_order_of_labels_and_another_structure_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    entry = own_entry("opengraphau-r50", path)
    (output,) = entry.outputs
    swapped = (COLUMNS[1], COLUMNS[0], *COLUMNS[2:])
    for labels, why in ((swapped, "column 0 is AU01"), ((*COLUMNS, "AU28"), "it has 41 columns")):
        wrong = entry.model_copy(update={"outputs": (output.model_copy(update={"labels": labels}),)})
        with pytest.raises(RegistryError, match="of au-occurrence is labelled") as caught:
            build(wrong, path)
        assert caught.value.why == why
    part = entry.model_copy(update={"outputs": (output.model_copy(update={"labels": COLUMNS[1:3], "start": 1}),)})
    assert load_family(part.family).graph(part, {path.name: path}, part.tasks).torch
    with pytest.raises(RegistryError, match="use one of: opengraphau-resnet18-stage1"):
        build(entry.model_copy(update={"architecture": "opengraphau-resnet50-stage3"}), path)


@pytest.mark.parametrize("stage", [1, 2])
def test_the_outputs_for_one_side_read_the_node_of_their_au(stage: int) -> None:
    torch.manual_seed(0)
    head = OpenHead(8, stage).eval()
    with torch.no_grad():
        head.main_sc.normal_()
        head.sub_sc.normal_()
    seen: list[torch.Tensor] = []
    head.gnn.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.inference_mode():
        values = head(torch.rand(2, 5, 8)).numpy()
    nodes, main, sub = (x.detach().numpy() for x in (seen[0], head.main_sc, head.sub_sc))

    def cosine(node: np.ndarray, centre: np.ndarray) -> np.ndarray:
        centre = np.maximum(centre, 0)
        return node @ centre / np.linalg.norm(node, axis=1) / np.linalg.norm(centre)

    expected = [cosine(nodes[:, i], main[i]) for i in range(27)]
    read = ["AU01", "AU02", "AU04", "AU06", "AU10", "AU11", "AU14"]
    expected += [cosine(nodes[:, COLUMNS.index(read[k // 2])], sub[k]) for k in range(14)]
    np.testing.assert_allclose(values, np.stack(expected, 1), atol=1e-5)
    assert [COLUMNS[i] for i in SIDED[::2]] == read == [COLUMNS[i] for i in SIDED[1::2]]


def test_the_second_stage_adds_after_the_relu() -> None:
    """One layer by hand: x + ReLU(BN(U x + sum_j softmax_j(sigmoid(e_ij)) V x_j / n))."""
    torch.manual_seed(0)
    layer = PairLayer(3, 4).eval()
    x, edges = torch.randn(1, 4, 3), torch.randn(1, 16, 3)
    with torch.inference_mode():
        nodes, pairs = (t[0].numpy() for t in layer(x, edges))
        u, v, a, b = (m(x)[0].numpy() for m in (layer.U, layer.V, layer.A, layer.B))
        e = layer.E(edges)[0].numpy()
    scale = 1 / np.sqrt(1 + 1e-5)
    after = np.zeros((4, 4, 3))
    for i in range(4):
        for j in range(4):
            k = 4 * i + j
            after[i, j] = edges[0, k].numpy() + np.maximum((a[i] + b[j] + e[k]) * scale, 0)
    gates = np.exp(1 / (1 + np.exp(-after)))
    gates /= gates.sum(1, keepdims=True)
    expected = x[0].numpy() + np.maximum((u + (gates * v[None]).sum(1) / 4) * scale, 0)
    np.testing.assert_allclose(pairs, after.reshape(16, 3), atol=1e-5)
    np.testing.assert_allclose(nodes, expected, atol=1e-5)


# What the publisher's own modules give on these weights and this picture.
REFERENCE = {
    "opengraphau-r18": [
        0.40609, 0.31941, 0.37318, 0.40843, 0.37768, 0.40801, 0.41292, 0.37906, 0.39006, 0.42057, 0.43392, 0.39733,
        0.36879, 0.39022, 0.41579, 0.32404, 0.42941, 0.32547, 0.47633, 0.28472, 0.53834, 0.54838, 0.4547, 0.43685,
        0.51235, 0.39551, 0.36649, 0.40099, 0.39647, 0.39709, 0.37361, 0.33922, 0.31047, 0.3399, 0.37382, 0.40669,
        0.35359, 0.33901, 0.34553, 0.43884, 0.35727,
    ],
    "opengraphau-r18-stage2": [
        0.48949, 0.48319, 0.39744, 0.52105, 0.47544, 0.48727, 0.52526, 0.49829, 0.52943, 0.47479, 0.49734, 0.45431,
        0.40734, 0.48025, 0.4574, 0.40196, 0.4701, 0.38781, 0.47412, 0.50376, 0.55557, 0.53816, 0.37891, 0.58972,
        0.47637, 0.49853, 0.47657, 0.51455, 0.45487, 0.53558, 0.48289, 0.46427, 0.38652, 0.55326, 0.42977, 0.4672,
        0.48832, 0.45055, 0.50801, 0.44661, 0.56591,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCE)
def test_the_publishers_code_gives_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    entry = own_entry(name, path)
    torch.save({"state_dict": frozen(layout_of(structure(entry_of(name).architecture).state_dict()))}, path)
    with torch.inference_mode():
        values = build(entry, path)(drawn(2, 224))["au"]
    np.testing.assert_allclose(values[1].numpy(), REFERENCE[name], atol=2e-4)
