"""The workflows: commands that the verbs take, pinned actions, no right that is not needed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.cli import VERBS, parse

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def workflow(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


def test_there_are_workflows() -> None:
    assert {p.stem for p in FILES} == {"tests", "leaderboards", "leaderboards-comment"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_rights_are_few_and_actions_pinned(path: Path) -> None:
    text = workflow(path)
    assert set(text["permissions"].values()) <= {"read"}  # more is given to single jobs
    for name, job in text["jobs"].items():
        assert "timeout-minutes" in job, name
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]), step["uses"]


def test_what_may_write_runs_nothing_of_a_pull_request() -> None:
    rights = {
        (path.stem, name): job["permissions"]
        for path in FILES
        for name, job in workflow(path)["jobs"].items()
        if "write" in job.get("permissions", {}).values()
    }
    assert set(rights) == {("leaderboards", "redraw"), ("leaderboards-comment", "comment")}
    assert workflow(FOLDER / "leaderboards.yml")["jobs"]["redraw"]["if"] == "github.event_name == 'push'"
    comment = list(steps(FOLDER / "leaderboards-comment.yml"))
    assert not any("checkout" in s.get("uses", "") or "python" in s.get("run", "") for s in comment)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_values_from_outside_reach_no_shell_as_text(path: Path) -> None:
    for step in steps(path):
        assert "${{" not in step.get("run", ""), step


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_verbs_take_their_commands(path: Path) -> None:
    for step in steps(path):
        for module, words in re.findall(r"python -m (zoo\.\w+)([^\n>]*)", step.get("run", "")):
            verb = module.removeprefix("zoo.")
            assert verb in VERBS
            parse(verb, import_module(module).KEYS, shlex.split(words))


def test_the_browser_is_not_skipped() -> None:
    assert any(s.get("env", {}).get("ZOO_TEST_BROWSER") == "required" for s in steps(FOLDER / "tests.yml"))


def test_each_week_every_record_on_rendered_faces_is_measured_again() -> None:
    text = workflow(FOLDER / "leaderboards.yml")
    assert text[True]["schedule"]  # YAML 1.1 reads the key "on" as true
    commands = " ".join(s.get("run", "") for s in text["jobs"]["again"]["steps"])
    results = FOLDER.parents[1] / "leaderboards" / "results"
    models = {p.parent.name for p in results.glob("*/synthface-*")}
    assert models
    assert models <= set(re.findall(r"zoo\.eval model=(\S+)", commands))
    assert "python -m zoo.check records=again against=leaderboards" in commands
