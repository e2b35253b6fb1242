"""Figures that others have published: data with a citation, never mixed with what was measured here.

The files are in ``leaderboards/reported``. They carry numbers over digit for digit and say for each table what its
authors did, in how far a figure measured here means the same, and which rows do not add up in the source itself.

Example:
    >>> from zoo.results.reported import load_reported
    >>> paper = next(f for f in load_reported() if f.name == "libreface-2023")
    >>> paper.table("Table 3").row("LibreFace (Ours)").average
    Decimal('0.63')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from zoo._util.files import resource
from zoo._util.validation import explain, load_yaml
from zoo.errors import RegistryError, UnknownNameError
from zoo.protocols.schema import MetricName
from zoo.registry.labels import AFFECT, AU_LABELS, EXPRESSIONS
from zoo.registry.schema import NAME, Frozen, Reference

Metric = Literal[
    MetricName,
    "average_precision",  # of face detection
    "landmark_error",  # root mean squared distance over the interocular distance
    "angular_error",  # of gaze
    "uar",  # unweighted average recall
    "p_va",  # ABAW: mean CCC of valence and arousal
    "p_mtl",  # ABAW: macro-F1 of expressions + mean CCC + mean F1 of AUs
    "loss",
    "seconds",
    "seconds_std",
    "ms",
    "ms_std",
    "fps",
    "file_size",
    "parameters",
    "flops",
    "macs",
    "samples",
    "labels",
]
"""The zoo's own metrics, and what else is found in published tables."""

Unit = Literal[
    "fraction", "percent", "intensity", "intensity-squared", "degrees", "score", "s", "ms", "fps", "MB", "million", "G",
    "count",
]  # fmt: skip
"""``fraction``: a share or a coefficient, 1 at best. ``intensity``: points of the 0..5 scale. ``score``: a sum of
metrics, or a loss. ``G``: 10^9 operations."""

Why = Literal[
    "same",
    "folds-unpublished",
    "other-subset",
    "other-split",
    "other-metric",
    "other-threshold",
    "other-rule",
    "cleaned-set",
    "in-sample",
    "not-stated",
    "no-protocol",
]
"""Whether a figure measured here under the protocol named means what the table means.

``same``: yes, as far as the source says. ``folds-unpublished``: same recipe, but the subject lists are not public.
``other-subset``: other frames, images or labels. ``other-split``: a split of their own. ``other-metric``: another
metric. ``other-threshold``: presence is decided elsewhere, in the truth or the prediction. ``other-rule``: another rule
for faces that were not found or for classes that a model lacks. ``cleaned-set``: images with doubtful labels taken out.
``in-sample``: the model has seen the people or images. ``not-stated``: the source leaves open what decides it.
``no-protocol``: nothing here measures this."""

Check = Literal["average", "mse-below-mae-squared", "rate"]
"""What can be recomputed from a row alone: the mean or sum that it prints; that a mean squared error is never below the
square of the mean absolute error (Jensen's inequality, which also holds after averaging over AUs and folds); and that
images over seconds is the frame rate."""

Number = Annotated[Decimal, Field(allow_inf_nan=False)]
"""Digit for digit as printed: ``Decimal("0.60")`` keeps its last zero."""


class Source(Reference):
    """Who published a figure, and what was read of it."""

    kind: Literal["paper", "preprint", "repository", "model-card", "package-page", "issue"]
    authors: str | None = None
    """First author, with "et al." for more."""
    revision: str | None = None
    """Commit, version or date of what was read."""
    read_from: str
    """What the numbers were taken from: the text of the paper, a file of the repository, a note of the page."""


class Comparison(Frozen):
    """In how far a figure measured here means the same."""

    protocol: str | None = Field(default=None, pattern=NAME)
    """The nearest protocol of the zoo, without its version."""
    why: Why
    text: str
    """What differs, in words."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Comparison:
        if (self.why == "no-protocol") != (self.protocol is None):
            raise ValueError("name the nearest protocol, or give 'no-protocol' as the reason why there is none")
        return self


class Column(Frozen):
    """One column of numbers. A plain name stands for a column that has nothing of its own."""

    name: str = Field(pattern=r"^((L-|R-)?AU\d\d|[a-z0-9][a-z0-9.-]*)$")
    """AU, class or affect dimension in the zoo's spelling; otherwise a short name."""
    title: str | None = None
    """The header as printed, where it says more."""
    metric: Metric | None = None
    unit: Unit | None = None
    comparable: Comparison | None = None

    @field_validator("name")
    @classmethod
    def _known_au(cls, name: str) -> str:
        if "AU" in name and name not in AU_LABELS:
            raise ValueError(f"'{name}' is no action unit")
        return name

    @property
    def label(self) -> str | None:
        """The AU, class or affect dimension that the column is about, if it is about one."""
        return self.name if self.name in AU_LABELS or self.name in EXPRESSIONS or self.name in AFFECT else None


def _column(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class AverageColumn(Column):
    """The column that sums a row up."""

    name: Literal["average"] = "average"
    of: Literal["mean", "sum"] = "mean"


class Discrepancy(Frozen):
    """A row that contradicts itself in the source."""

    check: Check
    printed: Number
    computed: Number
    """From the row's other numbers, to four decimals."""


class Row(Frozen):
    """One row of a table."""

    system: str
    """As printed."""
    variant: str | None = None
    """Second column of the source: setting, method, data set."""
    entry: str | None = Field(default=None, pattern=NAME)
    """The registry's model that this is a figure of."""
    weights: Literal["same", "other", "features", "unknown"] | None = None
    """What the entry's weights have to do with it. ``same``: it is theirs. ``other``: the same structure and recipe,
    other weights (those of cross-validation, an earlier revision). ``features``: a head was trained on their features.
    ``unknown``: the source does not say."""
    values: tuple[Number | None, ...]
    """One a column; null where the source prints none."""
    average: Number | None = None
    missing: Literal["skipped", "zero"] = "skipped"
    """What the printed average does with empty cells."""
    source_of_row: str | None = None
    """Where the source has the row from, if it is not its own."""
    uncertain: bool = False
    """The number may be wrong: an unclear reading, an approximate figure, a claim without a document."""
    note: str | None = None
    does_not_add_up: tuple[Discrepancy, ...] = ()
    """What :func:`discrepancies` finds; a row that hides one is refused."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Row:
        if (self.entry is None) != (self.weights is None):
            raise ValueError("entry and weights belong together")
        if self.uncertain and not self.note:
            raise ValueError("say in note what is uncertain")
        return self


class ReportedTable(Frozen):
    """One table of a source."""

    table: str
    """Its number or name there: ``Table 3``, ``README``."""
    title: str
    protocol_as_stated: str
    """What the authors say that they did, in our words."""
    comparable: Comparison
    """Of every column that has none of its own."""
    metric: Metric | None = None
    """Of every column that has none of its own."""
    unit: Unit | None = None
    columns: tuple[Annotated[Column, BeforeValidator(_column)], ...]
    average: AverageColumn | None = None
    transposed: bool = False
    """The source has the columns as rows."""
    items: int | None = Field(default=None, gt=0)
    """Images or frames in one timed round, where seconds and frames a second are both printed."""
    shape: tuple[int, int]
    """Rows and columns of numbers, the average included: counted in the source, not here."""
    numbers: int
    """Cells of it that hold a number."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What is odd about the table: contradictions, unclear readings."""
    source: Source | None = None
    """Where the file's own source does not hold."""

    @model_validator(mode="after")
    def _hangs_together(self) -> ReportedTable:
        if not self.columns or not self.rows:
            raise ValueError("a table needs columns and rows")
        names = [c.name for c in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("a column occurs twice")
        for column in self.all_columns:
            if not (column.metric or self.metric) or not (column.unit or self.unit):
                raise ValueError(f"column '{column.name}' has no metric or no unit")
        seen = set()
        for row in self.rows:
            name = f"'{row.system}'" + (f" ({row.variant})" if row.variant else "")
            if len(row.values) != len(self.columns):
                raise ValueError(f"row {name} has {len(row.values)} values for {len(self.columns)} columns")
            if row.average is not None and self.average is None:
                raise ValueError(f"row {name} has an average, the table has no such column")
            if (row.system, row.variant) in seen:
                raise ValueError(f"row {name} occurs twice")
            seen.add((row.system, row.variant))
            if (found := discrepancies(self, row)) != row.does_not_add_up:
                listed = "; ".join(f"{d.check}: printed {d.printed}, computed {d.computed}" for d in found)
                raise ValueError(f"row {name}: does_not_add_up has to be {f'[{listed}]' if found else 'empty'}")
        shape = len(self.rows), len(self.all_columns)
        numbers = sum(v is not None for row in self.rows for v in (*row.values, row.average))
        if (shape, numbers) != (self.shape, self.numbers):
            raise ValueError(
                f"the source shows {self.shape[0]} x {self.shape[1]} with {self.numbers} numbers, "
                f"the file holds {shape[0]} x {shape[1]} with {numbers}"
            )
        return self

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns and, last, the average."""
        return (*self.columns, self.average) if self.average else self.columns

    def row(self, system: str, variant: str | None = None) -> Row:
        """Returns a row.

        Raises:
            UnknownNameError: There is none of that name.
        """
        for row in self.rows:
            if (row.system, row.variant) == (system, variant):
                return row
        raise UnknownNameError("row", system, [r.system for r in self.rows], where=self.table)


class ReportedFile(Frozen):
    """All tables of one source, or of a group of small ones."""

    schema_version: Literal[1]
    name: str = Field(pattern=NAME)
    """File name without suffix."""
    source: Source | None = None
    """Of every table that has none of its own."""
    tables: tuple[ReportedTable, ...]

    @model_validator(mode="after")
    def _hangs_together(self) -> ReportedFile:
        if not self.tables:
            raise ValueError("the file has no tables")
        seen = set()
        for table in self.tables:
            if not (table.source or self.source):
                raise ValueError(f"{table.table}: no source, neither here nor in the table")
            if table.table in seen:
                raise ValueError(f"the name '{table.table}' occurs twice")
            seen.add(table.table)
        return self

    def table(self, name: str) -> ReportedTable:
        """Returns a table by its number or name.

        Raises:
            UnknownNameError: There is none of that name.
        """
        for table in self.tables:
            if table.table == name:
                return table
        raise UnknownNameError("table", name, [t.table for t in self.tables], where=self.name)


@dataclass(frozen=True)
class Figure:
    """One published number with all that is known of it: what a board shows."""

    file: str
    source: Source
    table: str
    system: str
    variant: str | None
    entry: str | None
    weights: str | None
    column: str
    """Name of the column, or ``average``."""
    label: str | None
    """AU, class or affect dimension; None for a figure over all of them."""
    metric: Metric
    unit: Unit
    value: Decimal
    comparable: Comparison
    source_of_row: str | None
    uncertain: bool
    note: str | None
    adds_up: bool
    """False where the row contradicts itself."""


def figures(file: ReportedFile) -> Iterator[Figure]:
    """Yields every number of a file, averages included, in the order of the source."""
    for table in file.tables:
        source = table.source or file.source
        assert source is not None  # the file's validator has seen to it
        for row in table.rows:
            for column, value in zip(table.all_columns, (*row.values, row.average), strict=False):
                metric, unit = column.metric or table.metric, column.unit or table.unit
                if value is None or metric is None or unit is None:
                    continue
                yield Figure(
                    file=file.name, source=source, table=table.table, system=row.system, variant=row.variant,
                    entry=row.entry, weights=row.weights, column=column.name, label=column.label, metric=metric,
                    unit=unit, value=value, comparable=column.comparable or table.comparable,
                    source_of_row=row.source_of_row, uncertain=row.uncertain, note=row.note,
                    adds_up=not row.does_not_add_up,
                )  # fmt: skip


def figures_for(protocol: str, files: Iterable[ReportedFile] | None = None) -> list[Figure]:
    """Returns the published numbers whose nearest protocol is ``protocol`` (an id without version)."""
    chosen = load_reported() if files is None else files
    return [f for file in chosen for f in figures(file) if f.comparable.protocol == protocol]


def _half_digit(value: Decimal) -> Decimal:
    """Returns half a unit of the last printed digit: what rounding may have taken or added."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    return Decimal(5).scaleb(exponent - 1)


def discrepancies(table: ReportedTable, row: Row) -> tuple[Discrepancy, ...]:
    """Recomputes what a row's own numbers decide, and returns what cannot be, however the numbers were rounded."""
    found: list[Discrepancy] = []

    def add(check: Check, printed: Decimal, computed: Decimal) -> None:
        found.append(Discrepancy(check=check, printed=printed, computed=round(computed, 4)))

    present = [v for v in row.values if v is not None]
    if table.average and row.average is not None and present:
        count = len(row.values) if row.missing == "zero" else len(present)
        divisor = count if table.average.of == "mean" else 1
        computed = sum(present, Decimal()) / divisor
        slack = sum((_half_digit(v) for v in present), Decimal()) / divisor + _half_digit(row.average)
        if abs(computed - row.average) > slack:
            add("average", row.average, computed)

    def only(metric: Metric) -> Decimal | None:
        values = [v for c, v in zip(table.columns, row.values, strict=True) if (c.metric or table.metric) == metric]
        return values[0] if len(values) == 1 else None

    mae, mse = only("mae"), only("mse")
    if mae is not None and mse is not None and (mae - _half_digit(mae)) ** 2 > mse + _half_digit(mse):
        add("mse-below-mae-squared", mse, mae**2)
    seconds, fps = only("seconds"), only("fps")
    if table.items and seconds and fps:
        slowest = table.items / (seconds + _half_digit(seconds)) - _half_digit(fps)
        fastest = table.items / (seconds - _half_digit(seconds)) + _half_digit(fps)
        if not slowest <= fps <= fastest:
            add("rate", fps, table.items / seconds)
    return tuple(found)


def checks(table: ReportedTable) -> list[str]:
    """Returns one line for each row of a table that does not add up in the source."""
    return [
        f"{table.table}, {row.system}{f' ({row.variant})' if row.variant else ''}: "
        f"{found.check}: printed {found.printed}, computed {found.computed}"
        for row in table.rows
        for found in discrepancies(table, row)
    ]


class _AsPrinted(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that keeps every digit of a number."""


def _decimal(loader: Any, node: yaml.ScalarNode) -> Any:
    try:
        return Decimal(node.value)
    except InvalidOperation:  # .inf and .nan, which the schema refuses
        return loader.construct_yaml_float(node)


_AsPrinted.add_constructor("tag:yaml.org,2002:float", _decimal)


def read_reported_file(path: Path) -> ReportedFile:
    """Reads and validates one file.

    Raises:
        RegistryError: Not there, not YAML, not valid, or a row that does not add up without saying so; names the file,
            the table and the key.
    """
    load_yaml(path)  # refuses what is not YAML, and keys given twice, in plain words
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=_AsPrinted)  # noqa: S506 - a safe loader
    data = {"name": path.stem, **data}
    try:
        file = ReportedFile.model_validate(data)
    except ValidationError as error:
        raise explain(error, str(path), data, ReportedFile) from None
    if file.name != path.stem:
        raise RegistryError(f"the file calls itself '{file.name}'", where=str(path), fix="leave 'name' out")
    return file


def load_reported(folder: Path | None = None) -> list[ReportedFile]:
    """Reads all files of published figures, in the order of their names.

    Args:
        folder: Where they are; ``leaderboards/reported`` of the project when not given.

    Raises:
        RegistryError: The folder is not there, or a file is not valid.
    """
    try:
        folder = resource("leaderboards/reported") if folder is None else folder
    except FileNotFoundError:
        raise RegistryError(
            "this installation holds no published figures",
            why="leaderboards/reported is neither in the package nor beside it",
            fix="run from a checkout of the project",
        ) from None
    if not folder.is_dir():
        raise RegistryError("there is no such folder", where=str(folder), fix="check the path")
    return [read_reported_file(path) for path in sorted(folder.glob("*.yaml"))]
