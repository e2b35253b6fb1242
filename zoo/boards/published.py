"""Published figures beside ours: the same scale, the gap, and the reason for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from zoo.boards.text import METRIC_TITLES
from zoo.protocols.schema import ProtocolFile
from zoo.registry import ModelEntry
from zoo.results.record import Estimate, ResultRecord
from zoo.results.reported import Comparison, Figure, ReportedFile, Source, figures

GapCode = Literal[
    "reproduced", "outside", "no-interval", "protocol-differs", "in-sample", "incomplete", "weights-unavailable",
    "weights-uncertain", "not-run", "no-entry",
]  # fmt: skip

GAP_TITLES: dict[GapCode, str] = {
    "reproduced": "reproduced within interval",
    "outside": "outside our interval",
    "no-interval": "no interval",
    "protocol-differs": "protocol differs",
    "in-sample": "in-sample weights",
    "incomplete": "incomplete copy",
    "weights-unavailable": "weights unavailable",
    "weights-uncertain": "weights not certain",
    "not-run": "not yet run",
    "no-entry": "not in the registry",
}

WHY_TITLES = {
    "same": "same protocol",
    "folds-unpublished": "folds not published",
    "other-subset": "other subset",
    "other-split": "other split",
    "other-metric": "other metric",
    "other-threshold": "other threshold",
    "other-rule": "other rule for missed faces or classes",
    "cleaned-set": "cleaned test set",
    "in-sample": "in-sample",
    "not-stated": "not stated",
    "no-protocol": "no protocol here",
}

# What a printed unit is worth on the scale of our metrics; other units are no scores.
_SCALE = {"fraction": 1.0, "percent": 0.01, "intensity": 1.0, "intensity-squared": 1.0}


@dataclass(frozen=True)
class Published:
    """One published score over all labels of a protocol.

    Attributes:
        file: Name of the file under ``reported/``.
        source: Who published it.
        table: Its table there.
        system: As printed, with the variant.
        entry: The registry's model, if it is one's figure.
        weights: What the entry's weights have to do with it.
        metric: Name of the metric.
        value: On the scale of our metrics.
        half: Half a unit of the last printed digit, on that scale.
        comparable: In how far a figure measured here means the same.
        computed: The source prints values by label only; the mean is ours.
        doubtful: The number may be wrong, or contradicts its own row.
        note: What the file says about the row.
        by_label: Values of the same metric by AU, class or affect dimension, where the row prints them.
    """

    file: str
    source: Source
    table: str
    system: str
    entry: str | None
    weights: str | None
    metric: str
    value: float
    half: float
    comparable: Comparison
    computed: bool
    doubtful: bool
    note: str | None
    by_label: tuple[tuple[str, float], ...] = ()

    @property
    def decimals(self) -> int:
        """Decimals that the printed digits are worth on our scale."""
        return max(1, len(f"{2 * self.half:.6f}".rstrip("0").partition(".")[2]))

    @property
    def text(self) -> str:
        """The value with as many digits as were printed."""
        return f"{self.value:.{self.decimals}f}" + ("*" if self.computed else "") + ("?" if self.doubtful else "")


def source_name(source: Source) -> str:
    """Returns a source in a few words: ``Chang et al. 2023``, or the title of what is no paper."""
    if source.kind in ("paper", "preprint") and source.authors:
        return f"{source.authors} {source.year}" if source.year else source.authors
    return source.title


def place(source: Source, table: str) -> str:
    """Returns where a figure stands: ``Chang et al. 2023, Table 3``; a repository's name is not said twice."""
    name = source_name(source)
    return table if name.rpartition("/")[2].lower() in table.lower() else f"{name}, {table}"


def source_link(source: Source) -> str | None:
    """Returns where a source is."""
    return source.url or (f"https://arxiv.org/abs/{source.arxiv}" if source.arxiv else None)


@dataclass(frozen=True)
class Beside:
    """A published figure beside a measured row.

    Attributes:
        published: The figure.
        gap: Ours minus theirs; None where ours is undefined.
        code: Why there is a gap, or that there is none to speak of.
    """

    published: Published
    gap: float | None
    code: GapCode


def scaled(figure: Figure) -> tuple[float, float] | None:
    """Returns value and half a printed digit on the scale of our metrics; None for what is no score of ours."""
    if figure.metric not in METRIC_TITLES or figure.unit not in _SCALE:
        return None
    scale = _SCALE[figure.unit]
    exponent = figure.value.as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    return float(figure.value) * scale, float(Decimal(5).scaleb(exponent - 1)) * scale


def published_for(protocol: ProtocolFile, files: Iterable[ReportedFile]) -> list[Published]:
    """Returns the published scores over all labels whose nearest protocol this is, in the order of the sources.

    Where a row gives values for every label of the protocol and no mean, the mean is taken here and marked as ours.
    """
    rows: dict[tuple[str, str, str, str], list[Figure]] = {}
    for file in files:
        for figure in figures(file):
            if figure.comparable.protocol == protocol.id and scaled(figure):
                # A row may print several metrics, and two columns of one that mean different things.
                rows.setdefault((figure.file, figure.table, _system(figure), figure.metric), []).append(figure)
    found = []
    for members in rows.values():
        whole = [f for f in members if f.label is None]
        labelled = {f.label: f for f in members if f.label is not None}
        by_label = tuple((x, _scaled(labelled[x])[0]) for x in protocol.labels if x in labelled)
        if whole:
            found += [_published(f, *_scaled(f), by_label, column=len(whole) > 1) for f in whole]
        elif set(protocol.labels) <= set(labelled):
            chosen = [labelled[x] for x in protocol.labels]
            values = [_scaled(f) for f in chosen]
            mean, half = (sum(v[i] for v in values) / len(values) for i in (0, 1))
            found.append(_published(chosen[0], mean, half, by_label, computed=True))
    return found


def _scaled(figure: Figure) -> tuple[float, float]:
    found = scaled(figure)
    assert found is not None  # filtered before
    return found


def _system(figure: Figure) -> str:
    return figure.system + (f" ({figure.variant})" if figure.variant else "")


def _published(
    figure: Figure,
    value: float,
    half: float,
    by_label: tuple[tuple[str, float], ...],
    *,
    computed: bool = False,
    column: bool = False,
) -> Published:
    return Published(
        file=figure.file, source=figure.source, table=figure.table,
        system=_system(figure) + (f", {figure.column}" if column else ""), entry=figure.entry, weights=figure.weights,
        metric=figure.metric, value=value, half=half, comparable=figure.comparable, computed=computed,
        doubtful=figure.uncertain or not figure.adds_up, note=figure.note, by_label=by_label,
    )  # fmt: skip


_WEIGHTS_ORDER = {"same": 0, "unknown": 1, "other": 2, "features": 3}


def beside(record: ResultRecord, protocol: ProtocolFile, published: Sequence[Published]) -> Beside | None:
    """Returns the published figure that says most about a record, with the gap and its reason.

    An in-sample result is put beside an in-sample figure where there is one, and a held-out result beside any other.
    Among these, figures of the very weights come first, then those whose protocol means the same.
    """
    mine = [p for p in published if p.entry == record.model.name and p.metric == protocol.primary.metric]
    if not mine:
        return None
    seen = record.contamination == "in_sample"

    def order(p: Published) -> tuple[int, bool, bool, bool, bool]:
        why = p.comparable.why
        return (
            _WEIGHTS_ORDER[p.weights or "unknown"],
            (why == "in-sample") != seen,
            why != "same",
            p.doubtful,
            p.computed,
        )

    best = min(mine, key=order)
    score = record.score(protocol.primary.metric, protocol.primary.aggregation)
    ours = score.mean if score else Estimate(value=None)
    return Beside(best, None if ours.value is None else ours.value - best.value, _code(record, ours, best))


def evidence(name: str, metric: str, published: Iterable[Published]) -> Published | None:
    """Returns the published figure that says most about what a model does on new people.

    Figures of a head that others trained on a model's features, and in-sample ones, say nothing of it.
    """
    mine = [
        p for p in published
        if p.entry == name and p.metric == metric and p.weights != "features" and p.comparable.why != "in-sample"
    ]  # fmt: skip

    def order(p: Published) -> tuple[int, bool, bool, bool]:
        return _WEIGHTS_ORDER[p.weights or "unknown"], p.comparable.why != "same", p.doubtful, p.computed

    return min(mine, key=order, default=None)


def _code(record: ResultRecord, ours: Estimate, theirs: Published) -> GapCode:
    seen, why = record.contamination == "in_sample", theirs.comparable.why
    if theirs.weights in ("other", "features"):
        return "weights-unavailable"
    if seen and why != "in-sample":
        return "in-sample"
    if why != "same" and not (seen and why == "in-sample"):
        return "protocol-differs"
    if not record.dataset.complete:
        return "incomplete"
    if ours.low is None or ours.high is None:
        return "no-interval"
    if ours.low - theirs.half <= theirs.value <= ours.high + theirs.half:
        return "reproduced"
    return "weights-uncertain" if theirs.weights == "unknown" else "outside"


def not_measured(published: Published, entry: ModelEntry | None) -> GapCode:
    """Says why a published figure stands alone.

    Args:
        published: The figure.
        entry: The registry's model of that name; None where it has none.
    """
    if entry is None:
        return "no-entry"
    if entry.status == "reported-only" or published.weights in ("other", "features"):
        return "weights-unavailable"
    return "not-run"
