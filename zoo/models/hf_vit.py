"""Family ``hf-vit``: Vision Transformers of the Hub, as transformers saves its ``ViTForImageClassification``.

The network is timm's of the same shape, so transformers is not needed. An entry names it by timm
(``vit_base_patch16_224``) and gives the classes in the order of the repository's ``id2label``: repositories whose files
look alike order their classes differently. A weights file of the role ``config`` and the format ``json``, the
repository's ``config.json``, has that order checked whenever the model is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo._util.optional import need
from zoo.errors import ContractError, RegistryError
from zoo.models.base import Family, Files, Graph, output_roles, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    import torch
    from torch import nn

TENSOR = "logits"
"""Name of the one output tensor."""

EPSILON = 1e-12
"""Of every layer normalisation: the default of ``layer_norm_eps``."""

_SPELLINGS = {
    "angry": "anger", "disgusted": "disgust", "fearful": "fear", "scared": "fear", "happy": "happiness",
    "joy": "happiness", "sad": "sadness", "surprised": "surprise",
}  # fmt: skip
"""What repositories call an expression, in lower case -> the project's label."""

_WHOLE = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "vit.layernorm": "norm",
    "classifier": "head",
}
_LAYER = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_PARTS = ("query", "key", "value")


def _names(depth: int) -> dict[str, str]:
    """Published name -> timm's; the three parts of ``attn.qkv`` keep a suffix ``/0`` to ``/2``."""
    pairs = list(_WHOLE.items())
    for i in range(depth):
        theirs, ours = f"vit.encoder.layer.{i}", f"blocks.{i}"
        pairs += [(f"{theirs}.{a}", f"{ours}.{b}") for a, b in _LAYER.items()]
        pairs += [(f"{theirs}.attention.attention.{part}", f"{ours}.attn.qkv/{n}") for n, part in enumerate(_PARTS)]
    found = {}
    for theirs, ours in pairs:
        if theirs.startswith("vit.embeddings.") and "projection" not in theirs:
            found[theirs] = ours
            continue
        stem, _, suffix = ours.partition("/")
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = f"{stem}.{kind}" + (f"/{suffix}" if suffix else "")
    return found


def to_timm(state: Mapping[str, torch.Tensor], depth: int, where: Path) -> dict[str, torch.Tensor]:
    """Renames a checkpoint of transformers to timm's names; queries, keys and values become one matrix.

    Args:
        state: The checkpoint.
        depth: Blocks of the network.
        where: The file, for errors.

    Raises:
        ContractError: A tensor is missing or left over.
    """
    from zoo.models.renaming import renamed

    torch = need("torch", "a checkpoint of the Hub is renamed with torch")
    found = renamed(state, _names(depth), {}, where)
    whole = {name: value for name, value in found.items() if "/" not in name}
    for name in {name.partition("/")[0] for name in found if "/" in name}:
        whole[name] = torch.cat([found[f"{name}/{n}"] for n in range(len(_PARTS))])
    return whole


def _module(entry: ModelEntry, role: str, state: Mapping[str, torch.Tensor], where: Path) -> nn.Module:
    from zoo.models._timm import import_timm
    from zoo.models.checkpoints import load_strictly
    from zoo.models.networks.named import Named

    timm = import_timm()
    if not entry.architecture.startswith("vit_") or not timm.is_model(entry.architecture):
        raise RegistryError(
            f"{entry.name}: timm {timm.__version__} has no Vision Transformer '{entry.architecture}'",
            where=entry.where, fix="name its shape: vit_base_patch16_224, vit_large_patch16_224, ...",
        )  # fmt: skip
    norm = partial(need("torch.nn", "the network's layers").LayerNorm, eps=EPSILON)
    columns = max(o.start + len(o.labels) for o in entry.outputs if o.role == role)
    net = timm.create_model(entry.architecture, pretrained=False, num_classes=columns, norm_layer=norm)
    load_strictly(net, to_timm(state, len(net.blocks), where), where)
    return Named(net, TENSOR).eval()


def check_order(entry: ModelEntry, path: Path) -> None:
    """Holds the classes of a repository's ``config.json`` against the entry's labels.

    Raises:
        ContractError: No such file, a class that is no expression here, or another order than the entry's.
    """
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["id2label"]
        order = [str(named[str(i)]).strip().lower() for i in range(len(named))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ContractError(f"{path.name} names no classes", where=str(path), why=why) from None
    found = tuple(_SPELLINGS.get(name, name) for name in order)
    labels = entry.output("expression").labels
    if found != labels:
        raise ContractError(
            f"{entry.name}: the repository orders its classes otherwise than the entry", where=str(path),
            why=f"id2label: {', '.join(found)}; labels: {', '.join(labels)}",
            fix="give 'labels' in the order of id2label, or the config.json that belongs to the checkpoint",
        )  # fmt: skip


def roles(entry: ModelEntry, tasks: Sequence[Task]) -> set[str]:
    """Returns the checkpoint's role, and ``config`` where the entry has a ``config.json``."""
    return output_roles(entry, tasks) | {w.role for w in entry.weights if w.role == "config"}


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes a checkpoint as a torch module; its order of classes is checked where the entry has a config file.

    Raises:
        ContractError: As :func:`check_order`.
    """
    from zoo.models.checkpoints import read_state_dict

    role = entry.output(tasks[0]).role
    if any(w.role == "config" for w in entry.weights):
        check_order(entry, the_file(entry, files, "config")[1])
    file, path = the_file(entry, files, role)
    return Graph(torch=lambda: _module(entry, role, read_state_dict(file, path), path))


FAMILY = Family(graph=graph, roles=roles)
