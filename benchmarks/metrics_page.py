"""Draws the coverage table of ``docs/metrics.md`` from ``benchmarks/coverage.md``: ``metrics_page.py [check]``."""

from __future__ import annotations

import sys

from tabulate import tabulate

from benchmarks.pages import ROOT, fill, settle

PAGE = ROOT / "docs" / "metrics.md"


def render() -> str:
    """Returns the page with its table drawn again."""
    rows: dict[tuple[str, str, str], dict[tuple[int, int], str]] = {}
    for line in (ROOT / "benchmarks" / "coverage.md").read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) == 12 and cells[0].isdigit() and cells[4] in ("mean", "difference"):
            people, folds, task, metric, figure = cells[:5]
            rows.setdefault((task, metric, figure), {})[int(folds), int(people)] = cells[7]
    columns = sorted({key for found in rows.values() for key in found})
    head = ["task", "metric", "figure"]
    head += [f"{people} people, " + ("pooled" if folds == 1 else f"{folds} folds") for folds, people in columns]
    table = tabulate([[*k, *(v.get(c, "") for c in columns)] for k, v in rows.items()], head, tablefmt="github",
                     disable_numparse=True)  # fmt: skip
    return fill(PAGE.read_text(encoding="utf-8"), {"coverage": table}.get)


if __name__ == "__main__":
    settle(PAGE, render(), sys.argv[1:])
