"""Parity before speed: what is timed has to compute what the reference computes.

The session that is timed runs golden crops in its own batches and threads; the reference ran them one by one on one
thread. So the comparison covers runtime, precision, batch and threads at once. The same crops in another order, among
other neighbours, show whether a picture's result depends on what else is in its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import atomic_path
from zoo.latency.scenarios import Pixels
from zoo.registry.schema import Frozen, Precision
from zoo.results.latency_record import OutputChecked, Parity
from zoo.runtimes.base import Tensors
from zoo.runtimes.parity import TOLERANCE, agreement

GOLDEN = 32
"""Golden crops."""

SHUFFLED = 8
"""Of them in another order, at least; as many as a batch holds where that is more."""

Decide = Callable[[Tensors], dict[str, NDArray[Any]]]


class ByPrecision(Frozen):
    """A limit for each precision of the artefact."""

    fp32: float
    bf16: float
    fp16: float
    int8: float

    def of(self, precision: Precision) -> float:
        """Returns the limit for a precision."""
        return {"fp32": self.fp32, "bf16": self.bf16, "fp16": self.fp16, "int8": self.int8}[precision]


class ParityLimits(Frozen):
    """What a suite allows."""

    relative: ByPrecision = ByPrecision(**{**TOLERANCE, "int8": 0.2})  # int8 as zoo.runtimes.artefact.LIMITS
    """Largest difference over the largest absolute value of the reference's output."""
    decisions: ByPrecision = ByPrecision(fp32=1.0, bf16=0.95, fp16=0.98, int8=0.9)
    """Smallest share of equal decisions: expressions, AUs above the threshold."""
    order: float = 1e-3
    """Largest relative difference by the order of the images."""


def golden_crops(shape: tuple[int, ...], count: int = GOLDEN, seed: int = 20231) -> Pixels:
    """Returns crops of rendered faces, uint8 ``[count, height, width, channels]``, four of each person.

    Noise would do for fp32; what int8 and bf16 change depends on the range of the activations, which is that of faces.

    Args:
        shape: Height, width and channels.
        count: How many.
        seed: Of the people; another seed gives other people.
    """
    from PIL import Image

    from zoo.datasets.synthface.subjects import face_of, recording, rest_of

    height, width, channels = shape
    size = (width, height) if min(width, height) >= 48 else (64, 64)  # the renderer draws no smaller faces
    crops = np.empty((count, *shape), np.uint8)
    for person in range(math.ceil(count / 4)):
        face, video = face_of(seed, person, size), recording((seed, person, 0), rest_of(seed, person, size), 80)
        for k in range(4 * person, min(count, 4 * person + 4)):
            frame = 10 + 20 * (k % 4)
            picture = Image.fromarray(face.render(video.au[frame], video.poses[frame]))
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BOX)
            crops[k] = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(shape)
    return crops


def run_in_batches(outputs: Callable[[Pixels], Tensors], crops: Pixels, batch: int) -> Tensors:
    """Runs crops in batches of exactly ``batch``; the last is filled up from the front and cut again."""
    parts = []
    for start in range(0, len(crops), batch):
        index = np.arange(start, start + batch) % len(crops)
        parts.append(outputs(np.ascontiguousarray(crops[index])))
    return {name: np.concatenate([p[name] for p in parts])[: len(crops)] for name in parts[0]}


def save_golden(path: Path, crops: Pixels, tensors: Tensors) -> None:
    """Writes golden crops and the reference's outputs; arrays only, no pickle."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {f"tensor:{name}": t for name, t in tensors.items()}
        np.savez(file, crops=crops, **arrays)


def load_golden(path: Path) -> tuple[Pixels, Tensors]:
    """Reads what :func:`save_golden` wrote."""
    with np.load(path, allow_pickle=False) as file:
        tensors = {name.removeprefix("tensor:"): file[name] for name in file.files if name != "crops"}
        return file["crops"], tensors


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def check_parity(
    outputs: Callable[[Pixels], Tensors],
    decide: Decide,
    crops: Pixels,
    reference: Tensors,
    *,
    batch: int,
    precision: Precision,
    limits: ParityLimits,
    name: str,
    seed: int = 0,
) -> Parity:
    """Compares an artefact with the reference on golden crops.

    Args:
        outputs: Runs one batch.
        decide: Tensors -> decisions by tensor.
        crops: The golden crops.
        reference: The reference's outputs on them.
        batch: Batch that the artefact is timed with.
        precision: The artefact's.
        limits: The suite's.
        name: Of the reference.
        seed: Of the other order.
    """
    found = run_in_batches(outputs, crops, batch)
    # One batch is enough to have other neighbours; eight pictures one by one, to come after others.
    order = np.random.default_rng(seed).permutation(len(crops))[: max(batch, SHUFFLED)]
    shuffled = run_in_batches(outputs, crops[order], batch)
    limit, decisions_limit = limits.relative.of(precision), limits.decisions.of(precision)
    checked = _outputs(reference, found, decide)
    # np.max, not max: a NaN has to come through.
    with np.errstate(invalid="ignore"):  # infinite outputs
        moved = float(
            np.max([np.abs(shuffled[t] - v[order]).max() / (np.abs(v).max() or 1.0) for t, v in found.items()])
        )
    passed = found.keys() == reference.keys() and all(
        o.relative is not None and o.relative <= limit and (o.decisions is None or o.decisions >= decisions_limit)
        for o in checked
    )
    return Parity(
        reference=name, outputs=checked, order=_finite(moved), limit=limit, order_limit=limits.order,
        decisions_limit=decisions_limit, passed=passed and moved <= limits.order,
    )  # fmt: skip


def _outputs(reference: Tensors, found: Tensors, decide: Decide) -> tuple[OutputChecked, ...]:
    ours, theirs = _decided(decide, found), _decided(decide, reference)
    checked = []
    for tensor, values in reference.items():
        if tensor not in found or found[tensor].shape != values.shape:
            checked.append(OutputChecked(tensor=tensor, n=len(values), max_abs=None, mean_abs=None, relative=None))
            continue
        compared = agreement(values, found[tensor])
        scale = float(np.abs(values).max()) or 1.0
        share = None
        if tensor in ours and tensor in theirs:
            share = float((ours[tensor] == theirs[tensor]).mean())
        one = OutputChecked(
            tensor=tensor, n=compared.n, max_abs=_finite(compared.max_abs), mean_abs=_finite(compared.mean_abs),
            relative=_finite(compared.max_abs / scale), decisions=share,
        )  # fmt: skip
        checked.append(one)
    return tuple(checked)


def _decided(decide: Decide, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    if not all(np.isfinite(t).all() for t in tensors.values()):
        return {}
    return decide(dict(tensors))
