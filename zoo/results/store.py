"""Where records live: ``<out>/results/<model>/<protocol or suite>/<stamp>-<hash8>.json``, written once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from zoo._util.files import content_hash, write_text
from zoo._util.validation import explain
from zoo.errors import RecordError
from zoo.results.latency_record import LatencyRecord
from zoo.results.record import ResultRecord

Record = ResultRecord | LatencyRecord
_KINDS: dict[str, type[Record]] = {"accuracy": ResultRecord, "latency": LatencyRecord}


def _folder(record: Record) -> tuple[str, str]:
    return record.folder if isinstance(record, LatencyRecord) else (record.model.name, record.protocol.ref)


def save_record(record: Record, out: Path) -> Path:
    """Writes a record under its own name.

    Raises:
        RecordError: Another record already has that name.
    """
    path = out.joinpath("results", *_folder(record), record.file_name)
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise RecordError(f"'{path}' exists and holds something else", why="records are never changed")
    write_text(path, text)
    return path


def _read(path: Path) -> Record:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        kind = data.get("kind", "accuracy") if isinstance(data, dict) else "accuracy"
        if kind not in _KINDS:
            raise RecordError(f"'{path}' is a record of an unknown kind '{kind}'", fix=f"kinds: {', '.join(_KINDS)}")
        record = _KINDS[kind].model_validate(data)
        # Of the keys that the file has: one that the models of records have got since does not rename older files.
        name = f"{record.file_name.rpartition('-')[0]}-{content_hash(data, 8)}.json"
    except ValidationError as error:
        raise RecordError(f"'{path}' is not a valid record", why=explain(error, str(path)).what) from None
    except (OSError, ValueError) as error:
        raise RecordError(f"'{path}' cannot be read", why=str(error)) from None
    if path.name != name:
        raise RecordError(
            f"'{path}' does not hold what its name says",
            why=f"the content's name is {name}; records are never edited",
            fix="restore the file, or supersede the record with a new run",
        )
    expected = _folder(record)
    if (path.parent.parent.name, path.parent.name) != expected:
        raise RecordError(f"'{path}' lies in the wrong folder", fix="/".join(expected) + "/")
    return record


def read_record(path: Path) -> ResultRecord:
    """Reads one accuracy record and checks its name against its content.

    Raises:
        RecordError: Not such a record, or its content is not what its name says.
    """
    record = _read(path)
    if not isinstance(record, ResultRecord):
        raise RecordError(f"'{path}' is a {record.kind} record, not one of accuracy")
    return record


def read_latency_record(path: Path) -> LatencyRecord:
    """Reads one latency record and checks its name against its content.

    Raises:
        RecordError: Not such a record, or its content is not what its name says.
    """
    record = _read(path)
    if not isinstance(record, LatencyRecord):
        raise RecordError(f"'{path}' is an {record.kind} record, not one of latency")
    return record


def read_all_records(out: Path) -> Iterator[tuple[Path, Record]]:
    """Reads every record of either kind under ``<out>/results``, in the order of their paths.

    Raises:
        RecordError: One of them does not hold together; a file that is no record is an error too.
    """
    root = out / "results"
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")):
        yield path, _read(path)


def read_records(out: Path) -> Iterator[tuple[Path, ResultRecord]]:
    """Reads every accuracy record under ``<out>/results``, in the order of their paths.

    Raises:
        RecordError: A record of either kind does not hold together, or a file is no record.
    """
    for path, record in read_all_records(out):
        if isinstance(record, ResultRecord):
            yield path, record


def read_latency_records(out: Path) -> Iterator[tuple[Path, LatencyRecord]]:
    """Reads every latency record under ``<out>/results``, in the order of their paths.

    Raises:
        RecordError: A record of either kind does not hold together, or a file is no record.
    """
    for path, record in read_all_records(out):
        if isinstance(record, LatencyRecord):
            yield path, record
