"""The contests of :mod:`benchmarks.throughput` under pytest-benchmark.

``python -m pytest benchmarks/test_throughput.py``

A round is one turn of all contestants; what counts are the ratios in ``extra_info``. Nothing is asserted about time.
``ZOO_BENCH_PICTURES`` says how many pictures (400), ``ZOO_BENCH_ROUNDS`` how many turns (3).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import throughput

PICTURES = int(os.environ.get("ZOO_BENCH_PICTURES", "400"))
ROUNDS = int(os.environ.get("ZOO_BENCH_ROUNDS", "3"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    place = tmp_path_factory.mktemp("images")
    os.environ["ZOO_HOME"] = str(place / "home")
    paths = throughput.write_pictures(place / "pictures", PICTURES)
    return place, throughput.write_models(place, paths), paths


@pytest.mark.parametrize("case", throughput.CASES, ids="-".join)
def test_zoo_eval_beside_the_bare_pipeline(benchmark: Any, images: Any, case: tuple[str, str]) -> None:
    contest = throughput.Contest(PICTURES)
    turns = iter(range(ROUNDS))
    benchmark.pedantic(
        lambda: throughput.one_turn(contest, *images, case, zoo_first=bool(next(turns) % 2)), rounds=ROUNDS
    )
    ours, bare = (f"{name} {' '.join(case)}" for name in ("zoo.eval", "bare"))
    benchmark.extra_info.update(
        {
            "images/s": contest.rate(ours),
            "bare images/s": contest.rate(bare),
            "of the bare one": contest.ratio(ours, bare),
            "of it, processor time": contest.ratio(ours, bare, "cpu"),
        }
    )


def test_dataloader_loop(benchmark: Any, images: Any) -> None:
    contest = throughput.Contest(PICTURES)
    benchmark.pedantic(
        lambda: contest.run(throughput.LOOP, lambda c: throughput.timm_loop(images[2], c)), rounds=ROUNDS
    )
    benchmark.extra_info["images/s"] = contest.rate(throughput.LOOP)


@pytest.mark.package
def test_photographs(benchmark: Any, tmp_path: Path) -> None:
    contest, parts = benchmark.pedantic(
        lambda: throughput.compare_photographs(tmp_path, PICTURES // 4, ROUNDS), rounds=1
    )
    benchmark.extra_info.update({f"{name}, frames/s": contest.rate(name) for name in contest.passes})
    benchmark.extra_info.update({f"{name}, ms": value for name, value in parts.items()})
