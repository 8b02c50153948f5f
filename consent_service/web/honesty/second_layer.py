"""Rules of the second layer: one dialog with a switch and a card for every purpose."""

from playwright.sync_api import expect

from consent_service.web.honesty.bench import (
    Bench,
    choices,
    facts,
    layer_one,
    layer_two,
    open_dialog,
    portable,
    press,
)
from consent_service.web.notice_checks import NO_CONSENT, steering
from consent_service.web.words import languages, words

_FACTS = ("use", "get", "never", "seen", "kept", "no")


@portable(
    "R09",
    "Nothing is switched on when the dialog first opens",
    "GDPR rec. 32; CJEU C-673/17; CNIL 2020-092 art. 2.4",
)
def nothing_is_preset(bench: Bench) -> None:
    """Look at every switch."""
    page = bench.visit()
    switches = open_dialog(page).get_by_role("switch")
    assert switches.count() >= 1
    assert switches.evaluate_all("(all) => all.every((one) => !one.checked && !one.defaultChecked)")
    assert not any(choices(page).values())


@portable("R10", "No legitimate interest stands in for consent", "Taskforce H")
def no_legitimate_interest(bench: Bench) -> None:
    """Look for switches that are no consent, and for the words."""
    page = bench.visit()
    dialog = open_dialog(page)
    assert (
        dialog.locator("input").count()
        == dialog.get_by_role("switch").count() + dialog.locator("[name=token]").count()
    )
    shown = str(dialog.text_content()).lower()
    assert not [phrase for phrase in NO_CONSENT if phrase in shown]


@portable("R11", "No purpose is locked as strictly necessary", "Taskforce I; ePrivacy Directive Art. 5(3)")
def nothing_is_locked(bench: Bench) -> None:
    """Look for switches that cannot be moved: what needs no consent is not in the dialog at all."""
    page = bench.visit()
    assert open_dialog(page).locator("input:disabled, input[readonly], fieldset:disabled").count() == 0


@portable(
    "R17",
    "A switch keeps its name, and its state is said in words",
    "WCAG 1.4.1; EDPB 03/2022 ambiguous wording",
)
def state_is_in_words(bench: Bench) -> None:
    """Move a switch and compare name, state and visible words."""
    page = bench.visit()
    dialog = open_dialog(page)
    spoken = words(str(layer_one(page).get_attribute("lang")))
    label = dialog.locator("label").first
    name = str(label.locator("b").text_content())
    switch = dialog.get_by_role("switch", name=name, exact=True)
    expect(switch).not_to_be_checked()
    expect(label.get_by_text(spoken["off"], exact=True)).to_be_visible()
    switch.check()
    expect(dialog.get_by_role("switch", name=name, exact=True)).to_be_checked()
    expect(label.get_by_text(spoken["on"], exact=True)).to_be_visible()
    expect(label.get_by_text(spoken["off"], exact=True)).to_be_hidden()


@portable(
    "R18", "Two layers at most, one of them with every purpose", "EDPB 03/2022 privacy maze, too many options"
)
def no_maze(bench: Bench) -> None:
    """Reach the last switch with two actions: open, scroll to it and switch."""
    page = bench.visit()
    press(page, "open")
    layer_two(page).get_by_role("switch").last.check()
    assert page.locator("consent-banner dialog").count() == 1
    assert layer_two(page).locator("details").count() == 0


@portable(
    "R19",
    "Each card says six things: use, benefit, limit, recipients, retention, refusal",
    "EDPB 05/2020 par. 64; GDPR Art. 13",
)
def six_facts_each(bench: Bench) -> None:
    """Read every card; the order is always the same."""
    page = bench.visit()
    spoken = words(str(layer_one(page).get_attribute("lang")))
    cards = open_dialog(page).locator("fieldset")
    for card in cards.all():
        assert card.locator("dt").all_text_contents() == [spoken[name] for name in _FACTS]
        said = facts(card)
        assert all(texts and all(texts) for texts in said)
        origins = {spoken[name] for name in ("told", "observed", "partner")}
        assert all(any(item.endswith(f"({origin})") for origin in origins) for item in said[0])


@portable("R22", "What refusing means is said, purpose by purpose", "CNIL 2020-092 art. 2; EDPB 05/2020")
def refusing_is_explained(bench: Bench) -> None:
    """Read the last fact of every card."""
    cards = open_dialog(bench.visit()).locator("fieldset")
    assert cards.count() >= 1
    for card in cards.all():
        assert all(facts(card)[-1])


@portable(
    "R15", "The words are neutral: no praise, guilt, urgency or emoji", "EDPB 03/2022 emotional steering"
)
def words_are_neutral(bench: Bench) -> None:
    """Look for what steers in everything the banner shows, and in our own words of all languages."""
    page = bench.visit()
    shown = f"{layer_one(page).text_content()} {layer_two(page).text_content()}"
    own = " ".join(text for tag in languages() for text in words(tag).texts.values())
    assert steering(f"{shown} {own}") == []
