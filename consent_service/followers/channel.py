"""The latest events of one tenant in memory, once, and who is being sent them.

Everything here happens on the event loop's thread. A subscriber is a place in the shared events: it costs no
memory that grows, and one that falls too far behind is cut off.
"""

import asyncio
from collections.abc import Callable, Sequence

from consent_service.followers.changes import encode_head, encode_reset
from consent_service.observability import STREAM_CUT

QUEUE = 4096
"""Entries that a subscriber who had everything may fall behind before it is cut off."""

LARGEST_WRITE = 65_536
"""Bytes handed to a connection at once, about."""


class Channel:
    """The events of the entries from `start` on, of the last `keep` ones at least.

    `verified` is when they were last known to be all there are, on the monotonic clock.
    """

    def __init__(self, start: int, *, keep: int) -> None:
        self.start = start
        self.keep = keep
        self.verified = float("-inf")
        self.subscribers: set[Subscriber] = set()
        self._events: list[bytes] = []
        self._joined: tuple[int, int, bytes] = (0, 0, b"")
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    @property
    def end(self) -> int:
        """The index of the next entry."""
        return self.start + len(self._events)

    def publish(self, events: Sequence[bytes], *, verified: float | None, reset: bool) -> None:
        """Add events of further entries and send them; `verified` if they are the last there were then."""
        self._events.extend(events)
        if verified is not None:
            self.verified = verified
            self._tell_waiting()
        surplus = len(self._events) - self.keep
        if surplus >= self.keep:
            del self._events[:surplus]
            self.start += surplus
        for subscriber in tuple(self.subscribers):
            subscriber.notice(events=bool(events), reset=reset)

    def prepend(self, events: Sequence[bytes]) -> None:
        """Add the events of the entries just before `start`, for somebody who comes back from there."""
        self._events[:0] = events
        self.start -= len(events)

    def restart(self, end: int) -> None:
        """Forget everything: the ledger went back to `end` entries, so an older backup was restored."""
        self.start = end
        self._events.clear()
        self._joined = (0, 0, b"")
        for subscriber in self.subscribers:
            subscriber.restart()

    def read(self, position: int) -> tuple[bytes, int]:
        """Return events from `position` on, and the position after them; many readers get the same bytes."""
        first, last, data = self._joined
        if first == position and last > position:
            return data, last
        offset = position - self.start
        count, size = 0, 0
        while size < LARGEST_WRITE and offset + count < len(self._events):
            size += len(self._events[offset + count])
            count += 1
        if count == 0:
            return b"", position
        data = b"".join(self._events[offset : offset + count])
        self._joined = (position, position + count, data)
        return data, position + count

    async def known_since(self, since: float) -> None:
        """Return once everything that was committed before `since` is here."""
        if self.verified >= since:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((since, future))
        await future

    def _tell_waiting(self) -> None:
        still = []
        for since, future in self._waiting:
            if self.verified < since and not future.done():
                still.append((since, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still


class Subscriber:
    """One connection's place in a channel. `next` gives what to write; `None` when there will be no more.

    `started` is when its answer began, on the monotonic clock. `cut_off`: ended for being slow.
    """

    def __init__(self, channel: Channel, *, position: int, started: float, greeting: bytes) -> None:
        self.channel = channel
        self.position = position
        self.started = started
        self.ended = False
        self.cut_off = False
        self.writing_since: float | None = None
        self.when_cut: Callable[[], None] | None = None
        self._pending = greeting
        self._current = False
        self._head_due = True
        self._proved = float("-inf")
        self._waiter: asyncio.Future[None] | None = None

    @property
    def lag(self) -> int:
        """How many entries it has not been sent."""
        return self.channel.end - self.position

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

    def notice(self, *, events: bool, reset: bool = False) -> None:
        """Look whether there is something to write, and whether it still can be."""
        self._head_due = self._head_due or reset
        if self.position < self.channel.start or (self._current and self.lag > QUEUE):
            STREAM_CUT.labels("lag").inc()
            self.cut()
        elif events or self._head_due:
            self._wake()

    def prove(self) -> None:
        """Send a head as soon as everything before it was sent."""
        self._head_due = True
        self._wake()

    def restart(self) -> None:
        """Begin anew at the channel's end, with a reset."""
        self.position = self.channel.end
        self._pending = encode_reset(self.position - 1, "restored")
        self.prove()

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

    def _take(self) -> bytes:
        data, self.position = self.channel.read(self.position)
        if self._pending:
            data, self._pending = self._pending + data, b""
        if self.position == self.channel.end:
            self._current = True
            if self._head_due and self.channel.verified > self._proved:
                self._proved = self.channel.verified
                self._head_due = False
                data += encode_head(self.position - 1, self._proved - self.started)
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
