"""What looks odd in an entry that loads and runs: mistakes that no shape and no hash gives away.

A doubt is no proof: some files want what looks odd. Label orders cannot be told here; ``zoo.eval`` audits those.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zoo.models import apply_outputs
from zoo.registry import ModelEntry
from zoo.registry.schema import Output, Preprocess

# Mean and standard deviation of ImageNet's training pixels, scaled to 0 to 1, as torchvision and timm use them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SLACK = 0.01
"""How far from 0, 1 and a sum of 1 a probability may lie: int8 files round."""


def find_doubts(entry: ModelEntry, tensors: Mapping[str, NDArray[np.float32]]) -> list[str]:
    """Returns a sentence for each thing that looks odd.

    Args:
        entry: A runnable entry.
        tensors: What its files gave for some pictures, before the entry's activations: float32 ``[n, columns]``.
    """
    found = [] if entry.preprocess is None else _input(entry.preprocess)
    bare = {"activation": "none", "scale": 1.0, "clamp": None}
    raw = entry.model_copy(update={"outputs": tuple(o.model_copy(update=bare) for o in entry.outputs)})
    values = apply_outputs(raw, tensors)
    open_ = {r.task for r in entry.readings}  # where it is known to be unclear, zoo.check looks closer
    for output in entry.outputs:
        if output.task not in open_ and (doubt := _output(output, values[output.task])):
            found.append(doubt)
    return found


def _input(p: Preprocess) -> list[str]:
    found = []
    if p.mean == _STD and p.std == _MEAN:
        found.append("mean and std are ImageNet's, the other way round")
    white, mean = 255 * p.scale, max(p.mean)
    if white > 2 and 0 < mean < 1:
        found.append(f"pixels reach {white:g} by scale, and mean is below 1: is scale 1/255?")
    if white <= 2 and mean > 2:
        found.append(f"pixels reach {white:g} by scale, and mean is {mean:g}: is scale 1?")
    return found


def _output(output: Output, x: NDArray[np.float32]) -> str | None:
    low, high = float(x.min()), float(x.max())
    inside = low >= -_SLACK and high <= 1 + _SLACK
    what = f"{output.task}: the file gives {low:.3g} to {high:.3g}"
    if output.task == "expression":
        shares = inside and bool(np.all(np.abs(x.sum(axis=1) - 1) <= _SLACK))
        if output.activation == "none" and not shares:
            return f"{what}, which are no probabilities: is activation softmax missing?"
        if output.activation == "softmax" and shares:
            return f"{what} with a sum of 1: is softmax in the file already?"
    if output.task == "au-occurrence":
        if output.activation == "none" and not inside:
            return f"{what}, which are no probabilities: is activation sigmoid missing?"
        if output.activation == "sigmoid" and inside:
            return f"{what}: is sigmoid in the file already?"
    return None
