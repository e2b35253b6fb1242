"""What the three sessions have in common: checking a batch, and running several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.registry.schema import Preprocess
from zoo.runtimes.base import Tensors


def check_batch(batch: NDArray[np.uint8], preprocess: Preprocess, fixed: int | None) -> None:
    """Refuses what is not a batch of crops for this model.

    Raises:
        UsageError: Another type or shape, or another batch size than the session was opened for.
    """
    height, width = preprocess.size
    expected = (height, width, preprocess.channels)
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != expected or not len(batch):
        raise UsageError(
            f"a batch of crops is uint8 [n, {', '.join(map(str, expected))}] with n >= 1, this one is "
            f"{batch.dtype} {list(batch.shape)}",
            fix="crop with the pipeline of the entry's preprocess",
        )
    if fixed is not None and len(batch) != fixed:
        raise UsageError(
            f"the session was opened for batches of {fixed}, this one has {len(batch)}",
            fix="open it with batch=None for any size",
        )


def closed() -> UsageError:
    """Returns the error of a session that is used after it was closed."""
    return UsageError("the session is closed", fix="open another one")


def as_tensors(names: Iterable[str], arrays: Iterable[NDArray[Any]], count: int) -> Tensors:
    """Names arrays and makes each float32 ``[count, columns]``."""
    return {name: np.asarray(a, np.float32).reshape(count, -1) for name, a in zip(names, arrays, strict=True)}


def join_tensors(parts: list[Tensors]) -> Tensors:
    """Puts the tensors of consecutive batches into one."""
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


T = TypeVar("T")


class Lent(Generic[T]):
    """Things that threads take by turns: whoever finds all of them taken waits, but not beyond the end.

    Args:
        things: What is lent.

    Attributes:
        closed: Whether nothing is lent any more.
    """

    def __init__(self, things: Iterable[T]) -> None:
        self._free: SimpleQueue[T | None] = SimpleQueue()
        self.closed = False
        for thing in things:
            self._free.put(thing)

    @contextmanager
    def one(self) -> Iterator[T]:
        """Lends one.

        Raises:
            UsageError: They were closed, before or while this waited.
        """
        thing = self._free.get()
        if thing is None:
            self._free.put(None)  # for the next who waits
            raise closed()
        try:
            yield thing
        finally:
            if not self.closed:
                self._free.put(thing)

    def close(self) -> None:
        """Lets go of all of them, and ends every waiting."""
        self.closed = True
        with suppress(Empty):
            while True:
                self._free.get_nowait()
        self._free.put(None)


class Threaded:
    """A session whose ``infer`` may be called from as many threads as it has streams.

    Args:
        streams: Inferences at once.
    """

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._workers = ThreadPoolExecutor(streams, thread_name_prefix="zoo-infer")  # no thread before it is used

    def infer(self, batch: NDArray[np.uint8]) -> Tensors:
        """Runs one batch."""
        raise NotImplementedError

    def infer_async(self, batch: NDArray[np.uint8]) -> Future[Tensors]:
        """Begins one batch in a thread of the session and returns at once."""
        try:
            return self._workers.submit(self.infer, batch)
        except RuntimeError:  # shut down
            raise closed() from None

    def stream(self, batches: Iterable[tuple[Any, NDArray[np.uint8]]]) -> Iterator[tuple[Any, Tensors]]:
        """Runs keyed batches in one thread a stream; yields them in the order given."""
        return run_in_order(self.infer, batches, self._streams)

    def close(self) -> None:
        """Waits for what has begun; nothing can be run after it."""
        self._workers.shutdown(cancel_futures=True)


def run_in_order(
    infer: Callable[[NDArray[np.uint8]], Tensors],
    batches: Iterable[tuple[Any, NDArray[np.uint8]]],
    workers: int,
) -> Iterator[tuple[Any, Tensors]]:
    """Runs batches in ``workers`` threads and yields results in the order given.

    At most ``workers + 1`` batches are held at a time, so memory does not grow with their number. An error of a batch
    is raised at its turn.

    Args:
        infer: Runs one batch; called from several threads.
        batches: Keyed batches.
        workers: Threads.
    """
    waiting: deque[tuple[Any, Future[Tensors]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="zoo-stream") as pool:
        try:
            for key, batch in batches:
                waiting.append((key, pool.submit(infer, batch)))
                if len(waiting) > workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:  # left early: nothing that has not begun is run
            for _, future in waiting:
                future.cancel()
