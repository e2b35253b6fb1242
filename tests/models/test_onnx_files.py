"""Reading ONNX files that somebody else wrote."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.models import make_entry, mobilefacenet_file
from zoo.errors import ContractError, UnsafeFileError
from zoo.models.onnx_graph import FAMILY, dims, read_onnx


@pytest.mark.parametrize("content", [b"", b"not a model", b"<html>quota exceeded</html>", b"\x08\x07" * 50])
def test_what_is_no_model_is_refused(tmp_path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ContractError, match="not an ONNX file") as caught:
        read_onnx(path)
    assert str(path) in str(caught.value)


def test_tensors_outside_the_hashed_file_are_refused(tmp_path) -> None:
    model = onnx.load(mobilefacenet_file(tmp_path / "a.onnx"))
    onnx.save(model, tmp_path / "b.onnx", save_as_external_data=True, location="b.data", size_threshold=0)
    with pytest.raises(UnsafeFileError, match="other files"):
        read_onnx(tmp_path / "b.onnx")


def test_initialisers_listed_as_inputs_are_not_inputs(tmp_path) -> None:
    w = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [value("x", TensorProto.FLOAT, [1, 2]), value("w", TensorProto.FLOAT, [2, 2])],
        [value("y", TensorProto.FLOAT, ["n", 2])], [w],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3), tmp_path / "a.onnx")
    model = read_onnx(tmp_path / "a.onnx")
    assert [i.name for i in model.graph.input] == ["x"] and model.ir_version == 4
    assert dims(model.graph.input[0]) == [1, 2] and dims(model.graph.output[0]) == [None, 2]
    onnx.checker.check_model(model)


def test_outputs_of_two_files_need_a_family_of_their_own(tmp_path) -> None:
    entry = make_entry(
        "m", "onnx", [{"name": n, "role": n, "format": "onnx"} for n in ("a", "b")],
        [{"task": "valence-arousal", "role": "a", "labels": ("valence",)},
         {"task": "au-intensity", "role": "b", "labels": ("AU01",)}],
        size=(8, 8),
    )  # fmt: skip
    files = {"a": tmp_path / "a", "b": tmp_path / "b"}
    with pytest.raises(ContractError, match="outputs of several files"):
        FAMILY.graph(entry, files, entry.tasks)
    assert FAMILY.graph(entry, files, ["au-intensity"]).onnx is not None
