"""OpenFace 2.x as it is installed: its programs run over a dataset, and their CSV files scored.

``FeatureExtraction`` takes a video or a folder of frames, ``FaceLandmarkImg`` single pictures. Finished files are kept
with a manifest, so that an interrupted run goes on; a file counts as finished when the program left well and the file
holds what it should. The programs say no version of themselves: what ran is named by hashes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo._util.files import canonical_json, content_hash, sha256_of, write_text, zoo_home
from zoo.errors import DatasetError, MissingError, UsageError, ZooError
from zoo.models.openface_svr import models_hash
from zoo.registry.schema import ModelEntry
from zoo.runs.evaluate import Evaluated, Settings, nothing_scored, progress_bar, quiet
from zoo.runs.openface import DETAILS, predictions_from_openface_csv, units_of
from zoo.runs.openface_score import Made, refuse_settings, score_openface

if TYPE_CHECKING:
    from zoo.datasets.base import Index
    from zoo.protocols.schema import ProtocolFile

AuModels = Literal["default", "static"]

SEQUENCES, PICTURES = "FeatureExtraction", "FaceLandmarkImg"

CONTAINER_BIN = "/home/openface-build/build/bin"
"""Where the public container ``algebr/openface`` has the programs."""

PICTURES_A_CALL = 64
"""The program loads its models once a call, which takes seconds; a call that crashes is repeated picture by picture."""

_OBTAIN = (
    "build OpenFace 2 and fetch its models (https://github.com/TadasBaltrusaitis/OpenFace, academic licence), then "
    "binary=/path/to/FeatureExtraction or ZOO_OPENFACE=...; or binary=docker:algebr/openface; "
    "CSV files that you have: python -m zoo.score csv=..."
)


@dataclass(frozen=True)
class Program:
    """An installation.

    Attributes:
        folder: Folder of the programs, on this machine or in the container.
        version: What names it: hashes of a program and of the AU models, or the container's image.
        container: Engine and image, such as ``("docker", "algebr/openface")``; None for programs of this machine.
    """

    folder: Path
    version: str
    container: tuple[str, str] | None = None

    def command(self, program: str, inputs: Sequence[Path], out: Path, root: Path, flags: Sequence[str]) -> list[str]:
        """Returns the command line that writes CSV files of inputs below ``root`` into ``out``."""
        flag = "-fdir" if program == SEQUENCES and inputs[0].is_dir() else "-f"
        if self.container is None:
            named = [word for path in inputs for word in (flag, str(path))]
            return [str(self.folder / program), *named, "-out_dir", str(out), *flags]
        engine, image = self.container
        inside = [word for path in inputs for word in (flag, f"/data/{path.relative_to(root).as_posix()}")]
        return [
            engine, "run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}", "-v", f"{root}:/data:ro",
            "-v", f"{out}:/out", "--entrypoint", f"{self.folder}/{program}", image, *inside, "-out_dir", "/out", *flags,
        ]  # fmt: skip


def find_program(given: str | None = None) -> Program:
    """Finds an installation: ``given``, or ``ZOO_OPENFACE``, or ``FeatureExtraction`` on the path.

    Args:
        given: A program, the folder of the programs, or ``docker:<image>`` (``podman:<image>``).

    Raises:
        MissingError: None there.
    """
    place = given or os.environ.get("ZOO_OPENFACE") or shutil.which(SEQUENCES)
    if not place:
        raise MissingError(
            "OpenFace's program is not here", why="neither binary=, ZOO_OPENFACE nor PATH has it", fix=_OBTAIN
        )
    engine, colon, image = place.partition(":")
    if colon and engine in ("docker", "podman"):
        return _container(engine, image)
    path = Path(place).expanduser().absolute()
    folders = [path / "bin", path / "build" / "bin", path] if path.is_dir() else [path.parent]
    for folder in folders:
        program = folder / SEQUENCES
        if program.is_file():
            break
    else:
        raise MissingError(f"there is no {SEQUENCES} in '{place}'", fix=_OBTAIN)
    if not path.exists():
        raise MissingError(f"'{place}' does not exist", fix=_OBTAIN)
    if not os.access(program, os.X_OK):
        raise MissingError(f"'{program}' cannot be executed", fix=f"chmod +x {program}")
    return Program(folder, f"{SEQUENCES} {sha256_of(program)[:12]}, AU models {_models_hash(folder)}")


def _models_hash(folder: Path) -> str:
    models = folder / "AU_predictors"
    return models_hash(models) if models.is_dir() else "not found beside it"


def _container(engine: str, image: str) -> Program:
    if not image:
        raise UsageError(f"{engine}: names no image", fix=f"binary={engine}:algebr/openface")
    try:
        done = subprocess.run(
            [engine, "image", "inspect", "--format", "{{.Id}}", image], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise MissingError(
            f"{engine} cannot be run", why=error.strerror, fix=f"install {engine}; or: {_OBTAIN}"
        ) from None
    if done.returncode:
        raise MissingError(
            f"{engine} has no image '{image}'", why=_last_lines(done.stderr), fix=f"{engine} pull {image}"
        )
    return Program(Path(CONTAINER_BIN), f"container {image} {done.stdout.strip()}", (engine, image))


@dataclass(frozen=True)
class _Job:
    """One call of a program.

    Attributes:
        program: ``FeatureExtraction`` or ``FaceLandmarkImg``.
        units: What it makes a file of each; one for a sequence.
    """

    program: str
    units: tuple[str, ...]


def plan_jobs(index: Index, rows: Sequence[int]) -> list[_Job]:
    """Says which program is run on what: videos and folders of one sequence's frames each, pictures many at once.

    Args:
        index: The dataset.
        rows: Rows that are scored.

    Raises:
        DatasetError: Pictures that are no files, in tables or archives.
    """
    wanted = {str(index.file[r]) for r in rows}
    sequences: dict[str, set[tuple[str, str]]] = {}
    for file, subject, sequence, position in zip(
        index.file.tolist(), index.subject.tolist(), index.sequence.tolist(), index.position.tolist(), strict=True
    ):
        if file in wanted and position >= 0 and Path(file).suffix.lower() in (".csv", ".parquet"):
            raise DatasetError(
                f"OpenFace reads files of pictures, and those of {index.dataset} are in {file}", where=str(index.root)
            )
        sequences.setdefault(file if position >= 0 else f"{file.rpartition('/')[0]}/", set()).add((subject, sequence))
    jobs: dict[_Job, None] = {}  # in order, each once: a folder's files and those of its folders are mixed in the order
    pictures = []
    for file in sorted(wanted):
        folder = f"{file.rpartition('/')[0]}/"
        if file in sequences:
            jobs[_Job(SEQUENCES, (file,))] = None
        elif len(owners := sequences[folder]) == 1 and next(iter(owners))[1] and folder != "/":
            jobs[_Job(SEQUENCES, (folder,))] = None
        else:
            pictures.append(file)
    return [*jobs, *(_Job(PICTURES, units) for units in _batches(pictures))]


def _batches(files: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Groups pictures so that no two of a call would be written to one CSV file."""
    batch: dict[str, str] = {}
    for file in files:
        stem = Path(file).stem
        if len(batch) == PICTURES_A_CALL or stem in batch:
            yield tuple(batch.values())
            batch = {}
        batch[stem] = file
    if batch:
        yield tuple(batch.values())


class _Kept:
    """The finished files of one installation, its options and one copy of a dataset, with a manifest.

    The manifest grows by a line a file: written anew for each of a hundred thousand pictures, it would cost more than
    OpenFace. A line that a kill cut off is left out, and its file is made again.
    """

    def __init__(self, folder: Path, *, fresh: bool) -> None:
        self.folder, self.manifest = folder, folder / "manifest.jsonl"
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.entries: dict[str, dict[str, str]] = {}
        if self.manifest.exists():
            *lines, torn = self.manifest.read_text(encoding="utf-8", errors="replace").split("\n")
            for number, line in enumerate(lines, 1):
                try:
                    unit, file, sha256 = json.loads(line)
                except (ValueError, TypeError):
                    where = f"{self.manifest}:{number}"
                    raise ZooError("the manifest is damaged", where=where, fix="fresh=true") from None
                self.entries[unit] = {"file": file, "sha256": sha256}
            if torn:
                write_text(self.manifest, "".join(f"{line}\n" for line in lines))

    def path(self, unit: str) -> Path:
        return self.folder / self.entries[unit]["file"]

    def has(self, unit: str) -> bool:
        if unit not in self.entries:
            return False
        path = self.path(unit)
        return path.exists() and sha256_of(path) == self.entries[unit]["sha256"]

    def add(self, unit: str, made: Path) -> None:
        path = self.folder / f"{content_hash(unit, 16)}{DETAILS if made.name.endswith(DETAILS) else '.csv'}"
        made.replace(path)
        self.entries[unit] = {"file": path.name, "sha256": sha256_of(path)}
        with self.manifest.open("a", encoding="utf-8") as manifest:
            manifest.write(canonical_json([unit, path.name, self.entries[unit]["sha256"]]) + "\n")


def _last_lines(text: str, count: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])[:400]


def run_openface(
    index: Index,
    rows: Sequence[int],
    program: Program,
    entry: ModelEntry,
    *,
    au_models: AuModels = "default",
    fresh: bool = False,
    progress: bool = False,
    tell: Callable[[str], None] = quiet,
) -> tuple[dict[str, Path], Made]:
    """Runs OpenFace over a dataset.

    Args:
        index: The dataset.
        rows: Rows that are scored.
        program: The installation.
        entry: The entry whose columns the files must have.
        au_models: ``static`` adds ``-au_static``: FeatureExtraction then takes off no person's neutral face.
        fresh: Run it again on everything.
        progress: Show a progress bar on stderr.
        tell: Takes lines for people.

    Returns:
        Unit -> CSV file, as :func:`zoo.runs.openface.match_files` gives it, and how they were made.

    Raises:
        ZooError: The program failed on something; the rest is kept.
    """
    flags = ["-aus", *(["-au_static"] if au_models == "static" else [])]
    jobs = plan_jobs(index, rows)
    units = [unit for job in jobs for unit in job.units]
    key = [program.version, flags, index.dataset, index.manifest, index.options]
    kept = _Kept(zoo_home() / "openface" / f"{index.dataset}-{content_hash(key, 16)}", fresh=fresh)
    done = {unit for unit in units if kept.has(unit)}
    if done:
        tell(f"{len(done)} of {len(units)} CSV files are there from an earlier run; fresh=true runs OpenFace again")
    failures: dict[str, str] = {}
    places = units_of(index)
    with progress_bar(len(units), len(done), entry.name, progress, unit="file") as shown:
        for job in jobs:
            if not (todo := [unit for unit in job.units if unit not in done]):
                continue
            failed = _call(index, program, job.program, todo, flags, kept, entry, places)
            if failed and len(todo) > 1:  # one picture can take the others down with it
                for unit in list(failed):
                    if not kept.has(unit):
                        failed |= _call(index, program, job.program, [unit], flags, kept, entry, places) or {unit: ""}
            failures |= {unit: why for unit, why in failed.items() if not kept.has(unit)}
            shown.update(len(todo))
    if failures:
        first = next(iter(failures))
        raise ZooError(
            f"OpenFace failed on {len(failures)} of {len(units)} files; the others are kept", where=first,
            why=failures[first], fix="the same command tries these again; see what the program says about this file",
        )  # fmt: skip
    steps = ["OpenFace's own detection, landmarks, alignment and features"]
    used = {job.program for job in jobs}
    if SEQUENCES in used:
        said = "static models" if au_models == "static" else (
            "its dynamic models, which take off the person's median face over the whole video, where it has them"
        )  # fmt: skip
        steps.append(f"{SEQUENCES} {' '.join(flags)}: {said}")
    if PICTURES in used:
        steps.append(f"{PICTURES} {' '.join(flags)}: static models; the most confident face")
    made = Made("openface", program.version, tuple(steps), threads=usable_cores(), resumed=bool(done))
    return {unit: kept.path(unit) for unit in units}, made


def _call(
    index: Index,
    program: Program,
    name: str,
    units: Sequence[str],
    flags: Sequence[str],
    kept: _Kept,
    entry: ModelEntry,
    places: Mapping[str, NDArray[np.int64]],
) -> dict[str, str]:
    """Calls a program once and keeps the good files; returns what failed, and why."""
    inputs = [index.root.absolute() / unit for unit in units]
    with tempfile.TemporaryDirectory(dir=kept.folder, prefix=".run-") as out:
        words = program.command(name, inputs, Path(out), index.root.absolute(), flags)
        try:
            ran = subprocess.run(
                words, capture_output=True, check=False, stdin=subprocess.DEVNULL,
                cwd=program.folder if program.container is None else None,
            )  # fmt: skip
        except OSError as error:
            raise MissingError(f"{words[0]} cannot be run", why=error.strerror, fix=_OBTAIN) from None
        said = _last_lines((ran.stderr or ran.stdout).decode(errors="replace"))
        if ran.returncode:
            how = f"killed by signal {-ran.returncode}" if ran.returncode < 0 else f"exit code {ran.returncode}"
            return dict.fromkeys(units, f"{name} ended with {how}: {said}")
        failed: dict[str, str] = {}
        for unit in units:
            stem = Path(unit).name if unit.endswith("/") else Path(unit).stem
            csv, details = Path(out) / f"{stem}.csv", Path(out) / f"{stem}{DETAILS}"
            if not csv.exists() and name == PICTURES and details.exists():
                csv = details  # it read the picture and found no face
            elif not csv.exists():  # it leaves with 0 even when it cannot open the file
                failed[unit] = f"{name} wrote no {csv.name}: {said}"
                continue
            try:
                if csv != details:
                    predictions_from_openface_csv({unit: csv}, index, entry, units=places)
            except DatasetError as error:
                failed[unit] = f"{error.what}{f': {error.why}' if error.why else ''}{f' ({said})' if said else ''}"
                continue
            kept.add(unit, csv)
        return failed


def evaluate_openface(
    entry: ModelEntry,
    index: Index,
    protocol: ProtocolFile,
    settings: Settings,
    *,
    binary: str | None = None,
    au_models: AuModels = "default",
    progress: bool = False,
    tell: Callable[[str], None] = quiet,
) -> Evaluated:
    """Runs OpenFace over what a protocol scores, and scores it.

    Args:
        entry: ``openface2``.
        index: The copy of the dataset.
        protocol: The protocol.
        settings: Of the bootstrap, and ``fresh``.
        binary: See :func:`find_program`.
        au_models: See :func:`run_openface`.
        progress: Show a progress bar on stderr.
        tell: Takes lines for people.

    Raises:
        MissingError: No such program.
        ZooError: It failed; finished files are kept.
    """
    from zoo.protocols.rules import assign_folds
    from zoo.runs.scoring import output_for

    started = time.perf_counter()
    refuse_settings(settings)
    output_for(protocol, entry)
    program = find_program(binary)
    rows = np.flatnonzero(assign_folds(protocol, index) >= 0).tolist()
    if not rows:
        raise nothing_scored(protocol, index)
    files, made = run_openface(
        index, rows, program, entry,
        au_models=au_models, fresh=settings.fresh, progress=progress, tell=tell,
    )  # fmt: skip
    return score_openface(entry, index, protocol, files, made, settings, started=started, tell=tell)
