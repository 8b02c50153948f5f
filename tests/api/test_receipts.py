"""Who may read a receipt, and in which form it comes, over HTTP and on both databases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpx2 import Response
from pydantic import SecretStr
from starlette.testclient import TestClient
from typer.testing import CliRunner

from consent_service.api.app import create_app
from consent_service.api.routers.receipts import forms_wanted
from consent_service.cli.main import app as cli
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.receipt import Evidence
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_receipt import FORMS
from consent_service.operations.service import ConsentService
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.settings import Settings
from tests.builders import a_notice

KANTARA = "application/vnd.kantara.consent-receipt+json"


@dataclass
class Shop:
    """A running service with one decision of `ana` at index 1, and credentials of every role."""

    client: TestClient
    keys: dict[str, str]
    vkey: str

    def receipt(self, index: int = 1, *, who: str = "auditor", **headers: str) -> Response:
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(
            f"/v1/receipts/{index}", headers={"Authorization": f"Bearer {self.keys[who]}", **renamed}
        )


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        database_url=SecretStr(migrated_url),
        preferences_url="https://shop.example/choices",
    )


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    app = create_app(settings)
    with TestClient(app) as client:
        service: ConsentService = app.state.service
        tenant = require_tenant(service.deployment, "default")
        service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice()))
        keys = {
            role.value: create_api_key(service.deployment, tenant, role).key
            for role in (Role.BACKEND, Role.AUDITOR, Role.ADMIN)
        }
        other = create_tenant(service.deployment, "other-shop")
        keys["other-auditor"] = create_api_key(service.deployment, other, Role.AUDITOR).key
        for name in ("ana", "ben"):
            issued = service.credentials.issue_subject_token(tenant, tenant.subject(name))
            keys[name] = issued.token
        body = {
            "notice": client.get("/v1/notice").json()["digest"],
            "choices": {"recommendations": "granted", "coupons": "denied"},
            "method": "save",
            "source": "banner",
            "language": "fr",
        }
        for name in ("ana", "ben"):
            headers = {"Authorization": f"Bearer {keys['backend']}", "Consent-Subject": name}
            assert client.post("/v1/decisions", json=body, headers=headers).status_code == 201
        yield Shop(client=client, keys=keys, vkey=tenant.signer.vkey)
        verify_ledger(service.deployment, tenant)


def test_a_subject_reads_her_own_receipt(shop: Shop) -> None:
    answer = shop.receipt(who="ana")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/ld+json"
    assert answer.headers["cache-control"] == "private, no-store"
    evidence = Evidence.parse(answer.json()["evidence"])
    assert evidence.verify(NoteVerifier.parse(shop.vkey)).size == 3


@pytest.mark.parametrize("who", ["auditor", "admin"])
def test_an_auditor_reads_any_receipt(shop: Shop, who: str) -> None:
    assert [shop.receipt(index, who=who).status_code for index in (1, 2)] == [200, 200]


def test_a_backend_reads_the_receipts_of_the_subject_it_names(shop: Shop) -> None:
    answers = [shop.receipt(index, who="backend", Consent_Subject="ana").status_code for index in (1, 2)]

    assert answers == [200, 404]


def test_a_backend_that_names_nobody_reads_nothing(shop: Shop) -> None:
    assert shop.receipt(who="backend").status_code == 400


def test_another_subject_cannot_tell_a_receipt_from_none(shop: Shop) -> None:
    foreign, missing = shop.receipt(1, who="ben"), shop.receipt(99, who="ben")

    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["type"] == missing.json()["type"] == "/problems/unknown-entry"


def test_another_tenants_auditor_reads_nothing(shop: Shop) -> None:
    assert shop.receipt(who="other-auditor").status_code == 404


def test_nobody_without_a_credential_reads_a_receipt(shop: Shop) -> None:
    assert shop.client.get("/v1/receipts/1").status_code == 401


def test_a_notice_has_no_receipt(shop: Shop) -> None:
    answer = shop.receipt(0)

    assert answer.status_code == 404
    assert "Only decisions have receipts" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("accept", "content_type", "words"),
    [
        ("text/plain", "text/plain; charset=utf-8", "Vous avez accepté"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "Vous avez accepté"),
        (KANTARA, KANTARA, "KI-CR-v1.1.0"),
        ("application/json", "application/ld+json", "dpv:ConsentReceipt"),
    ],
)
def test_the_accept_header_chooses_the_form(shop: Shop, accept: str, content_type: str, words: str) -> None:
    answer = shop.receipt(Accept=accept)

    assert answer.headers["content-type"] == content_type
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["content-language"] == "fr"
    assert words in answer.text
    assert "https://shop.example/choices" in answer.text


def test_an_html_receipt_may_style_itself_and_nothing_else(shop: Shop) -> None:
    policy = shop.receipt(Accept="text/html").headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_a_pdf_receipt_is_a_pdf(shop: Shop) -> None:
    answer = shop.receipt(Accept="application/pdf")

    assert answer.content.startswith(b"%PDF-")


def test_a_form_that_nobody_writes_is_refused_by_name(shop: Shop) -> None:
    answer = shop.receipt(Accept="image/png")

    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/no-such-form")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "application/ld+json"),
        ("", "application/ld+json"),
        ("text/*", "text/plain"),
        ("text/html;q=0.5, text/plain;q=0.9", "text/plain"),
        ("image/png, application/pdf", "application/pdf"),
        ("TEXT/HTML", "text/html"),
        ("application/json", "application/ld+json"),
        ("*/*, application/ld+json;q=0, application/json;q=0", KANTARA),
        ("text/*, text/plain;q=0.1", "text/html"),
        ("text/html;q=0.4, */*;q=0.3", "text/html"),
        ("text/html;q=0.001, text/plain;q=0", "text/html"),
        ("text/plain;q=nan, text/html;q=0.1", "text/html"),
        ("text/html;level=1;q=0.2, application/pdf;q=0.3", "application/pdf"),
    ],
)
def test_the_most_wanted_form_is_chosen(accept: str, chosen: str) -> None:
    assert forms_wanted([accept])[0] == chosen


def test_several_accept_headers_are_one_list() -> None:
    assert forms_wanted(["text/plain;q=0.5", "application/pdf"]) == ["application/pdf", "text/plain"]
    assert len(forms_wanted([])) > len(FORMS)


@pytest.mark.parametrize(
    "accept", ["image/*", "text/html;q=0", "text/plain;q=often", "a/b/c", "*/*;q=0", "text/html;q=2"]
)
def test_what_wants_none_of_our_forms_gets_none(accept: str) -> None:
    assert forms_wanted([accept]) == []


def test_a_refusal_is_had_in_the_next_form_where_kantara_has_none(shop: Shop) -> None:
    refusal = {
        "notice": shop.client.get("/v1/notice").json()["digest"],
        "choices": {"coupons": "denied"},
        "method": "save",
        "source": "banner",
        "language": "fr",
    }
    headers = {"Authorization": f"Bearer {shop.keys['backend']}", "Consent-Subject": "ana"}
    index = shop.client.post("/v1/decisions", json=refusal, headers=headers).json()["index"]

    alone = shop.receipt(index, Accept=KANTARA)
    otherwise = shop.receipt(index, Accept=f"{KANTARA}, text/plain;q=0.5")

    assert (alone.status_code, alone.json()["type"]) == (406, "/problems/no-such-form")
    assert "no form for refusals" in alone.json()["detail"]
    assert otherwise.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_command_line_prints_a_receipt_with_its_code(shop: Shop, settings: Settings) -> None:
    environment = {
        "CONSENT_HOME": str(settings.home),
        "CONSENT_DATABASE_URL": settings.resolved_database_url.get_secret_value(),
    }

    printed = CliRunner(env=environment).invoke(cli, ["receipt", "1", "--subject", "ana"])
    refused = CliRunner(env=environment).invoke(cli, ["receipt", "1", "--subject", "ben"])
    hers, not_his = (
        CliRunner(env=environment).invoke(cli, ["receipt", "1", "--subject", "-"], input=f"{name}\n")
        for name in ("ana", "ben")
    )
    document = CliRunner(env=environment).invoke(cli, ["receipt", "1", "--form", "json-ld"])

    assert printed.exit_code == 0
    assert "Vous avez accepté" in printed.stdout
    assert "█" in printed.stdout
    assert refused.exit_code == 2
    assert (hers.exit_code, not_his.exit_code) == (0, 2)
    assert json.loads(document.stdout)["@type"] == "dpv:ConsentReceipt"
