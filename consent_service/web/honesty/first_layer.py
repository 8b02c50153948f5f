"""Rules of the first layer: what a shopper sees before she has chosen anything."""

from playwright.sync_api import expect

from consent_service.web.honesty.bench import (
    DESKTOP,
    PHONE,
    Bench,
    cookie,
    facts,
    layer_one,
    layer_two,
    look,
    portable,
    press,
    standing_control,
)
from consent_service.web.words import languages, words

_LOOKS = (
    *("tag", "fontFamily", "fontSize", "fontWeight", "backgroundColor", "color", "borderTopColor"),
    *("borderTopWidth", "opacity", "textDecorationLine", "height"),
)
_CNIL = "CNIL 2020-092 art. 2.4"


@portable("R01", "Refuse all is on the first layer, in view without scrolling", f"{_CNIL}; EDPB Taskforce A")
def refuse_is_in_view(bench: Bench) -> None:
    """Check on a desktop and a phone screen."""
    for viewport in (DESKTOP, PHONE):
        box = layer_one(bench.visit(viewport=viewport)).locator("[value=refuse_all]").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        assert box["y"] + box["height"] <= viewport["height"]


@portable("R02", "Refusing takes as many actions as accepting: one", f"{_CNIL}; GDPR Art. 7")
def one_action_each(bench: Bench) -> None:
    """Click once each, as two new visitors."""
    for answer in ("accept_all", "refuse_all"):
        page = bench.visit()
        press(page, answer)
        expect(layer_one(page)).to_be_hidden()
        assert cookie(page) is not None


@portable(
    "R03", "Both answers look the same and are about the same size", f"{_CNIL}; Taskforce D, E; EDPB 03/2022"
)
def same_looks(bench: Bench) -> None:
    """Compare computed styles and areas on both layers."""
    for viewport in (DESKTOP, PHONE):
        page = bench.visit(viewport=viewport)
        for layer in (layer_one(page), layer_two(page)):
            accept, refuse = (look(layer.locator(f"[value={name}]")) for name in ("accept_all", "refuse_all"))
            assert {name: accept[name] for name in _LOOKS} == {name: refuse[name] for name in _LOOKS}
            if accept["width"]:
                assert (
                    0.75 <= refuse["width"] * refuse["height"] / (accept["width"] * accept["height"]) <= 1.34
                )
            layer_one(page).locator("[value=open]").press("Enter")  # not clicked: nothing is under a pointer


@portable("R04", "Refuse is a real button", "Taskforce C; CNIL notices of December 2024")
def refuse_is_a_button(bench: Bench) -> None:
    """Check its element and how it is laid out."""
    refuse = look(layer_one(bench.visit()).locator("[value=refuse_all]"))
    assert refuse["tag"] == "BUTTON"
    assert refuse["display"] not in {"inline", "none", "contents"}
    assert refuse["textDecorationLine"] == "none"


@portable("R05", "No layer has more ways to accept than to refuse", "CNIL notices of December 2024")
def no_more_ways_to_accept(bench: Bench) -> None:
    """Count buttons by their accessible names."""
    accepting = {words(tag)["accept"] for tag in languages()}
    refusing = {words(tag)["refuse"] for tag in languages()}
    page = bench.visit()
    for layer in (layer_one(page), layer_two(page)):
        names = [name.strip() for name in layer.locator("button").all_text_contents()]
        assert sum(name in accepting for name in names) <= sum(name in refusing for name in names)
        assert any(name in refusing for name in names)


@portable("R06", "The labels come from a closed list", f"{_CNIL} (examples); CNIL notices of December 2024")
def labels_are_known(bench: Bench) -> None:
    """Compare with the labels of the banner's language."""
    page = bench.visit()
    spoken = words(str(layer_one(page).get_attribute("lang")))
    labels = [label.strip() for label in layer_one(page).locator("button").all_text_contents()]
    assert labels == [spoken["refuse"], spoken["accept"], spoken["choose"]]


@portable(
    "R07", "Choosing by purpose starts on the first layer", f"{_CNIL}; GDPR rec. 43; EDPB 05/2020 s. 3.1.3"
)
def choosing_starts_here(bench: Bench) -> None:
    """Open the dialog with one click."""
    page = bench.visit()
    press(page, "open")
    expect(layer_two(page)).to_be_visible()


@portable("R08", "Every purpose is named before everything can be accepted", f"{_CNIL}, 2.1")
def purposes_before_accept(bench: Bench) -> None:
    """Compare positions in the document; the list names what the dialog switches."""
    page = bench.visit()
    named = layer_one(page).locator("li").all_text_contents()
    assert named == layer_two(page).locator("label b").all_text_contents()
    before = (
        layer_one(page)
        .locator("li")
        .evaluate_all(
            """(items) => items.every((item) =>
             item.compareDocumentPosition(item.closest("section").querySelector("[value=accept_all]")) & 4)"""
        )
    )
    assert before


@portable("R13", "No wall: the page stays usable", "GDPR Art. 7(4); EDPB 05/2020 par. 39-41")
def no_wall(bench: Bench) -> None:
    """Measure how much of the screen is covered, and click on the page beside the banner."""
    for viewport, share in ((DESKTOP, 0.20), (PHONE, 0.45)):
        page = bench.visit(viewport=viewport)
        box = layer_one(page).bounding_box()
        assert box is not None
        assert box["width"] * box["height"] <= share * viewport["width"] * viewport["height"]
        assert page.locator("[inert]").count() == 0
        hit = page.evaluate(
            "document.elementFromPoint(innerWidth / 2, 20).closest('consent-banner') === null"
        )
        assert hit
        assert page.evaluate("getComputedStyle(document.body).overflow") != "hidden"


@portable("R20", "Who gets the data can be read before choosing, and is counted", "CNIL 2020-092 art. 2.3")
def recipients_are_counted(bench: Bench) -> None:
    """Compare the number on the first layer with the list on the second."""
    page = bench.visit()
    cards = layer_two(page).locator("fieldset").all()
    listed = {text for card in cards for text in facts(card)[3] if "(" in text}
    counted = words(str(layer_one(page).get_attribute("lang"))).say("recipients", n=len(listed))
    assert counted in str(layer_one(page).text_content())


@portable("R21", "How to withdraw is said before she consents", "CNIL 2020-092 art. 3; GDPR Art. 7(3)")
def withdrawal_is_said(bench: Bench) -> None:
    """Look for the sentence on the first layer."""
    page = bench.visit()
    spoken = words(str(layer_one(page).get_attribute("lang")))
    assert spoken.say("withdraw", open=spoken["open"]) in str(layer_one(page).text_content())


@portable("R23", "A human can be reached from both layers", "GDPR Art. 13(1)(b)")
def a_human_answers(bench: Bench) -> None:
    """Look for a contact that can be written to, called or visited."""
    page = bench.visit()
    for layer in (layer_one(page), layer_two(page)):
        contact = "a[href^='mailto:'], a[href^='tel:'], a[href^='https:']"
        assert layer.locator(contact).count() >= 1


@portable("R44", "Targets are at least 44 px high (AA asks for 24)", "WCAG 2.2 SC 2.5.8, 2.5.5")
def targets_are_large(bench: Bench) -> None:
    """Measure every control of both layers and the standing control."""
    page = bench.visit(viewport=PHONE)
    boxes = [control.bounding_box() for control in layer_one(page).locator("button, a").all()]
    press(page, "open")
    controls = layer_two(page).locator("button:visible, a:visible, label:visible, select:visible")
    boxes += [control.bounding_box() for control in controls.all()]
    press(page, "refuse_all")
    boxes.append(standing_control(page).bounding_box())
    assert len(boxes) > 8
    for box in boxes:
        assert box is not None
        assert box["height"] >= 43.5
        assert box["width"] >= 43.5
