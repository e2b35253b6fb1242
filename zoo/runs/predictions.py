"""Stored predictions: one parquet file a run, one row a sample, labels never inside.

While a run is under way its finished units lie beside each other as small files, each written whole or not at all;
a run that is killed and started again reads which are there and does the rest. The key that says what the numbers
are of (weights, contract, data, runtime) is in every file's metadata and is checked on reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zoo._util.files import atomic_path, canonical_json, content_hash, exclusive, zoo_home
from zoo.errors import RecordError
from zoo.registry.labels import Task

_META = b"zoo.predictions"
_TEXT = ["dataset", "subject", "sequence", "fold"]
_ROWS = 1 << 14
"""Samples that are in memory at once while the units are joined."""


def column(task: Task, label: str) -> str:
    """Returns the column name of an output: ``au-intensity/AU01``."""
    return f"{task}/{label}"


@dataclass(frozen=True)
class Unit:
    """A batch of work: rows of the dataset index, all of one fold."""

    number: int
    fold: int
    rows: NDArray[np.int64]


class PredictionStore:
    """The predictions of one run.

    Args:
        model: Model name, for the folder.
        key: Everything that the numbers depend on, as plain JSON values.
        root: Parent folder; the cache when not given.
    """

    def __init__(self, model: str, key: Mapping[str, Any], root: Path | None = None) -> None:
        self.key = json.loads(canonical_json(dict(key)))
        self.id = content_hash(self.key, 16)
        self.folder = (root or zoo_home() / "predictions") / model / self.id
        self.path = self.folder / "predictions.parquet"

    @contextmanager
    def held(self, tell: Callable[[str], object]) -> Iterator[None]:
        """Lets one process at a time make these predictions: another one waits, and then finds them made.

        Args:
            tell: Called with a line for people when another process is at it.
        """
        waiting = f"waiting for another process that makes the same predictions ({self.id})"
        with exclusive(self.folder.with_name(f"{self.id}.lock"), lambda: tell(waiting)):
            yield

    def _part(self, unit: Unit) -> Path:
        return self.folder / "parts" / f"{unit.number:06d}.parquet"

    def begin(self, *, fresh: bool = False) -> None:
        """Makes the folder ready; clears what a killed run left half written, or everything when ``fresh``."""
        parts = self.folder / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        for path in list(parts.iterdir()):
            if fresh or path.name.startswith("."):
                path.unlink(missing_ok=True)
        if fresh:
            self.path.unlink(missing_ok=True)

    def complete(self) -> bool:
        """Whether the finished file is there."""
        return self.path.exists()

    def finished(self, units: Sequence[Unit]) -> set[int]:
        """Returns the numbers of the units that are stored whole, for these rows and under this key."""
        done = set()
        for unit in units:
            path = self._part(unit)
            if not path.exists():
                continue
            try:
                table = pq.read_table(path, columns=["row"])
                whole = self._matches(table.schema.metadata) and np.array_equal(table["row"].to_numpy(), unit.rows)
            except (pa.ArrowException, OSError):
                whole = False
            if whole:
                done.add(unit.number)
            else:
                path.unlink()
        return done

    def write_unit(self, unit: Unit, columns: Mapping[str, NDArray[Any]]) -> None:
        """Stores one unit, whole or not at all."""
        table = pa.table({"row": pa.array(unit.rows), **{k: pa.array(v) for k, v in columns.items()}})
        with atomic_path(self._part(unit)) as temporary:
            pq.write_table(self._stamped(table), temporary, compression="zstd")

    def finish(self, units: Sequence[Unit]) -> None:
        """Joins the units into the finished file, in the order of the index's rows, and removes them.

        Some thousand rows at a time: the units that hold any of them are read for each.
        """
        rows = np.sort(np.concatenate([u.rows for u in units]))
        reach = np.array([(u.rows.min(), u.rows.max()) for u in units])
        with atomic_path(self.path) as temporary, ExitStack() as stack:
            file: pq.ParquetWriter | None = None
            for start in range(0, len(rows), _ROWS):
                first, last = rows[start], rows[start : start + _ROWS][-1]
                here = np.flatnonzero((reach[:, 0] <= last) & (reach[:, 1] >= first)).tolist()
                within = [("row", ">=", first), ("row", "<=", last)]
                parts = (pq.read_table(self._part(units[i]), filters=within, use_threads=False) for i in here)
                table = self._stamped(pa.concat_tables(parts).sort_by("row"))
                file = file or stack.enter_context(pq.ParquetWriter(temporary, table.schema, compression="zstd"))
                file.write_table(table)
        for unit in units:
            self._part(unit).unlink(missing_ok=True)

    def read(self) -> pa.Table:
        """Reads the finished file.

        Raises:
            RecordError: Damaged, or not of this key.
        """
        return read_predictions(self.path, self.key)

    def _stamped(self, table: pa.Table) -> pa.Table:
        return table.replace_schema_metadata({_META: canonical_json(self.key).encode()})

    def _matches(self, metadata: Mapping[bytes, bytes] | None) -> bool:
        return (metadata or {}).get(_META) == canonical_json(self.key).encode()


def predictions_key(path: Path) -> dict[str, Any]:
    """Returns the key that a prediction file carries.

    Raises:
        RecordError: Not a prediction file.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        raise RecordError(f"'{path}' does not exist", fix="zoo.eval says where its predictions are") from None
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"'{path}' cannot be read as predictions", why=str(error)) from None
    if _META not in metadata:
        raise RecordError(f"'{path}' is not a prediction file of the zoo", why="its metadata has no key")
    key: dict[str, Any] = json.loads(metadata[_META])
    return key


def read_predictions(path: Path, key: Mapping[str, Any] | None = None) -> pa.Table:
    """Reads a prediction file.

    Args:
        path: The file.
        key: The key that it must carry; None takes any.

    Raises:
        RecordError: Not a prediction file, damaged, or of another key.
    """
    found = predictions_key(path)
    if key is not None and found != dict(key):
        wrong = sorted(k for k in {*found, *key} if found.get(k) != key.get(k))
        raise RecordError(
            f"'{path}' holds predictions of something else", why=f"different: {', '.join(wrong)}", fix="fresh=true"
        )
    try:
        return pq.read_table(path, read_dictionary=_TEXT)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"'{path}' is damaged", why=str(error), fix="fresh=true runs the model again") from None
