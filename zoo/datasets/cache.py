"""The index of a copy, kept in the cache folder as one parquet file and read again only when the tree changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import atomic_path, canonical_json, zoo_home
from zoo.datasets.base import Finding, Index, Labels
from zoo.datasets.reader import Columns, plain

_TEXT = ("subject", "sequence", "split", "file")
_NUMBERS = ("frame", "position")
_ROWS = 1 << 14
"""Rows that are in memory at once while an index is written or read: some MiB."""


def tree_key(root: Path, dataset: str, options: Mapping[str, str], unread: Set[str] = frozenset()) -> str:
    """Returns a key that changes when any file of a tree is added, removed or written to.

    It costs one stat a file and opens none. The readers' own code is part of it: an index that an older version
    built is not used.

    Args:
        root: Root of the tree.
        dataset: Name of the dataset.
        options: Its options.
        unread: Plain names of folders, at most two levels down, that the reader never looks into.
    """
    head = hashlib.sha256(f"{dataset} {canonical_json(dict(options))} {_code()}\n".encode())
    # A sum of hashes needs no order, so that no folder's list is held: one may have a million files.
    total = 0
    for line in _walk(root, "", frozenset(), unread):
        total += int.from_bytes(hashlib.sha256(line.encode("utf-8", "surrogateescape")).digest())
    head.update(total.to_bytes(64))
    return head.hexdigest()


def _walk(folder: Path, prefix: str, above: Set[tuple[int, int]], unread: Set[str]) -> Iterator[str]:
    """Yields a line for every file, in any order; links are followed, loops of links are not."""
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir():
                        yield f"{prefix}{entry.name}/\n"
                        if not (len(above) < 2 and plain(entry.name) in unread):
                            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {identity}, unread)
                    else:
                        s = entry.stat()
                        # The time of the last change of the inode tells an edit that restored the modification time.
                        yield f"{prefix}{entry.name} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}\n"
                except OSError as error:
                    yield f"{prefix}{entry.name} unreadable {error.errno}\n"
    except OSError as error:
        yield f"{prefix} unreadable {error.errno}\n"


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cached_path(key: str, dataset: str) -> Path:
    """Returns where the index of a tree is kept."""
    return zoo_home() / "index" / f"{dataset}-{key[:32]}.parquet"


def write(index: Index, path: Path) -> None:
    """Writes an index, where that can be done.

    A read-only folder or file names that are no text cost time and nothing else: the tree is read again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(OSError, UnicodeError, pa.ArrowException), atomic_path(path) as temporary:
        schema = _table(index, slice(0)).schema
        with pq.ParquetWriter(temporary, schema) as file:
            for start in range(0, len(index), _ROWS):
                file.write_table(_table(index, slice(start, start + _ROWS)))


def _table(index: Index, rows: slice) -> Any:
    """Returns some rows of an index as an Arrow table, whose metadata say everything else of it."""
    import pyarrow as pa

    columns: dict[str, Any] = {name: pa.array(getattr(index, name)[rows].tolist(), pa.string()) for name in _TEXT}
    for name in _NUMBERS:
        columns[name] = getattr(index, name)[rows]
    for task, labels in index.labels.items():
        if labels.values.ndim == 1:
            columns[f"label/{task}"] = labels.values[rows]
        else:
            for i, name in enumerate(labels.names):
                columns[f"label/{task}/{name}"] = np.ascontiguousarray(labels.values[rows, i])
    if index.box is not None:
        for i in range(4):
            columns[f"box/{i}"] = np.ascontiguousarray(index.box[rows, i])
    head = {
        "dataset": index.dataset,
        "manifest": index.manifest,
        "identities": index.identities,
        "synthetic": index.synthetic,
        "labels": {task: [list(v.names), v.values.ndim] for task, v in index.labels.items()},
        "box": index.box is not None,
        "findings": [asdict(f) for f in index.findings],
        "options": index.options,
    }
    return pa.table(columns).replace_schema_metadata({"zoo": json.dumps(head)})


def read(path: Path, root: Path) -> Index | None:
    """Reads a kept index, or returns None where there is none that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    try:
        with pq.ParquetFile(path, read_dictionary=list(_TEXT), pre_buffer=False) as file:
            head = json.loads(file.schema_arrow.metadata[b"zoo"])
            columns = Columns()
            for batch in file.iter_batches(_ROWS, use_threads=False):
                _add(columns, batch, head)
        numbers, labels, box = columns.joined()
        return Index(
            dataset=head["dataset"], root=root, manifest=head["manifest"], identities=head["identities"],
            synthetic=head["synthetic"],
            labels={task: Labels(task, tuple(names), labels[task]) for task, (names, _) in head["labels"].items()},
            box=box, findings=tuple(Finding(**f) for f in head["findings"]), options=head["options"], **numbers,
        )  # fmt: skip
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        with suppress(OSError):
            path.unlink()
        return None


def _add(columns: Columns, batch: Any, head: Mapping[str, Any]) -> None:
    """Adds some rows of a kept index to columns."""

    def together(prefix: str, names: Iterable[str]) -> NDArray[Any]:
        return np.stack([batch[f"{prefix}/{name}"].to_numpy() for name in names], axis=1)

    columns.add(
        labels={
            task: batch[f"label/{task}"].to_numpy() if dimensions == 1 else together(f"label/{task}", names)
            for task, (names, dimensions) in head["labels"].items()
        },
        box=together("box", "0123") if head["box"] else None,
        **{name: batch[name].to_pylist() for name in _TEXT},
        **{name: batch[name].to_numpy() for name in _NUMBERS},
    )
