"""Serves the shop in front of a running service."""

import socket
from contextlib import suppress

import uvicorn

from examples.complete_journey.served import DemoFailed, Installation
from examples.storefront.app import create_storefront
from examples.storefront.catalogue import read_catalogue
from examples.storefront.consent_desk import ConsentDesk

PORT = 8000


class Storefront:
    """The shop on a port of the loopback address, taken at once: raises `DemoFailed` where it is taken."""

    def __init__(self, port: int | None = None) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", PORT if port is None else port))
        except OSError:
            self._socket.close()
            raise DemoFailed(f"Port {port} is taken: choose another one with --port.") from None
        self._socket.listen()

    @property
    def url(self) -> str:
        """Where the shop answers."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def serve(self, installation: Installation, service_url: str, backend_key: str) -> None:
        """Serve until Ctrl-C; the shop's browser key is bound to its own origin."""
        created = installation.ask("key", "create", "--role", "browser", "--origin", self.url)
        desk = ConsentDesk(
            url=service_url,
            public_url=service_url,
            backend_key=backend_key,
            browser_key=str(created["key"]),
        )
        with desk, suppress(KeyboardInterrupt):
            app = create_storefront(desk, read_catalogue())
            uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(
                sockets=[self._socket]
            )
