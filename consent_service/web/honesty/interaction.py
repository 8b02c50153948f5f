"""Rules of use: keyboard, zoom, colours, motion, direction, speed."""

from typing import Any

from playwright.sync_api import Page, expect

from consent_service.web.honesty.bench import (
    DESKTOP,
    PHONE,
    Bench,
    layer_one,
    layer_two,
    open_dialog,
    portable,
    press,
)

_FOCUS = """() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element;
}"""
_IN_BANNER = f"(({_FOCUS})()?.getRootNode() ?? document) !== document"
_COVERED = f"""() => {{
  const element = ({_FOCUS})(), banner = document.querySelector("consent-banner");
  if (!element || element === document.body || element.getRootNode() !== document) return false;
  const box = element.getBoundingClientRect();
  const places = [0.02, 0.5, 0.98];
  const points = places.flatMap((x) => places.map((y) => [box.x + x * box.width, box.y + y * box.height]));
  return points.every(([x, y]) => document.elementFromPoint(x, y) === banner);
}}"""
_CONTRAST = """([front, back]) => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const ratio = light(front) / light(back);
  return Math.max(ratio, 1 / ratio);
}"""
_COLOURS = """(element) => {
  const style = getComputedStyle(element), surface = getComputedStyle(element.closest("section, dialog"));
  return { text: [style.color, style.backgroundColor], edge: [style.borderTopColor, surface.backgroundColor],
           prose: [surface.color, surface.backgroundColor] };
}"""
_SPACING = """* { line-height: 1.5 !important; letter-spacing: .12em !important }
* { word-spacing: .16em !important }
p { margin-bottom: 2em !important }"""


def _tab_until(page: Page, condition: str, *, most: int) -> int:
    for count in range(1, most + 1):
        page.keyboard.press("Tab")
        if page.evaluate(condition):
            return count
    return most + 1


@portable("R40", "The banner is a named landmark that traps nobody", "WCAG 2.2 SC 2.1.2, 4.1.2; ARIA APG")
def landmark_without_trap(bench: Bench) -> None:
    """Look at its role and name, then Tab through and out of it."""
    page = bench.visit()
    region = page.get_by_role("region", name=str(layer_one(page).locator("h2").text_content()))
    expect(region).to_be_visible()
    assert region.get_attribute("aria-modal") is None
    assert _tab_until(page, _IN_BANNER, most=2) <= 2
    assert _tab_until(page, f"!({_IN_BANNER})", most=45) <= 45


@portable(
    "R41",
    "The dialog is modal, named, closes with Esc without a change, and gives the focus back",
    "ARIA APG dialog; WCAG 2.2 SC 2.4.3",
)
def dialog_keeps_and_returns_focus(bench: Bench) -> None:
    """Walk with Tab and Shift+Tab, close with Esc, and look where the focus is."""
    page = bench.visit()
    layer_one(page).locator("[value=open]").press("Enter")
    dialog = page.get_by_role("dialog", name=str(layer_two(page).locator("h2").text_content()))
    expect(dialog).to_be_visible()
    controls = dialog.locator("button, select, input, a").count()
    for key in ("Tab", "Shift+Tab"):
        for _ in range(controls + 3):
            page.keyboard.press(key)
            inside = page.evaluate(f"(({_FOCUS})() === document.body) || !!({_FOCUS})()?.closest('dialog')")
            assert inside
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate(f"({_FOCUS})()?.value") == "open"
    assert page.context.cookies() == []


@portable("R42", "The banner is reached with two Tabs from the page's start", "WCAG 2.2 SC 2.4.3")
def reached_early(bench: Bench) -> None:
    """Count."""
    page = bench.visit()
    assert _tab_until(page, _IN_BANNER, most=2) <= 2


@portable("R43", "No focus stop of the page is hidden under the banner", "WCAG 2.2 SC 2.4.11; technique C43")
def nothing_hidden_under_it(bench: Bench) -> None:
    """Tab through the page on a desktop and a phone screen, testing nine points of each stop."""
    for viewport in (DESKTOP, PHONE):
        page = bench.visit(viewport=viewport)
        for _ in range(40):
            page.keyboard.press("Tab")
            assert not page.evaluate(_COVERED)


@portable(
    "R45",
    "Text has a contrast of 4.5, edges of buttons 3, light and dark",
    "WCAG 2.2 SC 1.4.3, 1.4.11, 2.4.7",
)
def contrast_is_enough(bench: Bench) -> None:
    """Measure computed colours, and whether focus changes what is seen."""
    schemes: tuple[Any, ...] = ("light", "dark")
    for scheme in schemes:
        page = bench.visit(color_scheme=scheme)
        press(page, "open")
        for layer in (layer_one(page), layer_two(page)):
            for name in ("accept_all", "refuse_all"):
                colours = layer.locator(f"[value={name}]").evaluate(_COLOURS)
                assert page.evaluate(_CONTRAST, colours["text"]) >= 4.5
                assert page.evaluate(_CONTRAST, colours["prose"]) >= 4.5
                assert page.evaluate(_CONTRAST, colours["edge"]) >= 3
        save = layer_two(page).locator("[value=save]")
        before = save.screenshot()
        page.keyboard.press("Shift+Tab")
        save.focus()
        assert save.evaluate("(element) => getComputedStyle(element).outlineWidth") == "3px"
        assert before


@portable("R46", "At 400 % zoom nothing scrolls sideways and refusing is reachable", "WCAG 2.2 SC 1.4.10")
def zoom_keeps_refusing(bench: Bench) -> None:
    """Use a screen of 320 by 256 CSS pixels."""
    page = bench.visit(viewport={"width": 320, "height": 256})
    refuse = layer_one(page).locator("[value=refuse_all]")
    refuse.scroll_into_view_if_needed()
    box = layer_one(page).bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320
    assert layer_one(page).evaluate("(element) => element.scrollWidth <= element.clientWidth")
    layer_one(page).locator("[value=open]").click()
    assert layer_two(page).evaluate("(element) => element.scrollWidth <= element.clientWidth")
    layer_two(page).locator("[value=refuse_all]").click()
    expect(layer_one(page)).to_be_hidden()


@portable("R47", "Wider text spacing clips nothing", "WCAG 2.2 SC 1.4.12")
def spacing_clips_nothing(bench: Bench) -> None:
    """Put the spacing of technique C36 on both layers."""
    page = bench.visit(viewport=PHONE)
    page.evaluate(
        """(css) => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(css);
          document.querySelector("consent-banner").shadowRoot.adoptedStyleSheets.push(sheet);
        }""",
        _SPACING,
    )
    press(page, "open")
    for layer in (layer_one(page), layer_two(page)):
        clipped = layer.evaluate(
            """(layer) => [layer, ...layer.querySelectorAll("*")].filter((element) => {
              const style = getComputedStyle(element);
              const scrolls = (value) => value === "auto" || value === "scroll" || value === "visible";
              const { scrollHeight, clientHeight, scrollWidth, clientWidth } = element;
              return (clientHeight && scrollHeight > clientHeight + 1 && !scrolls(style.overflowY))
                || (clientWidth && scrollWidth > clientWidth + 1 && !scrolls(style.overflowX));
            }).map((element) => element.outerHTML.slice(0, 80))"""
        )
        assert clipped == []


@portable("R49", "Nothing moves, whatever the visitor prefers", "WCAG 2.2 SC 2.3.3")
def nothing_moves(bench: Bench) -> None:
    """List the animations while both layers come and go."""
    for motion in ("reduce", "no-preference"):
        page = bench.visit(reduced_motion=motion)
        press(page, "open")
        count = "document.querySelector('consent-banner').shadowRoot.getAnimations().length"
        assert page.evaluate(count) == 0
        press(page, "close")
        assert page.evaluate(count) == 0


@portable("R50", "In forced colours every button has a visible border", "EN 301 549 cl. 11.7")
def forced_colours(bench: Bench) -> None:
    """Emulate and compare border and surface."""
    page = bench.visit(forced_colors="active")
    press(page, "open")
    for button in layer_two(page).locator("button[value$=_all], button[value=save]").all():
        colours = button.evaluate(_COLOURS)
        assert colours["edge"][0] != colours["edge"][1]
        assert button.evaluate("(element) => parseFloat(getComputedStyle(element).borderTopWidth)") >= 1


@portable("R53", "The page does not jump, wait or stutter for the banner", "Core Web Vitals")
def no_jump_no_wait(bench: Bench) -> None:
    """Observe layout shifts and long tasks from the page's start, and how the script is loaded."""
    observe = """window.shifts = 0; window.slow = [];
      new PerformanceObserver((list) => list.getEntries().forEach((entry) => (shifts += entry.value)))
        .observe({ type: "layout-shift", buffered: true });
      new PerformanceObserver((list) => slow.push(...list.getEntries().map((entry) => entry.duration)))
        .observe({ type: "longtask", buffered: true });"""
    page = bench.visit(prepare=lambda new: new.add_init_script(observe))
    press(page, "open")
    press(page, "close")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("shifts") == 0
    loading = "document.querySelector('script[data-key]')"
    assert page.evaluate(f"{loading}.defer || {loading}.async")
    open_dialog(page)
