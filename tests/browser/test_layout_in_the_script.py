"""The layout inside `banner.js`, where the service can tell for whom it is (ADR 0053)."""

import gzip
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from consent_service.web.honesty.bench import choices, layer_one, layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.own_platform_rules import BUDGET, GPC, STRICT
from tests.browser.own_rules import allowed
from tests.browser.shop import Shop, open_shop

OBJECTIONS = """window.objections = [];
  addEventListener("securitypolicyviolation", (event) => objections.push(event.violatedDirective));"""


PACE = """window.pace = { running: false, together: null, stored: 0 };
  const set = ShadowRoot.prototype.setHTML, storage = localStorage;
  ShadowRoot.prototype.setHTML = function (...given) {
    pace.together = pace.running;
    return set.apply(this, given);
  };
  Object.defineProperty(window, "localStorage", { get: () => (pace.stored++, storage) });
  let api;
  Object.defineProperty(window, "consent", { get: () => api, set(value) {
    api = value; pace.running = true;
    // A hundred turns of the same task: whatever the script does without a pause is done by then.
    let turns = Promise.resolve();
    for (let i = 0; i < 100; i++) turns = turns.then();
    turns.then(() => (pace.running = false));
  } });"""


APART = """window.steps = [];
  const found = new MutationObserver(() => {
    const host = document.querySelector("consent-banner");
    if (!host) return;
    found.disconnect();
    const section = () => host.shadowRoot.querySelector("section");
    steps.push(!!section());
    new MutationObserver(() => steps.push(section()?.offsetHeight > 0))
      .observe(host.shadowRoot, { childList: true });
  });
  found.observe(document, { childList: true, subtree: true });"""


@pytest.fixture(scope="module")
def lone_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose origin belongs to one tenant."""
    with open_shop(tmp_path_factory.mktemp("consent"), alone=True) as shop:
        yield shop


@pytest.fixture
def bench(browser: Browser, lone_shop: Shop) -> Iterator[ShopBench]:
    """A fresh visitor of that shop."""
    lone_shop.reset()
    bench = ShopBench(browser=browser, url=lone_shop.page(), shop=lone_shop)
    yield bench
    bench.close()


def asking(bench: ShopBench, asked: list[str], url: str, script: str = "", locale: str = "en") -> Page:
    """Visit a page and note in `asked` what it asks the service for."""

    def prepare(page: Page) -> None:
        page.add_init_script(OBJECTIONS + script)
        page.on("request", lambda request: asked.append(request.url))

    page = bench.visit(url, prepare=prepare, locale=locale)
    asked[:] = [address for address in asked if address.startswith(bench.shop.service_url)]
    return page


def test_one_request_brings_banner_dialog_and_words_under_a_strict_policy(bench: ShopBench) -> None:
    asked: list[str] = []
    policy = {"Content-Security-Policy": STRICT.format(service=bench.shop.service_url)}

    page = asking(bench, asked, bench.shop.page(headers=policy))
    press(page, "open")
    layer_two(page).get_by_role("switch").first.check()
    press(page, "save")
    allowed(page)

    assert asked[0] == f"{bench.shop.service_url}/banner.js"
    assert not [address for address in asked if "/v1/banner" in address]
    assert page.evaluate("objections") == []
    assert choices(page)["coupons"] is False


def test_what_comes_in_one_file_is_what_two_would_have_brought(bench: ShopBench) -> None:
    asked: list[str] = []
    content = "document.querySelector('consent-banner').shadowRoot.innerHTML"
    pinned = bench.shop.script().replace(" defer", " crossorigin defer")

    together = asking(bench, [], bench.url).evaluate(content)
    apart = asking(bench, asked, bench.shop.page("/pinned", head=pinned)).evaluate(content)

    assert len(asked) == 2
    assert together == apart


def test_a_file_that_a_page_pins_is_the_published_one(bench: ShopBench) -> None:
    published = bench.visit().request.get(f"{bench.shop.service_url}/static/integrity.json").json()
    pinned = bench.shop.script().replace(
        " defer", f' integrity="{published["banner.js"]["integrity"]}" crossorigin defer'
    )
    both = bench.visit()
    both.goto(bench.shop.page("/pinned", head=pinned))

    expect(layer_one(both)).to_be_visible()


@pytest.mark.parametrize(
    ("lang", "locale", "requests", "taken"),
    [("en", "en-GB", 1, "en"), ("fr", "en", 2, "fr"), ("", "fr-CA", 1, "fr"), ("fr-CH", "fr", 1, "fr")],
)
def test_the_page_says_which_language_and_the_script_asks_where_it_got_another(
    bench: ShopBench, lang: str, locale: str, requests: int, taken: str
) -> None:
    asked: list[str] = []

    page = asking(bench, asked, bench.shop.page(lang=lang), locale=locale)

    expect(page.locator("consent-banner")).to_have_attribute("lang", taken)
    assert len(asked) == requests


def test_a_signal_that_only_the_script_sees_is_said_too(bench: ShopBench) -> None:
    asked: list[str] = []
    page = asking(bench, asked, bench.url, script=GPC)
    expect(layer_one(page).get_by_text("Global Privacy Control")).to_be_visible()
    assert len(asked) == 2

    context = bench.browser.new_context(locale="en", extra_http_headers={"Sec-GPC": "1"})
    page = context.new_page()
    bench.pages.append(page)
    page.add_init_script(GPC)
    page.on("request", lambda request: asked.append(request.url))
    asked.clear()
    page.goto(bench.url)

    expect(layer_one(page).get_by_text("Global Privacy Control")).to_be_visible()
    assert not [address for address in asked if "/v1/banner" in address]


def test_scripts_after_the_banner_hear_what_counts_though_it_was_quicker(bench: ShopBench) -> None:
    shop = bench.shop
    frame = f'<iframe title="Film" data-purpose="coupons" data-src="{shop.sentinel("frame")}"></iframe>'
    head = shop.script() + shop.script("embeds.js") + shop.script("segment.js")

    page = bench.visit(shop.page("/more", head=head, body=frame))

    expect(page.locator("consent-embed").get_by_role("button", name=words("en")["choose"])).to_be_visible()
    page.wait_for_function("() => window.dataLayer?.length === 1")


def test_the_layout_is_a_task_of_its_own_and_who_never_chose_is_spared_a_look_into_storage(
    bench: ShopBench,
) -> None:
    page = asking(bench, [], bench.url, script=PACE)
    expect(layer_one(page)).to_be_visible()
    # Later than any timer that the script set.
    page.evaluate("() => new Promise((done) => setTimeout(done, 100))")
    assert page.evaluate("[pace.together, pace.stored]") == [False, 0]

    press(page, "refuse_all")
    expect(layer_one(page)).to_be_hidden()
    page.reload()

    page.wait_for_function("() => pace.stored > 0")


def test_the_banner_is_measured_in_a_task_after_the_one_that_brings_its_dialog(bench: ShopBench) -> None:
    page = asking(bench, [], bench.url, script=APART)

    expect(layer_one(page)).to_be_visible()

    assert page.evaluate("steps") == [False, True]


def test_one_file_with_everything_fits_six_kilobytes(bench: ShopBench) -> None:
    page = bench.browser.new_context(locale="en").new_page()
    bench.pages.append(page)

    with page.expect_response("**/banner.js") as answer:
        page.goto(bench.url)
    body = answer.value.body()

    assert words("en")["refuse"].encode() in body
    assert len(gzip.compress(body, 9)) <= BUDGET
