"""Read server-sent events from bytes in any cut (WHATWG HTML, section 9.2.6); does no input or output."""

from __future__ import annotations

from consent_sdk._frozen import Frozen, set_slot

_BOM = b"\xef\xbb\xbf"
LARGEST_EVENT = 65_536
"""Bytes of one event, and of one line, at most."""


class BadStream(Exception):
    """Bytes that no stream of ours sends; the connection is of no further use. Never leaves the SDK."""


class Event(Frozen):
    """One complete event: `id` is the last id seen, empty before the first; `numbered` if it came with it."""

    __slots__ = ("data", "id", "name", "numbered")

    name: str
    data: str
    id: str
    numbered: bool

    def __init__(self, name: str, data: str, event_id: str, *, numbered: bool = False) -> None:
        set_slot(self, "name", name)
        set_slot(self, "data", data)
        set_slot(self, "id", event_id)
        set_slot(self, "numbered", numbered)


class EventReader:
    """Turns chunks of one connection into events; an event that its connection cuts off is never seen."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._id = ""
        self._numbered = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that this chunk completes; raise `BadStream` for one too large or not UTF-8."""
        events = []
        for line in self._lines(chunk):
            if line:
                self._take(line)
            elif event := self._dispatch():
                events.append(event)
        return events

    def _lines(self, chunk: bytes) -> list[bytes]:
        if self._after_cr and chunk:
            # The CR at the end of the chunk before was a line end: an LF here belongs to it.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        data = self._rest + chunk
        if not self._started:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest = data
                return []
            data = data.removeprefix(_BOM)
            self._started = True
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > LARGEST_EVENT:
            raise BadStream("a line without an end")
        return lines

    def _take(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > LARGEST_EVENT:
            raise BadStream("an event without an end")
        try:
            field, _, value = line.decode().partition(":")
        except UnicodeDecodeError:
            raise BadStream("not UTF-8") from None
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id, self._numbered = value, True

    def _dispatch(self) -> Event | None:
        name, data, numbered = self._name or "message", self._data, self._numbered
        self._name, self._data, self._size, self._numbered = "", [], 0, False
        return Event(name, "\n".join(data), self._id, numbered=numbered) if data else None
