"""The banner beside other people's, in one browser and one run: bytes, time to be seen, work, jumps, answer.

Loopback, and "slow 4G" as Lighthouse defines it, with a slow processor: a round trip of 150 ms, 1.6 Mbit/s
down and 750 kbit/s up, the CPU slowed down four times. Chromium delays each request by the round trip, not
the setting up of a connection: a script from another origin, as ours, takes one round trip more in life, and
another for TLS.
With QUICK=1 only the peers and what has goals are visited, on the slow line only what has goals there, the
browser is the one without windows (ADR 0091), and nothing is said with yes or no.

Ours comes from the real service, on an origin of its own, as in life; the others' files and every page from
the shop. Both are uvicorn in a process of its own, and every visit begins with an empty cache. The first
visit of each page counts for nothing but its bytes: in it the servers compress what they keep compressed.
The others go from the first page to the last and back, so that none always follows the same. While a page is
measured no script of the browser's driver runs in it, and what watches it counts its own work, which is no
banner's.
"""

import gzip
import mimetypes
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from consent_sdk.banner import PageBanner
from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.benchmarks.measure import QUICK
from tests.benchmarks.peer_checks import AXE, checks
from tests.benchmarks.peer_pages import MODULES, Peer, peers
from tests.benchmarks.services import consent, served
from tests.servers import PLAIN, unused_port, wait_until

CHROMIUM = "/usr/bin/chromium"
WITHOUT_WINDOWS = "/usr/bin/chromium-headless-shell"
_FILLER = "".join(f"<p>Product {n} is on this shelf, beside others of its kind.</p>" for n in range(40))
BARE = "a page without a banner"
_GOALS = {BARE, "this banner", "this banner, rendered by the server, style inline"}
_ROUNDS = 7
_SLOW_ROUNDS = 5 if QUICK else 7
_COMPARED = (
    *("gzip bytes", "requests", "layout shift", "after bare paint ms", "slow: after bare paint ms"),
    *("slow: script ms", "slow: blocked beyond bare ms", "slow: accept ms"),
)
_SLOW_4G = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
_SHEET = '<link rel="stylesheet" href="/shop.css">'
_STRICT = (
    "default-src 'none'; script-src 'self' {service}; style-src 'self'; connect-src 'self' {service}; "
    "img-src 'self' data:; form-action 'self' {service}; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_OBSERVE = """
  const begun = performance.now();
  window.seen = 0; window.shifts = 0; window.blocked = 0; window.answers = []; window.watching = 0;
  const watch = (type, use, more) => new PerformanceObserver((list) => list.getEntries().forEach(use))
    .observe({ type, buffered: true, ...more });
  watch("layout-shift", (entry) => (shifts += entry.value));
  watch("longtask", (entry) => (blocked += Math.max(0, entry.duration - 50)));
  watch("event", (entry) => entry.name === "click" && answers.push(entry.duration),
    { durationThreshold: 16 });
  watch("paint", ({ name }) => name === "first-paint" && window.wasSeen?.("paint"));
  const deep = (selector) => document.querySelector(selector)
    ?? document.querySelector("consent-banner, cookie-consent-banner")?.shadowRoot?.querySelector(selector);
  (function frame() {
    const begun = performance.now();
    const shown = { opacityProperty: true, visibilityProperty: true };
    if (window.wanted && deep(wanted)?.checkVisibility(shown)) {
      seen = performance.now();
      window.wasSeen?.("banner");
    } else requestAnimationFrame(frame);
    watching += performance.now() - begun;
  })();
  watching = performance.now() - begun;
"""
_FOUND = """({ visible: seen, shift: shifts, blocked, watching,
  paint: performance.getEntriesByName("first-paint")[0]?.startTime ?? 0 })"""
_PATIENCE_MS = 15_000
_SETTLED_MS = 250
"""After the banner was seen: until the browser has told its observers of the last long task."""
_JUMPED_MS = 50
"""The same, of the last jump of what was there."""
_SCREEN: ViewportSize = {"width": 1280, "height": 720}


def figures() -> dict[str, object]:
    """Return the figures of each banner, and of a page without one."""
    if not Path(CHROMIUM).exists():
        sys.exit("This benchmark needs Debian's package chromium.")
    _install_peers()
    program = WITHOUT_WINDOWS if QUICK and Path(WITHOUT_WINDOWS).exists() else CHROMIUM
    with ExitStack() as stack:
        pages = stack.enter_context(_shop())
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        loads = {name: _load(browser, *page) for name, page in pages.items()}
        near: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
        far: dict[str, list[dict[str, float]]] = {name: [] for name in pages if not QUICK or name in _GOALS}
        # One visit of each in turn: what else the machine does falls on all alike.
        for visits, slow in ((near, False), (far, True)):
            for number in range(_SLOW_ROUNDS if slow else _ROUNDS):
                for name in list(visits)[:: -1 if number % 2 else 1]:
                    visits[name].append(_visit(browser, *pages[name], slow=slow))
        measured: dict[str, dict[str, object]] = {}
        bare = {
            "near": _median(near[BARE], "paint"),
            "far": _median(far[BARE], "paint"),
            "blocked": _median(far[BARE], "blocked"),
        }
        for name, (url, peer) in pages.items():
            found = checks(browser, url, peer, _observing(peer)) if peer.accept and not QUICK else {}
            measured[name] = {**loads[name], **_summary(near[name], far.get(name, []), bare), **found}
        browser.close()
    return {**measured, "beside the best peer": _beside(measured["this banner"], measured)}


def _beside(ours: dict[str, object], measured: dict[str, dict[str, object]]) -> dict[str, object]:
    """Say for each figure which peer is best at it, and how far ours is behind: 0 where none is better."""
    said: dict[str, object] = {}
    others = [peer.name for peer in peers()]
    for name in _COMPARED:
        theirs = {
            other: value for other in others if isinstance(value := measured[other].get(name), int | float)
        }
        own = ours.get(name)
        if not theirs or not isinstance(own, int | float):
            continue
        best = min(theirs, key=theirs.__getitem__)
        behind = round(max(0, own - theirs[best]), 4)
        said[name] = {"behind": behind, "no worse than any": not behind, "best": theirs[best], "whose": best}
    return said


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
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as ours:
        service = f"http://127.0.0.1:{ours.port}"
        made = consent("key", "create", "--role", "browser", "--origin", origin, environment=ours.environment)
        banners = [
            Peer(name=BARE, head="", banner="h1", accept=""),
            Peer(name="a page without a banner, with a style sheet", head=_SHEET, banner="h1", accept=""),
            *_our_own(service, str(made["key"])),
            *peers(),
        ]
        if QUICK:
            names = _GOALS | {peer.name for peer in peers()}
            banners = [banner for banner in banners if banner.name in names]
        shown = {str(number): peer for number, peer in enumerate(banners)}
        with _apart(_pages(shown, service), port):
            yield {peer.name: (f"{origin}/{number}", peer) for number, peer in shown.items()}


@contextmanager
def _apart(app: Starlette, port: int) -> Iterator[None]:
    """Serve an application from a process of its own."""
    process = multiprocessing.get_context("fork").Process(
        target=uvicorn.run,
        args=(app,),
        kwargs={"host": "127.0.0.1", "port": port, "log_level": "error", "access_log": False},
        daemon=True,
    )
    process.start()

    def answers() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/0", verify=PLAIN).is_success
        except httpx2.TransportError:
            return False

    try:
        wait_until(answers, what="the shop")
        yield
    finally:
        process.terminate()
        process.join()


def _our_own(service: str, key: str) -> list[Peer]:
    """Return our banner as a page may bring it: by its script in one request or in two, and in its markup."""
    buttons = {
        "banner": "section",
        "accept": "section [value=accept_all]",
        "refuse": "section [value=refuse_all]",
        "choose": "section [value=open]",
    }
    script = f'<script src="{service}/banner.js" data-key="{key}" defer></script>'
    # Whoever could pin the file gets it as it is published, and its layout by a request of its own.
    pinned = script.replace(" defer", ' data-language="en" crossorigin defer')
    address = f"{service}/v1/banner?key={key}&amp;language=en"
    preload = f'<link rel="preload" as="fetch" crossorigin href="{address}">'
    return [
        Peer(name="this banner", head=script, **buttons),
        Peer(name="this banner, pinned", head=pinned, **buttons),
        Peer(name="this banner, pinned, layout preloaded", head=preload + pinned, **buttons),
        *_rendered(service, key, script, buttons),
    ]


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
                head=script.replace("/banner.js", "/static/banner.js") + (_SHEET if stylesheet else ""),
                first=banner.markup(language="en", said=""),
                first_signalled=banner.markup(language="en", said="", gpc=True),
                **buttons,
            )
        )
    return variants


def _pages(shown: dict[str, Peer], service: str) -> Starlette:
    """Return the shop: `?strict` sends a strict policy; its own scripts are files, as that asks for."""
    policy = _STRICT.format(service=service)

    def page(request: Request) -> Response:
        number = request.path_params["number"]
        peer = shown[number]
        first = peer.first_signalled if "sec-gpc" in request.headers else peer.first
        own = [f'<script src="/own/{number}/{part}" defer></script>' for part in ("before", "after")]
        text = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f"{own[0] if peer.before else ''}{peer.head}{own[1] if peer.after else ''}</head>"
            f"<body>{first}<main><h1>Shop</h1>{_FILLER}</main></body></html>"
        )
        strict = {"Content-Security-Policy": policy} if "strict" in request.query_params else {}
        return _answered(text, "text/html", **strict)

    def own_script(request: Request) -> Response:
        text = getattr(shown[request.path_params["number"]], request.path_params["part"])
        return _answered(text, "text/javascript")

    def file(request: Request) -> Response:
        path = request.path_params["path"]
        return Response(
            _compressed((MODULES / path).read_bytes()),
            media_type=mimetypes.guess_type(path)[0],
            headers={"Content-Encoding": "gzip"},
        )

    style = (files("consent_service.web") / "static" / "banner.css").read_text("utf-8")
    return Starlette(
        routes=[
            Route("/peers/{path:path}", file),
            Route("/own/{number}/{part:str}", own_script),
            Route("/banner.css", lambda _: _answered(style, "text/css")),
            Route("/shop.css", lambda _: _answered("h1 { color: #223 }", "text/css")),
            Route("/{number}", page),
        ]
    )


def _answered(text: str, media_type: str, **headers: str) -> Response:
    return Response(
        _compressed(text.encode()), media_type=media_type, headers={"Content-Encoding": "gzip", **headers}
    )


@cache
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, 9)


def _median(visits: list[dict[str, float]], name: str) -> float:
    return round(statistics.median(visit[name] for visit in visits), 1)


def _summary(
    near: list[dict[str, float]], far: list[dict[str, float]], bare: dict[str, float]
) -> dict[str, object]:
    return {
        "visible ms": _median(near, "visible"),
        "first paint ms": _median(near, "paint"),
        "after bare paint ms": round(_median(near, "visible") - bare["near"], 1),
        "layout shift": round(max(visit["shift"] for visit in near + far), 4),
        **(_slowly(far, bare) if far else {}),
    }


def _slowly(far: list[dict[str, float]], bare: dict[str, float]) -> dict[str, object]:
    return {
        "slow: visible ms": _median(far, "visible"),
        "slow: first paint ms": _median(far, "paint"),
        "slow: after bare paint ms": round(_median(far, "visible") - bare["far"], 1),
        "slow: script ms": _median(far, "script"),
        "slow: blocked ms": _median(far, "blocked"),
        "slow: blocked beyond bare ms": round(max(0, _median(far, "blocked") - bare["blocked"]), 1),
        "slow: accept ms": _median(far, "answer"),
    }


def _observing(peer: Peer) -> str:
    return f"window.wanted = {peer.banner!r};{_OBSERVE}"


def _load(browser: Browser, url: str, peer: Peer) -> dict[str, object]:
    """Return what a page loads for its banner."""
    with browser.new_context(viewport=_SCREEN, locale="en") as context:
        page = context.new_page()
        loaded: list[Any] = []
        page.on("response", lambda response: loaded.append(response))  # noqa: PLW0108  # Playwright marks handlers
        page.goto(url)
        page.locator(peer.banner).first.wait_for()
        own = [response for response in loaded if response.url != url and response.url.startswith("http")]
        sizes = [len(gzip.compress(response.body(), 9)) for response in own]
    return {"gzip bytes": sum(sizes), "requests": len(sizes)}


def _visit(browser: Browser, url: str, peer: Peer, *, slow: bool) -> dict[str, float]:
    with browser.new_context(viewport=_SCREEN, locale="en") as context:
        page = context.new_page()
        page.add_init_script(_observing(peer))
        control = context.new_cdp_session(page)
        control.send("Performance.enable")
        control.send("Runtime.enable")
        control.send("Runtime.addBinding", {"name": "wasSeen"})
        seen: set[str] = set()
        control.on("Runtime.bindingCalled", lambda event: seen.add(event["payload"]))
        if slow:
            control.send("Network.enable")
            control.send("Network.emulateNetworkConditions", _SLOW_4G)
            control.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        page.goto(url, wait_until="commit")
        _wait(page, lambda: seen == {"banner", "paint"}, f"{peer.name} to be seen")
        page.wait_for_timeout(_SETTLED_MS if slow else _JUMPED_MS)
        metrics = {item["name"]: item["value"] for item in control.send("Performance.getMetrics")["metrics"]}
        found = _told(control, _FOUND)
        script = metrics["ScriptDuration"] * 1000 - found["watching"]
        return {**found, "script": script, "answer": _answer(page, peer) if slow else 0}


def _wait(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Wait without running anything in the page."""
    for _ in range(_PATIENCE_MS // 20):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"Waited {_PATIENCE_MS} ms in vain for {what}.")


def _told(control: CDPSession, expression: str) -> dict[str, float]:
    """Return what a page says of itself, asked without the driver's own script."""
    answer = control.send("Runtime.evaluate", {"expression": expression, "returnByValue": True})
    told: dict[str, float] = answer["result"]["value"]
    return told


def _answer(page: Page, peer: Peer) -> float:
    """Press accept and return how long the page took to show the next frame."""
    if not peer.accept:
        return 0
    page.locator(peer.accept).first.click()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    found: float = page.evaluate("() => Math.max(0, ...answers)")
    return found
