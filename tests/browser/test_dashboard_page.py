"""The dashboard in a real browser: nothing for axe-core on any screen, and everything by the keyboard.

With CONSENT_SOAK=1 axe-core looks at every language.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from consent_service.api.app import create_app
from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.record_decision import RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings
from tests.browser.notices import in_languages
from tests.browser.own_platform_rules import JUDGED, judge
from tests.browser.serving import served
from tests.builders import ChoiceName, a_decision
from tests.servers import unused_port

DECISIONS = 150


def fill(service: ConsentService) -> str:
    """Record decisions under a notice in two languages; return an auditor's key."""
    tenant = require_tenant(service.deployment, "default")
    published = service.committer.submit_blocking(tenant, PublishNotice(notice=in_languages(("en", "ar"))))
    now = service.deployment.clock()
    kinds: list[ChoiceName] = ["granted", "denied", "denied"]
    requests = [
        RecordDecision(
            subject=tenant.subject(f"customer-{number}"),
            decision=a_decision(
                {"recommendations": kinds[number % 3], "coupons": kinds[number % 2]},
                notice=published.digest,  # type: ignore[attr-defined]  # what a publication answers
                decided_at=now,
            ),
            limits=service.settings.decision_limits,
        )
        for number in range(DECISIONS)
    ]
    service.committer.submit_many_blocking(tenant, requests)
    return create_api_key(service.deployment, tenant, Role.AUDITOR).key


@pytest.fixture(scope="module")
def dashboard(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str, str]]:
    """A page, the dashboard's address, and a key."""
    app = create_app(Settings(home=tmp_path_factory.mktemp("served")))
    with served(app, unused_port()) as url:
        key = fill(app.state.service)
        page = browser.new_page()
        yield page, f"{url}/dashboard", key
        page.close()


@pytest.fixture
def page(dashboard: tuple[Page, str, str]) -> Page:
    """The sign-in form, of a browser that has no session."""
    opened, address, _ = dashboard
    opened.context.clear_cookies()
    opened.goto(f"{address}?language=en")
    return opened


def look_at(page: Page, *screens: str) -> None:
    """Let axe-core look at these screens.

    Of the rules' table it sees a few rows: they are all alike, and it takes its time for each.
    """
    page.evaluate("document.querySelectorAll('.rules tr:nth-child(n+5)').forEach((row) => row.remove())")
    judge(page, *screens)


def sign_in(page: Page, key: str) -> None:
    """Type the key and press Enter: no mouse is needed."""
    page.locator("#key").focus()
    page.keyboard.type(key)
    page.keyboard.press("Enter")


def test_axe_has_nothing_to_say(page: Page, dashboard: tuple[Page, str, str]) -> None:
    _, address, key = dashboard
    look_at(page, "light", "320 px")
    sign_in(page, "ck_unknown")
    expect(page.get_by_role("alert")).to_be_visible()
    look_at(page, "dark phone", "forced colours")
    sign_in(page, key)
    expect(page.get_by_role("heading", level=2)).to_have_count(8)
    look_at(page)

    page.goto(f"{address}?language=ar")

    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    look_at(page, "dark phone", "320 px")


def test_axe_has_nothing_to_say_in_other_languages(page: Page, dashboard: tuple[Page, str, str]) -> None:
    _, address, key = dashboard
    sign_in(page, key)
    page.get_by_role("table").first.wait_for()

    for language in JUDGED:
        page.goto(f"{address}?language={language}")
        expect(page.locator("html")).to_have_attribute("lang", language)
        look_at(page, "320 px")


def test_it_is_worked_by_the_keyboard_and_fetches_nothing_from_elsewhere(
    page: Page, dashboard: tuple[Page, str, str]
) -> None:
    _, address, key = dashboard
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, key)
    expect(page.get_by_role("heading", name="The ledger")).to_be_visible()

    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Sign out")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("#key")).to_be_visible()
    origin = address.removesuffix("/dashboard")
    assert asked
    assert all(url.startswith(origin) for url in asked)


def test_a_purpose_named_in_one_long_word_leaves_the_numbers_in_view(
    page: Page, dashboard: tuple[Page, str, str]
) -> None:
    sign_in(page, dashboard[2])
    row = page.get_by_role("table").first.locator("tbody tr").first
    row.get_by_role("rowheader").evaluate("(name) => (name.textContent = 'Einwilligung'.repeat(8))")

    page.set_viewport_size({"width": 390, "height": 844})

    box = row.get_by_role("cell").nth(1).bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390


def test_no_table_is_cut_off_on_paper(page: Page, dashboard: tuple[Page, str, str]) -> None:
    _, address, key = dashboard
    sign_in(page, key)
    page.get_by_role("table").first.wait_for()

    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins

    for language in ("en", *JUDGED):
        page.goto(f"{address}?language={language}")
        wide = "(tables) => tables.filter((each) => each.scrollWidth > each.clientWidth).length"
        assert page.locator(".wide").evaluate_all(wide) == 0, language
    page.emulate_media(media="screen")
