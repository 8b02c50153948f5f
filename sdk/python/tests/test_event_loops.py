"""A subject not seen before holds no event loop up: the example shops under a real ASGI server."""

import asyncio
import gc
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from consent_sdk import AsyncConsentClient, ConsentClient, Reason
from consent_sdk.django.request import DjangoConsent
from consent_sdk.testing import FakeConsent
from django.http import HttpRequest
from live_service import LiveService, a_live_service, wait_for

from examples.shops import django_shop
from tests.servers import PLAIN, ServerProcess, unused_port

pytestmark = pytest.mark.usefixtures("django_configured")

ANA = {"X-Customer": "ana"}
SHOPS = {
    # The example, and two views more: one that asks nobody, one that asks without awaiting.
    "django": """
from django.http import HttpResponse
from django.urls import path
from examples.shops import django_shop

application = django_shop.asgi()


async def alive(request):
    return HttpResponse("alive")


async def at_once(request):
    return HttpResponse(f"{request.consent.allows('coupons')} {request.consent.check('coupons').reason}")


django_shop.urlpatterns += [path("alive", alive), path("at-once", at_once)]
""",
    "fastapi": """
from examples.shops import fastapi_shop

application = fastapi_shop.shop()


@application.get("/alive")
async def alive() -> str:
    return "alive"
""",
}


@pytest.fixture
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        service.purposes = ("recommendations", "coupons")
        service.grant("ana")
        yield service


@contextmanager
def shop_of(framework: str, service: LiveService, folder: Path) -> Iterator[httpx2.Client]:
    """A browser before the shop, which waits for the service for a minute if need be."""
    (folder / "shop.py").write_text(SHOPS[framework])
    port = unused_port()
    command = [sys.executable, "-m", "uvicorn", "shop:application", "--port", str(port)]
    environment = {
        "CONSENT_URL": service.url,
        "CONSENT_API_KEY": "ck_test",
        "CONSENT_MISS_TIMEOUT": "60",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    with (
        ServerProcess(command, folder=folder, log=folder / "log", environment=environment) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", verify=PLAIN, timeout=30) as browser,
    ):
        server.wait_until_ready(lambda: _answers(browser), what="a shop that answers")
        wait_for(lambda: service.count("/v1/stream"))
        yield browser


def _answers(browser: httpx2.Client) -> bool:
    try:
        return browser.get("/alive").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize(
    ("framework", "pages"),
    [
        ("django", {"/async": "chosen for ana, with coupons", "/async/coupons": "granted"}),
        ("fastapi", {"/": '"chosen for ana"', "/coupons": '{"coupons":"yours","because":"granted"}'}),
    ],
)
def test_others_are_answered_while_a_view_waits_for_a_subject_not_seen_before(
    service: LiveService, tmp_path: Path, framework: str, pages: dict[str, str]
) -> None:
    service.gate_answers.clear()
    with shop_of(framework, service, tmp_path) as browser, ThreadPoolExecutor(len(pages)) as visitors:
        waiting = {page: visitors.submit(browser.get, page, headers=ANA) for page in pages}
        wait_for(lambda: service.count("/v1/gate"))

        others = [browser.get("/alive").text for _ in range(20)]

        assert all("alive" in other for other in others)
        assert not any(page.done() for page in waiting.values())
        service.gate_answers.set()
        assert {path: page.result().text for path, page in waiting.items()} == pages


def test_a_view_that_does_not_await_is_denied_at_once_and_answered_the_next_time(
    service: LiveService, tmp_path: Path
) -> None:
    service.gate_answers.clear()
    with shop_of("django", service, tmp_path) as browser:
        first = browser.get("/at-once", headers=ANA).text
        service.gate_answers.set()

        assert first.startswith("False ")
        wait_for(lambda: browser.get("/at-once", headers=ANA).text == "True granted")
        assert browser.get("/at-once").text == "False never_asked"
        assert (tmp_path / "log").read_text().count("Await it") == 1


@pytest.mark.parametrize("stream", ["sse", "off"])
def test_asked_at_once_nobody_waits_for_a_service_that_is_not_there(stream: str) -> None:
    with ConsentClient("http://127.0.0.1:9", api_key="ck_test", stream=stream, miss_timeout=60) as client:
        assert not client.check_at_once("ana", "coupons")
        assert client.check_at_once("ana", "Coupons!").reason is Reason.PURPOSE_UNKNOWN
        assert client.check_at_once("", "coupons").reason is Reason.NEVER_ASKED


def a_request(name: str | None) -> HttpRequest:
    request = HttpRequest()
    if name is not None:
        request.META["HTTP_X_CUSTOMER"] = name
    return request


async def asynchronous_customer(request: HttpRequest) -> str | None:
    await asyncio.sleep(0)
    return django_shop.customer(request)


@pytest.mark.parametrize("subject_of", [django_shop.customer, asynchronous_customer])
def test_the_subject_is_found_by_a_function_of_either_kind_in_views_of_either_kind(
    subject_of: type[object],
) -> None:
    client = FakeConsent(grants={"ana": ["coupons"]})

    def ask(name: str | None) -> DjangoConsent:
        return DjangoConsent(client, a_request(name), subject_of)  # type: ignore[arg-type]  # either

    async def awaited() -> list[object]:
        consent = ask("ana")
        found = [await consent.aallows("coupons"), (await ask(None).acheck("coupons")).reason]
        consent.report_use("coupons", feature="page")
        return [*found, consent.allows("coupons"), consent.subject, await ask("ben").aallows("coupons")]

    assert asyncio.run(awaited()) == [True, "never_asked", True, "ana", False]
    assert [use["feature"] for use in client.uses] == ["page"]
    assert ask("ana").allows("coupons")
    assert ask("ana").subject == "ana"
    assert not ask(None).check("coupons")


def test_whoever_only_a_coroutine_could_find_is_denied_on_a_loop_until_it_has() -> None:
    consent = DjangoConsent(FakeConsent(grants={"ana": ["coupons"]}), a_request("ana"), asynchronous_customer)

    async def view() -> list[object]:
        consent.report_use("coupons", feature="page")
        return [consent.check("coupons").reason, consent.subject, await consent.aallows("coupons")]

    assert asyncio.run(view()) == ["unavailable", None, True]
    assert consent.allows("coupons")


def test_a_subject_that_a_database_knows_may_be_found_in_an_async_view() -> None:
    """As `request.user` is: Django refuses such a look-up on an event loop."""

    def from_the_database(_request: HttpRequest) -> str:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return "ana"

    consent = DjangoConsent(FakeConsent(grants={"ana": ["coupons"]}), a_request(None), from_the_database)

    assert asyncio.run(consent.aallows("coupons"))


@pytest.mark.parametrize("stream", ["sse", "off"])
def test_one_client_serves_one_event_loop_after_the_other(service: LiveService, stream: str) -> None:
    """As under Flask's async views, and where tasks run under `asyncio.run`: each has a loop of its own."""
    client = AsyncConsentClient(service.url, api_key="ck_test", stream=stream, miss_timeout=10.0)

    async def ask(number: int) -> list[object]:
        await client.wait_until_ready(10)
        service.grant(f"visitor-{number}")
        proof = await client.check(f"visitor-{number}", "coupons"), await client.consents("ana")
        return [proof[0].reason, proof[1].reason]

    async def close() -> Reason:
        await client.close()
        return (await client.check("ana", "coupons")).reason

    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        answers = [asyncio.run(ask(number)) for number in range(4)]
        kept = len(client._http._clients)
        closed = asyncio.run(close())
        gc.collect()  # the sockets that ended loops left

    assert [answer[0] for answer in answers] == ["granted"] * 4
    assert kept == 1
    assert closed == "unavailable"
    assert not client._http._clients
