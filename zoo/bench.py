"""``python -m zoo.bench``: measure latency and throughput by a suite."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli import (
    FORMAT,
    OFFLINE,
    REGISTRY,
    Arguments,
    Key,
    boolean,
    natural,
    one_of,
    path,
    put,
    put_csv,
    run_verb,
    say,
    words,
)

if TYPE_CHECKING:
    from zoo.registry import Registry

SUMMARY = "Measure latency and throughput by a suite; writes a record of each case and a board."
EXAMPLE = "python -m zoo.bench suite=openvino model=hog-ridge,fer-mini-xception"


def _numbers(text: str) -> tuple[int, ...]:
    """Reads whole numbers above 0: ``1,2``."""
    parts = words(text)
    if not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise ValueError("write whole numbers above 0, with commas")
    return tuple(map(int, parts))


KEYS = (
    Key("suite", "cpu | gpu | openvino | mobile-like | libreface-tables[-gpu], or your own file.yaml", required=True),
    Key("model", "names or globs of models and structures; else the suite's", words, ()),
    Key("weights", "published: only models; random: only structures with seeded weights",
        one_of("published", "random")),
    Key("runtime", "only these of the suite's runtimes", words, ()),
    Key("precision", "only these of the suite's precisions", words, ()),
    Key("scenario", "only these of the suite's scenarios: SingleStream,Offline", words, ()),
    Key("threads", "instead of the suite's: 1,2", _numbers, ()),
    Key("out", "folder of records and boards", path, Path("zoo-results")),
    Key("fresh", "true: do not go on from an interrupted run", boolean, False),
    Key("plan", "true: list the cases and measure nothing", boolean, False),
    Key("seed", "seed of random weights and of the inputs", natural, 0),
    OFFLINE,
    REGISTRY,
    FORMAT,
)  # fmt: skip


def _body(given: Arguments) -> int:
    from typing import get_args

    from zoo.errors import UnknownNameError
    from zoo.latency.jobs import Jobs
    from zoo.latency.run import run_suite
    from zoo.latency.suite import choose, load_suite, plan
    from zoo.registry import load_registry
    from zoo.registry.schema import Precision, RuntimeName
    from zoo.results.latency_record import ScenarioName

    for key, known in (("runtime", RuntimeName), ("precision", Precision), ("scenario", ScenarioName)):
        for name in given[key]:
            if name not in get_args(known):
                raise UnknownNameError(key, name, get_args(known))
    suite = load_suite(given.suite)
    registry = load_registry(given.registry)
    chosen = choose(suite, registry, given.model, given.weights)
    cases = plan(
        suite, chosen, runtimes=given.runtime, precisions=given.precision, threads=given.threads,
        scenarios=given.scenario, seed=given.seed,
    )  # fmt: skip
    if given.plan:
        for case in cases:
            put(case.title)
        return 0
    jobs = Jobs({e.name: e for e in chosen if not isinstance(e, str)}, registry, given.offline)
    done = run_suite(
        suite, cases, jobs.make, out=given.out, exports=jobs.exports, fresh=given.fresh,
        progress=sys.stderr.isatty(), tell=say,
    )  # fmt: skip
    _show(given, registry, {str(d.path.relative_to(given.out.resolve())) for d in done})
    valid = sum(d.record.verdict.valid for d in done)
    say(f"{valid} of {len(done)} cases are valid")
    return 0


def _show(given: Arguments, registry: Registry, paths: set[str]) -> None:
    """Draws the boards, and prints what this run has measured."""
    from zoo.boards import collect, write_boards
    from zoo.boards.latency import FOLDER, latency_rows, latency_tables, run_rows

    write_boards(given.out, registry=registry)
    rows = run_rows(collect(given.out, registry=registry), paths)
    if given.format in ("table", "md"):
        put(latency_tables(rows, "simple" if given.format == "table" else "github"))
    elif given.format == "json":
        import json

        put(json.dumps([row.record.model_dump(mode="json") for row in rows], indent=1, ensure_ascii=False))
    else:
        head, table = latency_rows(rows)
        put_csv(head, (dict(zip(head, cells, strict=True)) for cells in table))
    say(f"boards: {given.out / FOLDER / 'README.md'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("bench", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
