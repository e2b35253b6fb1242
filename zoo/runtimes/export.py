"""Graphs exported from torch, made once and kept under the cache folder by what they were made from."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import onnx

from zoo import models
from zoo._util.files import atomic_path, content_hash, sha256_of, zoo_home
from zoo.models import export
from zoo.models.base import FAMILIES, Files, Graph, load_family
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry


@cache
def model_code(family: str) -> dict[str, str]:
    """Returns the sha256 of the source files that decide what a family's network computes, by name.

    All of :mod:`zoo.models` is among them, because families share helpers; a plug-in's family adds its own module.
    """
    found = {path.relative_to(_MODELS).as_posix(): sha256_of(path) for path in sorted(_MODELS.rglob("*.py"))}
    if family not in FAMILIES and (source := inspect.getsourcefile(load_family(family).graph)):
        found[family] = sha256_of(Path(source))
    return found


def exported_graph(entry: ModelEntry, files: Files, tasks: Sequence[Task], graph: Graph) -> Path:
    """Returns the ONNX file of an entry whose family gives a torch module, exporting it if it is not in the cache.

    The cache is keyed by the files' bytes, the entry's contract, the tasks, the models' source and the versions of the
    exporter: a graph of other weights is never served. Finding it there loads no torch.

    Args:
        entry: The model.
        files: Its located files in use.
        tasks: Tasks wanted.
        graph: What the family gave; its ``torch`` is called on a miss only.

    Raises:
        DependencyError: The graph is not there, and torch or onnxscript is not installed.
        ContractError: The checkpoint is not the family's, or the exported graph differs from the module.
    """
    key = content_hash({
        "contract": entry.contract_hash,
        "files": {name: sha256_of(path) for name, path in files.items()},
        "tasks": sorted(tasks),
        "code": model_code(entry.family),
        "opset": export.OPSET,
        "versions": {d.name: d.version for n in ("torch", "timm", "onnxscript") for d in distributions(name=n)},
    }, 32)  # fmt: skip
    path = zoo_home() / "exports" / f"{entry.name}-{key}.onnx"
    if not path.exists():
        assert graph.torch is not None and entry.preprocess is not None
        model = export.to_onnx(graph.torch(), (entry.preprocess.channels, *entry.preprocess.size))
        with atomic_path(path) as temporary:
            onnx.save(model, temporary)
    return path


_MODELS = Path(models.__path__[0])
