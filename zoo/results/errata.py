"""Errata: records that turned out to be wrong. They stay where they are; boards strike them out and say why.

The file is ``errata.yaml`` beside ``results/``.

Example:
    ::

        schema_version: 1
        errata:
          - record: results/hog-ridge/synthface-intensity-5fold@1/20260102T030405Z-0123abcd.json
            reason: wrong-weights
            text: The checkpoint of fold sf2 was that of sf3.
            date: 2026-02-03
            superseded_by: results/hog-ridge/synthface-intensity-5fold@1/20260203T101112Z-89abcdef.json
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from zoo._util.validation import explain, load_yaml
from zoo.errors import RecordError
from zoo.registry.schema import Frozen

FILE = "errata.yaml"

RecordPath = r"^results/[^/\s]+/[^/\s]+/[^/\s]+\.json$"

Reason = Literal[
    "wrong-protocol", "wrong-weights", "wrong-labels", "wrong-data", "wrong-contamination", "software-fault",
    "machine-disturbed", "withdrawn",
]  # fmt: skip
"""``wrong-protocol``: a bad protocol version. ``wrong-weights``: another file than the record says, or a wrong hash.
``wrong-labels``: label order, scale or threshold. ``wrong-data``: a damaged or wrong copy of the dataset.
``wrong-contamination``: the model had seen what it was scored on. ``software-fault``: a fault of the zoo or a runtime.
``machine-disturbed``: a timing that something spoiled. ``withdrawn``: its author asked for it."""

REASON_TITLES: dict[Reason, str] = {
    "wrong-protocol": "wrong protocol version", "wrong-weights": "wrong weights", "wrong-labels": "wrong labels",
    "wrong-data": "wrong data", "wrong-contamination": "training data overlap was missed",
    "software-fault": "fault of the software", "machine-disturbed": "disturbed machine", "withdrawn": "withdrawn",
}  # fmt: skip


class Erratum(Frozen):
    """One record that must not be used any more."""

    record: str = Field(pattern=RecordPath)
    """Path relative to the boards' folder."""
    reason: Reason
    text: str = Field(min_length=1)
    """What is wrong, in a sentence."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    superseded_by: str | None = Field(default=None, pattern=RecordPath)
    """The record that takes its place, if there is one."""


class ErrataFile(Frozen):
    """All errata of a folder."""

    schema_version: Literal[1]
    errata: tuple[Erratum, ...] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> ErrataFile:
        wrong = [e.record for e in self.errata]
        for erratum in self.errata:
            if wrong.count(erratum.record) > 1:
                raise ValueError(f"{erratum.record} is listed twice")
            if erratum.superseded_by in wrong:
                raise ValueError(f"{erratum.record} is superseded by a record that is itself wrong")
        return self


def read_errata(out: Path) -> dict[str, Erratum]:
    """Reads ``errata.yaml`` of a folder of boards.

    Args:
        out: Folder with ``results/`` in it.

    Returns:
        By the record's path; empty where there is no such file.

    Raises:
        RegistryError: The file is not valid.
        RecordError: A record that it names is not there: nothing is ever deleted.
    """
    path = out / FILE
    if not path.exists():
        return {}
    data = load_yaml(path)
    # YAML reads a bare date as a date; the schema wants the text.
    items = data.get("errata")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and hasattr(item.get("date"), "isoformat"):
            item["date"] = item["date"].isoformat()
    try:
        file = ErrataFile.model_validate(data)
    except ValidationError as error:
        raise explain(error, str(path), data, ErrataFile) from None
    named = [n for e in file.errata for n in (e.record, e.superseded_by) if n]
    if absent := _absent(named, out):
        raise RecordError(
            f"{FILE} names records that are not there: {', '.join(absent)}", where=str(path),
            why="a record that is wrong stays; it is struck out, not deleted", fix="restore the file, or mend the path",
        )  # fmt: skip
    return {e.record: e for e in file.errata}


def _absent(names: Iterable[str], out: Path) -> list[str]:
    return [n for n in names if not (out / n).is_file()]
