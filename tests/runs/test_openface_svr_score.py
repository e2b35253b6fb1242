"""``zoo.score model=openface2-svr``: OpenFace's own models on the features that FeatureExtraction wrote, by hand."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.test_openface_svr import dat
from tests.runs.openface_twin import answers, disfa, write_sequence
from zoo.datasets.base import Index
from zoo.models.openface_svr import FEATURES, HOG, MODES, SHAPE

AUS = (1, 4, 12)
RNG = np.random.default_rng(3)
COMPONENTS = RNG.normal(0, 1, (SHAPE, MODES))
WEIGHTS = {au: (RNG.normal(0, 1, FEATURES), RNG.normal(0, 0.01, FEATURES)) for au in AUS}
BIAS = 1.2


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return disfa(tmp_path_factory.mktemp("twin") / "DISFA")


def openface(folder: Path) -> Path:
    """An OpenFace folder with models of three AUs."""
    models = folder / "build" / "bin" / "AU_predictors"
    (models / "svr").mkdir(parents=True)
    lines = []
    for au, (means, weights) in WEIGHTS.items():
        for kind in ("svr", "svm"):
            (models / "svr" / f"{kind}_{au}.dat").write_bytes(dat(f"{kind}-static", means, weights, BIAS))
            lines.append(f"svr/{kind}_{au}.dat AU{au:02d}")
    (models / "AU_all_static.txt").write_text("\n".join(lines))
    (models / "main_static_svms.txt").write_text("AUPredictor AU_all_static.txt\nPDM pdm.txt\n")
    text = [f"{SHAPE}", "1", "6", *(["0"] * SHAPE), f"{SHAPE}", f"{MODES}", "6"]
    text += [" ".join(f"{v:.17g}" for v in row) for row in COMPONENTS]
    (models / "pdm.txt").write_text("\n".join(text) + "\n")
    return folder


def with_features(csv: Path, failed: tuple[int, ...] = ()) -> np.ndarray:
    """Adds shape parameters to a CSV file and writes the ``.hog`` file; returns the AU intensities by hand."""
    lines = csv.read_text().splitlines()
    count = len(lines) - 1
    hog = RNG.uniform(0, 0.4, (count, HOG)).astype(np.float32)
    shape = RNG.normal(0, 5, (count, MODES)).round(3)
    head = lines[0].split(",")
    place = head.index("AU01_r")
    head[place:place] = [f"p_{i}" for i in range(MODES)]
    rows = []
    for line, values in zip(lines[1:], shape, strict=True):
        cells = line.split(",")
        cells[place:place] = [f"{v:.3f}" for v in values]
        rows.append(",".join(cells))
    csv.write_text("\n".join([",".join(head), *rows]) + "\n")
    good = [-1.0 if n in failed else 1.0 for n in range(1, count + 1)]
    csv.with_suffix(".hog").write_bytes(
        b"".join(struct.pack("<3if", 12, 12, 31, g) + h.tobytes() for g, h in zip(good, hog, strict=True))
    )
    features = np.hstack([hog.astype(float), shape @ COMPONENTS.T, shape])
    said = np.stack([(features - m) @ w + BIAS for m, w in WEIGHTS.values()], axis=1)
    said[[n - 1 for n in failed]] = 0
    return np.clip(said, 0, 5)


def score(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zoo.score", "resamples=20", "csv=csv", "dataset=disfa", "model=openface2-svr", *words],
        cwd=cwd, env={**os.environ}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def write(twin: Index, out: Path) -> np.ndarray:
    said = []
    for subject in twin.subjects:
        failed = (5, 6) if subject == twin.subjects[0] else ()
        csv = write_sequence(out / f"LeftVideo{subject}_comp.csv", answers(twin, subject), failed=failed)
        said.append(with_features(csv, failed))
    return np.concatenate(said)


def test_the_models_score_their_features(twin: Index, tmp_path: Path) -> None:
    said = write(twin, tmp_path / "csv")
    done = score(f"root={twin.root}", f"openface={openface(tmp_path / 'OpenFace')}", "format=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)[0]
    assert record["model"]["name"] == "openface2-svr" and record["runtime"]["runtime"] == "openface-models"
    assert record["runtime"]["version"].startswith("AU models ")
    assert len(record["model"]["missing_labels"]) == 9  # twelve less the three that this folder has
    assert record["coverage"]["detected"] == 58
    (stored,) = Path(os.environ["ZOO_HOME"]).rglob("predictions.parquet")
    again = subprocess.run(
        [sys.executable, "-m", "zoo.score", f"predictions={stored}", f"root={twin.root}", "resamples=20",
         "format=json"], cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == record["views"]  # also with fewer AUs than the entry has
    labels = twin.labels["au-intensity"]
    (mae,) = [s for s in record["views"][0]["scores"] if (s["metric"], s["aggregation"]) == ("mae", "pooled")]
    for at, au in enumerate(AUS):
        (found,) = [x for x in mae["per_label"] if x["label"] == f"AU{au:02d}"]
        truth = labels.values[:, labels.names.index(f"AU{au:02d}")]
        assert found["value"] == pytest.approx(float(np.abs(said[:, at] - truth).mean()), rel=1e-4)


def test_what_is_missing_or_wrong(twin: Index, tmp_path: Path) -> None:
    write(twin, tmp_path / "csv")
    place, models = f"root={twin.root}", f"openface={openface(tmp_path / 'OpenFace')}"
    first = tmp_path / "csv" / f"LeftVideo{twin.subjects[0]}_comp.csv"
    hog = first.with_suffix(".hog")
    whole, text = hog.read_bytes(), first.read_text()

    def refused(code: int, words: str, *given: str) -> None:
        done = score(place, *given, cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert words in done.stderr, done.stderr

    refused(3, "needs OpenFace's AU models")
    refused(3, "OpenFace's AU models are not there", "openface=nowhere")
    hog.write_bytes(whole[: len(whole) // 20])
    refused(1, "1 frames of features, 20 rows", models)
    hog.write_bytes(whole[: len(whole) // 2 + 3])
    refused(1, "is not a file of OpenFace", models)
    hog.write_bytes(whole[len(whole) // 2 :] + whole[: len(whole) // 2])
    refused(1, "of other frames that they were tracked", models)
    hog.unlink()
    refused(1, "cannot be read", models)
    hog.write_bytes(whole)
    first.write_text(text.replace("p_7,", "q_7,", 1))
    refused(1, "has no column p_7", models)
