"""The example shops, each in its framework, over the fake."""

import asyncio
from collections.abc import Callable

import pytest
from consent_sdk import ConfigurationError, ConsentClient, InvalidSubject
from consent_sdk._bound import RequestConsent
from consent_sdk.flask import Consent
from consent_sdk.testing import FakeConsent, SettableClock
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client, override_settings
from fastapi.testclient import TestClient
from flask import Flask

from examples.shops import django_shop, fastapi_shop, flask_shop

ANA = {"X-Customer": "ana"}


@pytest.fixture
def consent() -> FakeConsent:
    return FakeConsent(grants={"ana": ["recommendations"]}, purposes=["recommendations", "coupons"])


def test_fastapi_asks_for_each_request(consent: FakeConsent) -> None:
    with TestClient(fastapi_shop.shop(consent)) as browser:
        assert browser.get("/", headers=ANA).json() == "chosen for ana"
        assert browser.get("/", headers={"X-Customer": "bob"}).json() == "best sellers"
        assert browser.get("/").json() == "best sellers"
        assert browser.get("/coupons", headers=ANA).json()["because"] == "never_asked"
        assert browser.get("/ready").status_code == 200
        consent.withdraw("ana", "recommendations")
        assert browser.get("/", headers=ANA).json() == "best sellers"
        consent.go_stale()
        assert browser.get("/coupons", headers=ANA).json()["because"] == "stale"
        assert browser.get("/ready").status_code == 503


def test_a_use_is_reported(consent: FakeConsent) -> None:
    with TestClient(fastapi_shop.shop(consent)) as browser:
        browser.get("/", headers=ANA)
        browser.get("/", headers={"X-Customer": "bob"})

        assert consent.uses == [
            {"subject": "ana", "purpose": "recommendations", "feature": "home_page", "times": 1}
        ]


def test_flask_asks_for_each_request(consent: FakeConsent) -> None:
    browser = flask_shop.shop(consent).test_client()

    assert browser.get("/", headers=ANA).text == "chosen for ana"
    assert browser.get("/").text == "best sellers"
    assert browser.get("/coupons", headers=ANA).text == "coupons for everybody"
    consent.grant("ana", "coupons")
    assert browser.get("/coupons", headers=ANA).text == "coupons for you"
    assert [use["feature"] for use in consent.uses] == ["home"]
    consent.go_stale()
    assert browser.get("/", headers=ANA).text == "best sellers"


def test_flask_personalizes_async_views(consent: FakeConsent) -> None:
    app = Flask(__name__)
    extension = Consent(app, consent, subject=flask_shop.customer)

    async def everybody() -> str:
        await asyncio.sleep(0)
        return "best sellers"

    @app.get("/")
    @extension.personalized("recommendations", fallback=everybody)
    async def home() -> str:
        await asyncio.sleep(0)
        return "chosen"

    browser = app.test_client()
    assert browser.get("/", headers=ANA).text == "chosen"
    assert browser.get("/").text == "best sellers"


def test_flask_is_given_everything_or_nothing_at_first(consent: FakeConsent) -> None:
    app = Flask(__name__)
    Consent().init_app(app, consent, subject=flask_shop.customer)

    with pytest.raises(ConfigurationError):
        Consent(app, consent)


@pytest.fixture
def fake_in_django(django_configured: None, monkeypatch: pytest.MonkeyPatch) -> FakeConsent:
    consent = FakeConsent(grants={"ana": ["recommendations"]})
    monkeypatch.setattr(django_shop, "a_client", lambda: consent)
    return consent


with_fake = override_settings(CONSENT_CLIENT="examples.shops.django_shop.a_client")


@with_fake
def test_django_asks_for_each_request(fake_in_django: FakeConsent) -> None:
    browser = Client()

    assert browser.get("/", headers=ANA).content == b"chosen for ana"
    assert browser.get("/").content == b"best sellers"
    fake_in_django.grant("ana", "coupons")
    assert browser.get("/", headers=ANA).content == b"chosen for ana, with coupons"
    assert browser.get("/coupons", headers=ANA).content == b"granted"
    fake_in_django.go_stale()
    assert browser.get("/", headers=ANA).content == b"best sellers"


@with_fake
def test_django_asks_in_asgi_too(fake_in_django: FakeConsent) -> None:
    async def main() -> bytes:
        response = await AsyncClient().get("/", headers=ANA)
        return bytes(response.content)

    assert asyncio.run(main()) == b"chosen for ana"


@pytest.mark.usefixtures("django_configured")
@pytest.mark.parametrize("client", [None, "examples.shops.django_shop.PAGE"])
def test_django_settings_that_name_no_client_are_refused(client: str | None) -> None:
    with override_settings(CONSENT_CLIENT=client), pytest.raises(ImproperlyConfigured):
        Client().get("/")


@with_fake
@pytest.mark.usefixtures("fake_in_django")
def test_django_settings_that_name_no_function_of_the_request_are_refused() -> None:
    with (
        override_settings(CONSENT_SUBJECT="examples.shops.django_shop.PAGE"),
        pytest.raises(ImproperlyConfigured, match="CONSENT_SUBJECT"),
    ):
        Client().get("/")


@with_fake
@pytest.mark.parametrize("framework", ["Django", "Flask", "FastAPI"])
def test_a_number_for_a_subject_is_said_to_be_none(
    fake_in_django: FakeConsent, monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    fake_in_django.grant("42", "recommendations")
    monkeypatch.setattr(django_shop, "customer", lambda _request: 42)
    monkeypatch.setattr(flask_shop, "customer", lambda: 42)
    monkeypatch.setattr(fastapi_shop, "customer", lambda: 42)
    flask_app = flask_shop.shop(fake_in_django)
    flask_app.testing = True
    ask: dict[str, Callable[[], object]] = {
        "Django": lambda: Client().get("/coupons"),
        "Flask": lambda: flask_app.test_client().get("/"),
        "FastAPI": lambda: TestClient(fastapi_shop.shop(fake_in_django)).get("/"),
    }

    with pytest.raises(InvalidSubject):
        ask[framework]()


@pytest.mark.parametrize("ask", ["check", "allows"])
def test_a_number_for_a_subject_is_denied_and_said_once(caplog: pytest.LogCaptureFixture, ask: str) -> None:
    with ConsentClient("http://127.0.0.1:9", api_key="ck_secret", stream="off") as client:
        bound = RequestConsent(client, 42)  # type: ignore[arg-type]  # as a primary key is
        denied = [getattr(bound, ask)("coupons") for _ in range(3)]

    assert not any(denied)
    assert caplog.text.count("1 to 256 printable characters") == 1


def test_the_fixtures_are_there(fake_consent: FakeConsent, consent_clock: SettableClock) -> None:
    fake_consent.grant("ana", "coupons")

    consent_clock.advance(1_000 * 86_400)

    assert not fake_consent.allows("ana", "coupons")
