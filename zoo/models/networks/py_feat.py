"""Py-Feat's multi-task network (2.4 and later): ConvNeXt V2, an AU graph, and heads on features and a predicted mesh.

Written from the state dict and formulas of cosanlab/py-feat (commit 5d235ef; ``feat/multitask/model_v2.py``,
``heads_v3.py``). Of the tensors in the file, those of gaze, head pose, blendshapes and the losses' weights are loaded
and not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

MESH = 478


@dataclass(frozen=True)
class Sizes:
    """What the checkpoint's own configuration may change.

    Attributes:
        backbone: timm's name.
        aus: AUs.
        expressions: Classes.
        width: Width of the AU graph.
        neighbours: Edges of a node, without its own.
        points: Width of the mesh's features.
        side: Side by which mesh coordinates are divided before the heads, pixels.
        from_aus: The expression head reads the AU probabilities too.
        blendshapes: Coefficients of the blendshape head; 0 where the file has none.
    """

    backbone: str = "convnextv2_tiny"
    aus: int = 20
    expressions: int = 7
    width: int = 512
    neighbours: int = 4
    points: int = 256
    side: float = 224.0
    from_aus: bool = False
    blendshapes: int = 52


class Maps(nn.Module):
    """A map for each AU."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()) for _ in range(aus)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, width, h, w]`` to nodes ``[n, aus, width]``, the maps' means."""
        return torch.stack([head(x).mean((-2, -1)) for head in self.heads], 1)


class Neighbours(nn.Module):
    """One layer over a graph that joins each node to those of the largest cosine with it."""

    def __init__(self, width: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.W, self.W_self = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps nodes ``[n, nodes, width]`` to the same shape."""
        unit = functional.normalize(x, dim=-1)
        cosine = unit @ unit.transpose(1, 2)
        chosen = cosine.topk(self.neighbours + 1, dim=-1).indices
        edges = torch.zeros_like(cosine).scatter(2, chosen, 1.0) * (1 - torch.eye(x.shape[1], device=x.device))
        edges = edges / edges.sum(-1, keepdim=True).clamp_min(1.0)
        return functional.relu(self.W_self(x) + edges @ self.W(x))


class Prototypes(nn.Module):
    """The cosine of each node with its AU's vector."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(aus, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps nodes ``[n, aus, width]`` to ``[n, aus]`` in 0..1."""
        vectors = functional.normalize(functional.relu(self.s), dim=-1)
        return (functional.normalize(functional.relu(x), dim=-1) * vectors).sum(-1).clamp(0.0, 1.0)


class Perceptron(nn.Module):
    """Linear layers with GELU between them, under the name ``mlp``."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, inputs]`` to ``[n, outputs]``."""
        out: torch.Tensor = self.mlp(x)
        return out


class Joined(nn.Module):
    """Normalised features and normalised projected mesh points, side by side."""

    def __init__(self, features: int, points: int) -> None:
        super().__init__()
        self.proj_lmk = nn.Linear(2 * MESH, points)
        self.norm_bb, self.norm_lmk = nn.LayerNorm(features), nn.LayerNorm(points)

    def forward(self, features: torch.Tensor, mesh: torch.Tensor) -> torch.Tensor:
        """Joins ``[n, features]`` and x, y of the points ``[n, 956]``."""
        return torch.cat([self.norm_bb(features), self.norm_lmk(self.proj_lmk(mesh))], -1)


class Blendshapes(Joined):
    """The blendshape head; in the file, not run."""

    def __init__(self, features: int, count: int) -> None:
        super().__init__(features, 256)
        self.mlp = nn.Sequential(nn.Linear(features + 256, 512), nn.GELU(), nn.Linear(512, count))


class Affect(nn.Module):
    """Expression, and valence and arousal."""

    def __init__(self, inputs: int, expressions: int) -> None:
        super().__init__()
        self.cls_head, self.va_head = nn.Linear(inputs, expressions), nn.Linear(inputs, 2)


class PyFeatMultitask(nn.Module):
    """The network.

    Args:
        sizes: What the checkpoint's configuration says.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        from zoo.models._timm import import_timm

        self.sizes = sizes
        self.backbone: nn.Module = import_timm().create_model(
            sizes.backbone, pretrained=False, features_only=True, out_indices=[-1]
        )
        features = int(self.backbone.feature_info.channels()[-1])
        width, aus = sizes.width, sizes.aus
        self.proj = nn.Conv2d(features, width, 1, bias=False) if features != width else nn.Identity()
        self.afg, self.fgg, self.sc = Maps(width, aus), Neighbours(width, sizes.neighbours), Prototypes(width, aus)
        self.lmk, self.pose = Perceptron(width, 1024, 1024, 3 * MESH), Perceptron(width, 256, 256, 6)
        self.blendshape = Blendshapes(width, sizes.blendshapes) if sizes.blendshapes else None
        self.unified = Joined(features, sizes.points)
        joined = features + sizes.points
        self.emotion = Affect(joined + (aus if sizes.from_aus else 0), sizes.expressions)
        self.gaze = nn.ModuleDict({f"{eye}_{axis}": nn.Linear(joined, 1)
                                   for eye in ("left", "right") for axis in ("yaw", "pitch")})  # fmt: skip
        self.log_var_au = nn.Parameter(torch.zeros(aus))
        tasks = ("mesh", "pose", "emotion", "va", "gaze", *(("blendshape",) if sizes.blendshapes else ()))
        for task in tasks:
            self.register_parameter(f"log_var_{task}", nn.Parameter(torch.zeros(())))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to ``au`` in 0..1, ``expression`` logits, ``affect`` in -1..1."""
        features = self.backbone(x)[-1]
        maps = self.proj(features)
        au = self.sc(self.fgg(self.afg(maps)))
        mesh = self.lmk(maps.mean((-2, -1))).reshape(-1, MESH, 3)[:, :, :2].reshape(-1, 2 * MESH)
        joined = self.unified(features.mean((-2, -1)), mesh / self.sizes.side)
        if self.sizes.from_aus:
            joined = torch.cat([joined, au], -1)
        return {"au": au, "expression": self.emotion.cls_head(joined), "affect": self.emotion.va_head(joined).tanh()}
