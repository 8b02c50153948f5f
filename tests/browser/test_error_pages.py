"""The page that says what went wrong, in a real browser: nothing for axe-core, and a way to go on."""

import pytest
from playwright.sync_api import expect

from consent_service.web.honesty.bench import layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages
from tests.browser.own_platform_rules import judge
from tests.browser.own_rules import allowed
from tests.browser.test_sign_in import backend


@pytest.mark.parametrize("language", ["en", "ar"])
def test_who_comes_with_a_dead_key_reads_so_without_script(bench: ShopBench, language: str) -> None:
    page = bench.browser.new_context(java_script_enabled=False).new_page()
    bench.pages.append(page)

    answer = page.goto(f"{bench.shop.service_url}/preferences?key=pk_nobodys&language={language}")

    assert answer is not None
    assert answer.status == 401
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.get_by_role("heading", level=1)).to_have_text(words(language)["failed"])
    expect(page.locator("main")).to_contain_text(words(language)["address"])


@pytest.mark.parametrize("language", ["en", "ar"])
def test_axe_has_nothing_to_say_of_an_address_that_is_none(bench: ShopBench, language: str) -> None:
    page = bench.visit(bench.shop.page())

    page.goto(f"{bench.shop.service_url}/nothing?language={language}")

    judge(page)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_who_is_linked_while_the_page_is_open_is_led_to_her_account(bench: ShopBench, language: str) -> None:
    shop = bench.shop
    shop.open_tenant(in_languages(("en", "ar")))
    page = bench.visit(shop.page(lang=language))
    press(page, "accept_all")
    allowed(page)
    anonymous = page.evaluate("consent.token()")
    page.locator("consent-banner .o").click()
    layer_two(page).locator("[value=page]").click()
    page.wait_for_url("**/preferences?*")
    assert backend(bench, "/v1/subject/link", anonymous=anonymous).is_success
    erase = page.locator("[aria-labelledby=erase]")
    erase.locator("summary").click()

    erase.get_by_role("button", name=words(language)["sure"]).click()

    expect(page.get_by_role("heading", level=1)).to_have_text(words(language)["untouched"])
    expect(page.locator("main")).to_contain_text(words(language).say("joint", open=words(language)["open"]))
    judge(page)
    page.get_by_role("link", name=words(language)["open"]).press("Enter")
    page.wait_for_url("**/preferences?*")
    expect(erase.locator("form")).to_have_count(0)
    judge(page)
