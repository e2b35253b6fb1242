"""Writes the README's tables from the newest committed records: ``python benchmarks/readme_tables.py [check]``."""

from __future__ import annotations

import sys

from benchmarks.pages import ROOT, fill, settle
from zoo.boards import result_table
from zoo.protocols import load_protocol
from zoo.results import read_records

README = ROOT / "README.md"


def render(text: str) -> str:
    """Returns the README with every marked table drawn again."""
    records = sorted((r for _, r in read_records(ROOT / "leaderboards")), key=lambda r: r.created)

    def table(name: str) -> str:
        model, protocol = name.split()
        found = [r for r in records if (r.model.name, r.protocol.ref) == (model, protocol)]
        if not found:
            raise SystemExit(f"no record of {model} on {protocol} under leaderboards/")
        return f"```\n{result_table(found[-1], load_protocol(protocol))}\n```"

    return fill(text, table)


if __name__ == "__main__":
    settle(README, render(README.read_text(encoding="utf-8")), sys.argv[1:])
