"""Which model to take: the Pareto set of score against latency under a user's constraints, from records alone.

Scores are never mixed across datasets: one protocol is used, the user's or the one with most evidence for the task.
A held-out measurement on real data counts first; where there is none, a published figure does, and is marked as such.
In-sample and synthetic results are no evidence of what a model does on new people and are not used.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from zoo.boards.collect import Collection, Row, Timing
from zoo.boards.published import WHY_TITLES, Published, place, published_for
from zoo.boards.published import evidence as of_model
from zoo.boards.text import FLAG_TITLES, LOWER_IS_BETTER, METRIC_TITLES, interval, three_digits
from zoo.errors import UnknownNameError, UsageError
from zoo.protocols import list_protocols, load_protocol
from zoo.protocols.schema import ProtocolFile
from zoo.registry import ModelEntry
from zoo.registry.labels import Task, labels_allowed
from zoo.results.record import Estimate

Basis = Literal["measured", "reported"]


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Attributes:
        task: The task.
        labels: AUs or classes that the model has to give; the score is then theirs where values by label are known.
        protocol: Whose scores count; None: the one with most evidence about the models that may be used.
        device: ``cpu``, ``cuda:0`` ...
        runtime: A runtime, or None for any.
        precision: A precision, or None for any.
        threads: Threads of one inference, or None for any.
        stage: ``encoder``: the network alone; ``pipeline``: from the picture to the labels.
        scenario: How queries arrive.
        percent: Percentile of the query durations that the limit is on.
        max_latency_ms: Limit on it.
        min_fps: Least images a second.
        max_memory_mib: Limit on the peak resident memory of the process that was timed.
        max_size_mb: Limit on the weights files, in 10^6 bytes.
        commercial: Only weights whose licence allows commercial use.
        min_score: Least score (largest, for errors).
        verified: Only entries that passed their check.
        machine: Part of a recorded machine's name; None: this machine if it has records, else the one with most.
    """

    task: Task
    labels: tuple[str, ...] = ()
    protocol: str | None = None
    device: str = "cpu"
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    stage: Literal["encoder", "pipeline"] = "encoder"
    scenario: str = "SingleStream"
    percent: int = 50
    max_latency_ms: float | None = None
    min_fps: float | None = None
    max_memory_mib: float | None = None
    max_size_mb: float | None = None
    commercial: bool = False
    min_score: float | None = None
    verified: bool = False
    machine: str | None = None

    def __post_init__(self) -> None:
        """Refuses labels that the task does not have.

        Raises:
            UnknownNameError: Such a label.
        """
        known = labels_allowed(self.task)
        for label in self.labels:
            if label not in known:
                raise UnknownNameError("label", label, known, where=f"task={self.task}")

    @property
    def needs_timing(self) -> bool:
        """Whether a model that was never timed cannot be judged."""
        limits = (self.max_latency_ms, self.min_fps, self.max_memory_mib)
        return any(v is not None for v in limits)


@dataclass(frozen=True)
class Score:
    """What is known of a model's score.

    Attributes:
        estimate: The value, with its interval where it was measured.
        basis: Measured here, or published by others.
        note: Where it is from and what to know about it.
    """

    estimate: Estimate
    basis: Basis
    note: str


@dataclass(frozen=True)
class Candidate:
    """A model, run in one way, that meets every constraint.

    Attributes:
        entry: The model.
        score: Its score, if any is known.
        timing: How fast it is, if it was timed.
        notes: What to know.
    """

    entry: ModelEntry
    score: Score | None
    timing: Timing | None
    notes: tuple[str, ...] = ()

    def latency(self, percent: int) -> Estimate:
        """Returns a percentile of its query durations in milliseconds."""
        found = self.timing.record.percentile(percent) if self.timing else None
        return Estimate(value=found.value, low=found.low, high=found.high) if found else Estimate(value=None)

    @property
    def run_as(self) -> str:
        """Runtime, precision and threads."""
        if self.timing is None:
            return "not timed"
        asked = self.timing.record.asked
        return f"{asked.runtime} {asked.precision}, {asked.threads} thread{'s' if asked.threads > 1 else ''}"


@dataclass(frozen=True)
class Out:
    """A model that does not meet the constraints.

    Attributes:
        entry: The model.
        reasons: All of them, in words.
    """

    entry: ModelEntry
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """What :func:`recommend` gives.

    Attributes:
        wish: What was asked.
        protocol: Whose scores were used; None where the task has no protocol on real data.
        protocols: Others of the task with evidence.
        machine: Whose timings were used; None where there are none.
        machines: All machines with timings.
        front: The Pareto set, best score first.
        dominated: Others that fit, each with the one that is at least as good in both.
        unscored: Fit, but nobody has a score of them under the protocol; fastest first.
        out: Do not fit.
        other_tasks: How many models have other tasks.
        winner: Of the Pareto set, the best score; among those whose intervals reach it, the fastest. Without any
            scores, the fastest.
        why: Why it is the winner.
    """

    wish: Wish
    protocol: ProtocolFile | None
    protocols: tuple[str, ...]
    machine: str | None
    machines: tuple[str, ...]
    front: tuple[Candidate, ...]
    dominated: tuple[tuple[Candidate, Candidate], ...]
    unscored: tuple[Candidate, ...]
    out: tuple[Out, ...]
    other_tasks: int
    winner: Candidate | None = None
    why: str = ""


@dataclass
class _Evidence:
    """Boards and timings of several folders."""

    collections: Sequence[Collection]
    _published: dict[str, list[Published]] = field(default_factory=dict)

    def rows(self, protocol: ProtocolFile) -> list[Row]:
        return [r for c in self.collections for b in c.boards if b.protocol.ref == protocol.ref for r in b.rows]

    def published(self, protocol: ProtocolFile) -> list[Published]:
        """Published figures count whatever folder the records are in."""
        if protocol.ref not in self._published:
            self._published[protocol.ref] = published_for(protocol, self.collections[0].reported)
        return self._published[protocol.ref]


def recommend(wish: Wish, collections: Sequence[Collection], here: str | None = None) -> Recommendation:
    """Finds the models that meet a user's constraints and the best of them.

    Args:
        wish: The constraints.
        collections: Records: the project's, and the user's own.
        here: This machine, as :attr:`zoo.boards.collect.Timing.machine` writes it.

    Raises:
        UsageError: No such machine among the records, or a protocol of another task.
    """
    registry = collections[0].registry
    evidence = _Evidence(collections)
    entries = [e for e in registry.entries.values() if wish.task in e.tasks]
    protocols = _protocols(wish, evidence, entries)
    protocol = protocols[0] if protocols else None
    machines = _machines(collections)
    machine = _machine(wish, machines, here)
    fits: list[Candidate] = []
    out: list[Out] = []
    for entry in entries:
        score, score_notes = _score(entry, wish, protocol, evidence)
        reasons = [*_of_entry(entry, wish), *_of_score(score, wish, protocol)]
        timed, why_not = _timings(entry, wish, collections, machine)
        if why_not and (wish.needs_timing or timed):
            reasons.append(why_not)
        if reasons:
            out.append(Out(entry, tuple(reasons)))
            continue
        kept, faster = _as_scored(timed, wish)
        usable: list[Timing | None] = [*kept] or [None]
        fits += [Candidate(entry, score, t, (*score_notes, *_timing_notes(t, score), *faster)) for t in usable]
    lower = protocol is not None and protocol.primary.metric in LOWER_IS_BETTER
    front, dominated, unscored = _pareto(fits, wish.percent, lower)
    winner, why = _winner(front, unscored, wish.percent, lower)
    others = len(registry.entries) - len(entries)
    return Recommendation(
        wish, protocol, tuple(p.id for p in protocols[1:]), machine, machines, tuple(front), tuple(dominated),
        tuple(unscored), tuple(out), others, winner, why,
    )  # fmt: skip


def _protocols(wish: Wish, evidence: _Evidence, entries: Sequence[ModelEntry]) -> list[ProtocolFile]:
    """Returns the protocols with evidence about models that may be used, the one with most first; the user's alone."""
    if wish.protocol:
        chosen = load_protocol(wish.protocol)
        if chosen.task != wish.task:
            raise UsageError(f"{chosen.ref} scores {chosen.task}, not {wish.task}")
        return [chosen]
    real = {p.id: p for p in list_protocols(task=wish.task) if not p.synthetic and not p.open}
    names = {e.name for e in entries if not _of_entry(e, wish)} or {e.name for e in entries}

    def weight(protocol: ProtocolFile) -> tuple[int, int, int]:
        measured = {r.record.model.name for r in evidence.rows(protocol) if r.ranked} & names
        published = evidence.published(protocol)
        reported = [n for n in names if of_model(n, protocol.primary.metric, published)]
        return len(measured), len(reported), len(published)

    weights = {p.ref: weight(p) for p in real.values()}
    return sorted((p for p in real.values() if any(weights[p.ref])), key=lambda p: weights[p.ref], reverse=True)


def _machines(collections: Sequence[Collection]) -> tuple[str, ...]:
    names = [t.machine for c in collections for t in c.newest_timings]
    return tuple(sorted(set(names), key=lambda n: (-names.count(n), n)))


def _machine(wish: Wish, machines: Sequence[str], here: str | None) -> str | None:
    if wish.machine and wish.machine != "this":
        found = [m for m in machines if wish.machine.lower() in m.lower()]
        if not found:
            raise UsageError(
                f"no record was timed on a machine called '{wish.machine}'",
                fix=f"machine= one of: {'; '.join(machines)}" if machines else "python -m zoo.bench suite=cpu",
            )
        return found[0]
    if here in machines:
        return here
    if wish.machine == "this":
        raise UsageError("nothing was timed on this machine yet", where=here, fix="python -m zoo.bench suite=cpu")
    return machines[0] if machines else None


def _of_entry(entry: ModelEntry, wish: Wish) -> list[str]:
    reasons = []
    if entry.status == "reported-only":
        reasons.append("known by published figures only, no weights to run")
    elif entry.status == "external":
        reasons.append(entry.no_run)
    elif entry.status == "deprecated":
        reasons.append("deprecated")
    elif wish.verified and entry.status != "verified":
        reasons.append("not verified")
    if wish.commercial and entry.licence.commercial_use is not True:
        unclear = entry.licence.commercial_use == "unknown"
        reasons.append(f"commercial use {'unclear' if unclear else 'not allowed'} ({entry.licence.name})")
    if entry.outputs:
        missing = [x for x in wish.labels if x not in entry.output(wish.task).labels]
        if missing:
            reasons.append(f"does not give {', '.join(missing)}")
    if wish.max_size_mb is not None and entry.weights:
        size = size_of(entry)
        if size is None:
            reasons.append("size not known")
        elif size / 1e6 > wish.max_size_mb:
            reasons.append(f"{size / 1e6:.1f} MB")
    return reasons


def size_of(entry: ModelEntry) -> int | None:
    """Returns the bytes of an entry's files, those of its first fold where it has folds; None where not all are known.

    Quantised copies beside an fp32 file are left out: one of them is used at a time.
    """
    first = next((w.fold.name for w in entry.weights if w.fold), None)
    files = [w for w in entry.weights if w.fold is None or w.fold.name == first]
    files = [w for w in files if w.precision == "fp32"] or files
    sizes = [w.size for w in files]
    return sum(s for s in sizes if s) if sizes and all(sizes) else None


def _of_score(score: Score | None, wish: Wish, protocol: ProtocolFile | None) -> list[str]:
    if wish.min_score is None:
        return []
    if score is None or score.estimate.value is None:
        return [f"no score under {protocol.ref if protocol else 'any protocol'}"]
    lower = protocol is not None and protocol.primary.metric in LOWER_IS_BETTER
    if score.estimate.value > wish.min_score if lower else score.estimate.value < wish.min_score:
        return [f"score {score.estimate.value:.3f} ({score.basis})"]
    return []


def _score(
    entry: ModelEntry, wish: Wish, protocol: ProtocolFile | None, evidence: _Evidence
) -> tuple[Score | None, list[str]]:
    """Returns a model's score: measured and held out, else published, else none; and what to know beside it."""
    if protocol is None:
        return None, []
    rows = [r for r in evidence.rows(protocol) if r.record.model.name == entry.name]
    notes = [
        f"{FLAG_TITLES[r.record.contamination]} on {protocol.dataset}: {interval(r.headline)}, not used"
        for r in rows
        if not r.ranked and r.record.contamination in ("in_sample", "identity_overlap") and r.headline.value is not None
    ]
    ranked = [r for r in rows if r.ranked and r.headline.value is not None]
    if ranked:
        # fp32 first: a result in another precision says less about the model.
        row = min(ranked, key=lambda r: (r.record.runtime.precision != "fp32", r.key))
        value = _on_labels(row, wish.labels) if wish.labels else row.headline
        if value.value is not None:
            return Score(value, "measured", f"record {row.path}"), notes
    best = of_model(entry.name, protocol.primary.metric, evidence.published(protocol))
    if best is None:
        return None, notes
    where = place(best.source, best.table)
    about = [where] + ([] if best.comparable.why == "same" else [f"protocol: {WHY_TITLES[best.comparable.why]}"])
    about += [{"other": "of other weights", "unknown": "weights not stated"}[best.weights]] if (
        best.weights in ("other", "unknown")
    ) else []  # fmt: skip
    reported = best.value
    if wish.labels:
        by_label = dict(best.by_label)
        if not all(x in by_label for x in wish.labels):
            about.append("over all labels")
        else:
            reported = sum(by_label[x] for x in wish.labels) / len(wish.labels)
    return Score(Estimate(value=reported), "reported", "; ".join(about)), notes


def _on_labels(row: Row, labels: Sequence[str]) -> Estimate:
    """Returns a row's mean over the labels asked for; with an interval where it is one label."""
    found = {x.label: x for x in row.score.per_label} if row.score else {}
    if not all(x in found and found[x].value is not None for x in labels):
        return row.headline
    if len(labels) == 1:
        one = found[labels[0]]
        return Estimate(value=one.value, low=one.low, high=one.high)
    return Estimate(value=sum(found[x].value or 0.0 for x in labels) / len(labels))


def _timings(
    entry: ModelEntry, wish: Wish, collections: Sequence[Collection], machine: str | None
) -> tuple[list[Timing], str | None]:
    """Returns the timings that meet the limits; else none, and why."""
    of_model = {t.path: t for c in collections for t in c.timings_of(entry, entry.name, wish.task)}
    asked = [
        t for t in of_model.values()
        if t.machine == machine
        and t.record.stage == wish.stage
        and t.record.scenario.name == wish.scenario
        and t.record.asked.device == wish.device
        and t.record.asked.variant == "eager"  # as zoo.predict runs it
        and wish.runtime in (None, t.record.asked.runtime)
        and wish.precision in (None, t.record.asked.precision)
        and wish.threads in (None, t.record.asked.threads)
    ]  # fmt: skip
    if not asked:
        if of_model:
            return [], "not timed on this machine, device, runtime and stage"
        failed = [t for c in collections for t in c.timings if t.record.model.name == entry.name and not t.usable]
        reasons = [r for t in failed for r in t.record.verdict.reasons]
        return [], f"not timed validly ({reasons[0]})" if reasons else "not timed"
    limits: list[tuple[str, float | None, Iterable[tuple[float | None, Timing]], bool, str]] = [
        ("latency", wish.max_latency_ms, [(_percentile(t, wish.percent), t) for t in asked], True, "ms"),
        ("rate", wish.min_fps, [(t.record.throughput.value if t.record.throughput else None, t) for t in asked], False,
         "images/s"),
        ("memory", wish.max_memory_mib, [(t.record.peak_rss_mib, t) for t in asked], True, "MiB"),
    ]  # fmt: skip
    left = asked
    for name, limit, values, below, unit in limits:
        if limit is None:
            continue
        known = [(v, t) for v, t in values if v is not None and t in left]
        passing = [t for v, t in known if (v <= limit if below else v >= limit)]
        if not passing:
            if not known:
                return [], f"{name} not recorded"
            best, which = (min if below else max)(known, key=lambda pair: pair[0])
            run_as = Candidate(entry, None, which).run_as
            return [], f"{name} at best {three_digits(best)} {unit} ({run_as})"
        left = passing
    return left, None


def _as_scored(timed: list[Timing], wish: Wish) -> tuple[list[Timing], list[str]]:
    """Leaves out other precisions than fp32 where fp32 meets the limits; what was asked for stays.

    Scores are those of fp32, and it needs no pictures of the user's to calibrate with.

    Returns:
        The timings that are left; a note about the fastest that was left out, where it is faster.
    """
    exact = [t for t in timed if t.record.asked.precision == "fp32"]
    if wish.precision or not exact:
        return timed, []

    def speed(timing: Timing) -> float:
        value = _percentile(timing, wish.percent)
        return float("inf") if value is None else value

    best = min(timed, key=lambda t: (speed(t), t.path))
    if best in exact or speed(best) >= min(map(speed, exact)):
        return exact, []
    asked = best.record.asked
    return exact, [f"{three_digits(speed(best))} ms in {asked.runtime} {asked.precision} (precision={asked.precision})"]


def _percentile(timing: Timing, percent: int) -> float | None:
    found = timing.record.percentile(percent)
    return found.value if found else None


def _timing_notes(timing: Timing | None, score: Score | None) -> list[str]:
    if timing is None:
        return []
    notes = []
    if timing.record.model.weights == "random":
        notes.append("timed as a structure with random weights")
    precision = timing.record.asked.precision
    if score and precision != "fp32":
        notes.append(f"the score is that of fp32; {precision} passed the comparison of outputs with it")
    return notes


def _pareto(
    fits: Sequence[Candidate], percent: int, lower: bool
) -> tuple[list[Candidate], list[tuple[Candidate, Candidate]], list[Candidate]]:
    sign = -1.0 if lower else 1.0

    def speed(c: Candidate) -> float:
        value = c.latency(percent).value
        return float("inf") if value is None else value

    def quality(c: Candidate) -> float:
        assert c.score is not None and c.score.estimate.value is not None  # scored ones only
        return sign * c.score.estimate.value

    scored = [c for c in fits if c.score is not None and c.score.estimate.value is not None]
    unscored = sorted((c for c in fits if c not in scored), key=lambda c: (speed(c), c.entry.name, c.run_as))
    front: list[Candidate] = []
    dominated: list[tuple[Candidate, Candidate]] = []
    for candidate in sorted(scored, key=lambda c: (-quality(c), speed(c), c.entry.name, c.run_as)):
        better = next((f for f in front if speed(f) <= speed(candidate)), None)
        if better is None:
            front.append(candidate)
        else:
            dominated.append((candidate, better))
    # One line a model: the way in which it is fastest.
    seen: set[str] = set()
    unscored = [c for c in unscored if not (c.entry.name in seen or seen.add(c.entry.name))]  # type: ignore[func-returns-value]
    return front, dominated, unscored


def _winner(
    front: Sequence[Candidate], unscored: Sequence[Candidate], percent: int, lower: bool
) -> tuple[Candidate | None, str]:
    if not front:
        if not unscored:
            return None, ""
        return unscored[0], "the fastest; nobody has a score of those that fit"
    best = front[0]
    assert best.score is not None
    worst_of_best = best.score.estimate.high if lower else best.score.estimate.low
    if worst_of_best is None:
        return best, f"the best {'measured' if best.score.basis == 'measured' else 'published'} score of those that fit"
    near = []
    for c in front:
        assert c.score is not None
        end = c.score.estimate.low if lower else c.score.estimate.high
        if end is not None and (end <= worst_of_best if lower else end >= worst_of_best):
            near.append(c)
    fastest = min(near, key=lambda c: c.latency(percent).value or float("inf"))
    if fastest is best:
        return best, "the best score of those that fit"
    return fastest, f"the fastest of those whose score is not told apart from the best ({best.entry.name})"


def commands(candidate: Candidate, wish: Wish, verbs: Container[str]) -> list[str]:
    """Returns the commands that fetch, export, run and time a candidate, as far as this version has them.

    Args:
        candidate: The model and how it is run.
        wish: What was asked.
        verbs: Verbs that exist.
    """
    name, chosen = candidate.entry.name, candidate.entry.selector
    fetch, bench = f"python -m zoo.fetch {chosen}", f"python -m zoo.bench suite=cpu {chosen}"
    predict = f"python -m zoo.predict {chosen} input=photo.jpg tasks={wish.task}"
    export = None
    if candidate.timing:
        asked = candidate.timing.record.asked
        how = f"runtime={asked.runtime}" + (f" precision={asked.precision}" if asked.precision != "fp32" else "")
        run = f"{how} device={asked.device}" if asked.device != "cpu" else how
        predict += f" {run} threads={asked.threads}"
        if asked.runtime != "torch" and asked.precision in ("fp32", "bf16", "int8"):
            made = f"{name}-{asked.runtime}-{asked.precision}"  # the name that zoo.export gives
            calibrate = " calibrate=my-faces/" if asked.precision == "int8" else ""
            export = f"python -m zoo.export {chosen} {how}{calibrate} out={made}"
            if asked.precision == "int8" and "export" in verbs:  # there is no such file before
                predict = (
                    f"python -m zoo.predict registry={made}/registry.yaml model={made} input=photo.jpg "
                    f"tasks={wish.task} {run} threads={asked.threads}"
                )
    found = [fetch, *([export] if export and "export" in verbs else []), predict]
    return found + ([bench] if "bench" in verbs and wish.device == "cpu" else [])


def headline(recommendation: Recommendation) -> str:
    """Returns the name of the score's metric."""
    protocol = recommendation.protocol
    return METRIC_TITLES[protocol.primary.metric] if protocol else "score"
