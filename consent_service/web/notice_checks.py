"""Which honesty rules can be read from a notice and its layout, without a browser, and whether they hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files
from typing import Final, NamedTuple

from consent_service.domain.notice import Notice
from consent_service.ledger.words import primary
from consent_service.operations.notice_book import PublishedNotice
from consent_service.web.layout import banner_fragment, contact_address
from consent_service.web.words import languages, words

STEERING_WORDS: Final = (
    *("unlock", "enhance", "we value your privacy", "amazing", "hurry", "only today", "please"),
)
STEERING_SIGNS: Final = "!¡❗😀🎉🍪❤👍⏰"
NO_CONSENT: Final = (
    *("legitimate interest", "intérêt légitime", "berechtigtes interesse", "interés legítimo"),
    *("interesse legittimo", "gerechtvaardigd belang", "interesse legítimo"),
)
"""What some banners say instead of asking; a purpose that rests on it is no purpose of consent."""

_FIRST_PICTURE: Final = 0x1F300
_FACTS: Final = ("use", "get", "never", "seen", "kept", "no")
_VOID: Final = frozenset({"input", "br", "hr", "img", "link", "meta"})


class Rule(NamedTuple):
    """One honesty rule: `kit` says that a shop can check it on its own page."""

    id: str
    text: str
    source: str
    kit: bool


@cache
def honesty_rules() -> tuple[Rule, ...]:
    """Return every rule by id; `python -m tests.browser.rule_table` writes the file from the tests."""
    rows = json.loads((files("consent_service.web") / "honesty_rules.json").read_text("utf-8"))
    return tuple(Rule(**row) for row in rows)


def steering(text: str) -> list[str]:
    """Return the words and signs in a text that praise, hurry or beg."""
    low = text.lower()
    signs = [sign for sign in text if sign in STEERING_SIGNS or ord(sign) >= _FIRST_PICTURE]
    return [word for word in STEERING_WORDS if word in low] + signs


def check_notice(published: PublishedNotice) -> dict[str, tuple[str, ...]]:
    """Return by rule in which of the notice's languages it does not hold: in none where it does."""
    failing: dict[str, list[str]] = {}
    for language in published.notice.languages:
        _, fragment = banner_fragment(published.notice, published.digest, language)
        for rule, holds in check_layout(published.notice, language, fragment).items():
            found = failing.setdefault(rule, [])
            if not holds:
                found.append(language)
    return {rule: tuple(found) for rule, found in sorted(failing.items())}


def check_layout(notice: Notice, language: str, fragment: str) -> Mapping[str, bool]:
    """Return by rule whether a laid-out banner of the notice in one of its languages keeps it."""
    layout = _Layout.of(fragment)
    spoken = words(language)
    text = layout.text()
    purposes = list(notice.purposes.values())
    seen = {key for purpose in purposes for key in purpose.recipients}
    cards = layout.cards()
    controls = [element for element in layout.elements if element.tag in {"input", "fieldset"}]
    first_accept = layout.place("button", "accept_all")
    named = [(place, element.text) for place, element in layout.each("li")]
    return {
        "R08": [name for _, name in named] == [purpose.name[language] for purpose in purposes]
        and all(place < first_accept for place, _ in named),
        "R09": not any("checked" in control.attributes for control in controls),
        "R10": not any(phrase in text.lower() for phrase in NO_CONSENT),
        "R11": not any({"disabled", "readonly"} & control.attributes.keys() for control in controls),
        "R15": not steering(text),
        "R16": primary(language) in languages(),
        "R19": len(cards) == len(purposes)
        and all([name for name, _ in card] == [spoken[fact] for fact in _FACTS] for card in cards)
        and all(items and all(items) for card in cards for _, items in card),
        "R20": spoken.say("recipients", n=len(seen)) in text,
        "R21": spoken.say("withdraw", open=spoken["open"]) in text,
        "R22": [card[-1][1] for card in cards if card]
        == [[purpose.if_denied[language]] for purpose in purposes],
        "R23": sum(
            element.attributes.get("href") == contact_address(notice) for _, element in layout.each("a")
        )
        > 1,
    }


@dataclass(slots=True)
class _Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass(slots=True)
class _Layout:
    """The elements of a fragment in their order, each with the text up to the next one."""

    elements: list[_Element] = field(default_factory=list)

    @classmethod
    def of(cls, fragment: str) -> "_Layout":
        reader = _Reader()
        reader.feed(fragment)
        reader.close()
        return cls(reader.elements)

    def text(self) -> str:
        return " ".join(element.text for element in self.elements)

    def each(self, tag: str) -> list[tuple[int, _Element]]:
        return [(place, element) for place, element in enumerate(self.elements) if element.tag == tag]

    def place(self, tag: str, value: str) -> int:
        """Return where the first such control stands; before everything where there is none."""
        found = (place for place, element in self.each(tag) if element.attributes.get("value") == value)
        return next(found, -1)

    def cards(self) -> list[list[tuple[str, Sequence[str]]]]:
        """Return what every value-exchange card says: its names, each with the texts under it."""
        cards: list[list[tuple[str, list[str]]]] = []
        for element in self.elements:
            if element.tag == "dl":
                cards.append([])
            elif element.tag == "dt":
                cards[-1].append((element.text, []))
            elif element.tag == "dd":
                cards[-1][-1][1].append(element.text)
        return [list(card) for card in cards]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[_Element] = []
        self._open: list[_Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = _Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        # `li`, `dt` and `dd` are not closed: whatever stands inside what closes ends with it.
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data
