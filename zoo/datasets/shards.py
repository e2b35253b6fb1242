"""Parquet shards of pictures with labels, as the Hub's datasets library writes them.

A picture is a struct of ``bytes`` and ``path``, or plain bytes; a label is a ClassLabel (an integer whose names are in
the file's metadata), an integer or text. Rows are read in order and in small batches, so that a shard of any size
costs the same memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DatasetError, ImageError, UsageError

LABEL_COLUMNS = ("label", "labels", "expression", "emotion", "class")
_IMAGE_COLUMNS = ("image", "img", "images", "picture", "face", "bytes", "image_bytes")
_BATCH = 32


@dataclass(frozen=True)
class Columns:
    """Where the pictures and labels of a shard are.

    Attributes:
        image: Column of the pictures.
        label: Column of the labels.
        names: Names of the classes by number; empty where the file does not give them.
    """

    image: str
    label: str
    names: tuple[str, ...] = ()


def open_shard(path: Path) -> Any:
    """Opens a shard.

    Raises:
        DatasetError: It is no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError("the shard cannot be read as parquet", where=str(path), why=str(error)) from None


def image_column(shard: Any, where: str) -> str:
    """Returns the column that holds pictures.

    Raises:
        DatasetError: There is none, or there are several and none has a usual name.
    """
    import pyarrow as pa

    features = _features(shard)
    said = [n for n, f in features.items() if isinstance(f, Mapping) and f.get("_type") == "Image"]
    fields = list(shard.schema_arrow)
    structs = [
        f.name for f in fields
        if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0
    ]  # fmt: skip
    plain = [f.name for f in fields if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    for found in (said, structs, plain):
        present = [n for n in found if n in shard.schema_arrow.names]
        usual = [n for n in _IMAGE_COLUMNS if n in present]
        if len(present) == 1 or usual:
            return usual[0] if usual else present[0]
    raise DatasetError(
        "the shard has no column of pictures, or several", where=where,
        why=f"its columns are {', '.join(f'{f.name} ({f.type})' for f in fields)}",
    )  # fmt: skip


def find_columns(shard: Any, where: str, column: str | None = None) -> Columns:
    """Says where the pictures and labels of a shard are.

    Args:
        shard: From :func:`open_shard`.
        where: Its name, for errors.
        column: The label column, where the user names it.

    Raises:
        DatasetError: No column of pictures, or one that is no label.
        UsageError: It is not clear which column is the label.
    """
    import pyarrow as pa

    image, features, schema = image_column(shard, where), _features(shard), shard.schema_arrow
    if column is None:
        said = [n for n, f in features.items() if isinstance(f, Mapping) and f.get("_type") == "ClassLabel"]
        usual = [n for n in LABEL_COLUMNS if n in schema.names]
        if len(said) == 1 and said[0] in schema.names:
            column = said[0]
        elif usual:
            column = usual[0]
    if column is None or column not in schema.names:
        others = [n for n in schema.names if n != image]
        raise UsageError(
            f"there is no column '{column}'" if column else "which column is the label?", where=where,
            why=f"beside the pictures ('{image}') it has the columns {', '.join(others) or 'none'}",
            fix="column=" + (others[0] if others else "<name>"),
        )  # fmt: skip
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DatasetError(
            f"the column '{column}' holds no labels but {kind}", where=where, fix="name another with column="
        )
    feature = features.get(column)
    names = feature.get("names") if isinstance(feature, Mapping) else None
    return Columns(image, column, tuple(map(str, names)) if isinstance(names, list) else ())


def labels_of(shard: Any, columns: Columns) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Yields the labels of a shard, batch by batch: the distinct values, and the place of each row's in them.

    A missing label has the place -1.
    """
    import pyarrow.compute as pc

    for batch in shard.iter_batches(batch_size=1 << 16, columns=[columns.label]):
        values = batch.column(0)
        if hasattr(values, "dictionary"):
            values = values.cast(values.type.value_type)
        encoded = pc.dictionary_encode(values)
        places = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        yield encoded.dictionary.to_numpy(zero_copy_only=False), places


def _features(shard: Any) -> dict[str, Any]:
    """Returns the features that the datasets library writes into the file's metadata; empty where there are none."""
    try:
        found = json.loads((shard.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return found if isinstance(found, dict) else {}
    except (KeyError, ValueError, TypeError):
        return {}


class ShardReader:
    """Pictures of a shard by row, 0-based, in one forward pass.

    Args:
        path: The shard.

    Attributes:
        path: The shard.
        next_position: The lowest row that :meth:`read` still takes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.next_position = 0
        try:
            self._shard = open_shard(path)
            self._column = image_column(self._shard, str(path))
        except (DatasetError, UsageError) as error:
            raise ImageError(f"{path.name}: {error.what}", where=str(path)) from None
        self._batches: Iterator[Any] | None = None
        self._batch: Any = None
        self._start = 0

    def read(self, position: int) -> NDArray[np.uint8]:
        """Returns the picture of a row, RGB uint8 ``[height, width, 3]``.

        Args:
            position: Row, at or after :attr:`next_position`.

        Raises:
            ImageError: No such row, no picture in it, or one that cannot be decoded.
        """
        import pyarrow as pa

        from zoo.faces.decode import read_image

        name = f"{self.path.name} row {position}"
        try:
            cell = self._cell(position)
        except (pa.ArrowException, OSError) as error:
            raise ImageError(f"{name}: the shard cannot be read ({error})", where=str(self.path)) from None
        self.next_position = position + 1
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if not isinstance(content, bytes):
            raise ImageError(f"{name}: no picture is stored in it", where=str(self.path))
        return read_image(self.path.with_name(name), content)

    def _cell(self, position: int) -> Any:
        if self._batches is None:
            groups, self._start = self._groups_from(position)
            self._batches = self._shard.iter_batches(batch_size=_BATCH, row_groups=groups, columns=[self._column])
        while self._batch is None or position >= self._start + len(self._batch):
            if self._batch is not None:
                self._start += len(self._batch)
            self._batch = next(self._batches, None)
            if self._batch is None:
                raise ImageError(f"{self.path.name}: no row {position}", where=str(self.path))
        return self._batch.column(0)[position - self._start].as_py()

    def _groups_from(self, position: int) -> tuple[list[int], int]:
        """Returns the row groups from the one that holds a row, and the first row of that one."""
        start = 0
        metadata = self._shard.metadata
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if position < start + rows:
                return list(range(group, metadata.num_row_groups)), start
            start += rows
        raise ImageError(f"{self.path.name}: no row {position}", where=str(self.path))

    def close(self) -> None:
        """Closes the file."""
        self._batches = self._batch = None
        self._shard.close()
