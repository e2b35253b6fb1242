"""Opening what a job names, inside the process that measures it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import git_blob_sha1_of, sha256_of
from zoo.errors import HashMismatchError
from zoo.latency.case import Job
from zoo.latency.scenarios import Pixels, make_pool
from zoo.registry.schema import ModelEntry, Preprocess
from zoo.results.latency_record import ModelTimed
from zoo.results.record import UsedFile
from zoo.runtimes.base import Session, SessionInfo, Tensors


class Workload(Protocol):
    """An opened job.

    Attributes:
        info: What really runs.
        about: What it is.
        making: Seconds of the opening that were no loading: seeded weights had to be made.
    """

    info: SessionInfo
    about: ModelTimed
    making: float

    def pool(self) -> list[Any]:
        """Returns the inputs of the case's queries."""
        ...

    def infer(self, query: Any) -> Any:
        """Runs one query."""
        ...

    def stream(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Runs keyed queries, several at once."""
        ...

    def outputs(self, crops: Pixels) -> Tensors:
        """Runs one batch of crops through the network alone, for the comparison with the reference."""
        ...

    def decisions(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Returns what would be decided from tensors: tensor name -> values that are equal or not."""
        ...

    def stages(self) -> dict[str, float] | None:
        """Returns the mean milliseconds of each stage of an image, where there are stages."""
        ...

    def verify(self) -> None:
        """Raises ContractError where the outputs are not those that the registry declares."""
        ...

    def peak_memory(self) -> int | None:
        """Returns the most bytes of GPU memory that its tensors took; None where that cannot be told."""
        ...

    def close(self) -> None:
        """Frees it."""
        ...


def open_workload(job: Job) -> Workload:
    """Opens a job by its own opener."""
    module, _, function = job.opener.partition(":")
    workload: Workload = getattr(import_module(module), function)(job)
    return workload


@dataclass
class Encoder:
    """A session, from uint8 crops to tensors."""

    session: Session
    about: ModelTimed
    batch: int
    seed: int
    entry: ModelEntry | None = None
    making: float = 0.0

    def __post_init__(self) -> None:
        self.info = self.session.info
        # Bound once: the timed call is the session's own.
        self.infer = self.session.infer
        self.stream = self.session.stream

    def pool(self) -> list[Any]:
        """Returns distinct batches of noise."""
        return list(make_pool(self.about.input, self.batch, self.seed))

    def outputs(self, crops: Pixels) -> Tensors:
        """Runs one batch of crops."""
        return self.session.infer(crops)

    def decisions(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Returns expressions and thresholded AUs."""
        if self.entry is None:
            return {}
        return decide(self.entry, tensors, self.about.tasks)

    def stages(self) -> None:
        """There is one stage."""
        return

    def verify(self) -> None:
        """Holds a registry model's outputs against its entry."""
        from zoo.models import verify_contract

        if self.entry is not None:
            verify_contract(self.entry, self.session, self.about.tasks, self.batch)

    def peak_memory(self) -> int | None:
        """Asks the session."""
        ask = getattr(self.session, "peak_memory", None)
        return ask() if ask else None

    def close(self) -> None:
        """Closes the session."""
        self.session.close()


def decide(entry: ModelEntry, tensors: Tensors, tasks: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """Returns the decisions of an entry's outputs by tensor: the largest expression, AUs above their threshold."""
    from zoo.models import apply_outputs

    found: dict[str, list[NDArray[Any]]] = {}
    values = apply_outputs(entry, tensors, tuple(tasks))
    for task, value in values.items():
        output = entry.output(task)
        name = output.tensor if output.tensor in tensors else next(iter(tensors))
        assert name is not None
        if task == "expression":
            found.setdefault(name, []).append(value.argmax(1)[:, None])
        elif output.threshold is not None:
            found.setdefault(name, []).append((value >= output.threshold).astype(np.int64))
    return {name: np.concatenate(parts, 1) for name, parts in found.items()}


def open_job(job: Job) -> Workload:
    """Opens a registry model or a structure.

    Raises:
        HashMismatchError: A file is no longer the one that the registry names.
        ZooError: It cannot be run as asked.
    """
    encoder = _published(job) if job.case.weights == "published" else _random(job)
    if job.case.stage == "encoder":
        return encoder
    from zoo.latency.pipeline import Pipeline

    preprocess = job.entry.preprocess if job.entry else job.preprocess
    assert preprocess is not None, "a pipeline has a preprocess contract"
    return Pipeline(encoder, preprocess, job.case.scenario.batch)


def _verified(entry: ModelEntry, files: Mapping[str, Path]) -> tuple[UsedFile, ...]:
    """Hashes the files that are about to be opened: the cache was checked earlier, by another process."""
    used = []
    for file in entry.weights:
        if file.name not in files:
            continue
        path = files[file.name]
        have = sha256_of(path)
        if (file.sha256 or have) != have or (file.git_sha1 and file.git_sha1 != git_blob_sha1_of(path)):
            raise HashMismatchError(
                f"{file.name} is not the file that the registry names", where=str(path),
                why="it was changed after it had been checked", fix=f"python -m zoo.fetch {entry.selector}",
            )  # fmt: skip
        used.append(UsedFile(name=file.name, sha256=have, fold=file.fold.name if file.fold else None))
    return tuple(used)


def _published(job: Job) -> Encoder:
    from zoo.runtimes import open_session

    case, entry = job.case, job.entry
    assert entry is not None and entry.preprocess is not None
    files = {name: Path(path) for name, path in job.files.items()}
    used = _verified(entry, files)
    session = open_session(
        entry, files, case.tasks, runtime=case.asked.runtime, device=case.asked.device,
        precision=case.asked.precision, threads=case.asked.threads, streams=case.asked.streams,
        batch=case.scenario.batch if case.fixed else None, variant=case.asked.variant, verify=False,
    )  # fmt: skip
    about = ModelTimed(
        name=entry.name, weights="published", architecture=entry.architecture, tasks=case.tasks,
        contract=entry.contract_hash, files=used, exported=session.info.exported,
        input=(*entry.preprocess.size, entry.preprocess.channels), size=sum(p.stat().st_size for p in files.values()),
        parameters=entry.parameters,
    )  # fmt: skip
    return Encoder(session, about, case.scenario.batch, case.seed, entry)


def _random(job: Job) -> Encoder:
    from zoo.latency import structures
    from zoo.runtimes import check_device

    case = job.case
    structure = structures.get_structure(case.model)
    preprocess = structure.preprocess
    check_device(case.asked.runtime, case.asked.device)
    settings: dict[str, Any] = {
        "device": case.asked.device, "precision": case.asked.precision, "threads": case.asked.threads,
        "streams": case.asked.streams, "batch": case.scenario.batch if case.fixed else None,
    }  # fmt: skip
    exported = size = parameters = None
    start = time.perf_counter()
    if case.asked.runtime == "torch":
        from zoo.runtimes.torch_ import TorchSession

        module = structures.build(case.model, case.seed)
        parameters = sum(p.numel() for p in module.parameters())
        size = sum(t.numel() * t.element_size() for t in module.state_dict().values())
        making = time.perf_counter() - start
        session: Session = TorchSession(module, preprocess, **settings, variant=case.asked.variant)
    else:
        files: tuple[Path, ...]
        if case.asked.precision == "int8":
            files = structures.quantised(case.model, case.asked.runtime, case.seed)
            preprocess = structure.preprocess_int8
        elif case.asked.precision == "fp16" and case.asked.runtime == "onnxruntime":  # it computes what the file says
            files = (structures.halved(case.model, case.seed),)
        else:
            files = (structures.exported(case.model, case.seed),)
        making = time.perf_counter() - start
        exported, size = sha256_of(files[-1]), sum(f.stat().st_size for f in files)
        session = _graph_session(case.asked.runtime, files, preprocess, exported, settings)
    about = ModelTimed(
        name=case.model, weights="random", architecture=structure.architecture, exported=exported,
        input=(*preprocess.size, preprocess.channels), size=size, parameters=parameters,
    )  # fmt: skip
    return Encoder(session, about, case.scenario.batch, case.seed, making=making)


def _graph_session(
    runtime: str, files: tuple[Path, ...], preprocess: Preprocess, exported: str, settings: dict[str, Any]
) -> Session:
    from zoo.models.onnx_graph import read_onnx

    if runtime == "openvino":
        from zoo.runtimes.openvino_ import OpenVinoSession

        source = (files[0], files[1]) if len(files) > 1 else read_onnx(files[0])
        return OpenVinoSession(source, preprocess, **settings, exported=exported)
    from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession

    return OnnxRuntimeSession(read_onnx(files[0]), preprocess, **settings, exported=exported)


def count_flops(workload: Workload, crop: Pixels) -> int | None:
    """Returns the floating-point operations of one image in torch: convolutions, matrix products and attention.

    A multiply-add counts as two; other operations (activations, normalisation) are not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        workload.outputs(crop)
    return int(counter.get_total_flops()) or None
