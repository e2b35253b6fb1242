"""Family ``libreface-torch``: LibreFace's own PyTorch checkpoints, ``{"model": state_dict}``.

| architecture | what it is |
|---|---|
| ``libreface-resnet18`` | one head, or the combined model with an intensity and an occurrence head |
| ``libreface-repvgg-a0`` | LibreFace 2: RepVGG-A0, read in its training-time form and folded to run; one head |
| ``libreface-swin-t`` | Swin-Tiny, AU intensity |
| ``libreface-mae-b`` | ViT-B/16 of a masked autoencoder, AU intensity |

Source of the structures: ihp-lab/LibreFace, ``models/resnet18.py``, ``resnet18_combine.py``, ``RepVGG.py``; ``swin.py``
and ``mae.py`` of its branch ``export_to_onnx``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.errors import ContractError, RegistryError
from zoo.models.base import Family, Files, Graph, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    import torch
    from torch import nn

# The order of the heads in the combined checkpoint: ``classifier``, ``classifier_2``.
_ORDER: tuple[Task, ...] = ("au-intensity", "au-occurrence", "expression")


def _module(entry: ModelEntry, role: str) -> nn.Module:
    need("torch", f"{entry.name} is a torch structure")
    from zoo.models.networks import libreface, libreface_transformers

    outputs = sorted((o for o in entry.outputs if o.role == role), key=lambda o: _ORDER.index(o.task))
    heads = {o.tensor or o.task: len(o.labels) for o in outputs}
    if entry.architecture == "libreface-resnet18" and len(heads) <= 2:
        return libreface.LibreFaceResNet18(heads)
    if len(heads) == 1:
        ((name, columns),) = heads.items()
        if entry.architecture == "libreface-repvgg-a0":
            return libreface.LibreFaceRepVgg(name, columns, sigmoid=outputs[0].task == "expression")
        if entry.architecture == "libreface-swin-t":
            return libreface_transformers.SwinIntensity(name, columns)
        if entry.architecture == "libreface-mae-b":
            return libreface_transformers.MaeIntensity(name, columns)
    raise RegistryError(
        f"{entry.name}: no structure '{entry.architecture}' with {len(heads)} heads", where=entry.where,
        fix="use libreface-resnet18 (one or two heads), libreface-repvgg-a0, libreface-swin-t or libreface-mae-b "
        "(one head)",
    )  # fmt: skip


def _one_encoder(state: Mapping[str, torch.Tensor], where: Path) -> None:
    """Refuses an autoencoder's checkpoint whose two copies of the encoder differ: one of them would be ignored.

    Raises:
        ContractError: Names the first tensor that differs.
    """
    for name, value in state.items():
        twin = state.get(f"mae.{name}") if name.startswith("encoder.") else None
        if twin is not None and not twin.equal(value):
            raise ContractError(f"'{name}' and 'mae.{name}' differ, and should be one tensor", where=str(where))


def _load(entry: ModelEntry, role: str, state: Mapping[str, torch.Tensor], where: Path) -> nn.Module:
    from zoo.models.checkpoints import load_strictly
    from zoo.models.networks.libreface import LibreFaceRepVgg
    from zoo.models.networks.libreface_transformers import MaeIntensity, SwinIntensity, swin_names
    from zoo.models.renaming import renamed

    module = _module(entry, role)
    if isinstance(module, SwinIntensity):
        state = renamed(state, *swin_names(module), where)
    elif isinstance(module, MaeIntensity):
        _one_encoder(state, where)
    load_strictly(module, state, where)
    return module.folded() if isinstance(module, LibreFaceRepVgg) else module


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes a checkpoint as a torch module with all heads of its file."""
    from zoo.models.checkpoints import read_state_dict

    roles = {entry.output(task).role for task in tasks}
    if len(roles) > 1:
        raise RegistryError(
            f"{entry.name}: the tasks' heads are in files of several roles", where=entry.where,
            fix="ask for one task at a time, or make an entry for each file",
        )  # fmt: skip
    role = roles.pop()
    file, path = the_file(entry, files, role)
    return Graph(torch=lambda: _load(entry, role, read_state_dict(file, path), path))


FAMILY = Family(graph=graph)
