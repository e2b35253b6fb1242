"""OpenGraphAU: 27 AUs and 14 of one side of the face, ME-GraphAU trained on several data sets together.

Written from the state dicts and formulas of lingjivoo/OpenGraphAU (commit a0ad10d; ``model/ANFL.py``, the first stage,
and ``MEFL.py``, the second) and, for the masked autoencoder, of CVI-SZU/ME-GraphAU (commit dda53cb;
``OpenGraphAU/model/modeling_pretrain.py``). It differs from ME-GraphAU in its second graph, which adds to a node what
is left after the ReLU, and in the outputs for one side, which read the node of their AU.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from zoo.models.networks.graph_au import (
    BACKBONES,
    EdgeFeatures,
    GraphNetwork,
    LinearBlock,
    NearestGraph,
    gated_round,
    similarity,
    timm_backbone,
)

MAE = "mae-vit"
OPEN_BACKBONES = (*BACKBONES, MAE)

AUS = 27
SIDED = (0, 0, 1, 1, 2, 2, 4, 4, 7, 7, 8, 8, 11, 11)
"""Node that each output for one side reads, left then right: AU 1, 2, 4, 6, 10, 11 (sic, for L12 and R12) and 14."""

NEIGHBOURS = 4
"""Edges of a node in the first stage (``config/hybrid_config.yaml``)."""


class PairLayer(nn.Module):
    """A round of messages over all pairs of nodes."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        self.U, self.V, self.A, self.B, self.E = (nn.Linear(width, width, bias=False) for _ in range(5))
        self.bnv, self.bne = nn.BatchNorm1d(aus), nn.BatchNorm1d(aus * aus)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps nodes ``[n, aus, width]`` and edges ``[n, aus * aus, width]`` to the same shapes."""
        change, edges = gated_round(x, edges, self.U, self.V, self.A, self.B, self.E, self.bnv, self.bne)
        return x + functional.relu(change), edges


class PairGraph(nn.Module):
    """Two rounds of messages."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        self.graph_layers = nn.ModuleList(PairLayer(width, aus) for _ in range(2))

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """Maps nodes ``[n, aus, width]`` and edges ``[n, aus * aus, width]`` to nodes."""
        for layer in self.graph_layers:
            x, edges = layer(x, edges)
        return x


class OpenHead(nn.Module):
    """The head of either stage on tokens.

    Args:
        width: Width of a token.
        stage: 1 or 2.
    """

    def __init__(self, width: int, stage: int) -> None:
        super().__init__()
        self.main_class_linears = nn.ModuleList(LinearBlock(width, width) for _ in range(AUS))
        self.edge_extractor = EdgeFeatures(width, AUS) if stage == 2 else None
        self.gnn = PairGraph(width, AUS) if stage == 2 else NearestGraph(width, AUS, NEIGHBOURS)
        self.main_sc, self.sub_sc = nn.Parameter(torch.zeros(AUS, width)), nn.Parameter(torch.zeros(len(SIDED), width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens ``[n, tokens, width]`` to cosines ``[n, 41]`` in 0..1."""
        maps = torch.stack([layer(x) for layer in self.main_class_linears], 1)
        nodes = maps.mean(2)
        nodes = self.gnn(nodes) if self.edge_extractor is None else self.gnn(nodes, self.edge_extractor(maps, x))
        return similarity(torch.cat([nodes, nodes[:, list(SIDED)]], 1), torch.cat([self.main_sc, self.sub_sc]))


class OpenGraphAu(GraphNetwork):
    """OpenGraphAU after its first or second stage.

    Args:
        backbone: One of :data:`OPEN_BACKBONES`.
        stage: 1 or 2.
        name: Name of the output.
    """

    def __init__(self, backbone: str, stage: int, name: str) -> None:
        if backbone == MAE:
            # The same encoder as LibreFace's: both take it from one public implementation of masked autoencoders.
            from zoo.models.networks.libreface_transformers import WIDTH, Encoder

            net: nn.Module = nn.Sequential(OrderedDict(encoder=Encoder()))
            width, narrow = WIDTH, WIDTH // 2
        else:
            net, width, narrow = timm_backbone(backbone)
        super().__init__(net, backbone.startswith("swin"), LinearBlock(width, narrow), OpenHead(narrow, stage), name)
