"""What is finished of a run, kept on disk, so that the same command goes on after an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo._util.files import content_hash, write_text, zoo_home
from zoo.latency.case import Case
from zoo.latency.suite import SuiteFile


class State:
    """What is finished of a run, so that the same command goes on after an interruption.

    Args:
        suite: The suite.
        cases: All cases of the run.
        out: Folder of the records.
        fresh: Forget what is finished.
    """

    def __init__(self, suite: SuiteFile, cases: Sequence[Case], out: Path, *, fresh: bool = False) -> None:
        from zoo.results.environment import capture_code, capture_environment

        key = content_hash({
            "suite": suite.hash, "cases": sorted(c.id for c in cases), "out": str(out.resolve()),
            "environment": capture_environment().model_dump(mode="json"), "commit": capture_code().commit,
        }, 16)  # fmt: skip
        self.folder = zoo_home() / "bench" / f"{suite.name}-{key}"
        self._file = self.folder / "run.json"
        if fresh and self.folder.exists():
            shutil.rmtree(self.folder)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._data: dict[str, Any] = {"run": f"{stamp}-{key[:8]}", "groups": 0, "done": {}}
        if self._file.exists():
            with suppress(OSError, ValueError):
                self._data = json.loads(self._file.read_text(encoding="utf-8"))

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self._data["run"])

    @property
    def groups(self) -> int:
        """Groups measured so far."""
        return int(self._data["groups"])

    def done(self) -> dict[str, Path]:
        """Returns case -> record of what is finished and still there."""
        return {case: Path(p) for case, p in self._data["done"].items() if Path(p).exists()}

    def add(self, finished: Mapping[str, Path]) -> None:
        """Notes a finished group."""
        self._data["done"] |= {case: str(path.resolve()) for case, path in finished.items()}
        self._data["groups"] += 1
        write_text(self._file, json.dumps(self._data, indent=1) + "\n")

    def finish(self) -> None:
        """Forgets the run; the records are what is left of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
