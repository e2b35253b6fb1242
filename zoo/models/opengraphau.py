"""Family ``opengraphau``: checkpoints of OpenGraphAU's first and second stage.

The architecture is ``opengraphau-<backbone>-stage<1 or 2>``, the backbone one of
:data:`zoo.models.networks.open_graph_au.OPEN_BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.errors import RegistryError
from zoo.models.base import Family, Files, Graph, check_columns, the_file
from zoo.registry.labels import Task, au_label
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

TENSOR = "au"
"""Name of the one output tensor."""

# ``utils.py``, hybrid_infolist.
_WHOLE = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27, 32, 38, 39)
_SIDED = (1, 2, 4, 6, 10, 12, 14)

COLUMNS = (*map(au_label, _WHOLE), *(f"{side}-{au_label(n)}" for n in _SIDED for side in "LR"))
"""Labels of the tensor's 41 columns."""


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes a checkpoint, saved from one GPU or several, as a torch module.

    Raises:
        RegistryError: The entry orders the labels otherwise than the checkpoint its columns.
    """
    check_columns(entry, "au-occurrence", COLUMNS)
    role = entry.output(tasks[0]).role
    file, path = the_file(entry, files, role)

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.open_graph_au import OPEN_BACKBONES, OpenGraphAu
        from zoo.models.renaming import renamed

        known = {f"opengraphau-{b}-stage{stage}": (b, stage) for b in OPEN_BACKBONES for stage in (1, 2)}
        if entry.architecture not in known:
            raise RegistryError(
                f"{entry.name}: no structure '{entry.architecture}'", where=entry.where,
                fix="use one of: " + ", ".join(known),
            )  # fmt: skip
        module = OpenGraphAu(*known[entry.architecture], TENSOR)
        # A model that trained on several GPUs was saved inside DataParallel.
        state = {name.removeprefix("module."): value for name, value in read_state_dict(file, path).items()}
        return load_strictly(module, renamed(state, *module.names(), path), path)

    return Graph(torch=build)


FAMILY = Family(graph=graph)
