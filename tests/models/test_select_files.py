"""Which files a task, a fold, a precision and a runtime need."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.models import AFFECTNET8, DISFA, libreface_entry, make_entry
from zoo.errors import RegistryError, RuntimeUnavailableError, UnknownNameError, UsageError
from zoo.models import load_family, select_files
from zoo.models.base import FAMILIES, native_file, the_file


def names(entry, tasks, runtime="onnxruntime", **options: Any) -> list[str]:
    return [f.name for f in select_files(entry, tasks, runtime=runtime, **options)]


def expression(*files: dict[str, Any]):
    return make_entry("m", "onnx", list(files), [{"task": "expression", "labels": AFFECTNET8}], size=(8, 8))


def folds(*extra: dict[str, Any]):
    files = [
        {"name": f"{n}.onnx", "format": "onnx", "fold": {"protocol": "p", "name": n, "test_subjects": [n.upper()]}}
        for n in ("one", "two")
    ]
    return make_entry(
        "m", "hog-ridge", [*files, *extra], [{"task": "au-intensity", "labels": DISFA}], size=(112, 112), scale=1.0
    )


def test_libreface_reads_only_what_its_tasks_need() -> None:
    entry = libreface_entry()
    assert names(entry, ["expression"]) == ["LibreFace_FE.onnx"]
    assert names(entry, ["au-intensity"]) == ["LibreFace_AU_Intensity.onnx", "LibreFace_AU_Encoder.onnx"]
    assert len(names(entry, ["au-intensity", "au-occurrence"])) == 3
    assert len(names(entry, entry.tasks)) == 4


def test_one_fold_at_a_time() -> None:
    assert names(folds(), ["au-intensity"], fold="two") == ["two.onnx"]
    with pytest.raises(UsageError, match="no fold was named") as caught:
        names(folds(), ["au-intensity"])
    assert "one, two" in str(caught.value)
    with pytest.raises(UnknownNameError, match="unknown fold 'tow'"):
        names(folds(), ["au-intensity"], fold="tow")


def test_a_fold_name_means_nothing_to_an_entry_without_folds() -> None:
    assert names(expression({"name": "a.onnx", "format": "onnx"}), ["expression"], fold="one") == ["a.onnx"]


def test_precision_chooses_the_file() -> None:
    entry = expression({"name": "a.onnx", "format": "onnx"}, {"name": "b.onnx", "format": "onnx", "precision": "int8"})
    assert names(entry, ["expression"]) == ["a.onnx"]
    assert names(entry, ["expression"], precision="int8") == ["b.onnx"]
    assert names(entry, ["expression"], "openvino", precision="bf16") == ["a.onnx"]


def test_int8_is_never_made_of_an_fp32_file() -> None:
    with pytest.raises(RuntimeUnavailableError, match="no int8 file"):
        names(expression({"name": "a.onnx", "format": "onnx"}), ["expression"], precision="int8")


def test_the_runtime_chooses_the_format() -> None:
    entry = expression(
        {"name": "a.onnx", "format": "onnx"},
        {"name": "a.safetensors", "format": "safetensors"},
        {"name": "a.xml", "format": "openvino-ir"},
        {"name": "a.bin", "format": "openvino-ir"},
    )
    assert names(entry, ["expression"], "onnxruntime") == ["a.onnx"]
    assert names(entry, ["expression"], "torch") == ["a.safetensors"]
    assert names(entry, ["expression"], "openvino") == ["a.xml", "a.bin"]


def test_a_tflite_file_is_openvinos_alone() -> None:
    entry = expression({"name": "a.tflite", "format": "tflite"})
    assert names(entry, ["expression"], "openvino") == ["a.tflite"]
    with pytest.raises(RuntimeUnavailableError, match="onnxruntime cannot run"):
        names(entry, ["expression"])


def test_two_files_that_could_both_serve_are_refused() -> None:
    entry = expression({"name": "a.onnx", "format": "onnx"}, {"name": "b.onnx", "format": "onnx"})
    with pytest.raises(RegistryError, match="interchangeable"):
        names(entry, ["expression"])


@pytest.mark.parametrize(
    ("options", "nearest"), [({"runtime": "openvin"}, "openvino"), ({"precision": "fp23"}, "fp32")]
)
def test_mistyped_names(options: dict[str, str], nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=nearest):
        names(expression({"name": "a.onnx", "format": "onnx"}), ["expression"], **options)


def test_every_family_of_the_list_loads() -> None:
    for name in FAMILIES:
        assert callable(load_family(name).graph)
    with pytest.raises(UnknownNameError, match="hog-ridge"):
        load_family("hog-rigde")


def test_files_of_two_folds_do_not_mix(tmp_path) -> None:
    both = {"one.onnx": tmp_path / "1", "two.onnx": tmp_path / "2"}
    with pytest.raises(UsageError, match="several folds"):
        the_file(folds(), both, "model")
    with pytest.raises(UsageError, match="no file of the role 'model'"):
        the_file(folds(), {}, "model")


def test_an_ir_is_two_files(tmp_path) -> None:
    entry = expression({"name": "a.xml", "format": "openvino-ir"}, {"name": "a.bin", "format": "openvino-ir"})
    found = native_file(entry, {"a.bin": tmp_path / "b", "a.xml": tmp_path / "x"}, "model")
    assert found == (tmp_path / "x", tmp_path / "b")
    with pytest.raises(Exception, match=r"one \.xml and one \.bin"):
        native_file(entry, {"a.xml": tmp_path / "x"}, "model")
