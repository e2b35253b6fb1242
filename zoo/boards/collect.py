"""What boards are drawn from: the records of a folder, its errata, the published figures and the registry.

Every record is somewhere: as a row of a board, among the earlier ones of a row, or among the superseded ones. A
record that belongs nowhere is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from zoo._util.files import content_hash
from zoo.boards.published import Beside, Published, beside, published_for
from zoo.boards.text import FLAG_TITLES, LOWER_IS_BETTER
from zoo.errors import RecordError, UnknownNameError
from zoo.protocols import list_protocols, load_protocol
from zoo.protocols.schema import ProtocolFile
from zoo.registry import ModelEntry, Registry, load_registry
from zoo.results.errata import Erratum, read_errata
from zoo.results.latency_record import LatencyRecord
from zoo.results.record import Environment, Estimate, MetricScore, ResultRecord
from zoo.results.reported import ReportedFile, load_reported
from zoo.results.store import read_all_records


@dataclass(frozen=True)
class Rank:
    """A place among the ranked models and the places that the intervals leave open.

    Attributes:
        place: 1 for the best value; equal values share a place.
        best: 1 + the models whose interval lies wholly above.
        worst: All models but those whose interval lies wholly below.
    """

    place: int
    best: int
    worst: int

    @property
    def text(self) -> str:
        """``2 (1–4)``; the place alone where no other is open."""
        return f"{self.place}" if self.best == self.worst else f"{self.place} ({self.best}–{self.worst})"


@dataclass(frozen=True)
class Row:
    """One record on a board."""

    path: str
    """Of the record, relative to the boards' folder."""
    record: ResultRecord
    protocol: ProtocolFile
    entry: ModelEntry | None = None
    """The model as the registry has it now; None for a model that it does not have."""
    erratum: Erratum | None = None
    beside: Beside | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a row of its own: model, runtime, precision, device, checkpoint, how the dataset was read."""
        used = self.record.runtime
        options = sorted(f"{k}={v}" for k, v in self.record.dataset.options.items())
        options += [f"fold={self.checkpoint}"] if self.checkpoint else []
        return self.record.model.name, used.runtime, used.precision, used.device, ",".join(options)

    @property
    def checkpoint(self) -> str | None:
        """The one fold's checkpoint that was used for everybody, if one was."""
        folds = {w.fold for w in self.record.model.weights}
        return next(iter(folds)) if len(folds) == 1 and len(self.protocol.folds) != 1 else None

    @property
    def score(self) -> MetricScore | None:
        """The primary metric under the primary aggregation."""
        return self.record.score(self.protocol.primary.metric, self.protocol.primary.aggregation)

    @property
    def tuned(self) -> MetricScore | None:
        """The primary metric with thresholds chosen on the other folds' people; never ranked."""
        primary = self.protocol.primary
        for score in self.record.tuned.scores if self.record.tuned else ():
            if (score.metric, score.aggregation) == (primary.metric, primary.aggregation):
                return score
        return None

    @property
    def headline(self) -> Estimate:
        """The value that is ranked: over every label of the protocol, those that the model lacks counted as 0."""
        score = self.score
        if score is None:
            return Estimate(value=None)
        return score.mean_missing_zero if self.record.model.missing_labels and score.mean_missing_zero else score.mean

    @property
    def status(self) -> str:
        """The entry's status now; the record's where the registry does not have the model."""
        return self.entry.status if self.entry else self.record.model.status

    @property
    def size(self) -> int | None:
        """Bytes of the weights files that were used; None where the registry does not say."""
        if self.entry is None:
            return None
        known = {w.name: w.size for w in self.entry.weights}
        sizes = [known.get(w.name) for w in self.record.model.weights]
        return sum(s for s in sizes if s) if sizes and all(sizes) else None

    @property
    def read_as(self) -> str:
        """How the dataset was read and the task was done, in words: ``left`` for ``camera=left``."""
        parts = [self.record.dataset.options[k] for k in sorted(self.record.dataset.options)]
        parts += [f"checkpoint of fold {self.checkpoint}"] if self.checkpoint else []
        parts += [f"from {self.record.model.derived}"] if self.record.model.derived else []
        return ", ".join(parts)

    @property
    def ranked(self) -> bool:
        """Held-out, on a whole copy of real data, with the code and the entry as they are committed."""
        return not self.why_not_ranked

    @property
    def why_not_ranked(self) -> str:
        """The reasons, in words."""
        record, data = self.record, self.record.dataset
        reasons = []
        if data.synthetic:
            reasons.append("rendered faces")
        if record.contamination != "held_out":
            reasons.append(f"training data: {FLAG_TITLES[record.contamination]}")
        if not data.complete:
            reasons.append("incomplete copy")
        audit = record.label_audit
        if audit and audit.beaten:
            reasons.append(f"label order in doubt (that of {audit.order_of} fits better)")
        if record.code.dirty:
            reasons.append("measured with uncommitted code")
        if self.entry and self.entry.contract_hash != record.model.contract:
            reasons.append("the entry has changed since")
        if record.model.missing_labels and self.protocol.primary.metric in LOWER_IS_BETTER:
            reasons.append(f"lacks {', '.join(record.model.missing_labels)}")
        return ", ".join(reasons)


@dataclass(frozen=True)
class Board:
    """Everything about one protocol."""

    protocol: ProtocolFile
    rows: tuple[Row, ...] = ()
    """The newest record of each row, ranked ones first, best first."""
    earlier: tuple[Row, ...] = ()
    """Records that a newer one of the same row has replaced, newest first."""
    superseded: tuple[Row, ...] = ()
    """Records that errata strike out, newest first."""
    published: tuple[Published, ...] = ()

    @property
    def name(self) -> str:
        """File name without suffix."""
        return self.protocol.ref

    @property
    def everything(self) -> tuple[Row, ...]:
        """Every record of the protocol."""
        return self.rows + self.earlier + self.superseded

    @property
    def alone(self) -> tuple[Published, ...]:
        """Published figures that stand beside no measured row."""
        shown = {id(r.beside.published) for r in self.rows if r.beside}
        return tuple(p for p in self.published if id(p) not in shown)

    @cached_property
    def ranks(self) -> dict[tuple[str, ...], Rank]:
        """Rank of each ranked row with a value, by its key.

        Models are counted, not rows: a model in two precisions takes no place from the others. Intervals that do not
        overlap decide; that is careful, for a paired comparison (``zoo.compare``) tells closer models apart.
        """
        sign = -1.0 if self.protocol.primary.metric in LOWER_IS_BETTER else 1.0
        spans: dict[tuple[str, ...], tuple[float, float, float]] = {}
        for row in self.rows:
            found = row.headline
            if not row.ranked or found.value is None:
                continue
            ends = (found.low, found.high)
            low, high = sorted(sign * e for e in ends if e is not None) if None not in ends else (-1e9, 1e9)
            spans[row.key] = sign * found.value, low, high
        models = {key[0] for key in spans}
        ranks = {}
        for key, (value, low, high) in spans.items():
            above, surely_above, surely_below = set(), set(), set()
            for model in models - {key[0]}:
                theirs = [span for k, span in spans.items() if k[0] == model]
                if any(v > value for v, _, _ in theirs):
                    above.add(model)
                if any(lower > high for _, lower, _ in theirs):
                    surely_above.add(model)
                if all(upper < low for _, _, upper in theirs):
                    surely_below.add(model)
            ranks[key] = Rank(1 + len(above), 1 + len(surely_above), len(models) - len(surely_below))
        return ranks

    @cached_property
    def shared_labels(self) -> tuple[str, ...]:
        """Labels that every ranked model gives, where some model lacks one; empty where all give all."""
        rows = [r for r in self.rows if r.ranked]
        lacking = {x for r in rows for x in r.record.model.missing_labels}
        return tuple(x for x in self.protocol.labels if x not in lacking) if lacking else ()

    def on_shared(self, row: Row) -> float | None:
        """Returns a row's mean over :attr:`shared_labels`; undefined values count as 0, as in the headline."""
        score = row.score
        if score is None or not self.shared_labels:
            return None
        values = {x.label: x.value for x in score.per_label}
        if not set(self.shared_labels) <= set(values):
            return None
        return sum(values[x] or 0.0 for x in self.shared_labels) / len(self.shared_labels)


def machine_title(about: Environment, device: str) -> str:
    """Writes which machine something was timed on: ``Intel(R) Xeon(R) ... @ 2.60GHz, 2 cores, 8 GiB (m-3f2a91)``.

    Clouds give processors of several generations one name; the code at the end is a hash of what tells machines apart
    (instruction sets, cores, quota, memory, GPU). It names a kind of machine, nobody's own.

    Args:
        about: The environment of a record.
        device: What was timed; the GPU belongs to the machine where it was used.
    """
    gpu = about.gpu if device != "cpu" else None
    memory = round(about.memory_gib)
    facts = [
        about.machine, about.cpu, sorted(about.cpu_flags), about.cores_machine, about.cores_usable, about.quota, memory,
        gpu,
    ]  # fmt: skip
    cores = f"{about.cores_usable} core{'' if about.cores_usable == 1 else 's'}"
    words = [about.cpu, cores, f"{memory} GiB", *([gpu] if gpu else [])]
    return f"{', '.join(words)} (m-{content_hash(facts)[:6]})"


@dataclass(frozen=True)
class Timing:
    """One latency record."""

    path: str
    record: LatencyRecord
    erratum: Erratum | None = None

    @property
    def machine(self) -> str:
        """The machine, in words: see :func:`machine_title`."""
        return machine_title(self.record.environment, self.record.asked.device)

    @property
    def machine_code(self) -> str:
        """The code at the end of :attr:`machine`: ``m-3f2a91``."""
        return self.machine.rsplit("(", 1)[1].rstrip(")")

    @property
    def key(self) -> tuple[object, ...]:
        """What a newer record replaces."""
        record = self.record
        return (
            record.model.name, record.model.weights, record.model.tasks, record.stage, record.scenario.name,
            record.scenario.batch, record.scenario.fps, record.asked, self.machine, record.suite.ref,
        )  # fmt: skip

    @property
    def usable(self) -> bool:
        """Whether its figures may be used."""
        return self.record.verdict.valid and self.erratum is None

    @property
    def median(self) -> Estimate:
        """Half of the queries are answered within so many milliseconds."""
        found = self.record.percentile(50)
        return Estimate(value=found.value, low=found.low, high=found.high) if found else Estimate(value=None)


@dataclass(frozen=True)
class Collection:
    """Everything that boards are drawn from."""

    out: Path
    boards: tuple[Board, ...]
    timings: tuple[Timing, ...]
    """Newest of each case first come; older and superseded ones too."""
    reported: tuple[ReportedFile, ...]
    registry: Registry
    project: bool
    """Whether the folder has published figures of its own, as the project's does: boards for them are drawn too."""
    errata: dict[str, Erratum] = field(default_factory=dict)

    @cached_property
    def newest_timings(self) -> tuple[Timing, ...]:
        """The newest usable record of each case."""
        newest: dict[tuple[object, ...], Timing] = {}
        for timing in self.timings:
            if not timing.usable:
                continue
            old = newest.get(timing.key)
            if old is None or timing.record.created >= old.record.created:
                newest[timing.key] = timing
        return tuple(newest.values())

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """Machines with usable timings, the one with most of them first."""
        names = [t.machine for t in self.newest_timings]
        return tuple(sorted(set(names), key=lambda n: (-names.count(n), n)))

    @cached_property
    def _by_model(self) -> dict[tuple[str, str], list[Timing]]:
        """The newest usable timings by ("published", model) and ("random", architecture)."""
        found: dict[tuple[str, str], list[Timing]] = {}
        for timing in self.newest_timings:
            model = timing.record.model
            key = ("published", model.name) if model.weights == "published" else ("random", model.architecture)
            found.setdefault(key, []).append(timing)
        return found

    def timings_of(self, entry: ModelEntry | None, name: str, task: str | None = None) -> list[Timing]:
        """Returns the newest usable timings of a model: of its own files, else of its structure with random weights.

        Those of a structure count for pictures of the model's size.

        Args:
            entry: The model as the registry has it.
            name: Its name.
            task: Only timings that do this task; those that do least besides it come first.
        """
        own = self._by_model.get(("published", name), [])
        if entry:
            own = [t for t in own if t.record.model.contract in (None, entry.contract_hash)]
        if task:
            own = [t for t in own if not t.record.model.tasks or task in t.record.model.tasks]
        if not own and entry:
            sides = entry.preprocess.size if entry.preprocess else None
            own = [
                t for t in self._by_model.get(("random", entry.architecture), [])
                if sides in (None, t.record.model.input[:2])  # a larger picture takes longer
            ]  # fmt: skip
        return sorted(own, key=lambda t: (len(t.record.model.tasks), t.path))

    def single_stream(self, row: Row, machine: str) -> Timing | None:
        """Returns the timing of a row's latency column: one picture at a time, one thread, the network alone."""
        used = row.record.runtime
        for timing in self.timings_of(row.entry, row.record.model.name, row.record.task):
            record = timing.record
            asked = (record.asked.runtime, record.asked.precision, record.asked.device)
            if (
                timing.machine == machine
                and record.scenario.name == "SingleStream"
                and record.stage == "encoder"
                and record.asked.threads == 1
                and record.asked.variant == "eager"
                and asked == (used.runtime, used.precision, used.device)
            ):
                return timing
        return None


def collect(out: Path, *, registry: Registry | None = None) -> Collection:
    """Reads everything under a folder of boards.

    Args:
        out: Folder with ``results/`` in it, and maybe ``errata.yaml`` and ``reported/``.
        registry: Where models' parameters, licences and contracts come from; the zoo's when not given.

    Raises:
        RecordError: A record does not hold together, belongs to a protocol that is unknown or has changed, or would
            be on no board.
        RegistryError: ``errata.yaml`` or a file of published figures is not valid.
    """
    registry = registry or load_registry()
    project = (out / "reported").is_dir()
    reported = tuple(load_reported(out / "reported" if project else None))
    errata = read_errata(out)
    rows: dict[str, list[Row]] = {}
    timings: list[Timing] = []
    protocols: dict[str, ProtocolFile] = {}
    for path, record in read_all_records(out):
        name = path.relative_to(out).as_posix()
        if isinstance(record, LatencyRecord):
            timings.append(Timing(name, record, errata.get(name)))
            continue
        ref = record.protocol.ref
        if ref not in protocols:
            protocols[ref] = _protocol(ref, name)
        if protocols[ref].hash != record.protocol.hash:
            raise RecordError(
                f"'{name}' was measured under another text of {ref}",
                why="the protocol file changed without a new version",
                fix="give the changed protocol a new version number",
            )
        entry = registry.entries.get(record.model.name)
        rows.setdefault(ref, []).append(Row(name, record, protocols[ref], entry, errata.get(name)))
    published = {ref: published_for(p, reported) for ref, p in protocols.items()}
    if project:
        for protocol in {p.id: p for p in list_protocols()}.values():  # the newest version of each
            if found := published_for(protocol, reported):
                protocols.setdefault(protocol.ref, protocol)
                published[protocol.ref] = found
    boards = [_board(protocols[ref], rows.get(ref, []), published[ref]) for ref in sorted(protocols)]
    collection = Collection(out, tuple(boards), tuple(timings), reported, registry, project, errata)
    _nothing_lost(collection, {r.path for found in rows.values() for r in found} | {t.path for t in timings})
    return collection


def _protocol(ref: str, record: str) -> ProtocolFile:
    try:
        return load_protocol(ref)
    except UnknownNameError as error:
        raise RecordError(
            f"'{record}' would be on no board: there is no protocol {ref}", where=record, why=error.what, fix=error.fix
        ) from None


def _board(protocol: ProtocolFile, rows: Iterable[Row], published: Sequence[Published]) -> Board:
    by_age = sorted(rows, key=lambda r: (r.record.created, r.path), reverse=True)
    newest: dict[tuple[str, ...], Row] = {}
    earlier, superseded = [], []
    for row in by_age:
        if row.erratum:
            superseded.append(row)
        elif row.key in newest:
            earlier.append(row)
        else:
            with_figure = beside(row.record, protocol, published)
            newest[row.key] = Row(row.path, row.record, protocol, row.entry, None, with_figure)
    return Board(protocol, _sorted(protocol, newest.values()), tuple(earlier), tuple(superseded), tuple(published))


def _sorted(protocol: ProtocolFile, rows: Iterable[Row]) -> tuple[Row, ...]:
    sign = 1 if protocol.primary.metric in LOWER_IS_BETTER else -1

    def order(row: Row) -> tuple[bool, float, tuple[str, ...]]:
        value = row.headline.value
        return not row.ranked, float("inf") if value is None else sign * value, row.key

    return tuple(sorted(rows, key=order))


def _nothing_lost(collection: Collection, paths: set[str]) -> None:
    """Refuses a collection that would leave a record out."""
    shown = {r.path for b in collection.boards for r in b.everything} | {t.path for t in collection.timings}
    if lost := sorted(paths - shown):
        raise RecordError(f"{len(lost)} records would be on no board", why=", ".join(lost))
    if strange := sorted(set(collection.errata) - paths):
        raise RecordError(f"errata name what is no record: {', '.join(strange)}")
