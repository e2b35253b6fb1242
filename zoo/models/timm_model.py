"""Family ``timm``: a timm architecture under its own name, with a classifier for the entry's labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.errors import RegistryError
from zoo.models.base import Family, Files, Graph, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

TENSOR = "logits"
"""Name of the one output tensor."""


def _module(entry: ModelEntry, role: str) -> nn.Module:
    from zoo.models._timm import import_timm

    timm = import_timm()
    from zoo.models.networks.named import Named

    if not timm.is_model(entry.architecture):
        from zoo._util.text import nearest

        close = nearest(entry.architecture, timm.list_models())
        raise RegistryError(
            f"{entry.name}: timm {timm.__version__} has no architecture '{entry.architecture}'",
            where=entry.where, fix=f"did you mean {' or '.join(close)}?" if close else None,
        )  # fmt: skip
    columns = max(o.start + len(o.labels) for o in entry.outputs if o.role == role)
    return Named(timm.create_model(entry.architecture, pretrained=False, num_classes=columns), TENSOR)


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes a state dict under timm's names as a torch module."""
    from zoo.models.checkpoints import load_strictly, read_state_dict

    role = entry.output(tasks[0]).role
    file, path = the_file(entry, files, role)

    def build() -> nn.Module:
        module = _module(entry, role)
        load_strictly(module.inner, read_state_dict(file, path), path)  # type: ignore[arg-type]
        return module.eval()

    return Graph(torch=build)


FAMILY = Family(graph=graph)
