"""Generated pages are in step with what they are generated from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = ["protocols_page.py", "readme_tables.py", "metrics_page.py", "models_page.py", "newcomer.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_generated_pages_are_in_step(repository: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", "check"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_layouts_of_the_verb_are_those_of_the_renderer() -> None:
    from zoo.datasets.synthface import layouts
    from zoo.render import LAYOUTS

    assert set(LAYOUTS) == set(layouts())
