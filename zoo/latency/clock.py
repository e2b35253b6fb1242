"""The timing loop: a clock call before and one after each query, and a store into an array made beforehand."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Clock:
    """A source of time; tests put another one in its place.

    Attributes:
        now: Nanoseconds of a monotonic clock.
        sleep: Waits for seconds.
    """

    now: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep


REAL = Clock()


def preallocate(capacity: int) -> array[int]:
    """Returns room for samples whose pages are already in memory, so that no store faults inside the loop."""
    return array("q", bytes(8 * capacity))


def time_calls(
    call: Callable[[Any], object],
    inputs: Sequence[Any],
    room: array[int],
    *,
    first: int = 0,
    nanoseconds: int,
    least: int = 1,
    clock: Clock = REAL,
) -> tuple[int, int]:
    """Calls again and again, each time with the next input, and stores each call's duration.

    Between two calls it does an index, a store and two comparisons: below a microsecond, measured by
    ``benchmarks/test_overhead.py``.

    Args:
        call: What is timed.
        inputs: Pool of inputs, used in turn.
        room: Where durations in nanoseconds are stored, from its start; the loop ends when it is full.
        first: Position in the pool to begin at.
        nanoseconds: Ends after the first call that ends this long after the start.
        least: But not before this many calls.
        clock: Source of time.

    Returns:
        (calls made, nanoseconds from the start of the first to the end of the last).
    """
    now, size, capacity = clock.now, len(inputs), len(room)
    count, position = 0, first % size
    start = now()
    while True:
        item = inputs[position]
        before = now()
        call(item)
        after = now()
        room[count] = after - before
        count += 1
        position += 1
        if position == size:
            position = 0
        if (after - start >= nanoseconds and count >= least) or count == capacity:
            return count, after - start
