"""Fits the checkpoints of hog-ridge, one a fold, on rendered faces: ``python benchmarks/fit_hog_ridge.py``.

Each fold's checkpoint sees that fold's training subjects only; the penalty is chosen inside them, by leaving out one of
their folds at a time. Writes ``zoo/models/weights/hog-ridge/<fold>.onnx`` and prints the entries for `registry.yaml`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from zoo._util.files import sha256_of
from zoo.datasets import load_index
from zoo.datasets.base import pictures
from zoo.faces.pipeline import build_pipeline
from zoo.metrics.continuous import pcc
from zoo.models.hog_ridge import export_fold, fit
from zoo.models.networks.hog_ridge import Fhog
from zoo.protocols import load_protocol
from zoo.protocols.rules import assign_folds, truth
from zoo.registry import get_model

PROTOCOL = "synthface-intensity-5fold"
ALPHAS = tuple(float(10**e) for e in np.arange(-2, 3.01, 0.5))
OUT = Path(__file__).resolve().parent.parent / "zoo" / "models" / "weights" / "hog-ridge"

Floats = NDArray[np.float32]


def features(crops: list[NDArray[np.uint8]]) -> Floats:
    """Returns FHOG features ``[n, 4464]`` of uint8 crops ``[112, 112, 3]``."""
    hog = Fhog().eval()
    out = []
    with torch.inference_mode():
        for start in range(0, len(crops), 64):
            batch = torch.from_numpy(np.stack(crops[start : start + 64])).permute(0, 3, 1, 2).float()
            out.append(hog(batch).flatten(1).numpy())
    return np.concatenate(out)


def mean_pcc(y: Floats, p: Floats) -> float:
    """Returns the mean PCC over the AUs that vary."""
    return float(np.nanmean([pcc(y[:, j], np.clip(p[:, j], 0, 5)) for j in range(y.shape[1])]))


def best_alpha(x: Floats, y: Floats, folds: NDArray[np.int16]) -> float:
    """Returns the penalty with the best mean PCC over the left-out inner folds."""
    scores = []
    for alpha in ALPHAS:
        predicted = np.zeros_like(y)
        for inner in np.unique(folds):
            weight, bias = fit(x[folds != inner], y[folds != inner], alpha)
            predicted[folds == inner] = x[folds == inner] @ weight.T + bias
        scores.append(mean_pcc(y, predicted))
    return ALPHAS[int(np.argmax(scores))]


def main() -> None:
    """Fits and writes every fold."""
    protocol, index, entry = load_protocol(PROTOCOL), load_index("synthface"), get_model("hog-ridge")
    assert entry.preprocess is not None
    folds, labels = assign_folds(protocol, index), truth(protocol, index)
    pipeline = build_pipeline(entry.preprocess)
    rows, crops = [], []
    for picture in tqdm(pictures(index, range(len(index))), total=len(index)):
        crop = None if picture.image is None else pipeline.crop(picture.image)
        if crop is not None:
            rows.append(picture.sample)
            crops.append(crop)
    x, y, fold = features(crops), labels[rows].astype(np.float32), folds[rows]
    entries, predicted = [], np.zeros_like(y)
    for number, part in enumerate(protocol.folds):
        train = fold != number
        alpha = best_alpha(x[train], y[train], fold[train])
        weight, bias = fit(x[train], y[train], alpha)
        predicted[~train] = x[~train] @ weight.T + bias
        path = OUT / f"{part.name}.onnx"
        export_fold(path, weight, bias)
        entries.append(
            {
                "name": f"hog-ridge-{part.name}.onnx",
                "format": "onnx",
                "sources": [f"builtin:models/weights/hog-ridge/{path.name}"],
                "sha256": sha256_of(path),
                "size": path.stat().st_size,
                "fold": {"protocol": PROTOCOL, "name": part.name, "test_subjects": list(part.test)},
            }
        )
        print(f"# {part.name}: alpha {alpha:g}, {train.sum()} training frames, {path.stat().st_size} bytes")
    print(f"# held-out mean PCC, pooled: {mean_pcc(y, predicted):.3f}")
    print(yaml.safe_dump(entries, sort_keys=False, width=200))


if __name__ == "__main__":
    main()
