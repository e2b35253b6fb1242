"""Family ``dan``: DAN's checkpoints, ``{"model_state_dict": ...}``."""

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

TENSOR = "expression"
"""Name of the one output tensor."""

AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
RAF_DB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
ORDERS = {"dan-affectnet8": AFFECTNET, "dan-affectnet7": AFFECTNET[:7], "dan-rafdb": RAF_DB}
"""Architecture -> labels of its columns (``demo.py``, ``affectnet.py`` and ``rafdb.py`` of yaoing/DAN): two of the
networks have one shape and another order, so that the name has to say which."""


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the checkpoint as a torch module.

    Raises:
        RegistryError: No such network, or the entry orders the classes otherwise than the checkpoint its columns.
    """
    if entry.architecture not in ORDERS:
        raise RegistryError(
            f"{entry.name}: no structure '{entry.architecture}'", where=entry.where,
            fix="use one of: " + ", ".join(ORDERS),
        )  # fmt: skip
    columns = ORDERS[entry.architecture]
    check_columns(entry, "expression", columns)
    file, path = the_file(entry, files, entry.output(tasks[0]).role)

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.dan import Dan

        return load_strictly(Dan(TENSOR, len(columns)), read_state_dict(file, path), path)

    return Graph(torch=build)


FAMILY = Family(graph=graph)
