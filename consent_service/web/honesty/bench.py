"""Where the rules are checked: a browser, the address of a page with the banner, a fresh visitor a check."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.sync_api import Browser, Locator, Page

DESKTOP: Final = {"width": 1280, "height": 720}
PHONE: Final = {"width": 390, "height": 844}
TIMEOUT_MS: Final = 10_000
COOKIE: Final = "eu-consent"

_SHOWN = (
    "() => document.querySelector('consent-banner')?.shadowRoot.querySelector('section')?.hidden === false"
)
_SETTLED = "() => !!document.querySelector('consent-banner')?.shadowRoot.querySelector('section')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its id, what it asks, where that comes from, and the check, which raises `AssertionError`."""

    id: str
    text: str
    source: str
    check: "Callable[[Bench], None]"


@dataclass(kw_only=True)
class Bench:
    """A page with the banner, visited by somebody new in each check."""

    browser: Browser
    url: str
    pages: list[Page] = field(default_factory=list)

    def visit(
        self,
        url: str | None = None,
        *,
        shown: bool = True,
        prepare: Callable[[Page], object] | None = None,
        **context: Any,  # keywords of Playwright's Browser.new_context
    ) -> Page:
        """Return a page opened by a new visitor, once the banner is there (`shown`) or has settled."""
        page = self.browser.new_context(**{"viewport": DESKTOP, "locale": "en", **context}).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        self.pages.append(page)
        if prepare is not None:
            prepare(page)
        page.goto(url or self.url)
        page.wait_for_function(_SHOWN if shown else _SETTLED)
        return page

    def close(self) -> None:
        """End every visit."""
        for page in self.pages:
            page.context.close()
        self.pages.clear()


_portable: list[Rule] = []


def portable(rule_id: str, text: str, source: str) -> "Callable[[Callable[[Bench], None]], Rule]":
    """Register a check that holds on any page with the banner."""

    def register(check: "Callable[[Bench], None]") -> Rule:
        rule = Rule(id=rule_id, text=text, source=source, check=check)
        _portable.append(rule)
        return rule

    return register


def portable_rules() -> list[Rule]:
    """Return the rules that any shop can check on its own page, by id."""
    from consent_service.web.honesty import choices, first_layer, interaction, second_layer  # noqa: F401, PLC0415  # they register

    return sorted(_portable, key=lambda rule: rule.id)


def layer_one(page: Page) -> Locator:
    """Return the banner."""
    return page.locator("consent-banner section")


def layer_two(page: Page) -> Locator:
    """Return the dialog."""
    return page.locator("consent-banner dialog")


def standing_control(page: Page) -> Locator:
    """Return what opens the choices again: the page's own control where it has one, else the banner's."""
    return page.locator("consent-banner .o, [data-consent-open]").filter(visible=True).first


def press(page: Page, name: str) -> None:
    """Press a button of the layer that is open: `accept_all`, `refuse_all`, `open`, `save`, `close`."""
    layer = layer_two(page) if layer_two(page).is_visible() else layer_one(page)
    layer.locator(f"button[value={name}]").click()


def open_dialog(page: Page) -> Locator:
    """Open the dialog from wherever she is and return it."""
    page.evaluate("consent.open()")
    return layer_two(page)


def facts(card: Locator) -> list[list[str]]:
    """Return what a value-exchange card says: the texts under each of its names, in their order."""
    found: list[list[str]] = card.locator("dl").evaluate(
        """(list) => [...list.querySelectorAll("dt")].map((name) => {
          const texts = [];
          for (let next = name.nextElementSibling; next?.tagName === "DD"; next = next.nextElementSibling) {
            texts.push(next.textContent.trim());
          }
          return texts;
        })"""
    )
    return found


def cookie(page: Page) -> str | None:
    """Return the value of the choice cookie, `None` before a choice."""
    return next(
        (str(item.get("value")) for item in page.context.cookies() if item.get("name") == COOKIE), None
    )


def choices(page: Page) -> Mapping[str, bool]:
    """Return what the page may use now."""
    found: Mapping[str, bool] = page.evaluate("consent.choices()")
    return found


def look(button: Locator) -> Mapping[str, Any]:
    """Return what of a button's looks the rules compare: size, colours, border, type."""
    found: Mapping[str, Any] = button.evaluate(
        """(element) => {
          const style = getComputedStyle(element), { width, height } = element.getBoundingClientRect();
          const { fontFamily, fontSize, fontWeight, backgroundColor, color, borderTopColor, borderTopWidth,
                  opacity, textDecorationLine, display, visibility } = style;
          return { tag: element.tagName, fontFamily, fontSize, fontWeight, backgroundColor, color,
                   borderTopColor, borderTopWidth, opacity, textDecorationLine, display, visibility,
                   width, height };
        }"""
    )
    return found
