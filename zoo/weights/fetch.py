"""All files of an entry, for the ``fetch`` verb and for whoever wants to be ready before leaving the network."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from zoo.errors import UnknownNameError, UsageError
from zoo.registry.schema import ModelEntry, WeightFile
from zoo.weights.store import locate


def select(
    entry: ModelEntry,
    *,
    tasks: Collection[str] | None = None,
    folds: Collection[str] | None = None,
    precisions: Collection[str] | None = None,
) -> list[WeightFile]:
    """Returns the files of an entry that some work needs.

    Args:
        entry: The entry.
        tasks: Only files that these tasks need: those that make their outputs, and shared ones such as an encoder.
        folds: Only checkpoints of these folds, by name (files that are tied to no fold stay).
        precisions: Only files of these precisions.

    Raises:
        UnknownNameError: The entry has no such task, fold or precision.
        UsageError: The entry has no weights, or the choices leave none.
    """
    if not entry.weights:
        raise UsageError(
            f"'{entry.name}' has no weights to fetch",
            where=entry.where,
            why=f"its status is {entry.status}",
            fix="see its notes",
        )
    _known("task", tasks, entry.tasks, entry.where)
    _known("fold", folds, (w.fold.name for w in entry.weights if w.fold), entry.where)
    _known("precision", precisions, (w.precision for w in entry.weights), entry.where)
    outputs = {output.role for output in entry.outputs}
    asked = {output.role for output in entry.outputs if tasks is None or output.task in tasks}
    chosen = [
        file
        for file in entry.weights
        if (file.role in asked or file.role not in outputs)
        and (folds is None or file.fold is None or file.fold.name in folds)
        and (precisions is None or file.precision in precisions)
    ]
    if not chosen:
        raise UsageError(
            f"'{entry.name}' has no file that is all of this", where=entry.where, fix="ask for less at once"
        )
    return chosen


def fetch_model(
    entry: ModelEntry,
    *,
    offline: bool | None = None,
    base: Path | None = None,
    tasks: Collection[str] | None = None,
    folds: Collection[str] | None = None,
    precisions: Collection[str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Fetches the files of an entry; those that the cache has cost no request.

    Args:
        entry: The entry.
        offline: As in :func:`zoo.weights.locate`.
        base: As in :func:`zoo.weights.locate`.
        tasks: As in :func:`select`.
        folds: As in :func:`select`.
        precisions: As in :func:`select`.
        progress: Whether progress bars may be drawn on stderr.

    Returns:
        Verified paths, in the entry's order.

    Raises:
        ZooError: As :func:`select` and :func:`zoo.weights.locate`; files fetched before it stay in the cache.
    """
    files = select(entry, tasks=tasks, folds=folds, precisions=precisions)
    return [locate(file, entry=entry, base=base, offline=offline, progress=progress) for file in files]


def _known(kind: str, asked: Collection[str] | None, known: Iterable[str], where: str) -> None:
    valid = set(known)
    for name in asked or ():
        if name not in valid:
            raise UnknownNameError(kind, name, valid, where=where)
