import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from consent_sdk import AsyncConsentClient, ConsentClient, Reason
from consent_sdk._clock import Clock
from live_service import TROUBLES, LiveService, a_live_service, in_a_child, last_allowed, wait_for

STALENESS = 1.0
SLACK = 0.25  # for a proof that was on its way
both = pytest.mark.parametrize("preload", [False, True], ids=["lazy", "preloaded"])


@pytest.fixture
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        service.grant("ana")
        yield service


@contextmanager
def a_client(
    service: LiveService, *, preload: bool = False, miss_timeout: float = 2.0
) -> Iterator[ConsentClient]:
    with ConsentClient(
        service.url, api_key="ck_test", max_staleness=STALENESS, preload=preload, miss_timeout=miss_timeout
    ) as client:
        assert client.wait_until_ready(10)
        yield client


@both
def test_a_withdrawal_arrives_by_itself(service: LiveService, *, preload: bool) -> None:
    with a_client(service, preload=preload) as client:
        gate, other = client.gate("coupons"), client.gate("support")
        assert gate("ana")
        asked = service.count("/v1/gate")

        service.withdraw("ana", "coupons")

        wait_for(lambda: not gate("ana"))
        assert client.check("ana", "coupons").reason is Reason.WITHDRAWN
        assert other("ana")
        assert service.count("/v1/gate") == asked == (0 if preload else 1)


def test_however_many_threads_ask_the_service_is_asked_once(service: LiveService) -> None:
    service.gate_delay = 0.2
    answers = []
    with a_client(service) as client:
        threads = [
            threading.Thread(target=lambda: answers.append(client.allows("ana", "coupons")))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == [True] * 20
    assert service.count("/v1/gate") == 1


def test_an_answer_that_comes_too_late_denies_and_is_kept_for_the_next_time(service: LiveService) -> None:
    service.gate_answers.clear()
    with a_client(service, miss_timeout=0.05) as client:
        try:
            verdict = client.check("ana", "coupons")
        finally:
            service.gate_answers.set()

        assert verdict.reason is Reason.UNAVAILABLE
        wait_for(lambda: client.allows("ana", "coupons"))


def test_a_dead_service_raises_nothing() -> None:
    client = ConsentClient("http://127.0.0.1:9", api_key="ck_test")

    assert client.check("ana", "coupons").reason is Reason.UNAVAILABLE
    assert not client.wait_until_ready(0.01)
    assert not client.healthy
    assert client.status.state == "not_ready"
    client.close()


def test_a_client_that_was_never_live_denies_within_its_budget(service: LiveService) -> None:
    service.suffer("frozen")
    began = time.monotonic()
    with ConsentClient(service.url, api_key="ck_test", timeout=60.0) as client:  # what waits for it, hangs
        verdict = client.check("ana", "coupons")

        assert verdict.reason is Reason.NOT_READY
        assert time.monotonic() - began < 20


def test_an_answer_that_is_older_than_the_staleness_when_it_comes_opens_nothing(service: LiveService) -> None:
    away = [0.0]
    clock = Clock(monotonic=lambda: time.monotonic() + away[0])
    service.trouble = "revoked"
    service.gate_delay = 0.3
    with ConsentClient(service.url, api_key="ck_test", clock=clock, miss_timeout=5.0) as client:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.allows("ana", "coupons")))
        asking.start()
        wait_for(lambda: service.count("/v1/gate"))

        away[0] = 6.0
        asking.join()

        assert answers == [False]
        assert client.allows("ana", "coupons")


def test_after_a_decision_of_its_own_nobody_is_answered_by_what_was_asked_before(
    service: LiveService,
) -> None:
    service.trouble = "revoked"
    service.gate_delay = 0.3
    with ConsentClient(service.url, api_key="ck_test", miss_timeout=5.0) as client:
        asking = threading.Thread(target=client.allows, args=("ana", "coupons"))
        asking.start()
        wait_for(lambda: service.count("/v1/gate"))

        service.withdraw("ana")
        client._keeper.expect("ana", 1)

        assert not client.allows("ana", "coupons")
        asking.join()
        assert service.count("/v1/gate") == 2


@both
@pytest.mark.parametrize("trouble", TROUBLES)
def test_whatever_the_trouble_nothing_is_allowed_past_the_staleness_and_it_heals(
    service: LiveService, trouble: str, *, preload: bool
) -> None:
    with a_client(service, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")

        service.suffer(trouble)
        service.hang_up() if trouble in ("refused", "lying", "lying page", "revoked") else None
        began = time.monotonic()
        assert last_allowed(lambda: gate("ana")) < began + STALENESS + SLACK

        assert client.check("ana", "coupons").reason is Reason.STALE
        assert client.check("nobody", "coupons").reason is Reason.STALE
        assert not client.healthy
        service.suffer(None)
        wait_for(lambda: gate("ana"))


@both
def test_a_withdrawal_during_an_outage_holds_after_it(service: LiveService, *, preload: bool) -> None:
    with a_client(service, preload=preload) as client:
        gate, yes = client.gate("coupons"), []
        assert gate("ana")
        service.suffer("closed")
        service.withdraw("ana")
        wait_for(lambda: client.status.state == "stale")

        service.suffer(None)
        wait_for(lambda: client.healthy or yes.append(gate("ana")))

        assert not any(yes)
        assert not gate("ana")


@both
def test_a_service_restored_from_an_older_backup_is_believed_anew(
    service: LiveService, *, preload: bool
) -> None:
    service.withdraw("ana")
    service.grant("ana")
    with a_client(service, preload=preload) as client:
        assert client.allows("ana", "coupons")

        service.restore(2)

        wait_for(lambda: client.check("ana", "coupons").reason is Reason.WITHDRAWN)


@both
def test_a_restored_ledger_that_has_grown_past_what_was_seen_is_believed_anew(
    service: LiveService, *, preload: bool
) -> None:
    service.withdraw("ana")
    service.grant("ana")
    with a_client(service, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")
        wait_for(lambda: client.status.cursor == 2)
        with service.changed:
            service.restore(2)
            for subject in ("ben", "cleo", "dora"):
                service.grant(subject)

        wait_for(lambda: client.check("ana", "coupons").reason is Reason.WITHDRAWN)
        assert not gate("ana")
        wait_for(lambda: client.allows("dora", "coupons"))


def test_after_days_without_the_stream_nothing_of_before_is_believed(service: LiveService) -> None:
    away = [0.0]
    clock = Clock(monotonic=lambda: time.monotonic() + away[0])
    with ConsentClient(service.url, api_key="ck_test", clock=clock, miss_timeout=5.0) as client:
        gate = client.gate("coupons")
        assert client.wait_until_ready(10)
        assert gate("ana")
        service.suffer("closed")
        away[0] = 8 * 86_400.0
        with service.changed:  # Ana was erased, and nobody knows any more that it was she.
            service.states.clear()
            service.entries.append(("nobody", {}))

        service.suffer(None)

        wait_for(lambda: client.healthy)
        assert not gate("ana")


def test_a_staleness_of_little_more_than_a_heartbeat_needs_no_second_connection(service: LiveService) -> None:
    service.heartbeat = 1.0
    leases: set[float] = set()
    with ConsentClient(service.url, api_key="ck_test", max_staleness=1.2) as client:
        assert client.wait_until_ready(10)

        wait_for(lambda: leases.add(client._keeper.copy.lease.until) or len(leases) > 4, seconds=20)

        assert client.status.connections == 1


def test_a_refusing_service_is_not_stormed(service: LiveService) -> None:
    with a_client(service):
        service.suffer("refused")
        service.hang_up()
        before = len(service.asked)

        time.sleep(3.0)  # the figure is about what happens while time passes

        assert len(service.asked) - before <= 9


def test_the_wait_that_a_refusing_service_asks_for_is_kept(service: LiveService) -> None:
    with a_client(service):
        service.retry_after = "Retry-After: 20\r\n"
        service.suffer("refused")
        service.hang_up()
        wait_for(lambda: any(b"/v1/stream" in request for _, request in service.asked[1:]))
        before = len(service.asked)

        time.sleep(1.5)  # as above

        assert len(service.asked) == before


def test_a_preloaded_client_asks_nothing_in_a_decision(service: LiveService) -> None:
    with a_client(service, preload=True) as client:
        before = len(service.asked)

        assert client.allows("ana", "coupons")
        assert client.check("eve", "coupons").reason is Reason.NEVER_ASKED
        assert client.check("ana", "cupons").reason is Reason.PURPOSE_UNKNOWN
        assert len(service.asked) == before


def test_changes_are_told(service: LiveService) -> None:
    told: list[str | None] = []
    with a_client(service) as client:
        client.on_change(told.append)
        assert client.allows("ana", "coupons")

        service.withdraw("bob")
        service.withdraw("ana")

        wait_for(lambda: told)
    assert told == ["ana"]


def test_a_listener_that_fails_does_not_end_the_stream(service: LiveService) -> None:
    with a_client(service) as client:
        client.on_change(lambda _subject: 1 / 0)
        assert client.allows("ana", "coupons")

        service.withdraw("ana")

        wait_for(lambda: not client.allows("ana", "coupons"))
        time.sleep(STALENESS)  # for the lease to need renewal
        assert client.healthy


# The exception that ends the thread is the point of the test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_denies_and_is_replaced(service: LiveService) -> None:
    with a_client(service) as client:
        gate = client.gate("coupons")
        assert gate("ana")

        @client.on_change
        def _die(_subject: str | None) -> None:
            raise SystemExit

        service.withdraw("ana", "support")
        thread = client._keeper.follower._thread
        assert thread is not None
        thread.join(5)

        assert not thread.is_alive()
        began = time.monotonic()
        client._keeper._listeners.clear()
        assert last_allowed(lambda: gate("ana")) < began + STALENESS + SLACK
        assert client.check("ana", "coupons").reason is Reason.STALE
        wait_for(lambda: gate("ana"))


@both
def test_a_forked_child_denies_at_once_and_is_live_by_itself(service: LiveService, *, preload: bool) -> None:
    with a_client(service, preload=preload) as client:
        gate = client.gate("coupons")
        assert gate("ana")

        def child() -> bool:
            at_once = gate("ana"), client.check("ana", "coupons").reason
            wait_for(lambda: gate("ana"))
            return at_once == (False, Reason.STALE) and client.allows("ana", "support")

        assert in_a_child(child)
        assert gate("ana")
        service.withdraw("ana")
        wait_for(lambda: not gate("ana"))


def test_without_a_stream_a_forked_child_asks_and_reports_on_a_connection_of_its_own(
    service: LiveService,
) -> None:
    with ConsentClient(service.url, api_key="ck_test", stream="off") as client:
        assert client.allows("ana", "coupons")
        client.report_use("ana", "coupons", feature="home page")
        wait_for(lambda: service.count("/v1/uses") == 1)
        opened = len(service._open)

        def child() -> bool:
            client.report_use("ana", "coupons", feature="basket")
            wait_for(lambda: client._uses._thread is not None and client._uses._thread.is_alive())
            return client.allows("ana", "coupons")

        assert in_a_child(child)
        assert len(service._open) > opened
        assert client.allows("ana", "coupons")


def test_a_fork_that_runs_no_hooks_shares_no_connection_with_its_parent(service: LiveService) -> None:
    with ConsentClient(service.url, api_key="ck_test", stream="off") as client:
        assert client.allows("ana", "coupons")
        opened = len(service._open)

        client._http._pid = -1  # as a child finds it

        assert client.allows("ana", "coupons")
        assert len(service._open) == opened + 1


def test_a_closed_client_denies(service: LiveService) -> None:
    with a_client(service) as client:
        gate = client.gate("coupons")
        assert gate("ana")

    assert not gate("ana")
    assert client.check("ana", "coupons").reason is Reason.UNAVAILABLE
    assert client.status.state == "closed"


def test_no_answer_on_its_way_opens_the_gate_of_a_closed_client(service: LiveService) -> None:
    service.trouble = "revoked"
    service.gate_delay = 0.3
    client = ConsentClient(service.url, api_key="ck_test", miss_timeout=5.0)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.check("ana", "coupons").reason))
    asking.start()
    wait_for(lambda: service.count("/v1/gate"))

    client.close()
    asking.join()

    assert answers == [Reason.UNAVAILABLE]


def test_closing_takes_a_moment_and_leaves_no_thread(service: LiveService) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with a_client(service) as client:
        assert client.allows("ana", "coupons")
        began = time.monotonic()

    assert time.monotonic() - began < 5
    wait_for(lambda: not {t.name for t in threading.enumerate() if t.name.startswith("consent")} - before)


def test_asyncio_waits_without_holding_up_the_loop(service: LiveService) -> None:
    service.gate_delay = 0.2

    async def main() -> tuple[list[bool], int]:
        async with AsyncConsentClient(
            service.url, api_key="ck_test", max_staleness=STALENESS, miss_timeout=2.0
        ) as client:
            assert await client.wait_until_ready(10)
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticker = asyncio.create_task(tick())
            gate = client.gate("coupons")
            answers = await asyncio.gather(*[gate("ana") for _ in range(20)])
            ticker.cancel()
            service.withdraw("ana")
            await asyncio.to_thread(wait_for, lambda: client.status.cursor == 1)
            assert (await client.check("ana", "coupons")).reason is Reason.WITHDRAWN
            return answers, ticks

    answers, ticks = asyncio.run(main())

    assert answers == [True] * 20
    assert ticks > 5
    assert service.count("/v1/gate") == 1


def test_a_grant_ends_by_itself(service: LiveService) -> None:
    began = time.monotonic()
    service.grant("eve", until=int(time.time()) + 2)
    with a_client(service) as client:
        assert client.allows("eve", "coupons")

        assert last_allowed(lambda: client.allows("eve", "coupons")) < began + 2 + SLACK

        assert client.check("eve", "coupons").reason is Reason.EXPIRED
