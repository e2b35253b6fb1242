"""The table of ``zoo.predict``: one row a face, as CSV or Parquet, with the names that OpenFace's users know."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from zoo.registry import ModelEntry
from zoo.registry.labels import Task
from zoo.runs.predict import Prediction

Kind = Literal["text", "whole", "time", "share", "pixels", "value"]
_DECIMALS = {"time": 4, "share": 3, "pixels": 1, "value": 4}
_ROWS = 4096
"""Rows of a Parquet row group."""


def columns(entry: ModelEntry, tasks: Sequence[Task]) -> list[tuple[str, Kind]]:
    """Returns the columns and what they hold.

    ``frame`` counts from 1 and ``timestamp`` is in seconds, as in OpenFace; both are empty for pictures. ``confidence``
    is the detector's score. ``chosen`` marks the face that counts by the model's contract. Intensities are ``AU01_r``,
    decisions on occurrence ``AU01_c`` with the scores ``AU01_p`` that they rest on, mostly probabilities;
    ``expression`` names the greatest class.
    """
    head: list[tuple[str, Kind]] = [
        ("file", "text"), ("frame", "whole"), ("timestamp", "time"), ("face_id", "whole"), ("success", "whole"),
        ("confidence", "share"), ("chosen", "whole"),
        ("left", "pixels"), ("top", "pixels"), ("right", "pixels"), ("bottom", "pixels"),
    ]  # fmt: skip
    for task in tasks:
        labels = entry.output(task).labels
        if task == "au-intensity":
            head += [(f"{x}_r", "value") for x in labels]
        elif task == "au-occurrence":
            head += [(f"{x}_c", "whole") for x in labels]
            head += [(f"{x}_p", "value") for x in labels]
        elif task == "expression":
            head += [("expression", "text"), *((x, "value") for x in labels)]
        else:
            head += [(x, "value") for x in labels]
    return head


def rows(entry: ModelEntry, tasks: Sequence[Task], prediction: Prediction, name: str) -> Iterator[list[Any]]:
    """Yields a row for each face; for a picture without any, one with ``success`` 0 and nothing else."""
    place = [name, prediction.frame, prediction.seconds]
    if prediction.faces is None or not prediction.results:
        yield [*place, None, 0, 0.0, *[None] * (len(columns(entry, tasks)) - 6)]
        return
    faces = prediction.faces
    for i, results in enumerate(prediction.results):
        row = [*place, i, 1, float(faces.scores[i]), int(i == faces.chosen), *map(float, faces.boxes[i])]
        for task in tasks:
            values = results[task]
            if task == "au-occurrence":
                threshold = entry.output(task).threshold or 0.0
                row += [int(v >= threshold) for v in values.values()]
            elif task == "expression":
                row.append(max(values, key=lambda x: values[x]))
            row += values.values()
        yield row


def _csv_cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    return f"{value:.{_DECIMALS[kind]}f}" if kind in _DECIMALS else str(value)


@contextmanager
def open_table(
    path: Path, head: Sequence[tuple[str, Kind]], form: Literal["csv", "parquet"]
) -> Iterator[Callable[[list[Any]], None]]:
    """Opens a table and yields the function that takes a row; memory does not grow with their number.

    Args:
        path: Where to write.
        head: :func:`columns`.
        form: ``csv``, rounded for people (4 decimals); or ``parquet``, as computed.
    """
    if form == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([name for name, _ in head])
            yield lambda row: writer.writerow([_csv_cell(v, kind) for v, (_, kind) in zip(row, head, strict=True)])
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "whole": pa.int32(), "time": pa.float64(), "value": pa.float32()}
    schema = pa.schema([(name, types.get(kind, pa.float32())) for name, kind in head])
    held: list[list[Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as parquet:

        def flush() -> None:
            cells = zip(*held, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(cells, schema, strict=True)]
            parquet.write_table(pa.table(arrays, schema=schema))
            held.clear()

        def take(row: list[Any]) -> None:
            held.append(row)
            if len(held) == _ROWS:
                flush()

        yield take
        if held:
            flush()
