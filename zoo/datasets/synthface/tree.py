"""Writes whole trees: in parallel, into a folder that takes its name only when everything is in it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.errors import UnknownNameError, UsageError, ZooError

VERSION = 2
"""Raised whenever the same numbers give other pictures or labels."""

MARKER = "SYNTHFACE.json"
NAMESPACE = "synthface"
"""Identity namespace of every rendered person, whatever the layout: DISFA+'s SN001 is DISFA's."""

Camera = Literal["left", "right"]


@dataclass(frozen=True)
class Plan:
    """What is written. Two equal plans give equal trees on one machine.

    Attributes:
        layout: Name of the layout.
        subjects: How many people; None: as many as the owners' copy, or the layout's usual number.
        frames: Frames of each video or sequence; pictures of each person where a set has no sequences.
        seed: Population and recordings.
        size: Width and height of the pictures, pixels.
        cameras: DISFA's cameras that are written.
        pixels: ``flat`` writes one small grey picture everywhere.
        images: Pictures in all, for sets without sequences; None: people x frames.
    """

    layout: str
    subjects: int | None
    frames: int
    seed: int
    size: tuple[int, int]
    cameras: tuple[Camera, ...]
    pixels: Literal["rendered", "flat"]
    images: int | None


@dataclass(frozen=True)
class Layout:
    """How one dataset lies on disk.

    Attributes:
        title: What it imitates.
        size: Usual size of the pictures.
        subjects: Usual number of people; for sets with subjects, also the greatest.
        full: Pictures of the owners' copy, for sets without sequences.
        jobs: Splits a plan into independent parts, one person each.
        write: Writes one part below a folder and returns what ``finish`` needs.
        finish: Writes the lists that name every part's files.
    """

    title: str
    size: tuple[int, int]
    subjects: int
    jobs: Callable[[Plan], Sequence[Any]]
    write: Callable[[Plan, Any, Path], Any]
    finish: Callable[[Plan, list[Any], Path], None] | None = None
    full: int | None = None
    named: bool = True
    """Whether people have names in this layout; otherwise any number of them can be asked for."""


def layouts() -> dict[str, Layout]:
    """Returns the layouts by name."""
    from zoo.datasets.synthface import au_sets, expression_sets

    return {**au_sets.LAYOUTS, **expression_sets.LAYOUTS}


def generate(
    layout: str,
    root: str | os.PathLike[str],
    *,
    subjects: int | None = None,
    frames: int = 40,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    workers: int | None = None,
    progress: bool = True,
    cameras: Sequence[Camera] = ("left",),
    pixels: Literal["rendered", "flat"] = "rendered",
    images: int | None = None,
) -> Path:
    """Writes a synthetic tree in the layout of a dataset, or finds that it is already there.

    The tree appears under ``root`` when it is whole and not before; what an interrupted call left is removed by the
    next one. ``root/SYNTHFACE.json`` says that the tree is synthetic and what it holds.

    Args:
        layout: One of :func:`layouts`: ``disfa``, ``rafdb``, ``bp4d`` ...
        root: Folder to make. It may exist if it is empty or holds the same tree.
        subjects: How many people, the first of the owners' list; None: all of them.
        frames: Frames of each video or sequence; pictures of each person where a set has no sequences.
        seed: Population and recordings; equal seeds give equal trees.
        size: Width and height, pixels; None: the layout's usual size (320 x 240 for ``disfa``).
        workers: Processes; None: as many as there are processors to use; 1 starts none.
        progress: Whether to draw a progress bar on stderr.
        cameras: DISFA's cameras; the right one doubles the time.
        pixels: ``flat`` writes one small grey picture everywhere: for tests of indexes as large as the real ones.
        images: Pictures in all, for sets without sequences; None: people x frames. The owners' number gives their
            exact class counts.

    Returns:
        The root.

    Raises:
        UnknownNameError: No such layout.
        UsageError: Numbers that make no sense, or a root that holds something else.
        ZooError: The tree could not be written, or a process was killed.
    """
    known = layouts()
    if layout not in known:
        raise UnknownNameError("synthetic layout", layout, known)
    kind = known[layout]
    plan = Plan(layout, subjects, frames, seed, tuple(size or kind.size), tuple(cameras), pixels, images)  # type: ignore[arg-type]
    _check(plan, kind)
    root = Path(root).expanduser()
    if _already(root, plan):
        return root
    try:
        with _growing(root) as folder:
            jobs = list(kind.jobs(plan))
            results = _run(plan, jobs, folder, workers, progress)
            if kind.finish is not None:
                kind.finish(plan, results, folder)
            text = json.dumps(_marker(plan, kind, len(jobs)), indent=1)
            (folder / MARKER).write_text(text + "\n", encoding="utf-8")
            _claim(folder, root, plan)
    except OSError as error:
        raise ZooError(
            "the synthetic tree could not be written",
            where=str(error.filename or root),
            why=error.strerror or str(error),
            fix="free some space there, or name a root that you may write to",
        ) from error
    return root


def _check(plan: Plan, kind: Layout) -> None:
    wrong = None
    if plan.subjects is not None and not 1 <= plan.subjects <= (kind.subjects if kind.named else 100_000):
        wrong = f"subjects={plan.subjects}", f"the layout '{plan.layout}' has 1 to {kind.subjects} people"
    elif plan.seed < 0:
        wrong = f"seed={plan.seed}", "it is 0 or more"
    elif plan.frames < 2:
        wrong = f"frames={plan.frames}", "at least 2 are needed"
    elif min(plan.size) < 48 or max(plan.size) > 2048:
        wrong = f"size={plan.size}", "48 to 2048 pixels a side can be drawn"
    elif not plan.cameras or set(plan.cameras) - {"left", "right"}:
        wrong = f"cameras={plan.cameras}", "the cameras are 'left' and 'right'"
    elif plan.pixels not in ("rendered", "flat"):
        wrong = f"pixels={plan.pixels}", "it is 'rendered' or 'flat'"
    elif plan.images is not None and (kind.full is None or plan.images < 20):
        wrong = f"images={plan.images}", "it is for sets of single pictures, at least 20"
    if wrong:
        raise UsageError(f"{wrong[0]} does not make sense for a synthetic tree", why=wrong[1])


def _marker(plan: Plan, kind: Layout, parts: int) -> dict[str, Any]:
    return {
        "what": f"Rendered faces in the layout of {kind.title}. No photograph of anyone; not the dataset.",
        "synthetic": True,
        "identities": NAMESPACE,
        "generator": "libreface-zoo",
        "version": VERSION,
        "parts": parts,
        "plan": _plain(plan),
    }


def _plain(plan: Plan) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(plan)))  # type: ignore[no-any-return]


def _already(root: Path, plan: Plan) -> bool:
    """Whether the tree is there.

    Raises:
        UsageError: Something else is.
    """
    try:
        if not any(root.iterdir()):
            return False
    except (FileNotFoundError, NotADirectoryError):
        if not root.exists():
            return False
        raise UsageError("the root for the synthetic tree is a file", where=str(root), fix="name a folder") from None
    why = "it is not empty and has no readable SYNTHFACE.json: it may be a licensed copy"
    try:
        found = json.loads((root / MARKER).read_bytes())
        if found["version"] == VERSION and found["plan"] == _plain(plan):
            return True
        why = f"it holds version {found['version']}, {found['plan']}; wanted version {VERSION}, {_plain(plan)}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(
        "the folder already holds something else", where=str(root), why=why, fix="name another root, or delete it"
    )


@contextmanager
def _growing(root: Path) -> Iterator[Path]:
    """Yields a folder beside ``root``, removed at the end; removes those that dead processes left behind."""
    import psutil

    root.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{root.name}.{socket.gethostname()}."
    for old in root.parent.glob(f"{stem}*.part"):
        process = old.name.removeprefix(stem).removesuffix(".part")
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(old, ignore_errors=True)
    folder = root.parent / f"{stem}{os.getpid()}.part"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _claim(folder: Path, root: Path, plan: Plan) -> None:
    """Gives the finished folder its name; another process may have been faster with the same tree."""
    try:
        if root.exists():
            root.rmdir()
        folder.rename(root)
    except OSError:
        if not _already(root, plan):
            raise


def _write(plan: Plan, job: Any, folder: Path) -> Any:
    return layouts()[plan.layout].write(plan, job, folder)


def _run(plan: Plan, jobs: list[Any], folder: Path, workers: int | None, progress: bool) -> list[Any]:
    """Writes every part and returns their results in the order of the jobs."""
    from tqdm import tqdm

    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if multiprocessing.current_process().daemon:
        workers = 1  # a daemon must not have children
    workers = max(1, min(workers, len(jobs)))
    bar = tqdm(total=len(jobs), desc=f"rendering {plan.layout}", unit="part", disable=None if progress else True)
    with bar:
        if workers == 1:
            results = []
            for job in jobs:
                results.append(_write(plan, job, folder))
                bar.update()
            return results
        # Not "fork": the caller may run threads of an inference runtime.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        try:
            futures = [pool.submit(_write, plan, job, folder) for job in jobs]
            for future in futures:
                future.add_done_callback(lambda _: bar.update())
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise ZooError(
                "a process that rendered faces ended early",
                why="out of memory, or a script without a main guard: new processes import it",
                fix="call generate() below 'if __name__ == \"__main__\":', or with workers=1",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
