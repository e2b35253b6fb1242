"""Family ``libreface-onnx``: LibreFace's official ONNX graphs, joined into one graph for the tasks asked for.

The publisher ships four files (NuGet package LibreFace 2.0.0; ihp-lab/OpenSense, Utilities/LibreFace):

| role | input | output |
|---|---|---|
| ``encoder`` | ``image`` ``[1, 3, 224, 224]`` | ``feature`` ``[1, 512]`` |
| ``au-intensity`` | ``feature`` | ``au_intensity`` ``[1, 12]``, a sigmoid; times 5 is the intensity |
| ``au-occurrence`` | ``feature`` | ``au_presence`` ``[1, 12]``, a sigmoid |
| ``expression`` | ``image`` | ``FEs`` ``[1, 8]``, sigmoids |

The two AU heads share one pass of the encoder; the expression file is a whole network, read only when it is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import compose, version_converter

from zoo.errors import ContractError
from zoo.models.base import Family, Files, Graph, output_roles, the_file
from zoo.models.onnx_graph import dims, only_input, read_onnx
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry

IMAGE, FEATURE = "image", "feature"
HEADS = {"au-intensity": "au_intensity", "au-occurrence": "au_presence"}
"""Roles that read the encoder's feature -> their output."""
_OUTPUTS = {"encoder": FEATURE, **HEADS, "expression": "FEs"}


def roles(entry: ModelEntry, tasks: Sequence[Task]) -> set[str]:
    """Returns the roles of the files for the tasks: the AU heads bring the encoder with them."""
    wanted = output_roles(entry, tasks)
    return wanted | {"encoder"} if wanted & HEADS.keys() else wanted


def _opset(model: onnx.ModelProto) -> int:
    return max(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _checked(entry: ModelEntry, role: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Refuses a file that has not the tensors of its role."""
    takes = only_input(model, f"{entry.name}, role '{role}'").name
    gives = [o.name for o in model.graph.output]
    expected = FEATURE if role in HEADS else IMAGE
    if takes != expected or gives != [_OUTPUTS[role]]:
        raise ContractError(
            f"{entry.name}: the file of the role '{role}' maps '{takes}' to {gives}",
            where=entry.where,
            why=f"that role maps '{expected}' to ['{_OUTPUTS[role]}']",
            fix="check that each file has the role that belongs to it",
        )
    return model


def join(parts: dict[str, onnx.ModelProto], outputs: Sequence[str]) -> onnx.ModelProto:
    """Joins graphs by the names of their inputs and outputs; everything else gets its part's name in front.

    :func:`onnx.compose.merge_models` joins two graphs end to end; here one input feeds two networks and one feature
    two heads, so the graphs are renamed with :func:`onnx.compose.add_prefix` and laid side by side.

    Args:
        parts: Part name -> graph, each after those whose outputs it reads.
        outputs: Outputs to keep.

    Raises:
        ContractError: A part reads a tensor whose shape is not the one that another part gives.
    """
    opset = max(_opset(m) for m in parts.values())
    joined = onnx.ModelProto(ir_version=max(m.ir_version for m in parts.values()), producer_name="libreface-zoo")
    joined.opset_import.append(onnx.helper.make_opsetid("", opset))
    joined.graph.name = "+".join(parts)
    made: dict[str, onnx.ValueInfoProto] = {}
    for name, source in parts.items():
        model = source if _opset(source) == opset else version_converter.convert_version(source, opset)
        model = compose.add_prefix(model, f"{name}/", rename_inputs=False, rename_outputs=False)
        known = {o.domain for o in joined.opset_import} | {"ai.onnx"}
        joined.opset_import.extend(o for o in model.opset_import if o.domain not in known)
        taken = only_input(model, name)
        if taken.name in made:
            shape, given = dims(taken), dims(made[taken.name])
            if len(shape) != len(given) or any(a and b and a != b for a, b in zip(shape, given, strict=True)):
                raise ContractError(
                    f"part '{name}' reads '{taken.name}' as {shape}, which another part gives as {given}",
                    fix="check that the files belong to one release",
                )
        else:
            joined.graph.input.append(taken)
            made[taken.name] = taken
        joined.graph.node.extend(model.graph.node)
        joined.graph.initializer.extend(model.graph.initializer)
        joined.graph.value_info.extend(model.graph.value_info)
        joined.functions.extend(model.functions)
        made |= {o.name: o for o in model.graph.output}
    joined.graph.output.extend(made[name] for name in outputs)
    return joined


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the joined graph of the tasks' files.

    Raises:
        ContractError: From ``onnx()``: a file without the tensors of its role.
    """
    order = [role for role in _OUTPUTS if role in roles(entry, tasks)]
    paths = {role: the_file(entry, files, role)[1] for role in order}

    def build() -> onnx.ModelProto:
        parts = {role: _checked(entry, role, read_onnx(path)) for role, path in paths.items()}
        return join(parts, [_OUTPUTS[role] for role in order if role != "encoder"])

    return Graph(onnx=build)


FAMILY = Family(graph=graph, roles=roles)
