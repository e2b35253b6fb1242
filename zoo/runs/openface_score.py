"""From OpenFace's CSV files to a record: the same scores, rules and flags as any model's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo._util.files import content_hash, sha256_of
from zoo.errors import DatasetError, UsageError
from zoo.registry.schema import ModelEntry
from zoo.results.record import RuntimeUsed
from zoo.runs.checkpoints import assign_checkpoints
from zoo.runs.evaluate import Evaluated, Settings, identity_columns, make_record, quiet
from zoo.runs.openface import Gap, output_of, predictions_from_openface_csv, read_result
from zoo.runs.predictions import PredictionStore, Unit
from zoo.runs.scoring import labels_scored, output_for, score_predictions

if TYPE_CHECKING:
    from zoo.datasets.base import Index
    from zoo.models.openface_csv import OpenFaceTable
    from zoo.protocols.schema import ProtocolFile


@dataclass(frozen=True)
class Made:
    """How the files came to be.

    Attributes:
        runtime: ``openface-csv`` (files that were there), or the program that wrote them.
        version: What is known of the program and its models.
        steps: The way from pixels to the columns, in words.
        threads: Cores that it could use; 0 where that is not known.
        resumed: Whether files of an earlier run were taken.
    """

    runtime: str
    version: str
    steps: tuple[str, ...]
    threads: int = 0
    resumed: bool = False


def found_files(files: Mapping[str, Path]) -> Made:
    """Describes CSV files that a user brings: which program wrote them shows, its version and options do not.

    Raises:
        DatasetError: A file that cannot be read.
    """
    kinds = {read_result(file).kind for file in files.values()}
    said = {
        "sequence": "FeatureExtraction's files: its dynamic models, unless it was run with -au_static, which they do "
        "not say",
        "image": "FaceLandmarkImg's files: static models",
    }
    steps = ("OpenFace's own detection, landmarks, alignment and features", *(said[k] for k in sorted(kinds)))
    return Made("openface-csv", "unknown version", (*steps, "columns AU.._r and AU.._c as they are"))


def own_models(folder: Path) -> tuple[Made, Callable[[Path], OpenFaceTable]]:
    """Describes OpenFace's static models applied to the features that FeatureExtraction wrote, and gives the reader.

    Args:
        folder: An OpenFace folder, or its ``AU_predictors``.

    Raises:
        MissingError: No models there.
        ContractError: A file of them is missing or damaged.
    """
    from zoo.models.openface_svr import find_predictors, models_hash, read_predictors, read_with_models

    place = find_predictors(folder)
    predictors = read_predictors(place)
    steps = (
        "OpenFace's own detection, landmarks, alignment and features: .hog and p_0 to p_33 of FeatureExtraction",
        "static models of AU_predictors, computed here; nothing is taken off for the person, nothing smoothed",
    )
    return Made("openface-models", f"AU models {models_hash(place)}", steps, threads=1), partial(
        read_with_models, predictors=predictors
    )


def score_openface(
    entry: ModelEntry,
    index: Index,
    protocol: ProtocolFile,
    files: Mapping[str, Path],
    made: Made,
    settings: Settings,
    *,
    read: Callable[[Path], OpenFaceTable] | None = None,
    incomplete: bool = False,
    started: float | None = None,
    tell: Callable[[str], None] = quiet,
) -> Evaluated:
    """Scores OpenFace's CSV files on a copy of a dataset under a protocol.

    A failed frame (``success`` 0) is a sample without a face. A frame that a file should have and has not is one too,
    counted as not decoded, and is reported; a whole file that is missing is an error, or left out with ``incomplete``.

    Args:
        entry: ``openface2`` or another entry with its outputs.
        index: The copy.
        protocol: The protocol.
        files: What :func:`zoo.runs.openface.match_files` gives.
        made: How the files came to be.
        settings: Of the bootstrap; the rest is not used.
        read: Reads a file; None takes its columns as they are.
        incomplete: Score what there are files for; the record says that the copy is incomplete.
        started: ``time.perf_counter()`` at the beginning.
        tell: Takes lines for people.

    Raises:
        UsageError: The files have no columns for the protocol.
        DatasetError: Files are missing, wrong, or of nothing that the protocol scores.
    """
    from zoo.protocols.rules import as_coded, assign_folds, completeness

    started = time.perf_counter() if started is None else started
    derived = output_for(protocol, entry)[1]
    folds = assign_folds(protocol, index)
    gaps: list[Gap] = []
    table = predictions_from_openface_csv(files, index, entry, gaps, read)
    output = output_of(table, entry, output_for(protocol, entry)[0].task)
    labels_scored(as_coded(protocol, index), output)

    folders = {unit for unit in files if unit.endswith("/")}
    covered = np.array([f in files or f"{f.rpartition('/')[0]}/" in folders for f in index.file.tolist()], bool)
    absent = sorted(set(index.file[(folds >= 0) & ~covered].tolist()))
    if absent and not incomplete:
        raise DatasetError(
            f"no CSV file of OpenFace for {len(absent)} files that {protocol.ref} scores", where=str(index.root),
            why=", ".join(absent[:5]) + (", ..." if len(absent) > 5 else ""),
            fix="write them, or score what is there: partial=true",
        )  # fmt: skip
    if absent:
        folds = np.where(covered, folds, -1).astype(folds.dtype)
    wanted = np.flatnonzero(folds >= 0)
    if not len(wanted):
        raise DatasetError(
            f"{protocol.ref} scores nothing of what the CSV files are of", where=str(index.root),
            fix=f"python -m zoo.check dataset={index.dataset} root={quote(str(index.root))}",
        )  # fmt: skip
    table = _with_lost(table, wanted[~np.isin(wanted, table["row"].to_numpy())])

    unit = Unit(0, 0, wanted)
    keep = table.filter(pa.array(np.isin(table["row"].to_numpy(), wanted)))
    steps = made.steps
    preprocess = content_hash([made.runtime, *steps], 16)
    store = PredictionStore(
        entry.name,
        {
            "model": entry.name, "contract": entry.contract_hash, "weights": [], "checkpoint": None,
            "protocol": protocol.ref, "frames": protocol.hash, "task": output.task, "labels": list(output.labels),
            "dataset": index.dataset, "manifest": index.manifest, "options": index.options,
            "runtime": made.runtime, "version": made.version, "preprocess": preprocess, "device": "cpu",
            "precision": "fp32", "batch": 1, "partial": bool(absent),
            "csv": content_hash(sorted((u, sha256_of(f)) for u, f in files.items()), 16),
        },
    )  # fmt: skip
    values = {n: keep[n].to_numpy(zero_copy_only=False) for n in keep.column_names if n != "row"}
    with store.held(tell):
        store.begin(fresh=True)
        store.write_unit(unit, {**identity_columns(index, protocol, folds, unit), **values})
        store.finish([unit])
        table = store.read()

    whole, expected = completeness(protocol, index)
    scored = score_predictions(
        table, index, protocol, folds, output,
        expected=expected, resamples=settings.resamples, seed=settings.seed,
    )  # fmt: skip
    problems = [str(g) for g in gaps]
    if absent:
        problems.insert(0, f"{len(absent)} files of the protocol have no CSV file and are left out: {absent[0]} ...")
    record = make_record(
        entry, index, protocol, scored, settings,
        weights=(), preprocess=preprocess, steps=steps, derived=derived,
        contamination=assign_checkpoints(entry, protocol, index, folds).contamination,
        runtime=RuntimeUsed(
            runtime=made.runtime, version=made.version, device="cpu", precision="fp32", threads=made.threads,
            streams=1, provider=None, batch=1,
        ),
        started=started, resumed=made.resumed, predictions=store.id, complete=whole and not absent,
        # The numbers were measured here; nobody has held this copy of OpenFace against a reference.
        status="unverified",
    )  # fmt: skip
    return Evaluated(record, scored, store.path, tuple(problems))


def _with_lost(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Adds samples that no row of a file is of: no face, not decoded."""
    if not len(rows):
        return table
    no = np.zeros(len(rows), bool)
    nan = np.full(len(rows), np.nan, np.float32)
    values = {"row": rows, "decoded": no, "face_found": no}
    added = pa.table({name: pa.array(values.get(name, nan)) for name in table.column_names})
    return pa.concat_tables([table, added]).sort_by("row")


def refuse_settings(settings: Settings) -> None:
    """Refuses what only the zoo's own runtimes have.

    Raises:
        UsageError: A runtime, device, precision or fold was asked for.
    """
    asked = [
        name
        for name, wanted in (
            ("runtime", settings.runtime is not None),
            ("device", settings.device != "cpu"),
            ("precision", settings.precision != "fp32"),
            ("fold", settings.fold is not None),
        )
        if wanted
    ]
    if asked:
        raise UsageError(
            f"OpenFace's program has no {', '.join(asked)} to choose",
            fix=f"leave {', '.join(a + '=' for a in asked)} out",
        )
