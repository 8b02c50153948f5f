"""A real Chromium, the real service and a small shop on another origin, shared by the tests of a worker.

`make test` takes the one without windows where it is there (ADR 0091), `make soak` the one that people run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.size import SOAK

for module in ("consent_service.web.honesty", "tests.browser.own_rules", "tests.browser.own_platform_rules"):
    pytest.register_assert_rewrite(module)

from consent_service.web.honesty.bench import TIMEOUT_MS  # noqa: E402  # as the next
from tests.browser.bench import ShopBench  # noqa: E402  # after its assertions are to be explained
from tests.browser.shop import Shop, open_shop  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
WITHOUT_WINDOWS = Path("/usr/bin/chromium-headless-shell")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
expect.set_options(timeout=TIMEOUT_MS)  # as long as every other wait for a page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file.

    Not longer: while it runs, this thread has a running event loop, and no other test can start its own.
    """
    program = WITHOUT_WINDOWS if WITHOUT_WINDOWS.exists() and not SOAK else CHROMIUM
    if not program.exists():
        pytest.fail(
            "The browser tests need Debian's package chromium: apt-get install chromium, or run .ci/run."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
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
