"""The demo shop, as somebody who shops there: personal where she allowed it, and open about why."""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Route as Intercepted
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from consent_service.domain.notice import Notice
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.web.honesty import Bench, Rule, portable_rules
from consent_service.web.honesty.bench import choices, layer_one, layer_two, press
from consent_service.web.words import direction
from consent_service.web.words import words as banner_words
from examples.storefront.app import create_storefront
from examples.storefront.catalogue import Catalogue, Customer, Product, readable
from examples.storefront.consent_desk import ConsentDesk
from examples.storefront.words import FALLBACK, WORDS, best, spoken
from tests.browser.notices import in_languages
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
_METHODS = ["GET", "POST", "PATCH"]


@contextmanager
def opened(shop: Shop, notice: Notice) -> Iterator[str]:
    """The shop with a notice of its own; give its address."""
    port = unused_port()
    origin = f"http://127.0.0.1:{port}"
    shop.open_tenant(notice, origins=(origin,))
    desk = ConsentDesk(
        url=shop.service_url,
        public_url=shop.service_url,
        backend_key=create_api_key(shop.service.deployment, shop.tenant, Role.BACKEND).key,
        browser_key=shop.key,
    )
    with desk, served(create_storefront(desk, CATALOGUE), port) as url:
        yield url


@pytest.fixture(scope="module")
def storefront(shop: Shop) -> Iterator[str]:
    with opened(shop, a_notice()) as url:
        yield url


@pytest.fixture(scope="module")
def abroad(shop: Shop) -> Iterator[str]:
    """The shop with a notice that has no English."""
    with opened(shop, in_languages(("ar", "de", "fr"))) as url:
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


def test_a_no_that_is_still_on_its_way_leaves_nothing_personal_on_the_page(page: Page) -> None:
    press(page, "accept_all")
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    loaded = page.evaluate("performance.timeOrigin")
    on_their_way: list[Intercepted] = []
    page.route("**/v1/decisions", lambda route: on_their_way.append(route))  # noqa: PLW0108  # wants a function

    page.get_by_text("Why do I see this?").click()
    page.get_by_role("button", name="Change this choice").click()
    with page.expect_request("**/v1/decisions"):
        press(page, "refuse_all")

    expect(page.get_by_role("heading", name="For you")).to_be_hidden()
    assert page.evaluate("performance.timeOrigin") == loaded
    on_their_way[0].continue_()
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


def test_a_no_said_before_she_signed_in_comes_along_and_a_forged_token_does_not(
    browser: Browser, storefront: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(storefront)
    press(page, "open")
    layer_two(page).get_by_role("switch", name="Recommendations").check()
    press(page, "save")
    # Polled from here: the shop's policy lets no string be evaluated in its pages.
    wait_until(lambda: choices(page)["recommendations"], what="the ledger's answer")

    page.get_by_label("Sign in as").select_option(str(next(_HOUSEHOLDS)))
    page.get_by_role("button", name="Sign in").click()

    # Only her yes has to be said again, as this customer.
    page.locator("consent-banner [data-reach]").wait_for()
    assert layer_one(page).locator("ul li:not([hidden])").all_inner_texts() == ["Recommendations"]
    page.get_by_role("button", name="Sign out").click()
    forged: dict[str, str | float | bool] = {
        "household": str(next(_HOUSEHOLDS)),
        "anonymous": "eyJhbGciOiJub25lIn0.e30.",
    }
    assert context.request.post(f"{storefront}/sign-in", form=forged).ok
    context.close()


def headed(page: Page, url: str, heading: str) -> bool:
    """Open the shop anew and tell whether it has this heading: it hears of choices by the stream."""
    page.goto(url)
    return page.locator("h1").inner_text() == heading


def test_who_is_signed_in_says_yes_and_takes_it_back_without_script(
    browser: Browser, storefront: str
) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(storefront)
    page.get_by_label("Sign in as").select_option(str(next(_HOUSEHOLDS)))
    page.get_by_role("button", name="Sign in").click()

    for control, answer, heading in (
        ("footer", "accept_all", "For you"),
        (".why", "refuse_all", "What everybody buys"),
    ):
        page.goto(storefront)
        page.locator(".why summary").or_(page.locator("h1")).last.click()
        page.locator(control).locator("[data-consent-open]").click()
        expect(page.get_by_text(banner_words("en")["account"])).to_be_visible()
        page.locator(f"[name=method][value={answer}]").click()
        expect(page.get_by_role("status")).to_have_text(banner_words("en")["saved"])
        wait_until(partial(headed, page, storefront, heading), what="the shop to hear of it")

    page.context.close()


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


def test_a_long_word_in_a_message_makes_no_page_scroll_sideways(page: Page) -> None:
    press(page, "refuse_all")
    page.get_by_role("link", name="Support").click()
    page.get_by_label("Your message").fill("x" * 200)
    page.keyboard.press("Enter")
    expect(page.get_by_text("x" * 200).first).to_be_visible()

    page.set_viewport_size({"width": 320, "height": 640})

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


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


@pytest.mark.parametrize("language", ["ar", "de", "fr"])
def test_page_and_banner_speak_her_language_and_so_do_the_reasons(
    browser: Browser, abroad: str, language: str
) -> None:
    words = WORDS[language]
    context = browser.new_context(locale=language, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(abroad)
    page.get_by_label(words["sign_in_as"]).select_option(str(next(_HOUSEHOLDS)))
    page.get_by_role("button", name=words["sign_in"]).click()
    page.locator("consent-banner [data-reach]").wait_for()

    spoken_by = [
        page.locator(element).evaluate("(element) => [element.lang, element.dir]")
        for element in ("html", "consent-banner")
    ]
    # What the banner calls her choices is what the shop's own link is called.
    assert layer_one(page).get_by_text(banner_words(language)["open"]).count() == 1
    assert page.locator("footer [data-consent-open]").inner_text() == banner_words(language)["open"]
    press(page, "accept_all")
    expect(page.get_by_role("heading", name=words["for_you"])).to_be_visible()
    page.get_by_text(words["why"]).click()

    expect(page.locator(".why li").filter(has_text=f"({language})")).to_have_count(1)
    assert spoken_by == [[language, direction(language)]] * 2
    assert violations(page, "html") == []
    context.close()


def test_she_goes_on_in_another_language_on_the_page_she_was_on(browser: Browser, abroad: str) -> None:
    context = browser.new_context(locale="de")
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{abroad}/coupons")
    press(page, "refuse_all")

    page.get_by_role("button", name=WORDS["ar"]["own_name"]).click()

    expect(page.get_by_role("heading", name=WORDS["ar"]["coupons_for_all"])).to_be_visible()
    assert page.url == f"{abroad}/coupons"
    page.get_by_role("link", name=WORDS["ar"]["support"]).click()
    expect(page.get_by_role("heading", name=WORDS["ar"]["agent"])).to_be_visible()
    answer = context.request.post(
        f"{abroad}/language",
        form={"language": "fr", "page": "//elsewhere.example"},
        max_redirects=0,
    )
    assert answer.headers["location"] == "/"
    context.close()


@pytest.mark.parametrize("answer", ["away", "500", "garbage"])
def test_the_shop_works_and_shows_nothing_personal_while_the_service_does_not(answer: str) -> None:
    status = 500 if answer == "500" else 200
    port = unused_port()
    broken = Starlette(routes=[Route("/{path:path}", lambda _: Response("<html>", status), methods=_METHODS)])
    with ExitStack() as stack:
        if answer != "away":
            stack.enter_context(served(broken, port))
        url = f"http://127.0.0.1:{port}"
        desk = stack.enter_context(
            ConsentDesk(url=url, public_url=url, backend_key="ck_x", browser_key="pk_x")
        )
        shop = stack.enter_context(TestClient(create_storefront(desk, CATALOGUE)))

        signed_in = shop.post("/sign-in", data={"household": "3", "anonymous": "eyJ.eyJ.x"})
        written = shop.post("/support", data={"text": "Where is my order?"})
        coupons = shop.get("/coupons")

    words = WORDS["en"]
    assert words["everybody"] in signed_in.text
    assert words["sign_out"] in signed_in.text
    assert words["human_says"] in written.text
    assert words["agent_blind"] in written.text
    assert words["coupons_for_all"] in coupons.text


def test_the_shop_has_every_word_in_every_language_and_takes_the_next_best() -> None:
    assert {frozenset(words) for words in WORDS.values()} == {frozenset(WORDS[FALLBACK])}
    assert all(text.strip() for words in WORDS.values() for text in words.values())
    assert spoken(["ja", "fr", "en"]) == ["fr", "en"]
    assert spoken(["ja"]) == ["en"]
    assert best(["", "de-AT;q=0.9", "fr"], ["en", "fr"]) == "fr"
    assert best(["ja"], ["fr", "en"]) == "en"
    assert best(["ja"], ["fr", "de"]) == "fr"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("YOGURT NOT MULTI-PACKS", "Yogurt"),
        ("SGL SV/VEND MACH SNACKS CHIP/P", "Single serve / vending machine snacks chip"),
        ("DAIRY CASE 100% PURE JUICE - O", "Dairy case 100% pure juice"),
        ("NATURAL CHEESE EXACT WT SLICES", "Natural cheese exact weight slices"),
        ("SFT DRNK SNGL SRV BTL CARB (EX", "Soft drink single serve bottle"),
        ("EGGS - X-LARGE", "Eggs x large"),
    ],
)
def test_what_a_till_calls_a_product_is_said_in_words(kind: str, name: str) -> None:
    assert readable(kind) == name
