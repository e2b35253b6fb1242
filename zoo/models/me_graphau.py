"""Family ``me-graphau``: checkpoints of ME-GraphAU's second stage, one a fold.

The architecture is ``me-graphau-`` and a key of :data:`zoo.models.networks.graph_au.BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.errors import RegistryError
from zoo.models.base import Family, Files, Graph, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

TENSOR = "au"
"""Name of the one output tensor."""


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes a fold's checkpoint, saved from one GPU or several, as a torch module."""
    role = entry.output(tasks[0]).role
    file, path = the_file(entry, files, role)

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.graph_au import BACKBONES, MeGraphAu
        from zoo.models.renaming import renamed

        backbone = entry.architecture.removeprefix("me-graphau-")
        if backbone not in BACKBONES:
            raise RegistryError(
                f"{entry.name}: no structure '{entry.architecture}'", where=entry.where,
                fix="use one of: " + ", ".join(f"me-graphau-{b}" for b in BACKBONES),
            )  # fmt: skip
        module = MeGraphAu(backbone, TENSOR, len(entry.output("au-occurrence").labels))
        # A model that trained on several GPUs was saved inside DataParallel.
        state = {name.removeprefix("module."): value for name, value in read_state_dict(file, path).items()}
        return load_strictly(module, renamed(state, *module.names(), path), path)

    return Graph(torch=build)


FAMILY = Family(graph=graph)
