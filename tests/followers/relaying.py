"""Relays for tests: in this process, or in one that can be killed."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from consent_service.followers.relay import Relay
from consent_service.operations.deployment import Deployment
from consent_service.settings import Settings
from tests.nats_server import Kept, NatsServer
from tests.servers import wait_until
from tests.shop import Shop

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["tests.followers.relaying"])


@contextmanager
def a_relay(settings: Settings) -> Iterator[Relay]:
    """A relay on a thread."""
    deployment = Deployment.open(settings)
    relay = Relay(deployment)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join()
        deployment.close()


def a_relay_process(settings: Settings) -> BaseProcess:
    """A relay in a process of its own."""
    process = _FORKSERVER.Process(target=_relay, args=(settings,), daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """End it as a power cut would."""
    process.kill()
    process.join()


def _relay(settings: Settings) -> None:
    Relay(Deployment.open(settings)).run()


def kept_of(shop: Shop, server: NatsServer) -> list[Kept]:
    """What JetStream has when it has the whole ledger: each entry once, in order, under its name."""
    size = shop.rows("entry")
    wait_until(lambda: server.last() >= size, what=f"{size} entries in JetStream", timeout=60)
    kept = server.kept()
    assert [message.sequence for message in kept] == list(range(1, size + 1))
    log = shop.tenant.origin
    assert [message.headers["Nats-Msg-Id"] for message in kept] == [f"{log}/{index}" for index in range(size)]
    return kept
