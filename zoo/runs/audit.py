"""Are the columns what the entry says they are? Scores under every documented order of the same labels.

A declared order that another documented one beats is a sign of columns mixed up, as happened to OpenFace 3.0 (issue 15
of CMU-MultiComp-Lab/OpenFace-3.0: 0.46 under the README's order, 0.54 with anger before disgust).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from zoo.metrics.continuous import pcc
from zoo.results.record import LabelAudit

# Orders that datasets and published models use, each with who uses it.
EXPRESSION_ORDERS: dict[str, tuple[str, ...]] = {
    "AffectNet": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
    "FER2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "RAF-DB": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "FER+": ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    "alphabetical by noun (HSEmotion)": (
        "anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    ),
    "Aff-Wild2": ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other"),
    "OpenFace 3.0 as corrected by its users": (
        "neutral", "happiness", "sadness", "surprise", "fear", "anger", "disgust", "contempt",
    ),
    "dima806/facial_emotions_image_detection": (
        "sadness", "disgust", "anger", "neutral", "fear", "surprise", "happiness",
    ),
}  # fmt: skip

MARGIN = 0.02
"""A lead below this is noise: two orders that differ in two rare classes score nearly the same."""


def _orders(declared: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields (who uses it, order) for each documented order of exactly these labels, the declared one left out."""
    labels = set(declared)
    seen = {tuple(declared)}
    for source, order in EXPRESSION_ORDERS.items():
        cut = tuple(x for x in order if x in labels)
        if len(cut) == len(labels) and cut not in seen:
            seen.add(cut)
            yield source, cut


def audit_expressions(
    scores: NDArray[np.float32], truth: NDArray[np.integer], labels: Sequence[str], declared: Sequence[str]
) -> LabelAudit | None:
    """Compares the accuracy of the declared order of a model's classes with that of other documented orders.

    Args:
        scores: float32 ``[n, classes of the model]``; rows with NaN (no face) are left out.
        truth: Class of each sample as a place in ``labels``, -1 where not labelled.
        labels: The protocol's classes.
        declared: The model's classes in the order that its entry declares.

    Returns:
        The audit; None where there is nothing to compare: no sample, or no other documented order.
    """
    keep = (truth >= 0) & ~np.isnan(scores).any(axis=1)
    if not keep.any():
        return None
    best_column, y = scores[keep].argmax(axis=1), truth[keep]

    def accuracy(order: Sequence[str]) -> float:
        place = np.array([labels.index(x) if x in labels else -1 for x in order])
        return float((place[best_column] == y).mean())

    others = [(accuracy(order), source, order) for source, order in _orders(declared)]
    return _verdict("accuracy", accuracy(declared), others)


def audit_action_units(
    values: NDArray[np.float32], truth: NDArray[np.float32], labels: Sequence[str], declared: Sequence[str]
) -> LabelAudit | None:
    """Compares the mean PCC of the declared AU order with that of its rival, numeric or alphabetical.

    Listing ``au1, au12, au15, au17, au2 ...`` as file systems do scrambled columns in LibreFace's data script (issue 2
    of ihp-lab/LibreFace) and in OpenFace 3.0's training lists.

    Args:
        values: float32 ``[n, AUs of the model]``, intensities or probabilities; NaN where there is no face.
        truth: float32 ``[n, AUs of the protocol]``, NaN where not coded.
        labels: The protocol's AUs.
        declared: The model's AUs in the order that its entry declares.
    """
    keep = ~np.isnan(values).any(axis=1)
    if keep.sum() < 3:
        return None

    def mean_pcc(order: Sequence[str]) -> float:
        found = []
        for column, label in enumerate(order):
            if label in labels:
                y = truth[keep, labels.index(label)]
                coded = ~np.isnan(y)
                found.append(pcc(y[coded], values[keep, column][coded]))
        defined = [v for v in found if not np.isnan(v)]
        return float(np.mean(defined)) if defined else float("nan")

    rivals = {
        "numeric": tuple(sorted(declared)),
        "alphabetical by file name (au1, au12, au15 ...)": tuple(sorted(declared, key=lambda x: str(int(x[-2:])))),
    }
    others = [(mean_pcc(o), source, o) for source, o in rivals.items() if o != tuple(declared)]
    return _verdict("pcc", mean_pcc(declared), others)


def _verdict(metric: str, own: float, others: list[tuple[float, str, tuple[str, ...]]]) -> LabelAudit | None:
    others = [o for o in others if not np.isnan(o[0])]
    if np.isnan(own) or not others:
        return None
    value, source, order = max(others)
    return LabelAudit(
        metric=metric, declared=own, best_other=value, order=order, order_of=source, beaten=value > own + MARGIN
    )
