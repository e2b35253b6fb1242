"""Examples in docstrings run; the package needs numpy alone."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import zoo.metrics

MODULES = ["zoo.metrics", *(f"zoo.metrics.{m.name}" for m in pkgutil.iter_modules(zoo.metrics.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    if name.rsplit(".", 1)[-1] in ("continuous", "binary", "multiclass", "abaw", "evaluate"):
        assert result.attempted > 0


def test_only_numpy_is_needed() -> None:
    code = (
        "import sys, zoo.metrics.abaw; print(*[m for m in ('scipy', 'sklearn', 'pandas', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
