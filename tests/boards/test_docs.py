"""Every command of the pages is one that the verbs take; those of the walk are run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from zoo.cli import VERBS, parse

ROOT = Path(__file__).parents[2]
WALK = ROOT / "docs" / "choosing-a-model.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name != "models.md"),
]
# In blocks a line, in sentences what stands between backquotes.
COMMAND = re.compile(r"python -m (zoo\.\w+)((?:[ ]+[^\s`]+)*)")


def commands(page: Path) -> list[tuple[str, str]]:
    return [(m[1], m[2]) for m in COMMAND.finditer(page.read_text(encoding="utf-8"))]


def test_there_are_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 40
    assert len(commands(ROOT / "docs" / "reading-boards.md")) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_verbs_take_them(page: Path) -> None:
    for module, words in commands(page):
        verb = module.removeprefix("zoo.")
        assert verb in VERBS, module
        keys = import_module(module).KEYS
        given = [w.rstrip(".,;)") for w in words.split("#")[0].split() if re.match(r"[a-z_]+=", w)]
        named = {w.partition("=")[0] for w in given}
        assert named <= {k.name for k in keys}, f"{page.name}: {module}{words}"
        # Sentences name some of the keys, and leave to the reader what stands in pointed brackets.
        whole = all(k.name in named for k in keys if k.required)
        if whole and not any("<" in w or w.endswith("=") or "…" in w for w in given):
            parse(verb, keys, given)


@pytest.mark.package
def test_every_command_of_the_walk_runs(tmp_path: Path) -> None:
    lines = re.findall(r"^\$ (.+)$", WALK.read_text(encoding="utf-8"), re.M)
    assert {"zoo.recommend", "zoo.fetch", "zoo.predict"} <= {w for line in lines for w in line.split()}
    for line in lines:
        words = shlex.split(line)
        words[0] = sys.executable if words[0] == "python" else words[0]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        # A recommendation without a model that fits says so, and that is its answer.
        assert done.returncode == 0 or "no model meets these constraints" in done.stderr, (line, done.stderr)
    (answers,) = tmp_path.glob("zoo-predictions/*.csv")
    assert ",happiness," in answers.read_text()  # she smiles
    assert len(list(tmp_path.glob("zoo-predictions/*.png"))) == 1


def test_the_walk_shows_the_commands_that_are_recommended() -> None:
    text = WALK.read_text(encoding="utf-8")
    block = text.rpartition("\nTake ")[2].split("\n\n")[0]
    shown = re.findall(r"^\$ (.+)$", text, re.M)
    recommended = [x.strip() for x in block.splitlines() if x.startswith("  python") and "zoo.bench" not in x]
    assert recommended and set(recommended) <= set(shown)


def test_the_recommendation_runs_on_the_committed_records(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.recommend import main

    monkeypatch.chdir(repository)
    assert main(["task=expression", "license=commercial"]) == 0
    assert "python -m zoo.fetch model=" in capsys.readouterr().out


def test_titles_of_the_page_are_those_of_the_boards() -> None:
    from zoo.boards.published import GAP_TITLES

    text = " ".join((ROOT / "docs" / "reading-boards.md").read_text(encoding="utf-8").split())
    assert [t for t in GAP_TITLES.values() if f"*{t}*" not in text] == []
