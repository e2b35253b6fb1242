"""Fixtures of the weights tests: a server, files to serve, and a client that does not dawdle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.weights.hub_server import HubServer
from zoo.registry.schema import WeightFile
from zoo.weights import http

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server that HF_ENDPOINT points to."""
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("ZOO_HUB_MIRROR", raising=False)
        monkeypatch.setattr("zoo.weights.sources.GITHUB_RAW", f"{server.url}/raw")
        monkeypatch.setattr("zoo.weights.sources.GITHUB_MEDIA", f"{server.url}/media")
        monkeypatch.setattr("zoo.weights.sources.DRIVE", f"{server.url}/drive")
        monkeypatch.setattr(http, "BACKOFF_S", 0.001)
        yield server


@pytest.fixture
def weights() -> bytes:
    """A third of a megabyte that looks like an ONNX file and is not compressible away."""
    noise = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(10_000))
    return b"\x08\x08\x12\x07pytorch" + noise


@pytest.fixture
def file_of() -> Callable[..., WeightFile]:
    """Makes the registry's description of some bytes."""

    def make(data: bytes, *sources: str, **more: Any) -> WeightFile:
        described = {
            "name": "model.onnx",
            "format": "onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        return WeightFile(**{**described, "sources": sources, **more})

    return make
