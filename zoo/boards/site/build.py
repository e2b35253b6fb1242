"""The pages of the site, made from a collection of records.

Pages are written beside the Markdown boards: ``index.html``, ``compare.html``, and one page a board, model, suite and
table of a paper. They need nothing but each other: no server, no network, no script to be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._util.optional import need
from zoo.boards.collect import Collection
from zoo.boards.latency import collect_latency
from zoo.boards.papers import paper_pages
from zoo.boards.site.board_page import board_page
from zoo.boards.site.compare_page import compare_page
from zoo.boards.site.index_page import index_page
from zoo.boards.site.latency_page import latency_page
from zoo.boards.site.model_page import model_page
from zoo.boards.site.paper_page import paper_page
from zoo.boards.site.shared import model_names
from zoo.boards.text import MARK

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
ASSETS = ("site.css", "site.js")


def site_files(collection: Collection) -> dict[str, str]:
    """Returns path below the boards' folder -> text of every page, style and script.

    Raises:
        DependencyError: jinja2 is not installed.
    """
    environment = _environment()
    suites = collect_latency(collection)
    papers = paper_pages(collection) if collection.project else []

    def page(template: str, title: str, context: dict[str, Any], up: str = "../") -> str:
        common = {"mark": MARK, "up": up, "title": title, "suites": suites, "papers": papers}
        return environment.get_template(template).render({**common, **context})

    files = {f"assets/{name}": (_HERE / "assets" / name).read_text(encoding="utf-8") for name in ASSETS}
    files["index.html"] = page("index.html", "Leaderboards", index_page(collection), "")
    files["compare.html"] = page("compare.html", "Compare two models", compare_page(collection), "")
    for board in collection.boards:
        files[f"boards/{board.name}.html"] = page("board.html", board.protocol.title, board_page(collection, board))
    for name in model_names(collection):
        files[f"models/{name}.html"] = page("model.html", name, model_page(collection, name))
    for suite in suites:
        files[f"latency/{suite.ref}.html"] = page("latency.html", suite.title, latency_page(collection, suite))
    for paper in papers:
        title = f"{paper.table.table}: {paper.table.title}"
        files[f"{paper.path}.html"] = page("paper.html", title, paper_page(collection, paper))
    return files


def _environment() -> Environment:
    need("jinja2", "the site's pages are made with it")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, newline_sequence="\n",
    )  # fmt: skip
