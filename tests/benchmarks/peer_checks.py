"""What can be said of a banner with yes or no: accessible, fair, obedient, strict, dark."""

from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.benchmarks.peer_pages import Peer

AXE: Final = Path(__file__).parents[2] / "sdk" / "js" / "node_modules" / "axe-core" / "axe.min.js"
_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_GPC: Final = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true })"
_SEEN: Final = "() => window.seen > 0"
_SURFACE: Final = """(element) => {
  for (let one = element; one; one = one.parentElement ?? one.getRootNode().host) {
    const { backgroundColor } = getComputedStyle(one);
    if (!/, 0\\)$|transparent/.test(backgroundColor)) return backgroundColor;
  }
}"""
_LOOK: Final = """(element) => {
  const { backgroundColor, color, fontSize, fontWeight, borderTopColor } = getComputedStyle(element);
  const { width, height } = element.getBoundingClientRect();
  const look = [element.tagName, backgroundColor, color, fontSize, fontWeight, borderTopColor].join();
  return { look, area: width * height };
}"""


def checks(browser: Browser, url: str, peer: Peer, observe: str) -> dict[str, object]:
    """Return what a banner is found to be, each on a page of its own; `url?strict` has a strict policy."""
    return {
        "axe nodes, banner / dialog": _axe(browser, url, peer, observe),
        "accept = refuse": _fair(browser, url, peer, observe),
        "GPC": _signal(browser, url, peer, observe),
        "strict CSP + Trusted Types": _strict(browser, url, peer, observe),
        "dark": _dark(browser, url, peer, observe),
    }


def _open(browser: Browser, url: str, observe: str, script: str = "", **context: Any) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 720}, locale="en", **context).new_page()
    page.add_init_script(script + observe)
    page.goto(url)
    return page


def _shown(page: Page) -> bool:
    try:
        page.wait_for_function(_SEEN, timeout=5_000)
    except PlaywrightTimeout:
        return False
    return True


def _axe(browser: Browser, url: str, peer: Peer, observe: str) -> str:
    page = _open(browser, url, observe)
    page.wait_for_function(_SEEN)
    page.wait_for_timeout(600)  # Others slide in: what moves cannot be judged.
    found = [_objections(page)]
    if peer.choose:
        page.locator(peer.choose).first.click()
        page.wait_for_timeout(600)
        found.append(_objections(page))
    page.context.close()
    return " / ".join(str(count) for count in found) if peer.choose else f"{found[0]} / no dialog"


def _objections(page: Page) -> int:
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("(tags) => axe.run(document, { runOnly: tags })", _TAGS)
    return sum(len(item["nodes"]) for item in found["violations"])


def _fair(browser: Browser, url: str, peer: Peer, observe: str) -> str:
    if not peer.refuse:
        return "no refusal"
    page = _open(browser, url, observe)
    page.wait_for_function(_SEEN)
    refuse = page.locator(peer.refuse)
    if refuse.count() == 0 or not refuse.first.is_visible():
        page.context.close()
        return "no refusal"
    accept, other = page.locator(peer.accept).first.evaluate(_LOOK), refuse.first.evaluate(_LOOK)
    page.context.close()
    same = accept["look"] == other["look"] and 0.75 <= accept["area"] / other["area"] <= 1.34
    return "yes" if same else "no"


def _signal(browser: Browser, url: str, peer: Peer, observe: str) -> str:
    page = _open(browser, url, observe, f"{_GPC};", extra_http_headers={"Sec-GPC": "1"})
    shown = _shown(page)
    said = shown and "Privacy Control" in str(page.locator(peer.banner).first.text_content())
    page.context.close()
    return "said" if said else "no" if shown else "not shown"


def _strict(browser: Browser, url: str, peer: Peer, observe: str) -> str:
    note = "window.broken = 0; addEventListener('securitypolicyviolation', () => (broken += 1));"
    page = _open(browser, f"{url}?strict", observe, note)
    shown = _shown(page)
    broken = page.evaluate("broken")
    page.context.close()
    return "ok" if shown and not broken else f"breaks ({broken})" if shown else "not shown"


def _dark(browser: Browser, url: str, peer: Peer, observe: str) -> str:
    found = set()
    schemes: tuple[Any, ...] = ("light", "dark")
    for scheme in schemes:
        page = _open(browser, url, observe, color_scheme=scheme)
        page.wait_for_function(_SEEN)
        found.add(page.locator(peer.banner).first.evaluate(_SURFACE))
        page.context.close()
    return "yes" if len(found) > 1 else "no"
