"""Follow the ledgers of a database and tell every subscriber of this process, in order, within milliseconds.

One thread reads what was committed, whichever process committed it, and encodes each entry once. The ledger
is the outbox (ADR 0005): a follower is nothing but the index up to which it has read.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import DBAPIError

from consent_service.domain.subject import SubjectRef
from consent_service.errors import ConsentToolkitError, QueueFull, ShuttingDown, Unavailable
from consent_service.followers.changes import Chunk, encode_reset, read_events
from consent_service.followers.channel import Channel, Subscriber
from consent_service.followers.recipient import Recipient, Watcher
from consent_service.followers.snapshot import Snapshots
from consent_service.observability import STREAM_CUT, STREAM_SUBSCRIBERS, logger
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.storage.watch import Watch, watch

HEARTBEAT_S = 1.0
_CHUNK = 512
_IDLE_BEATS = 60
_PATIENCE_S = 5.0
_AGAIN_S = 0.2


@dataclass(slots=True, eq=False)
class _Followed:
    """A ledger that is followed: the thread has read it up to `cursor`; `last` is the leaf hash before it."""

    tenant: Tenant
    channel: Channel
    cursor: int
    last: bytes | None = None
    idle: int = 0


class Streams:
    """The streams and snapshots of one process, on its event loop; a thread starts with the first stream."""

    def __init__(self, service: ConsentService) -> None:
        self.snapshots = Snapshots(service.deployment)
        self._service = service
        self._limit = service.settings.stream_subscribers
        self._keep = service.settings.stream_replay
        self._write_seconds = service.settings.stream_write_seconds
        self._followed: dict[int, _Followed] = {}
        self._recipients: dict[Recipient, Callable[[], bool]] = {}
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._watch: Watch | None = None
        self._wanted = threading.Event()
        self._open = True

    # On the event loop

    async def subscribe(
        self, tenant: Tenant, after: int | None, allowed: Callable[[], bool], *, leaf: str | None = None
    ) -> Subscriber:
        """Return a subscriber that gets every entry after the one at index `after`, or from now on.

        If that entry's leaf has not the name `leaf`, where one is given, the subscriber followed a ledger
        that an older backup has replaced, and is told to begin anew. `allowed` is asked once a second, on
        another thread, whether it still may be sent anything. Raises `QueueFull` when this process has as
        many as it may, `Unavailable` without a database.
        """
        started = time.monotonic()
        channel = await self._channel_since(tenant, started)
        position, greeting = await self._place(tenant, channel, after, leaf)
        subscriber = channel.subscribe(position=position, started=started, greeting=greeting)
        self._admit(subscriber, allowed)
        return subscriber

    async def watch(
        self, tenant: Tenant, ref: SubjectRef, allowed: Callable[[], bool], *, told: bytes
    ) -> Watcher:
        """Return a watcher that gets the bytes `told` whenever verdicts of this subject may have changed.

        Raises as `subscribe`.
        """
        channel = await self._channel_since(tenant, time.monotonic())
        watcher = channel.watch(ref, told=told)
        self._admit(watcher, allowed)
        return watcher

    def leave(self, recipient: Recipient) -> None:
        """Forget a recipient whose connection has ended."""
        if self._recipients.pop(recipient, None) is None:
            return
        STREAM_SUBSCRIBERS.dec()
        for followed in self._followed.values():
            followed.channel.forget(recipient)

    def _admit(self, recipient: Recipient, allowed: Callable[[], bool]) -> None:
        self._recipients[recipient] = allowed
        STREAM_SUBSCRIBERS.inc()

    async def _channel_since(self, tenant: Tenant, started: float) -> Channel:
        """Return the tenant's channel once it has everything that was committed before `started`."""
        if not self._open:
            raise ShuttingDown("The service is shutting down; try again.")
        if len(self._recipients) >= self._limit:
            raise QueueFull("This process has as many streams as it may; try again.")
        channel = await self._channel(tenant)
        self.wake()
        try:
            await asyncio.wait_for(channel.known_since(started), _PATIENCE_S)
        except TimeoutError:
            raise Unavailable("The ledger cannot be read now; try again.") from None
        return channel

    async def _channel(self, tenant: Tenant) -> Channel:
        async with self._opening:
            followed = self._followed.get(tenant.id)
            if followed is None:
                size = (await asyncio.to_thread(self._read, tenant, 0, 0)).size
                start = max(0, size - _CHUNK)
                followed = _Followed(tenant, Channel(start, keep=self._keep), start)
                self._followed[tenant.id] = followed
                self._start()
            return followed.channel

    async def _place(
        self, tenant: Tenant, channel: Channel, after: int | None, leaf: str | None
    ) -> tuple[int, bytes]:
        """Return where in the channel a subscriber begins, and what it is told before."""
        if after is None:
            return channel.end, b""
        if after >= channel.end:
            return channel.end, encode_reset(channel.end - 1, "ahead")
        if channel.end - after > self._keep:
            return channel.end, encode_reset(channel.end - 1, "behind")
        async with self._opening:
            while max(0, after) < channel.start:
                start = max(0, channel.start - _CHUNK)
                chunk = await asyncio.to_thread(self._read, tenant, start, channel.start - start)
                if chunk.stop != channel.start:
                    return channel.end, encode_reset(channel.end - 1, "behind")
                channel.prepend(chunk.events)
        if leaf is not None and leaf != channel.leaf(after):
            return channel.end, encode_reset(channel.end - 1, "restored")
        return after + 1, b""

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
            self._thread.start()

    def _beat(self, revoked: Sequence[Recipient]) -> None:
        """Once a second: prove that the streams live, end those whose key is gone or who do not read."""
        for recipient in revoked:
            recipient.end()
        late = time.monotonic() - self._write_seconds
        for recipient in tuple(self._recipients):
            if recipient.writing_since is not None and recipient.writing_since < late:
                STREAM_CUT.labels("write").inc()
                recipient.cut()
            else:
                recipient.beat()
        for tenant_id, followed in tuple(self._followed.items()):
            followed.idle = followed.idle + 1 if followed.channel.deserted else 0
            if followed.idle > _IDLE_BEATS:
                del self._followed[tenant_id]
        if not self._followed:
            self._wanted.clear()

    # From any thread

    def wake(self) -> None:
        """Look at the ledgers now: something was committed."""
        if self._watch is not None:
            self._watch.wake()

    def close(self) -> None:
        """End every stream and the thread; not to be called on the event loop."""
        self._open = False
        self._wanted.set()
        self.wake()
        if self._thread is not None:
            self._thread.join()
        if self._loop is not None:
            self._on_loop(self._end_all)

    def _end_all(self) -> None:
        for recipient in tuple(self._recipients):
            recipient.end()

    def _on_loop(self, call: Callable[[], None]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # The loop is closed: nobody listens any more.
            self._open = False

    # On the thread

    def _run(self) -> None:
        while self._open:
            try:
                self._watch = watch(self._service.deployment.database)
            except (ConsentToolkitError, DBAPIError, OSError):
                time.sleep(_AGAIN_S)
                continue
            try:
                self._follow(self._watch)
            except Exception as error:  # noqa: BLE001  # nothing else would follow the ledger from then on
                logger.error("stream-follower", error=type(error).__name__, exc_info=error)
                time.sleep(_AGAIN_S)
            finally:
                watching, self._watch = self._watch, None
                watching.close()

    def _follow(self, watching: Watch) -> None:
        beat = 0.0
        while self._open:
            if not self._wanted.is_set():
                self._wanted.wait()
                beat = 0.0
            watching.wait(max(0.0, beat - time.monotonic()))
            for followed in tuple(self._followed.values()):
                self._advance(followed)
            if time.monotonic() >= beat:
                beat = time.monotonic() + HEARTBEAT_S
                self._on_loop(partial(self._beat, self._revoked()))

    def _advance(self, followed: _Followed) -> None:
        """Publish what was committed since. Without a database there is nothing, and no proof of that."""
        while self._open:
            began = time.monotonic()
            try:
                chunk = self._read(followed.tenant, followed.cursor, _CHUNK)
            except ConsentToolkitError:
                return
            if not chunk.continues(followed.last):
                # From before its last entry, whose leaf the heads name.
                followed.cursor, followed.last = max(0, chunk.size - 1), None
                self._on_loop(partial(followed.channel.restart, followed.cursor))
                continue
            followed.cursor, followed.last = chunk.stop, chunk.last
            verified = began if chunk.complete else None
            if chunk.resets:
                self._on_loop(partial(self.snapshots.forget, followed.tenant.id))
            publish = followed.channel.publish
            self._on_loop(partial(publish, chunk.events, verified=verified, reset=chunk.resets))
            if chunk.complete:
                return

    def _revoked(self) -> list[Recipient]:
        return [recipient for recipient, allowed in tuple(self._recipients.items()) if not allowed()]

    def _read(self, tenant: Tenant, start: int, limit: int) -> Chunk:
        return read_events(self._service.deployment, tenant, start, limit)
