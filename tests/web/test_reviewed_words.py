"""What a machine can review of the interface's words: scripts, signs, lengths, leftovers, plurals."""

import re
import unicodedata
from typing import Final

import pytest

from consent_service.web.words import direction, languages, words

QUOTES: Final = {
    **dict.fromkeys(("bg", "cs", "de", "et", "lt", "sk"), "„“"),
    **dict.fromkeys(("hr", "hu", "lv", "pl", "ro"), "„”"),
    **dict.fromkeys(("ar", "el", "es", "it", "no", "pt", "uk"), "«»"),
    **dict.fromkeys(("en", "ga", "mt", "nl", "tr"), "“”"),
    **dict.fromkeys(("da", "sl"), "»«"),
    **dict.fromkeys(("fi", "sv"), "””"),
    "fr": "«»",
    "he": "״״",
    "ja": "「」",
}
"""How each language quotes (CLDR, and the usual second form where both are in use)."""
SCRIPTS: Final = {
    **dict.fromkeys(("bg", "uk"), "CYRILLIC"),
    "el": "GREEK",
    "ar": "ARABIC",
    "he": "HEBREW",
    "ja": "(HIRAGANA|KATAKANA|CJK)",
}
ENDS: Final = {"ja": "。", "el": ".;"}
BUTTONS: Final = ("accept", "refuse", "choose", "save")
ENGLISH: Final = re.compile(r"\b(the|you|your|and|this|are|all|not|choices?|data)\b", re.IGNORECASE)
SHARED: Final = frozenset({"data", "all", "not", "are"})
"""English words that other languages have too."""
_NAME: Final = "Global Privacy Control"
_COLONS: Final = ":\uff1a"
each = pytest.mark.parametrize("language", languages())


def said(language: str) -> dict[str, str]:
    return dict(words(language).texts)


def letters(text: str) -> list[str]:
    plain = re.sub(r"{\w+}", "", text.replace(_NAME, ""))
    return [letter for letter in plain if letter.isalpha()]


@each
def test_every_letter_is_of_the_languages_script(language: str) -> None:
    script = SCRIPTS.get(language, "LATIN")

    for key, text in said(language).items():
        foreign = [letter for letter in letters(text) if not re.match(script, unicodedata.name(letter))]
        assert not [letter for letter in foreign if unicodedata.name(letter) != "MODIFIER LETTER"], key


@each
def test_quotes_and_apostrophes_are_those_of_print(language: str) -> None:
    for key, text in said(language).items():
        assert not set(text) & set("'\"`\u00b4"), key
        assert text == unicodedata.normalize("NFC", text), key
        assert "  " not in text, key
        assert "..." not in text, key
    quoted = said(language)["withdraw"]
    assert re.search(rf"{QUOTES[language][0]}\u00a0?{{open}}\u00a0?{QUOTES[language][1]}", quoted)


def test_french_signs_stand_after_a_space_that_does_not_break() -> None:
    for key, text in said("fr").items():
        assert not re.search(r"[^\u00a0\u202f][:;?!»]|«[^\u00a0\u202f]", text), key


def test_romanian_letters_have_commas_and_no_cedillas() -> None:
    assert not set("".join(said("ro").values())) & set("şŞţŢ")


@each
def test_a_sentence_is_one_in_every_language(language: str) -> None:
    own = said(language)

    for key, text in said("en").items():
        if text.endswith("."):
            assert own[key][-1] in ENDS.get(language, "."), key
        elif text.endswith(":"):
            assert own[key][-1] in _COLONS, key
        elif not text.endswith("?"):
            # "dvs." is how Romanian writes a polite "your".
            assert own[key].removesuffix("dvs.")[-1] not in f".。?؟{_COLONS}", key


@each
def test_no_character_is_invisible_or_turns_the_line(language: str) -> None:
    for key, text in said(language).items():
        odd = [sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Co", "Cn"}]
        assert odd == [], key


@each
def test_the_first_letter_runs_as_the_language_does(language: str) -> None:
    expected = {"R", "AL"} if direction(language) == "rtl" else {"L"}

    for key, text in said(language).items():
        assert unicodedata.bidirectional(letters(text)[0]) in expected, key


@each
def test_labels_fit_and_no_answer_is_much_longer_than_the_other(language: str) -> None:
    own, english = said(language), said("en")

    assert max(len(own[key]) for key in BUTTONS) <= 24
    assert 0.5 <= len(own["accept"]) / len(own["refuse"]) <= 2
    for key, text in own.items():
        assert len(text) <= 2 * len(english[key]) + 16, key


@pytest.mark.parametrize("language", sorted(set(languages()) - {"en"}))
def test_no_english_is_left_over(language: str) -> None:
    for key, text in said(language).items():
        left = {word.lower() for word in ENGLISH.findall(text.replace(_NAME, ""))} - SHARED
        assert left == set(), key


@each
def test_no_text_bends_to_a_number(language: str) -> None:
    # A count stands alone behind its word, so that no plural form is needed: "Recipients: 3."
    for key, text in said(language).items():
        if "{n}" in text:
            assert re.search(rf"[{_COLONS}]\s*{{n}}[.。]$", text), key


@each
def test_two_statuses_or_labels_never_read_the_same(language: str) -> None:
    own = said(language)

    for group in (("on", "off", "renewed", "refused", "withdrawn", "expired", "unknown"), BUTTONS):
        assert len({own[key] for key in group}) == len(group)
