"""Which checkpoint scores which sample, where a model has one a fold, and what that means for its independence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.datasets import identities_of
from zoo.datasets.base import Index
from zoo.errors import UnknownNameError, UsageError
from zoo.protocols.rules import WORST_FIRST, Flag, check_fold_binding, contamination, follows_folds
from zoo.protocols.schema import ProtocolFile
from zoo.registry.schema import FoldBinding, ModelEntry


@dataclass(frozen=True)
class Assignment:
    """The checkpoints of a run.

    Attributes:
        names: Fold names of the checkpoints; ``(None,)`` for a model with one checkpoint for all.
        place: int16 ``[samples]``: place in ``names``, -1 where the protocol leaves the sample out.
        contamination: The worst flag of all checkpoints, and why.
    """

    names: tuple[str | None, ...]
    place: NDArray[np.int16]
    contamination: tuple[Flag, str | None]


def _worst(found: list[tuple[Flag, str | None]]) -> tuple[Flag, str | None]:
    return min(found, key=lambda pair: WORST_FIRST.index(pair[0]))


def assign_checkpoints(
    entry: ModelEntry, protocol: ProtocolFile, index: Index, folds: NDArray[np.int16], fold: str | None = None
) -> Assignment:
    """Gives each sample its checkpoint.

    A model with one checkpoint for all has no choice. Fold-bound checkpoints score, in this order:

    1. the one named by ``fold``: every sample, as a fixed model;
    2. under a protocol with their folds: each fold its own test subjects;
    3. on other recordings of the people they were made with (DISFA+ after DISFA): each person with the checkpoint
       that has not seen that person.

    Args:
        entry: The model.
        protocol: The protocol.
        index: The copy that is scored.
        folds: The protocol's fold of each sample, -1 where it leaves it out.
        fold: A fold's name, to use its checkpoint for everything.

    Raises:
        UsageError: ``fold`` for a model without folds, or checkpoints that fit none of the cases.
        UnknownNameError: No such fold.
    """
    kept = folds >= 0
    everything = np.where(kept, 0, -1).astype(np.int16)
    bindings = {w.fold.name: w.fold for w in entry.weights if w.fold}
    if not bindings:
        if fold is not None:
            raise UsageError(f"'{entry.name}' has one checkpoint for all folds", fix="leave fold= out")
        parts = [contamination(entry, protocol, index, f.name) for f in protocol.folds]
        return Assignment((None,), everything, _worst(parts or [contamination(entry, protocol, index)]))
    if fold is not None:
        if fold not in bindings:
            raise UnknownNameError("fold", fold, bindings, where=entry.where)
        scored = set(index.subject[kept].distinct()[0])
        return Assignment((fold,), everything, contamination(entry, protocol, index, checkpoint=fold, subjects=scored))
    if all(follows_folds(b, protocol) for b in bindings.values()) or not _same_people(bindings, index, kept):
        check_fold_binding(entry, protocol)
        parts = [contamination(entry, protocol, index, f.name) for f in protocol.folds]
        return Assignment(tuple(f.name for f in protocol.folds), folds, _worst(parts))
    names = tuple(bindings)
    place = np.full(len(index), -1, np.int16)
    parts = []
    for number, name in enumerate(names):
        mine = kept & index.subject.isin(bindings[name].test_subjects)
        if mine.any():
            place[mine] = number
            scored = set(index.subject[mine].distinct()[0])
            parts.append(contamination(entry, protocol, index, checkpoint=name, subjects=scored))
    return Assignment(names, place, _worst(parts))


def _same_people(bindings: dict[str, FoldBinding], index: Index, kept: NDArray[np.bool_]) -> bool:
    """Whether the copy shows the people of the folds, each in exactly one checkpoint's test part."""
    from zoo.protocols import load_protocol

    origins = {load_protocol(b.protocol).dataset for b in bindings.values()}
    if {identities_of(name) for name in origins} != {index.identities}:
        return False
    parts = [set(b.test_subjects) for b in bindings.values()]
    people = set(index.subject[kept].distinct()[0])
    return all(sum(person in part for part in parts) == 1 for person in people)
