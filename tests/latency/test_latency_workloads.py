"""Real models behind the harness: published files, seeded structures, the pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo.errors import ContractError, HashMismatchError, RuntimeUnavailableError, UnknownNameError
from zoo.latency import pipeline, structures
from zoo.latency.case import Case, Job
from zoo.latency.jobs import Jobs
from zoo.latency.parity import ParityLimits, check_parity, golden_crops
from zoo.latency.workloads import Encoder, count_flops, open_workload
from zoo.registry import load_registry
from zoo.registry.schema import Preprocess
from zoo.results.latency_record import Asked, ModelTimed, Scenario
from zoo.runtimes.base import SessionInfo

SMALL = "mobilenetv3-large"


def _case(model: str, runtime: Any = "onnxruntime", precision: Any = "fp32", batch: int = 1, **change: Any) -> Case:
    scenario = Scenario(name="Offline" if batch > 1 else "SingleStream", batch=batch)
    asked = Asked(runtime=runtime, precision=precision, threads=1)
    return Case(model=model, asked=asked, scenario=scenario, **change)


def _hog(runtime: Any = "onnxruntime", **change: Any) -> Job:
    registry = load_registry()
    entry = registry.get("hog-ridge")
    case = _case("hog-ridge", runtime, tasks=entry.tasks, fold=entry.weights[0].fold.name, **change)  # type: ignore[union-attr]
    return Jobs({entry.name: entry}, registry).make(case)


def test_a_published_model_is_opened_as_asked_and_described() -> None:
    workload = open_workload(_hog(batch=4))
    try:
        about = workload.about
        assert (workload.info.runtime, workload.info.threads, workload.info.precision) == ("onnxruntime", 1, "fp32")
        assert about.weights == "published" and about.input == (112, 112, 3) and about.tasks == ("au-intensity",)
        assert about.size and about.files[0].sha256 and about.files[0].fold
        pool = workload.pool()
        assert pool[0].shape == (4, 112, 112, 3)
        assert all(t.shape[0] == 4 for t in workload.infer(pool[0]).values())
        assert workload.stages() is None
    finally:
        workload.close()


def test_every_runtime_of_a_model_passes_parity_with_torch() -> None:
    reference = open_workload(_hog("torch"))
    crops = golden_crops(reference.about.input, count=6)
    expected = reference.outputs(crops[:1])
    expected = {k: np.concatenate([reference.outputs(crops[i : i + 1])[k] for i in range(6)]) for k in expected}
    assert count_flops(reference, crops[:1])
    reference.close()
    for runtime, batch in (("onnxruntime", 4), ("openvino", 1), ("torch", 4)):
        workload = open_workload(_hog(runtime, batch=batch))
        found = check_parity(
            workload.outputs, workload.decisions, crops, expected, batch=batch, precision="fp32",
            limits=ParityLimits(), name="torch",
        )  # fmt: skip
        workload.close()
        assert found.passed, (runtime, found)


def test_a_file_that_was_swapped_is_refused(tmp_path: Path) -> None:
    job = _hog()
    ((name, path),) = job.files.items()
    other = tmp_path / "other.onnx"
    shutil.copy(path, other)
    with other.open("ab") as file:
        file.write(b"\0")
    swapped = job.model_copy(update={"files": {name: str(other)}})
    with pytest.raises(HashMismatchError, match="not the file that the registry names"):
        open_workload(swapped)


def test_int8_of_random_weights_is_made_by_each_runtime_for_itself() -> None:
    jobs = Jobs({}, load_registry())
    with pytest.raises(RuntimeUnavailableError, match="int8"):
        jobs.make(_case(SMALL, "torch", "int8", weights="random"))
    workload = open_workload(jobs.make(_case(SMALL, "onnxruntime", "int8", weights="random")))
    try:
        assert workload.info.precision == "int8"
        assert workload.about.size and workload.about.size < structures.exported(SMALL).stat().st_size / 2
        assert np.isfinite(workload.infer(workload.pool()[0])["output"]).all()
    finally:
        workload.close()
    (made,) = structures.quantised(SMALL, "onnxruntime")
    stamp = made.stat().st_mtime_ns
    assert structures.quantised(SMALL, "onnxruntime") == (made,) and made.stat().st_mtime_ns == stamp


def test_random_weights_are_seeded_and_compute_something() -> None:
    one, same, other = (structures.build(SMALL, seed) for seed in (0, 0, 1))
    x = 255 * torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a, b, c = (m(x)["output"] for m in (one, same, other))
    assert torch.equal(a, b) and not torch.allclose(a, c)
    assert 0.01 < float(a.std()) < 100
    assert float((a[0] - a[1]).abs().max()) > 1e-3 * float(a.abs().max())  # the picture matters
    assert not one.training
    for parameter in one.parameters():
        assert parameter.numel() == 1 or not bool((parameter == parameter.flatten()[0]).all())


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    structures.build(SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_libreface_heads_have_the_sizes_of_the_published_checkpoints() -> None:
    # 11,311,448 and 9,688,948 parameters: counted in LibreFace's own state dicts.
    for name, count in (("libreface-resnet18", 11_311_448), ("libreface-repvgg-a0", 9_688_948)):
        module = structures.get_structure(name).build()
        assert sum(p.numel() for p in module.parameters()) == count


OF_THE_REGISTRY = [name for name, s in structures.STRUCTURES.items() if s.make or s.contract]


def test_structures_bear_the_registrys_names_of_architectures() -> None:
    known = {e.architecture for e in load_registry().entries.values()}
    assert {structures.STRUCTURES[name].architecture for name in OF_THE_REGISTRY} <= known
    for name in OF_THE_REGISTRY:
        structure = structures.STRUCTURES[name]
        contract = structure.contract and load_registry().get(structure.contract).preprocess
        assert contract is None or contract.size == structure.preprocess.size, name


def test_structures_of_the_registry_have_its_models_parameters() -> None:
    compared = []
    for name in OF_THE_REGISTRY:
        structure = structures.get_structure(name)
        same = [e for e in load_registry().entries.values() if e.architecture == structure.architecture]
        counts = {e.parameters for e in same if e.parameters}
        if structure.make and counts:
            assert sum(p.numel() for p in structure.build().parameters()) in counts, name
            compared.append(name)
    assert {"emonet", "openface3", "resmasknet", "dan", "libreface-swin-t"} <= set(compared)


def test_branches_are_folded_as_they_are_when_the_model_runs() -> None:
    module = structures.build("libreface-repvgg-a0")
    convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 22  # RepVGG-A0: 1 + 2 + 4 + 14 + 1 blocks, one convolution each


def test_unknown_structures_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="resnet81"):
        structures.get_structure("resnet81")


def test_an_exported_structure_is_kept_and_found_again_without_torch() -> None:
    job = Jobs({}, load_registry()).make(_case(SMALL, weights="random"))
    workload = open_workload(job)
    crops = golden_crops(workload.about.input, count=3)
    found = np.concatenate([workload.outputs(crops[i : i + 1])["output"] for i in range(3)])
    assert workload.about.exported and workload.about.weights == "random"
    workload.close()
    reference = open_workload(Jobs({}, load_registry()).make(_case(SMALL, "torch", weights="random")))
    expected = np.concatenate([reference.outputs(crops[i : i + 1])["output"] for i in range(3)])
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert reference.about.parameters == sum(p.numel() for p in structures.build(SMALL).parameters())
    code = (
        "import sys; from zoo.latency.workloads import open_workload; "
        "from zoo.latency.case import Job; open_workload(Job.model_validate_json(sys.argv[1])); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, job.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.strip() == "False"


class _Echo:
    """A session that gives a crop's mean."""

    info = SessionInfo(runtime="torch", version="0", device="cpu", precision="fp32", threads=1)

    def infer(self, batch: Any) -> Any:
        return {"mean": batch.reshape(len(batch), -1).mean(1, keepdims=True).astype(np.float32)}

    def stream(self, batches: Any) -> Any:
        return ((key, self.infer(batch)) for key, batch in batches)

    def close(self) -> None:
        pass


def _encoder() -> Encoder:
    about = ModelTimed(name="echo", weights="random", architecture="echo", input=(32, 32, 3))
    return Encoder(_Echo(), about, 2, 0)


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    pipeline.render_pictures(tmp_path / "p", people=1, each=3, size=(160, 120))
    found = sorted((tmp_path / "p").glob("*.jpg"))
    monkeypatch.setattr(pipeline, "pictures", lambda: found)
    return found


def test_rendered_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pipeline.render_pictures(tmp_path / name, people=1, each=2, size=(128, 96))
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / n).glob("*.jpg")} for n in ("a", "b"))
    assert a == b and len(a) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]  # nothing half-made is left


def test_a_pipeline_runs_from_file_to_labels_and_shares_out_its_time(small_pictures: list[Path]) -> None:
    whole = pipeline.Pipeline(_encoder(), Preprocess(size=(32, 32)), 2)
    pool = whole.pool()
    assert [len(q) for q in pool] == [2, 2, 2]
    assert pool[2] == [small_pictures[2], small_pictures[0]]
    values = [whole.infer(q)["mean"] for q in pool]
    assert values[0].shape == (2, 1) and 0 < float(values[0][0, 0]) < 255
    assert not np.allclose(values[0], values[1])
    assert [k for k, _ in whole.stream([(7, pool[0])])] == [7]
    stages = whole.stages()
    assert set(stages) >= {"decode", "crop", "network", "labels"}
    assert all(v >= 0 for v in stages.values()) and stages["decode"] > 0
    whole.close()


def test_a_pipeline_that_finds_no_faces_is_not_timed(
    small_pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pipeline.Pipeline(_encoder(), Preprocess(size=(32, 32)), 1)
    monkeypatch.setattr(whole._faces, "crop", lambda image: None)
    with pytest.raises(ContractError, match="0 of 3 rendered pictures"):
        whole.pool()
