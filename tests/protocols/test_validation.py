"""Errors of YAML files in plain words: file, entry, key, and the nearest valid one."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from zoo._util.validation import explain, load_yaml
from zoo.errors import RegistryError
from zoo.registry.schema import RegistryFile

GOOD: dict[str, Any] = {
    "schema_version": 1,
    "models": [
        {
            "name": "first", "title": "F", "family": "onnx", "tasks": ["au-intensity"], "architecture": "x",
            "status": "unverified", "licence": {"name": "MIT", "commercial_use": True},
            "weights": [{"name": "w.onnx", "format": "onnx", "sources": ["path:/w.onnx"], "sha256": "0" * 64}],
            "preprocess": {"size": [8, 8], "detector": "yunet", "align": {"method": "box"}},
            "outputs": [{"task": "au-intensity", "labels": ["AU01"]}],
        },
        {
            "name": "second", "title": "S", "family": "onnx", "tasks": ["expression"], "architecture": "x",
            "status": "reported-only", "licence": {"name": "MIT", "commercial_use": True},
        },
    ],
}  # fmt: skip


def said(change: Any) -> str:
    data = deepcopy(GOOD)
    change(data["models"][0], data)
    with pytest.raises(ValidationError) as caught:
        RegistryFile.model_validate(data)
    error = explain(caught.value, "registry.yaml", data)
    assert isinstance(error, RegistryError)
    text = str(error)
    assert "registry.yaml" in text
    assert "pydantic" not in text
    assert "Value error" not in text
    return text


def test_the_good_one_is_good() -> None:
    RegistryFile.model_validate(deepcopy(GOOD))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda m, d: m.update(lisence="x"), ["models[first]: unknown key 'lisence'", "did you mean 'licence'"]),
        (lambda m, d: m["licence"].update(comercial_use=1), ["models[first].licence: unknown key", "'commercial_use'"]),
        (
            lambda m, d: m["preprocess"]["align"].update(expnd=1),
            ["models[first].preprocess.align: unknown key 'expnd'", "'expand'"],
        ),
        (
            lambda m, d: m["preprocess"]["align"].update(method="boks"),
            ["preprocess.align", "'boks' is not one of whole-image, box"],
        ),
        (
            lambda m, d: m["weights"][0].update(format="onx"),
            ["models[first].weights[w.onnx].format", "did you mean 'onnx'"],
        ),
        (lambda m, d: m["weights"][0].pop("sources"), ["models[first].weights[w.onnx].sources is missing"]),
        (lambda m, d: m["weights"][0].pop("sha256"), ["give sha256 or git_sha1"]),
        (lambda m, d: m["weights"][0].update(sources=["http:/x"]), ["is not a source"]),
        (lambda m, d: m["outputs"][0].update(labels=["AU03"]), ["models[first].outputs[0]: AU03: not a label"]),
        (lambda m, d: m.update(parameters="many"), ["models[first].parameters must be a whole number"]),
        (lambda m, d: m.update(tasks="expression"), ["models[first].tasks must be a list"]),
        (lambda m, d: m.update(name="First Model"), ["does not have the form"]),
        (lambda m, d: d.update(schema_version=2), ["schema_version", "'2' is not one of"]),
        (lambda m, d: d.update(modells=[]), ["unknown key 'modells'", "did you mean 'models'"]),
        (
            lambda m, d: (m.update(lisence=1), m.pop("title")),
            ["unknown key 'lisence'", "models[first].title is missing"],
        ),
    ],
)
def test_it_says_where_and_what(change: Any, parts: list[str]) -> None:
    text = said(change)
    for part in parts:
        assert part in text, text


def test_many_errors_are_counted() -> None:
    text = said(lambda m, d: m.update({f"x{i}": 1 for i in range(12)}))
    assert "and 6 more" in text
    assert text.count("\n") < 5


def test_a_key_given_twice_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    with pytest.raises(RegistryError, match="given twice") as caught:
        load_yaml(file)
    assert f"{file}:5" in str(caught.value)
    file.write_text("base: &b {x: 1}\nother: {<<: *b, y: 2}\n")
    assert load_yaml(file)["other"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("text", ["a: [", "\ta: 1", "- 1", "3", "", "a: !!python/name:os.system", "\x01"])
def test_files_that_are_not_a_mapping(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RegistryError):
        load_yaml(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RegistryError):
        load_yaml(tmp_path / "b.yaml")
