"""The banner beside other people's, in one browser and one run: bytes, time to be seen, work, jumps, answer.

Loopback, and a slow line with a slow processor: 400 ms a request, 1.6 Mbit/s, the CPU slowed down four times.
"""

import gzip
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from consent_sdk.banner import PageBanner
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from consent_service.api.app import create_app
from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.settings import Settings
from tests.benchmarks.measure import QUICK
from tests.benchmarks.peer_checks import AXE, checks
from tests.benchmarks.peer_pages import MODULES, Peer, peers
from tests.browser.serving import served
from tests.builders import a_notice
from tests.servers import unused_port

CHROMIUM = "/usr/bin/chromium"
_FILLER = "".join(f"<p>Product {n} is on this shelf, beside others of its kind.</p>" for n in range(40))
BARE = "a page without a banner"
_SHEET = '<link rel="stylesheet" href="/shop.css">'
_STRICT = (
    "default-src 'none'; script-src 'self' {service}; style-src 'self'; connect-src 'self' {service}; "
    "img-src 'self' data:; form-action 'self' {service}; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_OBSERVE = """
  window.seen = 0; window.shifts = 0; window.blocked = 0; window.answers = [];
  const watch = (type, use, more) => new PerformanceObserver((list) => list.getEntries().forEach(use))
    .observe({ type, buffered: true, ...more });
  watch("layout-shift", (entry) => (shifts += entry.value));
  watch("longtask", (entry) => (blocked += Math.max(0, entry.duration - 50)));
  watch("event", (entry) => entry.name === "click" && answers.push(entry.duration),
    { durationThreshold: 16 });
  const deep = (selector) => document.querySelector(selector)
    ?? document.querySelector("consent-banner, cookie-consent-banner")?.shadowRoot?.querySelector(selector);
  (function frame() {
    const shown = { opacityProperty: true, visibilityProperty: true };
    if (!seen && window.wanted && deep(wanted)?.checkVisibility(shown)) {
      seen = performance.now();
    }
    requestAnimationFrame(frame);
  })();
"""


def figures() -> dict[str, object]:
    """Return the figures of each banner, and of a page without one."""
    if not Path(CHROMIUM).exists():
        sys.exit("This benchmark needs Debian's package chromium.")
    _install_peers()
    rounds, slow_rounds = (2, 2) if QUICK else (7, 5)
    with ExitStack() as stack:
        pages = stack.enter_context(_shop())
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        near: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
        far: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
        # One visit of each in turn: what else the machine does falls on all alike.
        for visits, slow, count in ((near, False, rounds), (far, True, slow_rounds)):
            for _ in range(count):
                for name, (url, peer) in pages.items():
                    visits[name].append(_visit(browser, url, peer, slow=slow))
        measured: dict[str, object] = {}
        bare = {"near": _median(near[BARE], "paint"), "far": _median(far[BARE], "paint")}
        for name, (url, peer) in pages.items():
            found = checks(browser, url, peer, _observing(peer)) if peer.accept and not QUICK else {}
            measured[name] = {**_summary(near[name], far[name], bare), **found}
        browser.close()
    return measured


def _install_peers() -> None:
    npm = shutil.which("npm") or sys.exit("This benchmark needs npm.")
    if not (MODULES / "c15t").exists():
        command = [npm, "ci", "--prefix", str(MODULES.parent), "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    command = [npm, "run", "--prefix", str(MODULES.parent), "--silent", "build"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not AXE.exists():
        sys.exit("This benchmark needs axe-core: make js.")


@contextmanager
def _shop() -> Iterator[dict[str, tuple[str, Peer]]]:
    """Serve a page for each banner, with what it needs on the same host; ours from the real service."""
    port = unused_port()
    origin = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as home:
        app = create_app(Settings(home=Path(home)))
        with served(app, unused_port()) as service:
            deployment = app.state.service.deployment
            tenant = require_tenant(deployment, "default")
            app.state.service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice()))
            key = create_api_key(deployment, tenant, Role.BROWSER, origins=[origin]).key
            buttons = {
                "banner": "section",
                "accept": "section [value=accept_all]",
                "refuse": "section [value=refuse_all]",
                "choose": "section [value=open]",
            }
            script = f'<script src="{service}/banner.js" data-key="{key}" defer></script>'
            ours = Peer(name="this banner", head=script, **buttons)
            address = f"{service}/v1/banner?key={key}&amp;language=en"
            hinted = Peer(
                name="this banner, layout preloaded",
                head=f'<link rel="preload" as="fetch" crossorigin href="{address}">'
                + script.replace(" defer", ' data-language="en" defer'),
                **buttons,
            )
            bare = Peer(name=BARE, head="", banner="h1", accept="")
            styled = Peer(
                name="a page without a banner, with a style sheet", head=_SHEET, banner="h1", accept=""
            )
            banners = [bare, styled, ours, hinted, *_rendered(service, key, script, buttons), *peers()]
            shown = {str(number): peer for number, peer in enumerate(banners)}
            with served(_pages(shown, service), port):
                yield {peer.name: (f"{origin}/{number}", peer) for number, peer in shown.items()}


def _rendered(service: str, key: str, script: str, buttons: dict[str, str]) -> list[Peer]:
    """Return our banner as a server puts it into its pages: its style inline, and in a file of the shop's."""
    variants = []
    for name, stylesheet in (("style inline", None), ("style in a file", "/banner.css")):
        banner = PageBanner(service, key=key, stylesheet=stylesheet)
        banner.wait_until_ready(10, language="en")
        banner.wait_until_ready(10, language="en", gpc=True)
        variants.append(
            Peer(
                name=f"this banner, rendered by the server, {name}",
                head=script + (_SHEET if stylesheet else ""),
                first=banner.markup(language="en", said=""),
                first_signalled=banner.markup(language="en", said="", gpc=True),
                **buttons,
            )
        )
    return variants


def _pages(shown: dict[str, Peer], service: str) -> Starlette:
    """Return the shop: `?strict` sends a strict policy; its own scripts are files, as that asks for."""
    policy = _STRICT.format(service=service)

    def page(request: Request) -> HTMLResponse:
        number = request.path_params["number"]
        peer = shown[number]
        first = peer.first_signalled if "sec-gpc" in request.headers else peer.first
        own = [f'<script src="/own/{number}/{part}" defer></script>' for part in ("before", "after")]
        return HTMLResponse(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f"{own[0] if peer.before else ''}{peer.head}{own[1] if peer.after else ''}</head>"
            f"<body>{first}<main><h1>Shop</h1>{_FILLER}</main></body></html>",
            headers={"Content-Security-Policy": policy} if "strict" in request.query_params else {},
        )

    def own_script(request: Request) -> Response:
        text = getattr(shown[request.path_params["number"]], request.path_params["part"])
        return Response(text, media_type="text/javascript")

    style = (files("consent_service.web") / "static" / "banner.css").read_text("utf-8")
    app = Starlette(
        routes=[
            Mount("/peers", StaticFiles(directory=MODULES)),
            Route("/own/{number}/{part:str}", own_script),
            Route("/banner.css", lambda _: Response(style, media_type="text/css")),
            Route("/shop.css", lambda _: Response("h1 { color: #223 }", media_type="text/css")),
            Route("/{number}", page),
        ]
    )
    app.add_middleware(GZipMiddleware, minimum_size=200, compresslevel=9)
    return app


def _median(visits: list[dict[str, float]], name: str) -> float:
    return round(statistics.median(visit[name] for visit in visits), 1)


def _summary(
    near: list[dict[str, float]], far: list[dict[str, float]], bare: dict[str, float]
) -> dict[str, object]:
    return {
        "gzip bytes": int(near[0]["bytes"]),
        "requests": int(near[0]["requests"]),
        "visible ms": _median(near, "visible"),
        "first paint ms": _median(near, "paint"),
        "after bare paint ms": round(_median(near, "visible") - bare["near"], 1),
        "slow: visible ms": _median(far, "visible"),
        "slow: first paint ms": _median(far, "paint"),
        "slow: after bare paint ms": round(_median(far, "visible") - bare["far"], 1),
        "slow: script ms": _median(far, "script"),
        "slow: blocked ms": _median(far, "blocked"),
        "layout shift": round(max(visit["shift"] for visit in near + far), 4),
        "slow: accept ms": _median(far, "answer"),
    }


def _observing(peer: Peer) -> str:
    return f"window.wanted = {peer.banner!r};{_OBSERVE}"


def _visit(browser: Browser, url: str, peer: Peer, *, slow: bool) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 720}, locale="en")
    page = context.new_page()
    loaded: list[Any] = []
    page.on("response", lambda response: loaded.append(response))  # noqa: PLW0108  # Playwright marks handlers
    page.add_init_script(_observing(peer))
    control = context.new_cdp_session(page)
    control.send("Performance.enable")
    if slow:
        control.send("Network.enable")
        line = {"offline": False, "latency": 400, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
        control.send("Network.emulateNetworkConditions", line)
        control.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.goto(url)
    try:
        page.wait_for_function("() => window.seen > 0", timeout=15_000)
    except PlaywrightTimeout as error:
        error.add_note(f"{peer.name} was never seen")
        raise
    metrics = {item["name"]: item["value"] for item in control.send("Performance.getMetrics")["metrics"]}
    own = [response for response in loaded if response.url != url and response.url.startswith("http")]
    visit = {
        "visible": page.evaluate("seen"),
        "paint": page.evaluate("performance.getEntriesByName('first-paint')[0]?.startTime ?? 0"),
        "script": metrics["ScriptDuration"] * 1000,
        "blocked": page.evaluate("blocked"),
        "shift": page.evaluate("shifts"),
        "bytes": sum(len(gzip.compress(response.body(), 9)) for response in own),
        "requests": len(own),
        "answer": _answer(page, peer),
    }
    context.close()
    return visit


def _answer(page: Page, peer: Peer) -> float:
    """Press accept and return how long the page took to show the next frame."""
    if not peer.accept:
        return 0
    page.locator(peer.accept).first.click()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    found: float = page.evaluate("() => Math.max(0, ...answers)")
    return found
