"""AU relation graphs: ME-GraphAU (Luo et al. 2022, arXiv:2205.01782), and its first stage as OpenFace 3.0 uses it.

Written from the state dicts and formulas of CVI-SZU/ME-GraphAU (commit dda53cb; ``model/MEFL.py``, ``ANFL.py``,
``graph_edge_model.py``) and CMU-MultiComp-Lab/OpenFace-3.0 (commit 662a555; ``model/MLT.py``, ``AU_model.py``).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from zoo.models.networks.microsoft_swin import microsoft_names

BACKBONES = {
    "resnet18": ("resnet18", 4), "resnet50": ("resnet50", 4), "resnet101": ("resnet101", 4),
    "swin-t": ("swin_tiny_patch4_window7_224", 2), "swin-s": ("swin_small_patch4_window7_224", 2),
    "swin-b": ("swin_base_patch4_window7_224", 2),
}  # fmt: skip
"""Name -> timm's, and by what the head's width is smaller than the backbone's."""


def similarity(nodes: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Returns the cosine between each node ``[n, aus, width]`` and its AU's vector ``[aus, width]``, cut at 0."""
    centres = functional.normalize(functional.relu(centres), dim=-1)
    return (functional.normalize(nodes, dim=-1) * centres).sum(-1)


class NearestGraph(nn.Module):
    """One layer over a graph that joins each node to those whose product with it is largest.

    Args:
        width: Width of a node.
        nodes: Nodes.
        neighbours: Edges of a node, its own included.
    """

    def __init__(self, width: int, nodes: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.U, self.V = nn.Linear(width, width), nn.Linear(width, width)
        self.bnv = nn.BatchNorm1d(nodes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps nodes ``[n, nodes, width]`` to the same shape."""
        product = x @ x.transpose(1, 2)
        least = product.topk(self.neighbours, dim=-1).values[:, :, -1:]
        edges = (product >= least).to(x.dtype)
        scale = edges.sum(-1).rsqrt()
        edges = scale[:, :, None] * edges * scale[:, None, :]
        return functional.relu(x + self.bnv(edges @ self.V(x) + self.U(x)))


class VectorHead(nn.Module):
    """The first stage's head on one vector a picture.

    Args:
        width: Width of the vector.
        aus: AUs.
        neighbours: Edges of a node.
    """

    def __init__(self, width: int, aus: int, neighbours: int) -> None:
        super().__init__()
        self.class_linears = nn.ModuleList(nn.Linear(width, width) for _ in range(aus))
        self.gnn = NearestGraph(width, aus, neighbours)
        self.sc = nn.Parameter(torch.zeros(aus, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, width]`` to cosines ``[n, aus]`` in 0..1."""
        nodes = torch.stack([layer(x) for layer in self.class_linears], 1)
        return similarity(self.gnn(nodes), self.sc)


class OpenFace3(nn.Module):
    """OpenFace 3.0's multi-task network: EfficientNet-B0, and a branch each for expression, gaze and AUs.

    Args:
        expressions: Classes.
        aus: AUs.
    """

    def __init__(self, expressions: int = 8, aus: int = 8) -> None:
        super().__init__()
        from zoo.models._timm import import_timm

        net: nn.Module = import_timm().create_model("tf_efficientnet_b0", pretrained=False, num_classes=0)
        self.base_model = net
        width = 1280
        self.fc_emotion, self.fc_gaze, self.fc_au = (nn.Linear(width, width) for _ in range(3))
        self.emotion_classifier = nn.Linear(width, expressions)
        self.gaze_regressor = nn.Linear(width, 2)  # in the checkpoint; gaze is no task here
        self.au_regressor = VectorHead(width, aus, neighbours=4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to ``expression`` logits and ``au`` cosines."""
        feature = self.base_model(x)
        return {
            "expression": self.emotion_classifier(functional.relu(self.fc_emotion(feature))),
            "au": self.au_regressor(functional.relu(self.fc_au(feature))),
        }


class LinearBlock(nn.Module):
    """A linear layer on tokens, batch normalisation over its columns, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, tokens, inputs]`` to ``[n, tokens, outputs]``."""
        return functional.relu(self.bn(self.fc(x).transpose(1, 2))).transpose(1, 2)


class CrossAttention(nn.Module):
    """Attention of one set of tokens to another, without a projection behind it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_q, self.linear_k = nn.Linear(width, width // 2), nn.Linear(width, width // 2)
        self.linear_v = nn.Linear(width, width)

    def forward(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens ``y`` that ask and ``x`` that answer, both ``[..., tokens, width]``."""
        return functional.scaled_dot_product_attention(self.linear_q(y), self.linear_k(x), self.linear_v(x))


class EdgeFeatures(nn.Module):
    """Features of each ordered pair of AUs, from their maps."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        self.FAM, self.ARM = CrossAttention(width), CrossAttention(width)
        self.edge_proj = nn.Linear(width, width)
        self.bn = nn.BatchNorm2d(aus * aus)

    def forward(self, maps: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, aus, tokens, width]`` and ``[n, tokens, width]`` to ``[n, aus * aus, width]``."""
        n, aus, tokens, width = maps.shape
        own = self.FAM(maps, whole[:, None].expand(-1, aus, -1, -1))
        start = own[:, None].expand(-1, aus, -1, -1, -1).reshape(n, aus * aus, tokens, width)
        end = own[:, :, None].expand(-1, -1, aus, -1, -1).reshape(n, aus * aus, tokens, width)
        edges: torch.Tensor = self.bn(self.edge_proj(self.ARM(start, end)))
        return edges.mean(2)


def gated_round(x: torch.Tensor, edges: torch.Tensor, *layers: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Passes messages once over all ordered pairs of nodes (Bresson and Laurent 2017, arXiv:1711.07553).

    Args:
        x: Nodes ``[n, aus, width]``.
        edges: Features of the pairs ``[n, aus * aus, width]``.
        layers: The matrices U, V, A, B and E, and the normalisations of nodes and of edges.

    Returns:
        What the nodes change by, before any ReLU, and the edges afterwards.
    """
    u, v, a, b, e, bnv, bne = layers
    n, aus, width = x.shape
    ends = (a(x)[:, :, None] + b(x)[:, None]).reshape(n, aus * aus, width)
    edges = edges + functional.relu(bne(ends + e(edges)))
    gates = edges.sigmoid().reshape(n, aus, aus, width).softmax(2)
    return bnv(u(x) + (gates * v(x)[:, None]).sum(2) / aus), edges


class GatedGraph(nn.Module):
    """Two rounds of :func:`gated_round`, each added to the nodes before the ReLU."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        for layer in (1, 2):
            for name in "UVABE":
                self.add_module(f"{name}{layer}", nn.Linear(width, width, bias=False))
            self.add_module(f"bnv{layer}", nn.BatchNorm1d(aus))
            self.add_module(f"bne{layer}", nn.BatchNorm1d(aus * aus))

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """Maps nodes ``[n, aus, width]`` and edges ``[n, aus * aus, width]`` to nodes."""
        for layer in (1, 2):
            names = (f"{name}{layer}" for name in ("U", "V", "A", "B", "E", "bnv", "bne"))
            change, edges = gated_round(x, edges, *map(self.get_submodule, names))
            x = functional.relu(x + change)
        return x


class EdgeHead(nn.Module):
    """The second stage's head on tokens."""

    def __init__(self, width: int, aus: int) -> None:
        super().__init__()
        self.class_linears = nn.ModuleList(LinearBlock(width, width) for _ in range(aus))
        self.edge_extractor = EdgeFeatures(width, aus)
        self.gnn = GatedGraph(width, aus)
        self.sc = nn.Parameter(torch.zeros(aus, width))
        self.edge_fc = nn.Linear(width, 4)  # tells pairs of AUs apart in training; not run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens ``[n, tokens, width]`` to cosines ``[n, aus]`` in 0..1."""
        maps = torch.stack([layer(x) for layer in self.class_linears], 1)
        return similarity(self.gnn(maps.mean(2), self.edge_extractor(maps, x)), self.sc)


def timm_backbone(name: str) -> tuple[nn.Module, int, int]:
    """Returns a network of :data:`BACKBONES` without its classifier, its width, and the width of the head."""
    from zoo.models._timm import import_timm

    timm_name, narrower = BACKBONES[name]
    net = import_timm().create_model(timm_name, pretrained=False, num_classes=0, global_pool="")
    width = int(net.num_features)
    return net, width, width // narrower


class GraphNetwork(nn.Module):
    """A backbone, its tokens through one layer, and a head with a graph of AUs.

    Args:
        backbone: Maps pictures to tokens ``[n, tokens, width]``, or to a map: ``[n, width, 7, 7]`` of a ResNet,
            ``[n, 7, 7, width]`` of Swin.
        swin: Whether it is Swin.
        narrow: Maps ``width`` to the head's.
        head: Maps tokens to values ``[n, aus]``.
        name: Name of the output.
    """

    def __init__(self, backbone: nn.Module, swin: bool, narrow: nn.Module, head: nn.Module, name: str) -> None:
        super().__init__()
        self.name, self.swin = name, swin
        self.backbone, self.global_linear, self.head = backbone, narrow, head

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to cosines ``[n, aus]``."""
        feature = self.backbone(x)
        if feature.ndim == 4:
            feature = feature.flatten(1, 2) if self.swin else feature.flatten(2).transpose(1, 2)
        return {self.name: self.head(self.global_linear(feature))}

    def names(self) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
        """Returns what :func:`zoo.models.renaming.renamed` needs: a Swin backbone has Microsoft's names."""
        if self.swin:
            return microsoft_names(self, "backbone")
        return {name: name for name in self.state_dict()}, {}


class MeGraphAu(GraphNetwork):
    """ME-GraphAU after its second stage.

    Args:
        backbone: A key of :data:`BACKBONES`.
        name: Name of the output.
        aus: AUs.
    """

    def __init__(self, backbone: str, name: str, aus: int) -> None:
        net, width, narrow = timm_backbone(backbone)
        super().__init__(net, backbone.startswith("swin"), LinearBlock(width, narrow), EdgeHead(narrow, aus), name)
