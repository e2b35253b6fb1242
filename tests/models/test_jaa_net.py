"""JAA-Net: the published layout, the parts by hand, and one answer in every runtime."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import LAYOUTS, Layout, layout_of, read_layout, runtimes_agree, seeded
from tests.helpers.models import BP4D, make_entry
from zoo.errors import ContractError, RegistryError
from zoo.models.base import load_family
from zoo.models.jaa_net import ROLES
from zoo.models.networks.jaa_net import DISFA, MAP, Cells, JaaNet, attention_maps
from zoo.registry import ModelEntry


def published() -> dict[str, Layout]:
    """The layouts of the six files; ``0..63`` stands for 64 tensors that differ in that number."""
    found: dict[str, Layout] = {role: {} for role in ROLES}
    for name, what in read_layout("jaa-net-v2-disfa").items():
        role, _, tensor = name.partition("/")
        if repeated := re.search(r"0\.\.(\d+)", tensor):
            for number in range(int(repeated[1]) + 1):
                found[role][tensor.replace(repeated[0], str(number))] = what
        else:
            found[role][tensor] = what
    return found


def entry(labels: tuple[str, ...] = DISFA, architecture: str = "jaa-net-v2") -> ModelEntry:
    made = make_entry(
        "jaa", "jaa-net", [{"name": f"{role}.pth", "role": role, "format": "torch"} for role in ROLES],
        [{"task": "au-occurrence", "role": "au_net", "labels": labels, "threshold": 0.5}],
        size=(176, 176), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    return made.model_copy(update={"architecture": architecture})


def write(folder: Path) -> dict[str, Path]:
    """A seeded epoch, whose landmarks lie all over the picture."""
    files = {}
    for seed, (role, layout) in enumerate(published().items()):
        state = seeded(layout, seed=seed, gain=1.2)
        if role == "align_net":
            state["align_output.1.weight"] *= 0.02  # or they lie far outside it
            state["align_output.1.bias"] = torch.rand(98, generator=torch.Generator().manual_seed(5)) * 190 - 7
        files[f"{role}.pth"] = folder / f"{role}.pth"
        torch.save(state, files[f"{role}.pth"])
    return files


def build(model: ModelEntry, files: dict[str, Path]) -> torch.nn.Module:
    graph = load_family(model.family).graph(model, files, model.tasks)
    assert graph.torch is not None
    return graph.torch()


def test_the_layout_is_the_published_one() -> None:
    assert (LAYOUTS / "jaa-net-v2-disfa.txt").stat().st_size < 20_000
    with torch.device("meta"):
        sizes = {
            (v, len(aus)): sum(p.numel() for p in JaaNet("au", aus, v).parameters())
            for v in (1, 2)
            for aus in (BP4D, DISFA)
        }
        module = JaaNet("au", DISFA, 2)
    assert {role: layout_of(getattr(module, role).state_dict()) for role in ROLES} == published()
    # Counted on the authors' own modules.
    assert sizes == {(1, 12): 22_162_854, (1, 8): 18_603_674, (2, 12): 25_237_182, (2, 8): 20_653_226}


def test_an_epoch_runs_the_same_everywhere(tmp_path: Path) -> None:
    tensors = runtimes_agree(entry(), write(tmp_path))
    assert tensors["au"].shape == (2, 8)
    assert (tensors["au"] >= 0).all() and (tensors["au"] <= 1).all()


def test_what_is_not_of_this_network_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path)
    with pytest.raises(ContractError, match=r"au_output\.1\.bias is \[16\], \[24\] is needed|left over|missing"):
        build(entry(BP4D), files)  # a BP4D entry that names DISFA files
    with pytest.raises(ContractError, match=r"left over: local_aus_output"):
        build(entry(architecture="jaa-net-v1"), files)
    with pytest.raises(RegistryError, match="column 1 of au-occurrence is labelled AU04"):
        build(entry(("AU01", "AU04", "AU02", *DISFA[3:])), files)
    with pytest.raises(RegistryError, match="jaa-net-v1, jaa-net-v2"):
        build(entry(architecture="jaa-net"), files)
    swapped = files | {"au_net.pth": files["align_net.pth"]}
    with pytest.raises(ContractError, match=r"missing: au_output\.0\.bias"):
        build(entry(), swapped)


def test_a_cell_sees_nothing_of_its_neighbours() -> None:
    torch.manual_seed(0)
    cells = Cells(2, 3, 5).eval()
    for norm in cells.bns:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        got = cells(x)
        for i, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
            part = slice(row, row + 4), slice(column, column + 4)
            expected = cells.convs[i](cells.bns[i](x[:, :, *part]).relu())
            torch.testing.assert_close(got[:, :, *part], expected)


def drawn(centres: list[tuple[float, float]]) -> np.ndarray:
    """One AU's map, pixel by pixel: squares of 9 around two rounded centres, cut at the map's edge."""
    found = np.zeros((MAP, MAP), np.float32)
    for cx, cy in (tuple(round(v * MAP / 176) for v in c) for c in centres):
        rows = range(min(max(cy - 4, 0), MAP - 1), min(max(cy + 4, 0), MAP - 1) + 1)
        columns = range(min(max(cx - 4, 0), MAP - 1), min(max(cx + 4, 0), MAP - 1) + 1)
        for h in rows:
            for w in columns:
                value = 1 - (abs(h - cy) + abs(w - cx)) * 0.56 / (MAP * 0.14)
                found[h, w] = max(found[h, w], value)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_attention_is_drawn_about_the_landmarks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    land = rng.uniform(-30, 210, (2, 49, 2)).astype(np.float32)
    maps = attention_maps(torch.from_numpy(land.reshape(2, 98)), BP4D).numpy()
    assert maps.shape == (2, 12, MAP, MAP)
    for points, found in zip(land, maps, strict=True):
        ruler = abs(points[22, 0] - points[25, 0])
        for au, (a, b, below) in {
            "AU01": (4, 5, -ruler / 2), "AU02": (1, 8, -ruler / 3), "AU06": (24, 29, ruler), "AU10": (43, 45, 0),
            "AU15": (31, 37, 0), "AU17": (39, 41, ruler / 2), "AU24": (34, 40, 0),
        }.items():  # fmt: skip
            expected = drawn([(points[i, 0], points[i, 1] + below) for i in (a, b)])
            np.testing.assert_allclose(found[BP4D.index(au)], expected, atol=1e-6)
