"""A measuring process seen from the suite: asked in JSON lines, waited for with a limit, and always ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from zoo.errors import ZooError

_POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerError(ZooError):
    """A measuring process that failed, ended or did not answer."""


class Worker:
    """One process.

    Args:
        threads: Threads that libraries with pools of their own may use.
        environment: Variables that are added to this process's.
        module: What runs; another one in tests.
    """

    def __init__(
        self, threads: int = 1, environment: Mapping[str, str] | None = None, module: str = "zoo.latency.worker"
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
            env={**os.environ, **dict.fromkeys(_POOLS, str(threads)), **(environment or {})},
            start_new_session=True,  # an interrupt goes to the suite, which ends its workers itself
        )  # fmt: skip
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def ask(self, message: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Sends a message and returns the answer.

        Args:
            message: Becomes one line of JSON.
            timeout: Seconds.

        Raises:
            WorkerError: The answer is a failure, none came in time, or the process ended. It is ended in each case.
        """
        self.send(message)
        return self.receive(timeout)

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message, for which :meth:`receive` gets the answer.

        Raises:
            WorkerError: The process has ended.
        """
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # a broken pipe, or one that was closed with the process
            raise self._ended() from None

    def receive(self, timeout: float) -> dict[str, Any]:
        """Returns the answer to the message that was sent; fails as :meth:`ask` does."""
        try:
            line = self._lines.get(timeout=timeout)
        except Empty:
            self.kill()
            raise WorkerError(f"no answer within {timeout:.0f} s") from None
        if line is None:
            raise self._ended()
        try:
            answer = json.loads(line)
        except ValueError:
            self.kill()
            raise WorkerError("the process answered with something else than JSON") from None
        if "error" in answer:
            self.kill()
            raise WorkerError(str(answer["error"]), why=answer.get("why"))
        return dict(answer)

    def _ended(self) -> WorkerError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        code = self._process.poll()
        tail = self._tail()
        self.kill()
        if code is None:
            return WorkerError("the process closed its channel", why=tail)
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            killed = -code == getattr(signal, "SIGKILL", 9)
            why = "the system does that when memory runs out" if killed else tail
            return WorkerError(f"the process was ended by {name}", why=why)
        return WorkerError(f"the process ended with code {code}", why=tail)

    def _tail(self) -> str | None:
        with suppress(OSError, ValueError):
            self._stderr.seek(0, os.SEEK_END)
            self._stderr.seek(max(0, self._stderr.tell() - 2000))
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
            return lines[-1][:300] if lines else None
        return None

    def close(self, timeout: float = 30.0) -> dict[str, Any]:
        """Asks the process to end and returns its last answer; an empty one where it would not.

        Raises:
            WorkerError: It failed at the end.
        """
        try:
            return self.ask({"do": "close"}, timeout)
        finally:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self.kill()

    def kill(self) -> None:
        """Ends the process at once, with whatever it has started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                if pipe is not None and (pipe is not self._process.stdout or not self._reader.is_alive()):
                    pipe.close()
        with suppress(OSError, ValueError):
            self._stderr.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
