"""Many requests, one answer to the database: a thread that takes what is waiting and handles it together."""

import asyncio
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from consent_service.errors import QueueFull, ShuttingDown

T = TypeVar("T")
R = TypeVar("R")
Handle = Callable[[Sequence[T]], Sequence[R | Exception]]

_FEW = 20
"""Of so many, half already make a batch that is worth its commit."""
_LOOK_S = 0.0003
_MOST_LOOKS = 10


class _Asked(Generic[T, R]):
    """One item on its way: where it waits for its answer, and how much of the queue it takes."""

    __slots__ = ("future", "item", "loop", "weight")

    def __init__(
        self,
        item: T,
        future: "Future[R] | asyncio.Future[R]",
        loop: asyncio.AbstractEventLoop | None,
        weight: int,
    ) -> None:
        self.item = item
        self.future = future
        self.loop = loop
        self.weight = weight


class Coalescer(Generic[T, R]):
    """Answers items in batches on a thread of its own, in the order they were asked.

    `handle` takes up to `batch_limit` items and returns one answer or exception for each. At most
    `queue_limit` may wait (an item may weigh more than one): beyond that `ask` raises `QueueFull`. Items are
    taken and handled inside `turn`: what arrives while that is waited for goes along. With `gathering`,
    where few ask at a time the next batch waits for those just answered, three milliseconds at most: one
    batch of all of them costs less than two of half of them (ADR 0004).
    """

    def __init__(
        self,
        name: str,
        handle: Handle[T, R],
        *,
        batch_limit: int,
        queue_limit: int,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        gathering: bool = False,
    ) -> None:
        self._handle = handle
        self._turn = turn
        self._gathering = gathering
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._queue: queue.SimpleQueue[_Asked[T, R] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How much of the queue is taken."""
        return self._waiting

    async def ask(self, item: T, *, weight: int = 1) -> R:
        """Return the answer to `item`; raise what `handle` found wrong, `QueueFull` or `ShuttingDown`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._enqueue(_Asked(item, future, loop, weight))
        return await future

    def ask_blocking(self, item: T, *, weight: int = 1) -> R:
        """Return the answer to `item` in a thread that has no event loop."""
        future: Future[R] = Future()
        self._enqueue(_Asked(item, future, None, weight))
        return future.result()

    def _enqueue(self, asked: _Asked[T, R]) -> None:
        with self._lock:
            if not self._open:
                raise ShuttingDown("The service is shutting down; try again.")
            if self._waiting >= self._queue_limit:
                raise QueueFull("Too many requests are waiting; try again.")
            self._waiting += asked.weight
            self._queue.put(asked)

    def close(self) -> None:
        """Take nothing new, answer everything that waits, then stop the thread."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            first = self._queue.get()
            if first is None:
                return
            batch: list[_Asked[T, R]] = []
            answers: Sequence[R | Exception]
            try:
                with self._turn():
                    batch, last = self._batch_from(first)
                    answers = self._handle([asked.item for asked in batch])
            except Exception as error:  # noqa: BLE001  # whatever went wrong, every caller must hear of it
                if not batch:
                    batch, last = self._batch_from(first)
                answers = [error] * len(batch)
            self._answer(batch, answers)
            if self._gathering and 1 < len(batch) + self._queue.qsize() < _FEW:
                self._gather()

    def _gather(self) -> None:
        """Wait until nobody more has asked since the last look."""
        asked = -1
        for _ in range(_MOST_LOOKS):
            before, asked = asked, self._queue.qsize()
            if asked == before:
                return
            time.sleep(_LOOK_S)

    def _batch_from(self, first: _Asked[T, R]) -> tuple[list[_Asked[T, R]], bool]:
        asked: _Asked[T, R] | None = first
        batch: list[_Asked[T, R]] = []
        weight = 0
        while asked is not None:
            batch.append(asked)
            weight += asked.weight
            if weight >= self._batch_limit:
                return batch, False
            try:
                asked = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _answer(self, batch: list[_Asked[T, R]], answers: Sequence[R | Exception]) -> None:
        with self._lock:
            self._waiting -= sum(asked.weight for asked in batch)
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[_Asked[T, R], R | Exception]]]
        by_loop = defaultdict(list)
        for pair in zip(batch, answers, strict=True):
            by_loop[pair[0].loop].append(pair)
        for loop, pairs in by_loop.items():
            if loop is None:
                _deliver(pairs)
            else:
                try:
                    loop.call_soon_threadsafe(_deliver, pairs)
                except RuntimeError:  # The loop is closed: nobody waits any more.
                    continue


def _deliver(pairs: list[tuple[_Asked[T, R], R | Exception]]) -> None:
    for asked, answer in pairs:
        if asked.future.done():  # The caller went away.
            continue
        if isinstance(answer, Exception):
            asked.future.set_exception(answer)
        else:
            asked.future.set_result(answer)
