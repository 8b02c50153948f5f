"""A real NATS server with JetStream, from its wheel, and a reader of what is in it."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import nats
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from tests.servers import ServerProcess, unused_port

T = TypeVar("T")


class Kept(NamedTuple):
    """A message as JetStream keeps it."""

    sequence: int
    data: bytes
    headers: dict[str, str]


class NatsServer(ServerProcess):
    """`nats-server` on a port of the loopback address; what it keeps is in `folder` and outlives it."""

    def __init__(self, folder: Path, *, port: int | None = None, configuration: str = "") -> None:
        self.port = port or unused_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.folder = folder
        self.configuration = configuration
        folder.mkdir(exist_ok=True)
        own = f'host: 127.0.0.1\nport: {self.port}\njetstream {{ store_dir: "{folder}" }}\n'
        (folder / "server.conf").write_text(own + configuration)
        program = Path(sys.executable).with_name("nats-server")
        super().__init__(
            [str(program), "-c", str(folder / "server.conf")], folder=folder, log=folder / "server.log"
        )
        self.wait_until_ready(self._listens, what="NATS to listen")

    def again(self) -> "NatsServer":
        """Start anew at the same place, after the end of this one."""
        return NatsServer(self.folder, port=self.port, configuration=self.configuration)

    def ask(self, work: Callable[[Client], Awaitable[T]], **options: str) -> T:
        """Do something with a connection and return what it gives."""

        async def connected() -> T:
            connection = await nats.connect(self.url, allow_reconnect=False, **options)
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(connected())

    def kept(self, stream: str = "consent-default") -> list[Kept]:
        """Everything that a stream keeps, in order."""

        async def read(connection: Client) -> list[Kept]:
            jetstream = connection.jetstream()
            try:
                state = (await jetstream.stream_info(stream)).state
            except NotFoundError:
                return []
            subscription = await jetstream.subscribe(">", stream=stream, ordered_consumer=True)
            found = []
            for _ in range(state.messages):
                message = await subscription.next_msg(timeout=30)
                sequence = message.metadata.sequence.stream
                found.append(Kept(sequence, message.data, dict(message.headers or {})))
            return found

        return self.ask(read)

    def last(self, stream: str = "consent-default") -> int:
        """The sequence number of the last message of a stream, 0 without one."""

        async def read(connection: Client) -> int:
            with suppress(NotFoundError):
                return (await connection.jetstream().stream_info(stream)).state.last_seq
            return 0

        return self.ask(read)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False
