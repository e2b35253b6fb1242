"""Running a suite: groups of cases take turns, each in a process of its own; what is finished is kept.

A failure of one case (an operator that a runtime lacks, memory that runs out, a file swapped under the cache) becomes
an INVALID record with its reason, and the rest goes on.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import ZooError
from zoo.latency.case import Case, Job
from zoo.latency.measure import Measured, StartWorker, measure_group
from zoo.latency.processes import Worker
from zoo.latency.ready import References, Starting, make_ready
from zoo.latency.records import make_record
from zoo.latency.state import State
from zoo.latency.suite import SuiteFile, groups
from zoo.results.latency_record import LatencyRecord, ModelTimed

Tell = Callable[[str], None]


def _quiet(text: str) -> None:
    del text


@dataclass(frozen=True)
class Done:
    """A record and where it was written."""

    path: Path
    record: LatencyRecord


def run_suite(
    suite: SuiteFile,
    cases: Sequence[Case],
    make_job: Callable[[Case], Job],
    *,
    out: Path,
    exports: Callable[[Job], bool] = lambda job: False,
    start: StartWorker = Worker,
    fresh: bool = False,
    progress: bool = False,
    tell: Tell = _quiet,
) -> list[Done]:
    """Measures the cases and writes a record of each; interrupted, the same call goes on.

    Args:
        suite: The suite.
        cases: From :func:`zoo.latency.suite.plan`.
        make_job: Locates what a case needs; a case that it refuses is told and left out.
        out: Folder with ``results/`` in it.
        exports: Whether opening a job makes something that is kept; such a job is opened once before it is measured.
        start: Makes a process for a number of threads.
        fresh: Do not go on from an earlier, interrupted call.
        progress: Show a progress bar on stderr.
        tell: Gets lines for people.

    Returns:
        Every record of the run, those of an earlier call included, in the order of the cases.

    Raises:
        ZooError: Every case was refused.
    """
    from tqdm import tqdm

    from zoo.results.store import read_latency_record, save_record

    jobs, refused = _jobs(cases, make_job, tell)
    if refused and not jobs:
        raise refused
    state = State(suite, list(jobs), out, fresh=fresh)
    done = state.done()
    if done:
        tell(f"going on with run {state.run}: {len(done)} of {len(jobs)} cases are finished")
    todo = [case for case in jobs if case.id not in done]
    with (
        tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder,
        tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc=suite.ref, unit="case", file=sys.stderr,
             disable=not progress) as bar,
    ):  # fmt: skip
        starting = Starting(start)
        references = References(Path(folder), make_job, starting)
        make_ready(
            [jobs[case] for case in todo], references, starting, exports,
            step=lambda ready, of: bar.set_postfix_str(f"references and exports: {ready} of {of} models"),
        )  # fmt: skip
        for group in groups(todo, suite.measure.together):
            bar.set_postfix_str(f"{group[0].model}, {group[0].scenario.title}, {group[0].asked.threads} threads")
            measured = [_with_reference(jobs[case], references) for case in group]
            measure_group(measured, suite, start=start, seed=state.groups, step=bar.refresh)
            finished = {}
            for item in measured:
                about = references.get(item.job.case)[2] or _unopened(item.job)
                record = make_record(item, suite, run=state.run, group=state.groups, about=about)
                finished[item.job.case.id] = save_record(record, out)
                if not record.verdict.valid:
                    tell(f"INVALID: {item.job.case.title}: {'; '.join(record.verdict.reasons)}")
            state.add(finished)
            bar.update(len(group))
    done = state.done()
    state.finish()
    return [Done(done[case.id], read_latency_record(done[case.id])) for case in jobs]


def _jobs(
    cases: Iterable[Case], make_job: Callable[[Case], Job], tell: Tell
) -> tuple[dict[Case, Job], ZooError | None]:
    jobs: dict[Case, Job] = {}
    refused: dict[tuple[str, str], tuple[ZooError, list[str]]] = {}
    for case in cases:
        try:
            jobs[case] = make_job(case)
        except ZooError as error:
            _, ways = refused.setdefault((case.model, error.what), (error, []))
            ways.append(f"{case.asked.runtime} {case.asked.precision}")
    for (model, what), (_, ways) in refused.items():
        tell(f"not timed: {model} in {', '.join(dict.fromkeys(ways))}: {what}")
    return jobs, next((error for error, _ in refused.values()), None)


def _with_reference(job: Job, references: References) -> Measured:
    golden, name, _ = references.get(job.case)
    return Measured(job, golden, name if golden else None, parity_missing=None if golden else name)


def _unopened(job: Job) -> ModelTimed:
    case = job.case
    return ModelTimed(
        name=case.model, weights=case.weights, tasks=case.tasks,
        architecture=job.entry.architecture if job.entry else case.model,
        contract=job.entry.contract_hash if job.entry else None,
    )  # fmt: skip
