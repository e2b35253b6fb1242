"""Artefacts of networks that are harder than one open graph: joined files, torch, grey, one picture at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.helpers.models import Builder, make_entry, mobilefacenet_entry, pictures
from zoo.datasets.base import Index
from zoo.errors import ContractError, DatasetError, RuntimeUnavailableError, UsageError
from zoo.models.heads import apply_outputs
from zoo.registry.schema import ModelEntry
from zoo.runtimes import artefact, open_session
from zoo.runtimes.artefact import LIMITS, export_model, source_files, task_agreement
from zoo.runtimes.calibration import Calibration, training_rows


def made(
    model, out: Path, runtime: str, precision: str = "fp32", tasks=None, calibration=None, keep_fp32: bool = False
) -> artefact.Exported:
    entry = model.entry
    tasks = tasks or entry.tasks
    reference = open_session(entry, model.files, tasks, runtime="onnxruntime", threads=2)
    try:
        return export_model(
            entry, {w.name: model.files[w.name] for w in source_files(entry, tasks, runtime)}, tasks, out,
            runtime=runtime, precision=precision, golden=crops(entry), reference=reference, calibration=calibration,
            keep_fp32=keep_fp32, threads=2,
        )  # fmt: skip
    finally:
        reference.close()


def crops(entry: ModelEntry, n: int = 8, seed: int = 3) -> np.ndarray:
    return pictures(n, entry.preprocess.size, entry.preprocess.channels, seed)


def values(done: artefact.Exported, runtime: str, batch: np.ndarray) -> dict[str, np.ndarray]:
    entry = done.entry
    session = open_session(
        entry, {w.name: done.folder / w.name for w in entry.weights}, entry.tasks, runtime=runtime,
        precision=entry.weights[0].precision, threads=1,
    )  # fmt: skip
    try:
        return apply_outputs(entry, session.infer(batch))
    finally:
        session.close()


def script(done: artefact.Exported, picture: np.ndarray, tmp_path: Path) -> dict[tuple[str, str], float]:
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(tmp_path / "crop.png")
    ran = subprocess.run(
        [sys.executable, str(done.folder / "run.py"), str(tmp_path / "crop.png")], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = (line.split() for line in ran.stdout.splitlines())
    return {(words[1], words[2]): float(words[3]) for words in found}


def test_four_files_become_one(libreface, tmp_path: Path) -> None:
    """LibreFace's encoder and two heads: intensities times five and clamped, occurrences with a threshold."""
    tasks = ("au-intensity", "au-occurrence")
    done = made(libreface, tmp_path / "out", "onnxruntime", tasks=tasks)
    assert done.entry.tasks == tasks and len(done.entry.weights) == 1
    batch = crops(done.entry, 2)
    right = open_session(libreface.entry, libreface.files, tasks, runtime="onnxruntime", threads=1)
    expected = apply_outputs(libreface.entry, right.infer(batch), tasks)
    right.close()
    found = values(done, "onnxruntime", batch)
    said = script(done, batch[0], tmp_path)
    for task in tasks:
        np.testing.assert_allclose(found[task], expected[task], atol=1e-4)
        for i, label in enumerate(done.entry.output(task).labels):
            assert said[task, label] == pytest.approx(float(expected[task][0, i]), abs=2e-4)
    outputs = json.loads((done.folder / "contract.json").read_text())["outputs"]
    assert [(o["task"], o["scale"], o["threshold"]) for o in outputs] == [
        ("au-intensity", 5.0, None), ("au-occurrence", 1.0, 0.5)
    ]  # fmt: skip


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_torch_network_on_grey_crops(xception, shared_home, tmp_path: Path, runtime: str) -> None:
    done = made(xception, tmp_path / "out", runtime)
    batch = crops(done.entry, 3)
    eager = open_session(xception.entry, xception.files, xception.tasks, runtime="torch", threads=1)
    expected = apply_outputs(xception.entry, eager.infer(batch))["expression"]
    np.testing.assert_allclose(values(done, runtime, batch)["expression"], expected, atol=1e-4)
    said = script(done, batch[1], tmp_path)
    assert list(said.values()) == pytest.approx(expected[1].tolist(), abs=2e-4)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_int8_computes_in_int8(mobilefacenet, tmp_path: Path, runtime: str) -> None:
    given = Calibration(crops(mobilefacenet.entry, 40, seed=9))
    done = made(mobilefacenet, tmp_path / "out", runtime, "int8", calibration=given)
    assert done.parity["crops"]["expression"].n == 10 and done.parity["crops"]["expression"].max_abs > 0
    batch = crops(done.entry, 4, seed=11)
    found = values(done, runtime, batch)["expression"]
    assert found.shape == (4, 7)
    with pytest.raises(RuntimeUnavailableError, match="no fp32 file"):
        open_session(done.entry, {}, done.entry.tasks, runtime=runtime)
    if runtime == "onnxruntime":
        graph = onnx.load(done.folder / done.entry.weights[0].name).graph
        assert "QuantizeLinear" in {n.op_type for n in graph.node}
        assert graph.input[0].name == "pixels" and graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_fp16_is_for_a_gpu(mobilefacenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeUnavailableError, match="computes this fp16 graph in fp32 on cpu"):
        made(mobilefacenet, out, "onnxruntime", "fp16")
    assert not any(tmp_path.iterdir())
    with pytest.raises(RuntimeUnavailableError, match="computes it in fp16 where a device can"):
        made(mobilefacenet, out, "openvino", "fp16")
    # A CPU runs the graph all the same, between casts: everything but the arithmetic of a GPU can be seen here.
    monkeypatch.setattr("zoo.runtimes.onnxruntime_.computed_precision", lambda *given: "fp16")
    done = made(mobilefacenet, out, "onnxruntime", "fp16")
    (file,) = done.entry.weights
    assert (file.name, file.precision) == (f"{mobilefacenet.entry.name}-onnxruntime-fp16.onnx", "fp16")
    graph = onnx.load(out / file.name).graph
    assert {i.data_type for i in graph.initializer if len(i.dims) > 1} >= {onnx.TensorProto.FLOAT16}
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    contract = json.loads((out / "contract.json").read_text())
    assert (contract["precision"], contract["parity"]["device"]) == ("fp16", "cpu")
    assert 0 < done.parity["golden"]["expression"].max_abs < 0.01
    said = (out / "run.py").read_text()
    assert "CUDAExecutionProvider" in said and "precision=fp16 device=cuda:0 input=" in said
    ran = subprocess.run([sys.executable, str(out / "run.py")], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "this file is for an NVIDIA GPU" in ran.stderr  # no silent fallback there either


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_both_precisions_in_one_entry(mobilefacenet, tmp_path: Path, runtime: str) -> None:
    given = Calibration(crops(mobilefacenet.entry, 40, seed=9))
    done = made(mobilefacenet, tmp_path / "out", runtime, "int8", calibration=given, keep_fp32=True)
    entry = done.entry
    assert entry.name == f"opencv-fer-mobilefacenet-{runtime}"
    assert {w.precision for w in entry.weights} == {"fp32", "int8"}
    batch = crops(entry, 4, seed=11)
    found = {}
    for precision in ("fp32", "int8"):
        files = {w.name: done.folder / w.name for w in entry.weights}
        session = open_session(entry, files, entry.tasks, runtime=runtime, precision=precision, threads=1)
        assert session.info.precision == precision
        found[precision] = apply_outputs(entry, session.infer(batch))["expression"]
        session.close()
    apart = np.abs(found["fp32"] - found["int8"]).max()
    assert 0 < apart < 0.1
    said = script(done, batch[0], tmp_path)  # the script runs the int8 file
    assert list(said.values()) == pytest.approx(found["int8"][0].tolist(), abs=2e-4)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_for_one_picture_stays_one(tmp_path: Path, runtime: str) -> None:
    b = Builder(3)  # the picture is joined with a constant of batch 1, which no other batch fits
    joined = b.node("Concat", b.weight(1, 1, 4, 4, scale=1.0), "x", axis=1)
    b.linear(b.node("Flatten", joined, axis=1), 64, 3, output="y")
    b.save(tmp_path / "a.onnx", ("x", [1, 3, 4, 4]), [("y", [1, 3])])
    entry = make_entry(
        "single", "onnx", [{"name": "a.onnx", "format": "onnx"}],
        [{"task": "expression", "labels": ("anger", "fear", "neutral"), "activation": "softmax"}], size=(4, 4),
    )  # fmt: skip

    class Single:
        pass

    model = Single()
    model.entry, model.files = entry, {"a.onnx": tmp_path / "a.onnx"}
    done = made(model, tmp_path / "out", runtime)
    assert json.loads((done.folder / "contract.json").read_text())["input"]["shape"] == [1, 4, 4, 3]
    batch = crops(entry, 3)
    found = values(done, runtime, batch)["expression"]
    assert list(script(done, batch[2], tmp_path).values()) == pytest.approx(found[2].tolist(), abs=1e-4)


def test_tasks_of_one_tensor_go_together(tmp_path: Path) -> None:
    entry = make_entry(
        "both", "onnx", [{"name": "a.onnx", "format": "onnx"}],
        [{"task": "expression", "labels": ("anger", "fear")},
         {"task": "valence-arousal", "labels": ("valence", "arousal"), "start": 2}], size=(4, 4),
    )  # fmt: skip
    how = {"runtime": "onnxruntime", "precision": "fp32", "calibrated": False}
    with pytest.raises(UsageError, match="valence-arousal come out of one tensor") as caught:
        artefact.check_export(entry, ("expression",), tmp_path / "out", **how)
    assert "tasks=expression,valence-arousal" in str(caught.value.fix)
    artefact.check_export(entry, ("expression", "valence-arousal"), tmp_path / "out", **how)


def test_agreement_by_hand() -> None:
    entry = make_entry(
        "m", "onnx", [{"name": "a.onnx", "format": "onnx"}],
        [{"task": "au-intensity", "labels": ("AU01", "AU02")},
         {"task": "au-occurrence", "labels": ("AU01", "AU02"), "threshold": 0.5, "tensor": "t"},
         {"task": "expression", "labels": ("anger", "fear"), "tensor": "u"}], size=(4, 4),
    )  # fmt: skip
    a = np.array([[1.0, 0.4], [3.0, 0.2]], np.float32)
    b = np.array([[1.5, 0.6], [3.0, 0.2]], np.float32)
    found = task_agreement(entry, dict.fromkeys(entry.tasks, a), dict.fromkeys(entry.tasks, b))
    assert found["au-intensity"].max_abs == pytest.approx(0.5)
    assert found["au-intensity"].relative == pytest.approx(0.1)  # of 5
    assert found["au-intensity"].mean_abs == pytest.approx(0.175) and found["au-intensity"].decisions is None
    assert found["au-occurrence"].decisions == 0.75  # 0.4 and 0.6 are on two sides of 0.5
    assert found["expression"].decisions == 1.0
    assert found["expression"].relative == pytest.approx(0.5 / 3)


def test_a_value_that_is_not_finite_fails(mobilefacenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = artefact.TaskAgreement(8, float("nan"), float("nan"), float("nan"), 1.0)
    monkeypatch.setattr(artefact, "task_agreement", lambda *_: {"expression": broken})
    with pytest.raises(ContractError, match="nothing was written"):
        made(mobilefacenet, tmp_path / "out", "onnxruntime")
    assert not list(tmp_path.iterdir())


def index_of(subject: list[str], split: list[str]) -> Index:
    n = len(subject)
    return Index(
        dataset="disfa", root=Path("/nowhere"), manifest="m", identities="disfa", synthetic=False,
        subject=np.array(subject), sequence=np.full(n, "s"), frame=np.arange(n, dtype=np.int32), split=np.array(split),
        file=np.full(n, "x.jpg"), position=np.full(n, -1, np.int32), labels={},
    )  # fmt: skip


def test_calibration_sees_no_test_subject_and_no_test_split() -> None:
    fold = {"protocol": "disfa-intensity-5fold", "name": "of1", "test_subjects": ["SN1", "SN3"]}
    bound = make_entry(
        "m", "onnx", [{"name": "a.onnx", "format": "onnx", "fold": fold}],
        [{"task": "au-intensity", "labels": ("AU01",)}], size=(4, 4),
    )  # fmt: skip
    people = index_of(["SN1", "SN2", "SN3", "SN4", "SN2"], [""] * 5)
    assert training_rows(people, bound, "of1").tolist() == [1, 3, 4]
    assert training_rows(people, mobilefacenet_entry(), None).tolist() == [0, 1, 2, 3, 4]
    parts = index_of([""] * 4, ["train", "test", "validation", "train"])
    assert training_rows(parts, mobilefacenet_entry(), None).tolist() == [0, 3]
    with pytest.raises(DatasetError, match="no sample that calibration may use"):
        training_rows(index_of(["SN1", "SN3"], ["", ""]), bound, "of1")
    with pytest.raises(DatasetError, match="no sample that calibration may use"):
        training_rows(index_of(["", ""], ["test", "validation"]), mobilefacenet_entry(), None)


def test_what_is_calibrated_on_is_not_what_is_judged_on() -> None:
    given = Calibration(np.arange(21, dtype=np.uint8).reshape(21, 1, 1, 1))
    used, kept = set(given.used.ravel().tolist()), set(given.kept.ravel().tolist())
    assert not used & kept and used | kept == set(range(21)) and len(kept) == 6
    assert given.sha256 != Calibration(given.crops[::-1]).sha256


def test_limits_grow_with_what_a_precision_loses() -> None:
    assert LIMITS["fp32"].values < LIMITS["bf16"].values <= LIMITS["int8"].values
    assert LIMITS["fp32"].values < LIMITS["fp16"].values < LIMITS["bf16"].values
    assert LIMITS.keys() == {"fp32", "bf16", "fp16", "int8"}
