"""From a network's tensors to labels, exactly as a registry entry declares it, and the check that it can be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ContractError
from zoo.models.base import check_tasks
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, Output

if TYPE_CHECKING:
    from zoo.runtimes.base import Session


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    result: NDArray[np.float32] = np.where(x >= 0, np.float32(1), small) / (1 + small)
    return result


def softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the softmax over the last axis without overflow."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = e / e.sum(axis=-1, keepdims=True)
    return result


def _tensor_name(entry: ModelEntry, output: Output, names: Sequence[str]) -> str:
    where = f"{entry.where}, output {output.task}"
    if output.tensor is None:
        if len(names) == 1:
            return names[0]
        raise ContractError(
            f"{entry.name}: the file has {len(names)} output tensors and the entry names none", where=where,
            fix="set 'tensor' to one of: " + ", ".join(names),
        )  # fmt: skip
    if output.tensor not in names:
        raise ContractError(
            f"{entry.name}: the file has no output tensor '{output.tensor}'", where=where,
            why="its output tensors are: " + ", ".join(names),
        )  # fmt: skip
    return output.tensor


def apply_outputs(
    entry: ModelEntry, tensors: Mapping[str, NDArray[np.float32]], tasks: Sequence[Task] | None = None
) -> dict[Task, NDArray[np.float32]]:
    """Turns tensors into label values: columns from ``start``, then activation, scale and clamp.

    Args:
        entry: The model.
        tensors: What a session gave: float32 ``[n, columns]`` by name.
        tasks: Tasks wanted; None for all of the entry.

    Returns:
        Per task, float32 ``[n, labels]`` in the order of the output's labels. Intensities are on the entry's scale
        (0 to 5 after ``scale`` for LibreFace); occurrence and expression values are scores, to which no threshold
        and no argmax has been applied.

    Raises:
        ContractError: A tensor that is not there or has too few columns.
    """
    wanted = entry.tasks if tasks is None else tasks
    check_tasks(entry, wanted)
    values: dict[Task, NDArray[np.float32]] = {}
    for task in wanted:
        output = entry.output(task)
        name = _tensor_name(entry, output, list(tensors))
        tensor = tensors[name]
        stop = output.start + len(output.labels)
        if tensor.ndim != 2 or tensor.shape[1] < stop:
            raise ContractError(
                f"{entry.name}: tensor '{name}' has shape {tensor.shape}, and {task} needs columns {output.start} to "
                f"{stop - 1}",
                where=f"{entry.where}, output {task}",
            )
        x = tensor[:, output.start : stop]
        if output.activation == "sigmoid":
            x = sigmoid(x)
        elif output.activation == "softmax":
            x = softmax(x)
        if output.scale != 1:
            x = x * np.float32(output.scale)
        if output.clamp is not None:
            x = np.clip(x, *output.clamp)
        values[task] = np.ascontiguousarray(x, dtype=np.float32)
    return values


def check_finite(entry: ModelEntry, tensors: Mapping[str, NDArray[np.float32]], precision: str) -> None:
    """Refuses tensors that hold no numbers: scored, NaN would pass for a missing face, and infinity for a value.

    Args:
        entry: The model.
        tensors: What a session gave: float32 ``[n, columns]`` by name.
        precision: That it ran in, for the error.

    Raises:
        ContractError: A value is NaN or infinite.
    """
    for name, tensor in tensors.items():
        bad = int((~np.isfinite(tensor)).any(axis=1).sum())
        if bad:
            lower = precision != "fp32"
            raise ContractError(
                f"{entry.name}: tensor '{name}' is not finite for {bad} of {len(tensor)} crops",
                where=entry.where, why=f"it ran in {precision}" if lower else None,
                fix="precision=fp32" if lower else "try another runtime=; where all give it, the file is broken",
            )  # fmt: skip


def verify_contract(
    entry: ModelEntry, session: Session, tasks: Sequence[Task] | None = None, batch: int | None = None
) -> None:
    """Runs one black picture and holds the tensors against the entry: names, numbers of columns, finite values.

    The columns that the entry's outputs take from a tensor have to be all of its columns: a file with 8 classes does
    not pass for an entry with 7 labels.

    Args:
        entry: The model.
        session: A session of it.
        tasks: Tasks that the session was opened for; None for all.
        batch: Pictures a batch, for a session that takes one size only.

    Raises:
        ContractError: Names the tensor and what differs.
    """
    assert entry.preprocess is not None, "a runnable entry has a preprocess"
    wanted = entry.tasks if tasks is None else tasks
    check_tasks(entry, wanted)
    count = batch or 1
    black = np.zeros((count, *entry.preprocess.size, entry.preprocess.channels), np.uint8)
    tensors = session.infer(black)
    for task in wanted:
        output = entry.output(task)
        where = f"{entry.where}, output {task}"
        name = _tensor_name(entry, output, list(tensors))
        tensor = tensors[name]
        sharing = [o for o in entry.outputs if o.role == output.role and (o.tensor or name) == name]
        taken = {column for o in sharing for column in range(o.start, o.start + len(o.labels))}
        if len(tensor) != count or tensor.ndim != 2:
            raise ContractError(
                f"{entry.name}: tensor '{name}' has shape {tensor.shape} for {count} picture(s)", where=where
            )
        if taken != set(range(tensor.shape[1])):
            raise ContractError(
                f"{entry.name}: tensor '{name}' has {tensor.shape[1]} columns, the entry declares {len(taken)} labels",
                where=where, why="labels: " + ", ".join(label for o in sharing for label in o.labels),
                fix="correct 'labels', 'start' or 'tensor' in the entry, or the file's source",
            )  # fmt: skip
        if not np.isfinite(tensor).all():
            raise ContractError(f"{entry.name}: tensor '{name}' is not finite for a black picture", where=where)
