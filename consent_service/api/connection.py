"""What an endless answer needs from the server under it: to be dropped, to be told of a shutdown.

ASGI has neither. `consent serve` gives uvicorn this connection class, which hands itself to the application
as an ASGI extension; under another server streams work too, but end when the reader's system says so.
"""

import asyncio
import socket
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from consent_service.api.errors import problem_of
from consent_service.errors import InvalidInput

EXTENSION = "consent.connection"
_UNACKNOWLEDGED_MS = 20_000
_UNREAD_BYTES = 65_536
_LINGER_S = 1.0
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_UNREADABLE = "Nothing of HTTP/1.1 can be read from this, or its address has more than 65,535 bytes."


class _Parser(HttpRequestParser):
    """Reads on where httptools stops: a body follows, whatever protocol its head asks to change to."""

    def __init__(self, connection: "Connection") -> None:
        super().__init__(connection)
        self._connection = connection

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # what uvicorn has read
        """Take the next bytes; raise httptools' `HttpParserError`."""
        try:
            super().feed_data(data)
        except HttpParserUpgrade as stopped:
            self._connection.read_on(data[stopped.args[0] :])


class _Body:
    """The callbacks of a body whose head was read before."""

    def __init__(self, connection: "Connection") -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


class Connection(HttpToolsProtocol):
    """Gives a peer who went away without a word twenty seconds, not the system's many minutes.

    At a shutdown an idle connection stays open for a second: a request that is on its way to it meets an
    answer that says `Connection: close`, not a reset.
    """

    when_shut_down: Callable[[], None] | None = None
    _last_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Set how long bytes may stay unacknowledged (RFC 5482)."""
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in {socket.AF_INET, socket.AF_INET6}:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        super().connection_made(transport)
        self.parser = _Parser(self)

    def on_headers_complete(self) -> None:
        """Hand this connection to the application with the request."""
        super().on_headers_complete()
        if self._last_request:
            self.cycle.keep_alive = False
        scope = cast("MutableMapping[str, Any]", self.scope)
        scope.setdefault("extensions", {})[EXTENSION] = self

    def on_message_complete(self) -> None:
        """End the request, unless its body is still to be read on."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def read_on(self, rest: bytes) -> None:
        """Read the body of a request that asks for another protocol, as Java's client always does.

        The answer is that of HTTP/1.1 (RFC 9110, section 7.8), and the last one of the connection.
        """
        self.cycle.keep_alive = False
        framing = [header for header in self.headers if header[0] in _FRAMING]
        self.parser = HttpRequestParser(_Body(self))
        self.parser.feed_data(
            b"POST / HTTP/1.1\r\n%b\r\n%b" % (b"".join(b"%b: %b\r\n" % each for each in framing), rest)
        )

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are in its log
        """Refuse what no request can be read from as every other request is refused (RFC 9457)."""
        refused = problem_of(InvalidInput(_UNREADABLE)).response()
        headers = (*self.server_state.default_headers, *refused.raw_headers, (b"connection", b"close"))
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (head, bytes(refused.body)))
        self.transport.close()

    def shutdown(self) -> None:
        """Tell the answer under way; take one more request from a connection that waits for one."""
        if self.when_shut_down is not None:
            self.when_shut_down()
        self._last_request = True
        if self._idle():
            self.loop.call_later(_LINGER_S, self._close_if_idle)
        else:
            super().shutdown()

    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        return cycle is None or cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._idle():
            self.transport.close()

    def buffer_little(self) -> None:
        """Let the system keep little of what the reader has not taken, so that a slow one shows early."""
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)

    def write_now(self, take: Callable[[], bytes]) -> bool:
        """Write what `take` gives as one chunk of the answer under way (RFC 9112, section 7.1).

        Returns False, and takes nothing, when the reader is behind: ASGI's `send` waits for it then.
        """
        if self.flow.write_paused or self.transport.is_closing():
            return False
        if data := take():
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def abort(self) -> None:
        """Drop the connection with whatever was not written yet."""
        self.transport.abort()


def connection_of(scope: MutableMapping[str, Any]) -> Connection | None:
    """Return the connection under a request, `None` under another server."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, Connection) else None
