"""The check of one model on this machine: fetch, verify, load strictly, run a fixed input, compare the runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo._util.files import sha256_of
from zoo.errors import ContractError, DependencyError, RuntimeUnavailableError, UsageError
from zoo.registry import ModelEntry, Registry
from zoo.results.evidence import Evidence, ReadingEvidence, RuntimeEvidence
from zoo.results.record import UsedFile

if TYPE_CHECKING:
    from zoo.registry.schema import Precision
    from zoo.runtimes.base import Session, Tensors

GOLDEN = 8
"""Crops of the fixed input."""


def golden_input(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Returns the fixed input: smooth seeded pictures, the same on every machine.

    Args:
        shape: Height, width and channels of a crop.

    Returns:
        uint8 ``[GOLDEN, height, width, channels]``.
    """
    height, width, channels = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    pictures = []
    for i in range(GOLDEN):
        # Sines of whole pixels only: no random generator, whose stream a library may change.
        waves = [
            128 + 60 * np.sin((i + 1 + c) * x / width * 3) + 60 * np.cos((2 * i + 1 + c) * y / height * 2)
            for c in range(channels)
        ]
        pictures.append(np.clip(np.stack(waves, -1), 0, 255).astype(np.uint8))
    return np.stack(pictures)


def verify_entry(
    entry: ModelEntry,
    registry: Registry,
    *,
    offline: bool | None = None,
    faces: Path | None = None,
    tell: Callable[[str], None],
) -> Evidence:
    """Checks an entry on this machine.

    Args:
        entry: The entry.
        registry: Where it comes from.
        offline: Make no request.
        faces: Folder of pictures for an entry that leaves open how an output is read; None for rendered faces.
        tell: Called with a line for each thing that was found right, looks odd, or cannot be run here.

    Returns:
        The evidence.

    Raises:
        UsageError: An entry that cannot be run here.
        WeightsError: A file that cannot be had or is not what the registry says.
        ContractError: A file that does not do what the entry declares, or runtimes that disagree.
        RuntimeUnavailableError: No runtime could run the entry.
    """
    from zoo.models import apply_outputs
    from zoo.results.environment import capture_code, capture_environment, timestamp
    from zoo.runs.doubts import find_doubts
    from zoo.weights import locate

    if entry.preprocess is None or not entry.runnable:
        raise UsageError(f"'{entry.name}' {entry.no_run}", why=entry.notes)
    paths: dict[str, Path] = {}
    for file in entry.weights:
        path = locate(file, entry=entry, base=registry.base(entry.name), offline=offline)
        paths[file.name] = path
        tell(f"{file.name}: {path.stat().st_size} bytes, hash as the registry says")
    crops = golden_input((*entry.preprocess.size, entry.preprocess.channels))
    folds: list[str | None] = [*sorted({w.fold.name for w in entry.weights if w.fold})]
    found: list[RuntimeEvidence] = []
    golden: dict[str, tuple[tuple[float, ...], ...]] = {}
    for fold in folds or [None]:
        runtimes, tensors = _run_everywhere(entry, fold, paths, crops, tell)
        found += runtimes
        if not golden:
            for doubt in find_doubts(entry, tensors):
                tell(f"warning: {doubt}")
            for task, values in apply_outputs(entry, tensors).items():
                golden[task] = tuple(tuple(round(float(x), 4) for x in row) for row in values)
    return Evidence(
        created=timestamp(),
        model=entry.name,
        contract=entry.contract_hash,
        readings=_readings(entry, found[0].runtime, folds[0] if folds else None, paths, faces, tell),
        files=tuple(
            UsedFile(name=w.name, sha256=w.sha256 or sha256_of(paths[w.name]), fold=w.fold.name if w.fold else None)
            for w in entry.weights
        ),
        runtimes=tuple(found),
        golden=golden,
        packages=capture_environment().packages,
        code=capture_code(),
    )


def _precision(entry: ModelEntry) -> Precision:
    """Returns the precision that a check runs: fp32, or that of an entry whose files are all of another one."""
    declared = [w.precision for w in entry.weights if w.format != "json"]  # text has none
    return "fp32" if "fp32" in declared else declared[0]


def _opened(
    entry: ModelEntry, fold: str | None, paths: Mapping[str, Path], runtime: str, threads: int | None = None
) -> Session:
    from zoo.models import select_files
    from zoo.runtimes import open_session

    precision = _precision(entry)
    chosen = select_files(entry, entry.tasks, runtime=runtime, precision=precision, fold=fold)
    return open_session(
        entry, {w.name: paths[w.name] for w in chosen}, entry.tasks, runtime=runtime, precision=precision,
        threads=threads or usable_cores(),
    )  # fmt: skip


def _readings(
    entry: ModelEntry,
    runtime: str,
    fold: str | None,
    paths: Mapping[str, Path],
    faces: Path | None,
    tell: Callable[[str], None],
) -> tuple[ReadingEvidence, ...]:
    """Tells which of the open readings the file supports, of the first fold, in a runtime that has run it."""
    if not entry.readings:
        return ()
    from zoo.runs.readings import find_readings

    session = _opened(entry, fold, paths, runtime)
    try:
        return find_readings(entry, session, faces, tell)
    finally:
        session.close()


def _run_everywhere(
    entry: ModelEntry,
    fold: str | None,
    paths: Mapping[str, Path],
    crops: NDArray[np.uint8],
    tell: Callable[[str], None],
) -> tuple[list[RuntimeEvidence], Tensors]:
    """Runs the fixed input in every runtime that is here; returns the evidence and the first runtime's tensors."""
    from zoo.models import check_finite
    from zoo.runtimes.parity import TOLERANCE, agreement, batch_invariance, thread_invariance, worst

    where = "" if fold is None else f"fold {fold}: "
    found: list[RuntimeEvidence] = []
    first: Tensors = {}
    limit = TOLERANCE[_precision(entry)]
    for runtime in ("torch", "onnxruntime", "openvino"):
        try:
            session = _opened(entry, fold, paths, runtime)
        except (RuntimeUnavailableError, DependencyError) as error:
            tell(f"{where}{runtime}: cannot run it here ({error.what})")
            continue
        try:
            tensors = session.infer(crops)
            check_finite(entry, tensors, session.info.precision)
            batches = worst(batch_invariance(session, crops).values())
            others = partial(_opened, entry, fold, paths, runtime)
            threads = worst(thread_invariance(session, others, crops).values())
        finally:
            session.close()
        for what, moved in (("in batches", batches), ("with other threads", threads)):
            if not moved <= limit:  # written so that a NaN fails
                raise ContractError(f"{entry.name}: {runtime} answers differently {what}", why=f"by {moved:.1e}")
        text = f"{where}{runtime}: loads strictly, outputs as declared, batches change it by {batches:.1e}, "
        text += f"threads by {threads:.1e}"
        reference = found[0].runtime if found else None
        apart = worst(agreement(first[k], v) for k, v in tensors.items()) if found else None
        if apart is not None:
            if not apart <= limit:
                raise ContractError(f"{entry.name}: {runtime} and {reference} disagree", why=f"by {apart:.1e}")
            text += f", within {apart:.1e} of {reference}"
        tell(text)
        first = first or tensors
        found.append(
            RuntimeEvidence(
                runtime=runtime, version=session.info.version, fold=fold, batches=batches, threads=threads,
                reference=reference, difference=apart,
            )
        )  # fmt: skip
    if not found:
        raise RuntimeUnavailableError(
            f"no runtime here can run '{entry.name}'", fix="pip install 'libreface-zoo[torch]'"
        )
    return found, first
