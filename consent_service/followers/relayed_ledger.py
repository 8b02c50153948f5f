"""One tenant's ledger on its way to NATS: every entry once, in order, then proofs that nothing is missing."""

import asyncio
import secrets
import time

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from consent_service.errors import ConfigurationError
from consent_service.followers.changes import Chunk, encode_head, encode_reset, leaf_name, read_events
from consent_service.followers.relay_messages import LEAF, LONGEST_NONCE, Relayed
from consent_service.followers.stream import HEARTBEAT_S
from consent_service.observability import logger
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant

_CHUNK = 512
_ACKNOWLEDGED_S = 5.0
_DUPLICATES_S = 120.0
_DAY_S = 86_400


class StreamTaken(ConfigurationError):
    """The JetStream stream of this tenant's name belongs to another log."""


class RelayedLedger:
    """Follows one ledger; times are seconds since this run of the relay began, on the monotonic clock."""

    def __init__(self, deployment: Deployment, tenant: Tenant, nats: Client, run: str, began: float) -> None:
        self._deployment = deployment
        self._tenant = tenant
        self._names = Relayed.of(tenant, run)
        self._nats = nats
        self._jetstream = nats.jetstream(timeout=_ACKNOWLEDGED_S)
        self._began = began
        self._woken = asyncio.Event()
        self._asked: list[tuple[float, str, bytes]] = []
        self._position = 0
        self._last_leaf: bytes | None = None
        self._history = ""

    def wake(self) -> None:
        """Look at the ledger now."""
        self._woken.set()

    async def relay(self) -> None:
        """Relay until cancelled; raise whatever database or NATS say.

        (1) Read on from what JetStream has. (2) An entry counts once JetStream has acknowledged it. (3) Only
        then, and after a reading that found no further entry, say so: to who asked before it, and to all.
        """
        await self._open_stream()
        await self._nats.subscribe(self._names.hello, cb=self._hailed)
        logger.info("relay-tenant", tenant=self._tenant.name, position=self._position)
        beat = 0.0
        while True:
            self._woken.clear()
            began = time.monotonic()
            chunk = await asyncio.to_thread(self._read)  # (1)
            if not chunk.continues(self._last_leaf):
                await self._start_over(chunk.size)
                continue
            await self._publish(chunk)  # (2)
            if not chunk.complete:
                continue
            await self._answer(began)  # (3)
            if began >= beat:
                leaf = None if self._last_leaf is None else leaf_name(self._last_leaf)
                await self._say(encode_head(self._position - 1, began - self._began, leaf))
                beat = time.monotonic() + HEARTBEAT_S
            await self._rest(beat - time.monotonic())

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._woken.wait()
        except TimeoutError:
            return

    def _read(self) -> Chunk:
        return read_events(self._deployment, self._tenant, self._position, _CHUNK)

    async def _publish(self, chunk: Chunk) -> None:
        acknowledgements = []
        for index, (events, leaf) in enumerate(zip(chunk.events, chunk.leaves, strict=True), chunk.start):
            headers = self._names.entry_headers(index, events, leaf)
            acknowledgements.append(
                await self._jetstream.publish_async(
                    self._names.entries, events, stream=self._names.stream, headers=headers
                )
            )
        if acknowledgements:
            async with asyncio.timeout(_ACKNOWLEDGED_S):
                await asyncio.gather(*acknowledgements)
        self._position, self._last_leaf = chunk.stop, chunk.last

    async def _say(self, event: bytes) -> None:
        await self._nats.publish(self._names.heads, event, headers=self._names.head_headers(event))

    async def _hailed(self, message: Msg) -> None:
        if self._names.may_answer(message.reply) and len(message.data) <= LONGEST_NONCE:
            self._asked.append((time.monotonic(), message.reply, message.data))
            self._woken.set()

    async def _answer(self, known: float) -> None:
        """Answer who asked before `known`, when the ledger was read to its end."""
        ready = [asked for asked in self._asked if asked[0] <= known]
        self._asked = [asked for asked in self._asked if asked[0] > known]
        for _, reply, nonce in ready:
            event = self._names.hello_event(
                self._position - 1,
                at=known - self._began,
                now=time.monotonic() - self._began,
                history=self._history,
            )
            await self._nats.publish(reply, event, headers=self._names.hello_headers(nonce, event))

    # The stream

    async def _open_stream(self) -> None:
        """Find where JetStream is; make the stream if there is none. Raises `StreamTaken`."""
        try:
            found = await self._jetstream.stream_info(self._names.stream)
        except NotFoundError:
            await self._make_stream()
            return
        known = found.config.metadata or {}
        if known.get("log") != self._names.log:
            raise StreamTaken(f"The stream {self._names.stream} is another log's: use another NATS account.")
        self._history = known.get("history", "")
        self._position = found.state.last_seq
        if found.state.messages:
            last = await self._jetstream.get_msg(self._names.stream, self._position, direct=True)
            self._last_leaf = bytes.fromhex((last.headers or {}).get(LEAF, ""))
        await self._jetstream.update_stream(self._config(self._history))

    async def _make_stream(self) -> None:
        self._history = secrets.token_hex(8)
        await self._jetstream.add_stream(self._config(self._history))
        self._position, self._last_leaf = 0, None

    async def _start_over(self, size: int) -> None:
        """Publish everything anew: an older backup was restored over the ledger that was published."""
        logger.warning("relay-restored", tenant=self._tenant.name, position=self._position, size=size)
        await self._jetstream.delete_stream(self._names.stream)
        await self._make_stream()
        await self._say(encode_reset(size - 1, "restored"))

    def _config(self, history: str) -> StreamConfig:
        settings = self._deployment.settings
        return StreamConfig(
            name=self._names.stream,
            subjects=[self._names.entries],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            num_replicas=settings.nats_replicas,
            max_age=settings.nats_days * _DAY_S,
            duplicate_window=_DUPLICATES_S,
            allow_direct=True,
            metadata={"log": self._names.log, "history": history},
        )
