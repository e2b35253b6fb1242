"""Writes the README's tables from the newest committed records: ``python benchmarks/readme_tables.py [check]``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from zoo.boards import result_table
from zoo.protocols import load_protocol
from zoo.results import read_records

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- table: (\S+) (\S+) -->\n).*?(<!-- end of table -->)", re.S)


def render(text: str) -> str:
    """Returns the README with every marked table drawn again."""
    records = sorted((r for _, r in read_records(ROOT / "leaderboards")), key=lambda r: r.created)

    def table(match: re.Match[str]) -> str:
        found = [r for r in records if (r.model.name, r.protocol.ref) == (match[2], match[3])]
        if not found:
            raise SystemExit(f"no record of {match[2]} on {match[3]} under leaderboards/")
        drawn = result_table(found[-1], load_protocol(match[3]))
        return f"{match[1]}```\n{drawn}\n```\n{match[4]}"

    return BLOCK.sub(table, text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = render(old)
    if sys.argv[1:] == ["check"]:
        raise SystemExit(old != new and "README.md does not show what the records say")
    readme.write_text(new, encoding="utf-8")
