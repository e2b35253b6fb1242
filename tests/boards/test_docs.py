"""Every command of the page about boards is one that the verbs take."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from zoo.cli import VERBS, parse

PAGE = Path(__file__).parents[2] / "docs" / "reading-boards.md"
COMMANDS = re.findall(r"^python -m (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("line", COMMANDS)
def test_the_verb_takes_it(line: str) -> None:
    module, *given = shlex.split(line, comments=True)
    verb = module.removeprefix("zoo.")
    assert verb in VERBS
    parse(verb, import_module(module).KEYS, given)


def test_the_recommendation_runs_on_the_committed_records(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.recommend import main

    monkeypatch.chdir(repository)
    assert main(["task=expression", "license=commercial"]) == 0
    assert "python -m zoo.fetch model=" in capsys.readouterr().out


def test_titles_of_the_page_are_those_of_the_boards() -> None:
    from zoo.boards.published import GAP_TITLES

    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert [t for t in GAP_TITLES.values() if f"*{t}*" not in text] == []
