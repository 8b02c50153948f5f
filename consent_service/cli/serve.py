"""`consent serve` and `consent migrate`."""

import asyncio
import os
import signal
import socket
import tempfile
import threading
from contextlib import suppress
from functools import cached_property
from multiprocessing import parent_process
from typing import Annotated, Any

import typer
import uvicorn
from uvicorn.supervisors import multiprocess

from consent_service.cli.imports import load
from consent_service.cli.output import (
    UNUSABLE,
    AsJson,
    DatabaseUrl,
    answer,
    complaints,
    opened,
    reporting_errors,
    require_host,
    settings_with,
)
from consent_service.observability import configure_logging
from consent_service.operations.deployment import Deployment, make_home
from consent_service.operations.manage_tenants import Role, create_api_key, list_keys, require_tenant
from consent_service.settings import Settings
from consent_service.storage.engine import Database
from consent_service.storage.schema import migrate

_APPLICATION = "consent_service.api.app"
_GRACE_SECONDS = 30
_START_SECONDS = 60  # uvicorn takes a worker that is still importing for a dead one after five.
_LISTENERS = 16
_PARENT_LISTENS_SECONDS = 1.0


@reporting_errors
def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on, or a name for all its addresses on this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the port.")] = 1,
    database_url: DatabaseUrl = None,
) -> None:
    """Serve the HTTP API. On an empty directory it makes what it needs and shows the admin key once."""
    require_host(host)
    settings = settings_with(database_url)
    configure_logging(settings.log_level)
    with opened(settings, begin=True) as deployment:
        _first_start(deployment, settings)
    if database_url is not None:
        os.environ["CONSENT_DATABASE_URL"] = database_url  # Worker processes read their settings anew.
    with tempfile.TemporaryDirectory(prefix="consent-metrics-") as shared:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        else:
            load(_APPLICATION)  # Sooner than uvicorn would; each of several workers imports its own.
        try:
            _run(
                uvicorn.Config(
                    f"{_APPLICATION}:create_app",
                    factory=True,
                    http="consent_service.api.connection:Connection",
                    host=host,
                    port=port,
                    workers=workers,
                    ws="none",  # There is none here, and an attempt would be logged with its path.
                    access_log=False,
                    log_config=None,  # Its lines go through ours.
                    log_level=settings.log_level,
                    server_header=False,
                    timeout_graceful_shutdown=_GRACE_SECONDS,
                    timeout_worker_healthcheck=_START_SECONDS,
                )
            )
        except SystemExit as ended:  # uvicorn has codes of its own, for a port that is taken, say.
            raise typer.Exit(UNUSABLE if ended.code else 0) from None


def _run(config: uvicorn.Config) -> None:
    """Serve until a signal. Each address is listened at through several descriptors.

    libuv takes one new connection from each in a turn of its loop. Under load a turn is long, and whoever
    came last would wait seconds behind those whose connections are open.
    """
    listeners: list[socket.socket] = []
    for address in _addresses(config.host):
        config.host = address
        bound = config.bind_socket()
        config.port = bound.getsockname()[1]  # The system chose it if it was 0.
        listeners += [bound, *(bound.dup() for _ in range(_LISTENERS // config.workers - 1))]
    if config.workers > 1:
        multiprocess.Process = _Worker  # type: ignore[misc]  # uvicorn has no parameter for it (ADR 0096)
        _Supervisor(config, sockets=listeners).run()
    else:
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has ended in good order.
            _Server(config).run(sockets=listeners)


def _addresses(host: str) -> list[str]:
    """Return a host's addresses on this machine: `localhost` has one of IPv4 and, mostly, one of IPv6.

    Returns the host itself where none is found: who binds it says what is wrong.
    """
    found: dict[str, None] = {}
    with suppress(socket.gaierror):
        for family, *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            with suppress(OSError), socket.socket(family) as probe:
                probe.bind(place)
                found[socket.getnameinfo(place, socket.NI_NUMERICHOST)[0]] = None
    return list(found) or [host]


class _Server(uvicorn.Server):
    """Accepts who has connected before it stops listening: the system resets whoever still waits then."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way and what comes with the last connections, then end.

        A signal to the whole group, as a terminal or systemd sends it, reaches a worker before the parent
        looks for one, twice a second: until then somebody has to accept who connects to the parent's port.
        """
        if self.config.workers > 1:
            await asyncio.sleep(_PARENT_LISTENS_SECONDS)
        waiting = []
        for server, listener in zip(self.servers, sockets or [], strict=True):
            with suppress(OSError):  # Nobody waits any more, or no descriptor is left for who does.
                while True:
                    waiting.append(listener.accept()[0])
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        protocol: type[Any] = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


class _Worker(multiprocess.Process):
    """One of several processes that share the port."""

    @cached_property
    def server(self) -> _Server:
        """What serves in it."""
        return _Server(self.config)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, or until the parent is no more: the next one needs the port."""
        threading.Thread(target=_stop_after_the_parent, daemon=True).start()
        super().target(sockets)


def _stop_after_the_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class _Supervisor(multiprocess.Multiprocess):
    """Listens no longer than its workers: nobody would accept who connects to it then."""

    def terminate_all(self) -> None:
        """Stop listening, and tell every worker to stop."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def _first_start(deployment: Deployment, settings: Settings) -> None:
    tenant = require_tenant(deployment, settings.tenant)
    if not list_keys(deployment, tenant):
        created = create_api_key(deployment, tenant, Role.ADMIN)
        complaints.print("Admin key of this installation, shown only now:", markup=False)
        complaints.print(created.key, markup=False, highlight=False, soft_wrap=True)


@reporting_errors
def migrate_schema(*, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Bring the database to this program's schema, in one transaction."""
    settings = settings_with(database_url)
    make_home(settings)
    database = Database(settings.resolved_database_url.get_secret_value())
    try:
        revision = migrate(database)
    finally:
        database.close()
    answer({"schema": revision}, as_json=as_json, text=f"The database has schema {revision}.")
