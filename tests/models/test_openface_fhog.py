"""The FHOG of OpenFace's models against dlib's own: numbers of dlib's ``extract_fhog_features`` with cells of 8."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.models.networks.hog_ridge import Fhog
from zoo.models.openface_svr import HOG

Y, X = np.mgrid[0:112, 0:112].astype(np.int64)
PICTURES = {
    "noisy": [(3 * X * X + 5 * Y * Y + 7 * X * Y * (c + 1) + 11 * c * X) // 17 % 256 for c in range(3)],
    "smooth": [(X * (c + 1) + (Y - 56) ** 2 // 9 + X * Y // (23 + c)) % 256 for c in range(3)],
}

# dlib's values, through the package pyfhog 0.1.5: every 397th of 4464, their sum, and their sum against cos(0.01 i).
DLIB = {
    "noisy": ([0, 0, 0, 0, 0, 0, 0.0015, 0.4, 0, 0, 0.222103, 0.155851], 386.5319, 3.3382),
    "smooth": ([0, 0.138345, 0, 0, 0, 0.233515, 0, 0.4, 0.100932, 0, 0, 0.130647], 296.4177, 7.8482),
}


@pytest.mark.parametrize("name", DLIB)
def test_fhog_is_dlibs(name: str) -> None:
    pixels = torch.from_numpy(np.stack(PICTURES[name]).astype(np.float32)[None])
    found = Fhog()(pixels)[0].numpy().astype(np.float64)
    assert found.shape == (HOG,)
    sample, total, weighted = DLIB[name]
    np.testing.assert_allclose(found[::397], sample, atol=2e-6)
    # A gradient exactly between two directions goes to the first here and to either in dlib: a few 1e-4.
    assert found.sum() == pytest.approx(total, abs=2e-3)
    assert found @ np.cos(np.arange(HOG) * 0.01) == pytest.approx(weighted, abs=2e-3)
