"""All files of an entry, or those that some work needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.weights.conftest import COMMIT
from zoo.errors import UnknownNameError, UsageError, WeightsMissingError
from zoo.registry.schema import ModelEntry
from zoo.weights import fetch_model
from zoo.weights.fetch import select


@pytest.fixture
def entry(hub, weights, file_of) -> ModelEntry:
    """An encoder with two heads; the occurrence head has a checkpoint a fold and an int8 copy of one."""
    roles = {
        "encoder.onnx": {"role": "encoder"},
        "intensity.onnx": {"role": "intensity"},
        "f0.onnx": {"role": "occurrence", "fold": 0},
        "f1.onnx": {"role": "occurrence", "fold": 1},
        "f1-int8.onnx": {"role": "occurrence", "fold": 1, "precision": "int8"},
    }
    files = []
    for number, (name, more) in enumerate(roles.items()):
        data = weights[: 1000 + number]
        hub.add_file("owner/net", COMMIT, name, data)
        described = dict(more)
        if "fold" in more:
            fold = str(more["fold"])
            described["fold"] = {"protocol": "disfa-occurrence-3fold", "name": fold, "test_subjects": [f"SN{fold}"]}
        files.append(file_of(data, f"hf:owner/net@{COMMIT}:{name}", name=name, **described))
    return ModelEntry(
        name="net",
        title="Net",
        family="onnx",
        architecture="resnet18",
        tasks=("au-intensity", "au-occurrence"),
        weights=tuple(files),
        preprocess={"size": [224, 224]},
        outputs=(
            {"task": "au-intensity", "labels": ["AU12"], "role": "intensity"},
            {"task": "au-occurrence", "labels": ["AU12"], "role": "occurrence", "threshold": 0.5},
        ),
        licence={"name": "MIT", "commercial_use": True},
        status="unverified",
    )


def names(files) -> list[str]:
    return [file.name for file in files]


def test_everything_is_fetched_once(hub, entry):
    paths = fetch_model(entry)
    assert names(paths) == names(entry.weights)
    assert len(hub.seen) == 5
    assert fetch_model(entry, offline=True) == paths
    assert len(hub.seen) == 5


def test_tasks_folds_and_precisions_narrow_the_choice(entry):
    assert names(select(entry, tasks=["au-intensity"])) == ["encoder.onnx", "intensity.onnx"]
    assert names(select(entry, folds=["1"])) == ["encoder.onnx", "intensity.onnx", "f1.onnx", "f1-int8.onnx"]
    both = select(entry, tasks=["au-occurrence"], folds=["0"], precisions=["fp32"])
    assert names(both) == ["encoder.onnx", "f0.onnx"]


def test_names_that_the_entry_does_not_know(entry):
    with pytest.raises(UnknownNameError, match="unknown task 'expression'"):
        select(entry, tasks=["expression"])
    with pytest.raises(UnknownNameError, match="unknown fold '7'"):
        select(entry, folds=["7"])
    with pytest.raises(UnknownNameError, match="unknown precision 'bf16'"):
        select(entry, precisions=["bf16"])
    with pytest.raises(UsageError, match="no file that is all of this"):
        select(entry, tasks=["au-intensity"], precisions=["int8"])


def test_an_entry_without_weights_says_so():
    entry = ModelEntry(
        name="paper",
        title="Paper",
        family="none",
        architecture="none",
        tasks=("au-intensity",),
        licence={"name": "none", "commercial_use": "unknown"},
        status="reported-only",
    )
    with pytest.raises(UsageError, match="no weights to fetch"):
        fetch_model(entry)


def test_what_is_fetched_before_a_failure_stays(hub, entry):
    del hub.repos["owner/net"].revisions[COMMIT]["f0.onnx"]
    with pytest.raises(WeightsMissingError, match=r"f0\.onnx"):
        fetch_model(entry)
    assert names(fetch_model(entry, tasks=["au-intensity"], offline=True)) == ["encoder.onnx", "intensity.onnx"]


def test_importing_the_room_is_light():
    code = (
        "import zoo.weights, sys; print([m for m in ('torch', 'onnxruntime', 'openvino', 'pandas', 'httpx2', 'httpx',"
    )
    code += " 'huggingface_hub', 'filelock', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
