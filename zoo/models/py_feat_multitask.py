"""Family ``py-feat-multitask``: Py-Feat's ``face_multitask_v2.safetensors``, which carries its own configuration.

Outputs: ``au`` (scores in 0..1), ``expression`` (logits), ``affect`` (valence and arousal). The configuration says how
many of each there are; an entry that declares other numbers is refused, and so is a file of the older structures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._util.optional import need
from zoo.errors import ContractError
from zoo.models.base import Family, Files, Graph, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

if TYPE_CHECKING:
    from torch import nn

    from zoo.models.networks.py_feat import Sizes

# Configuration -> what the structure here needs it to be. Source: ModelV2Config.
_FIXED = {"drop_mefl": True, "use_head_v3": True}
_NOT_READ = frozenset({
    "gcn_layers", "drop_path_rate", "pretrained", "emotion_head_dropout", "use_dual_eye_gcn", "mefl_identity_init",
    "mefl_use_layer_scale", "use_head_v2", "emotion_au_prob_detach", "bs_use_mesh", "mesh_normalized", "n_mesh",
})  # fmt: skip
"""Of training, or of parts that this structure has not or does not run."""
_READ = {
    "n_au": "aus", "n_emotion": "expressions", "afg_channels": "width", "knn_k": "neighbours",
    "unified_lmk_dim": "points", "image_size": "side", "emotion_use_au_prob": "from_aus", "n_blendshape": "blendshapes",
}  # fmt: skip
_BACKBONES = frozenset(f"convnextv2_{size}" for size in ("atto", "femto", "pico", "nano", "tiny", "base"))
_LARGEST = 4096
"""Above any number that the publisher's configurations have: a file may not ask for memory without end."""
_DEFAULTS = {"emotion_use_au_prob": False, "n_blendshape": 0, "unified_lmk_dim": 256, "knn_k": 4, "afg_channels": 512}


def read_sizes(path: Path) -> Sizes:
    """Reads the configuration in a file's metadata.

    Raises:
        ContractError: There is none, or it is of a structure that is not built here.
    """
    from zoo.models.networks.py_feat import Sizes

    opener = need("safetensors", f"{path.name} is safetensors").safe_open
    try:
        with opener(path, framework="pt") as file:
            config: dict[str, Any] = json.loads((file.metadata() or {})["config"])
        config = {**_DEFAULTS, **config}
        wrong = {k: config.get(k, False) for k, v in _FIXED.items() if config.get(k, False) != v}
        wrong |= {k: config[k] for k in config.keys() - _FIXED.keys() - _NOT_READ - _READ.keys() - {"backbone"} -
                  {"mefl_channels"}}  # fmt: skip
        if config.get("mefl_channels", config["afg_channels"]) != config["afg_channels"]:
            wrong["mefl_channels"] = config["mefl_channels"]
        backbone = str(config["backbone"]).split(".")[0]
        if backbone not in _BACKBONES:
            wrong["backbone"] = backbone
        wrong |= {k: config[k] for k in _READ if not isinstance(config[k], int) or not 0 <= config[k] <= _LARGEST}
        if wrong:
            raise ValueError("its configuration has " + ", ".join(f"{k}={v}" for k, v in sorted(wrong.items())))
        return Sizes(backbone=backbone, **{ours: config[theirs] for theirs, ours in _READ.items()})
    except Exception as error:  # safetensors raises a class of its Rust part
        why = f"its metadata has no {error}" if isinstance(error, KeyError) else str(error)
        raise ContractError(
            f"{path.name} is not Py-Feat's multi-task network of 2.4 or later", where=str(path), why=why
        ) from None


def _build(entry: ModelEntry, path: Path) -> nn.Module:
    need("torch", f"{entry.name} is a torch structure")
    from zoo.models.checkpoints import load_strictly, read_state_dict
    from zoo.models.networks.py_feat import PyFeatMultitask

    sizes = read_sizes(path)
    declared = {o.task: len(o.labels) for o in entry.outputs}
    found: dict[Task, int] = {"au-occurrence": sizes.aus, "expression": sizes.expressions}
    for task, count in found.items():
        if declared.get(task, count) != count:
            raise ContractError(
                f"{entry.name} declares {declared[task]} labels of {task}, the file's configuration says {count}",
                where=str(path),
            )  # fmt: skip
    return load_strictly(PyFeatMultitask(sizes), read_state_dict(entry.weights[0], path), path)


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the checkpoint as a torch module with all heads."""
    path = the_file(entry, files, entry.output(tasks[0]).role)[1]
    return Graph(torch=lambda: _build(entry, path))


FAMILY = Family(graph=graph)
