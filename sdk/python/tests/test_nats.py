"""The SDK behind a relay, on a real NATS server: the same lease, the same gaps, never a late yes."""

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest
from consent_sdk import AsyncConsentClient, ConfigurationError, ConsentClient, Reason
from live_relay import HELLO, TROUBLES, LiveRelay
from live_service import LiveService, a_live_service, in_a_child, last_allowed, wait_for

from tests.nats_server import NatsServer
from tests.size import size

STALENESS = 1.0
SLACK = 0.25  # for a proof that was on its way
CUTS = size(4, 200)
ENDS = {"killed": signal.SIGKILL, "stopped": signal.SIGTERM, "frozen": signal.SIGSTOP}
both = pytest.mark.parametrize("preload", [False, True], ids=["lazy", "preloaded"])


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


@pytest.fixture
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        service.grant("ana")
        yield service


@pytest.fixture
def relay(service: LiveService, nats_server: NatsServer) -> Iterator[LiveRelay]:
    relay = LiveRelay(service, nats_server.url)
    relay._history = str(id(service))
    yield relay
    relay.close()


@contextmanager
def a_client(
    service: LiveService, server: NatsServer, *, preload: bool = False, staleness: float = STALENESS
) -> Iterator[ConsentClient]:
    with ConsentClient(
        service.url,
        api_key="ck_test",
        stream=server.url,
        max_staleness=staleness,
        preload=preload,
        miss_timeout=2.0,
    ) as client:
        wait_for(lambda: client.wait_until_ready(1), seconds=20)
        yield client


@both
def test_a_withdrawal_arrives_without_the_service(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, *, preload: bool
) -> None:
    with a_client(service, nats_server, preload=preload) as client:
        gate, other = client.gate("coupons"), client.gate("support")
        assert gate("ana")
        asked = len(service.asked)

        service.withdraw("ana", "coupons")

        wait_for(lambda: not gate("ana"))
        assert client.check("ana", "coupons").reason is Reason.WITHDRAWN
        assert other("ana")
        assert len(service.asked) == asked
        assert service.count("/v1/stream") == 0


@pytest.mark.parametrize(("trouble", "preload"), [*zip(TROUBLES, cycle((False, True)), strict=False)])
def test_whatever_a_relay_does_nothing_is_allowed_past_the_staleness_and_it_heals(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, trouble: str, *, preload: bool
) -> None:
    with a_client(service, nats_server, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")

        relay.trouble = trouble
        began = time.monotonic()
        assert last_allowed(lambda: gate("ana")) < began + STALENESS + SLACK

        assert client.check("ana", "coupons").reason in (Reason.STALE, Reason.NOT_READY)
        assert not client.healthy
        relay.trouble = None
        wait_for(lambda: gate("ana"))


@both
def test_a_frozen_server_denies_and_what_was_missed_is_taken_from_what_it_kept(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, *, preload: bool
) -> None:
    with a_client(service, nats_server, preload=preload) as client:
        gate, yes = client.gate("coupons"), []
        assert gate("ana")
        assert client.allows("ben", "coupons") is False
        nats_server.send(signal.SIGSTOP)
        try:
            service.withdraw("ana")
            began = time.monotonic()
            assert last_allowed(lambda: gate("ana")) < began + STALENESS + SLACK
            assert client.check("ana", "coupons").reason is Reason.STALE
        finally:
            nats_server.send(signal.SIGCONT)
        loads, asked = service.count("/v1/snapshot"), service.count("/v1/gate")

        wait_for(lambda: client.healthy or yes.append(gate("ana")), seconds=20)

        assert not any(yes)
        assert client.check("ana", "coupons").reason is Reason.WITHDRAWN
        assert client.check("ben", "coupons").reason is Reason.NEVER_ASKED
        assert (service.count("/v1/snapshot"), service.count("/v1/gate")) == (loads, asked)


@pytest.mark.parametrize(("trouble", "preload"), [("repeating", False), ("reordering", True)])
def test_an_entry_that_comes_again_or_late_changes_nothing(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, trouble: str, *, preload: bool
) -> None:
    with a_client(service, nats_server, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")
        relay.trouble = trouble

        for number in range(5):
            service.grant("ana")
            service.withdraw("ana")
            service.grant(f"subject-{number}")

        wait_for(lambda: client.status.cursor == len(service.entries) - 1)
        assert client.check("ana", "coupons").reason is Reason.WITHDRAWN
        assert client.allows("subject-4", "coupons")


@both
def test_an_entry_that_is_lost_empties_the_copy(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, *, preload: bool
) -> None:
    with a_client(service, nats_server, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")

        relay.trouble = "lossy"
        service.withdraw("ana")

        wait_for(lambda: not gate("ana"))
        wait_for(lambda: client.check("ana", "coupons").reason is Reason.WITHDRAWN, seconds=20)


def test_another_run_is_followed_without_a_moment_of_denial(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer
) -> None:
    with a_client(service, nats_server, staleness=5.0) as client:
        gate = client.gate("coupons")
        assert gate("ana")
        asked, connections = relay.asked, client.status.connections

        relay.restart()

        wait_for(lambda: relay.asked > asked or not gate("ana"))
        assert gate("ana")
        service.withdraw("ana")
        wait_for(lambda: not gate("ana"))
        assert client.check("ana", "coupons").reason is Reason.WITHDRAWN
        assert client.status.connections == connections


@both
def test_another_history_is_believed_anew(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, *, preload: bool
) -> None:
    service.withdraw("ana")
    service.grant("ana")
    with a_client(service, nats_server, preload=preload) as client:
        assert client.allows("ana", "coupons")

        service.restore(2)
        service.grant("ben")
        service.grant("cleo")  # Longer than before, and yet another ledger.
        relay.start_over()

        wait_for(lambda: client.check("ana", "coupons").reason is Reason.WITHDRAWN, seconds=20)
        assert client.allows("ben", "coupons")


@both
def test_a_forked_child_denies_at_once_and_is_live_by_itself(
    service: LiveService, relay: LiveRelay, nats_server: NatsServer, *, preload: bool
) -> None:
    with a_client(service, nats_server, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")

        def child() -> bool:
            at_once = gate("ana"), client.check("ana", "coupons").reason
            wait_for(lambda: gate("ana"))
            return at_once == (False, Reason.STALE)

        assert in_a_child(child)
        assert gate("ana")
        service.withdraw("ana")
        wait_for(lambda: not gate("ana"))


def test_asyncio_follows_too(service: LiveService, relay: LiveRelay, nats_server: NatsServer) -> None:
    async def main() -> None:
        async with AsyncConsentClient(
            service.url, api_key="ck_test", stream=nats_server.url, miss_timeout=2.0
        ) as client:
            assert await client.wait_until_ready(10)
            assert await client.allows("ana", "coupons")
            service.withdraw("ana")
            await asyncio.to_thread(wait_for, lambda: client.status.cursor == 1)
            assert (await client.check("ana", "coupons")).reason is Reason.WITHDRAWN

    asyncio.run(main())


def cut(server: NatsServer, relay: LiveRelay, kind: str) -> None:
    if kind in ENDS:
        server.send(ENDS[kind])
    else:
        relay.trouble = kind


def heal(server: NatsServer, relay: LiveRelay, kind: str) -> NatsServer:
    """The server that is there after a cut."""
    relay.trouble = None
    if kind == "frozen":
        server.send(signal.SIGCONT)
    elif kind in ENDS:
        server.wait()
        return server.again()
    return server


def test_no_gate_opens_past_the_staleness_in_random_cuts(
    service: LiveService, relay: LiveRelay, tmp_path: Path
) -> None:
    chance, late = random.Random(7), []  # noqa: S311  # repeatable, no secret
    server = NatsServer(tmp_path / "nats")
    relay._url = server.url
    relay._restart = True
    with a_client(service, server) as client:
        gate = client.gate("coupons")
        for number in range(CUTS):
            subject = f"subject-{number}"
            service.grant(subject)
            wait_for(lambda subject=subject: client.wait_until_ready(1) and gate(subject), seconds=30)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.2))  # anywhere between two heads
            kind = chance.choice([*ENDS, *TROUBLES])
            cut(server, relay, kind)
            cut_at = time.monotonic()
            service.withdraw(subject)
            while (asked_at := time.monotonic()) < cut_at + STALENESS + 0.3:
                if gate(subject) and asked_at > cut_at + STALENESS:
                    late.append(kind)
                time.sleep(0.002)
            server = heal(server, relay, kind)
            wait_for(lambda: client.healthy, seconds=30)
            assert not gate(subject)
    server.stop()

    assert late == []


@pytest.mark.parametrize("stream", ["nats:/x", "http://x", "nats://x?creds=y", "nats://x?credentials="])
def test_an_address_that_is_none_is_refused_at_once(stream: str) -> None:
    with pytest.raises(ConfigurationError):
        ConsentClient("http://127.0.0.1:9", api_key="ck_test", stream=stream)


def test_no_repr_and_no_log_line_shows_where_nats_is(
    service: LiveService, caplog: pytest.LogCaptureFixture
) -> None:
    with ConsentClient(
        service.url, api_key="ck_test", stream="nats://shop:secret@127.0.0.1:9", max_staleness=STALENESS
    ) as client:
        wait_for(lambda: "NoServersError" in caplog.text)
        shown = repr(client) + repr(vars(client)) + repr(client._options) + caplog.text

    assert "NoServersError" in caplog.text
    assert not any(word in shown for word in ("secret", "127.0.0.1"))
    assert HELLO not in shown
