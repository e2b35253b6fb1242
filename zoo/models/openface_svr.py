"""OpenFace 2's published AU models, read from the user's own OpenFace folder, on OpenFace's own features.

Every model is a linear function of 4702 numbers: 4464 of FHOG on the aligned 112x112 face, then 204 of the face's shape
(the displacement that its 34 shape parameters mean) and the parameters themselves. FeatureExtraction writes both when
asked: ``-hogalign`` the ``.hog`` file, ``-pdmparams`` the columns ``p_0`` to ``p_33``.

What is exact here is a static model, as FaceLandmarkImg runs it. A dynamic model needs the person's median face, which
FeatureExtraction gathers along the video and which is an argument here; what FeatureExtraction does afterwards (second
pass, cut-off, smoothing) is not done. Formats: ``FaceAnalyser.cpp``, ``SVR_static_lin_regressors.cpp``, ``PDM.cpp`` and
``RecorderHOG.cpp`` of OpenFace 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import content_hash, sha256_of
from zoo.errors import ContractError, MissingError
from zoo.models.openface_csv import OpenFaceTable, read_openface_csv

HOG, SHAPE, MODES = 4464, 204, 34
FEATURES = HOG + SHAPE + MODES
"""4702."""

Floats = NDArray[np.float64]

_KINDS = {0: "svr-static", 1: "svr-dynamic", 4: "svm-static", 5: "svm-dynamic"}
_CV_64F = 6
"""OpenCV's number for float64 matrices."""


@dataclass(frozen=True)
class LinearModel:
    """One ``.dat`` file.

    Attributes:
        kind: ``svr-static``, ``svr-dynamic``, ``svm-static`` or ``svm-dynamic``.
        means: Taken off the features, ``[4702]``.
        weights: ``[4702]``.
        bias: Added at the end.
        cutoff: Of a dynamic regression: the quantile of a video's values that is its zero; None where it has none.
        classes: Of a classifier: what a score above 0 means, and what another one means.
    """

    kind: str
    means: Floats
    weights: Floats
    bias: float
    cutoff: float | None = None
    classes: tuple[float, float] | None = None

    def predict(self, features: Floats, median: Floats | None = None) -> Floats:
        """Predicts frames.

        Args:
            features: ``[n, 4702]``.
            median: The person's median features, ``[4702]``; a dynamic model needs them.

        Returns:
            ``[n]``: intensities in 0..5, or classes.

        Raises:
            ContractError: A dynamic model without a median, or features of another length.
        """
        if features.ndim != 2 or features.shape[1] != FEATURES:
            raise ContractError(f"OpenFace's models take [n, {FEATURES}] features, not {list(features.shape)}")
        if self.kind.endswith("dynamic"):
            if median is None:
                raise ContractError("a dynamic model needs the person's median features", fix="use the static models")
            features = features - median
        score = (features - self.means) @ self.weights + self.bias
        if self.classes is None:
            return np.clip(score, 0, 5)
        return np.where(score > 0, *self.classes)


class _Reader:
    """Reads a binary file in order; what is cut off or left over is an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data, self.at = path.read_bytes(), 0
        except OSError as error:
            raise ContractError(f"{path.name} cannot be read", where=str(path), why=error.strerror) from None

    def bad(self, why: str) -> ContractError:
        return ContractError(f"{self.path.name} is not a file of OpenFace", where=str(self.path), why=why)

    def take(self, form: str) -> tuple[float, ...]:
        size = struct.calcsize(form)
        if self.at + size > len(self.data):
            raise self.bad("it is cut off")
        found = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return found

    def matrix(self) -> Floats:
        rows, columns, kind = (int(n) for n in self.take("<3i"))
        if kind != _CV_64F or rows < 0 or columns < 0 or rows * columns > FEATURES:
            raise self.bad(f"a matrix of {rows} x {columns}, type {kind}")
        return np.array(self.take(f"<{rows * columns}d")).reshape(rows, columns)


def read_dat(path: Path) -> LinearModel:
    """Reads one model file of ``AU_predictors``.

    Raises:
        ContractError: Not such a file.
    """
    reader = _Reader(path)
    number = int(reader.take("<i")[0])
    kind = _KINDS.get(number)
    if kind is None:
        raise reader.bad(f"it begins with {number}, which is no linear model")
    cutoff = reader.take("<d")[0] if kind == "svr-dynamic" else None
    means, weights = reader.matrix(), reader.matrix()
    bias = reader.take("<d")[0]
    classes = reader.take("<2d") if kind.startswith("svm") else None
    if reader.at != len(reader.data):
        raise reader.bad(f"{len(reader.data) - reader.at} bytes are left over")
    if weights.size != FEATURES or means.size not in (0, FEATURES):
        raise reader.bad(f"{weights.size} weights and {means.size} means, {FEATURES} of each are needed")
    if not (np.isfinite(weights).all() and np.isfinite(means).all() and np.isfinite(bias)):
        raise reader.bad("a number is not finite")
    return LinearModel(
        kind, means.ravel() if means.size else np.zeros(FEATURES), weights.ravel(), bias,
        cutoff=None if cutoff is None or cutoff < 0 else cutoff,
        classes=None if classes is None else (classes[0], classes[1]),
    )  # fmt: skip


@dataclass(frozen=True)
class Predictors:
    """The models of an OpenFace folder.

    Attributes:
        intensity: ``AU01`` -> regression.
        occurrence: ``AU01`` -> classifier.
        components: What each shape parameter moves, ``[204, 34]``: x of 68 points, then y, then z, in mm.
    """

    intensity: dict[str, LinearModel]
    occurrence: dict[str, LinearModel]
    components: Floats

    def features(self, hog: Floats, parameters: Floats) -> Floats:
        """Joins FHOG ``[n, 4464]`` and shape parameters ``[n, 34]`` to features ``[n, 4702]``.

        Raises:
            ContractError: Other shapes.
        """
        if hog.ndim != 2 or hog.shape[1] != HOG or parameters.shape != (len(hog), MODES):
            raise ContractError(
                f"OpenFace's features are FHOG [n, {HOG}] and shape [n, {MODES}], "
                f"not {list(hog.shape)} and {list(parameters.shape)}"
            )
        return np.hstack([hog, parameters @ self.components.T, parameters])

    def predict(self, features: Floats, median: Floats | None = None) -> Mapping[str, Floats]:
        """Predicts frames: ``AU01_r`` and ``AU01_c``, as OpenFace names its columns."""
        regressions = {f"{au}_r": model.predict(features, median) for au, model in self.intensity.items()}
        return regressions | {f"{au}_c": model.predict(features, median) for au, model in self.occurrence.items()}


def read_predictors(folder: Path, *, static: bool = True) -> Predictors:
    """Reads the models that an OpenFace installation would use.

    Args:
        folder: ``AU_predictors`` of the installation, with ``main_static_svms.txt`` and ``main_dynamic_svms.txt``.
        static: The static models, which FaceLandmarkImg uses; else those of FeatureExtraction, some of them dynamic.

    Raises:
        ContractError: A file is missing or not OpenFace's.
    """
    main = _pairs(folder / f"main_{'static' if static else 'dynamic'}_svms.txt")
    wanted = {"AUPredictor", "PDM"}
    if not wanted <= main.keys():
        raise ContractError(f"{folder.name}: the list of models names no {', '.join(sorted(wanted - main.keys()))}")
    intensity: dict[str, LinearModel] = {}
    occurrence: dict[str, LinearModel] = {}
    for line in _lines(folder / main["AUPredictor"]):
        file, _, au = line.partition(" ")
        if not re.fullmatch(r"AU\d\d", au.strip()):
            raise ContractError(f"{main['AUPredictor']}: '{line}' names no AU", where=str(folder))
        model = read_dat(folder / file)
        (intensity if model.kind.startswith("svr") else occurrence)[au.strip()] = model
    return Predictors(intensity, occurrence, read_components(folder / main["PDM"]))


def read_components(path: Path) -> Floats:
    """Reads the principal components ``[204, 34]`` of a point distribution model in OpenFace's text form.

    Raises:
        ContractError: Not such a file.
    """
    numbers = iter(word for line in _lines(path) if not line.startswith("#") for word in line.split())
    matrices = list(_matrices(path, numbers))
    found = [m for m in matrices if m.shape == (SHAPE, MODES)]
    if not found:
        raise ContractError(
            f"{path.name} holds no {SHAPE} x {MODES} components", where=str(path),
            why="found " + ", ".join(f"{m.shape[0]} x {m.shape[1]}" for m in matrices),
        )  # fmt: skip
    return found[0]


def _matrices(path: Path, words: Iterator[str]) -> Iterator[Floats]:
    try:
        for word in words:
            rows, columns, kind = int(word), int(next(words)), int(next(words))
            if kind != _CV_64F or not 0 < rows * columns <= 10 * FEATURES:
                raise ValueError(f"a matrix of {rows} x {columns}, type {kind}")
            yield np.array([float(next(words)) for _ in range(rows * columns)]).reshape(rows, columns)
    except (ValueError, StopIteration, RuntimeError) as error:
        raise ContractError(f"{path.name} is not a model of OpenFace", where=str(path), why=str(error)) from None


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(
            f"{path.name} cannot be read", where=str(path), why=str(error),
            fix="name the folder AU_predictors of an OpenFace 2 installation",
        ) from None  # fmt: skip


def _pairs(path: Path) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in _lines(path))}


def find_predictors(folder: Path) -> Path:
    """Returns ``AU_predictors`` of an OpenFace folder: itself, beside the programs, or in the source tree.

    Raises:
        MissingError: It is in none of these.
    """
    below = ("", "bin", "build/bin", "lib/local/FaceAnalyser")
    for place in (folder, *(folder / part / "AU_predictors" for part in below)):
        if (place / "main_static_svms.txt").is_file():
            return place
    raise MissingError(
        "OpenFace's AU models are not there", where=str(folder), why="no AU_predictors/main_static_svms.txt below it",
        fix="openface=<your OpenFace 2 folder> (https://github.com/TadasBaltrusaitis/OpenFace, academic licence)",
    )  # fmt: skip


def models_hash(folder: Path) -> str:
    """Names the AU models of a folder by their files' names and contents: 12 hex digits."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".dat", ".txt"))
    return content_hash([[p.relative_to(folder).as_posix(), sha256_of(p)] for p in files], 12)


def read_with_models(csv: Path, predictors: Predictors) -> OpenFaceTable:
    """Reads a CSV file of FeatureExtraction and puts what static models say of its own features in its AU columns.

    Args:
        csv: Written with ``-aus -pdmparams -hogalign``; the ``.hog`` file lies beside it.
        predictors: Static models.

    Returns:
        The table, one row a frame, nothing smoothed: as FaceLandmarkImg treats a picture.

    Raises:
        DatasetError: Not such a file.
        ContractError: The ``.hog`` file is missing, or not of this CSV file.
    """
    import pandas as pd

    table = read_openface_csv(csv)
    hog, good = read_hog(csv.with_suffix(".hog"))
    wanted = [f"p_{i}" for i in range(MODES)]
    raw = pd.read_csv(csv, skipinitialspace=True)
    raw.columns = [c.strip() for c in raw.columns]
    if missing := [name for name in wanted if name not in raw.columns]:
        raise ContractError(
            f"{csv.name} has no column {missing[0]}", where=str(csv), fix="run FeatureExtraction with -pdmparams too"
        )
    if table.kind != "sequence" or len(raw) != len(table.frame) or len(hog) != len(raw):
        raise ContractError(
            f"{csv.with_suffix('.hog').name} is not of {csv.name}", where=str(csv),
            why=f"{len(hog)} frames of features, {len(raw)} rows, {len(table.frame)} frames; one a frame is needed",
            fix="run FeatureExtraction -aus -pdmparams -hogalign again",
        )  # fmt: skip
    order = np.argsort(raw["frame"].to_numpy(), kind="stable")
    if (good[order] != table.success).any():
        raise ContractError(
            f"{csv.with_suffix('.hog').name} is not of {csv.name}", where=str(csv),
            why="it says of other frames that they were tracked",
        )  # fmt: skip
    parameters = raw[wanted].to_numpy(np.float64)
    said = predictors.predict(predictors.features(hog, parameters))

    def measured(kind: str) -> dict[str, NDArray[np.float32]]:
        return {
            name[:4]: np.where(table.success, values[order], np.nan).astype(np.float32)
            for name, values in said.items()
            if name.endswith(kind)
        }

    return replace(table, intensity=measured("_r"), occurrence=measured("_c"))


def read_hog(path: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """Reads a ``.hog`` file of FeatureExtraction.

    Returns:
        FHOG ``[frames, 4464]``, and whether each frame was tracked ``[frames]``.

    Raises:
        ContractError: Not such a file, or cut off.
    """
    reader = _Reader(path)
    record = 12 + 4 + 4 * HOG
    if len(reader.data) % record:
        raise reader.bad("it is cut off, or its cells are not 12 x 12 x 31")
    count = len(reader.data) // record
    kind = np.dtype([("shape", "<i4", 3), ("good", "<f4"), ("hog", "<f4", HOG)])
    frames = np.frombuffer(reader.data, kind, count)
    if count and ((frames["shape"] != (12, 12, 31)).any() or not np.isfinite(frames["hog"]).all()):
        raise reader.bad("a frame is not 12 x 12 x 31 finite numbers")
    return frames["hog"].astype(np.float64), frames["good"] > 0
