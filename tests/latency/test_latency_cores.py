"""Turns go round the cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo.latency.cores import choose, move_to, usable


def test_each_turn_begins_at_the_next_core() -> None:
    assert [choose([0, 1], 1, turn) for turn in range(4)] == [(0,), (1,), (0,), (1,)]
    assert [choose([2, 4, 6], 2, turn) for turn in range(4)] == [(2, 4), (4, 6), (2, 6), (2, 4)]


def test_nothing_is_chosen_where_all_cores_are_used_or_none_is_known() -> None:
    assert choose([0, 1], 2, 0) is None and choose([0, 1], 3, 0) is None
    assert choose([], 1, 0) is None and choose([5], 1, 7) is None


def test_one_processor_of_each_physical_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4, 5, 7}, raising=False)
    for number, siblings in {0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"}.items():
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert usable(tmp_path) == [0, 1, 7]  # nothing is known of 7's siblings


def test_a_system_without_affinity_leaves_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable() == []


def test_every_thread_moves_but_one_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = {}

    def move(thread: int, cores: list[int]) -> None:
        if thread == 12:
            raise ProcessLookupError
        moved[thread] = cores

    monkeypatch.setattr(Path, "iterdir", lambda folder: [folder / "11", folder / "12", folder / "13"])
    monkeypatch.setattr(os, "sched_setaffinity", move, raising=False)
    move_to([1])
    assert moved == {11: [1], 13: [1]}
