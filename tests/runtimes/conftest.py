"""Models small enough to open many times."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.helpers.models import (
    DISFA,
    FER7,
    libreface_entry,
    libreface_files,
    make_entry,
    mobilefacenet_entry,
    mobilefacenet_file,
    quantised,
)
from zoo.models.hog_ridge import export_fold
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry


class Model(NamedTuple):
    """An entry with its files."""

    entry: ModelEntry
    files: dict[str, Path]

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.entry.tasks


@pytest.fixture
def shared_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache folder for all tests that ask for it, so that torch exports a model once."""
    home = tmp_path_factory.getbasetemp() / "shared-home"
    monkeypatch.setenv("ZOO_HOME", str(home))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def mobilefacenet(folder: Path) -> Model:
    """ONNX, fixed to one picture in the file; an fp32 and an int8 (QDQ) file."""
    fp32 = mobilefacenet_file(folder / "fp32.onnx")
    int8 = quantised(fp32, folder / "int8.onnx", "QDQ")
    return Model(mobilefacenet_entry(), {"fp32.onnx": fp32, "int8.onnx": int8})


@pytest.fixture(scope="session")
def hog(folder: Path) -> Model:
    """ONNX and torch."""
    rng = np.random.default_rng(7)
    export_fold(
        folder / "hog.onnx", (rng.standard_normal((12, 4464)) * 0.05).astype(np.float32),
        rng.standard_normal(12).astype(np.float32),
    )  # fmt: skip
    entry = make_entry(
        "hog-ridge", "hog-ridge", [{"name": "hog.onnx", "format": "onnx"}],
        [{"task": "au-intensity", "tensor": "au_intensity", "labels": DISFA}], size=(112, 112), scale=1.0,
    )  # fmt: skip
    return Model(entry, {"hog.onnx": folder / "hog.onnx"})


@pytest.fixture(scope="session")
def xception(folder: Path) -> Model:
    """torch only; grey."""
    from tests.models.test_mini_xception import seeded, write

    entry = make_entry(
        "fer-mini-xception", "mini-xception", [{"name": "e.hdf5", "format": "keras-hdf5"}],
        [{"task": "expression", "labels": FER7}], size=(64, 64), colour="gray", scale=2 / 255, mean=(1.0,),
    )  # fmt: skip
    return Model(entry, {"e.hdf5": write(folder / "e.hdf5", seeded())})


@pytest.fixture(scope="session")
def libreface(folder: Path) -> Model:
    """Four ONNX files joined."""
    return Model(libreface_entry(), libreface_files(folder))
