"""Tables drawn from records: on the screen after a run, as boards in Markdown and CSV, and as a site."""

from __future__ import annotations

from zoo.boards.collect import Board, Collection, collect
from zoo.boards.leaderboard import check_boards, collect_boards, write_boards
from zoo.boards.result import result_json, result_rows, result_table

__all__ = [
    "Board", "Collection", "check_boards", "collect", "collect_boards", "result_json", "result_rows", "result_table",
    "write_boards",
]  # fmt: skip
