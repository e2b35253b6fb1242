"""Family ``openface3``: OpenFace 3.0's multi-task checkpoint (Hu et al. 2025, arXiv:2506.02891)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.models.base import Family, Files, Graph, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the checkpoint as a torch module with the outputs ``expression`` and ``au``."""
    role = entry.output(tasks[0]).role
    file, path = the_file(entry, files, role)

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.graph_au import OpenFace3

        return load_strictly(OpenFace3(), read_state_dict(file, path), path)

    return Graph(torch=build)


FAMILY = Family(graph=graph)
