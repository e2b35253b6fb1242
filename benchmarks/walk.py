"""Writes the outputs into ``docs/choosing-a-model.md``: ``python benchmarks/walk.py``.

Runs the commands of the page in an empty folder, in order, as a newcomer would, and writes what they print between the
page's markers. The commands of the model that is recommended are taken from the recommendation, word for word. Run it
again when records have come in; it downloads what it does not have, and times nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "choosing-a-model.md"
BLOCK = re.compile(r"(<!-- (run: .+?|recommended) -->\n).*?(<!-- end -->)", re.S)
COMMAND = re.compile(r"^\$ (.+)$", re.M)
WITHOUT_LIMIT = "python -m zoo.recommend task=expression status=verified license=commercial"
"""Asked while nothing has been timed, so that no limit on the time can be kept."""


def run(command: str, folder: Path, *, may_fail: bool = False) -> str:
    """Runs a command of the page; returns it with what it prints, errors and advice too.

    Raises:
        SystemExit: It failed.
    """
    words = shlex.split(command, comments=True)
    words[0] = sys.executable if words[0] == "python" else words[0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(
        words, cwd=folder, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode and not may_fail:
        raise SystemExit(f"{command}\n{done.stdout}\nexit status {done.returncode}")
    # A bar of progress writes its line again and again: what stands at last counts. Paths of this machine do not.
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in done.stdout.splitlines()]
    text = "\n".join(line for line in lines if "it/s" not in line and "%|" not in line)
    return f"$ {command}\n{text.replace(str(folder), '.').replace(str(Path.home()), '~')}".rstrip()


def recommended(output: str) -> list[str]:
    """Returns the commands that a recommendation ends with; not the one that times the model, which takes minutes."""
    after = output.partition("\nTake ")[2].splitlines()
    commands = [line.strip() for line in after if line.startswith("  python -m zoo.")]
    return [c for c in commands if "zoo.bench" not in c]


def render(text: str) -> str:
    """Returns the page with every marked block written again."""
    with tempfile.TemporaryDirectory() as name:
        folder, last = Path(name), ""

        def block(match: re.Match[str]) -> str:
            nonlocal last
            if match[2] == "recommended":
                parts, before = [], ""
                if not recommended(last):
                    before = "Nothing that fits has been timed yet: the limit on the time is left out.\n\n"
                    last = run(WITHOUT_LIMIT, folder)
                    parts.append(last)
                commands = recommended(last)
                if not commands:
                    raise SystemExit(f"no model is recommended:\n{last}")
                parts += [run(c, folder) for c in commands]
                files = [f for p in parts for f in re.findall(r"^(\S+\.csv)$", p, re.M)]
                body = "\n\n".join([*parts, *(run(f"cat {f}", folder) for f in files)])
                return f"{match[1]}{before}```console\n{body}\n```\n{match[3]}"
            command = match[2].removeprefix("run: ")
            last = run(command, folder, may_fail="zoo.recommend" in command)
            return f"{match[1]}```console\n{last}\n```\n{match[3]}"

        return BLOCK.sub(block, text)


if __name__ == "__main__":
    started = time.monotonic()
    old = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(render(old), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(COMMAND.findall(PAGE.read_text()))} commands, "
          f"{time.monotonic() - started:.0f} s")  # fmt: skip
