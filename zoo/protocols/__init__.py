"""Protocols: what is scored, on whom, how. The files are in ``benchmarks/protocols``.

Example:
    >>> from zoo.protocols import load_protocol
    >>> load_protocol("disfa-intensity-5fold").ref
    'disfa-intensity-5fold@1'
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from zoo._util.files import resource
from zoo.errors import RegistryError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from zoo.protocols.schema import ProtocolFile
    from zoo.registry.labels import Task

__all__ = ["default_protocol", "list_protocols", "load_protocol", "read_protocol_file"]

# Where a dataset has several protocols for a task: the one that is meant when none is named.
_DEFAULTS = {
    ("disfa", "au-intensity"): "disfa-intensity-5fold",
    ("disfa", "au-occurrence"): "disfa-occurrence-3fold",
    ("bp4d", "au-occurrence"): "bp4d-occurrence-3fold",
    ("bp4d", "au-intensity"): "bp4d-intensity-fera15",
    ("affectnet", "expression"): "affectnet-expression-8",
    ("affwild2", "expression"): "affwild2-expression",
    ("affwild2", "au-occurrence"): "affwild2-occurrence",
    ("affwild2", "valence-arousal"): "affwild2-affect",
    ("ckplus", "expression"): "ckplus-expression",
    ("ferplus", "expression"): "ferplus-expression-majority",
}


@cache
def read_protocol_file(path: Path) -> ProtocolFile:
    """Reads and validates one protocol file.

    Raises:
        RegistryError: Not there, not YAML, a key given twice, or not valid; names the file and the key.
    """
    from pydantic import ValidationError

    from zoo._util.validation import explain, load_yaml
    from zoo.protocols.schema import ProtocolFile

    data = load_yaml(path)
    try:
        protocol = ProtocolFile.model_validate(data)
    except ValidationError as error:
        raise explain(error, str(path), data, ProtocolFile) from None
    if path.stem not in (protocol.id, protocol.ref):
        raise RegistryError(
            f"the file holds the protocol {protocol.ref}", where=str(path), fix=f"name it {protocol.id}.yaml"
        )
    return protocol


def _files() -> list[Path]:
    return sorted(resource("protocols").glob("*.yaml"))


def list_protocols(dataset: str | None = None, task: Task | None = None) -> list[ProtocolFile]:
    """Returns the protocols, by name, optionally only those of a dataset or a task."""
    from zoo.datasets import dataset_name

    dataset = dataset and dataset_name(dataset)
    found = [read_protocol_file(path) for path in _files()]
    chosen = [p for p in found if dataset in (None, p.dataset) and task in (None, p.task)]
    return sorted(chosen, key=lambda p: (p.id, p.version))


def load_protocol(ref: str) -> ProtocolFile:
    """Returns a protocol.

    Args:
        ref: ``disfa-intensity-5fold`` (its newest version), ``disfa-intensity-5fold@1``, or the path of a ``.yaml``.

    Raises:
        UnknownNameError: No such protocol, or no such version of it.
        RegistryError: Its file is not valid.
    """
    if ref.endswith((".yaml", ".yml")):
        return read_protocol_file(Path(ref).expanduser())
    name, _, version = ref.partition("@")
    files = [path for path in _files() if path.stem.partition("@")[0] == name]
    if not files:
        raise UnknownNameError("protocol", ref, {path.stem.partition("@")[0] for path in _files()})
    versions = {str(p.version): p for p in sorted(map(read_protocol_file, files), key=lambda p: p.version)}
    if not version and "@" not in ref:
        return list(versions.values())[-1]
    if version not in versions:
        raise UnknownNameError(f"version of {name}", version, versions)
    return versions[version]


def default_protocol(dataset: str, tasks: Iterable[Task], labelled: Iterable[Task] | None = None) -> ProtocolFile:
    """Returns the protocol that is meant when none is named: the dataset's one for the first task that it has.

    Args:
        dataset: Dataset name.
        tasks: A model's tasks, in its order.
        labelled: Tasks that the copy has labels for (:func:`zoo.datasets.labelled_tasks`); None: any.

    Raises:
        UsageError: The copy has labels for none of the tasks; or the dataset has no protocol for any of them, or
            several and none of them is the usual one.
    """
    from zoo.datasets import dataset_name, get_dataset

    tasks = tuple(tasks)
    if labelled is not None:
        there = tuple(labelled)
        if not set(tasks) & set(there):
            raise UsageError(
                f"this copy of {dataset} has no labels for {' or '.join(tasks)}",
                why=f"it has labels for {', '.join(there)}",
                fix="python -m zoo.show task=<one of them> lists models that can be scored on it",
            )
        tasks = tuple(t for t in tasks if t in there)
    for task in tasks:
        found = {p.id: p for p in list_protocols(dataset, task)}
        if (name := _DEFAULTS.get((dataset_name(dataset), task), "")) in found:
            return found[name]
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise UsageError(
                f"{dataset} has {len(found)} protocols for {task}", fix=f"choose with protocol={'|'.join(found)}"
            )
    ids = [p.id for p in list_protocols(dataset)]
    get_dataset(dataset)  # a mistyped name gets its own error
    raise UsageError(
        f"{dataset} has no protocol for {' or '.join(tasks)}",
        why=f"its protocols are {', '.join(ids)}" if ids else "it has no protocol yet",
        fix="python -m zoo.show protocols=true",
    )
