"""The evidence that an entry is what it says: what ``zoo.check model=...`` found on a machine that has the real files.

``status: verified`` in the registry is earned by a committed evidence file whose contract is the entry's; nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from zoo._util.files import write_text
from zoo.errors import RecordError
from zoo.registry.schema import Frozen, ModelEntry
from zoo.results.record import Code, UsedFile


class RuntimeEvidence(Frozen):
    """One runtime on the fixed input."""

    runtime: str
    version: str
    fold: str | None = None
    batches: float
    """Largest relative difference between one by one and in batches, in this order and the reverse."""
    threads: float | None = None
    """Largest relative difference between all cores and one thread (two where there is one core); None in evidence of
    before this was looked at."""
    reference: str | None = None
    """The runtime that it was compared with; None for that one itself."""
    difference: float | None = None
    """Largest relative difference from the reference."""


class ReadingEvidence(Frozen):
    """Which of an output's readings the real file supports."""

    task: str
    declared: str
    """Name of the reading that the entry's output has."""
    supported: str | None
    """Name of the only reading whose ranges hold the values; None: no reading fits, or several do."""
    fits: tuple[str, ...]
    """Names of all readings that fit."""
    low: float
    """1st percentile of the raw values over faces and labels."""
    high: float
    """99th percentile."""
    faces: int
    pictures: str
    """``rendered``, or ``given`` by the user."""


class Evidence(Frozen):
    """What was found."""

    schema_version: int = 1
    created: str
    """UTC, ``YYYY-MM-DDTHH:MM:SSZ``."""
    model: str
    contract: str
    """Hash of the entry's files, preprocessing and outputs."""
    files: tuple[UsedFile, ...]
    """Fetched, and with the registry's hash."""
    runtimes: tuple[RuntimeEvidence, ...]
    readings: tuple[ReadingEvidence, ...] = ()
    """For entries that leave a reading open."""
    golden: dict[str, tuple[tuple[float, ...], ...]]
    """Output on the fixed input (:func:`zoo.runs.verify.golden_input`) by task, of the first fold, four decimals."""
    packages: dict[str, str]
    code: Code


def evidence_path(out: Path, model: str) -> Path:
    """Returns where a model's evidence is kept."""
    return out / "verified" / f"{model}.json"


def save_evidence(evidence: Evidence, out: Path) -> Path:
    """Writes a model's evidence; a newer one takes the place of an older one."""
    path = evidence_path(out, evidence.model)
    write_text(path, json.dumps(evidence.model_dump(mode="json"), indent=1) + "\n")
    return path


def read_evidence(path: Path) -> Evidence:
    """Reads an evidence file.

    Raises:
        RecordError: Not one.
    """
    try:
        return Evidence.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise RecordError(f"'{path}' is not an evidence file", why=" ".join(str(error).split())[:200]) from None


def unearned(entries: list[ModelEntry], out: Path) -> list[str]:
    """Returns a line for each entry that says ``verified`` without evidence for its contract."""
    wrong = []
    for entry in entries:
        if entry.status != "verified":
            continue
        path = evidence_path(out, entry.name)
        if not path.exists():
            wrong.append(f"{entry.name} says verified and '{path}' is not there")
            continue
        evidence = read_evidence(path)
        if evidence.contract != entry.contract_hash:
            wrong.append(f"{entry.name} says verified and its evidence is of another contract")
        settled = {r.task for r in evidence.readings if r.supported == r.declared}
        wrong += [
            f"{entry.name} says verified and its evidence does not settle how {task} is read"
            for task in sorted({r.task for r in entry.readings} - settled)
        ]
    return wrong
