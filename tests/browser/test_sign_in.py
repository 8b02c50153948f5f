"""From a first choice without an account to a signed-in customer, with the real link between the two."""

import httpx2
from playwright.sync_api import Page, expect

from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.web.honesty.bench import choices, cookie, layer_one, layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.own_rules import allowed
from tests.builders import a_notice
from tests.servers import PLAIN

CUSTOMER = "customer-77"
_LISTED = "ul li:not([hidden])"


def backend(bench: ShopBench, path: str, **body: str) -> httpx2.Response:
    """What the shop's backend asks about the customer who signs in."""
    shop = bench.shop
    key = create_api_key(shop.service.deployment, shop.tenant, Role.BACKEND).key
    headers = {"Authorization": f"Bearer {key}", "Consent-Subject": CUSTOMER}
    return httpx2.post(shop.service_url + path, headers=headers, json=body, verify=PLAIN)


def choosing(page: Page, *purposes: str) -> None:
    """Say yes to these purposes alone."""
    press(page, "open")
    for name in purposes:
        layer_two(page).get_by_role("switch", name=name).check()
    press(page, "save")


def test_who_signs_in_after_her_first_choice_is_asked_for_her_yes_alone(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(a_notice())
    url = shop.page()
    asked: list[str] = []
    page = bench.visit(url, prepare=lambda page: page.on("request", lambda sent: asked.append(sent.url)))
    # Nobody is a subject before she chose.
    assert not [address for address in asked if "subject" in address]
    choosing(page, "Recommendations")
    page.wait_for_function("consent.allows('recommendations')")
    device = cookie(page)
    anonymous = page.evaluate("consent.token()")

    linked = backend(bench, "/v1/subject/link", anonymous=anonymous)
    token = str(backend(bench, "/v1/subject/token").json()["token"])
    page.goto(shop.page("/account", head=shop.script() + shop.script("account.js", token=token)))
    expect(layer_one(page).get_by_text(words("en")["account"])).to_be_visible()
    listed = layer_one(page).locator(_LISTED).all_inner_texts()
    before = choices(page)
    press(page, "accept_all")
    page.wait_for_function("consent.allows('recommendations')")

    assert linked.json()["unconfirmed"] == ["recommendations"]
    # Her no came along and is not asked again; her yes opens nothing until she says it as this customer.
    assert listed == ["Recommendations"]
    assert not any(before.values())
    assert choices(page) == {**before, "recommendations": True}
    # What the browser keeps for whoever is not signed in is as it was.
    assert cookie(page) == device
    page.goto(url)
    allowed(page)
    expect(layer_one(page)).to_be_hidden()


def test_what_is_chosen_after_signing_out_is_the_browsers_alone(bench: ShopBench) -> None:
    shop = bench.shop
    shop.open_tenant(a_notice())
    page = bench.visit(shop.page())
    press(page, "refuse_all")
    page.wait_for_function("() => localStorage.consent && !JSON.parse(localStorage.consent).queue.length")
    assert backend(bench, "/v1/subject/link", anonymous=page.evaluate("consent.token()")).is_success

    page.evaluate("consent.open()")
    press(page, "accept_all")
    page.wait_for_function("Object.values(consent.choices()).every(Boolean)")

    token = str(backend(bench, "/v1/subject/token").json()["token"])
    page.goto(shop.page("/account", head=shop.script() + shop.script("account.js", token=token)))
    expect(page.locator("consent-banner .o")).to_be_visible()
    assert not any(choices(page).values())
    expect(layer_one(page)).to_be_hidden()
