"""What an endless answer needs from the server under it: to be dropped, to be told of a shutdown.

ASGI has neither. `consent serve` gives uvicorn this connection class, which hands itself to the application
as an ASGI extension; under another server streams work too, but end when the reader's system says so.
"""

import asyncio
import socket
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "consent.connection"
_UNACKNOWLEDGED_MS = 20_000
_UNREAD_BYTES = 65_536


class Connection(HttpToolsProtocol):
    """Gives a peer who went away without a word twenty seconds, not the system's many minutes."""

    when_shut_down: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Set how long bytes may stay unacknowledged (RFC 5482)."""
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in {socket.AF_INET, socket.AF_INET6}:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        super().connection_made(transport)

    def on_headers_complete(self) -> None:
        """Hand this connection to the application with the request."""
        super().on_headers_complete()
        scope = cast("MutableMapping[str, Any]", self.scope)
        scope.setdefault("extensions", {})[EXTENSION] = self

    def shutdown(self) -> None:
        """Tell the answer under way, and go on as usual."""
        if self.when_shut_down is not None:
            self.when_shut_down()
        super().shutdown()

    def buffer_little(self) -> None:
        """Let the system keep little of what the reader has not taken, so that a slow one shows early."""
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)

    def abort(self) -> None:
        """Drop the connection with whatever was not written yet."""
        self.transport.abort()


def connection_of(scope: MutableMapping[str, Any]) -> Connection | None:
    """Return the connection under a request, `None` under another server."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, Connection) else None
