"""Scenarios, named and ruled after MLPerf's LoadGen, and the warm-up before them.

SingleStream: one image a query, the next query when the last one has returned. MultiStream: the same with eight
images a query. Offline: all images are there at once; batches go through as many streams as the session has. Video
(ours): a frame arrives every 1/fps seconds whether or not the model is free; the model takes the newest one, and
frames that were replaced meanwhile are dropped.

Every query gets the next input of a pool, so that no runtime can answer from what it kept, and the copy of the input
counts (MLPerf inference rules: no caching of queries).
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.latency.clock import REAL, Clock, time_calls
from zoo.latency.statistics import WINDOWS, settled
from zoo.results.latency_record import Scenario

Pixels = NDArray[np.uint8]
POOL_BYTES = 64 << 20
"""A pool larger than any processor cache, so that inputs come from memory as they do in an application."""


class Timed(Protocol):
    """What a scenario needs of a session."""

    def infer(self, batch: Any) -> Any:
        """Runs one query."""
        ...

    def stream(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Runs keyed batches, several at once; yields them in order."""
        ...


@dataclass(frozen=True)
class Taken:
    """What one slice gave.

    Attributes:
        queries: Samples written into the room.
        images: Images run.
        nanoseconds: From the first query's start to the last one's end.
        position: Where in the pool the next slice begins.
        arrived: Video: frames that arrived.
        dropped: Video: frames that were never run.
    """

    queries: int
    images: int
    nanoseconds: int
    position: int
    arrived: int = 0
    dropped: int = 0


def make_pool(shape: Sequence[int], batch: int, seed: int = 0) -> list[Pixels]:
    """Returns distinct batches of seeded noise, uint8 ``[batch, height, width, channels]``: 4 to 64 of them."""
    size = batch * int(np.prod(shape))
    count = max(4, min(64, POOL_BYTES // size))
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (batch, *shape), np.uint8) for _ in range(count)]


def run_slice(
    scenario: Scenario,
    session: Timed,
    pool: Sequence[Any],
    room: array[int],
    *,
    seconds: float,
    least: int = 1,
    streams: int = 1,
    position: int = 0,
    clock: Clock = REAL,
) -> Taken:
    """Runs one slice of a scenario and writes each query's duration in nanoseconds into ``room``.

    In Offline with several streams a sample is the time from one result to the next.

    Args:
        scenario: Which one.
        session: What is timed.
        pool: Inputs, one a query.
        room: From :func:`zoo.latency.clock.preallocate`; a full room ends the slice.
        seconds: Least duration.
        least: Least number of queries.
        streams: The session's.
        position: Where in the pool to begin.
        clock: Source of time.
    """
    budget = int(seconds * 1e9)
    if scenario.name == "Video":
        return _video(scenario, session.infer, pool, room, budget, least, position, clock)
    if scenario.name == "Offline" and streams > 1:
        return _streams(scenario, session, pool, room, budget, least, position, clock)
    count, elapsed = time_calls(session.infer, pool, room, first=position, nanoseconds=budget, least=least, clock=clock)
    return Taken(count, count * scenario.batch, elapsed, (position + count) % len(pool))


def _streams(
    scenario: Scenario, session: Timed, pool: Sequence[Any], room: array[int], budget: int, least: int, position: int,
    clock: Clock,
) -> Taken:  # fmt: skip
    start = last = clock.now()
    sent = 0

    def batches() -> Iterator[tuple[int, Any]]:
        nonlocal sent
        while sent < len(room) and (sent < least or clock.now() - start < budget):
            sent += 1
            yield sent, pool[(position + sent - 1) % len(pool)]

    count = 0
    for _ in session.stream(batches()):
        now = clock.now()
        room[count] = now - last
        last = now
        count += 1
    return Taken(count, count * scenario.batch, last - start, (position + count) % len(pool))


def _video(
    scenario: Scenario, infer: Callable[[Any], object], pool: Sequence[Any], room: array[int], budget: int, least: int,
    position: int, clock: Clock,
) -> Taken:  # fmt: skip
    period = 1e9 / (scenario.fps or 30.0)
    start = end = clock.now()
    arrived = count = 0
    while count < len(room) and (count < least or end - start < budget):
        there = int((clock.now() - start) / period) + 1  # the first frame arrives at the start
        if there <= arrived:  # the newest one has been run: wait for the next
            while (left := start + math.ceil(arrived * period) - clock.now()) > 0:
                clock.sleep(left / 1e9)
            there = int((clock.now() - start) / period) + 1
            there = max(there, arrived + 1)
        before = clock.now()
        infer(pool[(position + there - 1) % len(pool)])
        end = clock.now()
        room[count] = end - before
        count += 1
        arrived = there
    return Taken(count, count, end - start, (position + arrived) % len(pool), arrived, arrived - count)


@dataclass(frozen=True)
class WarmUp:
    """How a warm-up went.

    Attributes:
        queries: Queries made.
        seconds: Their duration.
        stable: Whether the windows' medians settled.
    """

    queries: int
    seconds: float
    stable: bool


def warm_up(
    infer: Callable[[Any], object],
    pool: Sequence[Any],
    room: array[int],
    *,
    window: float = 0.2,
    least: int = 3,
    most: float = 10.0,
    clock: Clock = REAL,
) -> WarmUp:
    """Runs windows of queries until their medians have :func:`~zoo.latency.statistics.settled`, or the time is up.

    Args:
        infer: Runs one query.
        pool: Inputs.
        room: Where durations go; overwritten.
        window: Least seconds of a window.
        least: Least queries of a window.
        most: Seconds after which it ends without being stable, though never before eight windows: a query may take
            as long as all of it, and eight show whether there is a trend.
        clock: Source of time.
    """
    medians: list[float] = []
    queries = elapsed = 0
    while True:
        count, spent = time_calls(
            infer, pool, room, first=queries, nanoseconds=int(window * 1e9), least=least, clock=clock
        )
        queries, elapsed = queries + count, elapsed + spent
        medians.append(float(np.median(np.frombuffer(room, np.int64)[:count])))
        stable = settled(medians)
        if stable or (len(medians) >= WINDOWS and elapsed >= most * 1e9):
            return WarmUp(queries, elapsed / 1e9, stable)


def settle(infer: Callable[[Any], object], pool: Sequence[Any], *, seconds: float, least: int = 2) -> None:
    """Runs a few uncounted queries at the start of a slice: the neighbours' slices have emptied the caches."""
    end, count = time.perf_counter() + seconds, 0
    while count < least or time.perf_counter() < end:
        infer(pool[count % len(pool)])
        count += 1
