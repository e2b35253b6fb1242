"""How often do the intervals contain the truth? A simulation with people whose frames resemble each other.

A population of people is made once; a data set is some people drawn from it, so the true value of every metric is the
population's. For each data set the interval is computed as `zoo.metrics` does, and by two simpler ways from the same
resamples: the percentile interval, and the percentile interval widened by t and sqrt(n / (n - 1)) (Hesterberg 2015).
An interval that claims 95 % should contain the truth in 95 of 100 data sets. The mean over folds is compared with its
expectation (the mean over data sets), because a fold of few people has an expectation of its own.

People differ in how expressive they are, in each label, and in how a model reads them (gain, offset); frames follow an
autoregressive process. The AUs have base rates between about 1 and 25 % at intensity 2, as DISFA's do; `rare` has the
rarest alone, held by a minority of people, which is where every method struggles.

    python benchmarks/coverage.py --people 9 27 41 100 --datasets 1000 --resamples 1000 --folds 1 3
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from zoo.metrics import METRICS, bootstrap, statistics
from zoo.metrics.catalogue import FORMULAS

FLOATS = NDArray[np.floating]
TASKS = {
    "au-intensity": ("pcc", "icc31", "mae", "mse"),
    "au-occurrence": ("f1", "accuracy"),
    "valence-arousal": ("ccc", "rmse", "sagr"),
    "expression": ("accuracy", "balanced_accuracy", "macro_f1"),
    "rare": ("pcc", "f1"),
}


def walk(random: np.random.Generator, people: int, frames: int, labels: int, keep: float) -> FLOATS:
    """Standard normal first-order autoregressive series ``[people, frames, labels]``."""
    x = random.standard_normal((frames, people, labels), dtype=np.float32)
    step = np.float32(np.sqrt(1 - keep * keep))
    for t in range(1, frames):
        x[t] = np.float32(keep) * x[t - 1] + step * x[t]
    return x.swapaxes(0, 1)


def population(task: str, people: int, frames: int, random: np.random.Generator) -> dict[str, FLOATS]:
    """Truth and the predictions of two equally good models, ``[people, frames, labels]``."""

    def each(spread: float, labels: int) -> FLOATS:
        return random.normal(0, spread, (people, 1, labels)).astype(np.float32)

    if task == "expression":
        classes = 8
        taste = np.log(random.dirichlet(np.full(classes, 0.7), people) + 1e-3)[:, None]
        truth = (taste + 2 * walk(random, people, frames, classes, 0.95)).argmax(-1)
        seen = np.eye(classes, dtype=np.float32)[truth]
        return {"truth": truth} | {
            model: (1.8 * seen + each(0.5, classes) + walk(random, people, frames, classes, 0.8)).argmax(-1)
            for model in ("a", "b")
        }
    if task == "valence-arousal":
        truth = 0.3 * walk(random, people, frames, 2, 0.97) + each(0.25, 2)
        return {"truth": truth} | {
            model: 0.6 * truth + each(0.15, 2) + 0.05 + 0.15 * walk(random, people, frames, 2, 0.9)
            for model in ("a", "b")
        }
    # Thresholds in standard deviations: base rates at intensity 2 of about 25 to 1 %.
    rarity = np.array([2.0] if task == "rare" else [0.1, 0.4, 0.7, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7])
    labels = len(rarity)
    active = walk(random, people, frames, labels, 0.95) + each(0.4, 1) + each(0.5, labels)
    active = np.maximum(1.8 * (active - rarity.astype(np.float32)) * np.exp(each(0.3, 1)), 0)
    truth = np.clip(np.round(active), 0, 5)
    return {"truth": truth} | {
        model: np.clip(
            np.exp(each(0.3, labels) - 0.2) * truth + each(0.3, labels) + 0.1
            + 0.5 * walk(random, people, frames, labels, 0.9), 0, 5,
        )
        for model in ("a", "b")
    }  # fmt: skip


def sums_of(metric: str, truth: FLOATS, prediction: FLOATS, task: str) -> FLOATS:
    """Sums per person ``[people, labels, K]``."""
    people, frames = truth.shape[:2]
    cluster = np.repeat(np.arange(people), frames)
    if task == "expression":
        counts = statistics.confusion(truth.ravel(), prediction.ravel(), 8, cluster, people)
        return statistics.hit_sums(counts) if metric == "accuracy" else statistics.class_sums(counts)
    flat = truth.reshape(people * frames, -1), prediction.reshape(people * frames, -1)
    if metric in ("f1", "accuracy"):
        decided = [(x >= at).astype(np.float32) for x, at in zip(flat, (2, 1.5), strict=True)]
        return statistics.binary_sums(*decided, cluster, people)
    return statistics.continuous_sums(*flat, cluster, people)


@dataclass
class Tally:
    """Intervals of one kind for one figure."""

    value: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, value: float, low: float | None, high: float | None) -> None:
        self.value.append(value)
        self.low.append(np.nan if low is None else low)
        self.high.append(np.nan if high is None else high)

    def read(self, truth: float) -> tuple[float, float, float, float, float]:
        """Coverage, missed below, missed above (of those given), median width, part not given."""
        low, high = np.array(self.low), np.array(self.high)
        given = ~np.isnan(low)
        if not given.any():
            return np.nan, np.nan, np.nan, np.nan, 1.0
        below, above = (truth < low[given]).mean(), (truth > high[given]).mean()
        return 1 - below - above, below, above, float(np.median(high[given] - low[given])), 1 - given.mean()


def percentile(values: FLOATS, alpha: float) -> tuple[float | None, float | None]:
    """The percentile interval of what is defined."""
    values = values[np.isfinite(values)]
    return tuple(np.quantile(values, [alpha, 1 - alpha])) if len(values) > 1 else (None, None)


METHODS = ("percentile", "widened", "studentised")


@dataclass(frozen=True)
class Row:
    """One line of the table; below, above, width and missing are of the studentised interval."""

    task: str
    metric: str
    people: int
    folds: int
    figure: str
    coverage: dict[str, float]
    below: float
    above: float
    width: float
    missing: float


def simulate(
    task: str,
    people: int,
    folds: int,
    *,
    datasets: int,
    resamples: int,
    size: int = 4000,
    frames: int = 200,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
) -> Iterator[Row]:
    """Simulates one task and yields a line for each metric and figure."""
    random = np.random.default_rng([seed, people, folds])
    made = population(task, size, frames, random)
    design = bootstrap.Design(np.arange(people), np.arange(people) % folds)
    widened = NormalDist().cdf(-np.sqrt(people / (people - 1)) * student.ppf(0.975, people - folds))
    drawn = [random.integers(0, size, people) for _ in range(datasets)]
    for metric in metrics or TASKS[task]:
        kind = METRICS[metric]
        sums = {model: sums_of(metric, made["truth"], made[model], task) for model in ("a", "b")}
        formula, names = {metric: FORMULAS[metric]}, {metric: kind.higher_is_better}
        labels = sums["a"].shape[1]
        figures = {"mean": -1 if kind.mean == "mean_strict" else -2} | {
            f"label {i}": i for i in range(labels) if labels > 1
        }
        tallies = {(f, m): Tally() for f in figures for m in METHODS}
        difference = Tally()
        for number, who in enumerate(drawn):
            cells = {
                model: [bootstrap.SumCell(s[who][fold], formula) for fold in design.members]
                for model, s in sums.items()
            }
            found = bootstrap.replicate([cells["a"]], design, resamples, number, names)[metric]
            for figure, target in figures.items():
                ours = bootstrap.interval(found, target, kind.scale)
                point, values = found.point[target], found.values[:, target]
                tallies[figure, "percentile"].add(point, *percentile(values, 0.025))
                tallies[figure, "widened"].add(point, *percentile(values, widened))
                tallies[figure, "studentised"].add(point, ours.low, ours.high)
            both = bootstrap.replicate([cells["a"], cells["b"]], design, resamples, number, names)[metric]
            tested = bootstrap.interval(both, figures["mean"], "identity")
            difference.add(both.point[figures["mean"]], tested.low, tested.high)
        whole = [
            bootstrap.replicate([[bootstrap.SumCell(s, formula)]], design, 0, 0, names)[metric].point
            for s in (sums["a"], sums["b"])
        ]

        def read(
            tally: Tally, target: int, of: NDArray[np.floating] = whole[0]
        ) -> tuple[float, float, float, float, float]:
            return tally.read(float(of[target]) if folds == 1 else float(np.nanmean(tally.value)))

        def row(figure: str, found: dict[str, NDArray[np.floating]], metric: str = metric) -> Row:
            return Row(
                task, metric, people, folds, figure, {m: r[0] for m, r in found.items()}, *found[METHODS[-1]][1:]
            )

        by_figure = {f: {m: np.array(read(tallies[f, m], t)) for m in METHODS} for f, t in figures.items()}
        yield row("mean", by_figure.pop("mean"))
        if by_figure:
            yield row("a label", {m: np.nanmean([r[m] for r in by_figure.values()], axis=0) for m in METHODS})
            yield row("worst label", min(by_figure.values(), key=lambda r: r["studentised"][0]))
        yield row("difference", {"studentised": np.array(read(difference, figures["mean"], whole[0] - whole[1]))})


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[9, 27, 41, 100])
    parser.add_argument("--folds", type=int, nargs="+", default=[1])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--population", type=int, default=4000, help="people")
    parser.add_argument("--frames", type=int, default=200, help="of each person")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    error = 100 * np.sqrt(0.95 * 0.05 / a.datasets)
    print(f"Coverage in %, of a nominal 95; binomial standard error {error:.1f}. {a.datasets} data sets, "
          f"{a.resamples} resamples, {a.frames} frames a person, seed {a.seed}.\n")  # fmt: skip
    print("| people | folds | task | metric | figure | percentile | widened | **studentised** "
          "| truth below | truth above | width | none |\n" + "|---" * 12 + "|")  # fmt: skip
    for people in a.people:
        for folds in a.folds:
            for task in a.tasks:
                start = time.monotonic()
                for r in simulate(
                    task, people, folds, datasets=a.datasets, resamples=a.resamples, size=a.population,
                    frames=a.frames, seed=a.seed,
                ):  # fmt: skip
                    coverage = [f"{100 * r.coverage[m]:.1f}" if m in r.coverage else "" for m in METHODS]
                    rest = f"{100 * r.below:.1f} | {100 * r.above:.1f} | {r.width:.3f} | {100 * r.missing:.1f}"
                    print(
                        f"| {people} | {folds} | {task} | {r.metric} | {r.figure} | {' | '.join(coverage)} | {rest} |"
                    )
                print(f"{people} people, {folds} folds, {task}: {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
