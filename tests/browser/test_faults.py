"""Bad input and faults: whatever breaks, the shop's page works and nothing personal is done."""

import itertools
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from consent_service.web.honesty.bench import choices, cookie, layer_one, layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.own_rules import allowed
from tests.browser.shop import Shop
from tests.builders import a_notice

HOSTILE_CSS = """<style>* { all: unset !important; z-index: 2147483647 !important }
  body * { position: relative; opacity: .1 !important } [hidden] { display: block !important }</style>"""


def answering(status: int, body: str, media_type: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, body=body, content_type=media_type)


def settled(page: Page) -> None:
    page.wait_for_function("() => window.consent && consent.ready.then(() => true)")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda route: route.abort(), id="away"),
        pytest.param(answering(500, "{}", "application/json"), id="500"),
        pytest.param(answering(200, "<p>parked domain</p>", "text/html"), id="garbage"),
        pytest.param(answering(200, "\x00\xff" * 9, "application/octet-stream"), id="noise"),
        pytest.param(
            answering(404, '{"type": "/problems/unknown-notice"}', "application/problem+json"), id="404"
        ),
    ],
)
def test_without_a_layout_the_page_works_and_nothing_is_allowed(
    bench: ShopBench, answer: Callable[[Route], None]
) -> None:
    page = bench.browser.new_page()
    bench.pages.append(page)
    page.route("**/v1/banner?*", answer)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    page.goto(bench.url)
    settled(page)

    assert page.locator("consent-banner").count() == 0
    assert not page.evaluate("consent.allows('recommendations')")
    assert page.evaluate("consent.choices()") == {}
    assert errors == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(500, "{}", "application/json"), id="500"),
        pytest.param(answering(201, "not json", "application/json"), id="garbage"),
        pytest.param(answering(201, "{}", "application/json"), id="empty"),
        pytest.param(
            answering(503, '{"type": "/problems/queue-full"}', "application/problem+json"), id="503"
        ),
    ],
)
def test_a_yes_that_was_not_recorded_opens_nothing(bench: ShopBench, answer: Callable[[Route], None]) -> None:
    page = bench.visit()
    page.route("**/v1/decisions", answer)

    press(page, "accept_all")

    expect(page.locator("consent-banner [role=status]")).to_have_text(words("en")["waiting"])
    assert not any(choices(page).values())
    assert page.evaluate("JSON.parse(localStorage.consent).queue.length") == 1


def test_an_expired_token_is_replaced_and_the_decision_recorded_once(bench: ShopBench) -> None:
    page = bench.visit()
    tries = itertools.count()
    keys: list[str | None] = []

    def first_time_expired(route: Route) -> None:
        keys.append(route.request.header_value("idempotency-key"))
        if next(tries) == 0:
            answering(401, '{"type": "/problems/unauthenticated"}', "application/problem+json")(route)
        else:
            route.continue_()

    page.route("**/v1/decisions", first_time_expired)
    page.clock.install()
    press(page, "accept_all")
    expect(page.locator("consent-banner [role=status]")).not_to_be_empty()
    page.clock.run_for(5_000)
    allowed(page)

    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_wrong_clock_still_records_the_decision(bench: ShopBench) -> None:
    page = bench.visit(prepare=lambda new: new.clock.install(time="2031-01-01"))

    press(page, "accept_all")

    allowed(page)
    assert all(choices(page).values())


def test_two_tabs_stay_in_step(bench: ShopBench) -> None:
    one = bench.visit()
    other = one.context.new_page()
    other.goto(bench.url)
    expect(layer_one(other)).to_be_visible()

    press(one, "accept_all")

    allowed(other)
    expect(layer_one(other)).to_be_hidden()
    other.locator("consent-banner .o").click()
    press(other, "refuse_all")
    one.wait_for_function("() => !consent.allows('recommendations')")


def test_two_tabs_deciding_at_once_end_with_one_answer(bench: ShopBench) -> None:
    one = bench.visit()
    other = one.context.new_page()
    other.goto(bench.url)
    expect(layer_one(other)).to_be_visible()
    for page, value in ((one, "accept_all"), (other, "refuse_all")):
        page.evaluate(
            "(value) => document.querySelector('consent-banner').shadowRoot.querySelector(value).click()",
            f"section [value={value}]",
        )

    one.wait_for_function("() => JSON.parse(localStorage.consent).queue.length === 0")
    other.wait_for_function("() => JSON.parse(localStorage.consent).queue.length === 0")
    for page in (one, other):
        page.reload()
        settled(page)
    assert choices(one) == choices(other)


@pytest.mark.parametrize("blocked", ["cookies", "storage"])
def test_blocked_storage_breaks_nothing(bench: ShopBench, blocked: str) -> None:
    script = {
        "cookies": "Object.defineProperty(Document.prototype, 'cookie', { get: () => '', set: () => {} });"
        "Object.defineProperty(Navigator.prototype, 'cookieEnabled', { get: () => false });",
        "storage": "Object.defineProperty(window, 'localStorage', "
        "{ get() { throw new DOMException('', 'SecurityError') } });",
    }[blocked]
    page = bench.visit(prepare=lambda new: new.add_init_script(script))

    press(page, "accept_all")

    allowed(page)
    expect(layer_one(page)).to_be_hidden()


def test_hostile_page_css_changes_nothing(bench: ShopBench) -> None:
    plain = layer_one(bench.visit()).bounding_box()

    page = bench.visit(bench.shop.page("/hostile", head=HOSTILE_CSS + bench.shop.script()))

    assert layer_one(page).bounding_box() == plain
    refuse = layer_one(page).locator("[value=refuse_all]")
    assert refuse.evaluate("(element) => getComputedStyle(element).opacity") == "1"
    assert refuse.evaluate(
        """(element) => { const box = element.getBoundingClientRect();
          const hit = document.elementFromPoint(box.x + 9, box.y + 9);
          return hit === document.querySelector("consent-banner"); }"""
    )
    refuse.click()
    expect(layer_one(page)).to_be_hidden()


def test_hostile_words_stay_words_and_leave_the_buttons_in_view(bench: ShopBench) -> None:
    shop = bench.shop
    long = "Wörter " * 60
    hostile = {"en": f'<img src=x onerror="document.title=1">{long}', "fr": "x"}
    shop.open_tenant(
        a_notice(
            {
                "purposes/coupons/description": hostile,
                "title": {"en": "<script>document.title=1</script>", "fr": "x"},
            }
        )
    )

    page = bench.visit(shop.page())

    assert page.title() == "Shop"
    assert page.locator("consent-banner img, consent-banner script").count() == 0
    box = layer_one(page).locator("[value=refuse_all]").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 720
    press(page, "open")
    assert layer_two(page).evaluate("(element) => element.scrollWidth <= element.clientWidth")


def test_a_layout_that_brings_code_is_stripped(bench: ShopBench) -> None:
    def with_code(route: Route) -> None:
        body = route.fetch().text()
        evil = (
            '<img src=x onerror="document.title=1"><script>document.title=2</script>'
            '<a href="javascript:document.title=3">x</a>'
        )
        body = body.replace("</h2>", f"</h2>{evil}", 1).replace(
            "<p>", '<p onclick="document.title=4" style="color:red">', 1
        )
        route.fulfill(body=body, content_type="text/html", headers={"Access-Control-Allow-Origin": "*"})

    page = bench.visit(prepare=lambda new: new.route("**/v1/banner?*", with_code))

    layer_one(page).locator("p").first.click()
    assert page.title() == "Shop"
    assert (
        page.locator("consent-banner img, consent-banner script, consent-banner [href^=javascript]").count()
        == 0
    )
    assert page.locator("consent-banner [onclick], consent-banner [style]").count() == 0


def test_another_origins_key_shows_and_allows_nothing(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(a_notice())
    page = bench.browser.new_page()
    bench.pages.append(page)

    page.goto(shop.page().replace("127.0.0.1", "localhost"))
    settled(page)

    assert page.locator("consent-banner").count() == 0
    assert page.evaluate("consent.choices()") == {}


def test_a_script_that_is_loaded_twice_asks_once(bench: ShopBench) -> None:
    page = bench.visit(bench.shop.page(head=bench.shop.script() * 2))

    settled(page)

    assert page.locator("consent-banner").count() == 1


def test_a_blocked_script_leaves_a_page_that_works(bench: ShopBench) -> None:
    page = bench.browser.new_page()
    bench.pages.append(page)
    page.route("**/banner.js", lambda route: route.abort())
    gated = f'<script type="text/plain" data-purpose="coupons" src="{bench.shop.sentinel("ads")}"></script>'

    page.goto(bench.shop.page(body=gated))

    assert page.get_by_role("heading", name="Shop").is_visible()
    assert "/sentinel/ads" not in bench.shop.asked
    assert cookie(page) is None


def test_what_she_withdraws_on_the_preference_page_reaches_the_shop(bench: ShopBench) -> None:
    page = bench.visit()
    press(page, "accept_all")
    allowed(page)
    page.locator("consent-banner .o").click()
    layer_two(page).locator("[value=page]").click()
    page.wait_for_url("**/preferences?*")
    page.get_by_role("button", name=words("en")["refuse"]).click()
    expect(page.get_by_role("status")).to_be_visible()

    page.goto(bench.url)
    # The cookie still says yes: the ledger is asked, and answers.
    page.wait_for_function("() => Object.values(window.consent?.choices() ?? {}).includes(false)")

    expect(layer_one(page)).to_be_hidden()
    assert not any(choices(page).values())


def account_page(shop: Shop, customer: str) -> str:
    """The address of a page that works for a signed-in customer."""
    issued = shop.service.credentials.issue_subject_token(shop.tenant, shop.tenant.subject(customer))
    return shop.page(head=shop.script() + shop.script("account.js", token=issued.token))


def test_an_account_that_cannot_be_read_allows_nothing_and_is_asked(bench: ShopBench) -> None:
    url = account_page(bench.shop, "customer-away")

    page = bench.visit(
        url, prepare=lambda new: new.route("**/v1/consents", answering(500, "{}", "application/json"))
    )

    expect(layer_one(page).get_by_text(words("en")["account"])).to_be_visible()
    assert not any(choices(page).values())
    press(page, "accept_all")
    allowed(page)


def test_an_account_script_that_never_comes_lets_her_be_asked_after_three_seconds(bench: ShopBench) -> None:
    known = bench.visit()
    press(known, "accept_all")
    allowed(known)

    page = known.context.new_page()
    page.route("**/account.js", lambda route: route.abort())
    page.clock.install()
    page.goto(account_page(bench.shop, "customer-42"))
    settled(page)

    expect(layer_one(page)).to_be_hidden()
    page.clock.run_for(3_000)
    expect(layer_one(page)).to_be_visible()
    # What this browser remembers is another subject's.
    assert not any(choices(page).values())


def test_an_account_that_nobody_answers_for_lets_her_be_asked(bench: ShopBench) -> None:
    waiting: list[Route] = []
    page = bench.browser.new_context(locale="en").new_page()
    bench.pages.append(page)
    page.route("**/v1/consents", lambda route: waiting.append(route))  # noqa: PLW0108  # Playwright marks handlers
    page.clock.install()

    page.goto(account_page(bench.shop, "customer-slow"))
    settled(page)
    page.wait_for_function("() => consent.identify")
    expect(layer_one(page)).to_be_hidden()
    page.clock.run_for(3_000)

    expect(layer_one(page).get_by_text(words("en")["account"])).to_be_visible()
    assert not any(choices(page).values())


def test_what_others_call_consent_or_token_is_none_of_the_banners(bench: ShopBench) -> None:
    shop = bench.shop
    chat = f'<script src="{shop.sentinel("chat")}" data-token="eyJ.eyJ.x"></script>'
    page = bench.visit(shop.page(body=f'<form id="consent"></form>{chat}'))

    press(page, "accept_all")

    allowed(page)


def test_segment_hears_of_a_choice_only_once_something_is_allowed(bench: ShopBench) -> None:
    shop = bench.shop
    stub = "<script>window.told = []; window.analytics = { track: (...all) => told.push(all) };</script>"
    page = bench.visit(shop.page(head=stub + shop.script() + shop.script("segment.js")))

    press(page, "refuse_all")
    expect(page.locator("consent-banner [role=status]")).to_have_text(words("en")["saved"])
    assert page.evaluate("told") == []
    assert page.evaluate("dataLayer.at(-1).event") == "consent_changed"
    page.locator("consent-banner .o").click()
    layer_two(page).get_by_role("switch", name="Coupons chosen for you").check()
    press(page, "save")
    allowed(page, "coupons")

    page.wait_for_function("() => told.length > 0")
    assert page.evaluate("told.at(-1)") == [
        "Consent Changed",
        {
            "consent": {
                "recommendations": False,
                "coupons": True,
                "support_context": False,
                "ai_assistance": False,
            }
        },
    ]


def test_the_back_button_brings_no_old_answer_back(bench: ShopBench) -> None:
    page = bench.visit()
    page.goto(bench.shop.page("/next"))
    expect(layer_one(page)).to_be_visible()
    press(page, "refuse_all")
    expect(layer_one(page)).to_be_hidden()

    page.go_back()

    expect(layer_one(page)).to_be_hidden()


def test_an_unreadable_theme_is_not_used(bench: ShopBench) -> None:
    theme = "<style>:root { --consent-fill: #777777; --consent-label: #808080 }</style>"
    page = bench.visit(bench.shop.page(head=theme + bench.shop.script()))

    refuse = layer_one(page).locator("[value=refuse_all]")

    expect(refuse).to_have_css("background-color", "rgb(241, 243, 246)")


def test_a_readable_theme_changes_all_buttons_together(bench: ShopBench) -> None:
    theme = "<style>:root { --consent-fill: #004d40; --consent-label: #ffffff; --consent-radius: 0 }</style>"
    page = bench.visit(bench.shop.page(head=theme + bench.shop.script()))

    for button in layer_one(page).locator("button").all():
        expect(button).to_have_css("background-color", "rgb(0, 77, 64)")


def test_printing_leaves_the_banner_out(bench: ShopBench) -> None:
    page = bench.visit()

    page.emulate_media(media="print")

    expect(layer_one(page)).to_be_hidden()
