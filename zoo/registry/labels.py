"""The label spaces of the field: FACS action units, categorical expressions, valence and arousal.

Names are one spelling each, so that the columns of two models, or of a model and a dataset, meet by name and never
by position. ``AU01`` is zero-padded as in OpenFace's ``AU01_r``; expressions are nouns as AffectNet's authors use.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Task = Literal["au-intensity", "au-occurrence", "expression", "valence-arousal"]

TASKS: tuple[Task, ...] = get_args(Task)

# FACS manual (Ekman, Friesen, Hager 2002): the units that any system or dataset here names; 45 is blink, 43 closure.
AU_NUMBERS = (
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 41, 42, 43, 44, 45, 46,
)  # fmt: skip

AU_LABELS = frozenset(f"{side}AU{n:02d}" for n in AU_NUMBERS for side in ("", "L-", "R-"))

EXPRESSIONS = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt", "other",
)  # fmt: skip

_EXPRESSION_ALIASES = {
    "happy": "happiness", "joy": "happiness", "sad": "sadness", "surprised": "surprise", "fearful": "fear",
    "disgusted": "disgust", "angry": "anger",
}  # fmt: skip

AFFECT = ("valence", "arousal")


def au_label(number: int) -> str:
    """Returns the label of an action unit: ``au_label(1) == 'AU01'``."""
    return f"AU{number:02d}"


def canonical_expression(name: str) -> str | None:
    """Returns the project's spelling of an expression name (``angry`` -> ``anger``), or None for an unknown one."""
    key = re.sub(r"[^a-z]", "", name.lower())
    key = _EXPRESSION_ALIASES.get(key, key)
    return key if key in EXPRESSIONS else None


def labels_allowed(task: Task) -> frozenset[str]:
    """Returns every label a task may use."""
    if task in ("au-intensity", "au-occurrence"):
        return AU_LABELS
    return frozenset(EXPRESSIONS) if task == "expression" else frozenset(AFFECT)
