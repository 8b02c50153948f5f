"""The banner in a page that a server rendered: there at first paint, taken over by the script as it is."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable

from consent_sdk.banner import PageBanner
from playwright.sync_api import Page, expect
from playwright.sync_api import Route as Caught
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from consent_service.web.honesty.bench import choices, cookie, layer_one, layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages
from tests.browser.own_platform_rules import STRICT, violations
from tests.browser.own_rules import allowed, posts
from tests.browser.serving import served
from tests.builders import a_notice
from tests.servers import unused_port

WATCH = """window.shifts = 0; window.objections = []; window.seenAt = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => (shifts += entry.value)))
    .observe({ type: "layout-shift", buffered: true });
  addEventListener("securitypolicyviolation", (event) => objections.push(event.violatedDirective));
  (function frame() {
    const section = document.querySelector("consent-banner")?.shadowRoot?.querySelector("section");
    if (!seenAt && section?.checkVisibility()) seenAt = performance.now();
    requestAnimationFrame(frame);
  })();"""


def rendered(bench: ShopBench, *, said: str | None = "", path: str = "/", language: str = "en") -> str:
    """The address of a page with the banner in it, its style in a file, under a strict policy."""
    shop = bench.shop
    banner = PageBanner(shop.service_url, key=shop.key, stylesheet=f"{shop.service_url}/static/banner.css")
    assert banner.wait_until_ready(10, language=language)
    policy = STRICT.format(service=shop.service_url).replace("style-src", f"style-src {shop.service_url}")
    return shop.page(
        path,
        first=banner.markup(language=language, said=said),
        lang=language,
        headers={"Content-Security-Policy": policy},
    )


def without_script_yet(bench: ShopBench, url: str) -> tuple[Page, Callable[[], None], list[str]]:
    """A page whose script is under way until it is let in, and what the page asks the service for."""
    waiting: list[Caught] = []
    asked: list[str] = []
    page = bench.browser.new_context(viewport={"width": 1280, "height": 720}, locale="en").new_page()
    bench.pages.append(page)
    page.set_default_timeout(10_000)
    page.add_init_script(WATCH)
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/banner.js", lambda route: waiting.append(route))  # noqa: PLW0108  # Playwright marks handlers
    page.goto(url, wait_until="commit")
    expect(layer_one(page)).to_be_visible()

    def let_in() -> None:
        page.wait_for_function("() => document.readyState !== 'loading'")
        waiting[0].continue_()
        page.wait_for_function("() => window.consent && consent.ready.then(() => true)")

    return page, let_in, asked


def test_the_script_takes_over_what_the_page_brought(bench: ShopBench) -> None:
    bench.shop.open_tenant(in_languages(("en", "fr")))
    page, let_in, asked = without_script_yet(bench, rendered(bench))
    before = layer_one(page).bounding_box()
    page.evaluate("document.querySelector('consent-banner').shadowRoot.querySelector('section').mine = true")

    let_in()

    assert layer_one(page).evaluate("(section) => section.mine")
    assert layer_one(page).bounding_box() == before
    assert not [url for url in asked if "/v1/banner" in url]
    assert page.evaluate("[shifts, objections]") == [0, []]
    assert page.locator("consent-banner [popovertarget]").count() == 0
    assert violations(page) == []
    press(page, "open")
    layer_two(page).get_by_role("combobox").select_option("fr")
    expect(layer_two(page).get_by_role("button", name=words("fr")["refuse"])).to_be_visible()


def test_it_is_seen_before_the_script_and_a_press_is_not_lost(bench: ShopBench) -> None:
    page, let_in, _ = without_script_yet(bench, rendered(bench))
    sent = posts(page)
    assert page.evaluate("seenAt") > 0
    assert violations(page) == []

    press(page, "accept_all")
    assert (cookie(page), sent) == (None, [])
    let_in()

    allowed(page)
    expect(layer_one(page)).to_be_hidden()
    assert sent[0]["method"] == "accept_all"
    assert sent[0]["source"] == "banner"


def test_a_page_that_arrives_in_pieces_shows_it_whole_and_does_not_jump(bench: ShopBench) -> None:
    port = unused_port()
    bench.shop.open_tenant(a_notice(), origins=(f"http://127.0.0.1:{port}",))
    url = rendered(bench)
    banner = PageBanner(bench.shop.service_url, key=bench.shop.key)
    banner.wait_until_ready(10, language="en")
    text = bench.shop.documents[url.removeprefix(bench.shop.origin)].body
    text = re.sub("<consent-banner.*</consent-banner>", lambda _: banner.markup(language="en", said=""), text)
    first, rest = text[: text.index("</ul>")], text[text.index("</ul>") :]
    go_on = threading.Event()

    async def pieces() -> AsyncIterator[str]:
        yield first
        await asyncio.to_thread(go_on.wait, 10)
        yield rest

    async def document(_: Request) -> Response:
        return StreamingResponse(pieces(), media_type="text/html")

    with served(Starlette(routes=[Route("/", document)]), port) as shop:
        page = bench.browser.new_page()
        bench.pages.append(page)
        page.add_init_script(WATCH)
        page.goto(shop, wait_until="commit")
        page.wait_for_function(
            "() => document.querySelector('consent-banner')?.shadowRoot?.querySelector('li')"
        )
        assert page.evaluate("seenAt") == 0
        go_on.set()

        expect(layer_one(page)).to_be_visible()
        page.wait_for_function("() => window.consent && consent.ready.then(() => true)")
        assert page.evaluate("shifts") == 0


def test_who_has_answered_never_sees_it_again_and_has_her_control(bench: ShopBench) -> None:
    page = bench.visit(rendered(bench))
    press(page, "refuse_all")
    expect(layer_one(page)).to_be_hidden()
    said = cookie(page)
    page.add_init_script(WATCH)

    page.goto(rendered(bench, said=said))
    expect(page.locator("consent-banner .o")).to_be_visible()

    assert page.evaluate("seenAt") == 0
    assert not any(choices(page).values())


def test_a_page_out_of_a_cache_shows_it_by_the_script_alone(bench: ShopBench) -> None:
    url = rendered(bench, said=None)
    blocked = bench.browser.new_page()
    bench.pages.append(blocked)
    blocked.route("**/banner.js", lambda route: route.abort())
    blocked.goto(url)
    assert not layer_one(blocked).is_visible()

    asked: list[str] = []
    page = bench.visit(url, prepare=lambda new: new.on("request", lambda request: asked.append(request.url)))

    expect(layer_one(page)).to_be_visible()
    assert not [address for address in asked if "/v1/banner" in address]


def test_without_script_it_asks_nobody(bench: ShopBench) -> None:
    page = bench.browser.new_context(java_script_enabled=False).new_page()
    bench.pages.append(page)

    page.goto(rendered(bench))

    assert page.get_by_role("heading", name="Shop").is_visible()
    expect(layer_one(page)).to_be_hidden()


def test_without_its_style_it_stays_away_until_the_script_brings_one(bench: ShopBench) -> None:
    page = bench.visit(
        rendered(bench), prepare=lambda new: new.route("**/banner.css", lambda route: route.abort())
    )

    expect(layer_one(page)).to_have_css("position", "fixed")
