"""``zoo.check`` tells how an output that the publisher's sources leave open is read, from the file's own values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from tests.helpers.checkpoints import entry_of
from tests.helpers.models import Builder
from tests.helpers.tiny import tiny_entry, tiny_model
from zoo._util.files import sha256_of
from zoo.registry import ModelEntry, load_registry
from zoo.results.evidence import evidence_path, read_evidence, save_evidence, unearned
from zoo.runs.readings import EXPRESSIONS, FEWEST, PEOPLE, SIDE, decide, face_crops, in_words, rendered_faces
from zoo.runs.verify import verify_entry
from zoo.runtimes import open_session

OPEN = {
    "libreface-swin-t": {"times-five": (0.0, 0.8), "as-it-is": (-0.1, 4.2), None: (0.0, 1.35)},
    "libreface-mae-b": {"times-five": (0.02, 1.0), "as-it-is": (0.1, 2.5), None: (0.0, 40.0)},
    "libreface-repvgg": {"times-five": (-0.1, 0.9), "sigmoid-times-five": (-6.0, 1.5), None: (0.0, 3.0)},
    "libreface-repvgg-bp4d": {"score": (0.0, 1.0), "logit": (-4.0, 3.0), None: (0.0, 4.0)},
}
OPEN |= {f"{name}-onnx": OPEN[name] for name in ("libreface-swin-t", "libreface-mae-b")}
"""Entry -> reading -> 1st and 99th percentile that a stand-in is made to have; None: of no reading."""


def test_the_entries_whose_sources_disagree_say_so() -> None:
    assert {e.name for e in load_registry().entries.values() if e.readings} == OPEN.keys()


@pytest.mark.parametrize("name", OPEN)
def test_values_of_each_reading_are_told_apart(name: str) -> None:
    entry = entry_of(name)
    (task,) = {r.task for r in entry.readings}
    assert OPEN[name].keys() == {r.name for r in entry.readings} | {None}
    for reading, (low, high) in OPEN[name].items():
        values = np.linspace(low, high, 1200, dtype=np.float32).reshape(-1, 12)
        found = decide(entry, task, values, "rendered")
        assert (found.supported, found.fits) == (reading, (reading,) if reading else ())
        words = in_words(entry, found)
        if reading is None:
            assert "undecided, it fits none of" in words
        else:
            declared = found.declared == reading
            assert ("supports the declared reading" in words) == declared
            assert ("the entry declares" in words) != declared
        assert decide(entry, task, values[: FEWEST - 1], "given").supported is None  # too few faces
    assert decide(entry, task, np.zeros((0, 12), np.float32), "given").faces == 0


def test_no_values_fit_two_readings_of_the_registry() -> None:
    """The ranges are apart in one end at least, so that a file can fit one of them only."""
    for entry in load_registry().entries.values():
        for a in entry.readings:
            for b in entry.readings:
                if a.task == b.task and a.name < b.name:
                    assert a.low[1] < b.low[0] or b.low[1] < a.low[0] or a.high[1] < b.high[0] or b.high[1] < a.high[0]


def test_values_that_fit_two_readings_are_undecided() -> None:
    entry = entry_of("libreface-repvgg")
    one, two = entry.readings
    wide = entry.model_copy(update={"readings": (one, two.model_copy(update={"low": one.low, "high": one.high}))})
    values = np.linspace(-0.1, 0.9, 1200, dtype=np.float32).reshape(-1, 12)
    found = decide(wide, "au-intensity", values, "rendered")
    assert found.supported is None and len(found.fits) == 2
    assert "it fits times-five and sigmoid-times-five" in in_words(wide, found)


def test_the_rendered_faces_are_faces_from_rest_to_full_strength() -> None:
    pictures = list(rendered_faces())
    assert len(pictures) == PEOPLE * len(EXPRESSIONS) and EXPRESSIONS[0] == {}
    assert all(p.shape == (SIDE, SIDE, 3) and p.dtype == np.uint8 for p in pictures)
    known = {int(label[2:]) for name in OPEN for o in entry_of(name).outputs for label in o.labels}
    assert known <= {unit for units in EXPRESSIONS for unit in units}


def _stand_in(folder: Path, low: float, high: float) -> ModelEntry:
    """The contract of libreface-repvgg on a small seeded network whose values on the faces go from low to high."""
    entry = entry_of("libreface-repvgg")
    raw: dict[str, Any] = entry.model_dump(mode="json", exclude_none=True)
    raw |= {"name": "stand-in", "family": "onnx", "preprocess": {"size": [32, 32], "scale": 1 / 255}}
    path = folder / "small.onnx"
    raw["weights"] = [{"name": "small.onnx", "format": "onnx", "sources": [f"path:{path}"], "sha256": "0" * 64}]
    entry = ModelEntry.model_validate(raw)

    def save(gain: float, shift: float) -> None:
        b = Builder(3)
        x = b.node("Relu", b.conv("image", 3, 8, 3, 2))
        x = b.linear(b.node("Flatten", x, axis=1), 8 * 16 * 16, 12, gain=2.0)
        x = b.node("Mul", x, b.constant(np.float32(gain)))
        b.node("Add", x, b.constant(np.float32(shift)), output="y")
        b.save(path, ("image", ["n", 3, 32, 32]), [("y", ["n", 12])])

    save(1.0, 0.0)
    session = open_session(entry, {"small.onnx": path}, entry.tasks, runtime="onnxruntime", threads=1)
    try:
        p1, p99 = np.percentile(session.infer(face_crops(entry, rendered_faces()))["y"], [1, 99])
    finally:
        session.close()
    gain = (high - low) / (p99 - p1)
    save(gain, low - p1 * gain)
    raw["weights"][0]["sha256"] = sha256_of(path)
    (folder / "mine.yaml").write_text(yaml.safe_dump({"schema_version": 1, "models": [raw]}))
    return ModelEntry.model_validate(raw)


@pytest.mark.parametrize("reading", OPEN["libreface-repvgg"])
def test_a_stand_in_made_for_a_reading_is_found_out(tmp_path: Path, reading: str | None) -> None:
    low, high = OPEN["libreface-repvgg"][reading]
    entry = _stand_in(tmp_path, low, high)
    registry = load_registry((tmp_path / "mine.yaml",))
    lines: list[str] = []
    evidence = verify_entry(entry, registry, tell=lines.append)
    (found,) = evidence.readings
    assert (found.supported, found.declared, found.pictures) == (reading, "times-five", "rendered")
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert any("1st and 99th percentile" in line for line in lines)
    assert read_evidence(save_evidence(evidence, tmp_path)) == evidence
    claimed = entry.model_copy(update={"status": "verified"})
    wrong = unearned([claimed], tmp_path)
    assert (wrong == []) == (reading == "times-five")
    assert reading == "times-five" or "does not settle how au-intensity is read" in wrong[0]


def test_the_command_refuses_a_file_of_another_reading(tmp_path: Path) -> None:
    _stand_in(tmp_path, -6.0, 1.5)
    done = subprocess.run(
        [sys.executable, "-m", "zoo.check", "model=stand-in", f"out={tmp_path / 'out'}"],
        env={**os.environ, "ZOO_REGISTRY": str(tmp_path / "mine.yaml")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "supports 'sigmoid-times-five', and the entry declares 'times-five'" in done.stderr
    assert read_evidence(evidence_path(tmp_path / "out", "stand-in")).readings[0].supported == "sigmoid-times-five"


def test_readings_are_two_or_more_and_one_is_declared(tmp_path: Path) -> None:
    tiny_model(tmp_path / "tiny.onnx")
    reading = {"task": "expression", "activation": "softmax", "low": [0, 1], "high": [0, 1], "source": "x"}
    for names, change in (
        (["a"], {}), (["a", "a"], {}), (["a", "b"], {}), (["a", "b"], {"activation": "sigmoid"}),
        (["a", "b"], {"low": [1, 0]}), (["a", "b"], {"task": "au-intensity"}),
    ):  # fmt: skip
        readings = [{"name": name, **reading, **change} for name in names]
        with pytest.raises(ValidationError):
            ModelEntry.model_validate(tiny_entry(tmp_path / "tiny.onnx", readings=readings))
    good = [{"name": "a", **reading}, {"name": "b", **reading, "activation": "none"}]
    assert ModelEntry.model_validate(tiny_entry(tmp_path / "tiny.onnx", readings=good)).readings[1].name == "b"


def test_the_command_takes_a_registry_file_of_ones_own(tmp_path: Path) -> None:
    _stand_in(tmp_path, 0.0, 0.9)
    done = subprocess.run(
        [sys.executable, "-m", "zoo.check", "model=stand-in", f"registry={tmp_path / 'mine.yaml'}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the file supports the declared reading 'times-five'" in done.stdout
