"""Whatever a shop asks, decorates or configures wrongly is denied, or refused at once."""

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from copy import copy, deepcopy
from enum import StrEnum

import pytest
from consent_sdk import (
    AsyncConsentClient,
    ConfigurationError,
    ConsentClient,
    InvalidSubject,
    Reason,
    ServiceUnavailable,
    UnknownPurpose,
)
from consent_sdk.testing import FakeConsent
from live_service import LiveService, a_live_service, wait_for

from tests.servers import unused_port


class _Purpose(StrEnum):
    COUPONS = "coupons"


class _Lazy:
    """As a framework's lazy object is whose database is away."""

    def __hash__(self) -> int:
        raise RuntimeError("no database")

    def __str__(self) -> str:
        raise RuntimeError("no database")

    __repr__ = __str__


class _Number(int):
    pass


ODD = ("a b", "50%", "😀" * 64, "ana@example.com")
UNSEEN = ("ana\n", "nul\0", "ana\xa0", "ana\u200b", "\ud800")
NOBODY = (None, True, 1, _Number(7), 1.5, float("nan"), b"ana", "", *UNSEEN, "x" * 257, [], {}, (), _Lazy())
NO_PURPOSE = (*NOBODY[:-1], "Coupons", "ana@example.com", "ü", _Lazy())


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        for subject in ("ana", *ODD):
            service.grant(subject)
        yield service


@pytest.fixture(scope="module", params=["lazy", "preloaded", "off"])
def client(service: LiveService, request: pytest.FixtureRequest) -> Iterator[ConsentClient]:
    more = {"stream": "off"} if request.param == "off" else {}
    with ConsentClient(
        service.url, api_key="ck_test", preload=request.param == "preloaded", miss_timeout=5.0, **more
    ) as client:
        assert client.wait_until_ready(10)
        yield client


def answers(client: ConsentClient, subject: object, purpose: object) -> dict[str, object]:
    """What every reading call says; none may raise."""
    asks: dict[str, Callable[[str, str], object]] = {
        "allows": client.allows,
        "check": client.check,
        "check_at_once": client.check_at_once,
        "check_async": lambda who, what: asyncio.run(client.check_async(who, what)),
        "profile": lambda who, what: client.profile(who, purpose=what).reason is Reason.GRANTED,
    }
    return {name: ask(subject, purpose) for name, ask in asks.items()}  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("subject", ODD)
def test_an_odd_subject_is_one(client: ConsentClient, subject: str) -> None:
    gate = client.gate("coupons")

    assert gate(subject)
    assert client.allows(subject, "coupons")
    assert client.check(subject, _Purpose.COUPONS).reason is Reason.GRANTED


@pytest.mark.parametrize("subject", NOBODY, ids=lambda each: type(each).__name__)
def test_what_is_no_subject_is_denied(client: ConsentClient, subject: object) -> None:
    assert not any(answers(client, subject, "coupons").values())
    assert not client.gate("coupons")(subject)  # type: ignore[arg-type]  # that is the test
    assert not client.consents(subject)  # type: ignore[arg-type]  # as above
    assert not client.history(subject)  # type: ignore[arg-type]  # as above
    client.report_use(subject, "coupons", feature="page")  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("subject", UNSEEN, ids=ascii)
def test_a_subject_with_what_nobody_sees_is_said_to_be_none(client: ConsentClient, subject: str) -> None:
    assert client.check(subject, "coupons").reason is Reason.NEVER_ASKED
    with pytest.raises(InvalidSubject):
        client.decide(subject, notice="ab" * 32, choices={"coupons": "granted"}, language="en")


@pytest.mark.parametrize("purpose", NO_PURPOSE, ids=lambda each: type(each).__name__)
def test_what_is_no_purpose_is_denied(client: ConsentClient, purpose: object) -> None:
    assert not any(answers(client, "ana", purpose).values())
    client.report_use("ana", purpose, feature="page")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(UnknownPurpose):
        client.gate(purpose)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("feature", [None, 5, [], "", "Page d'accueil", "\ud800"])
def test_a_feature_without_a_name_is_reported_all_the_same(feature: object) -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    consent.report_use("ana", "coupons", feature=feature)  # type: ignore[arg-type]  # that is the test

    assert len(consent.uses) == 1


def test_a_subject_in_the_place_of_the_purpose_is_in_no_log_line(
    client: ConsentClient, caplog: pytest.LogCaptureFixture
) -> None:
    client._asking._said.clear()
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            assert not client.check("coupons", "ana@example.com")

    assert "ana@example.com" not in caplog.text
    assert caplog.text.count("no purpose's key") == 1


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://"},
        {"url": "http://shop:secret@consent.internal"},
        {"url": "http://consent.internal?tenant=shop"},
        {"url": "http://consent.internal#shop"},
        {"url": "http://consent internal"},
        {"url": "http://consent.internal\n"},
        {"url": "http://consent.internal:99999"},
        {"url": "http://[::1"},
        {"url": None},
        {"api_key": b"ck_x"},
        {"api_key": None},
        {"max_staleness": float("inf")},
        {"max_staleness": float("nan")},
        {"max_staleness": "5"},
        {"miss_timeout": float("inf")},
        {"miss_timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": 1e12},
        {"cache_size": float("nan")},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_once(given: dict[str, object]) -> None:
    working: dict[str, object] = {"url": "http://consent.internal", "api_key": "ck_test", "stream": "off"}
    ConsentClient(**working).close()  # type: ignore[arg-type]  # a mapping

    with pytest.raises(ConfigurationError) as refused:
        ConsentClient(**(working | given))  # type: ignore[arg-type]  # that is the test

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "surroundings",
    [
        {"HTTP_PROXY": "socks5://127.0.0.1:9"},
        {"HTTP_PROXY": "ftp://127.0.0.1:9"},
        {"SSL_CERT_FILE": "/nowhere"},
    ],
    ids=str,
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_surroundings_that_spoil_every_connection_deny(
    monkeypatch: pytest.MonkeyPatch, scheme: str, surroundings: dict[str, str]
) -> None:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.replace("HTTP_", "HTTPS_"), value)
    url = f"{scheme}://127.0.0.1:{unused_port()}"

    async def asked() -> list[object]:
        async with AsyncConsentClient(url, api_key="ck_test", stream="off") as client:
            with pytest.raises(ServiceUnavailable):
                await client.decide("ana", notice="0" * 64, choices={"coupons": "denied"}, language="en")
            verdict, profile = await client.check("ana", "coupons"), client.profile("ana", purpose="coupons")
            return [verdict.reason, (await profile).reason]

    with ConsentClient(url, api_key="ck_test", stream="off") as client:
        with pytest.raises(ServiceUnavailable):
            client.decide("ana", notice="0" * 64, choices={"coupons": "denied"}, language="en")
        reasons = [client.check("ana", "coupons").reason, client.profile("ana", purpose="coupons").reason]

    assert reasons == asyncio.run(asked()) == [Reason.UNAVAILABLE] * 2


@pytest.mark.parametrize("send", [copy, deepcopy, pickle.dumps])
def test_a_client_is_not_sent_to_another_process(send: Callable[[object], object]) -> None:
    for client in (FakeConsent(), ConsentClient("http://consent.internal", api_key="ck_test", stream="off")):
        with client, pytest.raises(TypeError, match="cannot be copied or pickled: make one in each process"):
            send(client)


def test_who_waits_for_ever_is_told_when_it_is_live(service: LiveService) -> None:
    with ConsentClient(service.url, api_key="ck_test") as client:
        assert client.wait_until_ready(float("inf"))


@pytest.fixture
def consent() -> FakeConsent:
    return FakeConsent(grants={"ana": ["coupons"]})


def test_a_method_is_decorated_by_its_first_parameter_but_self(consent: FakeConsent) -> None:
    class Shop:
        @consent.personalized("coupons", fallback=lambda _shop, _who: "for all")
        def page(self, who: str) -> str:
            return f"for {who}"

        @classmethod
        @consent.personalized("coupons", fallback="for all")
        def of_class(cls, who: str) -> str:
            return f"{cls.__name__} for {who}"

        @staticmethod
        @consent.personalized("coupons", fallback="for all")
        def static(who: str) -> str:
            return f"for {who}"

        @consent.personalized("coupons", fallback="for all")
        async def later(self, who: str) -> str:
            return f"for {who}"

    shop = Shop()
    assert [shop.page("ana"), shop.page("ben")] == ["for ana", "for all"]
    assert [shop.of_class("ana"), Shop.of_class(who="ben")] == ["Shop for ana", "for all"]
    assert [shop.static("ana"), Shop.static("ben")] == ["for ana", "for all"]
    assert asyncio.run(shop.later("ana")) == "for ana"


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_a_decorator_in_the_wrong_order_is_told(consent: FakeConsent, kind: type) -> None:
    with pytest.raises(TypeError, match="below"):
        consent.personalized("coupons", fallback=None)(kind(lambda who: who))


def test_what_a_decorated_function_raises_is_its_own(consent: FakeConsent) -> None:
    @consent.personalized("coupons", fallback=None)
    def page(who: str) -> None:
        raise LookupError(who)

    with pytest.raises(LookupError):
        page("ana")
    assert page("ben") is None


async def everybody(who: str) -> AsyncIterator[str]:
    yield "a"
    yield "b"


@pytest.mark.parametrize("fallback", [everybody, ["a", "b"], lambda _who: ("a", "b")])
def test_an_async_generator_gives_the_items_of_one_or_the_other(
    consent: FakeConsent, fallback: object
) -> None:
    closed = []

    @consent.personalized("coupons", fallback=fallback)
    async def page(who: str) -> AsyncIterator[str]:
        try:
            yield "for"
            yield who
        finally:
            closed.append(who)

    async def items(who: str, most: int = 9) -> list[str]:
        found: list[str] = []
        pages = page(who)
        async for item in pages:
            found.append(item)
            if len(found) == most:
                break
        await pages.aclose()  # type: ignore[attr-defined]  # an async generator's
        return found

    assert asyncio.run(items("ana")) == ["for", "ana"]
    assert asyncio.run(items("ben")) == ["a", "b"]
    assert asyncio.run(items("ana", most=1)) == ["for"]
    assert closed == ["ana", "ana"]
    assert [use["times"] for use in consent.uses] == [2]


def test_an_async_generator_of_somebody_not_seen_before_holds_no_loop_up(service: LiveService) -> None:
    """With either client."""
    service.gate_answers.clear()
    turns: list[int] = []

    async def pages(client: ConsentClient | AsyncConsentClient) -> list[str]:
        @client.personalized("coupons", fallback=["for all"])
        async def page(who: str) -> AsyncIterator[str]:
            yield f"for {who}"

        async def go_on() -> None:
            while service.count("/v1/gate") == asked:
                turns.append(1)
                await asyncio.sleep(0.001)
            service.gate_answers.set()

        asked = service.count("/v1/gate")
        others = asyncio.ensure_future(go_on())
        found = [item async for item in page("ana")]
        await others
        return found

    with ConsentClient(service.url, api_key="ck_test", miss_timeout=30.0) as client:
        wait_for(lambda: client.healthy)
        assert asyncio.run(pages(client)) == ["for ana"]
    service.gate_answers.clear()

    async def awaited() -> list[str]:
        async with AsyncConsentClient(service.url, api_key="ck_test", miss_timeout=30.0) as client:
            assert await client.wait_until_ready(10)
            return await pages(client)

    assert asyncio.run(awaited()) == ["for ana"]
    assert turns


def test_a_listener_may_ask_add_listeners_and_close(service: LiveService) -> None:
    heard: list[object] = []
    with ConsentClient(service.url, api_key="ck_test", miss_timeout=5.0) as client:
        assert client.wait_until_ready(10)
        assert client.allows("ana", "coupons")

        @client.on_change
        def purge(subject: str | None) -> None:
            if subject == "ana":
                client.on_change(heard.append)
                heard.append(client.check("ana", "coupons").reason)
                client.close()

        service.withdraw("ana")

        wait_for(lambda: heard)
        assert heard[0] is Reason.WITHDRAWN
        wait_for(lambda: client.status.state == "closed")
    service.grant("ana")


def test_a_fake_is_made_where_the_client_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSENT_URL", raising=False)

    assert not FakeConsent.from_env().allows("ana", "coupons")
