"""OpenFace's model files: the published layout to the byte, its arithmetic, and what is no such file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ContractError
from zoo.models.openface_svr import FEATURES, HOG, MODES, SHAPE, read_components, read_dat, read_hog, read_predictors

RNG = np.random.default_rng(0)
NUMBER = {"svr-static": 0, "svr-dynamic": 1, "svm-static": 4, "svm-dynamic": 5}


def matrix(values: np.ndarray) -> bytes:
    return struct.pack("<3i", *values.shape, 6) + values.astype("<f8").tobytes()


def dat(kind: str, means: np.ndarray, weights: np.ndarray, bias: float, cutoff: float = 0.55) -> bytes:
    """A model file as OpenFace writes it."""
    head = struct.pack("<i", NUMBER[kind]) + (struct.pack("<d", cutoff) if kind == "svr-dynamic" else b"")
    tail = struct.pack("<d", bias) + (struct.pack("<2d", 1.0, 0.0) if kind.startswith("svm") else b"")
    return head + matrix(means.reshape(1, -1)) + matrix(weights.reshape(-1, 1)) + tail


@pytest.fixture(scope="module")
def numbers() -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(0, 1, FEATURES), RNG.normal(0, 0.02, FEATURES)


@pytest.mark.parametrize(
    ("kind", "size"), [("svr-static", 75_268), ("svr-dynamic", 75_276), ("svm-static", 75_284), ("svm-dynamic", 75_284)]
)
def test_a_model_file(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray], kind: str, size: int) -> None:
    means, weights = numbers
    path = tmp_path / "AU_1.dat"
    path.write_bytes(dat(kind, means, weights, 1.5))
    assert path.stat().st_size == size  # of the published files
    model = read_dat(path)
    assert (model.kind, model.bias) == (kind, 1.5)
    assert model.cutoff == (0.55 if kind == "svr-dynamic" else None)
    assert model.classes == ((1.0, 0.0) if kind.startswith("svm") else None)

    x, median = RNG.normal(0, 1, (6, FEATURES)), RNG.normal(0, 1, FEATURES)
    dynamic = kind.endswith("dynamic")
    score = [(row - means - (median if dynamic else 0)) @ weights + 1.5 for row in x]
    expected = [float(s > 0) for s in score] if kind.startswith("svm") else [min(max(s, 0), 5) for s in score]
    np.testing.assert_allclose(model.predict(x, median), expected, rtol=1e-9)
    if dynamic:
        with pytest.raises(ContractError, match="median"):
            model.predict(x)
    with pytest.raises(ContractError, match=r"\[n, 4702\]"):
        model.predict(x[:, :-1])


def test_what_is_no_model_file(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    means, weights = numbers
    good = dat("svr-static", means, weights, 0.0)
    path = tmp_path / "a.dat"
    for data, words in (
        (b"", "cut off"),
        (good[:-1], "cut off"),
        (good + b"\0", "1 bytes are left over"),
        (struct.pack("<i", 9) + good[4:], "begins with 9"),
        (dat("svr-static", means[:-1], weights, 0.0), "4702 weights and 4701 means"),
        (dat("svr-static", means, np.full(FEATURES, np.nan), 0.0), "not finite"),
        (good[:4] + struct.pack("<3i", 1, FEATURES, 5) + good[16:], "type 5"),
        (good[:4] + struct.pack("<3i", 2**31 - 1, 2**31 - 1, 6) + good[16:], "a matrix of"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 75268\n", "no linear model"),
    ):
        path.write_bytes(data)
        with pytest.raises(ContractError, match=words):
            read_dat(path)
    with pytest.raises(ContractError, match="cannot be read"):
        read_dat(tmp_path / "none.dat")


@settings(max_examples=60)
@given(st.binary(max_size=120))
def test_any_bytes_are_refused_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("dat") / "a.dat"
    path.write_bytes(data)
    with pytest.raises(ContractError, match=r"a\.dat"):
        read_dat(path)


def folder_of(path: Path, numbers: tuple[np.ndarray, np.ndarray], components: np.ndarray) -> Path:
    means, weights = numbers
    (path / "svr_combined").mkdir(parents=True)
    (path / "svm_combined").mkdir()
    for name, kind in (
        ("svr_combined/AU_1_static_intensity", "svr-static"),
        ("svm_combined/AU_1_static", "svm-static"),
    ):
        (path / f"{name}.dat").write_bytes(dat(kind, means, weights, 0.5))
    (path / "AU_all_static.txt").write_text(
        "svm_combined/AU_1_static.dat AU01\nsvr_combined/AU_1_static_intensity.dat AU01"
    )
    (path / "main_static_svms.txt").write_text("AUPredictor AU_all_static.txt\nPDM pdm.txt\nTriangulation tris.txt")
    text = ["# The mean values of the components (in mm)", f"{SHAPE}", "1", "6", *(["0"] * SHAPE)]
    text += ["", "# The principal components", f"{SHAPE}", f"{MODES}", "6"]
    text += [" ".join(f"{v:.17g}" for v in row) for row in components]
    text += ["# The variances", "1", f"{MODES}", "6", " ".join(["1"] * MODES)]
    (path / "pdm.txt").write_text("\n".join(text) + "\n")
    return path


def test_a_folder_of_models(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    components = RNG.normal(0, 1, (SHAPE, MODES))
    folder = folder_of(tmp_path / "AU_predictors", numbers, components)
    np.testing.assert_array_equal(read_components(folder / "pdm.txt"), components)
    predictors = read_predictors(folder)
    hog, parameters = RNG.uniform(0, 0.4, (3, HOG)), RNG.normal(0, 5, (3, MODES))
    features = predictors.features(hog, parameters)
    np.testing.assert_allclose(features[1, HOG : HOG + SHAPE], components @ parameters[1])
    np.testing.assert_array_equal(features[:, HOG + SHAPE :], parameters)
    found = predictors.predict(features)
    assert set(found) == {"AU01_r", "AU01_c"}
    np.testing.assert_array_equal(found["AU01_c"], (found["AU01_r"] > 0).astype(float))
    with pytest.raises(ContractError, match="FHOG"):
        predictors.features(hog, parameters[:, :-1])
    with pytest.raises(ContractError, match="main_dynamic_svms"):
        read_predictors(folder, static=False)
    (folder / "pdm.txt").write_text("204\n34\n6\n1 2 3\n")
    with pytest.raises(ContractError, match="not a model of OpenFace"):
        read_predictors(folder)


def test_a_hog_file(tmp_path: Path) -> None:
    cells = RNG.uniform(0, 0.4, (2, HOG)).astype(np.float32)
    frames = [
        struct.pack("<3if", 12, 12, 31, good) + values.tobytes() for good, values in zip((1, -1), cells, strict=True)
    ]
    (tmp_path / "a.hog").write_bytes(b"".join(frames))
    hog, good = read_hog(tmp_path / "a.hog")
    np.testing.assert_array_equal(hog, cells.astype(np.float64))
    assert good.tolist() == [True, False]
    for data, words in (
        (frames[0][:-4], "cut off"),
        (struct.pack("<3if", 10, 12, 31, 1) + frames[0][16:], "12 x 12 x 31"),
    ):
        (tmp_path / "a.hog").write_bytes(data)
        with pytest.raises(ContractError, match=words):
            read_hog(tmp_path / "a.hog")
