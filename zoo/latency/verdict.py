"""VALID or INVALID, with every reason: one verdict on each measurement, as MLPerf's LoadGen gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zoo.latency.counters import Disturbance
from zoo.latency.statistics import drift, percentile_interval
from zoo.registry.schema import Frozen
from zoo.results.latency_record import Parity, SliceTaken, Verdict
from zoo.results.record import Estimate


class Limits(Frozen):
    """What a suite allows. Shares are 0 to 1."""

    stolen: float = Field(default=0.03, ge=0, le=1)
    """Of the wanted processor time, taken by the hypervisor; a slice above it is taken again."""
    foreign: float = Field(default=0.05, ge=0, le=1)
    """Of the usable cores' time, taken by other processes; a slice above it is taken again."""
    disturbed: float = Field(default=0.5, ge=0, le=1)
    """Share of slices taken again; above it the machine was not the measurement's."""
    drift: float = Field(default=0.05, ge=0)
    """Relative change of the median between thirds, where it is also beyond noise."""
    width: float = Field(default=0.1, gt=0)
    """Half-width of the interval of the median, in Offline of the images a second, over the figure itself."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict is drawn from.

    Attributes:
        samples: Kept durations in nanoseconds, in the order taken.
        clusters: The round of each sample.
        slices: All slices, kept or not.
        queries: Fewest samples.
        seconds: Fewest seconds of kept slices.
        stable: Whether the warm-up became stable.
        threads: Threads times streams.
        cores: Cores that the process may use.
        parity: Result of the comparison; None when there was nothing to compare with.
        parity_missing: Why there is none.
        held: Seconds held back by the control group's quota.
        throughput: Images a second, where that is the scenario's figure (Offline) and not the median.
    """

    samples: NDArray[np.int64]
    clusters: NDArray[np.int64]
    slices: Sequence[SliceTaken]
    queries: int
    seconds: float
    stable: bool
    threads: int
    cores: int
    parity: Parity | None
    parity_missing: str | None = None
    held: float | None = None
    throughput: Estimate | None = None


def disturbed(found: Disturbance | SliceTaken, limits: Limits) -> bool:
    """Whether a slice has to be taken again: a property of the machine, never of the durations measured in it."""
    return bool(
        (found.stolen is not None and found.stolen > limits.stolen)
        or (found.foreign is not None and found.foreign > limits.foreign)
        or found.throttles
    )


def judge(evidence: Evidence, limits: Limits) -> Verdict:
    """Returns the verdict; VALID only if no rule speaks against it."""
    reasons = []
    if evidence.parity is None:
        reasons.append("parity not checked" + (f": {evidence.parity_missing}" if evidence.parity_missing else ""))
    elif not evidence.parity.passed:
        reasons.append(explain_parity(evidence.parity))
    kept = [s for s in evidence.slices if s.kept]
    seconds = sum(s.seconds for s in kept)
    if evidence.threads > evidence.cores:
        reasons.append(f"{evidence.threads} threads on {evidence.cores} usable cores")
    if not evidence.stable:
        reasons.append("the warm-up did not become stable")
    if len(evidence.samples) < evidence.queries:
        reasons.append(f"too few samples: {len(evidence.samples)} of {evidence.queries}")
    if seconds < evidence.seconds:
        reasons.append(f"too short: {seconds:.1f} of {evidence.seconds:g} s")
    reasons += _machine(evidence, limits)
    reasons += unsettled(evidence.samples, evidence.clusters, evidence.throughput, limits)
    return Verdict(valid=not reasons, reasons=tuple(reasons))


def _machine(evidence: Evidence, limits: Limits) -> list[str]:
    reasons, slices = [], evidence.slices
    again = sum(not s.kept for s in slices)
    if slices and again / len(slices) > limits.disturbed:
        causes = []
        lost = [s for s in slices if not s.kept]
        if stolen := sum((s.stolen or 0) > limits.stolen for s in lost):
            causes.append(f"time stolen by the hypervisor in {stolen}")
        if foreign := sum((s.foreign or 0) > limits.foreign for s in lost):
            causes.append(f"time taken by other processes in {foreign}")
        if throttled := sum(bool(s.throttles) for s in lost):
            causes.append(f"processor throttled in {throttled}")
        reasons.append(f"{again} of {len(slices)} slices disturbed: {', '.join(causes)}")
    if evidence.held:
        reasons.append(f"held back for {evidence.held:.2f} s by the control group's quota")
    return reasons


def unsettled(
    durations: NDArray[np.int64], clusters: NDArray[np.int64], rate: Estimate | None, limits: Limits
) -> list[str]:
    """Returns what keeps the figure from standing: a drift, or an interval that is too wide.

    Args:
        durations: Kept samples in the order taken, ns ``[n]``.
        clusters: Turn of each sample ``[n]``.
        rate: Images a second where that is the figure, else None: the median is.
        limits: What is allowed.
    """
    if not len(durations):
        return []
    reasons = []
    samples = durations.astype(np.float64)
    moved = drift(samples)
    if moved is not None and moved.beyond_noise and moved.change > limits.drift:
        reasons.append(f"the median drifted by {moved.change:.1%} between thirds")
    name, figure = "the median", percentile_interval(samples, 50, clusters)
    if rate is not None:
        name, figure = "the throughput", rate
    if figure.value and figure.low is not None and figure.high is not None:
        reach = max(figure.high - figure.value, figure.value - figure.low) / figure.value
        if reach > limits.width:
            reasons.append(f"{name} is known to {reach:.0%} only")
    else:
        reasons.append(f"too few slices for an interval of {name}")
    return reasons


def explain_parity(parity: Parity) -> str:
    """Returns in one line what failed."""
    wrong = []
    for out in parity.outputs:
        if out.relative is None:
            wrong.append(f"{out.tensor} is not finite, or of another shape")
        elif out.relative > parity.limit:
            wrong.append(f"{out.tensor} is off by {out.relative:.2g} of its range (limit {parity.limit:g})")
        if out.decisions is not None and out.decisions < parity.decisions_limit:
            wrong.append(f"{out.decisions:.1%} of {out.tensor}'s decisions agree (limit {parity.decisions_limit:.1%})")
    if parity.order is None:
        wrong.append("outputs are not finite in another order of the images")
    elif parity.order > parity.order_limit:
        wrong.append(f"the order of the images changes outputs by {parity.order:.2g} (limit {parity.order_limit:g})")
    if not wrong:
        wrong.append("the artefact gives other tensors")
    return f"parity with {parity.reference} failed: {'; '.join(wrong)}"
