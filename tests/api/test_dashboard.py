"""The dashboard: counts of one tenant for who holds an auditor's or admin's key, and nobody in it."""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from consent_service.api.app import create_app
from consent_service.operations.manage_tenants import (
    Role,
    create_api_key,
    create_tenant,
    list_keys,
    require_tenant,
    revoke_key,
)
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_cosigned import WitnessStatus
from consent_service.operations.read_dashboard import read_dashboard
from consent_service.operations.record_decision import RecordDecision
from consent_service.operations.tenant import Tenant
from consent_service.operations.watch_counts import IDLE, LONGEST
from consent_service.settings import Settings
from consent_service.web.dashboard import LEAST, dashboard_page
from consent_service.web.notice_checks import honesty_rules
from tests.browser.notices import in_languages
from tests.builders import ChoiceName, a_decision, a_notice
from tests.service_api import OTHER_SHOP, ServiceApi, assert_problem

PAGES = ("/dashboard", "/dashboard/audit-pack")
_numbers = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A tenant of its own for each test, with a key of each role and the example notice."""

    api: ServiceApi
    tenant: Tenant
    keys: Mapping[str, str]

    @classmethod
    def open(cls, api: ServiceApi) -> "Shop":
        deployment = api.service.deployment
        tenant = create_tenant(deployment, f"shop-{next(_numbers)}")
        keys = {
            role.value: create_api_key(
                deployment, tenant, role, origins=(OTHER_SHOP,) if role is Role.BROWSER else ()
            ).key
            for role in Role
        }
        api.service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice()))
        return cls(api=api, tenant=tenant, keys=keys)

    @property
    def client(self) -> TestClient:
        """The browser; every test begins without cookies."""
        return self.api.client

    def headers(self, subject: str | None = None) -> dict[str, str]:
        """Return a backend's headers."""
        return self.api.headers(subject, key=self.keys["backend"])

    def decide(
        self, subject: str, choices: Mapping[str, ChoiceName] | None = None, **changes: object
    ) -> httpx2.Response:
        """Record a decision as a backend."""
        answer = self.client.post(
            "/v1/decisions", json=self.api.body(choices, **changes), headers=self.headers(subject)
        )
        assert answer.status_code == 201, answer.text
        return answer

    def decide_all(self, *, granted: int, denied: int) -> None:
        """Record the decisions of as many new subjects in one commit."""
        service = self.api.service
        yes: list[ChoiceName] = ["granted"]
        no: list[ChoiceName] = ["denied"]
        requests = [
            RecordDecision(
                subject=self.tenant.subject(f"customer-{next(_numbers)}"),
                decision=a_decision(
                    {"coupons": choice}, notice=self.api.notice, decided_at=service.deployment.clock()
                ),
                limits=service.settings.decision_limits,
            )
            for choice in yes * granted + no * denied
        ]
        service.committer.submit_many_blocking(self.tenant, requests)

    def sign_in(self, role: str = "auditor", *, language: str = "en") -> str:
        """Send the form and return the page that follows."""
        path = f"/dashboard/sign-in?language={language}"
        return str(self.client.post(path, data={"key": self.keys[role]}).text)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceApi]:
    """The application; what it counts is tested on both databases in tests/operations."""
    home = tmp_path_factory.mktemp("home")
    with ServiceApi(home=home, database_url=f"sqlite:///{home / 'consent.db'}") as api:
        yield api
        api.sizes()


@pytest.fixture
def shop(running: ServiceApi) -> Shop:
    """A fresh tenant, and a browser without a session."""
    running.client.cookies.clear()
    return Shop.open(running)


def shows_the_form(page: str) -> bool:
    return 'name="key"' in page and "<table" not in page


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table after a heading, by the text of their first cell."""
    part = page.partition(f">{heading}<")[2].partition("</table>")[0]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", part.partition("<tbody>")[2], re.DOTALL):
        cells = re.findall(r"<t[hd].*?</t[hd]>", row)
        first, *others = [html.unescape(re.sub("<.*?>", "", cell)) for cell in cells]
        found[first] = others
    return found


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_an_auditor_or_admin_sees_counts(shop: Shop, role: str) -> None:
    shop.decide("granting")
    shop.decide("refusing", {"coupons": "denied"})

    page = shop.sign_in(role)

    assert rows(page, "Where people stand now")["Coupons chosen for you"] == ["1", "1", "1", "0", "0", "0"]
    assert rows(page, "Where people stand now")["Recommendations"] == ["1", "0", "0", "0", "0", "2"]
    assert rows(page, "Taken back")["Coupons chosen for you"] == ["0", "0.0%"]
    assert f"Fewer than {LEAST} answers" in page


@pytest.mark.parametrize("role", ["backend", "browser"])
def test_another_role_is_refused(shop: Shop, role: str) -> None:
    answer = shop.client.post("/dashboard/sign-in", data={"key": shop.keys[role]})

    assert answer.status_code == 403
    assert "of another role" in answer.text
    assert shows_the_form(answer.text)
    assert not shop.client.cookies


@pytest.mark.parametrize("key", ["", "ck_unknown", "\u2603", "ck_" + "x" * 300])
def test_an_unknown_key_is_refused_and_not_repeated(shop: Shop, key: str) -> None:
    answer = shop.client.post("/dashboard/sign-in", data={"key": key})

    assert answer.status_code == 401
    assert "unknown or revoked" in answer.text
    assert not key or key not in answer.text
    assert not shop.client.cookies


def test_a_subject_token_begins_no_session_and_is_none(shop: Shop) -> None:
    token = shop.api.token("somebody", key=shop.keys["backend"])

    assert shop.client.post("/dashboard/sign-in", data={"key": token}).status_code == 401
    shop.client.cookies.set("consent-dashboard", token, path="/dashboard")
    assert shows_the_form(shop.client.get("/dashboard").text)


def test_a_session_is_no_credential_of_the_api(shop: Shop) -> None:
    shop.sign_in("admin")
    token = shop.client.cookies["consent-dashboard"]

    for path in ("/v1/consents", "/v1/audit/export"):
        assert_problem(shop.api.get(path, "somebody", key=token), 401, "unauthenticated")
        assert shop.client.get(path).status_code == 401


@pytest.mark.parametrize("path", PAGES)
def test_without_a_session_there_is_the_form_and_nothing_else(shop: Shop, path: str) -> None:
    answer = shop.client.get(path)

    assert answer.status_code == 200
    assert shows_the_form(answer.text)
    assert shop.client.get(path, headers=shop.api.headers(key=shop.keys["admin"])).text == answer.text


@pytest.mark.parametrize("path", PAGES)
def test_a_session_ends_when_its_key_is_revoked(shop: Shop, path: str) -> None:
    shop.sign_in()
    deployment = shop.api.service.deployment
    for stored in list_keys(deployment, shop.tenant):
        if stored.role == "auditor":
            assert revoke_key(deployment, shop.tenant, stored.id)

    assert shows_the_form(shop.client.get(path).text)


def test_a_session_ends_when_nobody_looks_and_at_last_anyway(shop: Shop) -> None:
    shop.sign_in()
    shop.api.clock.advance(seconds=IDLE.total_seconds() + 1)
    assert "session is over" in shop.client.get("/dashboard").text

    shop.sign_in()
    looks = LONGEST // (IDLE / 2)
    for _ in range(looks - 1):
        shop.api.clock.advance(seconds=IDLE.total_seconds() / 2)
        assert not shows_the_form(shop.client.get("/dashboard").text)
    shop.api.clock.advance(seconds=IDLE.total_seconds() / 2 + 1)
    assert shows_the_form(shop.client.get("/dashboard").text)


def test_a_session_that_somebody_changed_is_over(shop: Shop) -> None:
    shop.sign_in()
    token = shop.client.cookies["consent-dashboard"]
    shop.client.cookies.clear()

    for changed in (token[:-2] + "AA", token.replace(".", ""), "a.b.c", "\x00"):
        page = shop.client.get("/dashboard", headers={"Cookie": f"consent-dashboard={changed}"})
        assert page.status_code == 200
        assert shows_the_form(page.text)


def test_signing_out_ends_it(shop: Shop) -> None:
    shop.sign_in()

    page = shop.client.post("/dashboard/sign-out").text

    assert shows_the_form(page)
    assert not shop.client.cookies


@pytest.mark.parametrize("path", ["/dashboard/sign-in", "/dashboard/sign-out"])
@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example", "null"])
def test_no_other_page_sends_the_forms(shop: Shop, path: str, origin: str) -> None:
    shop.sign_in()

    answer = shop.client.post(path, data={"key": shop.api.keys["auditor"]}, headers={"Origin": origin})

    assert_problem(answer, 403, "forbidden")
    assert not shows_the_form(shop.client.get("/dashboard").text)


def test_the_cookie_is_for_this_page_and_no_script(shop: Shop) -> None:
    answer = shop.client.post(
        "https://testserver/dashboard/sign-in", data={"key": shop.keys["auditor"]}, follow_redirects=False
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == "/dashboard"
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "secure", "samesite=strict", "path=/dashboard", "max-age=1800"}
    assert shop.keys["auditor"] not in answer.headers["set-cookie"]


def test_nobody_is_on_the_page(shop: Shop) -> None:
    names = ("customer-4711", "someone@example.org")
    for name in names:
        shop.decide(name)
        shop.decide(name, {"coupons": "denied"}, source=name.partition("@")[0])
    asked = {"purposes": ["coupons"]}
    answers = [shop.client.post("/v1/gate", json=asked, headers=shop.headers(name)) for name in names]
    refs = [answer.json()["subject"] for answer in answers]

    page = shop.sign_in("admin")

    for private in (*names, *refs, "customer-", "someone", *shop.keys.values()):
        assert private not in page
    assert rows(page, "Place")["Others"] == ["2", "50.0%"]


def test_another_tenants_counts_are_its_own(shop: Shop) -> None:
    shop.decide("customer")
    other = Shop.open(shop.api)
    mine = shop.sign_in()

    theirs = other.sign_in()

    assert rows(mine, "Where people stand now")["Coupons chosen for you"][1] == "1"
    assert rows(theirs, "Where people stand now")["Coupons chosen for you"] == ["1", *["0"] * 4, "0"]
    assert shop.tenant.origin in mine
    assert shop.tenant.origin not in theirs
    for process in ("waiting to be committed", "Reasons given"):
        assert process not in theirs, "what a process counts belongs to every tenant of it"


def test_a_share_is_judged_by_the_usual_band(shop: Shop) -> None:
    shop.decide_all(granted=40, denied=60)
    within = shop.sign_in()
    shop.decide_all(granted=40, denied=0)
    above = shop.sign_in()
    shop.decide_all(granted=0, denied=200)
    below = shop.sign_in()

    assert "40.0%. Within the usual 30%\u201345%." in within
    assert "57.1%. Above the usual 30%\u201345%: check on your page" in above
    assert "23.5%. Below the usual 30%\u201345%: look at the benefit" in below


def test_who_was_erased_is_not_counted(shop: Shop) -> None:
    shop.decide("customer")
    shop.decide("another")
    shop.sign_in()

    shop.client.delete("/v1/subject", headers=shop.headers("customer"))
    page = shop.client.get("/dashboard").text

    assert rows(page, "Where people stand now")["Coupons chosen for you"] == ["1", "1", "0", "0", "0", "0"]
    assert "<dt>Erasures</dt><dd>1</dd>" in page
    assert "<dt>Decisions</dt><dd>1</dd>" in page


def test_the_ledger_is_shown_as_it_is_published(shop: Shop) -> None:
    shop.decide("customer")

    page = shop.sign_in()

    checkpoint = shop.client.get("/v1/ledger/checkpoint", headers=shop.headers()).text.splitlines()
    assert f"<dt>Entries</dt><dd>{checkpoint[1]}</dd>" in page
    assert checkpoint[2] in html.unescape(page)
    assert shop.api.notice in page


def test_witnesses_are_shown_with_how_far_they_are_behind(shop: Shop) -> None:
    data = read_dashboard(shop.api.service, shop.tenant)
    seen = WitnessStatus(name="council", vkey="", address=None, size=1, cosigned_at=1_795_262_400, lag=1200)
    unseen = replace(seen, name="consumers", size=0, cosigned_at=None)

    _, page = dashboard_page(replace(data, witnesses=[seen, unseen]), "en")

    assert "names no witnesses" in dashboard_page(data, "en")[1]
    assert "names no witnesses" not in page
    assert rows(page, "Last cosigned") == {
        "council": ["November 21, 2026, 12:00:00\u202fPM UTC", "1,200"],
        "consumers": ["never", "1,200"],
    }


def test_a_count_that_is_not_done_says_so(shop: Shop) -> None:
    data = read_dashboard(shop.api.service, shop.tenant)

    _, page = dashboard_page(replace(data, tally=replace(data.tally, counted=8192, rows=20_000)), "en")

    assert "Counted so far: 8,192 of 20,000 rows" in page
    assert "Counted so far" not in dashboard_page(data, "en")[1]


def test_a_rule_that_does_not_hold_is_named_with_its_languages(shop: Shop) -> None:
    shop.api.service.committer.submit_blocking(shop.tenant, PublishNotice(notice=in_languages(("en", "zh"))))

    page = shop.sign_in()

    assert "Rules read from this notice: 11. Of these hold: 10." in page
    results = {name[:3]: cells[0] for name, cells in rows(page, "Honesty of the banner").items()}
    assert results["R16"] == "Does not hold in: \u4e2d\u6587"


def test_every_rule_is_there_with_what_was_and_was_not_checked(shop: Shop) -> None:
    page = shop.sign_in()

    shown = rows(page, "Honesty of the banner")
    assert [name.partition(" ")[0] for name in shown] == [rule.id for rule in honesty_rules()]
    results = {name[:3]: cells[:2] for name, cells in shown.items()}
    assert results["R15"] == ["Holds", "Not checked: run the kit"]
    assert results["R01"] == ["Not to be read from a notice", "Not checked: run the kit"]
    assert results["R24"] == ["Not to be read from a notice", "Toolkit\u2019s tests only"]
    assert "Your shop\u2019s page was not looked at" in page


def test_the_pack_is_the_tenants_own(shop: Shop) -> None:
    shop.sign_in()

    answer = shop.client.get("/dashboard/audit-pack")

    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="consent-audit.zip"'
    assert shop.tenant.origin.encode() in answer.content
    assert b"consent.local/default" not in answer.content


def test_the_page_speaks_the_language_asked_for(shop: Shop) -> None:
    page = shop.sign_in(language="fr")

    assert 'lang="fr"' in page
    assert "O\u00f9 en sont les personnes" in page
    assert "language=fr" in shop.client.get("/dashboard", headers={"Accept-Language": "fr-CH"}).text


@pytest.mark.parametrize("path", ["/dashboard", "/static/dashboard.css"])
def test_the_page_asks_nobody_else(shop: Shop, path: str) -> None:
    shop.sign_in()

    answer = shop.client.get(path)

    assert "://" not in re.sub(r'href="https://maison-lumiere\.example[^"]*"', "", answer.text)
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    if path == "/dashboard":
        assert answer.headers["cache-control"] == "no-store"
        assert (
            "default-src 'none'; style-src 'self'; form-action 'self'"
            in answer.headers["content-security-policy"]
        )


def test_a_tenant_without_a_notice_sees_that(shop: Shop) -> None:
    deployment = shop.api.service.deployment
    bare = create_tenant(deployment, "bare")
    key = create_api_key(deployment, bare, Role.AUDITOR).key

    page = shop.client.post("/dashboard/sign-in", data={"key": key}).text

    assert "No notice was published yet." in page
    assert "<dt>Entries</dt><dd>0</dd>" in page


def test_a_process_of_one_tenant_says_what_it_counted(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path / "home"))
    with TestClient(app) as client:
        deployment = app.state.service.deployment
        key = create_api_key(deployment, require_tenant(deployment, "default"), Role.AUDITOR).key

        page = client.post("/dashboard/sign-in", data={"key": key}).text

    assert "<dt>Decisions waiting to be committed</dt><dd>0</dd>" in page
    assert "<dt>I do not trust it</dt><dd>" in page
