"""What a connection's bytes do to the copy; the same for every source, and for the fake."""

from __future__ import annotations

from consent_sdk._sse import BadStream, EventReader
from consent_sdk._stream import Change, read_change, read_event
from consent_sdk.protocol import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from consent_sdk._copy import LocalCopy
    from consent_sdk._sse import Event
    from consent_sdk._stream import Head, Reset

_MOST_PARTS = 1024


class Intake:
    """Events of one connection, which was asked for at `opened`; `heard` says whether to go on.

    A connection that brings bytes but no event for `patience` seconds has ended: something between keeps it
    open with comments, or the service's bytes come in drops.
    """

    def __init__(
        self,
        copy: LocalCopy,
        notify: Callable[[list[str | None]], None],
        *,
        opened: float,
        heard: Callable[[], bool] = lambda: True,
        patience: float = float("inf"),
    ) -> None:
        self._copy = copy
        self._notify = notify
        self._opened = opened
        self._heard = heard
        self._patience = patience
        self._said_at = opened
        self._reader = EventReader()
        self._parts: list[Event] = []

    def take(self, chunk: bytes, *, received: float) -> bool:
        """Apply one read; return whether to read on. Raises `BadStream` and `Malformed`."""
        said = [message for event in self._reader.feed(chunk) for message in self._read(event)]
        follows = True
        if said:
            self._said_at = received
            follows, touched = self._copy.take(said, received=received, opened=self._opened)
            if touched:
                self._notify(touched)
        return self._heard() and follows and received - self._said_at < self._patience

    def take_message(self, message: bytes, *, received: float) -> bool:
        """Apply a message that is whole events; raises `BadStream` for any other, as `take`."""
        if not message.endswith(b"\n\n"):
            raise BadStream("half a message")
        return self.take(message, received=received)

    def _read(self, event: Event) -> list[Change | Head | Reset]:
        """Return what an event completes.

        Several events of one entry are taken together, with the last, which alone has the entry's id: who is
        cut off between them comes back for all.
        """
        if event.name == "change" and not event.numbered:
            if len(self._parts) >= _MOST_PARTS:
                raise BadStream("an entry without an end")
            self._parts.append(event)
            return []
        message = read_event(event)
        if not self._parts:
            return [] if message is None else [message]
        if not isinstance(message, Change):
            raise Malformed("half an entry")
        parts, self._parts = self._parts, []
        return [*(read_change(part, message.index) for part in parts), message]
