"""Graphs exported from torch, made once and kept under the cache folder by what they were made from."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import onnx

from zoo._util.files import atomic_path, content_hash, sha256_of, zoo_home
from zoo.models import export, networks
from zoo.models.base import FAMILIES, Files, Graph, load_family
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry


def exported_graph(entry: ModelEntry, files: Files, tasks: Sequence[Task], graph: Graph) -> Path:
    """Returns the ONNX file of an entry whose family gives a torch module, exporting it if it is not in the cache.

    The cache is keyed by the files' bytes, the entry's contract, the tasks, the family's source and the versions of
    the exporter: a graph of other weights is never served. Finding it there loads no torch.

    Args:
        entry: The model.
        files: Its located files in use.
        tasks: Tasks wanted.
        graph: What the family gave; its ``torch`` is called on a miss only.

    Raises:
        DependencyError: The graph is not there, and torch or onnxscript is not installed.
        ContractError: The checkpoint is not the family's, or the exported graph differs from the module.
    """
    source = inspect.getsourcefile(load_family(entry.family).graph)
    key = content_hash({
        "contract": entry.contract_hash,
        "files": {name: sha256_of(path) for name, path in files.items()},
        "tasks": sorted(tasks),
        "family": sha256_of(Path(source)) if source else entry.family,
        "networks": {p.name: sha256_of(p) for p in sorted(_NETWORKS.glob("*.py"))} if entry.family in FAMILIES else {},
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


_NETWORKS = Path(networks.__path__[0])
