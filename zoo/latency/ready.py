"""What is made before anything is timed, several models side by side: references for parity, exported graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from zoo._util.cpu import usable_cores
from zoo._util.files import content_hash
from zoo.errors import ZooError
from zoo.latency.case import Case, Job
from zoo.latency.measure import OPEN_SECONDS, StartWorker
from zoo.latency.processes import Worker, WorkerError
from zoo.registry.schema import RuntimeName
from zoo.results.latency_record import Asked, ModelTimed, Scenario


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
