"""A structure of one's own, as a package gives it to the zoo: the network, and a ``FAMILY`` that loads it strictly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from zoo.models.base import Family, Files, Graph, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry


class MyNet(nn.Sequential):
    """Four strided convolutions and a linear layer: ``[n, 3, height, width]`` to ``[n, classes]``."""

    def __init__(self, classes: int) -> None:
        widths = (3, 32, 64, 128, 256)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the checkpoint as a torch module."""
    from zoo.models.checkpoints import load_strictly, read_state_dict
    from zoo.models.networks.named import Named

    output = entry.output(tasks[0])
    file, path = the_file(entry, files, output.role)

    def build() -> nn.Module:
        module = load_strictly(MyNet(len(output.labels)), read_state_dict(file, path), path)
        return Named(module.eval(), "logits")

    return Graph(torch=build)


FAMILY = Family(graph=graph)
