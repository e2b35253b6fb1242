"""Fixtures of the face tests: the networks' files, and a portrait that is free to use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from zoo.faces import _tools
from zoo.weights import locate


@pytest.fixture(scope="session")
def tools_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the networks, filled once."""
    home = tmp_path_factory.mktemp("tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        for file in _tools.FILES:
            locate(file, entry=_tools.ENTRY)
    return home


@pytest.fixture
def tools(tools_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test load the networks."""
    monkeypatch.setenv("ZOO_HOME", str(tools_home))


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """Eileen Collins, NASA, public domain: 512 x 512, the face at x 178..273, y 83..178."""
    pixels = skimage.data.astronaut()
    pixels.setflags(write=False)
    return pixels
