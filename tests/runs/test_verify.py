"""``zoo.check model=...`` earns ``status: verified``, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from tests.helpers.tiny import broken_registry, tiny_entry, tiny_registry
from zoo.errors import ContractError, HashMismatchError, RecordError, WeightsError
from zoo.registry import load_registry
from zoo.results.evidence import evidence_path, read_evidence, save_evidence, unearned
from zoo.runs.verify import golden_input, verify_entry
from zoo.runtimes import parity
from zoo.runtimes.graphs import with_pixels
from zoo.runtimes.quantise import static_qdq


def test_the_fixed_input_is_the_same_everywhere() -> None:
    crops = golden_input((8, 8, 3))
    assert crops.shape == (8, 8, 8, 3)
    assert crops.dtype == np.uint8
    # A few values by hand: 128 + 60 sin(0) + 60 cos(0) = 188 at the corner, whatever the wave.
    assert (crops[:, 0, 0] == 188).all()
    assert len({c.tobytes() for c in crops}) == len(crops)
    assert golden_input((4, 6, 1)).shape == (8, 4, 6, 1)


def test_a_check_leaves_evidence_that_belongs_to_one_contract(tmp_path: Path) -> None:
    registry = load_registry((tiny_registry(tmp_path),))
    lines: list[str] = []
    evidence = verify_entry(registry.get("tiny"), registry, tell=lines.append)
    assert [r.runtime for r in evidence.runtimes] == ["onnxruntime", "openvino"]
    assert evidence.runtimes[1].reference == "onnxruntime"
    assert all(r.threads is not None and r.threads < 1e-4 for r in evidence.runtimes)
    assert any("torch: cannot run it here" in line for line in lines)
    assert len(evidence.golden["expression"]) == 8
    assert all(abs(sum(row) - 1) < 1e-3 for row in evidence.golden["expression"])
    path = save_evidence(evidence, tmp_path)
    assert path == evidence_path(tmp_path, "tiny")
    assert read_evidence(path) == evidence
    claimed = registry.get("tiny").model_copy(update={"status": "verified"})
    assert unearned([claimed], tmp_path) == []
    other = claimed.model_copy(update={"architecture": "another"})
    assert "another contract" in unearned([other], tmp_path)[0]
    assert "is not there" in unearned([claimed.model_copy(update={"name": "x"})], tmp_path)[0]
    assert unearned([registry.get("tiny")], tmp_path) == []  # says unverified, needs nothing


def test_a_file_that_breaks_the_contract_earns_nothing(tmp_path: Path) -> None:
    path = tiny_registry(tmp_path, outputs=[{"task": "expression", "labels": ["anger", "fear"], "start": 2}])
    registry = load_registry((path,))
    with pytest.raises(ContractError):
        verify_entry(registry.get("tiny"), registry, tell=print)


def test_a_runtime_whose_threads_matter_earns_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = load_registry((tiny_registry(tmp_path),))
    apart = {"scores": parity.agreement(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))}
    monkeypatch.setattr(parity, "thread_invariance", lambda *given: apart)
    with pytest.raises(ContractError, match="with other threads"):
        verify_entry(registry.get("tiny"), registry, tell=lambda line: None)


def test_a_file_that_gives_no_numbers_earns_nothing(tmp_path: Path) -> None:
    registry = load_registry((broken_registry(tmp_path),))
    with pytest.raises(ContractError, match="not finite for 8 of 8 crops"):
        verify_entry(registry.get("tiny"), registry, tell=print)


def test_a_swapped_file_earns_nothing(tmp_path: Path) -> None:
    registry = load_registry((tiny_registry(tmp_path),))
    (tmp_path / "tiny.onnx").write_bytes(b"x")
    with pytest.raises((HashMismatchError, WeightsError)):
        verify_entry(registry.get("tiny"), registry, tell=print)


def test_what_is_no_evidence_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(RecordError, match=r"x\.json"):
        read_evidence(path)


def test_every_verified_entry_of_the_registry_has_its_evidence(repository: Path) -> None:
    entries = list(load_registry().entries.values())
    assert {e.name for e in entries if e.status == "verified"} >= {"hog-ridge", "fer-mini-xception"}
    assert unearned(entries, repository / "leaderboards") == []


def test_an_entry_with_an_int8_file_alone_is_checked_in_int8(tmp_path: Path) -> None:
    float_registry = load_registry((tiny_registry(tmp_path),))
    preprocess = float_registry.get("tiny").preprocess
    assert preprocess is not None
    crops = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    made = static_qdq(with_pixels(onnx.load(tmp_path / "tiny.onnx"), preprocess), crops)
    onnx.save(made, tmp_path / "tiny-int8.onnx")
    entry = tiny_entry(tmp_path / "tiny-int8.onnx", name="tiny-int8")
    entry["weights"][0] |= {"name": "tiny-int8.onnx", "precision": "int8"}
    entry["preprocess"] |= {"scale": 1.0, "layout": "nhwc"}
    path = tmp_path / "int8.yaml"
    path.write_text(yaml.safe_dump({"schema_version": 1, "models": [entry]}))
    registry = load_registry((path,))
    evidence = verify_entry(registry.get("tiny-int8"), registry, tell=print)
    assert "onnxruntime" in [r.runtime for r in evidence.runtimes]
