"""What a connection's bytes do to the copy; the same for every source, and for the fake."""

from __future__ import annotations

from consent_sdk._sse import BadStream, EventReader
from consent_sdk._stream import read_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from consent_sdk._copy import LocalCopy


class Intake:
    """Events of one connection, which was asked for at `opened`; `heard` says whether to go on."""

    def __init__(
        self,
        copy: LocalCopy,
        notify: Callable[[list[str | None]], None],
        *,
        opened: float,
        heard: Callable[[], bool] = lambda: True,
    ) -> None:
        self._copy = copy
        self._notify = notify
        self._opened = opened
        self._heard = heard
        self._reader = EventReader()

    def take(self, chunk: bytes, *, received: float) -> bool:
        """Apply one read; return whether to read on. Raises `BadStream` and `Malformed`."""
        said = [message for event in self._reader.feed(chunk) if (message := read_event(event)) is not None]
        follows = True
        if said:
            follows, touched = self._copy.take(said, received=received, opened=self._opened)
            if touched:
                self._notify(touched)
        return self._heard() and follows

    def take_message(self, message: bytes, *, received: float) -> bool:
        """Apply a message that is whole events; raises `BadStream` for any other, as `take`."""
        if not message.endswith(b"\n\n"):
            raise BadStream("half a message")
        return self.take(message, received=received)
