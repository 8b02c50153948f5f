"""The relay: what is in JetStream is the ledger, each entry once, whoever is killed."""

import asyncio
import json
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from consent_sdk import ConsentClient
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from consent_service.errors import ConfigurationError
from consent_service.followers.changes import read_events
from consent_service.followers.relay import Relay
from consent_service.followers.relayed_ledger import RelayedLedger
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.vault.relay_mac import relay_key, relay_mac
from tests.followers.relaying import a_relay, a_relay_process, kept_of, kill
from tests.nats_server import NatsServer
from tests.servers import ConsentServer, wait_until
from tests.shop import Shop

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "follow-over-nats.md"
HELLO, INBOX = "consent.default.hello", "consent.default.inbox"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def shop(migrated_url: str, tmp_path: Path, server: NatsServer) -> Iterator[Shop]:
    shop = Shop(migrated_url, tmp_path / "home", nats_url=server.url)
    yield shop
    shop.close()


@pytest.fixture
def small_shop(sqlite_url: str, tmp_path: Path, server: NatsServer) -> Iterator[Shop]:
    """On SQLite: for what has nothing to do with the database."""
    shop = Shop(sqlite_url, tmp_path / "home", nats_url=server.url)
    yield shop
    shop.close()


def hello(server: NatsServer, nonce: bytes = b"nonce", prefix: str = INBOX, timeout: float = 10) -> Msg:
    return server.ask(lambda connection: connection.request(HELLO, nonce, timeout), inbox_prefix=prefix)


def answered(server: NatsServer) -> dict[str, object]:
    """What a relay answers, when there is one."""
    try:
        return event_of(hello(server).data)
    except NatsError:
        return {}


def event_of(data: bytes) -> dict[str, object]:
    event: dict[str, object] = json.loads(data.split(b"data: ")[1])
    return event


def test_every_entry_is_kept_as_the_stream_sends_it(shop: Shop, server: NatsServer) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.erase("ana")
    with a_relay(shop.settings):
        wait_until(lambda: server.last() == 3, what="what was there before")
        shop.grant("ben", "coupons")
        wait_until(lambda: server.last() == 4, what="the grant, while it stands")
        shop.deny("ben", "coupons")
        kept = kept_of(shop, server)

    sent = read_events(shop.service.deployment, shop.tenant, 0, 100).events
    assert [message.data for message in kept[:3]] == sent[:3]
    assert b'"coupons":["granted"' in kept[3].data
    assert kept[4].data == sent[4]
    assert b'"coupons":["withdrawn"' in kept[4].data


def test_a_relay_killed_again_and_again_leaves_no_gap_and_sends_nothing_twice(
    shop: Shop, server: NatsServer
) -> None:
    chance, stop = random.Random(1), threading.Event()  # noqa: S311  # a test that can be run again
    heard: list[bytes] = []

    def decide() -> None:
        number = 0
        while not stop.wait(0.002):
            shop.grant(f"subject-{number}", "coupons")
            number += 1

    def listen() -> None:
        async def hear(connection: Client) -> None:
            subscription = await connection.subscribe("consent.default.feed.entry")
            while not stop.is_set() or len(heard) < shop.rows("entry"):
                try:
                    heard.append((await subscription.next_msg(timeout=0.2)).data)
                except NatsError:
                    continue

        server.ask(hear)

    threads = [threading.Thread(target=work) for work in (listen, decide)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        before = server.last()
        relay = a_relay_process(shop.settings)
        wait_until(lambda before=before: server.last() > before, what="the relay to go on")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.02))  # anywhere between two entries
        kill(relay)
    stop.set()
    threads[1].join()
    with a_relay(shop.settings):
        kept = kept_of(shop, server)
        threads[0].join()

    assert heard == [message.data for message in kept]


def test_of_two_relays_one_works_and_the_other_takes_over(shop: Shop, server: NatsServer) -> None:
    first = a_relay_process(shop.settings)
    wait_until(lambda: bool(answered(server)), what="the first relay")
    run = answered(server)["run"]
    with a_relay(shop.settings):
        assert answered(server)["run"] == run
        kill(first)
        shop.grant("ana", "coupons")
        kept_of(shop, server)
        wait_until(lambda: bool(answered(server)), what="the second relay")
        assert answered(server)["run"] != run


def test_two_relays_that_both_believe_it_is_their_turn_publish_every_entry_once(
    small_shop: Shop, server: NatsServer
) -> None:
    deployment, tenant = small_shop.service.deployment, small_shop.tenant

    async def both(connection: Client) -> None:
        runs = [
            asyncio.ensure_future(
                RelayedLedger(deployment, tenant, connection, f"run-{number}", time.monotonic()).relay()
            )
            for number in range(2)
        ]
        await asyncio.to_thread(kept_of, small_shop, server)
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    for number in range(50):
        small_shop.grant(f"subject-{number}", "coupons")
    server.ask(both)

    kept_of(small_shop, server)


def test_a_killed_nats_server_is_published_to_again(small_shop: Shop, server: NatsServer) -> None:
    with a_relay(small_shop.settings):
        wait_until(lambda: server.last() == 1, what="the relay")
        server.kill()
        small_shop.grant("ana", "coupons")
        with server.again() as again:
            kept_of(small_shop, again)
            small_shop.deny("ana", "coupons")
            kept_of(small_shop, again)


def test_a_restored_backup_is_published_anew_under_another_history(
    small_shop: Shop, server: NatsServer
) -> None:
    database = small_shop.settings.resolved_database_url.get_secret_value().removeprefix("sqlite:///")
    small_shop.grant("ana", "coupons")
    with sqlite3.connect(database) as source, sqlite3.connect(":memory:") as older:
        source.backup(older)
        small_shop.deny("ana", "coupons")
        with a_relay(small_shop.settings):
            kept_of(small_shop, server)
            before = event_of(hello(server).data)
        small_shop.service.close()
        older.backup(source)
    small_shop.reopen()
    small_shop.grant("ben", "coupons")  # As many entries as there were, and yet another ledger.
    with a_relay(small_shop.settings):
        wait_until(lambda: answered(server).get("index") == 2, what="the relay")
        after = event_of(hello(server).data)
        kept = kept_of(small_shop, server)

    assert before["history"] != after["history"]
    assert small_shop.tenant.ref(small_shop.subject("ben")).encode() in kept[2].data


def test_a_head_follows_what_it_proves(small_shop: Shop, server: NatsServer) -> None:
    async def hear(connection: Client) -> list[tuple[str, bytes, dict[str, str]]]:
        subscription = await connection.subscribe("consent.default.feed.*")
        await connection.flush()
        small_shop.grant("ana", "coupons")
        messages = [await subscription.next_msg(timeout=30) for _ in range(4)]
        return [(message.subject, message.data, dict(message.headers or {})) for message in messages]

    with a_relay(small_shop.settings):
        wait_until(lambda: server.last() == 1, what="the relay")
        heard = server.ask(hear)

    key = relay_key(small_shop.tenant.reference_key)
    log = small_shop.tenant.origin.encode()
    seen = 0
    for subject, data, headers in heard:
        if subject.endswith("entry"):
            seen = int(headers["Nats-Msg-Id"].rpartition("/")[2])
            assert headers["Consent-Mac"] == relay_mac(key, b"entry", log, data)
        else:
            assert event_of(data)["index"] == seen
            run = headers["Consent-Run"].encode()
            assert headers["Consent-Mac"] == relay_mac(key, b"head", log, run, data)
    assert {subject.rpartition(".")[2] for subject, _, _ in heard} == {"entry", "head"}


def test_hello_is_answered_after_the_ledger_was_read_and_only_in_an_inbox_of_the_tenant(
    small_shop: Shop, server: NatsServer
) -> None:
    key, log = relay_key(small_shop.tenant.reference_key), small_shop.tenant.origin.encode()
    with a_relay(small_shop.settings):
        wait_until(lambda: bool(answered(server)), what="the relay")
        for number in range(3):
            index = small_shop.grant(f"subject-{number}", "coupons")
            answer = hello(server, b"nonce %d" % number)
            assert event_of(answer.data)["index"] == index
            mac = relay_mac(key, b"hello", log, b"nonce %d" % number, answer.data)
            assert answer.headers == {"Consent-Mac": mac}
        with pytest.raises(NatsError):
            hello(server, prefix="consent.other.inbox", timeout=1)


def test_the_stream_of_another_log_is_left_alone_and_other_tenants_go_on(
    small_shop: Shop, server: NatsServer
) -> None:
    async def take(connection: Client) -> None:
        config = StreamConfig(name="consent-default", subjects=["elsewhere"], metadata={"log": "another"})
        await connection.jetstream().add_stream(config)
        await connection.jetstream().publish("elsewhere", b"theirs")

    server.ask(take)
    with a_relay(small_shop.settings):
        other = create_tenant(small_shop.service.deployment, "other")
        small_shop.service.committer.submit_blocking(other, PublishNotice(notice=small_shop.notice.notice))
        wait_until(lambda: server.last("consent-other") == 1, what="the other tenant")

    assert [message.data for message in server.kept()] == [b"theirs"]


def test_what_nats_stores_names_nobody(small_shop: Shop, server: NatsServer) -> None:
    name = "anna.schmidt@example.com"
    with a_relay(small_shop.settings):
        small_shop.grant(name, "coupons")
        small_shop.erase(name)
        kept_of(small_shop, server)

    stored = b"".join(file.read_bytes() for file in server.folder.rglob("*") if file.is_file())
    assert small_shop.tenant.origin.encode() in stored
    assert name.encode() not in stored


def test_the_permissions_of_the_page_are_enough_and_no_more(sqlite_url: str, tmp_path: Path) -> None:
    accounts = re.search(r"```\n(   accounts \{.*?)```", PAGE.read_text(), re.DOTALL)
    assert accounts is not None
    configuration = accounts[1].replace('"…"', '"secret"')
    with NatsServer(tmp_path / "nats", configuration=configuration) as server:
        address = server.url.removeprefix("nats://")
        server.url = f"nats://shop:secret@{address}"
        shop = Shop(sqlite_url, tmp_path / "home", nats_url=f"nats://relay:secret@{address}")
        with a_relay(shop.settings):
            wait_until(lambda: bool(answered(server)), what="an answer to hello")
            shop.grant("ana", "coupons")
        shop.close()

        async def trespass(connection: Client) -> list[str]:
            refused: list[str] = []

            async def note(error: Exception) -> None:
                refused.append(str(error))

            connection._error_cb = note
            for subject in ("consent.default.feed.entry", "consent.default.feed.head", "consent.other.hello"):
                await connection.publish(subject, b"x")
            for subject in ("consent.other.feed.*", "_INBOX.>", ">"):
                await connection.subscribe(subject)
            async with asyncio.timeout(30):  # the client's ping overtakes what it has not sent yet
                while len(refused) < 6:
                    await connection.flush()
            await connection.flush()
            return refused

        refused = server.ask(trespass, inbox_prefix=INBOX)

    assert len(refused) == 6


def test_the_command_relays_until_it_is_told_to_stop(small_shop: Shop, server: NatsServer) -> None:
    consent = Path(sys.executable).with_name("consent")
    environment = {"CONSENT_HOME": str(small_shop.settings.home), "CONSENT_NATS_URL": server.url}
    database = small_shop.settings.resolved_database_url.get_secret_value()

    with subprocess.Popen([consent, "relay", "--database-url", database], env=environment) as running:
        wait_until(lambda: server.last() == 1, what="the relay", timeout=60)
        running.terminate()
        code = running.wait(20)

    assert code == 0


def test_a_relay_without_an_address_says_which_setting_is_missing(small_shop: Shop) -> None:
    small_shop.service.deployment.settings = small_shop.settings.model_copy(update={"nats_url": None})

    with pytest.raises(ConfigurationError, match="CONSENT_NATS_URL"):
        Relay(small_shop.service.deployment)


def test_the_sdk_follows_the_relay_and_asks_the_service_only_whom_to_ask_about(
    small_shop: Shop, server: NatsServer, tmp_path: Path
) -> None:
    key = create_api_key(small_shop.service.deployment, small_shop.tenant, Role.BACKEND).key
    small_shop.grant("ana", "coupons")
    with (
        a_relay(small_shop.settings),
        ConsentServer(
            home=tmp_path,
            database_url=small_shop.settings.resolved_database_url.get_secret_value(),
            environment={"CONSENT_KEY_FILE": str(small_shop.settings.resolved_key_file)},
        ) as service,
        ConsentClient(service.url, api_key=key, stream=server.url, miss_timeout=5.0) as client,
    ):
        wait_until(lambda: client.wait_until_ready(1), what="the client")
        assert client.allows("ana", "coupons")
        service.stop()

        small_shop.deny("ana", "coupons")

        wait_until(lambda: not client.allows("ana", "coupons"), what="the withdrawal")
        assert client.check("ana", "coupons").reason == "withdrawn"
        assert client.healthy
