"""The latest events of one tenant in memory, once, and who is being sent them (ADR 0071).

Everything here happens on the event loop's thread. A subscriber is a place in the shared events: it costs no
memory that grows, and one that falls too far behind is cut off.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from consent_service.domain.subject import SubjectRef
from consent_service.followers.changes import encode_head, encode_reset, leaf_in, subjects_in
from consent_service.followers.recipient import Recipient, Watcher
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
        self._subscribers: set[Subscriber] = set()
        self._watchers: defaultdict[SubjectRef, set[Watcher]] = defaultdict(set)
        self._events: list[bytes] = []
        self._joined: tuple[int, int, bytes] = (0, 0, b"")
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    @property
    def end(self) -> int:
        """The index of the next entry."""
        return self.start + len(self._events)

    @property
    def deserted(self) -> bool:
        """Whether nobody is here."""
        return not self._subscribers and not self._watchers

    def subscribe(self, *, position: int, started: float, greeting: bytes) -> "Subscriber":
        """Return a new subscriber at this position; it is sent `greeting` first."""
        subscriber = Subscriber(self, position=position, started=started, greeting=greeting)
        self._subscribers.add(subscriber)
        return subscriber

    def watch(self, ref: SubjectRef, *, told: bytes) -> Watcher:
        """Return a new watcher of this subject."""
        watcher = Watcher(told)
        self._watchers[ref].add(watcher)
        return watcher

    def forget(self, recipient: Recipient) -> None:
        """Send nothing more to a recipient that may be one of this channel's."""
        if isinstance(recipient, Subscriber):
            self._subscribers.discard(recipient)
            return
        for ref in [ref for ref, watchers in self._watchers.items() if recipient in watchers]:
            self._watchers[ref] = {watcher for watcher in self._watchers[ref] if watcher is not recipient}
            if not self._watchers[ref]:
                del self._watchers[ref]

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
        for subscriber in tuple(self._subscribers):
            subscriber.notice(events=bool(events), reset=reset)
        self._tell_watchers(events, reset=reset)

    def prepend(self, events: Sequence[bytes]) -> None:
        """Add the events of the entries just before `start`, for somebody who comes back from there."""
        self._events[:0] = events
        self.start -= len(events)

    def restart(self, end: int) -> None:
        """Forget everything and go on after `end` entries: an older backup was restored."""
        self.start = end
        self.verified = float("-inf")  # What was known to be all was another history's.
        self._events.clear()
        self._joined = (0, 0, b"")
        for subscriber in self._subscribers:
            subscriber.restart()
        self._tell_watchers((), reset=True)

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

    def leaf(self, index: int) -> str | None:
        """Return the name of the leaf of entry `index`; None where that is not in memory."""
        offset = index - self.start
        return leaf_in(self._events[offset]) if 0 <= offset < len(self._events) else None

    async def known_since(self, since: float) -> None:
        """Return once everything that was committed before `since` is here."""
        if self.verified >= since:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((since, future))
        await future

    def _tell_watchers(self, events: Sequence[bytes], *, reset: bool) -> None:
        if not self._watchers:
            return
        touched = set(self._watchers) if reset else {ref for event in events for ref in subjects_in(event)}
        for ref in touched:
            for watcher in self._watchers.get(ref, ()):
                watcher.changed()

    def _tell_waiting(self) -> None:
        still = []
        for since, future in self._waiting:
            if self.verified < since and not future.done():
                still.append((since, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still


class Subscriber(Recipient):
    """One connection's place in a channel; `started` is when its answer began, on the monotonic clock."""

    def __init__(self, channel: Channel, *, position: int, started: float, greeting: bytes) -> None:
        super().__init__()
        self._channel = channel
        self._position = position
        self._started = started
        self._pending = greeting
        self._current = False
        self._head_due = True
        self._proved = float("-inf")

    def notice(self, *, events: bool, reset: bool = False) -> None:
        """Look whether there is something to write, and whether it still can be."""
        self._head_due = self._head_due or reset
        lag = self._channel.end - self._position
        if self._position < self._channel.start or (self._current and lag > QUEUE):
            STREAM_CUT.labels("lag").inc()
            self.cut()
        elif events or self._head_due:
            self._wake()

    def beat(self) -> None:
        """Send a head as soon as everything before it was sent."""
        self._head_due = True
        self._wake()

    def restart(self) -> None:
        """Begin anew at the channel's end, with a reset."""
        self._position = self._channel.end
        self._pending = encode_reset(self._position - 1, "restored")
        self.beat()

    def _take(self) -> bytes:
        data, self._position = self._channel.read(self._position)
        if self._pending:
            data, self._pending = self._pending + data, b""
        if self._position == self._channel.end:
            self._current = True
            if self._head_due and self._channel.verified > self._proved:
                self._proved = self._channel.verified
                self._head_due = False
                last = self._position - 1
                data += encode_head(last, self._proved - self._started, self._channel.leaf(last))
        return data
