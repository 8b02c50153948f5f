"""Follow a relay on NATS instead of the service (ADR 0042). Extra `nats`."""

from __future__ import annotations

import os

from consent_sdk._asking import chance
from consent_sdk._importing import IMPORTING
from consent_sdk._relay import RUN, made_at, read_relay
from consent_sdk._source import CONNECT_S, Source
from consent_sdk._stream import relay_request
from consent_sdk._transport import ABANDONED, TurnedAway
from consent_sdk.protocol import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Queue, Task
    from collections.abc import AsyncIterator, Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from consent_sdk._clock import Clock
    from consent_sdk._follower import Follower
    from consent_sdk._intake import Intake
    from consent_sdk._relay import Hello, NatsAddress, RelayNames
    from consent_sdk._transport import HttpTransport

_ANSWER_S = 2.0
_CLOSE_S = 1.0
_RUN_SILENT_S = 1.5
_AT_ONCE = 512
_MOST_MISSED = 16_384
_MOST_WAITING = 65_536


class OverNats(Source):
    """Connections to NATS. The service is asked once, for the names and the key of the tenant's relay."""

    def __init__(self, address: NatsAddress, http: HttpTransport, clock: Clock, *, silence: float) -> None:
        self._address = address
        self._names: RelayNames | None = None
        self._date = ""
        self._history: str | None = None
        self._connection: Client | None = None
        super().__init__(http, clock, silence=silence)

    def follow(self, follower: Follower) -> None:
        """Follow one connection to its end; raise `TurnedAway`, `BadStream`, `Malformed`, errors of NATS."""
        with IMPORTING:
            from asyncio import CancelledError, run  # noqa: PLC0415  # too slow to import with the package

            import nats  # noqa: F401, PLC0415  # an extra

        names = self._names
        if names is None:
            answer = self._http.send(relay_request(), timeout=_ANSWER_S)
            if answer.status != OK:
                raise TurnedAway(answer.status, answer.headers)
            self._date = answer.headers.get("date", "")
            names = self._names = read_relay(answer)
        try:
            run(self._follow(follower, names))
        except CancelledError:
            return

    def hang_up(self) -> None:
        """Let `follow` return, from another thread."""
        if self._working is None:
            return
        loop, task = self._working
        try:
            loop.call_soon_threadsafe(task.cancel)
        except RuntimeError:  # the loop is closed: it has returned
            return

    def after_fork(self) -> None:
        """Leave the parent its connection: neither use nor close it."""
        if self._connection is not None:
            ABANDONED.append(self._connection)
        self._connection = None
        self._working: tuple[AbstractEventLoop, Task[None]] | None = None

    async def _follow(self, follower: Follower, names: RelayNames) -> None:
        import asyncio  # noqa: PLC0415  # too slow to import with the package

        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio.run makes one
        self._working = (asyncio.get_running_loop(), task)
        waiting: Queue[Msg | None] = asyncio.Queue(_MOST_WAITING)

        async def arrived(message: Msg) -> None:
            if not waiting.full():  # what is dropped shows as a gap
                waiting.put_nowait(message)

        async def ended() -> None:
            if not waiting.full():
                waiting.put_nowait(None)

        connection = None
        try:
            async with asyncio.timeout(2 * CONNECT_S):
                connection = self._connection = await self._connect(names, ended)
                await connection.subscribe(names.feed, cb=arrived)
            await self._hear(follower, names, connection, waiting)
        finally:
            self._working = self._connection = None
            if connection is not None:
                await asyncio.wait({asyncio.ensure_future(connection.close())}, timeout=_CLOSE_S)

    async def _connect(self, names: RelayNames, ended: Callable[[], Awaitable[None]]) -> Client:
        import nats  # noqa: PLC0415  # an extra

        return await nats.connect(
            self._address.servers,
            name="consent-sdk",
            user_credentials=self._address.credentials,
            inbox_prefix=names.inbox,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # of each server, now; the follower pauses and comes back
            reconnect_time_wait=0,
            connect_timeout=int(CONNECT_S),
            error_cb=_ignore,
            closed_cb=ended,
        )

    async def _hear(
        self, follower: Follower, names: RelayNames, connection: Client, waiting: Queue[Msg | None]
    ) -> None:
        """Follow one run of a relay after the other, as long as there is one.

        (1) Ask who is there, which also says how old its heads are. (2) Take what was missed, then the answer
        itself, which proves that nothing else was. (3) Take from the feed what this run says.
        """
        while True:
            asked = self.clock.monotonic()
            hello = await _hail(connection, names)  # (1)
            intake = follower.begin(asked - hello.now, self._date)
            if not await self._catch_up(follower, intake, names, connection, hello):  # (2)
                return
            if not await self._listen(intake, names, hello, waiting):  # (3)
                return

    async def _catch_up(
        self, follower: Follower, intake: Intake, names: RelayNames, connection: Client, hello: Hello
    ) -> bool:
        """Take what was missed; return whether to go on."""
        known, self._history = self._history, hello.history
        if known not in (None, hello.history):
            forget = b'event: reset\ndata: {"index":%d}\n\n' % hello.index
            if not intake.take_message(forget, received=self.clock.monotonic()):
                return False
        cursor = follower.cursor
        if cursor is not None and cursor < hello.index <= cursor + _MOST_MISSED:
            async for data in _stored(connection, names, cursor + 1, hello.index):
                if not intake.take_message(data, received=self.clock.monotonic()):
                    return False
        return intake.take_message(hello.event, received=self.clock.monotonic())

    async def _listen(
        self, intake: Intake, names: RelayNames, hello: Hello, waiting: Queue[Msg | None]
    ) -> bool:
        """Take what the run says that answered; return whether another took its place: ask that one then."""
        import asyncio  # noqa: PLC0415  # too slow to import with the package

        last = self.clock.monotonic()
        while True:
            async with asyncio.timeout(self.silence):
                message = await waiting.get()
            if message is None:
                return False
            received, kind = self.clock.monotonic(), message.subject.rpartition(".")[2]
            if not names.said(kind, message.data, message.headers):
                continue  # not our relay: as if it had not been sent
            if (message.headers or {}).get(RUN) == hello.run:
                last = received
                if kind == "head" and made_at(message.data) <= hello.at:
                    continue  # older than the answer
                if not intake.take_message(message.data, received=received):
                    return False
            elif received - last > _RUN_SILENT_S:
                await asyncio.sleep(chance() / 2)  # not everybody at once
                return True


async def _hail(connection: Client, names: RelayNames) -> Hello:
    nonce = os.urandom(16).hex().encode()
    answer = await connection.request(names.hello, nonce, timeout=_ANSWER_S)
    return names.read_hello(answer.data, answer.headers, nonce)


async def _stored(connection: Client, names: RelayNames, start: int, stop: int) -> AsyncIterator[bytes]:
    """Yield what JetStream keeps of the entries from `start` to `stop`; it ends early where it keeps less."""
    import asyncio  # noqa: PLC0415  # too slow to import with the package
    import json  # noqa: PLC0415  # as above

    inbox = connection.new_inbox()
    replies: Queue[Msg] = asyncio.Queue()
    subscription = await connection.subscribe(inbox, cb=replies.put)
    try:
        while start <= stop:
            count = min(_AT_ONCE, stop - start + 1)
            question = json.dumps({"seq": start + 1, "batch": count}).encode()
            await connection.publish(names.stored, question, reply=inbox)
            before = start
            while True:
                async with asyncio.timeout(_ANSWER_S):
                    message = await replies.get()
                if (message.headers or {}).get("Status") is not None:
                    break
                start += 1
                if names.said("entry", message.data, message.headers):
                    yield message.data
            if start == before:
                return
    finally:
        await subscription.unsubscribe()


async def _ignore(_error: Exception) -> None:
    """Whatever went wrong shows as silence, and may name an address."""
