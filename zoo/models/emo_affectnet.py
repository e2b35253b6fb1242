"""Family ``emo-affectnet``: the state dict of EMO-AffectNet's ResNet-50, ``FER_static_ResNet50_AffectNet.pt``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.models.base import Family, Files, Graph, check_columns, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

TENSOR = "expression"
"""Name of the one output tensor."""

COLUMNS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
"""Labels of its columns (``run.py`` of ElenaRyumina/EMO-AffectNetModel)."""

_COUNTER = "num_batches_tracked"


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the checkpoint as a torch module.

    Raises:
        RegistryError: The entry orders the classes otherwise than the checkpoint its columns.
    """
    check_columns(entry, "expression", COLUMNS)
    role = entry.output(tasks[0]).role
    file, path = the_file(entry, files, role)

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.emo_affectnet import EmoAffectNet

        module = EmoAffectNet(TENSOR, len(COLUMNS))
        state = read_state_dict(file, path)
        if not any(name.endswith(_COUNTER) for name in state):
            # Translated from Keras, which counts no batches; inference does not read the counters.
            state |= {name: value for name, value in module.state_dict().items() if name.endswith(_COUNTER)}
        return load_strictly(module, state, path)

    return Graph(torch=build)


FAMILY = Family(graph=graph)
