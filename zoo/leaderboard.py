"""``python -m zoo.leaderboard``: draw the boards from the records, or check that they are drawn from them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.cli import Arguments, Key, boolean, path, put, run_verb, say
from zoo.errors import RecordError, ZooError

SUMMARY = "Draw every leaderboard and the site from the records, or check that they are what the records say."
EXAMPLE = "python -m zoo.leaderboard check=true"
KEYS = (
    Key("out", "folder with results/ in it; the boards are written beside that", path, Path("leaderboards")),
    Key("check", "true: write nothing, fail when a record is not right or a board differs from them", boolean, False),
    Key("site", "false: no pages, only Markdown and CSV (the pages need jinja2)", boolean, True),
    Key("against", "another state of the folder: print the change of every board as Markdown", path),
    Key("hub", "a model: print its ranked results as the model-index of a Hub model card"),
    Key("url", "with hub=: where the folder can be read, for links to the records"),
)


def _body(given: Arguments) -> int:
    from zoo.boards import check_boards, collect, write_boards

    if not given.out.is_dir():
        raise RecordError(f"'{given.out}' is not a folder", fix="out=<folder with results/ in it>")
    if given.hub:
        return _hub(given)
    if given.against:
        return _against(given)
    if given.check:
        from zoo.boards.validate import check_records

        wrong = check_records(collect(given.out))
        if wrong:
            raise RecordError(
                f"{len(wrong)} things are wrong with the records", where=str(given.out), why=_some(wrong),
                fix="measure again, or supersede a record in errata.yaml; records are never changed",
            )  # fmt: skip
        wrong = check_boards(given.out, site=given.site)
        if wrong:
            raise RecordError(
                f"{len(wrong)} boards are not what the records say", where=str(given.out), why=_some(wrong),
                fix="python -m zoo.leaderboard",
            )  # fmt: skip
        say(f"every board in {given.out} is what the records say")
        return 0
    written = write_boards(given.out, site=given.site)
    put(str(given.out / ("index.html" if given.site else "README.md")))
    say(f"{len(written)} files")
    return 0


def _some(lines: Sequence[str]) -> str:
    return "; ".join(lines[:20]) + (f"; and {len(lines) - 20} more" if len(lines) > 20 else "")


def _hub(given: Arguments) -> int:
    import yaml

    from zoo.boards import collect
    from zoo.boards.hub import model_index
    from zoo.registry import load_registry

    load_registry().get(given.hub)
    found = model_index(collect(given.out), given.hub, url=given.url)
    if not found:
        say(f"no result of {given.hub} is ranked; results in-sample, incomplete or on rendered faces are not exported")
        return 1
    put(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000).rstrip())
    return 0


def _against(given: Arguments) -> int:
    from zoo.boards import collect
    from zoo.boards.submit import changes

    if not given.against.is_dir():
        raise RecordError(f"'{given.against}' is not a folder", fix="against=<another leaderboards folder>")
    try:
        old = collect(given.against)
    except ZooError as error:
        put(f"The boards in `{given.against}` cannot be read with this version: {error.what}.")
        return 0
    put(changes(old, collect(given.out)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("leaderboard", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
