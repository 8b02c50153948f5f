"""What a screen reader is told, by the browser's own accessibility tree, not by the driver's idea of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from consent_service.domain.notice import Notice
from consent_service.web.honesty.bench import layer_one, layer_two, press
from consent_service.web.layout import name_in
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages

TOLD = {"region", "heading", "list", "listitem", "button", "dialog", "combobox", "switch", "status", "link"}


def told(page: Page) -> list[tuple[str, str]]:
    """Roles and names of the banner's nodes in the order in which they are read; a switch with its state."""
    control = page.context.new_cdp_session(page)
    control.send("Accessibility.enable")
    nodes = {node["nodeId"]: node for node in control.send("Accessibility.getFullAXTree")["nodes"]}

    def read(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
        role = node["role"]["value"]
        name = str(node.get("name", {}).get("value", ""))
        states = {state["name"]: state["value"].get("value") for state in node.get("properties", [])}
        if not node.get("ignored") and role in TOLD:
            yield f"{role} {states['checked']}" if role == "switch" else role, name
        for child in node.get("childIds", []):
            if child in nodes:
                yield from read(nodes[child])

    found = list(read(next(iter(nodes.values()))))
    control.detach()
    return found


def names(notice: Notice, language: str) -> list[str]:
    """The purposes' names, in the notice's order."""
    return [purpose.name[language] for purpose in notice.purposes.values()]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_banner_and_dialog_are_read_by_name_state_and_in_order(bench: ShopBench, language: str) -> None:
    notice = in_languages((language, "fr"))
    spoken, title = words(language), notice.title[language]
    bench.shop.open_tenant(notice)
    page = bench.visit(bench.shop.page(body="", lang=language))

    banner = told(page)
    press(page, "open")
    expect(layer_two(page)).to_be_visible()
    layer_two(page).get_by_role("switch").nth(1).check()
    dialog = told(page)

    ours = [
        ("region", title),
        ("heading", title),
        ("list", ""),
        *[("listitem", "")] * len(names(notice, language)),
        ("link", spoken["human"]),
        ("button", spoken["refuse"]),
        ("button", spoken["accept"]),
        ("button", spoken["choose"]),
        ("status", ""),
    ]
    assert banner == [*ours, ("heading", "Shop")]
    first, second, *others = names(notice, language)
    # A modal dialog: nothing of the page, and nothing of the banner under it, is read.
    assert dialog == [
        ("dialog", title),
        ("heading", title),
        ("combobox", spoken["language"]),
        ("button", spoken["close"]),
        ("switch false", first),
        ("switch true", second),
        *[("switch false", name) for name in others],
        ("button", spoken["more"]),
        ("link", spoken["human"]),
        ("link", name_in(notice.controller.name, language)),  # isolates are not spoken
        ("button", spoken["refuse"]),
        ("button", spoken["accept"]),
        ("button", spoken["save"]),
    ]


def test_what_was_saved_is_announced_and_the_control_is_named(bench: ShopBench) -> None:
    page = bench.visit(bench.shop.page(body=""))

    press(page, "refuse_all")
    expect(layer_one(page)).to_be_hidden()
    expect(page.locator("consent-banner [role=status]")).to_have_text(words("en")["saved"])

    assert told(page) == [("button", words("en")["open"]), ("status", ""), ("heading", "Shop")]
