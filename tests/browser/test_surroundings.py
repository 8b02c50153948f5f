"""What surrounds the banner: prerendering, sub-domains, slow answers, large text, long and odd words."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as Address

from consent_service.web.honesty.bench import choices, layer_one, layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages
from tests.browser.own_rules import allowed
from tests.browser.serving import served
from tests.builders import a_notice
from tests.servers import unused_port

PRERENDERED = """let prepared = true;
  Object.defineProperty(Document.prototype, "prerendering", { get: () => prepared });
  window.activate = () => {
    prepared = false;
    document.onprerenderingchange?.(new Event("prerenderingchange"));
  };"""


def test_a_page_that_is_only_prepared_asks_nobody_and_nothing(bench: ShopBench) -> None:
    page = bench.browser.new_context(locale="en").new_page()
    bench.pages.append(page)
    page.set_default_timeout(10_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(PRERENDERED)

    page.goto(bench.url)
    page.wait_for_function("() => window.consent")
    assert page.locator("consent-banner").count() == 0
    assert not [url for url in asked if "/v1/" in url]

    page.evaluate("activate()")
    expect(layer_one(page)).to_be_visible()


def test_the_back_forward_cache_shows_what_was_chosen_meanwhile(bench: ShopBench) -> None:
    page = bench.visit()
    other = page.context.new_page()
    other.add_init_script("window.BroadcastChannel = class { postMessage() {} }")
    other.goto(bench.url)
    press(other, "refuse_all")
    expect(layer_one(other)).to_be_hidden()
    assert layer_one(page).is_visible()

    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")

    expect(layer_one(page)).to_be_hidden()
    assert not any(choices(page).values())


def test_one_choice_holds_on_every_sub_domain(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(a_notice(), origins=("https://www.shop.example", "https://m.shop.example"))
    page = shop.page("/sub", head=shop.script(domain="shop.example"))
    text = shop.documents[page.removeprefix(shop.origin)].body.replace(
        shop.service_url, "https://consent.example"
    )

    def over_https(new: Page) -> None:
        def service(route: Route) -> None:
            address = route.request.url.replace("https://consent.example", shop.service_url)
            route.fulfill(response=route.fetch(url=address))

        new.context.route("https://consent.example/**", service)
        new.context.route(
            "https://*.shop.example/", lambda route: route.fulfill(body=text, content_type="text/html")
        )

    first = bench.visit("https://www.shop.example/", prepare=over_https)
    press(first, "accept_all")
    allowed(first)
    (saved,) = first.context.cookies()
    assert saved.get("domain") == ".shop.example"

    first.goto("https://m.shop.example/")
    allowed(first)
    expect(layer_one(first)).to_be_hidden()


def test_a_slow_service_holds_nothing_up(bench: ShopBench) -> None:
    waiting: list[Route] = []
    page = bench.browser.new_context(locale="en").new_page()
    bench.pages.append(page)
    page.route("**/v1/banner?*", lambda route: waiting.append(route))  # noqa: PLW0108  # Playwright marks handlers
    page.goto(bench.url)

    page.get_by_role("link", name="Product 1", exact=True).click()
    assert not page.evaluate("consent.allows('recommendations')")
    assert layer_one(page).count() == 0
    waiting[0].continue_()

    expect(layer_one(page)).to_be_visible()


@pytest.mark.parametrize("how", ["async", "", "defer"], ids=["async", "at once", "deferred"])
def test_a_script_that_is_there_before_the_page_waits_for_all_of_it(bench: ShopBench, how: str) -> None:
    shop = bench.shop
    port = unused_port()
    shop.open_tenant(a_notice(), origins=(f"http://127.0.0.1:{port}",))
    script = shop.script(defer=False).replace("></script>", f" {how}></script>")
    gated = '<script type="text/plain" data-purpose="recommendations">document.title = "personal"</script>'

    def arriving(_: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield f'<!doctype html><html lang="en"><head><title>Shop</title>{script}'
            # Until the script is there: it came long ago when the page goes on.
            await asyncio.sleep(0.8)
            yield "</head><body><h1>Shop</h1>"
            await asyncio.sleep(0.4)
            yield f"{gated}</body></html>"

        return StreamingResponse(parts(), media_type="text/html")

    with served(Starlette(routes=[Address("/", arriving)]), port) as url:
        page = bench.visit(url)
        expect(layer_one(page)).to_be_visible()
        press(page, "accept_all")
        allowed(page)
        page.reload()

        page.wait_for_function("document.title === 'personal'")
        assert page.evaluate("document.body.firstElementChild.localName") == "consent-banner"


def test_what_is_announced_lies_in_nobodys_way(bench: ShopBench) -> None:
    page = bench.visit()
    press(page, "refuse_all")
    status = page.locator("consent-banner [role=status]")
    expect(status).not_to_be_empty()
    over = """(element) => {
      const box = element.getBoundingClientRect();
      return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).localName;
    }"""

    assert status.evaluate(over) != "consent-banner"
    status.evaluate("(element) => element.replaceChildren()")
    assert status.evaluate(over) != "consent-banner"


def test_a_page_in_a_language_the_notice_lacks_gets_the_next_best(bench: ShopBench) -> None:
    bench.shop.open_tenant(in_languages(("fr", "de")))

    page = bench.visit(bench.shop.page(lang="sw"), locale="de-AT")

    assert page.locator("consent-banner").get_attribute("lang") == "de"
    expect(layer_one(page).get_by_role("button", name=words("de")["refuse"])).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "sw"


def test_text_of_twice_the_size_hides_no_answer(bench: ShopBench) -> None:
    large = "<style>html { font-size: 200% }</style>"
    page = bench.visit(bench.shop.page(head=large + bench.shop.script()))
    for layer in (layer_one(page), layer_two(page)):
        for name in ("refuse_all", "accept_all"):
            button = layer.locator(f"[value={name}]")
            button.scroll_into_view_if_needed()
            box = button.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 1280
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 720
            assert button.evaluate("(element) => element.scrollWidth <= element.clientWidth")
        assert layer.evaluate("(element) => element.scrollWidth <= element.clientWidth")
        if layer_two(page).is_hidden():
            press(page, "open")


def test_no_answer_is_out_of_reach_on_a_screen_too_small_for_three(bench: ShopBench) -> None:
    large = "<style>html { font-size: 200% }</style>"
    narrow = bench.visit(
        bench.shop.page("/large", head=large + bench.shop.script()), viewport={"width": 320, "height": 640}
    )
    zoomed = bench.visit(viewport={"width": 320, "height": 256})

    for page in (narrow, zoomed):
        box = layer_one(page).bounding_box()
        assert box is not None
        assert box["y"] >= 0
        layer_one(page).locator("[value=open]").click()
        expect(layer_two(page)).to_be_visible()


@pytest.mark.parametrize("width", [320, 360, 390, 1280])
def test_the_three_answers_are_alike_and_none_stands_apart(bench: ShopBench, width: int) -> None:
    bench.shop.open_tenant(in_languages(("pl",)))
    page = bench.visit(bench.shop.page(lang="pl"), viewport={"width": width, "height": 640})
    answers = layer_one(page).locator("[value]")
    expect(answers).to_have_count(3)

    boxes = [answers.nth(n).bounding_box() for n in range(3)]
    broken = answers.evaluate_all("""(buttons) => buttons.flatMap((button) => {
      const text = button.firstChild, range = new Range();
      return [...text.data.matchAll(/\\S+/g)].filter(({ 0: word, index }) => {
        range.setStart(text, index);
        range.setEnd(text, index + word.length);
        return range.getClientRects().length !== 1;
      });
    })""")
    sizes = {(round(box["width"]), round(box["height"])) for box in boxes if box}
    assert len(sizes) == 1
    assert 1 in {len({box[side] for box in boxes if box}) for side in ("x", "y")}
    assert broken == []


def test_the_dialog_begins_at_its_heading_and_keeps_the_focus_on_the_list_of_languages(
    bench: ShopBench,
) -> None:
    bench.shop.open_tenant(in_languages(("en", "fr")))
    focused = "() => document.activeElement.shadowRoot.activeElement.localName"
    page = bench.visit(bench.shop.page())

    press(page, "open")
    begins = page.evaluate(focused)
    layer_two(page).get_by_role("combobox").select_option("fr")
    expect(layer_two(page).get_by_role("button", name=words("fr")["refuse"])).to_be_visible()

    assert begins == "h2"
    assert page.evaluate(focused) == "select"


@pytest.mark.parametrize("width", [320, 360, 390, 430, 1280])
@pytest.mark.parametrize("languages", [("en",), ("en", "fr", "bg")], ids=["one language", "three"])
def test_the_dialogs_close_button_never_has_a_row_to_itself(
    bench: ShopBench, width: int, languages: tuple[str, ...]
) -> None:
    bench.shop.open_tenant(in_languages(languages))
    page = bench.visit(bench.shop.page(), viewport={"width": width, "height": 640})
    press(page, "open")
    close = layer_two(page).get_by_role("button", name=words("en")["close"])
    beside = layer_two(page).get_by_role("combobox" if len(languages) > 1 else "heading").first
    expect(close).to_be_visible()

    boxes = [part.bounding_box() for part in (beside, close)]

    tops = [box["y"] for box in boxes if box]
    bottoms = [box["y"] + box["height"] for box in boxes if box]
    assert max(tops) < min(bottoms)


def test_ten_thousand_characters_and_reversed_ones_leave_the_answers_alone(bench: ShopBench) -> None:
    # No notice can be published with either: a layout from somewhere else might have them.
    def hostile(route: Route) -> None:
        turned = "\u202etpecca ot kcilC\u202c \u2067\u05d0\u2066"
        body = route.fetch().text().replace("</h2><p>", f"{turned}</h2><p>{'Data ' * 2000}")
        body = body.replace("<b>", f"<b>{turned}").replace("<dd>", f"<dd>{'a' * 2000} ")
        route.fulfill(body=body, content_type="text/html", headers={"Access-Control-Allow-Origin": "*"})

    page = bench.visit(prepare=lambda new: new.route("**/v1/banner?*", hostile))
    assert len(str(layer_one(page).text_content())) > 10_000
    spoken = words("en")

    labels = layer_one(page).locator(".a button")
    assert labels.all_text_contents() == [spoken["refuse"], spoken["accept"], spoken["choose"]]
    boxes = [box for button in labels.all() if (box := button.bounding_box())]
    assert [box["x"] for box in boxes] == sorted(box["x"] for box in boxes)
    assert all(box["y"] + box["height"] <= 720 for box in boxes)
    press(page, "open")
    refuse = layer_two(page).get_by_role("button", name=spoken["refuse"])
    box = refuse.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 720
    assert layer_two(page).evaluate("(element) => element.scrollWidth <= element.clientWidth")
    refuse.click()
    expect(layer_one(page)).to_be_hidden()


def test_a_token_of_one_page_is_worth_nothing_on_another_origin_and_none_when_changed(
    bench: ShopBench,
) -> None:
    page = bench.visit()
    press(page, "accept_all")
    allowed(page)
    token = page.evaluate("consent.token()")
    address = f"{bench.shop.service_url}/v1/consents"

    def ask(credential: str, origin: str) -> int:
        headers = {"Authorization": f"Bearer {credential}", "Origin": origin}
        return page.request.get(address, headers=headers).status

    head, claims, signature = token.split(".")
    facts: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims + "=="))
    longer = base64.urlsafe_b64encode(json.dumps({**facts, "exp": facts["exp"] + 9}).encode()).decode()
    assert ask(token, bench.shop.origin) == 200
    assert ask(token, "https://elsewhere.example") == 403
    assert ask(f"{head}.{longer.rstrip('=')}.{signature}", bench.shop.origin) == 401
    assert ask(f"{head}.{claims}.", bench.shop.origin) == 401


def test_a_decision_that_is_sent_again_is_recorded_once(bench: ShopBench) -> None:
    page = bench.visit()
    sent: list[tuple[str, dict[str, str]]] = []

    def note(route: Route) -> None:
        sent.append((str(route.request.post_data), route.request.all_headers()))
        route.continue_()

    page.route("**/v1/decisions", note)
    press(page, "refuse_all")
    page.wait_for_function(
        "() => localStorage.consent && JSON.parse(localStorage.consent).queue.length === 0"
    )
    ((body, headers),) = sent

    again = page.request.post(f"{bench.shop.service_url}/v1/decisions", headers=headers, data=body)

    bearer = {"Authorization": headers["authorization"]}
    history = page.request.get(f"{bench.shop.service_url}/v1/decisions", headers=bearer).json()
    assert again.ok
    assert len(history["decisions"]) == 1


def test_a_cookie_of_odd_entries_says_what_its_good_ones_say(bench: ShopBench) -> None:
    page = bench.visit()
    day = page.evaluate("Math.floor(Date.now() / 864e5)")
    page.evaluate(
        "(value) => (document.cookie = value)", f"eu-consent=coupons:1:1:{day}~x:__proto__:1:1;Path=/"
    )
    page.reload()
    page.wait_for_function("() => window.consent && consent.ready.then(() => true)")

    assert choices(page) == {
        "recommendations": False,
        "coupons": True,
        "support_context": False,
        "ai_assistance": False,
    }
    assert layer_one(page).locator("li:visible").count() == 3


def test_the_cookie_lasts_no_longer_than_the_notice_lets_a_choice_count(bench: ShopBench) -> None:
    keys = ("recommendations", "coupons", "support_context", "ai_assistance")
    bench.shop.open_tenant(
        a_notice({f"purposes/{key}/validity": "P1M" if key == "coupons" else "P2W" for key in keys})
    )
    page = bench.visit(bench.shop.page())

    press(page, "refuse_all")
    expect(layer_one(page)).to_be_hidden()

    (saved,) = page.context.cookies()
    assert round((saved.get("expires", 0) - page.evaluate("Date.now()") / 1000) / 86_400) == 30
