"""How long building the index of a full-size copy takes, and how much memory: ``index_build.py [run | check]``.

Trees of the owners' sizes are rendered with ``pixels=flat`` (an index looks at no pixel) into a temporary folder. Each
index is built in a process of its own, so that its peak memory is its own; a tenth of the frames beside the whole says
what grows with them. Anonymous memory is what must not grow (``benchmarks/resident.py``). The first reading builds the
index, the second takes the kept one.

``run`` measures, writes ``benchmarks/results/index_build.json`` and the table in ``docs/datasets.md``; without a word
the table is drawn again from the record; ``check`` says whether it is what the record says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.pages import RESULTS, ROOT, Drawn

# Dataset, layout, size of the whole tree, of a tenth of it, and how it is read. BP4D's 328 sequences differ in length,
# the rendered ones do not, so its frames are the nearest multiple.
CASES: tuple[tuple[str, str, dict[str, int], dict[str, int], dict[str, str]], ...] = (
    ("disfa", "disfa", {"frames": 4845}, {"frames": 484}, {}),
    ("bp4d", "bp4d", {"frames": 448}, {"frames": 45}, {}),
    ("affectnet", "affectnet-csv", {"images": 291_650}, {"images": 29_165}, {"splits": "all", "form": "csv"}),
)


def measure(dataset: str, root: str, options: dict[str, str]) -> dict[str, Any]:
    """Builds one index in this process."""
    import av  # noqa: F401 - the memory of the libraries is not the index's
    import pyarrow.parquet  # noqa: F401

    from benchmarks.resident import AnonymousPeak, mib
    from zoo.datasets import get_dataset, load_index

    get_dataset(dataset)
    before, watch = mib("RssAnon"), AnonymousPeak()
    started = time.perf_counter()
    index = load_index(dataset, root, **options)
    first = time.perf_counter() - started
    built, resident = watch.mib, mib("VmHWM")
    started = time.perf_counter()
    load_index(dataset, root, **options)
    again = time.perf_counter() - started
    columns = [index.subject, index.sequence, index.frame, index.split, index.file, index.position]
    columns += [labels.values for labels in index.labels.values()]
    columns += [] if index.box is None else [index.box]
    return {
        "samples": len(index), "first_s": round(first, 2), "kept_s": round(again, 2), "anonymous_before_mib": before,
        "anonymous_mib": built, "anonymous_kept_mib": watch.mib, "resident_mib": resident,
        "index_mib": round(sum(c.nbytes for c in columns) / 2**20, 1),
    }  # fmt: skip


def run() -> dict[str, Any]:
    """Renders and measures everything."""
    from zoo.datasets.synthface import generate
    from zoo.results.environment import capture_environment

    load = os.getloadavg()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for dataset, layout, whole, tenth, options in CASES:
            for part, size in (("tenth", tenth), ("whole", whole)):
                root = Path(name) / f"{dataset}-{part}"
                generate(layout, root, pixels="flat", progress=False, **size)  # type: ignore[arg-type]
                files = sum(len(names) for _, _, names in os.walk(root))
                words = [sys.executable, __file__, "one", dataset, str(root), json.dumps(options)]
                home = {"ZOO_HOME": f"{name}/home", "PYTHONPATH": str(ROOT)}
                done = subprocess.run(words, env={**os.environ, **home}, capture_output=True, text=True, check=True)
                rows.append({"dataset": dataset, "part": part, "files": files, **json.loads(done.stdout)})
                print(rows[-1], file=sys.stderr, flush=True)
    here = capture_environment()
    return {
        "cpu": here.cpu, "cores": here.cores_usable,
        "system": here.system, "python": here.python, "load_before": [round(x, 2) for x in load],
        "load_after": [round(x, 2) for x in os.getloadavg()], "rows": rows,
    }  # fmt: skip


def table(record: dict[str, Any]) -> str:
    """Returns the table of a record, in Markdown."""
    head = ["dataset", "samples", "files", "first reading, s", "kept index, s", "anonymous before, MiB",
            "peak, first reading", "peak, kept index", "peak resident", "columns in files"]  # fmt: skip
    kinds = ("anonymous_before", "anonymous", "anonymous_kept", "resident", "index")
    rows = [
        [r["dataset"], f"{r['samples']:,}", f"{r['files']:,}", f"{r['first_s']:.1f}", f"{r['kept_s']:.1f}",
         *(f"{r[f'{kind}_mib']:.0f}" for kind in kinds)]
        for r in record["rows"]
    ]  # fmt: skip
    where = (
        f"{record['cpu']}, {record['cores']} cores, {record['system']}, Python {record['python']}, "
        f"{record['created'][:10]}; load {record['load_before'][0]:g} before and {record['load_after'][0]:g} after."
    )
    return f"{tabulate(rows, head, tablefmt='github', disable_numparse=True)}\n\n{where}\n"


PAGE = Drawn(ROOT / "docs" / "datasets.md", RESULTS / "index_build.json", lambda record: {"index_build": table(record)})

if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))))
    else:
        PAGE.main(sys.argv[1:], run)
