"""Who is at the other end of an endless answer: wakes up when there is something to write."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

WriteNow = Callable[[Callable[[], bytes]], bool]
"""Writes what a function gives, if the connection takes it now; returns whether it did."""


class Recipient(ABC):
    """One connection. `next` gives what to write; `None` when there will be no more.

    `cut_off`: ended for being slow. `writing_since` is when a write under way began (monotonic clock).
    With `write_now`, what comes while `next` waits is written at once, without waking a task; where the
    connection takes nothing more now, `next` goes on.
    """

    def __init__(self) -> None:
        self.ended = False
        self.cut_off = False
        self.writing_since: float | None = None
        self.when_cut: Callable[[], None] | None = None
        self.write_now: WriteNow | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> bytes | None:
        """Return the bytes to write next, as soon as there are any."""
        while not self.ended:
            data = self._take()
            if data:
                return data
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return None

    def end(self) -> None:
        """Send nothing more, and let the answer end as it should."""
        self.ended = True
        self._wake()

    def cut(self) -> None:
        """Drop the connection as it is: its reader is too slow, or gone."""
        self.cut_off = True
        self.end()
        if self.when_cut is not None:
            self.when_cut()

    @abstractmethod
    def beat(self) -> None:
        """Once a second: show the other end that it is still connected."""

    @abstractmethod
    def _take(self) -> bytes:
        """Return what there is to write, and count it as written."""

    def _wake(self) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if self.write_now is None or self.ended or not self.write_now(self._take):
            self._waiter.set_result(None)


class Watcher(Recipient):
    """Watches one subject: is told that something about her changed, not what."""

    _COMMENT_EVERY = 15

    def __init__(self, told: bytes) -> None:
        super().__init__()
        self._told = told
        self._pending = told  # What changed before it was connected, nobody told it.
        self._beats = 0

    def changed(self) -> None:
        """Tell it, once however often it happened meanwhile."""
        self._pending = self._told
        self._wake()

    def beat(self) -> None:
        """Write a comment now and then, so that a dead connection shows."""
        self._beats += 1
        if self._beats % self._COMMENT_EVERY == 0 and not self._pending:
            self._pending = b": still here\n\n"
            self._wake()

    def _take(self) -> bytes:
        data, self._pending = self._pending, b""
        return data
