"""What the harness costs, as a record: ``python benchmarks/overhead.py [run | check]``.

``run`` runs ``benchmarks/test_overhead.py`` (about a quarter of an hour, on a machine that is left alone), writes
``benchmarks/results/overhead.json`` with every figure, met or missed, and the table in ``docs/latency.md``; without a
word the table is written from the record, and ``check`` fails where it is another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.pages import RESULTS, ROOT, Drawn
from zoo.boards.text import markdown_table
from zoo.results.environment import capture_code, capture_environment


def run() -> dict[str, Any]:
    """Measures; returns the record."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.jsonl"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "benchmarks/test_overhead.py", "-s", "-q", "-rs"], cwd=ROOT,
            env={**os.environ, "ZOO_OVERHEAD": str(path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        print(done.stdout)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    if not rows:
        raise SystemExit(f"nothing was measured\n{done.stderr}")
    skipped = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    return {
        "environment": capture_environment().model_dump(mode="json"), "code": capture_code().model_dump(mode="json"),
        "rows": rows, "not_measured": skipped,
    }  # fmt: skip


def table(record: dict[str, Any]) -> str:
    """Draws a record."""
    rows = []
    for row in record["rows"]:
        value = f"{row['value']:.4g}"
        value += "" if row["low"] is None else f" [{row['low']:.4g}, {row['high']:.4g}]"
        rows.append([row["what"], value, row["target"], "yes" if row["met"] else "no", row["about"]])
    about = record["environment"]
    text = f"{about['cpu']}, {about['cores_usable']} cores, {record['created'][:10]}.\n\n"
    text += markdown_table(["figure", "measured", "target", "met", "about"], rows)
    return text + "".join(f"\n\nNot measured: {reason}" for reason in record["not_measured"])


PAGE = Drawn(ROOT / "docs" / "latency.md", RESULTS / "overhead.json", lambda record: {"overhead": table(record)})

if __name__ == "__main__":
    PAGE.main(sys.argv[1:], run)
