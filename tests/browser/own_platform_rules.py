"""More rules that need the shop in hand: requests, tags, signals, policies, pages without script."""

import base64
import gzip
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, expect

from consent_service.web.honesty.bench import DESKTOP, PHONE, choices, cookie, layer_one, layer_two, press
from consent_service.web.words import languages, words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages
from tests.browser.own_rules import OWN, allowed, own, posts
from tests.size import SOAK

GPC: Final = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true })"
__all__ = ["OWN"]
AXE: Final = Path(__file__).parents[2] / "sdk" / "js" / "node_modules" / "axe-core" / "axe.min.js"
AXE_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STRICT: Final = (
    "default-src 'none'; script-src 'self' {service}; style-src 'self'; connect-src {service}; "
    "form-action {service}; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
BUDGET: Final = 6144
SCREENS: Final[dict[str, dict[str, Any]]] = {
    "light": {"media": {"color_scheme": "light", "forced_colors": "none"}, "size": DESKTOP},
    "dark phone": {"media": {"color_scheme": "dark", "forced_colors": "none"}, "size": PHONE},
    "320 px": {
        "media": {"color_scheme": "light", "forced_colors": "none"},
        "size": {"width": 320, "height": 640},
    },
    "forced colours": {"media": {"color_scheme": "light", "forced_colors": "active"}, "size": DESKTOP},
}
JUDGED: Final = tuple(sorted(set(languages()) - {"en", "ar"})) if SOAK else ("de", "el", "he", "hu", "ja")
"""What axe-core looks at beside English and Arabic: long words, other scripts; every language in a soak."""


def violations(page: Page, within: str = "consent-banner") -> list[str]:
    """Run axe-core on a part of the page and name what it objects to."""
    assert AXE.exists(), "axe-core comes with npm: make js"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = page.evaluate(
        "([within, tags]) => axe.run(within, { runOnly: tags, resultTypes: ['violations'] })",
        [within, AXE_TAGS],
    )
    return [f"{item['id']}: {node['html'][:120]}" for item in found["violations"] for node in item["nodes"]]


def judge(page: Page, *screens: str, within: str = "html") -> None:
    """Let axe-core look at these screens, at all without a name; nothing of the page may scroll sideways."""
    for name in screens or SCREENS:
        page.emulate_media(**SCREENS[name]["media"])
        page.set_viewport_size(SCREENS[name]["size"])
        assert violations(page, within) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


@own("R34", "At most two requests, none to a third party, none more for the dialog", "data minimisation")
def two_requests(bench: ShopBench) -> None:
    asked: list[str] = []
    page = bench.visit(prepare=lambda new: new.on("request", lambda request: asked.append(request.url)))
    press(page, "open")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    ours = [url for url in asked if not url.startswith(bench.shop.origin)]
    assert 1 <= len(ours) <= 2
    assert all(url.startswith(bench.shop.service_url) for url in ours)


@own("R35", "Gated scripts and frames load after a yes, and not before", "ePrivacy Directive Art. 5(3)")
def gated_until_yes(bench: ShopBench) -> None:
    shop = bench.shop
    body = (
        f'<script type="text/plain" data-purpose="coupons" src="{shop.sentinel("script")}"></script>'
        '<script type="text/plain" data-purpose="coupons">'
        'document.documentElement.dataset.inline = "ran";</script>'
        f'<iframe title="Film" data-purpose="coupons" data-src="{shop.sentinel("frame")}"></iframe>'
        f'<script type="text/plain" data-purpose="recommendations" src="{shop.sentinel("other")}"></script>'
    )
    page = bench.visit(shop.page(head=shop.script() + shop.script("embeds.js"), body=body))
    placeholder = page.locator("consent-embed")
    expect(placeholder.get_by_role("button", name=words("en")["choose"])).to_be_visible()
    expect(placeholder).to_contain_text("This needs your yes to: Coupons chosen for you.")
    assert not [path for path in shop.asked if path.startswith("/sentinel/")]
    placeholder.get_by_role("button").click()
    layer_two(page).get_by_role("switch", name="Coupons chosen for you").check()
    press(page, "save")
    page.wait_for_function("document.documentElement.dataset.ran === 'script'")
    assert page.evaluate("document.documentElement.dataset.inline") == "ran"
    expect(page.locator("iframe")).to_be_visible()
    assert "/sentinel/frame" in shop.asked
    assert "/sentinel/other" not in shop.asked


@own(
    "R36",
    "Global Privacy Control is a refusal, is said, and only her own switch says otherwise",
    "W3C GPC; CCPA regulations s. 7025",
)
def privacy_signal(bench: ShopBench) -> None:
    page = bench.visit(prepare=lambda new: new.add_init_script(GPC))
    expect(layer_one(page).get_by_text("Global Privacy Control")).to_be_visible()
    sent = posts(page)
    press(page, "accept_all")
    allowed(page)
    assert not choices(page)["coupons"]
    assert sent[0]["gpc"] is True
    assert sent[0]["choices"]["coupons"] == "denied"
    page.locator("consent-banner .o").click()
    layer_two(page).get_by_role("switch", name="Coupons chosen for you").check()
    press(page, "save")
    allowed(page, "coupons")
    assert sent[1]["choices"]["coupons"] == "granted"
    answer = page.request.get(f"{bench.shop.service_url}/.well-known/gpc.json").json()
    assert answer["gpc"] is True

    earlier = bench.visit()
    press(earlier, "accept_all")
    allowed(earlier, "coupons")
    earlier.context.add_init_script(GPC)
    earlier.reload()
    allowed(earlier)
    assert not choices(earlier)["coupons"]


@own(
    "R37",
    "Consent Mode says denied before any tag, and what changed after a choice",
    "Google Consent Mode v2",
)
def consent_mode(bench: ShopBench) -> None:
    shop = bench.shop
    tag = "<script>(window.dataLayer ||= []).push({ event: 'tag' })</script>"
    head = shop.script("consent-mode.js", defer=False, region="FR, DE", wait="750") + tag + shop.script()
    page = bench.visit(shop.page(head=head))
    first = page.evaluate("[Object.prototype.toString.call(dataLayer[0]), ...dataLayer[0]]")
    assert first[:3] == ["[object Arguments]", "consent", "default"]
    assert first[3] == {
        **dict.fromkeys(
            (
                "ad_storage",
                "ad_user_data",
                "ad_personalization",
                "analytics_storage",
                "functionality_storage",
                "personalization_storage",
            ),
            "denied",
        ),
        "security_storage": "granted",
        "wait_for_update": 750,
        "region": ["FR", "DE"],
    }
    press(page, "accept_all")
    allowed(page)
    page.wait_for_function("dataLayer.length > 2")
    update = page.evaluate("[...dataLayer[2]]")
    changed = ("ad_storage", "ad_user_data", "ad_personalization", "personalization_storage")
    assert update == ["consent", "update", dict.fromkeys(changed, "granted")]


@own("R38", "Shopify hears booleans", "Shopify Customer Privacy API")
def shopify(bench: ShopBench) -> None:
    shop = bench.shop
    stub = """<script>window.told = []; window.Shopify = {
      loadFeatures: (features, done) => done(),
      customerPrivacy: {
        setTrackingConsent: (consent, done) => { told.push(consent); done(); } } };</script>"""
    bridge = shop.script("shopify.js", preferences="recommendations", marketing="coupons", sale="coupons")
    page = bench.visit(shop.page(head=stub + shop.script() + bridge))
    press(page, "open")
    layer_two(page).get_by_role("switch").first.check()
    press(page, "save")
    page.wait_for_function("told.at(-1)?.preferences === true")
    assert page.evaluate("told[0]") == dict.fromkeys(
        ("analytics", "marketing", "preferences", "sale_of_data"), False
    )
    assert page.evaluate("told.at(-1)") == {
        "analytics": False,
        "marketing": False,
        "preferences": True,
        "sale_of_data": False,
    }


@own("R39", "axe-core finds nothing, on either layer, light, dark, small, right-to-left", "EN 301 549 cl. 9")
def axe_finds_nothing(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(in_languages(("en", "ar", *JUDGED)))
    for language, screens in (("en", ("light", "dark phone")), ("ar", ("320 px", "forced colours"))):
        page = bench.visit(shop.page(lang=language))
        for act in ("look", "open", "refuse_all"):
            if act != "look":
                press(page, act)
            judge(page, *screens, within="consent-banner")
        expect(page.locator("consent-banner .o")).to_be_visible()
    page = bench.visit(shop.page(lang="en"))
    press(page, "open")
    for language in JUDGED:
        layer_two(page).get_by_role("combobox").select_option(language)
        expect(page.locator("consent-banner")).to_have_attribute("lang", language)
        assert violations(page) == []


@own("R51", "Right-to-left languages mirror the layout", "internationalisation")
def right_to_left(bench: ShopBench) -> None:
    bench.shop.open_tenant(in_languages(("ar",)))
    page = bench.visit(bench.shop.page(lang="ar"))
    box = layer_one(page).bounding_box()
    assert box is not None
    assert box["x"] > DESKTOP["width"] / 2
    assert layer_one(page).evaluate("(element) => getComputedStyle(element).direction") == "rtl"
    order = [button.bounding_box() for button in layer_one(page).locator("button").all()]
    assert [item["x"] for item in order if item] == sorted(
        (item["x"] for item in order if item), reverse=True
    )


@own("R52", "A strict content security policy with Trusted Types has nothing to object to", "security")
def strict_policy(bench: ShopBench) -> None:
    shop = bench.shop
    policy = {"Content-Security-Policy": STRICT.format(service=shop.service_url)}
    observe = """window.objections = [];
      addEventListener("securitypolicyviolation", (event) => objections.push(event.violatedDirective));"""
    gated = f'<script type="text/plain" data-purpose="coupons" src="{shop.sentinel("script")}"></script>'
    url = shop.page(body=gated, headers=policy)
    page = bench.visit(url, prepare=lambda new: new.add_init_script(observe))
    assert layer_one(page).evaluate("(element) => getComputedStyle(element).position") == "fixed"
    press(page, "open")
    assert layer_two(page).evaluate("(element) => getComputedStyle(element).display") == "flex"
    press(page, "accept_all")
    page.wait_for_function("() => document.documentElement.dataset.ran === 'script'")
    assert page.evaluate("objections") == []


@own("R54", "The integrity that is published is that of the file that is served", "supply chain")
def integrity_holds(bench: ShopBench) -> None:
    page = bench.visit()
    published = page.request.get(f"{bench.shop.service_url}/static/integrity.json").json()
    for name, facts in published.items():
        body = page.request.get(f"{bench.shop.service_url}/static/{name}").body()
        digest = base64.b64encode(hashlib.sha384(body).digest()).decode()
        assert facts["integrity"] == f"sha384-{digest}"
    pinned = bench.shop.script().replace(
        " defer", f' integrity="{published["banner.js"]["integrity"]}" crossorigin defer'
    )
    bench.visit(bench.shop.page(head=pinned))
    committed = json.loads((files("consent_service.web") / "static" / "integrity.json").read_text("utf-8"))
    assert committed == published


@own("R55", "Without script nothing loads, and a plain form takes the choice", "silence is refusal")
def without_script(bench: ShopBench) -> None:
    shop = bench.shop
    link = f'<a href="{shop.service_url}/preferences?key={shop.key}&amp;language=en">Your choices</a>'
    gated = f'<script type="text/plain" data-purpose="coupons" src="{shop.sentinel("script")}"></script>'
    page = bench.browser.new_context(java_script_enabled=False).new_page()
    bench.pages.append(page)
    page.goto(shop.page(body=gated + link))
    assert page.locator("consent-banner").count() == 0
    page.get_by_role("link", name="Your choices").click()
    assert page.get_by_role("switch", checked=True).count() == 0
    page.get_by_role("switch").first.check()
    page.get_by_role("button", name=words("en")["save"]).click()
    expect(page.get_by_role("status")).to_have_text(words("en")["saved"])
    assert page.get_by_role("switch", checked=True).count() == 1
    assert "/sentinel/script" not in shop.asked
    assert cookie(page) is None


@own("R57", "Banner, dialog and one language's texts fit 6.0 KB", "our goal")
def six_kilobytes(bench: ShopBench) -> None:
    for language in ("en", "fr"):
        asked: list[str] = []
        page = bench.visit(
            bench.shop.page(lang=language),
            prepare=lambda new, asked=asked: new.on("request", lambda request: asked.append(request.url)),  # type: ignore[misc]  # a default binds the loop's list
        )
        ours = [url for url in asked if url.startswith(bench.shop.service_url)]
        assert 1 <= len(ours) <= 2
        bodies = [page.request.get(url, headers={"Origin": bench.shop.origin}).body() for url in ours]
        assert sum(len(gzip.compress(body, 9)) for body in bodies) <= BUDGET
