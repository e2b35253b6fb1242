"""The record of a measured case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo.latency.measure import Measured, durations
from zoo.latency.statistics import PERCENTILES, percentile_interval, throughput
from zoo.latency.suite import SuiteFile
from zoo.latency.verdict import Evidence, judge
from zoo.results.latency_record import (
    FramesShown,
    LatencyRecord,
    ModelTimed,
    Parity,
    Percentile,
    RuntimeTimed,
    Samples,
    Scenario,
    SliceTaken,
    Startup,
    SuiteUsed,
    Verdict,
)


def make_record(case: Measured, suite: SuiteFile, *, run: str, group: int, about: ModelTimed) -> LatencyRecord:
    """Makes the record of a measured case.

    Args:
        case: The case.
        suite: Its suite.
        run: Name of the run.
        group: Number of its group.
        about: What is known of the model without its process; the process's own description comes first.
    """
    from zoo.results.environment import capture_code, capture_environment, timestamp

    asked, scenario = case.job.case.asked, case.job.case.scenario
    raw, rounds = case.samples()
    samples = Samples.pack(raw) if len(raw) else None
    counted = samples.nanoseconds() if samples else raw  # as a reader will have them
    opened, kept = case.opened, case.kept
    parity = Parity.model_validate(opened["parity"]) if opened and opened.get("parity") else None
    verdict = judge(
        Evidence(
            samples=counted, clusters=rounds, slices=case.slices, queries=suite.measure.least(scenario),
            seconds=suite.measure.seconds, stable=bool(opened and opened["startup"]["stable"]),
            threads=asked.threads * asked.streams, cores=usable_cores(), parity=parity,
            parity_missing=case.parity_missing, held=sum(a["held"] or 0.0 for a in case.answers) or None,
            throughput=case.rate(),
        ),
        suite.limits,
    )  # fmt: skip
    if case.failures:  # what follows from a failure is no reason of its own
        verdict = Verdict(valid=False, reasons=tuple(case.failures))
    if opened:
        timed = ModelTimed.model_validate(opened["about"])
        about = timed.model_copy(
            update={key: getattr(about, key) for key in ("parameters", "flops") if getattr(timed, key) is None}
        )
    return LatencyRecord(
        created=timestamp(), run=run, group=group,
        suite=SuiteUsed(
            ref=suite.ref, hash=suite.hash, title=suite.title, baseline=suite.baseline, images=suite.measure.images
        ),
        case=case.job.case.id, model=about, stage=case.job.case.stage, scenario=scenario, asked=asked,
        runtime=RuntimeTimed.model_validate(opened["runtime"]) if opened else None,
        startup=Startup.model_validate(opened["startup"]) if opened else None,
        samples=samples, slices=tuple(case.slices), percentiles=_percentiles(counted, rounds),
        throughput=case.throughput(),
        frames=_frames(case, scenario) if scenario.name == "Video" and kept else None,
        stages=case.ended.get("stages") if case.ended else None,
        peak_rss_mib=case.ended.get("peak_rss_mib") if case.ended else None,
        peak_gpu_mib=case.ended.get("peak_gpu_mib") if case.ended else None,
        joules_per_image=_per_image(kept, [s.joules for s in kept]),
        gpu_joules_per_image=_per_image(kept, [s.gpu_joules for s in kept]),
        parity=parity, verdict=verdict, environment=capture_environment(), code=capture_code(),
    )  # fmt: skip


def _per_image(kept: Sequence[SliceTaken], joules: Sequence[float | None]) -> float | None:
    """Returns the energy of an image; None where it was not read around every slice."""
    images, known = sum(s.images for s in kept), [j for j in joules if j is not None]
    return sum(known) / images if images and known and len(known) == len(joules) else None


def _percentiles(counted: NDArray[np.int64], rounds: NDArray[np.int64]) -> tuple[Percentile, ...]:
    if not len(counted):
        return ()
    found = [(p, percentile_interval(counted / 1e6, p, rounds)) for p in PERCENTILES]
    return tuple(Percentile(percent=p, value=e.value, low=e.low, high=e.high) for p, e in found)


def _frames(case: Measured, scenario: Scenario) -> FramesShown:
    kept = case.kept_answers
    busy = [float(durations(a).sum()) / 1e9 for a in kept]
    video = [a["queries"] / (scenario.fps or 30.0) for a in kept]
    # The same ratio as images a second: seconds of work over seconds of video.
    return FramesShown(
        arrived=sum(a["arrived"] for a in kept), dropped=sum(a["dropped"] for a in kept),
        real_time_factor=throughput(busy, video),
    )  # fmt: skip
