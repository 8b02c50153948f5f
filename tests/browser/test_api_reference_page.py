"""The page /docs in a real browser: nothing for axe-core on any screen, and everything by the keyboard."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench import ShopBench
from tests.browser.own_platform_rules import judge


@pytest.fixture
def page(bench: ShopBench) -> Page:
    page = bench.browser.new_context().new_page()
    bench.pages.append(page)
    page.goto(f"{bench.shop.service_url}/docs")
    return page


def test_axe_has_nothing_to_say(page: Page) -> None:
    page.locator("details").evaluate_all("(all) => all.forEach((example) => (example.open = true))")

    judge(page)


def test_an_example_is_opened_by_the_keyboard_alone(page: Page) -> None:
    page.get_by_role("link", name="decisions", exact=True).press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("[aria-labelledby=tag-decisions] pre").first).to_be_visible()
