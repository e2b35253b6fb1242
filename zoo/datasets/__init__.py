"""Datasets: readers of the owners' layouts, integrity checks, and indexes that are read once and kept.

Example:
    >>> from zoo.datasets import list_datasets
    >>> "disfa" in list_datasets()
    True
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import DatasetMissingError, UnknownNameError

if TYPE_CHECKING:
    from zoo.datasets.base import Finding, Index, Severity
    from zoo.datasets.reader import Reader
    from zoo.registry.labels import Task

__all__ = [
    "IntegrityReport", "check", "dataset_name", "dataset_root", "get_dataset", "identities_of", "known_as",
    "labelled_tasks", "list_datasets", "load_index", "root_variable",
]  # fmt: skip

_READERS = {
    "affectnet": "zoo.datasets.affectnet:AffectNet",
    "affwild2": "zoo.datasets.affwild2:AffWild2",
    "bp4d": "zoo.datasets.bp4d:Bp4d",
    "bp4dplus": "zoo.datasets.bp4d:Bp4dPlus",
    "ckplus": "zoo.datasets.ckplus:CkPlus",
    "disfa": "zoo.datasets.disfa:Disfa",
    "disfaplus": "zoo.datasets.disfaplus:DisfaPlus",
    "fer2013": "zoo.datasets.fer2013:Fer2013",
    "ferplus": "zoo.datasets.fer2013:FerPlus",
    "rafdb": "zoo.datasets.rafdb:Rafdb",
    "folder": "zoo.datasets.folder:Folder",
    "hub": "zoo.datasets.hub:Hub",
    "synthface": "zoo.datasets.synthetic:SynthFace",
    "synthface-rafdb": "zoo.datasets.synthetic:SynthFaceRafdb",
}


def list_datasets() -> list[str]:
    """Returns the names of the datasets that can be read."""
    return sorted(_READERS)


def dataset_name(reference: str) -> str:
    """Returns the dataset that a reference names, under which protocols and records know it.

    A reference is a name, or ``hub:owner/name@commit`` for the dataset ``hub``.
    """
    name, colon, _ = reference.partition(":")
    return "hub" if colon and name == "hub" else reference


def get_dataset(reference: str) -> Reader:
    """Returns the reader of a dataset.

    Args:
        reference: See :func:`dataset_name`.

    Raises:
        UnknownNameError: There is none of that name.
    """
    name = dataset_name(reference)
    if name not in _READERS:
        raise UnknownNameError("dataset", reference, _READERS)
    module, _, attribute = _READERS[name].partition(":")
    kind = getattr(import_module(module), attribute)
    reader: Reader = kind() if name == reference else kind(reference.partition(":")[2])
    return reader


def root_variable(name: str) -> str:
    """Returns the environment variable that points at a dataset: ``ZOO_DISFA_ROOT``."""
    return f"ZOO_{re.sub('[^A-Z0-9]', '_', name.upper())}_ROOT"


def dataset_root(
    name: str,
    root: str | Path | None = None,
    options: Mapping[str, str] | None = None,
    offline: bool | None = None,
) -> Path:
    """Returns the root of a dataset: the one given, else the one that the environment names.

    Synthetic datasets and those of the Hub need neither: they are rendered or fetched into the cache folder.

    Args:
        name: Dataset; see :func:`dataset_name`.
        root: The root as the user gives it.
        options: The reader's options.
        offline: True: fetch nothing. None: as the environment says.

    Raises:
        UnknownNameError: No such dataset.
        DatasetMissingError: Neither is given, or it is not a folder.
    """
    reader = get_dataset(name)
    variable = root_variable(dataset_name(name))
    where = f"root={root}"
    if root is None or not str(root):
        root, where = os.environ.get(variable), variable
        if not root:
            if (own := reader.default_root(reader.chosen(options or {}), offline)) is not None:
                return own
            raise DatasetMissingError(
                f"where is {reader.title}?",
                why=f"neither root= nor the environment variable {variable} is given",
                fix=f"give root=/path/to/it, or set {variable}. {reader.obtain}",
            )
    path = Path(root).expanduser()
    if not path.exists():
        raise DatasetMissingError(
            f"{reader.title} is not there", where=f"{where} -> {path}" if where == variable else str(path),
            why="there is no such folder", fix=f"correct the path. {reader.obtain}",
        )  # fmt: skip
    return path


def load_index(
    name: str, root: str | Path | None = None, *, cache: bool = True, offline: bool | None = None, **options: str
) -> Index:
    """Reads a dataset's index, from the cache folder when the tree has not changed since.

    Args:
        name: Dataset; see :func:`dataset_name`.
        root: Its root; see :func:`dataset_root`.
        cache: Whether a kept index may be used and a new one kept.
        offline: True: fetch nothing. None: as the environment says.
        options: The reader's options, such as ``camera="right"``.

    Raises:
        UnknownNameError: No such dataset, option or value.
        DatasetMissingError: No copy there.
        DatasetError: The copy is damaged.
    """
    from zoo.datasets import cache as kept

    reader = get_dataset(name)
    chosen = reader.chosen(options)
    path = dataset_root(name, root, options, offline)
    if not cache or not path.is_dir():
        return reader.index(path, **chosen)
    where = kept.cached_path(kept.tree_key(path, reader.name, chosen, reader.unread(chosen)), reader.name)
    index = kept.read(where, path)
    if index is None:
        index = reader.index(path, **chosen)
        kept.write(index, where)
    return index


def labelled_tasks(name: str, root: str | Path | None = None) -> tuple[Task, ...] | None:
    """Returns the tasks that a copy has labels for, where that is its user's choice; None for other datasets.

    Raises:
        ZooError: As :func:`load_index`.
    """
    if not get_dataset(name).labels_vary:
        return None
    return tuple(load_index(name, root).labels)


# Other names of the same recordings, as papers and model cards write them, in the spelling of _spelt.
_ALSO_CALLED = {
    "extendeddisfa": "disfaplus", "bp4dspontaneous": "bp4d", "fera2015": "bp4d", "fera15": "bp4d", "fer": "fer2013",
    "fer2013plus": "ferplus", "extendedcohnkanade": "ckplus", "rafdbbasic": "rafdb", "abaw": "affwild2",
}  # fmt: skip


def _spelt(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower().replace("+", "plus"))


def known_as(name: str) -> str:
    """Returns this project's name of a dataset that is written in another way; other names in lower case.

    Example:
        >>> known_as("DISFA+"), known_as("Aff-Wild2"), known_as("UNBC")
        ('disfaplus', 'affwild2', 'unbc')
    """
    spelt = {_spelt(n): n for n in _READERS} | _ALSO_CALLED
    return spelt.get(_spelt(name), name.lower())


def identities_of(name: str) -> str:
    """Returns the namespace of a dataset's people; a dataset that this project does not read has its own name.

    Of a dataset of the Hub, ``hub:owner/name`` with or without a commit, all commits are one.
    """
    return get_dataset(name).identities if name in _READERS else name.partition("@")[0]


@dataclass(frozen=True)
class IntegrityReport:
    """What the integrity check of one copy says.

    Attributes:
        index: The samples that can be scored.
        findings: The most severe first.
    """

    index: Index
    findings: tuple[Finding, ...]

    @property
    def root(self) -> Path:
        """Root of the copy."""
        return self.index.root

    def count(self, severity: Severity) -> int:
        """Returns the number of findings of a severity."""
        return sum(f.severity == severity for f in self.findings)

    @property
    def errors(self) -> int:
        """Findings that keep the copy from being scored."""
        return self.count("error")

    @property
    def complete(self) -> bool:
        """Whether nothing is damaged and nothing of the owners' copy is missing."""
        return not any(f.severity == "error" or f.code.startswith("missing-") for f in self.findings)

    def labels(self) -> dict[str, dict[str, int]]:
        """Returns coded samples by task and label: ``{"au-intensity": {"AU01": 130814, ...}}``."""
        import numpy as np

        counts: dict[str, dict[str, int]] = {}
        for task, column in self.index.labels.items():
            if column.values.ndim == 1:
                coded = np.bincount(column.values[column.values >= 0], minlength=len(column.names))
            else:
                coded = (~np.isnan(column.values)).sum(axis=0)
            counts[task] = dict(zip(column.names, coded.tolist(), strict=True))
        return counts

    def splits(self) -> dict[str, int]:
        """Returns samples by split; empty where the dataset has none."""
        import numpy as np

        names, place = self.index.split.distinct()
        return {s: n for s, n in zip(names, np.bincount(place).tolist(), strict=True) if s}

    def text(self, protocols: Sequence[str] | None = None) -> str:
        """Returns the report as plain lines.

        Args:
            protocols: A line for each protocol, saying what the findings mean for it; None: say nothing of them.
        """
        index = self.index
        lines = [
            f"{index.dataset} at {index.root}" + (" (synthetic)" if index.synthetic else ""),
            f"  manifest  {index.manifest}",
            f"  samples   {len(index)}" + (f" of {len(index.subjects)} subjects" if index.subjects else ""),
        ]
        if index.options:
            lines.append("  read as   " + ", ".join(f"{k}={v}" for k, v in index.options.items()))
        if splits := self.splits():
            lines.append("  splits    " + ", ".join(f"{k} {v}" for k, v in splits.items()))
        lines += [f"  {task}: {text}" for task, text in self._coded().items()]
        state = "damaged" if self.errors else "complete" if self.complete else "incomplete"
        lines.append(f"{state}: {self.errors} errors, {self.count('warning')} warnings, {self.count('note')} notes")
        lines += [f"  {f.severity:8}{f.code}: {f.message}" for f in self.findings]
        if known := get_dataset(index.dataset).known:
            lines += ["known of the owners' copy", *(f"  {line}" for line in known)]
        if protocols is not None:
            lines += ["protocols", *(f"  {line}" for line in protocols or ("there is none for this dataset",))]
        return "\n".join(lines)

    def _coded(self) -> dict[str, str]:
        """Returns what is coded by task, in words: classes with their counts, AUs with how often they are present."""
        import numpy as np

        out: dict[str, str] = {}
        everything = self.labels()
        for task, column in self.index.labels.items():
            counts, values = everything[task], column.values
            coded = {name: n for name, n in counts.items() if n}
            if values.ndim == 1 or task == "valence-arousal" or not coded:
                out[task] = ", ".join(f"{k} {v}" for k, v in counts.items())
                continue
            limit = 2 if task == "au-intensity" else 1
            share = dict(zip(counts, np.nansum(values >= limit, axis=0).tolist(), strict=True))
            most = max(coded.values())
            named = [
                f"{k} {share[k] / n:.1%}" + (f" of {n}" if n != most else "") for k, n in coded.items()
            ]  # fmt: skip
            what = "intensity 2 or more" if task == "au-intensity" else "present"
            out[task] = f"{most} coded samples; {what}: {', '.join(named)}"
            if bare := [k for k in counts if k not in coded]:
                out[task] += f"; not coded: {', '.join(bare)}"
        return out


def check(name: str, root: str | Path | None = None, *, offline: bool | None = None, **options: str) -> IntegrityReport:
    """Reads a copy however damaged it is, looks at the ends of every image file, and reports on it.

    Args:
        name: Dataset; see :func:`dataset_name`.
        root: Its root; see :func:`dataset_root`.
        offline: True: fetch nothing. None: as the environment says.
        options: The reader's options.

    Raises:
        UnknownNameError: No such dataset or option.
        DatasetMissingError: No copy there.
        DatasetError: A file that cannot be opened at all.
    """
    from zoo.datasets.heads import damaged_images

    order = {"error": 0, "warning": 1, "note": 2}
    reader = get_dataset(name)
    index = reader.inspect(dataset_root(name, root, options, offline), **reader.chosen(options))
    findings = [*index.findings]
    if (damaged := damaged_images(index)) is not None:
        findings.append(damaged)
    return IntegrityReport(index, tuple(sorted(findings, key=lambda f: order[f.severity])))
