"""One evaluation, from a model's name and a dataset's name to a record."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo._util.files import content_hash, sha256_of
from zoo.errors import DatasetError, UsageError
from zoo.registry import ModelEntry, Registry, load_registry
from zoo.registry.schema import Status, WeightFile
from zoo.results.record import (
    Contamination,
    Cost,
    DatasetUsed,
    ModelUsed,
    ProtocolUsed,
    ResultRecord,
    RuntimeUsed,
    Seeds,
    UsedFile,
)
from zoo.runs.checkpoints import assign_checkpoints
from zoo.runs.predictions import PredictionStore, Unit, column
from zoo.runs.scoring import RESAMPLES, SEED, Scored, labels_scored, output_for, scorable_tasks, score_predictions

if TYPE_CHECKING:
    from zoo.datasets.base import Index
    from zoo.protocols.schema import ProtocolFile
    from zoo.runtimes.base import Session, SessionInfo


@dataclass(frozen=True)
class Settings:
    """How to run; what to run is said apart.

    Attributes:
        runtime: ``onnxruntime``, ``openvino``, ``torch``; None takes the entry's default, which the record names.
        device: ``cpu``, ``cuda:0`` ...
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        threads: Cores to use; None takes those that the process may use.
        batch: Images an inference.
        offline: Make no request.
        fresh: Run the model again even when its predictions are stored.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
        fold: For models with one checkpoint a fold: use this fold's for everything, as a fixed model.
    """

    runtime: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None
    batch: int = 32
    offline: bool | None = None
    fresh: bool = False
    resamples: int = RESAMPLES
    seed: int = SEED
    fold: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation.

    Attributes:
        record: The record, not yet written.
        scored: Scores with their bootstrap replicates.
        predictions: The stored predictions.
        problems: Samples that could not be decoded, one line each.
    """

    record: ResultRecord
    scored: Scored
    predictions: Path
    problems: tuple[str, ...]


def quiet(text: str) -> None:
    """Says nothing."""
    del text


def nothing_scored(protocol: ProtocolFile, index: Index) -> DatasetError:
    """Returns the error of a copy in which no sample belongs to a protocol's folds."""
    return DatasetError(
        f"nothing in this copy of {index.dataset} is scored by {protocol.ref}", where=str(index.root),
        fix=f"python -m zoo.check dataset={index.dataset} root={quote(str(index.root))}",
    )  # fmt: skip


class _Models:
    """The sessions of an entry, one a fold where its checkpoints are bound to folds, opened when first needed."""

    def __init__(
        self,
        entry: ModelEntry,
        protocol: ProtocolFile,
        settings: Settings,
        registry: Registry,
        names: Sequence[str | None],
    ) -> None:
        from zoo.models import select_files
        from zoo.runtimes import default_runtime
        from zoo.weights import locate

        self.entry, self.protocol, self.settings = entry, protocol, settings
        self.task = output_for(protocol, entry)[0].task
        self.runtime = settings.runtime or default_runtime(entry)
        self.threads = settings.threads or usable_cores()
        self.names = names
        self.files: dict[str | None, list[tuple[WeightFile, Path]]] = {}
        for fold in names:
            chosen = select_files(
                entry, tasks=(self.task,), runtime=self.runtime, precision=settings.precision, fold=fold
            )
            self.files[fold] = [
                (f, locate(f, entry=entry, base=registry.base(entry.name), offline=settings.offline)) for f in chosen
            ]
        self._session: tuple[str | None, Session] | None = None

    def used_files(self) -> tuple[UsedFile, ...]:
        unique = {f.name: (f, p) for pairs in self.files.values() for f, p in pairs}
        return tuple(
            UsedFile(name=f.name, sha256=f.sha256 or sha256_of(p), fold=f.fold.name if f.fold else None)
            for f, p in unique.values()
        )

    def session(self, place: int) -> Session:
        from zoo.runtimes import open_session

        name = self.names[place]
        if self._session is None or self._session[0] != name:
            self.close()
            streams = self.threads if self.settings.device == "cpu" else 1  # one batch a core has no barriers
            session = open_session(
                self.entry, {f.name: p for f, p in self.files[name]}, (self.task,), runtime=self.runtime,
                device=self.settings.device, precision=self.settings.precision, threads=self.threads // streams,
                streams=streams,
            )  # fmt: skip
            self._session = (name, session)
        return self._session[1]

    def info(self) -> SessionInfo:
        return self.session(0).info

    def stream(
        self, place: int, batches: Iterable[tuple[Any, NDArray[np.uint8]]]
    ) -> Generator[tuple[Any, dict[str, NDArray[np.float32]]], None, None]:
        from zoo.models import apply_outputs, check_finite

        task = self.task
        for key, tensors in self.session(place).stream(batches):
            check_finite(self.entry, tensors, self.settings.precision)
            values = apply_outputs(self.entry, tensors, (task,))[task]
            yield key, {column(task, x): values[:, i] for i, x in enumerate(self.entry.output(task).labels)}

    def close(self) -> None:
        if self._session is not None:
            self._session[1].close()
            self._session = None


def evaluate_entry(
    entry: ModelEntry,
    index: Index,
    protocol: ProtocolFile,
    settings: Settings,
    *,
    registry: Registry,
    progress: bool = False,
    tell: Callable[[str], None] = quiet,
) -> Evaluated:
    """Evaluates one entry on one copy of a dataset under one protocol.

    Raises:
        UsageError: The entry cannot be run, or does not have the protocol's task or any of its labels.
        DatasetError: The copy holds nothing that the protocol scores.
        ZooError: Weights, runtime, data: whatever is missing, named.
    """
    from zoo.faces.pipeline import describe
    from zoo.protocols.rules import as_coded, assign_folds, completeness

    started = time.perf_counter()
    if not entry.runnable or entry.preprocess is None:
        raise UsageError(f"'{entry.name}' {entry.no_run} and cannot be run here", why=entry.notes)
    output, derived = output_for(protocol, entry)
    labels_scored(as_coded(protocol, index), output)
    folds = assign_folds(protocol, index)
    if not (folds >= 0).any():
        raise nothing_scored(protocol, index)

    checkpoints = assign_checkpoints(entry, protocol, index, folds, settings.fold)
    models = _Models(entry, protocol, settings, registry, checkpoints.names)
    try:
        info = models.info()
        store = PredictionStore(entry.name, _key(entry, index, protocol, models))
        with store.held(tell):
            problems, resumed = _predict(models, store, index, checkpoints.place, folds, progress=progress, tell=tell)
            table = store.read()
    finally:
        models.close()

    whole, expected = completeness(protocol, index)
    scored = score_predictions(
        table, index, protocol, folds, output,
        expected=expected, resamples=settings.resamples, seed=settings.seed,
    )  # fmt: skip
    record = make_record(
        entry, index, protocol, scored, settings,
        weights=models.used_files(), preprocess=entry.preprocess.hash, steps=describe(entry.preprocess),
        derived=derived, contamination=checkpoints.contamination,
        runtime=RuntimeUsed(
            runtime=info.runtime, version=info.version, device=info.device, precision=info.precision,
            threads=info.threads, streams=info.streams, provider=info.provider, batch=settings.batch,
        ),
        started=started, resumed=resumed, predictions=store.id,
        complete=whole and not scored.coverage.undecodable,
    )  # fmt: skip
    return Evaluated(record, scored, store.path, tuple(problems))


def make_record(
    entry: ModelEntry,
    index: Index,
    protocol: ProtocolFile,
    scored: Scored,
    settings: Settings,
    *,
    weights: Sequence[UsedFile],
    preprocess: str,
    steps: Sequence[str],
    derived: str | None,
    contamination: tuple[Contamination, str | None],
    runtime: RuntimeUsed,
    started: float,
    resumed: bool,
    predictions: str,
    complete: bool,
    status: Status | None = None,
) -> ResultRecord:
    """Makes the record of scored predictions.

    Args:
        entry: The model.
        index: The copy of the dataset.
        protocol: The protocol.
        scored: The scores.
        settings: Of the bootstrap.
        weights: Files that were used.
        preprocess: Hash of the preprocess contract.
        steps: The contract in words.
        derived: How the task's values come from another task's.
        contamination: The worst flag, and why.
        runtime: What ran it.
        started: ``time.perf_counter()`` at the beginning.
        resumed: Whether part of the predictions was there before.
        predictions: Key of the stored predictions.
        complete: Whether everything that the protocol scores was there and was scored.
        status: Status of the model as it was run; None takes the entry's.
    """
    from zoo.results.environment import capture_code, capture_environment, peak_rss_mib, timestamp

    return ResultRecord(
        created=timestamp(),
        model=ModelUsed(
            name=entry.name, contract=entry.contract_hash, preprocess=preprocess, steps=tuple(steps),
            weights=tuple(weights), missing_labels=scored.missing_labels, derived=derived,
            status=status or entry.status,
        ),
        protocol=ProtocolUsed(ref=protocol.ref, hash=protocol.hash),
        dataset=DatasetUsed(
            name=index.dataset, manifest=index.manifest, identities=index.identities, synthetic=index.synthetic,
            options=index.options, subjects=len(index.subjects), complete=complete,
            findings=tuple(f"{f.severity}: {f.message}" for f in index.findings if f.severity != "note"),
        ),
        task=protocol.task,
        contamination=contamination[0],
        contamination_note=contamination[1],
        coverage=scored.coverage,
        views=scored.views,
        tuned=scored.tuned,
        label_audit=scored.audit,
        subjects=scored.subjects,
        runtime=runtime,
        environment=capture_environment(),
        code=capture_code(),
        seeds=Seeds(bootstrap=settings.seed, resamples=settings.resamples),
        cost=Cost(seconds=round(time.perf_counter() - started, 2), resumed=resumed, peak_rss_mib=peak_rss_mib()),
        predictions=predictions,
    )  # fmt: skip


def _key(entry: ModelEntry, index: Index, protocol: ProtocolFile, models: _Models) -> dict[str, Any]:
    """Returns everything that stored predictions depend on.

    The crops' key has the samples row by row, the face code and the versions of what decodes and detects; the code is
    that of the models and of the runtimes. What another version of the zoo predicted is not scored as this one's.
    """
    import zoo.runtimes
    from zoo.runs.prepare import CropStore
    from zoo.runtimes.export import model_code

    assert entry.preprocess is not None
    info = models.info()
    runtimes = sorted(Path(zoo.runtimes.__path__[0]).glob("*.py"))
    return {
        "model": entry.name, "contract": entry.contract_hash,
        "weights": sorted(f.sha256 for f in models.used_files()), "checkpoint": models.settings.fold,
        "protocol": protocol.ref, "frames": protocol.hash, "task": models.task,
        "dataset": index.dataset, "manifest": index.manifest, "options": index.options,
        "runtime": info.runtime, "version": info.version, "device": info.device, "precision": info.precision,
        "batch": models.settings.batch,
        "crops": content_hash(CropStore(entry.preprocess, index).key, 16),
        "code": content_hash([model_code(entry.family), {p.name: sha256_of(p) for p in runtimes}], 16),
    }  # fmt: skip


def _predict(
    models: _Models,
    store: PredictionStore,
    index: Index,
    checkpoints: NDArray[np.int16],
    folds: NDArray[np.int16],
    *,
    progress: bool,
    tell: Callable[[str], None],
) -> tuple[list[str], bool]:
    """Makes the stored predictions whole; returns what could not be decoded, and whether a part was there before."""
    from zoo.faces.pipeline import build_pipeline
    from zoo.runs.execute import Crops, CropSource, RawCrops, crop_units, plan, run_units
    from zoo.runs.prepare import stored_crops

    entry, protocol = models.entry, models.protocol
    assert entry.preprocess is not None
    store.begin(fresh=models.settings.fresh)
    if store.complete():
        tell(f"predictions are stored already ({store.id}); fresh=true runs the model again")
        return [], True
    units = plan(index, checkpoints)
    finished = store.finished(units)
    todo = [u for u in units if u.number not in finished]
    before = sum(len(u.rows) for u in units if u.number in finished)
    if before:
        tell(f"going on after {before} samples that an earlier run finished")
    problems: list[str] = []
    with progress_bar(sum(len(u.rows) for u in units), before, entry.name, progress) as bar:

        def keep(unit: Unit, values: dict[str, NDArray[Any]]) -> None:
            store.write_unit(unit, {**identity_columns(index, protocol, folds, unit), **values})

        def done(item: Crops) -> None:
            problems.extend(item.problems)
            bar.update(len(item.unit.rows))

        source: CropSource | None = stored_crops(entry.preprocess, index)
        if source is None:
            source = RawCrops(index, build_pipeline(entry.preprocess, threads=models.threads))
        else:
            tell("crops come from the store that zoo.prepare made")
        # Units come in the order of their checkpoints, so that one is loaded at a time.
        for place, group in groupby(todo, key=lambda u: u.fold):
            run_units(
                crop_units(index, list(group), source, workers=models.threads),
                partial(models.stream, place),
                keep,
                [column(models.task, x) for x in entry.output(models.task).labels],
                batch=models.settings.batch,
                done=done,
            )
    store.finish(units)
    return problems, bool(finished)


def identity_columns(
    index: Index, protocol: ProtocolFile, folds: NDArray[np.int16], unit: Unit
) -> dict[str, NDArray[Any]]:
    """Returns what says which samples the rows of a unit are."""
    rows = unit.rows
    names = np.array([f.name for f in protocol.folds] or [""])
    return {
        "dataset": np.full(len(rows), index.dataset), "subject": np.asarray(index.subject[rows]),
        "sequence": np.asarray(index.sequence[rows]), "frame": index.frame[rows], "fold": names[folds[rows]],
    }  # fmt: skip


def progress_bar(total: int, initial: int, name: str, shown: bool, *, unit: str = "img") -> Any:
    """Returns a progress bar on stderr."""
    from tqdm import tqdm

    return tqdm(total=total, initial=initial, desc=name, unit=unit, disable=not shown, file=sys.stderr, mininterval=0.5)


def evaluate(
    model: str,
    dataset: str,
    *,
    protocol: str | None = None,
    root: str | Path | None = None,
    settings: Settings | None = None,
    registry: Sequence[str | Path] = (),
    progress: bool = False,
    **options: str,
) -> Evaluated:
    """Evaluates a model of the registry on a dataset.

    Args:
        model: Model name.
        dataset: Dataset name.
        protocol: Protocol, with or without version; None takes the dataset's first one for a task of the model.
        root: The dataset's folder; None takes ``ZOO_<DATASET>_ROOT``.
        settings: How to run.
        registry: More registry files.
        progress: Show a progress bar on stderr.
        options: How to read the dataset, such as ``camera="right"``.

    Returns:
        The record, which is not written (:func:`zoo.results.save_record` does), the scores and the stored predictions.

    Raises:
        UnknownNameError: No such model, dataset, protocol or option.
        ZooError: As :func:`evaluate_entry`.

    Example:
        >>> import zoo
        >>> result = zoo.evaluate("hog-ridge", "synthface")  # doctest: +SKIP
        >>> result.record.score("pcc", "pooled").mean.value  # doctest: +SKIP
    """
    from zoo.datasets import labelled_tasks, load_index
    from zoo.protocols import default_protocol, load_protocol

    loaded = load_registry(registry)
    entry = loaded.get(model)
    if protocol:
        chosen = load_protocol(protocol)
    else:
        chosen = default_protocol(dataset, scorable_tasks(entry), labelled_tasks(dataset, root))
    offline = settings.offline if settings else None
    index = load_index(dataset, root, cache=True, offline=offline, **{**chosen.dataset_options, **options})
    return evaluate_entry(entry, index, chosen, settings or Settings(), registry=loaded, progress=progress)
