"""Tiny models under the names, tasks, crops and licences of published ones, on a Hub of the test's own."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.models import Builder
from tests.weights.hub_server import HubServer
from zoo._util.files import sha256_of
from zoo.registry.schema import ModelEntry

COMMIT = "5a" * 20
_ELSEWHERE = ("hf:", "https:", "github:", "gdrive:")


def is_elsewhere(entry: ModelEntry) -> bool:
    """Whether a file of the entry comes from a place that tests do not ask: neither a package nor this project."""
    return any(all(s.startswith(_ELSEWHERE) for s in w.sources) for w in entry.weights)


def stand_in(entry: ModelEntry, folder: Path, hub: HubServer) -> dict[str, Any]:
    """Writes a network of one convolution with seeded weights, and puts it on the Hub.

    Returns:
        The entry with its file in place of the published ones; everything else is as published.
    """
    assert entry.preprocess is not None
    b = Builder(zlib.crc32(entry.name.encode()))
    height, width = entry.preprocess.size
    x = b.node("Relu", b.conv("image", entry.preprocess.channels, 8, 3, 2))
    x = b.node("Flatten", b.node("GlobalAveragePool", x), axis=1)
    exits: list[tuple[str, list[int | str]]] = []
    for output in entry.outputs:
        tensor = output.task.replace("-", "_")
        if output.activation == "none":
            b.node("Sigmoid", b.linear(x, 8, len(output.labels), gain=3.0), output=tensor)
        else:
            b.linear(x, 8, len(output.labels), output=tensor, gain=3.0)
        exits.append((tensor, ["n", len(output.labels)]))
    path = folder / f"{entry.name}.onnx"
    b.save(path, ("image", ["n", entry.preprocess.channels, height, width]), exits)
    repo = f"stand-ins/{entry.name}"
    hub.add_file(repo, COMMIT, path.name, path.read_bytes())
    described: dict[str, Any] = entry.model_dump(mode="json", exclude_none=True)
    described["preprocess"]["layout"] = "nchw"
    described["outputs"] = [
        {**o, "role": "model", "tensor": o["task"].replace("-", "_"), "start": 0} for o in described["outputs"]
    ]  # fmt: skip
    described["weights"] = [
        {"name": path.name, "format": "onnx", "sources": [f"hf:{repo}@{COMMIT}:{path.name}"],
         "sha256": sha256_of(path), "size": path.stat().st_size}
    ]  # fmt: skip
    return {**described, "family": "onnx", "status": "unverified"}


def write_registry(entries: Iterable[ModelEntry], folder: Path, hub: HubServer) -> Path:
    """Writes a registry file with a stand-in for each entry."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "stand-ins.yaml"
    models = [stand_in(entry, folder, hub) for entry in entries]
    path.write_text(yaml.safe_dump({"schema_version": 1, "models": models}))
    return path
