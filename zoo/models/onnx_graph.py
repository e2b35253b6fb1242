"""Family ``onnx``: any ONNX file that its registry entry describes; and the reading of ONNX files for the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from zoo.errors import ContractError, UnsafeFileError
from zoo.models.base import Family, Files, Graph, native_file, the_file
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry


def read_onnx(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file whose tensors are all inside it.

    Raises:
        ContractError: The file is not an ONNX model.
        UnsafeFileError: Tensors are in other files, which no hash in the registry covers.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no public home, and a corrupt file can raise others
        raise ContractError("not an ONNX file", where=str(path), why=str(error)) from None
    if not model.graph.node or not model.graph.output:
        raise ContractError("not an ONNX file, or one without a graph", where=str(path))
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise UnsafeFileError(
            "an ONNX file that keeps its tensors in other files", where=str(path),
            why="its hash does not cover them", fix="save it as one file: onnx.save(model, path)",
        )  # fmt: skip
    # Files of IR version 3 list their initialisers among the inputs, which keeps a runtime from folding them.
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    if len(inputs) != len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)
    return model


def only_input(model: onnx.ModelProto, what: str) -> onnx.ValueInfoProto:
    """Returns the one input of a graph.

    Raises:
        ContractError: It has none, or several.
    """
    if len(model.graph.input) != 1:
        raise ContractError(f"{what}: one input is expected, the graph has {[i.name for i in model.graph.input]}")
    found: onnx.ValueInfoProto = model.graph.input[0]
    return found


def dims(value: onnx.ValueInfoProto) -> list[int | None]:
    """Returns the shape of a graph's input or output, None for each size that is not fixed."""
    return [d.dim_value or None for d in value.type.tensor_type.shape.dim]


def initializer(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    """Returns an initialiser by name.

    Raises:
        ContractError: There is none of that name.
    """
    found: onnx.TensorProto | None = next((t for t in model.graph.initializer if t.name == name), None)
    if found is None:
        raise ContractError(f"the ONNX graph has no initialiser '{name}'")
    return found


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes an entry of this family: its one file, ONNX or a format that OpenVINO reads itself.

    Raises:
        ContractError: The tasks' outputs are in files of different roles.
    """
    roles = {entry.output(task).role for task in tasks}
    if len(roles) > 1:
        raise ContractError(
            f"{entry.name}: outputs of several files ({', '.join(sorted(roles))}) need a family that joins them",
            where=entry.where, fix="ask for one task at a time, or make an entry for each file",
        )  # fmt: skip
    role = roles.pop()
    if native := native_file(entry, files, role):
        return Graph(native=native)
    path = the_file(entry, files, role)[1]
    return Graph(onnx=lambda: read_onnx(path))


FAMILY = Family(graph=graph)
