"""Scenarios on a fake clock: what is counted, what is dropped, when it ends."""

from __future__ import annotations

import numpy as np
import pytest

from tests.latency.fakes import FakeClock, FakeSession, room
from zoo.latency.clock import preallocate, time_calls
from zoo.latency.scenarios import make_pool, run_slice, warm_up
from zoo.results.latency_record import Scenario

MS = 1_000_000


def _session(*durations: int) -> tuple[FakeClock, FakeSession]:
    clock = FakeClock()
    return clock, FakeSession(clock, durations)


def test_each_call_is_timed_and_gets_the_next_input() -> None:
    clock, session = _session(3 * MS, 5 * MS)
    into = room()
    count, elapsed = time_calls(session.infer, ["a", "b", "c"], into, first=2, nanoseconds=15 * MS, clock=clock.clock)
    assert (count, elapsed) == (4, 16 * MS)
    assert list(into[:4]) == [3 * MS, 5 * MS, 3 * MS, 5 * MS]
    assert session.seen == ["c", "a", "b", "c"]


def test_the_loop_goes_on_to_the_least_count_and_ends_when_the_room_is_full() -> None:
    clock, session = _session(MS)
    assert time_calls(session.infer, [0], room(), nanoseconds=MS, least=7, clock=clock.clock)[0] == 7
    assert time_calls(session.infer, [0], room(3), nanoseconds=10**12, least=7, clock=clock.clock)[0] == 3


def test_room_is_zeroed_and_of_the_size_asked() -> None:
    assert list(preallocate(3)) == [0, 0, 0]


@pytest.mark.parametrize(("name", "batch"), [("SingleStream", 1), ("MultiStream", 8), ("Offline", 32)])
def test_queries_follow_one_another(name: str, batch: int) -> None:
    clock, session = _session(10 * MS)
    into = room()
    taken = run_slice(
        Scenario(name=name, batch=batch), session, list("abcd"), into, seconds=0.095, position=3, clock=clock.clock
    )
    assert (taken.queries, taken.images, taken.nanoseconds) == (10, 10 * batch, 100 * MS)
    assert set(into[:10]) == {10 * MS}
    assert session.seen == list("dabcdabcda")
    assert taken.position == 1


def test_offline_with_streams_counts_completions() -> None:
    clock, session = _session(2 * MS, 4 * MS)
    into = room()
    taken = run_slice(
        Scenario(name="Offline", batch=16), session, list("ab"), into, seconds=0.01, streams=2, clock=clock.clock
    )
    assert taken.queries == 4  # 2 + 4 + 2 + 4 = 12 ms; the fifth would begin after 10 ms
    assert taken.images == 64
    assert list(into[:4]) == [2 * MS, 4 * MS, 2 * MS, 4 * MS]
    assert taken.nanoseconds == 12 * MS


def test_a_fast_model_sees_every_frame_and_waits_between_them() -> None:
    clock, session = _session(10 * MS)
    taken = run_slice(
        Scenario(name="Video", fps=10), session, list(range(100)), room(), seconds=0.905, clock=clock.clock
    )
    assert (taken.queries, taken.arrived, taken.dropped) == (10, 10, 0)
    assert session.seen == list(range(10))
    assert sum(clock.slept) == pytest.approx(9 * 0.09)


def test_a_slow_model_takes_the_newest_frame_and_drops_the_others() -> None:
    clock, session = _session(250 * MS)  # two and a half frames at 10 fps
    taken = run_slice(Scenario(name="Video", fps=10), session, list(range(100)), room(), seconds=0.9, clock=clock.clock)
    # Begins at 0, 250, 500, 750 ms: the newest frames are 0, 2, 5, 7.
    assert session.seen == [0, 2, 5, 7]
    assert (taken.queries, taken.arrived, taken.dropped) == (4, 8, 4)
    assert taken.images == 4
    assert clock.slept == []


def test_video_never_runs_a_frame_twice() -> None:
    clock, session = _session(1 * MS, 180 * MS, 1 * MS)
    run_slice(Scenario(name="Video", fps=20), session, list(range(1000)), room(), seconds=3.0, clock=clock.clock)
    assert len(set(session.seen)) == len(session.seen)
    assert session.seen == sorted(session.seen)


def test_a_full_room_ends_a_slice_of_every_scenario() -> None:
    for scenario, streams in (
        (Scenario(name="SingleStream"), 1), (Scenario(name="Offline", batch=2), 2), (Scenario(name="Video", fps=30), 1)
    ):  # fmt: skip
        clock, session = _session(MS)
        taken = run_slice(scenario, session, [0], room(5), seconds=100, streams=streams, clock=clock.clock)
        assert taken.queries == 5


def test_warm_up_goes_on_until_three_windows_agree() -> None:
    # 40, 20, 10 ms and then 5 ms for good; windows of one query.
    clock, session = _session(*([40 * MS, 20 * MS, 10 * MS] + [5 * MS] * 100))
    warm = warm_up(session.infer, [0], room(), window=0.001, least=1, clock=clock.clock)
    assert warm.stable
    assert warm.queries == 6
    assert warm.seconds == pytest.approx(0.085)


def test_warm_up_that_never_settles_says_so() -> None:
    clock, session = _session(1 * MS, 3 * MS)
    warm = warm_up(session.infer, [0], room(), window=0.001, least=1, most=0.1, clock=clock.clock)
    assert not warm.stable
    assert warm.seconds >= 0.1


def test_warm_up_of_a_slow_model_still_takes_three_windows() -> None:
    clock, session = _session(20_000 * MS)
    warm = warm_up(session.infer, [0], room(), least=1, most=10.0, clock=clock.clock)
    assert warm.stable and warm.queries == 3


def test_warm_up_of_a_slow_model_is_not_given_up_at_its_first_windows() -> None:
    clock, session = _session(*(seconds * 1000 * MS for seconds in (20, 25, 20, 20, 20)))
    warm = warm_up(session.infer, [0], room(), least=1, most=10.0, clock=clock.clock)
    assert warm.stable and warm.queries == 5
    clock, session = _session(20_000 * MS, 30_000 * MS)
    warm = warm_up(session.infer, [0], room(), least=1, most=10.0, clock=clock.clock)
    assert not warm.stable and warm.queries == 8


def test_pools_are_seeded_distinct_and_bounded() -> None:
    pool = make_pool((64, 64, 1), 2, seed=5)
    assert len(pool) == 64
    assert pool[0].shape == (2, 64, 64, 1) and pool[0].dtype == np.uint8
    assert not (pool[0] == pool[1]).all()
    np.testing.assert_array_equal(pool[7], make_pool((64, 64, 1), 2, seed=5)[7])
    assert len(make_pool((224, 224, 3), 512)) == 4
