"""What is published computes what the source computes, says so, and can be used by others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import EvalResult, ModelCard
from PIL import Image
from safetensors.torch import load_file

from tests.helpers.records import make_record
from tests.helpers.tiny import LABELS, tiny_registry
from tests.helpers.upload_server import GOOD, UploadServer
from zoo import publish
from zoo._util.files import sha256_of
from zoo.errors import ContractError, LicenseError
from zoo.models import select_files
from zoo.registry import ModelEntry, Registry, load_registry
from zoo.registry.schema import Licence, WeightFile
from zoo.results import save_record
from zoo.runs.publish import may_redistribute, prepare_publication, registry_text
from zoo.runs.verify import golden_input
from zoo.runtimes import open_session
from zoo.weights import locate


def locator(registry: Registry, name: str) -> Callable[[WeightFile], Path]:
    return lambda file: locate(file, entry=name, base=registry.base(name))


def tensors(registry: Registry, name: str, runtime: str, fold: str | None = None) -> dict[str, np.ndarray]:
    entry = registry.get(name)
    assert entry.preprocess is not None
    files = {w.name: locator(registry, name)(w) for w in select_files(entry, entry.tasks, runtime=runtime, fold=fold)}
    session = open_session(entry, files, entry.tasks, runtime=runtime, threads=2)
    try:
        return session.infer(golden_input((*entry.preprocess.size, entry.preprocess.channels)))
    finally:
        session.close()


@pytest.fixture(scope="module")
def hog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hog") / "model"
    folder.mkdir()
    registry = load_registry()
    prepare_publication(registry.get("hog-ridge"), locator(registry, "hog-ridge"), folder, "me/hog-ridge", threads=2)
    return folder


def test_every_fold_is_there_bound_to_its_people_and_computes_the_same(hog: Path) -> None:
    registry = load_registry((hog / "registry.yaml",))
    source, made = registry.get("hog-ridge"), registry.get("hog-ridge-onnx")
    assert [w.fold for w in made.weights] == [w.fold for w in source.weights]
    assert {w.name: w.sha256 for w in made.weights} == {p.name: sha256_of(p) for p in hog.glob("*.onnx")}
    assert made.output("au-intensity").labels == source.output("au-intensity").labels
    assert (made.licence, made.trained_on, made.status) == (source.licence, source.trained_on, "unverified")
    for fold in ("of1", "of5"):
        (a,) = tensors(registry, "hog-ridge", "onnxruntime", fold).values()
        (b,) = tensors(registry, "hog-ridge-onnx", "onnxruntime", fold).values()
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert np.ptp(b, axis=0).max() > 1e-3
    contracts = json.loads((hog / "contract.json").read_text())["folds"]
    assert list(contracts) == ["of1", "of2", "of3", "of4", "of5"]
    assert {c["source"]["contract"] for c in contracts.values()} == {source.contract_hash}


def test_the_card_states_the_contract(hog: Path) -> None:
    source = load_registry().get("hog-ridge")
    card = ModelCard((hog / "README.md").read_text())
    assert card.data.license == "apache-2.0"
    assert {"au-intensity", "onnx"} <= set(card.data.tags or ())
    assert card.data.eval_results is None
    text = card.text
    assert ", ".join(source.output("au-intensity").labels) in text
    assert "limited to 0 to 5" in text
    for step in ("detect:mediapipe-short-range", "align:similarity(template=openface-112)", "size:112x112"):
        assert f"`{step}`" in text
    assert "synthface: training; subjects: fold" in text
    for path in hog.glob("*.onnx"):
        assert f"`{path.name}`" in text and sha256_of(path) in text


def test_the_script_runs_without_this_package(hog: Path, tmp_path: Path) -> None:
    pixels = golden_input((112, 112, 3))[3]
    Image.fromarray(pixels).save(tmp_path / "crop.png")
    code = (
        f"import sys; sys.modules['zoo'] = None; sys.argv = ['run.py', 'crop.png']; exec(open({str(hog / 'run.py')!r})"
    )
    code += f".read(), {{'__file__': {str(hog / 'run.py')!r}, '__name__': '__main__'}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    (want,) = tensors(load_registry(), "hog-ridge", "onnxruntime", "of1").values()
    shown = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(shown, np.clip(want[3], 0, 5), atol=1e-3)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A registry file with a small torch checkpoint, wrapped as trainers save it."""
    from zoo.models._timm import import_timm

    torch.manual_seed(0)
    state = import_timm().create_model("test_resnet", num_classes=3).state_dict()
    path = tmp_path / "small.pt"
    torch.save({"model": state}, path)
    entry = {
        "name": "small", "title": "Small", "family": "timm", "tasks": ["expression"], "architecture": "test_resnet",
        "weights": [{"name": path.name, "format": "torch", "sources": [f"path:{path}"], "sha256": sha256_of(path)}],
        "preprocess": {"size": [64, 48], "mean": [0.4], "std": [0.2], "colour": "bgr"},
        "outputs": [{"task": "expression", "labels": list(LABELS), "activation": "softmax"}],
        "licence": {"name": "MIT", "commercial_use": True}, "status": "unverified",
    }  # fmt: skip
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({"schema_version": 1, "models": [entry]}))
    return file


@pytest.fixture
def upload(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadServer]:
    with UploadServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", GOOD)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield server


def test_a_torch_checkpoint_is_published_as_safetensors_and_onnx_and_comes_back_the_same(
    trained: Path, tmp_path: Path, upload: UploadServer
) -> None:
    words = ["model=small", "repo=me/small", f"registry={trained}", f"out={tmp_path / 'out'}"]
    assert publish.main(words) == 0
    commit = upload.head("me/small")
    registry = load_registry((trained, tmp_path / "out" / "registry.yaml"))
    made = {name: registry.get(name) for name in ("small-onnx", "small-safetensors")}
    assert [w.sources for e in made.values() for w in e.weights] == [
        (f"hf:me/small@{commit}:small-onnxruntime-fp32.onnx",), (f"hf:me/small@{commit}:small.safetensors",)
    ]  # fmt: skip
    for path in (tmp_path / "out").glob("small*"):
        path.unlink()  # what runs now has come from the Hub
    want = tensors(registry, "small", "torch")
    assert np.ptp(want["logits"], axis=0).max() > 1e-3
    for name, runtime in (("small-onnx", "onnxruntime"), ("small-safetensors", "torch")):
        np.testing.assert_allclose(tensors(registry, name, runtime)["logits"], want["logits"], atol=1e-4)
    served = upload.repos["me/small"].revisions["main"]["small.safetensors"]
    (tmp_path / "served").write_bytes(served)
    state, got = torch.load(tmp_path / "small.pt")["model"], load_file(tmp_path / "served")
    assert state.keys() == got.keys()
    assert all(torch.equal(value, got[name]) for name, value in state.items())


def test_files_that_compute_something_else_are_not_published(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upload: UploadServer,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import safetensors.torch

    save = safetensors.torch.save_file

    def spoiled(state: dict[str, torch.Tensor], path: Path, **more: Any) -> None:
        save({name: v * 1.05 if v.is_floating_point() else v for name, v in state.items()}, path, **more)

    monkeypatch.setattr(safetensors.torch, "save_file", spoiled)
    words = ["model=small", "repo=me/small", f"registry={trained}", f"out={tmp_path / 'out'}"]
    assert publish.main(words) == ContractError.exit_code
    assert "small.safetensors does not compute what small does" in capsys.readouterr().err
    assert upload.private == {} and not (tmp_path / "out").exists()


def test_ranked_results_stand_in_the_hubs_metadata_with_a_link_to_their_record(tmp_path: Path) -> None:
    registry = tiny_registry(tmp_path)
    entry = load_registry((registry,)).get("tiny")
    boards = tmp_path / "boards"
    path = save_record(_record(entry, 0.75), boards)
    save_record(_record(entry, 0.99, contamination="in_sample", protocol="fer2013-expression@1"), boards)
    words = ["model=tiny", "repo=me/tiny", f"registry={registry}", "dry_run=true", f"out={tmp_path / 'out'}"]
    assert publish.main([*words, f"results={boards}", "url=https://example.org/boards"]) == 0
    card = ModelCard((tmp_path / "out" / "README.md").read_text())
    (result,) = card.data.eval_results or ()
    assert isinstance(result, EvalResult)
    assert (result.metric_value, result.dataset_type) == (0.75, "rafdb")
    assert result.source_url == f"https://example.org/boards/{path.relative_to(boards).as_posix()}"
    assert "[0.650, 0.850]" in card.text and "0.99" not in card.text
    assert card.data.to_dict()["model-index"][0]["name"] == "tiny"


def _record(entry: ModelEntry, value: float, protocol: str = "rafdb-expression@1", **change: Any) -> Any:
    record = make_record(entry.name, value, protocol=protocol, **change)
    return record.model_copy(
        update={"model": record.model.model_copy(update={"contract": entry.contract_hash})}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said", "allowed"),
    [
        ("Apache-2.0", "unknown", True), ("CC-BY-NC-4.0", "unknown", True), ("CC-BY-NC-ND-4.0", "unknown", "unknown"),
        ("USC Research Licence", "ask", "ask"), ("Apache-2.0", "ask", "ask"), ("MIT", False, False),
        ("Own terms", True, True), ("Own terms", "unknown", "unknown"),
    ],
)  # fmt: skip
def test_the_registry_says_what_may_be_passed_on_else_the_licences_name(name: str, said: Any, allowed: Any) -> None:
    licence = Licence(name=name, commercial_use=True, redistribution=said)
    assert may_redistribute(licence) == allowed


def test_libreface_is_not_published_without_the_publishers_word(tmp_path: Path) -> None:
    def never(_: WeightFile) -> Path:
        raise AssertionError("nothing may be fetched")

    with pytest.raises(LicenseError, match="USC Research Licence"):
        prepare_publication(load_registry().get("libreface-r18"), never, tmp_path, "me/libreface")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_text_is_valid_and_names_the_commit(hog: Path) -> None:
    registry = load_registry((hog / "registry.yaml",))
    text = registry_text([registry.get("hog-ridge-onnx")], "me/x", "b" * 40)
    (model,) = yaml.safe_load(text)["models"]
    assert ModelEntry.model_validate(model).contract_hash == registry.get("hog-ridge-onnx").contract_hash
    assert all(w["sources"] == [f"hf:me/x@{'b' * 40}:{w['name']}"] for w in model["weights"])
