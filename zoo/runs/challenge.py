"""P_MTL of the ABAW challenges: one number for a model that does all three tasks of Aff-Wild2.

P_MTL is the sum of three scores on the same images: the mean CCC of valence and arousal, the macro F1 over 8
expressions, and the mean F1 over 12 AUs (:func:`zoo.metrics.abaw.p_mtl`). Each is the headline of a protocol of its
own, so nothing is run or scored again: the parts are added.
"""

from __future__ import annotations

from collections.abc import Iterable

from zoo.metrics.abaw import p_mtl
from zoo.protocols.schema import ProtocolFile
from zoo.results.record import Estimate, View

PARTS = ("affwild2-mtl-affect", "affwild2-mtl-expression", "affwild2-mtl-occurrence")
"""Ids of the three protocols, in the order of the sum."""

Part = tuple[str, ProtocolFile, View, bool]
"""Model, protocol, its view under the primary rule, and whether the model lacks a label of the protocol."""


def multitask_scores(parts: Iterable[Part]) -> dict[str, Estimate]:
    """Returns P_MTL of every model whose three parts are there.

    The interval runs from the sum of the three lower ends to the sum of the three upper ends. Errors of the parts can
    add up no further than that, so it is too wide rather than too narrow.

    Args:
        parts: What was scored, in any order; other protocols may be among it. AUs that a model lacks count 0.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for model, protocol, view, lacking in parts:
        if protocol.id not in PARTS:
            continue
        wanted = (protocol.primary.metric, protocol.primary.aggregation)
        score = next(s for s in view.scores if (s.metric, s.aggregation) == wanted)
        chosen = score.mean_missing_zero if lacking and score.mean_missing_zero else score.mean
        found.setdefault(model, {})[protocol.id] = chosen
    return {m: _sum([by_id[p] for p in PARTS]) for m, by_id in found.items() if set(by_id) == set(PARTS)}


def _sum(parts: list[Estimate]) -> Estimate:
    def add(values: list[float | None]) -> float | None:
        there = [v for v in values if v is not None]
        return p_mtl(*there) if len(there) == len(values) else None

    return Estimate(
        value=add([p.value for p in parts]), low=add([p.low for p in parts]), high=add([p.high for p in parts])
    )
