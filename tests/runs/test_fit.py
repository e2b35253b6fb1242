"""Heads on published networks: the recipe by hand, and from a copy of Aff-Wild2 to a score, on rendered faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file
from sklearn.utils.class_weight import compute_class_weight

from tests.helpers.checkpoints import entry_of
from tests.helpers.models import Builder, pictures
from zoo import eval as evaluate
from zoo import fit
from zoo._util.files import sha256_of
from zoo.datasets.synthface import generate
from zoo.errors import ContractError
from zoo.metrics.continuous import ccc
from zoo.models import apply_outputs
from zoo.models.embedding_head import TENSOR, with_features
from zoo.models.onnx_graph import read_onnx
from zoo.protocols import load_protocol
from zoo.registry import load_registry
from zoo.runs.fit import Recipe, _train, class_weights, concordance, counts_of, unseen
from zoo.runtimes import open_session
from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession

pytestmark = pytest.mark.package

WIDTH = 24
MTL = "affwild2-mtl-expression,affwild2-mtl-occurrence,affwild2-mtl-affect"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("affwild2")
    return generate("affwild2", root, subjects=8, frames=8, workers=1, progress=False)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A registry with a small seeded network under the names, crop and outputs of an HSEmotion entry."""
    b = Builder(11)
    x = b.node("Relu", b.conv("input", 3, 8, 3, 4))
    x = b.node("Relu", b.conv(x, 8, WIDTH, 3, 4))
    x = b.node("Flatten", b.node("GlobalAveragePool", x), axis=1)
    b.linear(x, WIDTH, 10, output="output", gain=3.0)
    path = b.save(tmp_path / "net.onnx", ("input", ["batch", 3, 224, 224]), [("output", ["batch", 10])], opset=11)
    entry = entry_of("hsemotion-enet-b0-8-va-mtl").model_dump(mode="json", exclude_none=True)
    weights = [{"name": "net.onnx", "format": "onnx", "sources": ["path:net.onnx"], "sha256": sha256_of(path)}]
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"schema_version": 1, "models": [{**entry, "name": "net", "weights": weights}]}))
    return file


def fitted(network: Path, tree: Path, out: Path, *more: str) -> int:
    words = ["model=net", f"registry={network}", f"root={tree}", f"out={out}", "threads=2", *more]
    return fit.main(words)


def test_weights_are_those_of_the_authors_notebook() -> None:
    """Expressions: inverse to the counts, least 1; the notebook prints 10.692 for 16,573 of 177,198 frames."""
    expression, au = load_protocol("affwild2-expression"), load_protocol("affwild2-occurrence")
    counts = [177198, 16573, 10771, 9080, 95463, 78751, 31615, 165866]
    y = np.repeat(np.arange(8, dtype=np.int16), counts)
    expected = [1.0, 10.691968865, 16.451397270, 19.515198238, 1.856195594, 2.250104760, 5.604871105, 1.068320210]
    np.testing.assert_allclose(class_weights(expression, np.append(y, np.int16(-1))), expected, rtol=1e-6)
    labels = (np.random.default_rng(0).random((50, 12)) < 0.2).astype(np.float32)
    labels[0] = np.nan
    for column, weight in zip(labels.T, class_weights(au, labels).T, strict=True):
        known = column[~np.isnan(column)]
        np.testing.assert_allclose(weight, compute_class_weight("balanced", classes=np.array([0, 1]), y=known))
    assert unseen(au, labels) == []
    labels[:, 3] = 1
    assert unseen(au, labels) == [au.labels[3]]
    assert unseen(expression, np.array([0, 1, 1], np.int16)) == list(expression.labels[2:])
    assert counts_of(au, labels).shape == (2, 12)


def test_the_loss_of_affect_is_one_minus_the_mean_concordance() -> None:
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=(2, 40, 2)).astype(np.float32)
    got = concordance(torch.from_numpy(y), torch.from_numpy(p)).numpy()
    np.testing.assert_allclose(got, [ccc(y[:, i], p[:, i]) for i in range(2)], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("protocol", "words", "width"),
    [
        ("affwild2-expression", ("features=embeddings", "hidden=16"), WIDTH),
        ("affwild2-occurrence", ("features=both",), WIDTH + 10),
        ("affwild2-affect", ("features=scores", "stop_on=train"), 10),
        (MTL, ("hidden=16",), WIDTH + 10),
    ],
)
def test_from_a_copy_to_a_score(
    protocol: str, words: tuple[str, ...], width: int, network: Path, tree: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "heads"
    assert fitted(network, tree, out, f"protocol={protocol}", "name=mine", "epochs=3", *words) == 0, (
        capsys.readouterr().err
    )
    said = capsys.readouterr()
    assert {Path(line).name for line in said.out.splitlines()} == {"mine.safetensors", "registry.yaml"}
    assert "epoch 3: " in said.err
    entry = load_registry([out / "registry.yaml"]).get("mine")
    head = load_file(out / "mine.safetensors")
    first = "hidden" if "hidden=16" in words else entry.tasks[0].replace("-", "_")
    assert head[f"{first}.weight"].shape[1] == width
    assert {(t.dataset, t.use) for t in entry.trained_on} >= {("synthface", "training"), ("affectnet", "training")}
    assert any(t.dataset == "synthface" and t.use == "selection" for t in entry.trained_on) is (
        "stop_on=train" not in words
    )

    # Its answers, from the network's features by hand.
    assert entry.preprocess is not None
    crops = pictures(3, entry.preprocess.size, 3)
    kind = {"head-on-embeddings": "embeddings", "head-on-scores": "scores", "head-on-both": "both"}[entry.architecture]
    plain = OnnxRuntimeSession(
        with_features(tmp_path / "net.onnx", kind), entry.preprocess, device="cpu", precision="fp32", threads=1,
        streams=1, batch=None,
    )  # fmt: skip
    x = plain.infer(crops)[TENSOR]
    assert x.shape == (3, width)
    if first == "hidden":
        x = np.maximum(x @ head["hidden.weight"].T + head["hidden.bias"], 0)
    files = {"net.onnx": tmp_path / "net.onnx", "mine.safetensors": out / "mine.safetensors"}
    for runtime in ("onnxruntime", "openvino"):
        session = open_session(entry, files, entry.tasks, runtime=runtime, threads=2)
        values = apply_outputs(entry, session.infer(crops))
        session.close()
        for task, got in values.items():
            name = task.replace("-", "_")
            y = x @ head[f"{name}.weight"].T + head[f"{name}.bias"]
            if task == "expression":
                y = np.exp(y) / np.exp(y).sum(1, keepdims=True)
            else:
                y = np.tanh(y) if task == "valence-arousal" else 1 / (1 + np.exp(-y))
            np.testing.assert_allclose(got, y, rtol=1e-3, atol=1e-4)

    score = ["model=mine", f"registry={out / 'registry.yaml'}", "dataset=affwild2", f"root={tree}", "resamples=50"]
    assert evaluate.main([*score, f"protocol={protocol}", f"out={tmp_path / 'out'}"]) == 0, capsys.readouterr().err
    records = [json.loads(p.read_text()) for p in (tmp_path / "out" / "results").rglob("*.json")]
    assert len(records) == len(entry.tasks)
    # The epoch was chosen on the validation videos, or they were not touched.
    verdict = "held_out" if "stop_on=train" in words else "selection_only"
    assert {r["contamination"] for r in records} == {verdict}


@pytest.mark.parametrize("hidden", [0, 32])
def test_what_can_be_learnt_is_learnt(hidden: int) -> None:
    """Three tasks at once, each a plain function of the features, with labels missing here and there."""
    protocols = [load_protocol(name) for name in MTL.split(",")]
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 24)).astype(np.float32)
    logits = x @ rng.normal(size=(24, 22))
    labels = {
        "expression": np.where(rng.random(2000) < 0.1, -1, logits[:, :8].argmax(1)).astype(np.int16),
        "au-occurrence": np.where(rng.random((2000, 12)) < 0.1, np.nan, logits[:, 8:20] > 0).astype(np.float32),
        "valence-arousal": np.tanh(logits[:, 20:] / 4).astype(np.float32),
    }
    parts = {"train": slice(0, 1600), "stop": slice(1600, 2000)}
    data = {part: (x[rows], {task: y[rows] for task, y in labels.items()}) for part, rows in parts.items()}
    lines: list[str] = []
    recipe = Recipe(hidden=hidden, batch=32, epochs=8)
    head, epoch = _train(data, protocols, recipe, 1, lines.append)  # type: ignore[arg-type]
    found = dict(part.split() for part in lines[epoch - 1].partition(": ")[2].split(", "))
    assert float(found["expression"]) > 0.45
    assert float(found["valence-arousal"]) > -0.7
    x = x[parts["stop"]]
    if hidden:
        x = np.maximum(x @ head["hidden.weight"].T + head["hidden.bias"], 0)
    aus = x @ head["au_occurrence.weight"].T + head["au_occurrence.bias"] > 0
    assert (aus == (logits[parts["stop"], 8:20] > 0)).mean() > 0.65


def test_fitting_gives_the_same_again(network: Path, tree: Path, tmp_path: Path) -> None:
    words = ("protocol=affwild2-affect", "hidden=8", "epochs=2")
    assert fitted(network, tree, tmp_path / "a", *words) == fitted(network, tree, tmp_path / "b", *words) == 0
    name = "net-valence-arousal-head.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("protocol=affwild2-expression,affwild2-occurrence",), 2, "read the dataset differently"),
        (("protocol=affwild2-expression,affwild2-mtl-expression",), 2, "two protocols are of one task"),
        (("protocol=disfa-occurrence-3fold",), 2, "no training split"),
        (("protocol=affwild2-expression", "model=hog-ridge"), 2, "not a published ONNX network"),
        (("protocol=affwild2-expression", "features=everything"), 2, "features"),
    ],
)
def test_what_cannot_be_fitted_is_said_before_anything_is_computed(
    words: tuple[str, ...], code: int, said: str, network: Path, tree: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = {"model": "model=net", **{w.partition("=")[0]: w for w in words}}
    more = [f"registry={network}", f"root={tree}", f"out={tmp_path / 'out'}"]
    assert fit.main([*given.values(), *more]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_that_ends_otherwise_has_no_known_embeddings(tmp_path: Path) -> None:
    b = Builder(3)
    x = b.node("Flatten", b.node("GlobalAveragePool", b.conv("input", 3, 8, 3)), axis=1)
    b.node("Softmax", b.linear(x, 8, 8), axis=1, output="output")
    path = b.save(tmp_path / "m.onnx", ("input", ["n", 3, 8, 8]), [("output", ["n", 8])])
    with pytest.raises(ContractError, match="embeddings of this network are not known"):
        with_features(path, "both")
    assert read_onnx(path).graph.output[0].name == "output"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expression.weight": None}, "missing or left over: expression.weight"),
        ({"extra.bias": np.zeros(2, np.float32)}, "left over: extra.bias"),
        ({"expression.weight": np.zeros((7, WIDTH), np.float32)}, r"\[7, 24\], \[8, 24\] is needed"),
    ],
)
def test_a_head_of_another_network_is_refused(
    change: dict[str, np.ndarray | None], said: str, network: Path, tree: Path, tmp_path: Path
) -> None:
    out = tmp_path / "heads"
    words = ("protocol=affwild2-expression", "features=embeddings", "epochs=1", "name=mine")
    assert fitted(network, tree, out, *words) == 0
    head = load_file(out / "mine.safetensors") | change
    save_file({k: v for k, v in head.items() if v is not None}, out / "mine.safetensors")
    entry = load_registry([out / "registry.yaml"]).get("mine")
    files = {"net.onnx": tmp_path / "net.onnx", "mine.safetensors": out / "mine.safetensors"}
    with pytest.raises(ContractError, match=said):
        open_session(entry, files, entry.tasks, runtime="onnxruntime", threads=1)


def test_people_are_kept_back_only_where_there_are_people(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = generate("rafdb", tmp_path / "rafdb", subjects=4, frames=8, workers=1, progress=False)
    words = ("protocol=rafdb-expression", "stop_on=train", "epochs=1")
    assert fitted(network, faces, tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert "stop_on=train keeps back people" in said and "fix: stop_on=validation" in said
