"""Family ``jaa-net``: JAA-Net's checkpoints, six state dicts an epoch, each a file and a role of its name.

| architecture | what it is |
|---|---|
| ``jaa-net-v1`` | the ECCV 2018 network in the authors' PyTorch form |
| ``jaa-net-v2`` | the journal's, whose ``local_au_net`` holds an answer of each AU's branch too |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.errors import RegistryError
from zoo.models.base import Family, Files, Graph, check_columns, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

TENSOR = "au"
"""Name of the one output tensor."""
ROLES = ("region_learning", "align_net", "local_attention_refine", "local_au_net", "global_au_feat", "au_net")
VERSIONS = {"jaa-net-v1": 1, "jaa-net-v2": 2}


def roles(entry: ModelEntry, tasks: Sequence[Task]) -> set[str]:
    """Returns the roles of the six files."""
    return set(ROLES)


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the six files of an epoch as one torch module.

    Raises:
        RegistryError: No such network.
    """
    if entry.architecture not in VERSIONS:
        raise RegistryError(
            f"{entry.name}: no structure '{entry.architecture}'", where=entry.where,
            fix="use one of: " + ", ".join(VERSIONS),
        )  # fmt: skip
    parts = {role: the_file(entry, files, role) for role in ROLES}

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.jaa_net import ORDERS, JaaNet

        labels = entry.output("au-occurrence").labels
        order = next((o for o in ORDERS if len(o) == len(labels)), ORDERS[0])
        check_columns(entry, "au-occurrence", order)
        module = JaaNet(TENSOR, order, VERSIONS[entry.architecture])
        for role, (file, path) in parts.items():
            load_strictly(getattr(module, role), read_state_dict(file, path), path)
        return module.eval()

    return Graph(torch=build)


FAMILY = Family(graph=graph, roles=roles)
