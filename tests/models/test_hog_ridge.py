"""FHOG against a plain reading of the published algorithm, the ridge against scikit-learn, and the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut
from sklearn.linear_model import Ridge

from tests.helpers.models import DISFA, make_entry, pictures
from zoo.errors import ContractError
from zoo.models.hog_ridge import FAMILY, export_fold, fit, read_fold
from zoo.models.networks.hog_ridge import FEATURES, Fhog, HogRidge

DIRECTIONS = [
    (1.0, 0.0), (0.9397, 0.3420), (0.7660, 0.6428), (0.500, 0.8660), (0.1736, 0.9848),
    (-0.1736, 0.9848), (-0.5000, 0.8660), (-0.7660, 0.6428), (-0.9397, 0.3420),
]  # fmt: skip


def plain_fhog(image: np.ndarray) -> np.ndarray:
    """FHOG of ``[height, width, channels]`` pixel by pixel in float64: Felzenszwalb's algorithm with dlib's numbers."""
    height, width, channels = image.shape
    pixels = image.astype(int)
    cells = (height // 8, width // 8)
    histogram = np.zeros((*cells, 18))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            best = (-1, 0, 0)
            for c in range(channels):
                dx = int(pixels[y, x + 1, c] - pixels[y, x - 1, c])
                dy = int(pixels[y + 1, x, c] - pixels[y - 1, x, c])
                if dx * dx + dy * dy > best[0]:
                    best = (dx * dx + dy * dy, dx, dy)
            squared, dx, dy = best
            strongest, bin_ = 0.0, 0
            for o, (ux, uy) in enumerate(DIRECTIONS):
                dot = round(ux * 10000) * dx + round(uy * 10000) * dy
                if dot > strongest:
                    strongest, bin_ = dot, o
                elif -dot > strongest:
                    strongest, bin_ = -dot, o + 9
            py, px = (y + 0.5) / 8 - 0.5, (x + 0.5) / 8 - 0.5
            iy, ix = int(np.floor(py)), int(np.floor(px))
            for cy, wy in ((iy, 1 - (py - iy)), (iy + 1, py - iy)):
                for cx, wx in ((ix, 1 - (px - ix)), (ix + 1, px - ix)):
                    if 0 <= cy < cells[0] and 0 <= cx < cells[1]:
                        histogram[cy, cx, bin_] += wy * wx * np.sqrt(squared)
    energy = ((histogram[..., :9] + histogram[..., 9:]) ** 2).sum(-1)
    features = np.zeros((cells[0] - 2, cells[1] - 2, 31))
    for y in range(1, cells[0] - 1):
        for x in range(1, cells[1] - 1):
            blocks = [(y, x), (y - 1, x), (y, x - 1), (y - 1, x - 1)]  # top left cells of the four blocks
            for b, (top, left) in enumerate(blocks):
                n = 1 / np.sqrt(energy[top : top + 2, left : left + 2].sum() + 1e-4)
                signed = np.minimum(histogram[y, x] * n, 0.2)
                plain = np.minimum((histogram[y, x, :9] + histogram[y, x, 9:]) * n, 0.2)
                features[y - 1, x - 1, :18] += 0.5 * signed
                features[y - 1, x - 1, 18:27] += 0.5 * plain
                features[y - 1, x - 1, 27 + b] = 0.2357 * signed.sum()
    return features.ravel()


def fhog(images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return Fhog()(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()


def portrait(channels: int) -> np.ndarray:
    face = Image.fromarray(astronaut()).crop((170, 60, 290, 180)).resize((112, 112))
    return np.asarray(face if channels == 3 else face.convert("L")).reshape(1, 112, 112, channels)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(portrait(3), id="portrait"),
        pytest.param(portrait(1), id="grey-portrait"),
        pytest.param(pictures(1, (112, 112), 3, seed=3), id="blocks"),
        pytest.param(np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), np.uint8), id="noise"),
        pytest.param(np.full((1, 112, 112, 3), 77, np.uint8), id="flat"),
    ],
)
def test_features(images: np.ndarray) -> None:
    found = fhog(images)
    assert found.shape == (1, FEATURES) and np.isfinite(found).all()
    np.testing.assert_allclose(found[0], plain_fhog(images[0]), atol=2e-5)


def test_a_vertical_gradient_is_exactly_between_two_directions_and_goes_to_the_first() -> None:
    ramp = np.tile(np.arange(112, dtype=np.uint8)[:, None, None], (1, 1, 112, 1))
    cells = fhog(ramp).reshape(12, 12, 31)
    assert (cells[..., 4] > 0.3).all() and not cells[..., 5].any()  # downwards brighter
    cells = fhog(ramp[:, ::-1].copy()).reshape(12, 12, 31)
    assert (cells[..., 13] > 0.3).all() and not cells[..., 14].any()


def test_gray_as_three_equal_colours_has_the_same_features() -> None:
    gray = portrait(1)
    np.testing.assert_array_equal(fhog(gray), fhog(gray.repeat(3, axis=3)))


def problem(n: int, d: int, labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x = rng.uniform(0, 0.4, (n, d))
    return x, x @ rng.standard_normal((d, labels)) + 2 + 0.1 * rng.standard_normal((n, labels))


@pytest.mark.parametrize("shape", [(30, 80), (80, 30), (50, 50)], ids=["dual", "primal", "square"])
@pytest.mark.parametrize("alpha", [1e-2, 1.0, 100.0])
def test_ridge_is_scikit_learns(shape: tuple[int, int], alpha: float) -> None:
    x, y = problem(*shape)
    weight, bias = fit(x, y, alpha)
    reference = Ridge(alpha=alpha, solver="cholesky").fit(x, y)
    np.testing.assert_allclose(weight, reference.coef_, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(bias, reference.intercept_, atol=1e-5, rtol=1e-4)
    assert weight.dtype == bias.dtype == np.float32


@given(st.integers(2, 12), st.integers(2, 12), st.floats(1e-3, 1e3))
@settings(max_examples=30)
def test_the_gradient_of_the_objective_is_zero(n: int, d: int, alpha: float) -> None:
    x, y = problem(n, d)
    weight, bias = (v.astype(np.float64) for v in fit(x, y, alpha))
    left = y - x @ weight.T - bias
    np.testing.assert_allclose(left.sum(0), 0, atol=1e-4 * n)
    np.testing.assert_allclose(left.T @ x, alpha * weight, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda x, y: (x, np.where(y > 0, np.nan, y), 1.0), "finite"),
        (lambda x, y: (x[:-1], y, 1.0), "needed, got"),
        (lambda x, y: (x[:0], y[:0], 1.0), "needed, got"),
        (lambda x, y: (x, y, 0.0), "above 0"),
        (lambda x, y: (x, y, float("nan")), "above 0"),
    ],
)
def test_ridge_refuses(change, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fit(*change(*problem(5, 4)))


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    weight = (rng.standard_normal((12, FEATURES)) * 0.05).astype(np.float32)
    bias = rng.standard_normal(12).astype(np.float32)
    path = tmp_path_factory.mktemp("fold") / "fold.onnx"
    export_fold(path, weight, bias)
    return path, weight, bias


def test_a_fold_comes_back_from_its_file(fold) -> None:
    path, weight, bias = fold
    found_weight, found_bias = read_fold(path)
    np.testing.assert_array_equal(found_weight, weight)
    np.testing.assert_array_equal(found_bias, bias)
    assert path.stat().st_size < 400_000  # five have to stay under 2 MB


def test_a_file_holds_nothing_of_the_machine_that_made_it(fold, tmp_path: Path) -> None:
    path, weight, bias = fold
    content = path.read_bytes()
    for trace in (b"site-packages", b".py", str(Path.home()).encode(), b"pytorch"):
        assert trace not in content
    export_fold(tmp_path / "again.onnx", weight, bias)
    assert (tmp_path / "again.onnx").read_bytes() == content


def entry(**preprocess):
    return make_entry(
        "hog-ridge", "hog-ridge", [{"name": "f.onnx", "format": "onnx"}],
        [{"task": "au-intensity", "tensor": "au_intensity", "labels": DISFA, "clamp": (0.0, 5.0)}],
        size=(112, 112), **preprocess,
    )  # fmt: skip


def test_both_forms_come_from_the_file(fold) -> None:
    path, weight, bias = fold
    graph = FAMILY.graph(entry(scale=1.0), {"f.onnx": path}, ["au-intensity"])
    module = graph.torch()
    x = torch.from_numpy(portrait(3).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        np.testing.assert_array_equal(
            module(x)["au_intensity"].numpy(), HogRidge(weight, bias).eval()(x)["au_intensity"].numpy()
        )
        expected = fhog(portrait(3)) @ weight.T + bias
        np.testing.assert_allclose(module(x)["au_intensity"].numpy(), expected, atol=1e-5)
    assert [o.name for o in graph.onnx().graph.output] == ["au_intensity"]


@pytest.mark.parametrize("chain", [{}, {"scale": 1.0, "mean": (0.5,)}, {"scale": 1.0, "std": (2.0,)}])
def test_scaled_pixels_are_refused(fold, chain) -> None:
    with pytest.raises(ContractError, match=r"pixels of 0\.\.255"):
        FAMILY.graph(entry(**chain), {"f.onnx": fold[0]}, ["au-intensity"])


def test_another_onnx_file_is_no_fold(tmp_path: Path) -> None:
    from tests.helpers.models import mobilefacenet_file

    with pytest.raises(ContractError, match=r"ridge\.weight"):
        read_fold(mobilefacenet_file(tmp_path / "a.onnx"))
