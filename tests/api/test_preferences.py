"""The preference page as a plain form: no script, one subject, nothing recorded for anybody else."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from httpx2 import Response
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.api.routers.browser import anonymous_id
from consent_service.operations.keep_evidence import read_proof, set_evidence_policy
from consent_service.operations.manage_tenants import Role, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.report_uses import ReportedUse, report_uses
from consent_service.settings import Settings
from consent_service.vault.evidence import evidence_key_text
from tests.builders import a_notice
from tests.small_api import client_of, key_of, service_of

SHOP = "https://shop.example"


@pytest.fixture
def client(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """A visitor's browser; its addresses carry the shop's publishable key."""
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(migrated_sqlite_url))
    with client_of(settings, Role.BROWSER, origins=[SHOP]) as client:
        client.params = client.params.set("key", key_of(client))
        del client.headers["Authorization"]
        yield client


def send(client: TestClient, **fields: object) -> Response:
    """Send the form as the page shows it now, with these fields filled in, and follow to the next page."""
    page = client.get("/preferences").text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    answer: Response = client.post("/preferences", data={**hidden, **fields})
    return answer


def checked(page: str) -> list[str]:
    return re.findall(r'name="granted" value="([\w.]+)"[^>]* checked', page)


def test_somebody_new_finds_nothing_switched_on(client: TestClient) -> None:
    page = client.get("/preferences", params={"language": "en"})

    assert page.status_code == 200
    assert checked(page.text) == []
    assert "You have not decided anything yet." in page.text
    assert "<script" not in page.text
    assert "consent-session" not in page.cookies


def test_the_form_records_what_is_ticked_and_denies_the_rest(client: TestClient) -> None:
    page = send(client, method="save", granted=["coupons"])

    assert page.status_code == 200
    assert checked(page.text) == ["coupons"]
    assert "Your choices are saved." in page.text
    assert page.text.count("Refused") >= 3


def test_everything_is_withdrawn_with_one_button_and_no_reason(client: TestClient) -> None:
    send(client, method="accept_all")

    page = send(client, method="refuse_all")

    assert checked(page.text) == []
    assert "Withdrawn" in page.text


def test_a_reason_is_counted_and_not_kept_with_her(client: TestClient) -> None:
    send(client, method="accept_all")

    page = send(client, method="save", reason="trust")

    assert 'consent_withdrawal_reasons_total{reason="trust"}' in client.get("/metrics").text
    assert "checked" not in page.text


def test_history_shows_the_words_of_that_day(client: TestClient) -> None:
    send(client, method="accept_all")
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    changed = a_notice({"purposes/coupons/description": {"en": "New words.", "fr": "Nouveaux mots."}})
    service.committer.submit_blocking(tenant, PublishNotice(notice=changed))

    page = client.get("/preferences").text

    earlier = a_notice().purposes
    coupons = next(purpose for key, purpose in earlier.items() if key == "coupons")
    assert "New words." in page
    assert coupons.description["en"] in page


def test_a_page_that_was_open_too_long_records_nothing_for_somebody_else(client: TestClient) -> None:
    send(client, method="accept_all")
    page = client.get("/preferences").text
    client.cookies.clear()
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))

    answer = client.post("/preferences", data={**hidden, "method": "refuse_all"})

    assert "nothing was changed" in answer.text
    assert "consent-session" not in client.cookies


def test_a_shops_page_opens_the_page_of_its_anonymous_subject(client: TestClient) -> None:
    key = str(client.params["key"])
    handle = {"Authorization": f"Bearer {key}", "Origin": SHOP}
    token = client.post("/v1/subject/anonymous", json={}, headers=handle).json()["token"]

    answer = client.post(
        "/preferences/enter", data={"token": token}, headers={"Origin": SHOP}, follow_redirects=False
    )

    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.headers["location"]).query)["key"] == [key]
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/preferences"))


def test_who_is_signed_in_reads_that_the_page_is_about_her_account(client: TestClient) -> None:
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    token = service.credentials.issue_subject_token(tenant, tenant.subject("customer-42")).token
    said = "You are signed in: this applies to your account on all devices."

    own = client.post("/preferences/enter", data={"token": token}, headers={"Origin": SHOP}).text
    client.cookies.clear()
    nobodys = client.get("/preferences").text
    browsers = send(client, method="save").text

    assert (said in own, said in nobodys, said in browsers) == (True, False, False)


def test_who_comes_next_to_a_browser_finds_nothing_of_the_account_that_was_signed_in_there(
    client: TestClient,
) -> None:
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    token = service.credentials.issue_subject_token(tenant, tenant.subject("customer-42")).token
    client.post("/preferences/enter", data={"token": token}, headers={"Origin": SHOP})
    send(client, method="accept_all")
    session = f"consent-session={client.cookies['consent-session']}"
    client.cookies.clear()  # A form of another site comes without it, what follows comes with it.
    entered = client.post(
        "/preferences/enter", data={"token": ""}, headers={"Origin": SHOP}, follow_redirects=False
    )

    address = urlsplit(entered.headers["location"])
    answer = client.get(address.path, params=parse_qs(address.query), headers={"Cookie": session})

    page = answer.text

    assert checked(page) == []
    assert "You have not decided anything yet." in page
    assert 'consent-session=""; ' in answer.headers["set-cookie"]


def test_a_browser_that_decided_on_the_page_itself_comes_back_to_it(client: TestClient) -> None:
    send(client, method="save", granted=["coupons"])

    page = client.post("/preferences/enter", data={"token": ""}, headers={"Origin": SHOP}).text

    assert checked(page) == ["coupons"]


def test_history_says_where_a_browser_was_linked_and_what_that_refused(client: TestClient) -> None:
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    known = service.credentials.issue_subject_token(tenant, tenant.subject("customer-42")).token
    key = {"Authorization": f"Bearer {client.params['key']}", "Origin": SHOP}
    anonymous = client.post("/v1/subject/anonymous", json={}, headers=key).json()["token"]
    decision = {
        "notice": client.get("/v1/notice", headers=key).json()["digest"],
        "choices": {"recommendations": "granted", "coupons": "denied"},
        "method": "save",
        "source": "banner",
        "language": "en",
    }
    own = {"Authorization": f"Bearer {anonymous}", "Origin": SHOP}
    assert client.post("/v1/decisions", json=decision, headers=own).is_success

    hers = {"Authorization": f"Bearer {known}", "Origin": SHOP}
    assert client.post("/v1/subject/link", json={"anonymous": anonymous}, headers=hers).is_success
    client.post("/preferences/enter", data={"token": known}, headers={"Origin": SHOP})
    page = client.get("/preferences", params={"language": "en"}).text

    [entry] = re.findall(r"<li>\s*<h3>.*?</li>\s*</ol>", page, re.DOTALL)
    assert "Browsers linked to you: 1" in entry
    assert re.findall(r"<li><bdi[^>]*>([^<]+)</bdi>(.*)</li>", entry) == [
        ("Coupons chosen for you", ": Refused")
    ]
    assert "<ul></ul>" not in page


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null"])
def test_the_form_is_taken_from_the_page_itself_only(client: TestClient, origin: str) -> None:
    answer = client.post("/preferences", data={"method": "accept_all"}, headers={"Origin": origin})

    assert answer.status_code == 403


def test_another_shop_cannot_open_the_page_for_a_subject(client: TestClient) -> None:
    answer = client.post(
        "/preferences/enter", data={"token": "x"}, headers={"Origin": "https://elsewhere.example"}
    )

    assert answer.status_code == 403


def test_a_privacy_signal_keeps_accept_all_from_what_honours_it(client: TestClient) -> None:
    client.headers["Sec-GPC"] = "1"

    page = send(client, method="accept_all")

    assert "coupons" not in checked(page.text)
    assert "recommendations" in checked(page.text)
    assert "Global Privacy Control" in page.text


@pytest.mark.parametrize("body", [b"\xff", b"method=" + b"a" * 10, b"&".join(b"a=1" for _ in range(300))])
def test_a_form_that_is_none_is_refused(client: TestClient, body: bytes) -> None:
    assert client.post("/preferences", content=body).status_code in {404, 422}


def test_the_page_may_be_framed_by_nobody_and_runs_nothing(client: TestClient) -> None:
    policy = client.get("/preferences").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy


def test_a_receipt_is_taken_home_by_whom_it_is_about(client: TestClient) -> None:
    page = send(client, method="accept_all").text
    index = int(re.findall(r"/preferences/receipts/(\d+)", page)[0])

    own = client.get(f"/preferences/receipts/{index}")
    client.cookies.clear()
    foreign = client.get(f"/preferences/receipts/{index}", follow_redirects=False)

    assert own.status_code == 200
    assert own.headers["content-disposition"].startswith("attachment")
    assert foreign.status_code == 303
    assert foreign.content == b""


@pytest.mark.parametrize(
    ("method", "file"), [("GET", "receipts/1"), ("GET", "personal-data"), ("POST", "erase")]
)
def test_who_comes_back_too_late_is_told_so_on_the_page_itself(
    client: TestClient, method: str, file: str
) -> None:
    send(client, method="accept_all")
    session = client.cookies["consent-session"]
    client.cookies.clear()

    answer = client.request(method, f"/preferences/{file}", params={"language": "en"})

    assert "This page was open too long. Open it again; nothing was changed." in answer.text
    assert 'lang="en"' in answer.text
    client.cookies["consent-session"] = session
    assert len(checked(client.get("/preferences").text)) == 4


def test_her_data_comes_as_a_file(client: TestClient) -> None:
    send(client, method="accept_all")

    answer = client.get("/preferences/personal-data")

    assert answer.json()["consents"]["coupons"]["status"] == "given"
    assert 'filename="personal-data.json"' in answer.headers["content-disposition"]


def test_uses_of_the_last_month_are_shown(client: TestClient) -> None:
    key = str(client.params["key"])
    browser = {"Authorization": f"Bearer {key}", "Origin": SHOP}
    handle = client.post("/v1/subject/anonymous", json={}, headers=browser).json()
    client.post("/preferences/enter", data={"token": handle["token"]}, headers={"Origin": SHOP})
    send(client, method="accept_all")
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    subject = tenant.subject(anonymous_id(handle["handle"]))
    use = ReportedUse(subject=subject, purpose="coupons", feature="home", categories=None, times=3)
    report_uses(service.deployment, service.uses, tenant, [use])

    page = client.get("/preferences").text

    assert "Nothing was used." not in page
    assert "Coupons chosen for you · 3\N{MULTIPLICATION SIGN}" in page


def test_erasing_shows_the_certificate_and_ends_the_session(client: TestClient) -> None:
    send(client, method="accept_all")

    page = client.post("/preferences/erase")

    assert "Your erasure has been carried out." in page.text
    assert "consent-session" not in client.cookies
    assert "You have not decided anything yet." in client.get("/preferences").text


def test_the_certificate_is_there_to_be_read_and_to_be_taken_home(client: TestClient) -> None:
    send(client, method="accept_all")
    send(client, method="refuse_all")
    stays = (
        "Longest time until backup copies no longer show who you are or what was stored about you: 30 days."
    )
    assert stays in client.get("/preferences").text

    page = client.post("/preferences/erase").text

    [certificate] = re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    [file] = re.findall(r'href="data:text/plain;charset=utf-8,([^"]+)" download', page)
    assert unquote(file) == unescape(certificate)
    _, origin, index, ref, *_ = unescape(certificate).splitlines()
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(?:<bdi[^>]*>)?(.*?)<", page))
    assert facts == {
        "What you decided": "2",
        "Your data": "0",
        "You, as this shop&#39;s ledger knows you": ref,
        "Entry in the ledger": f"{index}, {origin}",
    }
    assert stays in page
    assert "an auditor" not in page


def test_proof_that_a_shop_keeps_for_legal_claims_is_kept_and_said_before_and_after_an_erasure(
    client: TestClient,
) -> None:
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    auditor = X25519PrivateKey.generate()
    set_evidence_policy(service.deployment, tenant, (evidence_key_text(auditor.public_key()), 365))
    send(client, method="accept_all")
    sealed = "Proof of what you decided is kept for legal claims until "
    assert sealed in client.get("/preferences").text

    page = client.post("/preferences/erase").text

    assert sealed in page
    assert not re.search("everything", page, re.IGNORECASE)
    [index] = re.findall(r"Entry in the ledger</dt><dd><bdi[^>]*>(\d+)", page)
    assert len(read_proof(service.deployment, tenant, int(index), auditor)["entries"]) == 1


def test_who_never_decided_is_told_that_nothing_is_held(client: TestClient) -> None:
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    token = service.credentials.issue_subject_token(tenant, tenant.subject("customer-42")).token
    client.post("/preferences/enter", data={"token": token}, headers={"Origin": SHOP})

    page = client.post("/preferences/erase")

    assert "We hold nothing about you." in page.text


def test_nobody_is_erased_from_another_page(client: TestClient) -> None:
    send(client, method="accept_all")

    answer = client.post("/preferences/erase", headers={"Origin": SHOP})

    assert answer.status_code == 403
    assert "Allowed" in client.get("/preferences").text
