"""Running a suite: groups of cases take turns, each in a process of its own; what is finished is kept.

A failure of one case (an operator that a runtime lacks, memory that runs out, a file swapped under the cache) becomes
an INVALID record with its reason, and the rest goes on.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo._util.files import content_hash, write_text, zoo_home
from zoo.errors import RuntimeUnavailableError, ZooError
from zoo.latency.case import Case, Job
from zoo.latency.processes import Worker, WorkerError
from zoo.latency.statistics import PERCENTILES, percentile_interval, throughput
from zoo.latency.steal import Disturbance
from zoo.latency.structures import get_structure
from zoo.latency.suite import Measure, SuiteFile, groups
from zoo.latency.verdict import Evidence, disturbed, judge, unsettled
from zoo.registry import ModelEntry, Registry
from zoo.registry.schema import RuntimeName, WeightFile
from zoo.results.latency_record import (
    Asked,
    FramesShown,
    LatencyRecord,
    ModelTimed,
    Parity,
    Percentile,
    RuntimeTimed,
    Samples,
    Scenario,
    SliceTaken,
    Startup,
    SuiteUsed,
    Verdict,
)
from zoo.results.record import Estimate

OPEN_SECONDS = 600.0
"""A case that is not open by then has failed; an export from torch is part of the first opening."""

StartWorker = Callable[[int], Worker]
Tell = Callable[[str], None]


def _quiet(text: str) -> None:
    del text


def _start(threads: int) -> Worker:
    return Worker(threads)


@dataclass
class Measured:
    """A case while it is measured.

    Attributes:
        job: What it is.
        golden: Golden crops and outputs; None where there is no reference.
        reference: Name of the reference.
        worker: Its process; None when it could not be started or has ended.
        opened: Answer of the process when it opened.
        ended: Answer of the process when it closed.
        slices: All slices.
        answers: Answers of the slices, kept or not.
        failures: What went wrong.
        parity_missing: Why there is no comparison.
    """

    job: Job
    golden: Path | None = None
    reference: str | None = None
    worker: Worker | None = None
    opened: dict[str, Any] | None = None
    ended: dict[str, Any] | None = None
    slices: list[SliceTaken] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    parity_missing: str | None = None

    @property
    def kept(self) -> list[SliceTaken]:
        """Slices that count."""
        return [s for s in self.slices if s.kept]

    def fail(self, error: WorkerError) -> None:
        """Notes a failure; the process is gone."""
        self.failures.append(error.what + (f" ({error.why})" if error.why else ""))
        self.worker = None

    def throughput(self) -> Estimate | None:
        """Returns images a second; None before the first turn that counts."""
        kept = self.kept
        return throughput([s.images for s in kept], [s.seconds for s in kept]) if kept else None

    def rate(self) -> Estimate | None:
        """Returns images a second, where that is the scenario's figure."""
        return self.throughput() if self.job.case.scenario.name == "Offline" else None

    def samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the kept durations in nanoseconds and the round of each."""
        kept = [(a, s) for a, s in zip(self.answers, self.slices, strict=True) if s.kept]
        if not kept:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        parts = [np.frombuffer(base64.b64decode(a["samples"]), np.int64) for a, _ in kept]
        rounds = [np.full(len(p), s.round) for p, (_, s) in zip(parts, kept, strict=True)]
        return np.concatenate(parts), np.concatenate(rounds)


def _finished(case: Measured, measure: Measure, limits: Any) -> bool:
    if case.worker is None:
        return True
    kept = case.kept
    enough = (
        sum(s.queries for s in kept) >= measure.least(case.job.case.scenario)
        and sum(s.seconds for s in kept) >= measure.seconds
        and len(kept) >= measure.rounds
    )
    again = len(case.slices) - len(kept)
    hopeless = len(case.slices) >= 4 * measure.rounds and again / len(case.slices) > limits.disturbed
    if hopeless or sum(s.seconds for s in case.slices) >= measure.most:
        return True
    return enough and (
        sum(s.seconds for s in kept) >= measure.settle * measure.seconds
        or not unsettled(*case.samples(), case.rate(), limits)
    )


def _load(cases: Sequence[Measured], start: StartWorker) -> None:
    """Starts the processes; they import their libraries side by side, before the first of them is timed."""
    for case in cases:
        try:
            case.worker = start(case.job.case.asked.threads)
            case.worker.send({"do": "load", "job": case.job.model_dump(mode="json")})
        except WorkerError as error:
            case.fail(error)
    for case in cases:
        if case.worker is not None:
            try:
                case.worker.receive(OPEN_SECONDS)
            except WorkerError as error:
                case.fail(error)


def _open(case: Measured, suite: SuiteFile) -> None:
    if case.worker is None:
        return
    try:
        case.opened = case.worker.ask(
            {
                "do": "open", "job": case.job.model_dump(mode="json"), "warm_up": suite.measure.warm_up,
                "large_pages": suite.measure.large_pages,
                "limits": suite.parity.model_dump(mode="json"), "reference": case.reference,
                "golden": str(case.golden) if case.golden else None,
            },
            OPEN_SECONDS,
        )  # fmt: skip
    except WorkerError as error:
        case.fail(error)


def _take(case: Measured, number: int, suite: SuiteFile) -> None:
    assert case.worker is not None and case.opened is not None
    measure, scenario = suite.measure, case.job.case.scenario
    seconds, least = measure.slice, 1
    if measure.images is not None:
        seconds, least = 0.0, math.ceil(measure.images / scenario.batch)
    first = float(case.opened["startup"]["first_ms"]) / 1e3
    try:
        answer = case.worker.ask(
            {"do": "slice", "seconds": seconds, "least": least, "round": number},
            60 + 10 * (seconds + (least + 2) * first),
        )
    except WorkerError as error:
        case.fail(error)
        return
    happened = Disturbance(
        answer["stolen"], answer["foreign"], answer["throttles"], answer["held"], answer["joules"],
        answer.get("gpu_joules"),
    )  # fmt: skip
    durations = np.frombuffer(base64.b64decode(answer["samples"]), np.int64)
    case.answers.append(answer)
    taken = SliceTaken(
        round=number, kept=not disturbed(happened, suite.limits), queries=answer["queries"],
        images=answer["images"], seconds=answer["nanoseconds"] / 1e9, median_ms=float(np.median(durations)) / 1e6,
        stolen=_rounded(happened.stolen), foreign=_rounded(happened.foreign), throttles=happened.throttles,
        joules=happened.joules, gpu_joules=happened.gpu_joules, cores=answer["cores"],
    )  # fmt: skip
    case.slices.append(taken)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def measure_group(
    cases: Sequence[Measured],
    suite: SuiteFile,
    *,
    start: StartWorker = _start,
    seed: int = 0,
    step: Callable[[], None] = lambda: None,
) -> None:
    """Measures cases by turns, in a new random order each round, and ends their processes whatever happens.

    Args:
        cases: Filled in.
        suite: How long, and what is allowed.
        start: Makes a process for a number of threads.
        seed: Of the orders.
        step: Called after each turn.
    """
    rng = np.random.default_rng(seed)
    try:
        _load(cases, start)
        for case in cases:
            _open(case, suite)
            step()
        number = 0
        while left := [c for c in cases if not _finished(c, suite.measure, suite.limits)]:
            for i in rng.permutation(len(left)):
                _take(left[i], number, suite)
                step()
            number += 1
        for case in cases:
            if case.worker is not None:
                with suppress(WorkerError):  # the figures are there; what is lost is the peak memory
                    case.ended = case.worker.close()
    finally:
        for case in cases:
            if case.worker is not None:
                case.worker.kill()


def make_record(case: Measured, suite: SuiteFile, *, run: str, group: int, about: ModelTimed) -> LatencyRecord:
    """Makes the record of a measured case.

    Args:
        case: The case.
        suite: Its suite.
        run: Name of the run.
        group: Number of its group.
        about: What is known of the model without its process; the process's own description comes first.
    """
    from zoo.results.environment import capture_code, capture_environment

    asked, scenario = case.job.case.asked, case.job.case.scenario
    raw, rounds = case.samples()
    samples = Samples.pack(raw) if len(raw) else None
    durations = samples.nanoseconds() if samples else raw  # as a reader will have them
    opened, kept = case.opened, case.kept
    parity = Parity.model_validate(opened["parity"]) if opened and opened.get("parity") else None
    verdict = judge(
        Evidence(
            samples=durations, clusters=rounds, slices=case.slices, queries=suite.measure.least(scenario),
            seconds=suite.measure.seconds, stable=bool(opened and opened["startup"]["stable"]),
            threads=asked.threads * asked.streams, cores=usable_cores(), parity=parity,
            parity_missing=case.parity_missing, held=sum(a["held"] or 0.0 for a in case.answers) or None,
            throughput=case.rate(),
        ),
        suite.limits,
    )  # fmt: skip
    if case.failures:  # what follows from a failure is no reason of its own
        verdict = Verdict(valid=False, reasons=tuple(case.failures))
    if opened:
        timed = ModelTimed.model_validate(opened["about"])
        about = timed.model_copy(
            update={key: getattr(about, key) for key in ("parameters", "flops") if getattr(timed, key) is None}
        )
    return LatencyRecord(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), run=run, group=group,
        suite=SuiteUsed(
            ref=suite.ref, hash=suite.hash, title=suite.title, baseline=suite.baseline, images=suite.measure.images
        ),
        case=case.job.case.id, model=about, stage=case.job.case.stage, scenario=scenario, asked=asked,
        runtime=RuntimeTimed.model_validate(opened["runtime"]) if opened else None,
        startup=Startup.model_validate(opened["startup"]) if opened else None,
        samples=samples, slices=tuple(case.slices), percentiles=_percentiles(durations, rounds),
        throughput=case.throughput(),
        frames=_frames(case, scenario) if scenario.name == "Video" and kept else None,
        stages=case.ended.get("stages") if case.ended else None,
        peak_rss_mib=case.ended.get("peak_rss_mib") if case.ended else None,
        peak_gpu_mib=case.ended.get("peak_gpu_mib") if case.ended else None,
        joules_per_image=_per_image(kept, [s.joules for s in kept]),
        gpu_joules_per_image=_per_image(kept, [s.gpu_joules for s in kept]),
        parity=parity, verdict=verdict, environment=capture_environment(), code=capture_code(),
    )  # fmt: skip


def _per_image(kept: Sequence[SliceTaken], joules: Sequence[float | None]) -> float | None:
    """Returns the energy of an image; None where it was not read around every slice."""
    images, known = sum(s.images for s in kept), [j for j in joules if j is not None]
    return sum(known) / images if images and known and len(known) == len(joules) else None


def _percentiles(durations: NDArray[np.int64], rounds: NDArray[np.int64]) -> tuple[Percentile, ...]:
    if not len(durations):
        return ()
    found = [(p, percentile_interval(durations / 1e6, p, rounds)) for p in PERCENTILES]
    return tuple(Percentile(percent=p, value=e.value, low=e.low, high=e.high) for p, e in found)


def _frames(case: Measured, scenario: Scenario) -> FramesShown:
    kept = [(a, s) for a, s in zip(case.answers, case.slices, strict=True) if s.kept]
    busy = [float(np.frombuffer(base64.b64decode(a["samples"]), np.int64).sum()) / 1e9 for a, _ in kept]
    video = [a["queries"] / (scenario.fps or 30.0) for a, _ in kept]
    # The same ratio as images a second: seconds of work over seconds of video.
    return FramesShown(
        arrived=sum(a["arrived"] for a, _ in kept), dropped=sum(a["dropped"] for a, _ in kept),
        real_time_factor=throughput(busy, video),
    )  # fmt: skip


class References:
    """Golden outputs by model, made once a run.

    Args:
        folder: Where they are written.
        make: Makes a job of a model for a runtime, as the reference is run.
        start: Makes a process.
    """

    def __init__(self, folder: Path, make: Callable[[Case], Job], start: StartWorker) -> None:
        self._folder, self._make, self._start = folder, make, start
        self._found: dict[str, tuple[Path | None, str, ModelTimed | None]] = {}

    def get(self, case: Case) -> tuple[Path | None, str, ModelTimed | None]:
        """Returns (golden file, the reference's name, what it is), or (None, why there is none, None).

        The reference is torch where the model has a torch structure, else ONNX Runtime, else OpenVINO; always in fp32
        on one thread of the CPU.
        """
        key = self.key(case)
        if key not in self._found:
            self._found[key] = self._run(case, self._folder / f"{key}.npz")
        return self._found[key]

    @staticmethod
    def key(case: Case) -> str:
        """Returns what cases with one reference have in common."""
        return content_hash([case.model, case.weights, case.tasks, case.fold, case.seed], 16)

    def _run(self, case: Case, golden: Path) -> tuple[Path | None, str, ModelTimed | None]:
        reasons = []
        runtimes: tuple[RuntimeName, ...] = ("torch", "onnxruntime", "openvino")
        for runtime in runtimes:
            asked = Asked(runtime=runtime, threads=1)
            plain = case.model_copy(update={
                "asked": asked, "scenario": Scenario(name="SingleStream"), "stage": "encoder", "fixed": True
            })  # fmt: skip
            try:
                job = self._make(plain)
                with self._start(1) as worker:
                    answer = worker.ask(
                        {"do": "reference", "job": job.model_dump(mode="json"), "golden": str(golden)}, OPEN_SECONDS
                    )
            except ZooError as error:
                reasons.append(f"{runtime}: {error.what}")
                continue
            return golden, answer["name"], ModelTimed.model_validate(answer["about"])
        return None, "; ".join(reasons), None


class Jobs:
    """Makes jobs of cases: locates the files that each needs.

    Args:
        entries: Registry models by name.
        registry: Where they come from.
        offline: Make no request.
    """

    def __init__(self, entries: Mapping[str, ModelEntry], registry: Registry, offline: bool | None = None) -> None:
        self._entries, self._registry, self._offline = entries, registry, offline
        self._located: dict[tuple[str, str], str | ZooError] = {}

    def make(self, case: Case) -> Job:
        """Returns the job of a case.

        Raises:
            RuntimeUnavailableError: The model has nothing that the runtime can run in that precision.
            WeightsMissingError: A file is not to be had.
        """
        if case.weights == "random":
            if case.asked.precision == "int8" and case.asked.runtime == "torch":
                raise RuntimeUnavailableError("torch has no int8 here", fix="use runtime=openvino or onnxruntime")
            model = get_structure(case.model).contract if case.stage == "pipeline" else None
            return Job(case=case, preprocess=self._registry.get(model).preprocess if model else None)
        from zoo.models import select_files

        entry = self._entries[case.model]
        files = select_files(
            entry, case.tasks, runtime=case.asked.runtime, precision=case.asked.precision, fold=case.fold
        )
        return Job(case=case, entry=entry, files={f.name: self._locate(entry, f) for f in files})

    def _locate(self, entry: ModelEntry, file: WeightFile) -> str:
        from zoo.weights import locate

        key = entry.name, file.name
        if key not in self._located:
            try:
                path = locate(file, entry=entry, base=self._registry.base(entry.name), offline=self._offline)
                self._located[key] = str(path)
            except ZooError as error:  # asked for once, not once for each runtime, scenario and thread count
                self._located[key] = error
        found = self._located[key]
        if isinstance(found, ZooError):
            raise found
        return found

    def exports(self, job: Job) -> bool:
        """Whether opening the job may make something that is kept: a graph exported from torch, pictures."""
        if job.case.stage == "pipeline":
            return True
        if job.case.asked.runtime == "torch":
            return False
        graphs = ("onnx", "tflite", "openvino-ir")
        return job.entry is None or any(w.format not in graphs for w in job.entry.weights if w.name in job.files)


@dataclass(frozen=True)
class Done:
    """A record and where it was written."""

    path: Path
    record: LatencyRecord


class State:
    """What is finished of a run, so that the same command goes on after an interruption.

    Args:
        suite: The suite.
        cases: All cases of the run.
        out: Folder of the records.
        fresh: Forget what is finished.
    """

    def __init__(self, suite: SuiteFile, cases: Sequence[Case], out: Path, *, fresh: bool = False) -> None:
        from zoo.results.environment import capture_code, capture_environment

        key = content_hash({
            "suite": suite.hash, "cases": sorted(c.id for c in cases), "out": str(out.resolve()),
            "environment": capture_environment().model_dump(mode="json"), "commit": capture_code().commit,
        }, 16)  # fmt: skip
        self.folder = zoo_home() / "bench" / f"{suite.name}-{key}"
        self._file = self.folder / "run.json"
        if fresh and self.folder.exists():
            shutil.rmtree(self.folder)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._data: dict[str, Any] = {"run": f"{stamp}-{key[:8]}", "groups": 0, "done": {}}
        if self._file.exists():
            with suppress(OSError, ValueError):
                self._data = json.loads(self._file.read_text(encoding="utf-8"))

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self._data["run"])

    @property
    def groups(self) -> int:
        """Groups measured so far."""
        return int(self._data["groups"])

    def done(self) -> dict[str, Path]:
        """Returns case -> record of what is finished and still there."""
        return {case: Path(p) for case, p in self._data["done"].items() if Path(p).exists()}

    def add(self, finished: Mapping[str, Path]) -> None:
        """Notes a finished group."""
        self._data["done"] |= {case: str(path.resolve()) for case, path in finished.items()}
        self._data["groups"] += 1
        write_text(self._file, json.dumps(self._data, indent=1) + "\n")

    def finish(self) -> None:
        """Forgets the run; the records are what is left of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def run_suite(
    suite: SuiteFile,
    cases: Sequence[Case],
    make_job: Callable[[Case], Job],
    *,
    out: Path,
    exports: Callable[[Job], bool] = lambda job: False,
    start: StartWorker = _start,
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


class Starting:
    """Starts processes and knows those that run, so that all of them can be ended at once.

    Args:
        start: Makes a process for a number of threads.
    """

    def __init__(self, start: StartWorker) -> None:
        self._start, self._running, self._ended = start, set[Worker](), False

    def __call__(self, threads: int) -> Worker:
        """Starts one; after :meth:`end` there is none to be had."""
        if self._ended:
            raise WorkerError("the run was interrupted")
        worker = self._start(threads)
        self._running.add(worker)
        return worker

    def end(self) -> None:
        """Ends every process, and starts none any more."""
        self._ended = True
        for worker in list(self._running):
            worker.kill()


def make_ready(
    jobs: Sequence[Job],
    references: References,
    starting: Starting,
    exports: Callable[[Job], bool],
    workers: int | None = None,
    step: Callable[[int, int], None] = lambda ready, of: None,
) -> None:
    """Makes the references and whatever is made once, several models side by side: nothing is timed meanwhile.

    Args:
        jobs: Of all cases that are to be measured.
        references: Filled.
        starting: Makes processes.
        exports: Whether opening a job makes something that is kept.
        workers: Models at once; None: as many as there are usable cores.
        step: Told how many models are ready, of how many.
    """
    models: dict[str, list[Job]] = {}
    for job in jobs:
        models.setdefault(references.key(job.case), []).append(job)

    def ready(of_one: Sequence[Job]) -> None:
        references.get(of_one[0].case)
        made: set[tuple[object, ...]] = set()
        for job in of_one:
            asked = job.case.asked
            # Each runtime has an int8 graph of its own, and one of them an fp16 graph.
            graph = (asked.runtime, asked.precision) if asked.precision in ("int8", "fp16") else ()
            if not exports(job) or (job.case.stage, *graph) in made:
                continue
            made.add((job.case.stage, *graph))
            # A failure shows again, with its reason, when the case itself is opened.
            with suppress(WorkerError), starting(1) as worker:
                worker.ask({"do": "prepare", "job": job.model_dump(mode="json")}, OPEN_SECONDS)

    with ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="zoo-ready") as pool:
        begun = [pool.submit(ready, of_one) for of_one in models.values()]
        try:
            step(0, len(begun))
            for ready_now, future in enumerate(as_completed(begun), 1):
                future.result()
                step(ready_now, len(begun))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            starting.end()
            raise


def _unopened(job: Job) -> ModelTimed:
    case = job.case
    return ModelTimed(
        name=case.model, weights=case.weights, tasks=case.tasks,
        architecture=job.entry.architecture if job.entry else case.model,
        contract=job.entry.contract_hash if job.entry else None,
    )  # fmt: skip
