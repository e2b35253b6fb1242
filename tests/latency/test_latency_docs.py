"""The page about latency: its commands are ones that the verbs take, its limits those of the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from zoo.cli import VERBS, parse
from zoo.latency.parity import GOLDEN, ParityLimits
from zoo.latency.verdict import Limits

PAGE = Path(__file__).parents[2] / "docs" / "latency.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ +python -m (.+)$", TEXT, re.MULTILINE)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("line", COMMANDS)
def test_the_verb_takes_it(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, *given = shlex.split(line)
    verb = module.removeprefix("zoo.")
    assert verb in VERBS
    parse(verb, import_module(module).KEYS, given)
    if verb == "bench":  # names of suites and models, too
        assert import_module(module).main([g for g in given if g != "plan=true"] + ["plan=true"]) == 0
        assert capsys.readouterr().out


def test_limits_of_the_page_are_those_of_the_code() -> None:
    limits, allowed = ParityLimits(), Limits()
    rows = {r.split("|")[1].strip(): [c.strip() for c in r.split("|")[2:-1]] for r in TEXT.splitlines() if r[:1] == "|"}
    order = ("fp32", "bf16", "fp16", "int8")
    relative = [f"{limits.relative.of(p):g}" for p in order]
    assert rows["largest difference over the largest output"] == relative
    shares = [f"{100 * limits.decisions.of(p):g} %" for p in order]
    assert rows["equal decisions (expression, AU above its threshold)"] == shares
    assert set(rows["change by the order of the images"]) == {f"{limits.order:g}"}
    assert f"runs {GOLDEN} rendered faces" in TEXT
    assert f"more than {100 * allowed.drift:g} % and beyond" in TEXT and f"±{100 * allowed.width:g} %" in TEXT
    assert allowed.disturbed == 0.5


def test_the_table_is_in_step(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/overhead.py", "check"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
