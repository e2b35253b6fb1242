"""Family ``emonet``: EmoNet's checkpoints with 5 or 8 classes, valence and arousal."""

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
    """Describes the checkpoint, saved from one GPU or several, as a torch module with the output ``emotion``."""
    role = entry.output(tasks[0]).role
    file, path = the_file(entry, files, role)

    def build() -> nn.Module:
        need("torch", f"{entry.name} is a torch structure")
        from zoo.models.checkpoints import load_strictly, read_state_dict
        from zoo.models.networks.emonet import EmoNet

        # A model that trained on several GPUs was saved inside DataParallel.
        state = {name.removeprefix("module."): value for name, value in read_state_dict(file, path).items()}
        return load_strictly(EmoNet(len(entry.output("expression").labels)), state, path)

    return Graph(torch=build)


FAMILY = Family(graph=graph)
