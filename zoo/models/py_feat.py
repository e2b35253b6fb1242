"""Family ``py-feat-classifiers``: Py-Feat's AU and expression classifiers (skops files) behind its landmark network.

| role | file | what it does |
|---|---|---|
| ``landmarks`` | ``mobilefacenet_model_best.pth.tar``, ``{"state_dict": ...}`` | 68 points of a face crop |
| ``model`` | ``xgb_au_classifier_v2.skops``, ``svm_au_classifier*.skops``, ``svm_emo_classifier.skops`` | the answers |

The face is aligned by its landmarks, masked by their hull and described by 5408 numbers of HOG. HOG is standardised and
projected (PCA), once for the upper face, the lower and the whole; the landmarks follow, in whole pixels of the aligned
face. A classifier for each AU reads one of the three: boosted trees (``xgb_au``) or a linear support vector machine
(``svm_au``); ``svm_emo`` has one support vector machine an expression, on the whole face.

The output ``scores`` holds probabilities of trees and margins of support vector machines. Py-Feat answers with the
classes of the latter, 0 or 1: whether the margin is above 0. Formats and constants: ``SL_test.py``, ``EmoSL_test.py``
and ``detector.py`` of cosanlab/py-feat at 5d235ef. Trees: XGBoost's model schema (``doc/model.schema``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo._util.optional import need
from zoo.errors import ContractError
from zoo.models.base import Family, Files, Graph, check_columns, output_roles, the_file
from zoo.models.ubjson import read_ubjson
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry
from zoo.weights.skops import SkopsObject, read_skops

if TYPE_CHECKING:
    from torch import nn

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


@dataclass(frozen=True)
class Projection:
    """A scaler and a PCA in one: ``(x - centre) @ weight.T``; ``[5408]`` and ``[components, 5408]``."""

    centre: Floats
    weight: Floats


@dataclass(frozen=True)
class Linear:
    """A linear classifier of two classes: the second where ``features @ weight + bias`` is above 0."""

    weight: Floats
    bias: float


@dataclass(frozen=True)
class Tree:
    """One tree: its nodes' arrays, a child after its parent.

    Attributes:
        left: Child where the feature is below the threshold; -1 at a leaf.
        right: The other child.
        feature: Which one a node reads.
        threshold: Of a node, or a leaf's value; float32, as XGBoost compares.
        depth: Steps from the root to the deepest leaf.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    depth: int


@dataclass(frozen=True)
class Trees:
    """Boosted trees of two classes.

    Attributes:
        start: Margin before the first tree.
        trees: The leaves reached are added up.
        hinge: The margin's sign is the answer, else its sigmoid.
    """

    start: float
    trees: tuple[Tree, ...]
    hinge: bool


@dataclass(frozen=True)
class Classifiers:
    """What one file holds.

    Attributes:
        projections: Region -> scaler and PCA.
        models: Label -> region and classifier; all of one kind.
    """

    projections: dict[Region, Projection]
    models: dict[str, tuple[Region, Linear | Trees]]


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
        width = len(projections[region].weight) + LANDMARKS
        models[label] = region, (_trees if kind == "xgb" else _linear)(found[name], width)
    return Classifiers(projections, models)


def _array(holder: SkopsObject, name: str, *shape: int) -> Floats:
    value = np.asarray(holder.state[name], np.float64)
    if value.shape != shape or not np.isfinite(value).all():
        raise ValueError(f"{holder.kind}.{name} is {list(value.shape)} or not finite, {list(shape)} is needed")
    return value


def _projection(scaler: SkopsObject, pca: SkopsObject) -> Projection:
    count = len(pca.state["components_"])
    shift = _array(scaler, "mean_", HOG) if scaler.state["with_mean"] else np.zeros(HOG)
    scale = _array(scaler, "scale_", HOG) if scaler.state["with_std"] else np.ones(HOG)
    spread = _array(pca, "explained_variance_", count) if pca.state["whiten"] else np.ones(count)
    if (scale <= 0).any() or (spread <= 0).any():
        raise ValueError("a scale that is not above 0")
    weight = _array(pca, "components_", count, HOG) / np.sqrt(spread)[:, None] / scale
    return Projection(shift + _array(pca, "mean_", HOG) * scale, weight)


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


def _tree(tree: Mapping[str, Any], width: int) -> Tree:
    left, right, feature, threshold = (
        np.asarray(tree[k]) for k in ("left_children", "right_children", "split_indices", "split_conditions")
    )
    count = len(left)
    inner = left >= 0
    own = np.arange(count)
    # A child has a higher number than its parent, so that no walk can go round in a circle.
    forward = (left[inner] > own[inner]) & (right[inner] > own[inner]) & (left[inner] < count) & (right[inner] < count)
    if not count or {len(right), len(feature), len(threshold)} != {count} or not forward.all():
        raise ValueError("a tree whose nodes do not hang together")
    if (feature[inner] >= width).any() or (feature < 0).any() or not np.isfinite(threshold).all():
        raise ValueError("a tree that reads a feature that is not there, or a threshold that is not finite")
    if np.any(tree.get("split_type", 0)):
        raise ValueError("a tree that splits by categories")
    depth = np.zeros(count, np.int64)
    for node in np.flatnonzero(inner):
        depth[[left[node], right[node]]] = depth[node] + 1
    return Tree(
        left.astype(np.int64), right.astype(np.int64), feature.astype(np.int64), threshold.astype(np.float32),
        int(depth.max()),
    )  # fmt: skip


def roles(entry: ModelEntry, tasks: Sequence[Task]) -> set[str]:
    """Returns the roles of the files: the landmark network goes with every classifier."""
    return output_roles(entry, tasks) | {"landmarks"}


def _build(entry: ModelEntry, files: Files, task: Task) -> nn.Module:
    need("torch", f"{entry.name} is a torch structure")
    from zoo.models.checkpoints import load_strictly, read_state_dict
    from zoo.models.networks.mobilefacenet import MobileFaceNet
    from zoo.models.networks.py_feat_classifiers import PyFeatClassifiers

    classifiers = read_classifiers(the_file(entry, files, entry.output(task).role)[1])
    check_columns(entry, task, tuple(classifiers.models))
    file, path = the_file(entry, files, "landmarks")
    landmarks = MobileFaceNet()
    load_strictly(landmarks, read_state_dict(file, path), path)
    return PyFeatClassifiers(landmarks, classifiers).eval()


def graph(entry: ModelEntry, files: Files, tasks: Sequence[Task]) -> Graph:
    """Describes the two files as one torch module with the output ``scores``."""
    return Graph(torch=lambda: _build(entry, files, tasks[0]))


FAMILY = Family(graph=graph, roles=roles)
