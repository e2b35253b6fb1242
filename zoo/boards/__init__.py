"""Tables drawn from records: on the screen after a run, as boards in Markdown and CSV, and as a site."""

from __future__ import annotations

from zoo.boards.collect import Board, Collection, collect
from zoo.boards.leaderboard import check_boards, collect_boards, write_boards
from zoo.boards.result import SCORE_COLUMNS, result_json, result_table, score_rows

__all__ = [
    "SCORE_COLUMNS", "Board", "Collection", "check_boards", "collect", "collect_boards", "result_json", "result_table",
    "score_rows", "write_boards",
]  # fmt: skip
