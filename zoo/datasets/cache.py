"""The index of a copy, kept in the cache folder as one parquet file and read again only when the tree changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import atomic_path, canonical_json, zoo_home
from zoo.datasets.base import Finding, Index, Labels
from zoo.datasets.reader import plain

_TEXT = ("subject", "sequence", "split", "file")
_NUMBERS = ("frame", "position")


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
    digest = hashlib.sha256(f"{dataset} {canonical_json(dict(options))} {_code()}\n".encode())
    for line in _walk(root, "", frozenset(), unread):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _walk(folder: Path, prefix: str, above: Set[tuple[int, int]], unread: Set[str]) -> Iterator[str]:
    """Yields a line for every file, in a fixed order; links are followed, loops of links are not."""
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda e: e.name)
    except OSError as error:
        yield f"{prefix} unreadable {error.errno}\n"
        return
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
        pq.write_table(_table(index), temporary)


def _table(index: Index) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in _TEXT:
        values = pa.array(getattr(index, name))
        columns[name] = values if name == "file" else values.dictionary_encode()
    for name in _NUMBERS:
        columns[name] = pa.array(getattr(index, name))
    for task, labels in index.labels.items():
        if labels.values.ndim == 1:
            columns[f"label/{task}"] = pa.array(labels.values)
        else:
            for i, name in enumerate(labels.names):
                columns[f"label/{task}/{name}"] = pa.array(np.ascontiguousarray(labels.values[:, i]))
    if index.box is not None:
        for i in range(4):
            columns[f"box/{i}"] = pa.array(np.ascontiguousarray(index.box[:, i]))
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
        table = pq.read_table(path)
        head = json.loads(table.schema.metadata[b"zoo"])
        labels = {}
        for task, (names, dimensions) in head["labels"].items():
            if dimensions == 1:
                values = table[f"label/{task}"].to_numpy()
            else:
                values = np.stack([table[f"label/{task}/{n}"].to_numpy() for n in names], axis=1)
            labels[task] = Labels(task, tuple(names), values)
        columns: dict[str, Any] = {name: _text(table[name]) for name in _TEXT}
        columns |= {name: table[name].to_numpy() for name in _NUMBERS}
        return Index(
            dataset=head["dataset"], root=root, manifest=head["manifest"], identities=head["identities"],
            synthetic=head["synthetic"], labels=labels,
            box=np.stack([table[f"box/{i}"].to_numpy() for i in range(4)], axis=1) if head["box"] else None,
            findings=tuple(Finding(**f) for f in head["findings"]), options=head["options"],
            **columns,
        )  # fmt: skip
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        with suppress(OSError):
            path.unlink()
        return None


def _text(column: Any) -> NDArray[np.str_]:
    """Returns a text column as fixed-width numpy text, by its few distinct values where it is stored so."""
    column = column.combine_chunks()
    if not hasattr(column, "dictionary"):
        return column.to_numpy(zero_copy_only=False).astype(np.str_)  # type: ignore[no-any-return]
    values = column.dictionary.to_numpy(zero_copy_only=False).astype(np.str_)
    if not len(values):
        return np.empty(0, "<U1")
    return values[column.indices.to_numpy()]  # type: ignore[no-any-return]
