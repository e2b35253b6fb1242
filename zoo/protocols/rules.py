"""The rules of a protocol on one copy of a dataset: which samples, whose fold, which truth, and who has seen them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.datasets import get_dataset, identities_of, known_as, list_datasets
from zoo.datasets.base import Index, Labels
from zoo.datasets.reader import Wanted, some
from zoo.errors import DatasetError, RegistryError, UsageError
from zoo.protocols.schema import Fold, ProtocolFile
from zoo.registry.schema import FoldBinding, ModelEntry, Training

Flag = Literal["held_out", "in_sample", "identity_overlap", "selection_only", "unknown"]

# A result is as clean as the worst thing known about it; not knowing ranks above a known lesser fault.
WORST_FIRST: tuple[Flag, ...] = ("in_sample", "identity_overlap", "unknown", "selection_only", "held_out")

_SPLITS = {
    "training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test",
    "publictest": "validation", "privatetest": "test",
}  # fmt: skip


def assign_folds(protocol: ProtocolFile, index: Index) -> NDArray[np.int16]:
    """Returns the fold of each sample: its place in ``protocol.folds``, or -1 where the protocol leaves it out.

    Left out are samples of another split, outside the frame set, of subjects that no fold tests, and samples with no
    label of the protocol. A protocol without folds has the one fold 0.

    Returns:
        int16 ``[samples]``.

    Raises:
        UsageError: The protocol is for another dataset.
    """
    if protocol.dataset != index.dataset:
        raise UsageError(
            f"{protocol.ref} is a protocol of {protocol.dataset}, not of {index.dataset}",
            fix=f"dataset={protocol.dataset}, or a protocol of {index.dataset}: python -m zoo.show protocols=true",
        )
    wrong = {k: v for k, v in protocol.dataset_options.items() if index.options.get(k) != v}
    if wrong:
        raise UsageError(
            f"{protocol.ref} needs the dataset read with {', '.join(f'{k}={v}' for k, v in wrong.items())}",
            why=f"it was read with {', '.join(f'{k}={index.options.get(k)}' for k in wrong)}",
        )
    keep = get_dataset(index.dataset).frame_set(index, protocol.frames)
    if protocol.split is not None:
        keep &= index.split == protocol.split
    keep &= _labelled(protocol, index) > 0
    if not protocol.folds:
        return np.where(keep, np.int16(0), np.int16(-1))
    names, place = index.subject.distinct()
    of = {subject: number for number, f in enumerate(protocol.folds) for subject in f.test}
    return np.where(keep, np.array([of.get(n, -1) for n in names], np.int16)[place], np.int16(-1))


def _labelled(protocol: ProtocolFile, index: Index) -> NDArray[np.uint8]:
    """Returns how many of the protocol's labels are coded in each sample (a class is one label), ``[samples]``."""
    if protocol.task == "expression":
        return (truth(protocol, index) >= 0).astype(np.uint8)
    labels, places = _columns(protocol, index)
    found = np.zeros(len(index), np.uint8)
    for place in places:
        found += ~np.isnan(labels.values[:, place])
    return found


def as_coded(protocol: ProtocolFile, index: Index) -> ProtocolFile:
    """Returns a protocol as it applies to a copy: with the labels that the copy codes and its unit of the bootstrap.

    Only protocols of a user's own data leave these open; all others come back as they are.

    Raises:
        DatasetError: The copy codes none of the labels.
    """
    change: dict[str, Any] = {}
    if protocol.labels_from_copy and protocol.task in index.labels:
        found = index.labels[protocol.task]
        coded = {n for n, column in zip(found.names, found.values.T, strict=True) if not np.isnan(column).all()}
        labels = tuple(x for x in protocol.labels if x in coded)
        if not labels:
            raise DatasetError(
                f"this copy of {index.dataset} codes none of the labels of {protocol.ref}", where=str(index.root),
                why=f"it codes {', '.join(sorted(coded)) or 'nothing'}",
            )  # fmt: skip
        change["labels"] = labels
    if protocol.clusters == "subject-or-sample":
        change["clusters"] = "subject" if (index.subject != "").all() else "sample"
    return protocol.model_copy(update=change) if change else protocol


def truth(
    protocol: ProtocolFile, index: Index, rows: slice | NDArray[np.int64] = slice(None)
) -> NDArray[np.float32] | NDArray[np.int16]:
    """Returns the truth of samples, in the order of the protocol's labels (:func:`as_coded`), matched by name.

    Args:
        protocol: The protocol.
        index: The copy.
        rows: Samples; all of them when not given.

    Returns:
        float32 ``[samples, labels]`` with NaN where not coded (occurrence: 0 or 1), or for expressions int16
        ``[samples]``, the place in ``protocol.labels`` and -1 where not labelled or not a class of the protocol.

    Raises:
        DatasetError: The copy has no labels of the task, or lacks one of the protocol's labels.
    """
    labels, places = _columns(protocol, index)
    if protocol.task == "expression":
        lookup = np.full(len(labels.names) + 1, -1, np.int16)  # -1 takes the last one
        lookup[places] = [protocol.labels.index(labels.names[place]) for place in places]
        chosen: NDArray[np.int16] = lookup[labels.values[rows]]
        return chosen
    values = np.asarray(labels.values[rows][:, places], np.float32)
    if protocol.task == "au-occurrence" and protocol.binarise_at is not None:
        values = np.where(np.isnan(values), np.float32(np.nan), (values >= protocol.binarise_at).astype(np.float32))
    return values


def _columns(protocol: ProtocolFile, index: Index) -> tuple[Labels, list[int]]:
    """Returns the copy's labels that hold the truth, and where among them the protocol's are, in its order.

    Raises:
        DatasetError: As :func:`truth`.
    """
    task = protocol.task if protocol.task != "au-occurrence" or protocol.binarise_at is None else "au-intensity"
    if task not in index.labels:
        raise DatasetError(
            f"this copy of {index.dataset} has no labels for {task}",
            where=str(index.root),
            why=f"{protocol.ref} scores them; there are labels for {', '.join(index.labels) or 'nothing'}",
            fix=f"python -m zoo.check dataset={index.dataset} root={index.root}",
        )
    labels, protocol = index.labels[task], as_coded(protocol, index)
    absent = [name for name in protocol.labels if name not in labels.names]
    # Whoever brings pictures of their own need not have every expression; a published set without one is another set.
    if absent and not (task == "expression" and protocol.open):
        kind = "class" if task == "expression" else "labels for"
        raise DatasetError(
            f"this copy of {index.dataset} has no {kind} {', '.join(absent)}",
            where=str(index.root),
            why=f"{protocol.ref} scores {'it' if len(absent) == 1 else 'them'}; the copy has {', '.join(labels.names)}",
        )
    return labels, [labels.names.index(name) for name in protocol.labels if name in labels.names]


def missing_subjects(protocol: ProtocolFile, index: Index) -> list[str]:
    """Returns the protocol's test subjects that this copy has no scored sample of."""
    scored = index.subject[assign_folds(protocol, index) >= 0].distinct()[0]
    return [s for s in protocol.subjects if s not in scored]


def completeness(protocol: ProtocolFile, index: Index) -> tuple[bool, int | None]:
    """Says whether a copy holds everything that a protocol scores.

    Returns:
        Whether it is complete, and how many samples the owners' copy gives under the protocol (None: not known).
    """
    folds = assign_folds(protocol, index)
    expected = None
    if not index.synthetic:
        wanted = Wanted(
            split=protocol.split,
            frames=protocol.frames,
            subjects=protocol.subjects,
            classes=protocol.labels if protocol.task == "expression" else (),
            options=index.options,
            task=protocol.task,
        )
        expected = get_dataset(index.dataset).expected(wanted)
    # Labels that the owners' copy does not have make it another release, whatever its size.
    other = any(f.severity == "error" or f.code.startswith("unexpected-") for f in index.findings)
    whole = not missing_subjects(protocol, index) and not other
    if expected is None:
        return whole and not any(f.code.startswith("missing-") for f in index.findings), None
    labels = 1 if protocol.task == "expression" else len(as_coded(protocol, index).labels)
    coded = bool((_labelled(protocol, index)[folds >= 0] == labels).all())
    # Decoders differ by one frame at a video's end, and the reader says where: that is no incomplete copy.
    short = sum(f.count for f in index.findings if f.code == "one-frame-short")
    return whole and coded and expected - short <= int((folds >= 0).sum()) <= expected, expected


def readiness(protocol: ProtocolFile, index: Index) -> str:
    """Says in one line what a protocol can do with a copy, for the integrity report."""
    if options := {k: v for k, v in protocol.dataset_options.items() if index.options.get(k) != v}:
        return f"{protocol.ref}: not judged; read the copy with {' '.join(f'{k}={v}' for k, v in options.items())}"
    try:
        folds = assign_folds(protocol, index)
    except (DatasetError, UsageError) as error:
        return f"{protocol.ref}: cannot be run: {error.what}"
    if any(f.severity == "error" for f in index.findings):
        return f"{protocol.ref}: cannot be run before the errors are mended"
    complete, expected = completeness(protocol, index)
    scored = int((folds >= 0).sum())
    if not scored:
        return f"{protocol.ref}: cannot be run: no sample of it is in this copy"
    text = f"{protocol.ref}: {scored}" + (f" of {expected}" if expected is not None else "") + " samples"
    if complete:
        damaged = any(f.code == "damaged-image" for f in index.findings)
        return f"{text}, complete" + (" but for damaged images: those that it scores fail" if damaged else "")
    absent = missing_subjects(protocol, index)
    empty = [f.name for i, f in enumerate(protocol.folds) if not (folds == i).any()]
    text += ", INCOMPLETE: scores cannot be compared with those of a whole copy"
    if absent:
        text += f"; no samples of {some(absent, 6)}"
    return text + (f"; empty folds: {', '.join(empty)}" if empty else "")


def check_fold_binding(entry: ModelEntry, protocol: ProtocolFile) -> None:
    """Refuses a model whose checkpoints are bound to folds, unless each fold's test subjects are unseen by its own.

    Raises:
        UsageError: The checkpoints follow the folds of another protocol, or a fold has none.
        RegistryError: A checkpoint that is bound to a fold has seen test subjects of it.
    """
    bindings = [w.fold for w in entry.weights if w.fold]
    if not bindings:
        return
    own = [b for b in bindings if follows_folds(b, protocol)]
    if not own:
        follows = ", ".join(sorted({b.protocol for b in bindings}))
        raise UsageError(
            f"'{entry.name}' cannot be scored under {protocol.ref}: its checkpoints follow the folds of {follows}",
            why="each of them may score only the subjects that it was not trained on",
            fix=f"protocol={bindings[0].protocol}, or fold={bindings[0].name}: that checkpoint alone, for everyone",
        )
    for fold in protocol.folds:
        mine = [b for b in own if b.name == fold.name]
        if not mine:
            raise UsageError(
                f"'{entry.name}' has no checkpoint for the fold {fold.name} of {protocol.ref}",
                why=f"it has checkpoints for {', '.join(sorted({b.name for b in own}))}",
            )
        for binding in mine:
            if seen := sorted(set(fold.test) - set(binding.test_subjects)):
                raise RegistryError(
                    f"the checkpoint of '{entry.name}' for the fold {fold.name} was trained on {', '.join(seen)}",
                    where=f"registry: {entry.name}",
                    why=f"they are test subjects of this fold in {protocol.ref}",
                )


def follows_folds(binding: FoldBinding, protocol: ProtocolFile) -> bool:
    """Says whether a checkpoint follows a protocol's folds: by its id, or with exactly a fold's subjects.

    A rehearsal and the protocol that it rehearses have the same folds under two names; the subjects decide.
    """
    same = any(f.name == binding.name and set(f.test) == set(binding.test_subjects) for f in protocol.folds)
    return same or binding.protocol == protocol.id


def contamination(
    entry: ModelEntry,
    protocol: ProtocolFile,
    index: Index,
    fold: str | None = None,
    *,
    checkpoint: str | None = None,
    subjects: Collection[str] | None = None,
) -> tuple[Flag, str | None]:
    """Says whether a model has seen what it is scored on.

    Args:
        entry: The model.
        protocol: The protocol.
        index: The copy that is scored; its identities decide, so rendered people never meet real ones.
        fold: Name of the fold that is scored; None for all samples of the protocol.
        checkpoint: Fold name of the one checkpoint that is used, where that is not ``fold``'s own.
        subjects: The people that are scored, where they are not the fold's or the protocol's.

    Returns:
        ``in_sample`` (trained on the same recordings), ``identity_overlap`` (trained on other recordings of the same
        people, as a DISFA model on DISFA+), ``selection_only`` (a checkpoint was chosen on them), ``unknown``, or
        ``held_out``; and why. Pre-training on the scored pictures counts as training.
    """
    if index.dataset == "folder" and not index.synthetic:
        return "unknown", "nothing is known of where the images of a user's folder come from"
    if not entry.trained_on:
        return "unknown", "the registry does not say what the model was trained on"
    verdicts = [_seen(entry, one, protocol, index, fold, checkpoint, subjects) for one in entry.trained_on]
    if index.dataset == "hub":  # an entry can know that it has seen them; that it has not, nobody can
        verdicts.append(
            ("unknown", "datasets on the Hub are often copies of other sets, which the model may have seen")
        )
    return min(verdicts, key=lambda v: WORST_FIRST.index(v[0]))


def _seen(
    entry: ModelEntry,
    training: Training,
    protocol: ProtocolFile,
    index: Index,
    fold: str | None,
    checkpoint: str | None,
    subjects: Collection[str] | None,
) -> tuple[Flag, str | None]:
    """Judges one of a model's training sets."""
    name = known_as(training.dataset)  # a name written in another way must not pass for another dataset
    if name == "unknown":
        return "unknown", "its training data are not known"
    if identities_of(name) != index.identities:
        return "held_out", None
    people = bool(index.subjects)
    # Two datasets of one namespace share people, or, where nobody is named, the pictures themselves (FER2013, FER+).
    same = name == index.dataset or not people
    flag: Flag = "selection_only" if training.use == "selection" else "in_sample" if same else "identity_overlap"
    verb = "selected on" if training.use == "selection" else "trained on"
    if training.split is not None and (index.split != "").any():
        scored = {protocol.split} if protocol.split else set(index.split.distinct()[0])
        split = _SPLITS.get(training.split.lower(), training.split.lower())
        if split not in scored:
            return "held_out", None
        if training.subjects in ("all", "unknown"):
            return flag, f"{verb} the split {split} of {name}"
    if training.subjects == "unknown":
        return "unknown", f"{verb} {name}, which part of it is not known"
    if not people:
        if training.subjects == "all":
            return flag, f"{verb} all of {name}"
        return "unknown", f"{verb} a part of {name} that is given by subjects, and this copy names none"
    test = _test_subjects(protocol, index, fold) if subjects is None else set(subjects)
    if training.subjects == "fold":
        bound = _bindings(entry, protocol, fold) if checkpoint is None else _named(entry, checkpoint)
        if not bound:
            return "unknown", f"{verb} folds of {name}, and no checkpoint is bound to {fold or 'a fold'}"
        unseen = set.intersection(*(set(b.test_subjects) for b in bound))
        seen = test - unseen
    else:
        seen = test if training.subjects == "all" else test & set(training.subjects)
    if name in list_datasets() and (known := get_dataset(name).people):
        seen &= known
    if not seen:
        return "held_out", None
    return flag, f"{verb} {len(seen)} of {len(test)} scored subjects ({name})"


def _test_subjects(protocol: ProtocolFile, index: Index, fold: str | None) -> set[str]:
    if fold is None:
        return set(protocol.subjects or index.subjects)
    return set(_fold(protocol, fold).test)


def _fold(protocol: ProtocolFile, name: str) -> Fold:
    for fold in protocol.folds:
        if fold.name == name:
            return fold
    raise UsageError(f"{protocol.ref} has no fold '{name}'", fix=f"one of {', '.join(f.name for f in protocol.folds)}")


def _named(entry: ModelEntry, fold: str) -> Collection[FoldBinding]:
    return [w.fold for w in entry.weights if w.fold and w.fold.name == fold]


def _bindings(entry: ModelEntry, protocol: ProtocolFile, fold: str | None) -> Collection[FoldBinding]:
    return [w.fold for w in entry.weights if w.fold and follows_folds(w.fold, protocol) and w.fold.name == fold]
