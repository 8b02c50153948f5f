"""The demo shop, as somebody who shops there: personal where she allowed it, and open about why."""

import itertools
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.web.honesty import Bench, Rule, portable_rules
from consent_service.web.honesty.bench import layer_two, press
from examples.storefront.app import create_storefront
from examples.storefront.catalogue import Catalogue, Customer, Product
from examples.storefront.consent_desk import ConsentDesk
from tests.browser.own_platform_rules import violations
from tests.browser.serving import served
from tests.browser.shop import Shop
from tests.builders import a_notice
from tests.servers import unused_port, wait_until


def a_product(number: int, kind: str) -> Product:
    return Product(id=number, name=kind.capitalize(), size="1 lb", aisle="Grocery", kind=kind, price=1.0)


CATALOGUE = Catalogue(
    products=tuple(
        a_product(number, kind) for number, kind in enumerate(["BANANAS", "EGGS", "TEA", "TEA", "RICE"])
    ),
    customers=tuple(
        Customer(
            household=number,
            label=f"{number}, 1 Adult, 45-54",
            favourites=("TEA",),
            bought=frozenset({2}),
            told={"size": "1"},
        )
        for number in range(1, 20)
    ),
    coupons=(1, 3),
)
_HOUSEHOLDS = itertools.count(1)


@pytest.fixture(scope="module")
def storefront(shop: Shop) -> Iterator[str]:
    port = unused_port()
    origin = f"http://127.0.0.1:{port}"
    shop.open_tenant(a_notice(), origins=(origin,))
    desk = ConsentDesk(
        url=shop.service_url,
        public_url=shop.service_url,
        backend_key=create_api_key(shop.service.deployment, shop.tenant, Role.BACKEND).key,
        browser_key=shop.key,
    )
    with desk, served(create_storefront(desk, CATALOGUE), port) as url:
        yield url


@pytest.fixture
def page(browser: Browser, storefront: str) -> Iterator[Page]:
    """The page of another customer in each test, who signed in and was asked."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(storefront)
    page.get_by_label("Sign in as").select_option(str(next(_HOUSEHOLDS)))
    page.get_by_role("button", name="Sign in").click()
    page.locator("consent-banner [data-reach]").wait_for()
    yield page
    context.close()


def test_nobody_is_shown_anything_personal_before_a_yes(page: Page) -> None:
    expect(page.get_by_role("heading", name="What everybody buys")).to_be_visible()
    expect(page.get_by_text("Bananas")).to_be_visible()
    assert page.get_by_text("Why do I see this?").count() == 0


def test_a_yes_shows_recommendations_and_why(page: Page) -> None:
    press(page, "accept_all")
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(1)

    page.get_by_text("Why do I see this?").click()

    expect(page.get_by_text("What you bought here: used")).to_be_visible()
    assert violations(page, "html") == []
    page.get_by_role("button", name="Change this choice").click()
    press(page, "refuse_all")
    expect(page.get_by_role("heading", name="What everybody buys")).to_be_visible()


def test_the_shops_pages_bring_the_banner_along_for_who_has_not_answered(
    browser: Browser, storefront: str
) -> None:
    context = browser.new_context()
    day = int(time.time() // 86_400)

    def brought(said: str) -> str:
        return context.request.get(storefront, headers={"Cookie": f"eu-consent={said}"}).text()

    wait_until(lambda: "shadowrootmode" in brought(""), what="the service's first answer")
    assert "<section lang=" in brought("")
    keys = ("recommendations", "coupons", "support_context", "ai_assistance")
    assert "<section hidden lang=" in brought("~".join(f"{key}:1:0:{day}" for key in keys))
    assert ":host" in context.request.get(f"{storefront}/banner.css").text()
    context.close()


def test_a_human_knows_the_history_where_that_is_allowed(page: Page) -> None:
    press(page, "accept_all")
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    page.get_by_role("link", name="Support").click()
    page.get_by_label("Your message").fill("Where is my order?")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Assistant (AI)")).to_be_visible()

    page.get_by_role("button", name="Speak to a human").click()

    expect(page.get_by_text("Wrote before: Where is my order?")).to_be_visible()
    expect(page.get_by_text("you need not repeat it")).to_be_visible()
    page.get_by_text("Why do I see this?").click()
    expect(page.get_by_text("Earlier conversations with support: used")).to_be_visible()
    assert violations(page, "html") == []


def test_who_denies_the_assistant_gets_a_human_at_once_who_knows_nothing(page: Page) -> None:
    press(page, "refuse_all")
    page.get_by_role("link", name="Support").click()
    page.get_by_label("Your message").fill("Where is my order?")

    page.get_by_role("button", name="Send").click()

    expect(page.locator(".talk .human")).to_be_visible()
    assert page.get_by_text("Assistant (AI)").count() == 0
    expect(page.get_by_text("you did not allow your history to be seen")).to_be_visible()


def test_coupons_are_everybodys_until_that_purpose_alone_is_allowed(page: Page) -> None:
    page.get_by_role("link", name="Coupons").click()
    expect(page.get_by_role("heading", name="Coupons for everybody")).to_be_visible()
    page.locator("consent-banner [data-reach]").wait_for()
    press(page, "open")
    layer_two(page).get_by_role("switch", name="Coupons chosen for you").check()

    press(page, "save")

    expect(page.get_by_role("heading", name="Coupons chosen for you")).to_be_visible()
    page.get_by_role("link", name="Shop", exact=True).click()
    expect(page.get_by_role("heading", name="What everybody buys")).to_be_visible()


@pytest.mark.parametrize(
    "rule",
    [rule for rule in portable_rules() if rule.id in {"R25", "R26", "R41", "R44"}],
    ids=lambda rule: rule.id,
)
def test_the_honesty_kit_finds_the_control_that_the_shop_brings_itself(
    browser: Browser, storefront: str, rule: Rule
) -> None:
    bench = Bench(browser=browser, url=storefront)

    try:
        rule.check(bench)
    finally:
        bench.close()
