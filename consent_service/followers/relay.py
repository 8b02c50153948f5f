"""Relay every tenant's ledger to NATS JetStream, so that followers need not touch the service (ADR 0073).

Several relays may run on one database: one works, the others wait for its lock. Should two work all the same,
JetStream takes each entry from one of them.
"""

import asyncio
import secrets
import threading
import time
from contextlib import suppress
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from sqlalchemy.exc import DBAPIError

from consent_service.errors import ConfigurationError, ConsentToolkitError
from consent_service.followers.relayed_ledger import RelayedLedger, StreamTaken
from consent_service.followers.stream import HEARTBEAT_S
from consent_service.observability import logger
from consent_service.operations.deployment import Deployment
from consent_service.storage.watch import Watch, watch

_LOCK = "relay"
_AGAIN_S = 0.5
_LOOK_FOR_TENANTS_S = 2.0
_CONNECT_S = 5
_PING_S = 5


class Relay:
    """Relays until it is stopped, whatever database and NATS do; raises `ConfigurationError` at once only."""

    def __init__(self, deployment: Deployment) -> None:
        if deployment.settings.nats_url is None:
            raise ConfigurationError("A relay needs CONSENT_NATS_URL, such as nats://nats.internal:4222.")
        self._url = deployment.settings.nats_url.get_secret_value()
        self._deployment = deployment
        self._stop = threading.Event()
        self._working: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._watch: Watch | None = None
        self._ledgers: dict[int, RelayedLedger] = {}

    def run(self) -> None:
        """Relay when it is our turn, until `stop`."""
        while not self._stop.is_set():
            try:
                with self._deployment.database.exclusively(_LOCK, wait=False) as ours:
                    if ours:
                        asyncio.run(self._work())
            except (ConsentToolkitError, DBAPIError, NatsError, OSError, TimeoutError) as error:
                logger.warning("relay", error=type(error).__name__)
            self._stop.wait(_AGAIN_S)

    def stop(self) -> None:
        """Let `run` return soon; from any thread, and from a signal's handler."""
        self._stop.set()
        if self._working is not None:
            loop, stopped = self._working
            with suppress(RuntimeError):  # The loop ended by itself.
                loop.call_soon_threadsafe(stopped.set)

    async def _work(self) -> None:
        stopped = asyncio.Event()
        self._working = (asyncio.get_running_loop(), stopped)
        if self._stop.is_set():
            return
        connection = await self._connect()
        looking = asyncio.ensure_future(asyncio.to_thread(self._look, asyncio.get_running_loop()))
        try:
            await self._relay_all(connection, {asyncio.ensure_future(stopped.wait()), looking})
        finally:
            self._working = None
            if self._watch is not None:
                self._watch.wake()
            await asyncio.gather(looking, return_exceptions=True)
            await connection.close()

    async def _relay_all(self, connection: Client, ending: set[asyncio.Future[Any]]) -> None:
        """Relay all tenants, new ones too, until one of `ending` is done; raise what ends a ledger."""
        run, began = secrets.token_hex(8), time.monotonic()
        tasks: dict[int, asyncio.Task[None]] = {}
        try:
            while not any(end.done() for end in ending):
                for tenant in await asyncio.to_thread(self._deployment.tenants):
                    if tenant.id not in tasks:
                        ledger = RelayedLedger(self._deployment, tenant, connection, run, began)
                        self._ledgers[tenant.id] = ledger
                        tasks[tenant.id] = asyncio.ensure_future(_relayed(ledger))
                done, _ = await asyncio.wait(
                    ending | {task for task in tasks.values() if not task.done()},
                    timeout=_LOOK_FOR_TENANTS_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    task.result()
        finally:
            self._ledgers.clear()
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _connect(self) -> Client:
        credentials = self._deployment.settings.nats_credentials
        return await nats.connect(
            self._url.split(","),
            name="consent relay",
            user_credentials=None if credentials is None else str(credentials),
            allow_reconnect=False,  # What was under way when a connection ended is looked up, not sent again.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_CONNECT_S,
            ping_interval=_PING_S,
            max_outstanding_pings=2,
            error_cb=_note,
        )

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake every ledger when something was committed, until the work ends."""
        self._watch = watch(self._deployment.database)
        try:
            while self._working is not None:
                if self._watch.wait(HEARTBEAT_S):
                    loop.call_soon_threadsafe(self._wake)
        finally:
            watching, self._watch = self._watch, None
            watching.close()

    def _wake(self) -> None:
        for ledger in self._ledgers.values():
            ledger.wake()


async def _relayed(ledger: RelayedLedger) -> None:
    try:
        await ledger.relay()
    except StreamTaken as error:  # The other tenants go on.
        logger.error("relay-stream", error=str(error))


async def _note(error: Exception) -> None:
    # What NATS complains of names subjects of ours at most: a permission that is missing, for one.
    logger.warning("relay-nats", error=type(error).__name__, reason=str(error)[:200])
