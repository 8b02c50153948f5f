"""What went wrong is said to a browser as a page and to a program as problem+json, by the Accept header."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Response
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.operations.manage_tenants import Role, require_tenant
from consent_service.settings import Settings
from consent_service.web.words import languages, words
from tests.small_api import client_of, key_of, service_of

SHOP = "https://shop.example"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NOBODYS = "pk_nobodys-key"
FAULTS = [
    ("GET", f"/preferences?key={NOBODYS}", 401),
    ("GET", "/preferences", 422),
    ("GET", "/preferences/receipts/99", 422),
    ("GET", "/preferences/erase?key=KEY", 405),
    ("POST", "/preferences/enter?key=KEY", 401),
    ("POST", "/preferences?key=KEY", 404),
    ("GET", "/dashboard/sign-in", 405),
    ("GET", "/preference", 404),
]


@pytest.fixture
def client(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """A visitor's browser; `key_of` is the shop's publishable key."""
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(migrated_sqlite_url))
    with client_of(settings, Role.BROWSER, origins=[SHOP]) as client:
        yield client


def ask(
    client: TestClient, method: str, address: str, accept: str = BROWSER, language: str = "fr"
) -> Response:
    """Open an address, or send a form to it that says little; follow no redirection."""
    answer: Response = client.request(
        method,
        address.replace("KEY", key_of(client)),
        data={"token": "no-token", "method": "save"} if method == "POST" else None,
        headers={"Accept": accept, "Accept-Language": language},
        follow_redirects=False,
    )
    return answer


def linked(client: TestClient) -> None:
    """Let somebody decide, and link her browser, which keeps its session, to an account."""
    shop = {"Authorization": f"Bearer {key_of(client)}", "Origin": SHOP}
    anonymous = client.post("/v1/subject/anonymous", json={}, headers=shop).json()["token"]
    address = f"/preferences/enter?key={key_of(client)}"
    page = client.post(address, data={"token": anonymous}, headers={"Origin": SHOP}).text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    client.post(f"/preferences?key={key_of(client)}", data={**hidden, "method": "accept_all"})
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    known = service.credentials.issue_subject_token(tenant, tenant.subject("customer-42")).token
    hers = {"Authorization": f"Bearer {known}", "Origin": SHOP}
    assert client.post("/v1/subject/link", json={"anonymous": anonymous}, headers=hers).is_success


@pytest.mark.parametrize(("method", "address", "status"), FAULTS)
def test_a_browser_gets_a_page_with_the_status_and_headers_of_the_problem(
    client: TestClient, method: str, address: str, status: int
) -> None:
    page, problem = (ask(client, method, address, accept) for accept in (BROWSER, "*/*"))

    assert (page.status_code, problem.status_code) == (status, status)
    assert page.headers["content-type"].startswith("text/html")
    assert problem.headers["content-type"] == "application/problem+json"
    assert page.headers["content-language"] == "fr"
    assert f"<h1>{words('fr')['failed']}</h1>" in page.text
    for name in ("allow", "www-authenticate", "x-content-type-options"):
        assert page.headers.get(name) == problem.headers.get(name)
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "Accept" in page.headers["vary"]
    assert "<script" not in page.text


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/json", "application/json, text/html", "text/html;q=0.5, */*"]
)
def test_who_does_not_ask_for_a_page_first_gets_a_problem(client: TestClient, accept: str) -> None:
    answer = ask(client, "GET", f"/preferences?key={NOBODYS}", accept)

    assert answer.json()["type"] == "/problems/unauthenticated"


@pytest.mark.parametrize(
    "address", ["/v1/personal-data", "/v1/nothing", "/ofrep/v1/nothing", "/static/nothing.css"]
)
def test_what_programs_ask_for_is_never_answered_with_a_page(client: TestClient, address: str) -> None:
    answer = ask(client, "GET", address)

    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("language", languages())
def test_the_page_speaks_every_language_and_leads_back_where_the_shop_is_known(
    client: TestClient, language: str
) -> None:
    page = ask(client, "GET", f"/preferences/receipts/99/x?key=KEY&language={language}", language="en")

    spoken, direction = words(language), "rtl" if language in {"ar", "he"} else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in page.text
    assert spoken["address"] in page.text
    back = f'href="/preferences?key={key_of(client)}&amp;language={language}">{spoken["open"]}</a>'
    assert back in page.text
    assert f">{spoken['human']}</a>" in page.text


def test_a_language_that_nobody_wrote_gets_english(client: TestClient) -> None:
    page = ask(client, "GET", "/preference?language=zh", language="zh")

    assert page.headers["content-language"] == "en"


def test_a_page_for_whom_no_shop_is_known_names_none_and_leads_nowhere(client: TestClient) -> None:
    page = ask(client, "GET", f"/preferences?key={NOBODYS}")

    assert "<a " not in page.text
    assert NOBODYS not in page.text


def test_a_session_that_nobody_knows_is_one_that_took_too_long(client: TestClient) -> None:
    page = ask(client, "POST", "/preferences/enter?key=KEY", language="en")

    assert "This page was open too long. Open it again; nothing was changed." in page.text


def test_the_dashboards_page_leads_back_to_the_dashboard(client: TestClient) -> None:
    page = ask(client, "GET", "/dashboard/sign-in?language=de")

    assert f'href="/dashboard?language=de">{words("de")["back"]}</a>' in page.text


def test_who_is_answered_that_nothing_works_now_is_told_when_to_come_back(client: TestClient) -> None:
    service_of(client).committer.close()
    page = client.get("/preferences", params={"key": key_of(client)}).text
    [digest] = re.findall(r'name="notice" value="(\w+)"', page)

    answers = [
        client.post(
            "/preferences",
            params={"key": key_of(client)},
            data={"notice": digest, "method": "refuse_all"},
            headers={"Accept": accept, "Accept-Language": "en"},
        )
        for accept in (BROWSER, "*/*")
    ]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].headers["retry-after"] == answers[1].headers["retry-after"]
    assert "look then whether what you sent last was saved" in answers[0].text
    assert answers[1].json()["status"] == 503


def test_a_browser_that_was_linked_to_an_account_is_told_how_it_is_erased(client: TestClient) -> None:
    linked(client)
    joint = words("en").say("joint", open=words("en")["open"])

    before = client.get("/preferences", params={"key": key_of(client), "language": "en"}).text
    page = ask(client, "POST", "/preferences/erase?key=KEY&language=en")
    problem = ask(client, "POST", "/preferences/erase?key=KEY&language=en", "application/json")

    assert joint in before
    assert "/preferences/erase" not in before
    assert page.status_code == 409
    assert "<h1>Nothing was erased.</h1>" in page.text
    assert joint in page.text
    assert '<a class="button" href="https://maison-lumiere.example/privacy"><bdi>' in page.text
    assert "customer-42" not in page.text
    assert problem.json()["type"] == "/problems/erasure-refused"


def test_a_linked_browser_is_told_in_any_language(client: TestClient) -> None:
    linked(client)

    for language in languages():
        page = ask(client, "POST", f"/preferences/erase?key=KEY&language={language}").text

        assert f"<h1>{words(language)['untouched']}</h1>" in page
        assert words(language).say("joint", open=words(language)["open"]) in page
