"""Tables of pages that are drawn from a record: between ``<!-- table: name -->`` and ``<!-- end of table -->``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"(<!-- table: ([^>]+) -->\n).*?(<!-- end of table -->)", re.S)


def fill(text: str, draw: Callable[[str], str | None]) -> str:
    """Returns a page's text with the table of every mark drawn anew; ``draw`` returns None for marks of others."""

    def block(match: re.Match[str]) -> str:
        drawn = draw(match[2])
        return match[0] if drawn is None else f"{match[1]}{drawn.rstrip()}\n{match[3]}"

    return _BLOCK.sub(block, text)


def settle(page: Path, text: str, words: list[str]) -> None:
    """Writes a generated page, or says with ``check`` whether it is up to date.

    Raises:
        SystemExit: With ``check``, the page is another.
    """
    if words == ["check"]:
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        raise SystemExit(old != text and f"{os.path.relpath(page, ROOT)} is out of date")
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, encoding="utf-8")


class Drawn(NamedTuple):
    """A page with tables drawn from a record."""

    page: Path
    record: Path
    tables: Callable[[dict[str, Any]], Mapping[str, str]]
    """From the record to the tables by the names of their marks."""

    def render(self) -> str:
        """Returns the page with its tables drawn anew; as it is while there is no record."""
        text = self.page.read_text(encoding="utf-8")
        if not self.record.exists():
            return text
        return fill(text, self.tables(json.loads(self.record.read_text(encoding="utf-8"))).get)

    def main(self, words: list[str], measure: Callable[[], dict[str, Any]] | None = None) -> None:
        """``run`` measures and writes record and page, no word the page alone; ``check`` compares.

        Raises:
            SystemExit: With ``check``, the page is another; or the word is none of these.
        """
        match words:
            case ["run"] if measure:
                self.keep(measure())
            case [] | ["check"]:
                settle(self.page, self.render(), words)
            case _:
                raise SystemExit(
                    f"usage: {'run | ' if measure else ''}check, or no word to draw {self.page.name} again"
                )

    def keep(self, record: dict[str, Any]) -> None:
        """Writes a new record with its date, and the page from it."""
        from zoo.results.environment import timestamp

        self.record.parent.mkdir(exist_ok=True)
        self.record.write_text(json.dumps({"created": timestamp(), **record}, indent=1) + "\n", encoding="utf-8")
        settle(self.page, self.render(), [])
