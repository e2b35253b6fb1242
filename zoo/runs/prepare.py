"""Crops made once and stored, so that several models, and a model many times, share one pass over the raw files.

A store is a folder under ``crops/<dataset>/`` of the cache, named by what the crops depend on: the part of the
preprocess contract that makes them, the dataset copy's manifest and samples, this project's face code, and the
versions of the libraries that decode, detect and warp. What differs in any of these does not find the store.

```
store.json      the key in plain words; number of crops; every shard's sha256. Written last: without it no store.
000000.parquet  up to 64 samples in reading order (the frames of one video together), the columns
                row      int64   row of the dataset's index
                file     string  picture or video, relative to the root
                position int32   frame of the video from 0, or -1
                found    bool    whether a face was found
                problem  string  why the sample could not be decoded, or null
                crop     binary  lossless WebP of the crop, channels in the contract's order (gray: R = G = B), or null
```

Nothing of it leaves this disk.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zoo._util.files import atomic_path, canonical_json, content_hash, exclusive, sha256_of, write_text, zoo_home
from zoo._util.spool import BLOCK
from zoo.datasets.base import Index
from zoo.errors import DatasetError, ZooError
from zoo.registry.schema import Preprocess
from zoo.runs.execute import UNIT, Crop, Crops, RawCrops, crop_units, plan
from zoo.runs.predictions import Unit

_DECIDING = ("pillow", "av", "openvino")
"""Libraries whose version may change a crop's pixels."""


@cache
def _face_code() -> str:
    """Returns a hash of the source files that make crops."""
    import zoo.datasets.pixels
    import zoo.faces
    import zoo.runs.labelled

    files = [p for p in sorted(Path(zoo.faces.__path__[0]).glob("*.py")) if p.name != "draw.py"]
    others = (Path(zoo.datasets.pixels.__file__), Path(zoo.runs.labelled.__file__))
    return content_hash([sha256_of(p) for p in (*files, *others)], 16)


def _samples(index: Index, preprocess: Preprocess) -> str:
    """Returns a hash of which frame, and which box, each row of an index is."""
    digest = hashlib.sha256()
    for start in range(0, len(index), BLOCK):
        names = "\n".join(index.file[start : start + BLOCK].tolist())
        digest.update(("\n" if start else "").encode() + names.encode())
    digest.update(np.ascontiguousarray(index.position).data)
    if preprocess.detector != "none" and index.box is not None:
        digest.update(np.ascontiguousarray(index.box).data)
    return digest.hexdigest()[:16]


def _encode(crop: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    # Of the lossless settings the quickest: 1.5 ms a crop of 224 px, a third of its bytes.
    Image.fromarray(crop[..., 0] if crop.shape[2] == 1 else crop).save(
        buffer, "WEBP", lossless=True, method=0, quality=0
    )
    return buffer.getvalue()


def _decode(data: bytes, channels: int) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
        return np.asarray(image)[..., :channels]


class CropStore:
    """The stored crops of one contract and one copy of a dataset; serves :func:`zoo.runs.execute.crop_units`.

    Attributes:
        key: What the crops depend on.
        folder: Where they are.
        shape: Height, width and channels of a crop.
    """

    def __init__(self, preprocess: Preprocess, index: Index, root: Path | None = None) -> None:
        """Finds the place; nothing is read or written yet.

        Args:
            preprocess: The contract.
            index: The dataset.
            root: Folder of all stores; ``crops`` in the cache when not given.
        """
        self.key: dict[str, Any] = {
            "crop": preprocess.crop_hash, "dataset": index.dataset, "manifest": index.manifest,
            "samples": _samples(index, preprocess), "faces": _face_code(), "shard": UNIT,
            "versions": {name: version(name) for name in _DECIDING},
        }  # fmt: skip
        self.shape = (*preprocess.size, preprocess.channels)
        self.folder = (root or zoo_home() / "crops") / index.dataset / content_hash(self.key, 16)
        self.index = index
        self._hashes: list[str] | None = None

    @cached_property
    def units(self) -> list[Unit]:
        """The rows of each shard."""
        return plan(self.index, np.zeros(len(self.index), np.int16))

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Shard of each row times ``UNIT``, plus its place there."""
        places = np.empty(len(self.index), np.int64)
        for unit in self.units:
            places[unit.rows] = unit.number * UNIT + np.arange(len(unit.rows))
        return places

    @property
    def summary(self) -> Path:
        """The file that makes a store whole."""
        return self.folder / "store.json"

    def shard(self, number: int) -> Path:
        """Returns the path of a shard."""
        return self.folder / f"{number:06d}.parquet"

    def complete(self) -> bool:
        """Whether all crops are there."""
        return self.summary.exists()

    def hashes(self) -> list[str]:
        """Returns every shard's sha256.

        Raises:
            DatasetError: The store is not whole or its summary is damaged.
        """
        if self._hashes is None:
            try:
                found = json.loads(self.summary.read_text(encoding="utf-8"))
                if found["key"] != json.loads(canonical_json(self.key)) or len(found["shards"]) != len(self.units):
                    raise ValueError("it is of other crops")
                self._hashes = [str(h) for h in found["shards"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise self._damaged(self.summary, str(error)) from None
        return self._hashes

    def _damaged(self, path: Path, why: str) -> DatasetError:
        return DatasetError(
            "stored crops are damaged", where=str(path), why=why,
            fix=f"run zoo.prepare again, which makes what is damaged again, or delete {self.folder}",
        )  # fmt: skip

    def read(self, number: int) -> pa.Table:
        """Reads one shard.

        Raises:
            DatasetError: It is missing, or its bytes are not those that were stored.
        """
        path = self.shard(number)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._damaged(path, error.strerror or str(error)) from None
        if hashlib.sha256(data).hexdigest() != self.hashes()[number]:
            raise self._damaged(path, "its sha256 is not that in store.json")
        return pq.read_table(pa.BufferReader(data), use_threads=False)

    def crops(self, rows: Sequence[int]) -> Iterator[Crop]:
        """Reads samples in the order given; a shard is held while its rows follow one another.

        Raises:
            DatasetError: As :meth:`read`.
        """
        held, table = -1, pa.table({})
        for row in rows:
            number, i = divmod(int(self._places[row]), UNIT)
            if number != held:
                held, table = number, self.read(number)
            problem, data = (table[name][i].as_py() for name in ("problem", "crop"))
            yield Crop(None if data is None else _decode(data, self.shape[2]), problem)

    def write(self, item: Crops) -> None:
        """Stores one shard, whole or not at all."""
        rows = item.unit.rows
        data, problems = iter(item.crops), iter(item.problems)
        table = pa.table({
            "row": pa.array(rows),
            "file": pa.array(self.index.file[rows].tolist()),
            "position": pa.array(self.index.position[rows]),
            "found": pa.array(item.found),
            "problem": pa.array([None if good else next(problems) for good in item.decoded], pa.string()),
            "crop": pa.array([_encode(next(data)) if found else None for found in item.found], pa.binary()),
        })  # fmt: skip
        with atomic_path(self.shard(item.unit.number)) as temporary:
            # WebP is compressed already, and statistics of it mean nothing.
            pq.write_table(table, temporary, compression="none", use_dictionary=False, write_statistics=False)

    def begin(self, *, fresh: bool) -> set[int]:
        """Makes the folder ready and returns the numbers of the shards that are there whole.

        The shards of a whole store are checked against their hashes, those of an interrupted run by reading them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in list(self.folder.iterdir()):
            if fresh or path.name.startswith("."):
                path.unlink(missing_ok=True)
        try:
            hashes = self.hashes() if self.complete() else None
        except DatasetError:
            hashes = None
        whole = {u.number for u in self.units if self._whole(u, hashes)}
        if len(whole) < len(self.units):
            self.summary.unlink(missing_ok=True)
            self._hashes = None
        return whole

    def _whole(self, unit: Unit, hashes: list[str] | None) -> bool:
        path = self.shard(unit.number)
        if not path.exists():
            return False
        if hashes is not None:
            return sha256_of(path) == hashes[unit.number]
        try:
            return np.array_equal(pq.read_table(path)["row"].to_numpy(), unit.rows)
        except (pa.ArrowException, OSError, KeyError):
            return False

    def finish(self) -> None:
        """Hashes the shards and writes the summary."""
        self._hashes = [sha256_of(self.shard(u.number)) for u in self.units]
        summary = {"key": self.key, "samples": len(self.index), "shards": self._hashes}
        write_text(self.summary, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def stored_crops(preprocess: Preprocess, index: Index) -> CropStore | None:
    """Returns the crops of a contract and a dataset where :func:`prepare_crops` has stored all of them."""
    store = CropStore(preprocess, index)
    return store if store.complete() else None


@dataclass(frozen=True)
class Prepared:
    """What a store holds.

    Attributes:
        folder: Where it is.
        samples: Rows of the dataset.
        found: How many have a crop.
        problems: One line for each sample that could not be decoded.
        made: Samples whose crops were made now, and not by an earlier run.
        size: Bytes.
    """

    folder: Path
    samples: int
    found: int
    problems: tuple[str, ...]
    made: int
    size: int


def prepare_crops(
    index: Index,
    preprocess: Preprocess,
    *,
    threads: int,
    fresh: bool = False,
    done: Callable[[int], object],
    tell: Callable[[str], object] = lambda _: None,
) -> Prepared:
    """Makes and stores the crops of every sample; goes on where an earlier run ended, and mends what is damaged.

    Args:
        index: The dataset.
        preprocess: The contract.
        threads: Threads that decode, detect, align and encode.
        fresh: Make everything again.
        done: Called with the number of samples that got ready, for progress.
        tell: Called with a line for people when another process makes the same crops, which is waited for.

    Raises:
        ContractError: The contract cannot be run.
        WeightsMissingError: A detector or landmark file is neither in the cache nor to be had.
        DatasetError: The store cannot be written, for instance because the disk is full.
    """
    store = CropStore(preprocess, index)
    lock = store.folder.with_name(f"{store.folder.name}.lock")
    try:
        with exclusive(lock, lambda: tell("waiting for another process that makes the same crops")):
            return _made(store, preprocess, threads=threads, fresh=fresh, done=done)
    except ZooError:  # what is missing is an OSError too, and says itself what mends it
        raise
    except OSError as error:
        raise DatasetError(
            "crops cannot be stored", where=str(store.folder), why=error.strerror or str(error),
            fix="make room, or set ZOO_HOME to a larger disk; the same command goes on from there",
        ) from None  # fmt: skip


def _made(
    store: CropStore, preprocess: Preprocess, *, threads: int, fresh: bool, done: Callable[[int], object]
) -> Prepared:
    """Makes what a store lacks, and counts what it holds."""
    from zoo.faces.pipeline import build_pipeline

    whole = store.begin(fresh=fresh)
    done(sum(len(u.rows) for u in store.units if u.number in whole))
    if todo := [u for u in store.units if u.number not in whole]:
        source = RawCrops(store.index, build_pipeline(preprocess, threads=threads))
        writing: deque[Future[None]] = deque()
        units = crop_units(store.index, todo, source, workers=threads)
        with closing(units) as made, ThreadPoolExecutor(threads) as pool:
            for item in made:
                writing.append(pool.submit(store.write, item))
                if len(writing) > threads:
                    writing.popleft().result()
                done(len(item.unit.rows))
            for future in writing:
                future.result()
    if not store.complete():
        store.finish()
    found, problems = 0, []
    for unit in store.units:
        table = pq.read_table(store.shard(unit.number), columns=["found", "problem"])
        found += int(np.sum(table["found"].to_numpy()))
        problems += [p for p in table["problem"].to_pylist() if p]
    size = sum(p.stat().st_size for p in store.folder.iterdir())
    made_now = sum(len(u.rows) for u in todo)
    return Prepared(store.folder, len(store.index), found, tuple(problems), made_now, size)
