"""Measuring processes import the fakes, wherever the tests are started from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.latency.processes import Worker


@pytest.fixture
def start(repository: Path) -> Callable[[int], Worker]:
    """Starts a measuring process that can import the tests."""
    return lambda threads: Worker(threads, {"PYTHONPATH": str(repository)})
