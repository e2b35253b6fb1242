"""Shared fixtures: every test has a cache folder of its own and no Hub token."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: how long an example takes is nothing that a test asserts.
settings.register_profile("zoo", deadline=None)
settings.load_profile("zoo")


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from the user's cache, tokens and dataset roots."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("zoo-home")))
    monkeypatch.setenv("HF_TOKEN", "")
    for name in ("ZOO_DISFA_ROOT", "ZOO_RAFDB_ROOT", "ZOO_OFFLINE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return Path(__file__).resolve().parent.parent
