"""``zoo.export`` as a person runs it: the artefact is a model like any other, and a plain script agrees with it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from tests.helpers.tiny import LABELS, tiny_entry, tiny_pictures, tiny_registry
from zoo import eval as eval_verb
from zoo import export, predict
from zoo.faces.decode import read_image
from zoo.faces.pipeline import build_pipeline
from zoo.registry import load_registry
from zoo.registry.loading import read_registry_file
from zoo.runtimes import artefact


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny model's registry and 36 pictures, and it is the current one."""
    tiny_registry(tmp_path)
    tiny_pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left_behind(place: Path) -> list[str]:
    return sorted(p.name for p in place.iterdir() if p.name not in ("tiny.onnx", "tiny.yaml", "pictures"))


def predicted(place: Path, out: str, *words: str) -> dict[str, dict[str, float]]:
    """Returns what zoo.predict writes: file -> label -> value."""
    assert predict.main(["input=pictures/anger", f"out={out}", "draw=false", *words]) == 0
    (path,) = (place / out).glob("*.csv")
    with path.open() as file:
        return {row["file"]: {x: float(row[x]) for x in LABELS} for row in csv.DictReader(file)}


def evaluated(place: Path, out: str, *words: str) -> dict[str, float]:
    assert eval_verb.main(["dataset=folder", "root=pictures", f"out={out}", "resamples=50", *words]) == 0
    (path,) = (place / out / "results").rglob("*.json")
    scores = json.loads(path.read_text())["views"][0]["scores"]
    return {f"{s['metric']} {s['aggregation']}": s["mean"]["value"] for s in scores}


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "fp32"), ("openvino", "int8")],
)
def test_an_artefact_is_a_model_like_any_other(place: Path, runtime: str, precision: str) -> None:
    words = ["model=tiny", f"registry={place}/tiny.yaml", f"runtime={runtime}", f"precision={precision}", "out=made"]
    assert export.main([*words, *(["calibrate=pictures"] if precision == "int8" else [])]) == 0
    assert left_behind(place) == ["made"]

    name = f"tiny-{runtime}-{precision}"
    how = [f"model={name}", f"registry={place}/made/registry.yaml", f"runtime={runtime}", f"precision={precision}"]
    here, there = predicted(place, "a", "model=tiny", f"registry={place}/tiny.yaml"), predicted(place, "b", *how)
    close = 2e-4 if precision == "fp32" else 0.02
    for file, values in here.items():
        assert values == pytest.approx(there[file], abs=close)
    before = evaluated(place, "c", "model=tiny", f"registry={place}/tiny.yaml")
    after = evaluated(place, "d", *how)
    assert before == pytest.approx(after) and before["accuracy pooled"] == pytest.approx(30 / 36)

    # The plain script: run elsewhere, on the crops alone.
    (made,) = read_registry_file(place / "made/registry.yaml").models
    assert made.preprocess is not None
    pipeline = build_pipeline(made.preprocess)
    crop = place / "crop.png"
    for file in ("00000.png", "00007.png"):
        Image.fromarray(pipeline.crop(read_image(place / "pictures/anger" / file))).save(crop)
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; sys.argv = ['run.py', {str(crop)!r}]; "
             f"import runpy; runpy.run_path({str(place / 'made/run.py')!r}); assert 'zoo' not in sys.modules"],
            cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = {line.split()[2]: float(line.split()[3]) for line in done.stdout.splitlines()}
        assert said == pytest.approx(there[file], abs=1.01e-4 if precision == "fp32" else 1e-3)


def test_the_contract_says_what_it_is(place: Path) -> None:
    words = ["model=tiny", f"registry={place}/tiny.yaml", "runtime=onnxruntime", "precision=int8", "out=made"]
    assert export.main([*words, "calibrate=pictures"]) == 0
    contract = json.loads((place / "made/contract.json").read_text())
    assert contract["input"] == {"name": "pixels", "dtype": "uint8", "shape": ["n", 8, 8, 3], "colour": "rgb"}
    assert contract["outputs"][0]["labels"] == list(LABELS) and contract["outputs"][0]["activation"] == "softmax"
    assert contract["preprocess"]["in_the_graph"]["multiply"] == pytest.approx([1 / 255] * 3)
    assert contract["licence"]["name"] == "Apache-2.0"
    assert contract["source"]["weights"].keys() == {"tiny.onnx"}
    assert contract["calibration"]["faces"] == 36 and len(contract["calibration"]["sha256"]) == 64
    assert contract["calibration"]["used"] + contract["calibration"]["kept_for_parity"] == 36
    assert contract["parity"]["crops"]["expression"]["n"] == contract["calibration"]["kept_for_parity"]
    assert {p.name for p in (place / "made").iterdir()} == {
        "contract.json", "registry.yaml", "run.py", "tiny-onnxruntime-int8.onnx"
    }  # fmt: skip
    # Other pictures are another calibration.
    assert export.main([*words[:-1], "out=other", "calibrate=pictures/anger,pictures/happiness"]) == 0
    other = json.loads((place / "other/contract.json").read_text())
    assert other["calibration"]["sha256"] != contract["calibration"]["sha256"]


def test_a_file_that_was_changed_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["model=tiny", f"registry={place}/tiny.yaml", "runtime=onnxruntime", "out=made"]) == 0
    (place / "made/tiny-onnxruntime-fp32.onnx").open("ab").write(b"\0")
    code = predict.main(["model=tiny-onnxruntime-fp32", f"registry={place}/made/registry.yaml", "input=pictures"])
    assert code != 0 and "tiny-onnxruntime-fp32.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_baseline_stays_bound_to_its_fold(place: Path, runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["model=hog-ridge", f"runtime={runtime}", "out=made"]) == 2
    assert "fold" in capsys.readouterr().err and left_behind(place) == []
    assert export.main(["model=hog-ridge", f"runtime={runtime}", "fold=of2", "out=made"]) == 0
    (made,) = read_registry_file(place / "made/registry.yaml").models
    source = load_registry().get("hog-ridge")
    bound = {w.fold.name: w.fold for w in source.weights if w.fold}
    assert made.name == f"hog-ridge-of2-{runtime}-fp32" and all(w.fold == bound["of2"] for w in made.weights)
    assert made.preprocess is not None and source.preprocess is not None
    assert made.preprocess.crop_hash == source.preprocess.crop_hash


@pytest.mark.package
def test_int8_is_calibrated_on_training_subjects_alone(place: Path) -> None:
    from zoo.datasets.synthface import generate

    generate("disfa", place / "faces", frames=2, progress=False)
    words = ["runtime=openvino", "precision=int8", "dataset=synthface", "root=faces", "out=made"]
    assert export.main(["model=fer-mini-xception", *words]) == 0
    contract = json.loads((place / "made/contract.json").read_text())
    assert contract["calibration"]["dataset"] == "synthface" and len(contract["calibration"]["subjects"]) == 27
    assert [t["use"] for t in contract["trained_on"]] == ["training", "selection", "selection"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["runtime=openvino", "precision=int8"], 2, "calibrate="),
        (["runtime=openvino", "precision=int8", "calibrate=pictures", "dataset=folder"], 2, "leave one out"),
        (["runtime=onnxruntime", "precision=bf16"], 1, "runtime=openvino"),
        (["runtime=onnxruntime", "precision=fp16"], 1, "a device that computes it"),
        (["runtime=onnxruntime", "precision=fp16", "device=tpu"], 1, "does not serve the device 'tpu'"),
        (["runtime=onnxruntime", "tasks=au-intensity"], 2, "unknown task"),
        (["runtime=onnxruntime", "fold=of1"], 2, "has no folds"),
        (["runtime=torch"], 2, "runtime=torch"),
        (["runtime=openvino", "precision=int8", "calibrate=pictures/anger"], 2, "needs 16 or more"),
        (["runtime=openvino", "precision=int8", "calibrate=nowhere"], 2, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(
    place: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["model=tiny", f"registry={place}/tiny.yaml", "out=made", *words]) == code
    text = capsys.readouterr().err
    assert said in text and "Traceback" not in text
    assert left_behind(place) == []


def test_a_folder_that_is_taken_stays_as_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "made").mkdir()
    (place / "made/mine.txt").write_text("mine")
    words = ["model=tiny", f"registry={place}/tiny.yaml", "runtime=onnxruntime"]
    assert export.main([*words, "out=made"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [p.name for p in (place / "made").iterdir()] == ["mine.txt"]
    (place / "empty").mkdir()
    assert export.main([*words, "out=empty"]) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_export_leaves_nothing(
    place: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> str:
        raise error

    monkeypatch.setattr(artefact, "example", stop)
    words = ["model=tiny", f"registry={place}/tiny.yaml", "runtime=openvino", "out=made"]
    if error is KeyboardInterrupt:
        assert export.main(words) == 130
    else:
        with pytest.raises(error):
            export.main(words)
    assert left_behind(place) == []


def test_an_artefact_that_computes_something_else_is_not_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.runtimes import quantise

    sound = quantise.static_qdq

    def swapped(model: onnx.ModelProto, crops: np.ndarray) -> onnx.ModelProto:
        broken = onnx.ModelProto()
        broken.CopyFrom(model)
        for tensor in broken.graph.initializer:
            if tensor.name == "weight":
                values = onnx.numpy_helper.to_array(tensor)[:, ::-1]
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), "weight"))
        return sound(broken, crops)

    monkeypatch.setattr(quantise, "static_qdq", swapped)
    words = ["model=tiny", f"registry={place}/tiny.yaml", "runtime=onnxruntime", "precision=int8", "calibrate=pictures"]
    assert export.main([*words, "out=made"]) == 1
    text = capsys.readouterr().err
    assert "does not compute what tiny does; nothing was written" in text and "equal decisions" in text
    assert left_behind(place) == []


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_unsupported_operator_is_named(place: Path, runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    from zoo._util.files import sha256_of

    model = onnx.load(place / "tiny.onnx")
    model.graph.node[0].op_type, model.graph.node[0].domain = "Whirl", "org.example"
    model.opset_import.append(onnx.helper.make_opsetid("org.example", 1))
    onnx.save(model, place / "tiny.onnx")
    entry = tiny_entry(place / "tiny.onnx")
    assert entry["weights"][0]["sha256"] == sha256_of(place / "tiny.onnx")
    (place / "tiny.yaml").write_text(yaml.safe_dump({"schema_version": 1, "models": [entry]}))
    assert export.main(["model=tiny", f"registry={place}/tiny.yaml", f"runtime={runtime}", "out=made"]) == 1
    assert "Whirl" in capsys.readouterr().err
    assert left_behind(place) == []


def test_bf16_needs_a_processor_that_has_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import openvino as ov

    real = ov.Core.compile_model

    def old(core: ov.Core, model: object, device: str, settings: dict[str, object]) -> ov.CompiledModel:
        """What OpenVINO does on a processor without bf16: it computes in f32 and says so when asked."""
        return real(core, model, device, {**settings, "INFERENCE_PRECISION_HINT": ov.Type.f32})

    monkeypatch.setattr(ov.Core, "compile_model", old)
    words = ["model=tiny", f"registry={place}/tiny.yaml", "runtime=openvino", "precision=bf16", "out=made"]
    assert export.main(words) == 1
    text = capsys.readouterr().err
    assert "took INFERENCE_PRECISION_HINT f32, not bf16" in text and "precision=fp32" in text
    assert left_behind(place) == []
