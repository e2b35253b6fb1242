"""The commands of the pages, in the order in which a reader meets them, with what the page shows as their output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_PROGRAM = r"(?:\S*/)?(?:python3?|pip|zoo|make|git|docker|export|cat|sha256sum) \S"
_VALUE = r"(?:<[^>]*>|[^\s`|<>])+"
_ONE_OF = ("zoo.check", "zoo.score")  # they need one of several keys
_IN_PROSE = re.compile(
    r"`(?P<span>[^`]+)`"
    r"|^ {4}(?P<block>python .+)$"
    rf"|(?P<plain>python (?:-m zoo\.\w+|benchmarks/\w+\.py)(?:\s+[a-z_]+={_VALUE})*)",
    re.M,
)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        text: As it stands on the page, without its comment.
        page: The first page that has it.
        shown: What the page shows as its output; empty where it shows none.
    """

    text: str
    page: str
    shown: str = ""


def _plain(text: str) -> str:
    """Leaves out the prompt, the comment and the place of the environment."""
    text = " ".join(re.sub(r"\s+#\s.*$", "", text.strip().removeprefix("$ ")).split())
    text = re.sub(r"^\.venv/bin/python -m zoo\.", "python -m zoo.", text)
    return re.sub(r"^zoo\.(?=\w+ \w+=)", "python -m zoo.", text)


def _names_a_verb(text: str) -> bool:
    """Whether it is the name alone of a verb that needs keys: a reference to it, no command."""
    match = re.fullmatch(r"python -m (zoo\.\w+)", text)
    return bool(match and (match[1] in _ONE_OF or any(k.required for k in import_module(match[1]).KEYS)))


def _in_prose(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        for match in _IN_PROSE.finditer(paragraph):
            if (span := match["span"]) is not None:
                command = _plain(span)
                if not re.match(rf"{_PROGRAM}|python -m zoo\.", command):
                    continue
            else:
                command = _plain((match["block"] or match["plain"]).rstrip(",;)"))
            if not _names_a_verb(command):
                yield command


def commands_in(text: str, page: str = "") -> list[Command]:
    """Returns the commands of a page.

    They are the lines of its ``bash`` blocks, the lines after ``$`` of its ``console`` blocks, whose other lines are
    output, and, outside of blocks, what stands between backquotes, in lines indented by four, or plainly in a sentence.
    A block without a language is the output of the command before it.

    Args:
        text: Markdown.
        page: Its name.
    """
    found: list[Command] = []
    for number, part in enumerate(re.split(r"^ *```(.*)\n((?:.*\n)*?) *```$", text, flags=re.M)):
        kind = number % 3
        if kind == 0:
            found += [Command(c, page) for c in _in_prose(part)]
        elif kind == 1:
            language = part.strip()
        elif language == "bash":
            lines = [line for line in part.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            found += [Command(_plain(c), page) for line in lines for c in line.split(" && ")]
        elif language == "console":
            for block in re.split(r"^(?=\$ )", part, flags=re.M):
                if block.strip():
                    first, _, output = block.partition("\n")
                    found.append(Command(_plain(first), page, output.strip("\n")))
        elif not language and found:
            found[-1] = Command(found[-1].text, page, part.strip("\n"))
    return found


def commands() -> list[Command]:
    """Returns every command of every page once."""
    found: dict[str, Command] = {}
    for page in PAGES:
        for command in commands_in(page.read_text(encoding="utf-8"), page.name):
            if command.text not in found or (command.shown and not found[command.text].shown):
                found[command.text] = command
    return list(found.values())
