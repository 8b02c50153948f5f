"""The rules whose check needs our service, its notice or the shop's pages in hand."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from consent_service.web.honesty import Rule
from consent_service.web.honesty.bench import choices, cookie, layer_one, layer_two, press
from consent_service.web.words import direction, languages, words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages
from tests.builders import a_notice

OWN: list[Rule] = []
_READY = "window.consent && consent.ready.then(() => true)"
_FRAMES = """window.framesWithBanner = 0;
  (function frame() {
    const section = document.querySelector("consent-banner")?.shadowRoot?.querySelector("section");
    if (section?.checkVisibility({ visibilityProperty: true })) framesWithBanner += 1;
    requestAnimationFrame(frame);
  })();"""
_BROKEN_WORDS = """() => {
  const labels = document.querySelector("consent-banner").shadowRoot.querySelectorAll("h2, b, .a button");
  return [...labels].flatMap(({ firstChild }) => [...firstChild.data.matchAll(/\\p{L}+/gu)].filter((word) => {
    const range = new Range();
    range.setStart(firstChild, word.index);
    range.setEnd(firstChild, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map(([word]) => word));
}"""
"""Words of titles, names and the answers' labels that are torn apart over two lines."""


def own(rule_id: str, text: str, source: str) -> Callable[[Callable[[ShopBench], None]], None]:
    """Register a check that needs more than a page."""

    def register(check: Callable[[ShopBench], None]) -> None:
        OWN.append(Rule(id=rule_id, text=text, source=source, check=check))  # type: ignore[arg-type]  # run with a ShopBench only

    return register


def posts(page: Page) -> list[dict[str, Any]]:
    """Collect the bodies of decisions from now on."""
    bodies: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.method == "POST" and request.url.endswith("/v1/decisions"):
            bodies.append(request.post_data_json)

    page.on("request", note)
    return bodies


def allowed(page: Page, purpose: str = "recommendations") -> None:
    """Wait until a purpose may be used."""
    page.wait_for_function("(purpose) => window.consent?.allows(purpose)", arg=purpose)


@own(
    "R16",
    "The banner speaks the page's language, and all of it",
    "EDPB 03/2022 language discontinuity; WCAG 2.2 SC 3.1.2",
)
def speaks_the_pages_language(bench: ShopBench) -> None:
    tags = (*languages(), "sw")
    bench.shop.open_tenant(in_languages(tags))
    page = bench.visit(bench.shop.page(lang="he"))
    expect(page.locator("consent-banner")).to_have_attribute("lang", "he")
    page.goto(bench.shop.page(lang="ja"))
    expect(page.locator("consent-banner")).to_have_attribute("lang", "ja")
    press(page, "open")
    page.set_viewport_size({"width": 320, "height": 640})
    for tag in tags:
        layer_two(page).get_by_role("combobox").select_option(tag)
        expect(page.locator("consent-banner")).to_have_attribute("lang", tag)
        assert page.evaluate(_BROKEN_WORDS) == []
        assert layer_one(page).get_attribute("dir") == direction(tag)
        text = f"{layer_one(page).text_content()} {layer_two(page).text_content()}"
        assert words(tag)["refuse"] in text
        assert not [sign for sign in ("{", "}", "undefined", "null", "[object", "duration-") if sign in text]


@own(
    "R24",
    "An account's choice says its reach, follows her, and leaves the logged-out browser as it was",
    "CNIL 2025-131",
)
def account_wide(bench: ShopBench) -> None:
    shop = bench.shop
    subject = shop.tenant.subject("customer-42")
    token = shop.service.credentials.issue_subject_token(shop.tenant, subject).token
    signed_in = shop.page("/account", head=shop.script() + shop.script("account.js", token=token))
    first = bench.visit(signed_in)
    expect(layer_one(first).get_by_text(words("en")["account"])).to_be_visible()
    press(first, "accept_all")
    allowed(first)
    assert cookie(first) is None

    with_one_late(bench, signed_in, "**/static/account.js", _READY)
    with_one_late(bench, signed_in, "**/v1/banner?*", "!!window.consent?.identify")
    second = with_one_late(bench, signed_in, "**/v1/consents", _READY)
    expect(second.locator("consent-banner [role=status]")).to_have_text(words("en")["confirmed"])
    second.locator("consent-banner .o").click()
    press(second, "refuse_all")
    second.wait_for_function("!consent.allows('recommendations')")
    second.goto(bench.url)
    expect(layer_one(second)).to_be_visible()

    first.reload()
    first.wait_for_function("window.consent && consent.ready.then(() => true)")
    expect(layer_one(first)).to_be_hidden()
    assert not any(choices(first).values())


def with_one_late(bench: ShopBench, url: str, late: str, others: str) -> Page:
    """A page where one answer comes 300 ms after the `others` have done their part: it shows no banner."""
    held: list[Route] = []
    page = bench.browser.new_context(locale="en").new_page()
    page.set_default_timeout(10_000)
    bench.pages.append(page)
    page.add_init_script(_FRAMES)
    page.route(late, lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks handlers
    page.goto(url, wait_until="commit")
    page.wait_for_function(others)
    page.wait_for_timeout(300)
    assert not page.evaluate("consent.allows('recommendations')")
    held[0].continue_()
    allowed(page)
    assert page.evaluate("framesWithBanner") == 0
    return page


@own(
    "R27",
    "A withdrawal takes effect: cookies go, tags hear it, no tracker is asked again",
    "CNIL 2020-092 art. 3",
)
def withdrawal_takes_effect(bench: ShopBench) -> None:
    shop = bench.shop
    gated = (
        '<script type="text/plain" data-purpose="coupons" data-cookies="_ga _ga_*" '
        f'src="{shop.sentinel("ads")}"></script>'
    )
    head = shop.script("consent-mode.js", defer=False) + shop.script() + shop.script("embeds.js")
    page = bench.visit(shop.page(head=head, body=gated))
    press(page, "accept_all")
    page.wait_for_function("document.documentElement.dataset.ran === 'ads'")
    page.evaluate("document.cookie = '_ga=1'; document.cookie = '_ga_X1=1'; document.cookie = '_gallery=1'")
    shop.asked.clear()
    page.locator("consent-banner .o").click()
    page.evaluate("window.before = true")
    press(page, "refuse_all")
    page.wait_for_function("!window.before && window.consent && consent.ready.then(() => true)")
    names = {str(item.get("name")) for item in page.context.cookies()}
    assert "_gallery" in names
    assert not names & {"_ga", "_ga_X1"}
    assert "/sentinel/ads" not in shop.asked
    assert page.evaluate("dataLayer.at(-1)[2].ad_storage") == "denied"


@own(
    "R28",
    "A reason for withdrawing is optional, on the same screen, and never a step",
    "GDPR rec. 42; EDPB 03/2022 longer than necessary",
)
def a_reason_is_optional(bench: ShopBench) -> None:
    page = bench.visit()
    press(page, "accept_all")
    allowed(page)
    page.locator("consent-banner .o").click()
    layer_two(page).locator("[value=page]").click()
    page.wait_for_url("**/preferences?*")
    assert page.get_by_role("radio").count() == 4
    assert page.locator("[required], [name=reason]:checked").count() == 0
    page.get_by_role("button", name=words("en")["refuse"]).click()
    expect(page.get_by_role("status")).to_have_text(words("en")["saved"])
    assert page.get_by_role("switch", checked=True).count() == 0


@own(
    "R29",
    "A decision carries notice, layer, control, language, time and signal",
    "GDPR Art. 7(1); CNIL 2020-092 art. 4",
)
def the_decision_says_what_was_shown(bench: ShopBench) -> None:
    page = bench.visit(bench.shop.page(lang="fr"))
    sent = posts(page)
    press(page, "open")
    layer_two(page).get_by_role("switch").first.check()
    press(page, "save")
    allowed(page)
    (body,) = sent
    assert body["notice"] == bench.shop.published.digest
    assert (body["source"], body["method"], body["language"], body["gpc"]) == ("dialog", "save", "fr", False)
    assert body["choices"]["recommendations"] == "granted"
    assert set(body["choices"].values()) == {"granted", "denied"}
    assert abs(page.evaluate("(text) => Date.now() - Date.parse(text)", body["decided_at"])) < 60_000
    for purpose in bench.shop.published.notice.purposes.values():
        assert purpose.description["fr"] in str(layer_two(page).text_content())


@own(
    "R30",
    "A new notice asks again only about what changed",
    "CNIL 2020-092 art. 4; EDPB 05/2020 par. 110-111",
)
def only_what_changed(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(a_notice())
    page = bench.visit(shop.page())
    press(page, "accept_all")
    allowed(page)
    shop.publish(a_notice({"purposes/coupons/version": 2}))
    state = page.context.storage_state()
    page = bench.visit(shop.page(), storage_state=state)
    assert layer_one(page).locator("li:visible").all_text_contents() == [
        a_notice().purposes[_COUPONS].name["en"]
    ]
    assert choices(page) == {
        "recommendations": True,
        "coupons": False,
        "support_context": True,
        "ai_assistance": True,
    }
    sent = posts(page)
    press(page, "refuse_all")
    page.wait_for_function("JSON.parse(localStorage.consent).queue.length === 0")
    assert sent[0]["choices"] == {"coupons": "denied"}
    assert choices(page)["recommendations"]


@own("R31", "With the service away her choice still holds, waits and is recorded once", "robustness")
def away_and_back(bench: ShopBench) -> None:
    page = bench.visit()
    page.context.route("**/v1/decisions", lambda route: route.abort())
    press(page, "accept_all")
    expect(page.locator("consent-banner [role=status]")).to_have_text(words("en")["waiting"])
    expect(layer_one(page)).to_be_hidden()
    assert not any(choices(page).values())
    page.context.unroute("**/v1/decisions")
    page.reload()
    allowed(page)
    assert layer_one(page).is_hidden()
    token = page.evaluate("consent.token()")
    history = page.request.get(
        f"{bench.shop.service_url}/v1/decisions", headers={"Authorization": f"Bearer {token}"}
    ).json()
    assert len(history["decisions"]) == 1


@own(
    "R33",
    "The choice cookie is first-party, Lax, Secure, at most 200 bytes and names nobody",
    "CNIL 2020-092 art. 6",
)
def the_cookie(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(a_notice(), origins=("https://shop.example",))
    text = shop.documents[shop.page("/secure").removeprefix(shop.origin)].body

    text = text.replace(shop.service_url, "https://consent.example")

    def over_https(page: Page) -> None:
        def service(route: Route) -> None:
            address = route.request.url.replace("https://consent.example", shop.service_url)
            route.fulfill(response=route.fetch(url=address))

        page.context.route("https://consent.example/**", service)
        page.context.route(
            "https://shop.example/", lambda route: route.fulfill(body=text, content_type="text/html")
        )

    page = bench.visit("https://shop.example/", prepare=over_https)
    press(page, "accept_all")
    allowed(page)
    (saved,) = page.context.cookies()
    assert (saved.get("name"), saved.get("path"), saved.get("sameSite"), saved.get("secure")) == (
        "eu-consent",
        "/",
        "Lax",
        True,
    )
    assert saved.get("domain") == "shop.example"
    value = str(saved.get("value"))
    assert len(f"eu-consent={value}") <= 200
    for entry in value.split("~"):
        key, version, choice, day = entry.split(":")
        assert key in shop.published.notice.purposes
        assert (version, choice) == ("1", "1")
        assert len(day) == 5


_COUPONS = next(key for key in a_notice().purposes if key == "coupons")
