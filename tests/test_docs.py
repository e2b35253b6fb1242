"""Generated pages are in step with what they are generated from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pages import Drawn

SCRIPTS = ["protocols_page.py", "readme_tables.py", "metrics_page.py", "models_page.py", "newcomer.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_generated_pages_are_in_step(repository: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", "check"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_table_is_drawn_between_its_marks_and_check_says_where_it_is_another(tmp_path: Path) -> None:
    text = "a\n<!-- table: one -->\nold\n<!-- end of table -->\nb\n<!-- table: two -->\nkept\n<!-- end of table -->\n"
    page = Drawn(tmp_path / "page.md", tmp_path / "results" / "record.json", lambda record: {"one": record["drawn"]})
    page.page.write_text(text)
    with pytest.raises(SystemExit) as up_to_date:  # nothing is measured yet
        page.main(["check"])
    assert not up_to_date.value.code
    page.main(["run"], lambda: {"drawn": "new\n"})
    assert page.page.read_text() == text.replace("old", "new")
    page.record.write_text(json.dumps({"drawn": "newer"}))
    with pytest.raises(SystemExit, match=r"page\.md is out of date"):
        page.main(["check"])
    assert "newer" not in page.page.read_text()
    page.main([])
    assert page.page.read_text() == text.replace("old", "newer")
    with pytest.raises(SystemExit, match="usage"):
        page.main(["run"])


def test_layouts_of_the_verb_are_those_of_the_renderer() -> None:
    from zoo.datasets.synthface import layouts
    from zoo.render import LAYOUTS

    assert set(LAYOUTS) == set(layouts())
