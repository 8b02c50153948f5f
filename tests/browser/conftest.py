"""A real Chromium, the real service and a small shop on another origin, shared by the tests of a worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

for module in ("consent_service.web.honesty", "tests.browser.own_rules", "tests.browser.own_platform_rules"):
    pytest.register_assert_rewrite(module)

from tests.browser.bench import ShopBench  # noqa: E402  # after its assertions are to be explained
from tests.browser.shop import Shop, open_shop  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file.

    Not longer: while it runs, this thread has a running event loop, and no other test can start its own.
    """
    if not CHROMIUM.exists():
        pytest.fail(
            "The browser tests need Debian's package chromium: apt-get install chromium, or run .ci/run."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The service and a shop whose pages carry its banner."""
    with open_shop(tmp_path_factory.mktemp("consent")) as shop:
        yield shop


@pytest.fixture
def bench(browser: Browser, shop: Shop) -> Iterator[ShopBench]:
    """A fresh visitor of the shop for each test."""
    shop.reset()
    bench = ShopBench(browser=browser, url=shop.page(), shop=shop)
    yield bench
    bench.close()
