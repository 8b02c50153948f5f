"""Everything that is held about a subject, as JSON and as a page."""

import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.domain.duration import Duration
from consent_service.operations.manage_tenants import require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.settings import Settings
from consent_service.web.words import words
from tests.browser.notices import in_languages
from tests.builders import a_notice
from tests.small_api import client_of, service_of

ANA = {"Consent-Subject": "ana@shop.example"}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def client(migrated_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(Settings(home=tmp_path / "home", database_url=SecretStr(migrated_url))) as client:
        yield client


def a_customer(client: TestClient) -> str:
    digest: str = client.get("/v1/notice").json()["digest"]
    body = {"notice": digest, "method": "save", "source": "banner", "language": "en"}
    for choices in (
        {"coupons": "granted", "recommendations": "granted", "ai_assistance": "denied"},
        {"recommendations": "denied"},
    ):
        answer = client.post("/v1/decisions", json={**body, "choices": choices}, headers=ANA)
        assert answer.status_code == 201
    client.patch("/v1/profile", json={"purchases": {"last_basket": ["milk"], "note": HOSTILE}}, headers=ANA)
    client.patch("/v1/profile?derived_for=coupons", json={"household": {"segment": "family"}}, headers=ANA)
    client.get("/v1/profile", params={"purpose": "coupons"}, headers=ANA)
    return digest


def test_everything_is_there_as_json(client: TestClient) -> None:
    digest = a_customer(client)

    data = client.get("/v1/personal-data", headers=ANA).json()

    assert data["held"] is True
    assert data["subject"]["external_id"] == "ana@shop.example"
    assert data["controller"]["name"] == "Maison Lumière"
    assert {key: item["status"] for key, item in data["consents"].items()} == {
        "recommendations": "withdrawn",
        "coupons": "given",
        "support_context": "unknown",
        "ai_assistance": "refused",
    }
    assert [entry["notice"] for entry in data["history"]] == [digest, digest]
    assert set(data["notices"]) == {digest}
    assert data["notices"][digest]["purposes"]["coupons"]["name"]["en"] == "Coupons chosen for you"
    assert data["profile"]["purchases"]["last_basket"]["value"] == ["milk"]
    assert data["profile"]["purchases"]["last_basket"]["open_to"] == ["coupons"]
    basket = data["profile"]["purchases"]["last_basket"]
    until = Duration.parse("P12M").after(datetime.fromisoformat(basket["stored_at"]))
    assert datetime.fromisoformat(basket["kept_until"]) == until
    assert data["profile"]["household"]["segment"]["derived_for"] == "coupons"
    assert data["purposes"]["coupons"]["recipients"][0]["name"] == "Poste & Co"
    assert data["purposes"]["coupons"]["retention"] == "P12M"
    assert data["retention"] == {"grace_days": 30, "uses_days": 400}
    assert {(use["category"], use["times"]) for use in data["uses"]} == {("purchases", 1), ("household", 1)}


class Page(HTMLParser):
    """The text of a page, and what it would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "html":
            self.language = dict(attrs)["lang"] or ""

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("application/json;q=0.1, text/html;q=0.2", True),
        ("text/html;q=0, application/json", False),
        ("text/html;q=0.1, application/json", False),
        ("*/*", False),
    ],
)
def test_what_is_wanted_more_is_given(client: TestClient, accept: str, *, page: bool) -> None:
    a_customer(client)

    answer = client.get("/v1/personal-data", headers={**ANA, "Accept": accept})

    assert answer.headers["Content-Type"].startswith("text/html") is page


def test_everything_is_there_as_a_page(client: TestClient) -> None:
    a_customer(client)

    answer = client.get("/v1/personal-data", headers={**ANA, "Accept": "text/html,application/json;q=0.5"})

    page = Page(answer.text)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert page.language == answer.headers["Content-Language"] == "en"
    assert "script" not in page.tags
    assert HOSTILE in page.text
    for shown in (
        "ana@shop.example",
        "last_basket",
        "milk",
        "Coupons chosen",
        "Poste & Co",
        "Coupons chosen for you · 1\N{MULTIPLICATION SIGN} · ",
    ):
        assert shown in page.text


def test_the_page_lists_what_was_decided_in_the_order_of_the_notice(client: TestClient) -> None:
    a_customer(client)

    page = client.get("/v1/personal-data", headers={**ANA, "Accept": "text/html"}).text

    history = page[page.index('class="history"') : page.index('id="purposes"')]
    first_decision = history.split("<h3>")[-1]
    assert re.findall("<li><bdi>([^<]+)</bdi>: ", first_decision) == [
        "Recommendations",
        "Coupons chosen for you",
        "An AI assistant may answer first",
    ]


def test_the_page_speaks_french_where_that_is_asked(client: TestClient) -> None:
    a_customer(client)

    answer = client.get("/v1/personal-data?language=fr", headers={**ANA, "Accept": "text/html"})

    assert Page(answer.text).language == "fr"
    assert "Tout ce que nous avons sur vous" in answer.text
    assert "Coupons choisis pour vous · 1\N{MULTIPLICATION SIGN} · " in answer.text


def test_a_page_in_arabic_has_no_english_of_ours(client: TestClient) -> None:
    a_customer(client)
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    service.committer.submit_blocking(tenant, PublishNotice(notice=in_languages(("ar",))))

    answer = client.get("/v1/personal-data?language=ar", headers={**ANA, "Accept": "text/html"})

    for key in ("everything", "known_as", "open", "data", "uses", "stored", "readable", "history"):
        for piece in re.split(r"{\w+}", words("ar")[key]):
            assert piece in answer.text, key
    ours = words("en")
    english = [ours[key] for key in ("everything", "known_as", "no_data", "uses", "unused")]
    assert [text for text in english if text in answer.text] == []


def test_of_a_stranger_nothing_is_held(client: TestClient) -> None:
    data = client.get("/v1/personal-data", headers={"Consent-Subject": "stranger"}).json()
    page = client.get("/v1/personal-data", headers={"Consent-Subject": "stranger", "Accept": "text/html"})

    assert (data["held"], data["profile"], data["history"], data["uses"]) == (False, {}, [], [])
    assert "We hold nothing about you." in page.text


def test_after_an_erasure_nothing_is_held(client: TestClient) -> None:
    a_customer(client)

    erased = client.delete("/v1/subject", headers=ANA)

    assert erased.status_code == 200
    assert erased.json()["certificate"].startswith("consent-erasure/v1\n")
    assert client.get("/v1/personal-data", headers=ANA).json()["held"] is False
    assert client.delete("/v1/subject", headers=ANA).json()["type"] == "/problems/unknown-subject"


def test_what_is_closed_but_not_yet_deleted_is_shown_as_such(client: TestClient) -> None:
    a_customer(client)
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice({"purposes/coupons/version": 2})))

    data = client.get("/v1/personal-data", headers=ANA).json()
    page = client.get("/v1/personal-data", headers={**ANA, "Accept": "text/html"})

    assert data["profile"]["purchases"]["last_basket"]["open_to"] == []
    assert "nobody may read it" in page.text


def test_a_token_shows_its_own_subject_only(client: TestClient) -> None:
    a_customer(client)
    token = client.post("/v1/subject/token", headers={"Consent-Subject": "ben"}).json()["token"]

    data = client.get("/v1/personal-data", headers={"Authorization": f"Bearer {token}"}).json()

    assert data["held"] is False
