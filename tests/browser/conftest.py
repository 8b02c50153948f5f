"""A real Chromium, the real service and a small shop on another origin, shared by the tests of a worker."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from consent_service.api.app import create_app
from consent_service.settings import Settings
from tests.servers import unused_port, wait_until

for module in ("consent_service.web.honesty", "tests.browser.own_rules", "tests.browser.own_platform_rules"):
    pytest.register_assert_rewrite(module)

from tests.browser.bench import ShopBench  # noqa: E402  # after its assertions are to be explained
from tests.browser.shop import Shop  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for this test process."""
    if not CHROMIUM.exists():
        pytest.fail(
            "The browser tests need Debian's package chromium: apt-get install chromium, or run .ci/run."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class _Served(uvicorn.Server):
    """A server in a thread of this process."""

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        wait_until(lambda: self.started, what="the server to start")
        return thread


def _serve(app: object, port: int) -> Iterator[None]:
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", access_log=False)  # type: ignore[arg-type]  # an ASGI application
    server = _Served(config)
    thread = server.start()
    yield
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The service and a shop whose pages carry its banner."""
    service_port, shop_port = unused_port(), unused_port()
    app = create_app(Settings(home=tmp_path_factory.mktemp("consent")))
    service = _serve(app, service_port)
    next(service)
    shop = Shop(service=app.state.service, service_url=f"http://127.0.0.1:{service_port}", port=shop_port)
    pages = _serve(shop.app, shop_port)
    next(pages)
    yield shop
    for server in (pages, service):
        for _ in server:
            pass


@pytest.fixture
def bench(browser: Browser, shop: Shop) -> Iterator[ShopBench]:
    """A fresh visitor of the shop for each test."""
    shop.reset()
    bench = ShopBench(browser=browser, url=shop.page(), shop=shop)
    yield bench
    bench.close()
