"""Py-Feat's published AU and expression classifiers, read from its skops files, on Py-Feat's own features.

A face is described by 5408 numbers of HOG on its aligned, masked 112x112 crop, and by 68 landmarks in that crop. HOG is
standardised and projected (PCA), once for the upper face, the lower and the whole; the landmarks follow as they are. A
classifier for each AU reads one of the three: boosted trees (``xgb_au``) or a linear support vector machine
(``svm_au``); ``svm_emo`` has one support vector machine an expression, on the whole face.

The 68 landmarks are those of Py-Feat's own network, which is not here, so that no picture-to-label contract is
declared; with other landmarks the numbers would be others. Formats and constants: ``SL_test.py``, ``EmoSL_test.py``,
``detector.py`` and ``HOGLayer`` of cosanlab/py-feat at 5d235ef. Trees: XGBoost's model schema (``doc/model.schema``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ContractError
from zoo.models.ubjson import read_ubjson
from zoo.weights.skops import SkopsObject, read_skops

Floats = NDArray[np.float64]
Region = Literal["upper", "lower", "full"]

SIDE, CELL, BLOCK, BINS = 112, 8, 2, 8
"""Crop, cell and block of HOG, pixels and cells; orientations over 180 degrees."""
HOG = (SIDE // CELL - BLOCK + 1) ** 2 * BLOCK**2 * BINS
"""5408."""
LANDMARKS = 136

AUS = tuple(f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43))
EXPRESSIONS = {
    "anger": "anger", "disgust": "disgust", "fear": "fear", "happ": "happiness", "sad": "sadness", "sur": "surprise",
    "neutral": "neutral",
}  # fmt: skip
"""Py-Feat's name in the file -> label."""

_REGIONS: dict[str, dict[str, Region]] = {
    "xgb": {
        "AU01": "upper", "AU02": "upper", "AU07": "upper", "AU11": "lower", "AU14": "lower", "AU17": "lower",
        "AU23": "lower", "AU24": "lower", "AU26": "lower",
    },
    "svm": {"AU01": "upper", "AU04": "upper", "AU06": "upper", "AU11": "lower", "AU12": "lower", "AU17": "lower"},
}  # fmt: skip
"""Which part of the face an AU reads; the whole where it is not named. The two families differ."""

_ALLOWED = frozenset({
    "sklearn.preprocessing._data.StandardScaler", "sklearn.decomposition._pca.PCA",
    "sklearn.svm._classes.LinearSVC", "xgboost.sklearn.XGBClassifier", "xgboost.core.Booster",
    # Py-Feat's holders, which it pickled under several module names
    "*.XGBClassifier", "*.SVMClassifier", "*.EmoSVMClassifier",
})  # fmt: skip


def hog(faces: NDArray[np.floating]) -> Floats:
    """Computes the histograms of oriented gradients.

    Central differences (0 at the border), the channel with the largest gradient a pixel, hard bins, means over cells,
    blocks of 2x2 cells normalised by L2-Hys (cut at 0.2), as scikit-image does.

    Args:
        faces: ``[n, 112, 112, channels]``, aligned and masked, values in 0..1.

    Returns:
        ``[n, 5408]``.

    Raises:
        ContractError: Another shape.
    """
    if faces.ndim != 4 or faces.shape[1:3] != (SIDE, SIDE):
        raise ContractError(f"Py-Feat's HOG takes [n, {SIDE}, {SIDE}, channels], not {list(faces.shape)}")
    image = faces.astype(np.float64)
    down, right = np.zeros_like(image), np.zeros_like(image)
    down[:, 1:-1] = image[:, 2:] - image[:, :-2]
    right[:, :, 1:-1] = image[:, :, 2:] - image[:, :, :-2]
    strongest = np.hypot(down, right).argmax(-1)[..., None]
    down, right = (np.take_along_axis(g, strongest, -1)[..., 0] for g in (down, right))
    angle = np.rad2deg(np.arctan2(down, right)) % 180
    bins = np.clip((angle / (180 / BINS)).astype(np.int64), 0, BINS - 1)
    cells = SIDE // CELL
    spread = np.eye(BINS)[bins] * np.hypot(down, right)[..., None]
    histogram = spread.reshape(-1, cells, CELL, cells, CELL, BINS).mean((2, 4))
    windows = np.lib.stride_tricks.sliding_window_view(histogram, (BLOCK, BLOCK), axis=(1, 2))
    blocks = windows.transpose(0, 1, 2, 4, 5, 3)
    for limit in (0.2, None):
        blocks = blocks / np.sqrt((blocks**2).sum((3, 4, 5), keepdims=True) + 1e-10)
        blocks = blocks if limit is None else np.minimum(blocks, limit)
    return np.ascontiguousarray(blocks.reshape(len(faces), HOG))


@dataclass(frozen=True)
class Projection:
    """A scaler and a PCA: ``((x - shift) / scale - mean) @ components.T``, divided by ``whitening``."""

    shift: Floats
    scale: Floats
    mean: Floats
    components: Floats
    whitening: Floats

    def __call__(self, features: Floats) -> Floats:
        """Projects ``[n, 5408]`` to ``[n, components]``."""
        result: Floats = ((features - self.shift) / self.scale - self.mean) @ self.components.T / self.whitening
        return result


@dataclass(frozen=True)
class Linear:
    """A linear classifier of two classes."""

    weight: Floats
    bias: float

    def __call__(self, features: Floats) -> Floats:
        """Returns 0 or 1, ``[n]``: as Py-Feat, no score."""
        return (features @ self.weight + self.bias > 0).astype(np.float64)


@dataclass(frozen=True)
class Trees:
    """Boosted trees of two classes.

    Attributes:
        start: Margin before the first tree.
        trees: For each: left child (-1 at a leaf), right child, feature, threshold (a leaf's value), default left.
        hinge: The margin's sign is the answer, else its sigmoid.
    """

    start: float
    trees: tuple[tuple[NDArray[Any], ...], ...]
    hinge: bool

    def __call__(self, features: Floats) -> Floats:
        """Returns probabilities (hinge: 0 or 1), ``[n]``; float32 inside, as XGBoost computes."""
        x = features.astype(np.float32)
        margin = np.full(len(x), self.start, np.float32)
        rows = np.arange(len(x))
        for left, right, feature, threshold, default in self.trees:
            node = np.zeros(len(x), np.int64)
            while (inner := left[node] >= 0).any():
                value = x[rows, feature[node]]
                go_left = np.where(np.isnan(value), default[node] != 0, value < threshold[node])
                node = np.where(inner, np.where(go_left, left[node], right[node]), node)
            margin += threshold[node]
        if self.hinge:
            return (margin > 0).astype(np.float64)
        return 1 / (1 + np.exp(-margin.astype(np.float64)))


@dataclass(frozen=True)
class Classifiers:
    """What one file holds.

    Attributes:
        projections: Region -> scaler and PCA.
        models: Label -> region and classifier.
    """

    projections: dict[Region, Projection]
    models: dict[str, tuple[Region, Linear | Trees]]

    def predict(self, features: Floats, landmarks: NDArray[np.number]) -> dict[str, Floats]:
        """Predicts faces.

        Args:
            features: :func:`hog`, ``[n, 5408]``.
            landmarks: 68 points in pixels of the aligned crop, whole numbers as Py-Feat cuts them, ``[n, 68, 2]``.

        Returns:
            Label -> ``[n]``: probabilities of the trees, 0 or 1 of a support vector machine.

        Raises:
            ContractError: Other shapes.
        """
        if features.ndim != 2 or features.shape[1] != HOG or landmarks.shape != (len(features), 68, 2):
            raise ContractError(
                f"Py-Feat's classifiers take HOG [n, {HOG}] and landmarks [n, 68, 2], "
                f"not {list(features.shape)} and {list(landmarks.shape)}"
            )
        points = landmarks.reshape(len(features), LANDMARKS).astype(np.float64)
        joined = {region: np.hstack([p(features), points]) for region, p in self.projections.items()}
        return {label: model(joined[region]) for label, (region, model) in self.models.items()}


def read_classifiers(path: Path) -> Classifiers:
    """Reads ``xgb_au_classifier_v2.skops``, ``svm_au_classifier*.skops`` or ``svm_emo_classifier.skops``.

    Nothing of the file is executed, and no class of scikit-learn, XGBoost or Py-Feat is imported.

    Raises:
        ContractError: Not such a file, or one whose parts do not fit together.
        UnsafeFileError: It holds something else than these classifiers and numbers.
    """
    held = read_skops(path, _ALLOWED)
    parts = held.state if isinstance(held, SkopsObject) else held
    try:
        return _classifiers(parts)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ContractError(f"{path.name} holds no classifiers of Py-Feat", where=str(path), why=why) from None


def _classifiers(parts: Mapping[str, Any]) -> Classifiers:
    if parts.get("calibrators"):
        raise ValueError("calibrators, which Py-Feat's detector does not hand on: what it would answer is not certain")
    found: dict[str, SkopsObject] = parts["classifiers"]
    emotions = set(found) == set(EXPRESSIONS)
    names = EXPRESSIONS if emotions else {f"AU{int(au[2:])}": au for au in AUS}
    if set(found) != set(names):
        raise ValueError(f"classifiers for {', '.join(sorted(found))}")
    kinds = {model.kind for model in found.values()}
    if len(kinds) != 1:
        raise ValueError(f"classifiers of several kinds: {', '.join(sorted(kinds))}")
    kind = "xgb" if kinds == {"xgboost.sklearn.XGBClassifier"} else "svm"
    wanted: tuple[Region, ...] = ("full",) if emotions else ("upper", "lower", "full")
    projections = {r: _projection(parts[f"scaler_{r}"], parts[f"pca_model_{r}"]) for r in wanted}
    models: dict[str, tuple[Region, Linear | Trees]] = {}
    for name, label in names.items():
        region: Region = "full" if emotions else _REGIONS[kind].get(label, "full")
        width = len(projections[region].components) + LANDMARKS
        models[label] = region, (_trees if kind == "xgb" else _linear)(found[name], width)
    return Classifiers(projections, models)


def _array(holder: SkopsObject, name: str, *shape: int) -> Floats:
    value = np.asarray(holder.state[name], np.float64)
    if value.shape != shape or not np.isfinite(value).all():
        raise ValueError(f"{holder.kind}.{name} is {list(value.shape)} or not finite, {list(shape)} is needed")
    return value


def _projection(scaler: SkopsObject, pca: SkopsObject) -> Projection:
    count = len(pca.state["components_"])
    with_mean, with_std = scaler.state["with_mean"], scaler.state["with_std"]
    return Projection(
        shift=_array(scaler, "mean_", HOG) if with_mean else np.zeros(HOG),
        scale=_array(scaler, "scale_", HOG) if with_std else np.ones(HOG),
        mean=_array(pca, "mean_", HOG),
        components=_array(pca, "components_", count, HOG),
        whitening=np.sqrt(_array(pca, "explained_variance_", count)) if pca.state["whiten"] else np.ones(count),
    )


def _linear(model: SkopsObject, width: int) -> Linear:
    if model.kind != "sklearn.svm._classes.LinearSVC" or list(model.state["classes_"]) != [0, 1]:
        raise ValueError(f"{model.kind} of the classes {list(model.state['classes_'])}; LinearSVC of 0 and 1 is needed")
    bias = np.asarray(model.state["intercept_"], np.float64).reshape(-1)
    if bias.shape != (1,) or not np.isfinite(bias).all():
        raise ValueError(f"an intercept {bias.tolist()}")
    return Linear(_array(model, "coef_", 1, width)[0], float(bias[0]))


def _trees(model: SkopsObject, width: int) -> Trees:
    try:
        learner = read_ubjson(model.state["_Booster"].state["handle"])["Model"]["learner"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"trees that are not in XGBoost's UBJSON form: {error}") from None
    booster, general, objective = learner["gradient_booster"], learner["learner_model_param"], learner["objective"]
    sizes = booster["model"]["gbtree_model_param"]
    if booster["name"] != "gbtree" or objective["name"] not in ("binary:logistic", "binary:hinge"):
        raise ValueError(f"a {booster['name']} for {objective['name']}")
    if int(general["num_feature"]) != width or int(general["num_class"]) > 1 or int(sizes["num_parallel_tree"]) > 1:
        raise ValueError(
            f"trees on {general['num_feature']} features, {width} are needed; or a forest, or many classes"
        )
    hinge = objective["name"] == "binary:hinge"
    base = float(general["base_score"].strip("[]"))
    if not hinge and not 0 < base < 1:
        raise ValueError(f"a base score of {base}")
    rounds = booster["model"]["trees"]
    if (best := learner.get("attributes", {}).get("best_iteration")) is not None:
        rounds = rounds[: int(best) + 1]  # what predict_proba uses after an early stop
    return Trees(base if hinge else float(np.log(base / (1 - base))), tuple(_tree(t, width) for t in rounds), hinge)


def _tree(tree: Mapping[str, Any], width: int) -> tuple[NDArray[Any], ...]:
    left, right, feature, threshold, default = (
        np.asarray(tree[k])
        for k in ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
    )
    count = len(left)
    inner = left >= 0
    own = np.arange(count)
    # A child has a higher number than its parent, so that no walk can go round in a circle.
    forward = (left[inner] > own[inner]) & (right[inner] > own[inner]) & (left[inner] < count) & (right[inner] < count)
    if not count or {len(right), len(feature), len(threshold), len(default)} != {count} or not forward.all():
        raise ValueError("a tree whose nodes do not hang together")
    if (feature[inner] >= width).any() or (feature < 0).any() or not np.isfinite(threshold).all():
        raise ValueError("a tree that reads a feature that is not there, or a threshold that is not finite")
    if np.any(tree.get("split_type", 0)):
        raise ValueError("a tree that splits by categories")
    return (
        left.astype(np.int64),
        right.astype(np.int64),
        feature.astype(np.int64),
        threshold.astype(np.float32),
        default,
    )
