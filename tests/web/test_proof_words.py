"""What a machine can review of the words on receipts, in packs, on /verify and about uses, by language."""

import json
import re
import unicodedata
from pathlib import Path
from typing import Final

import pytest

from consent_service.ledger.words import words_of
from consent_service.web.words import direction, languages, words

VERIFIER: Final = Path(__file__).parents[2] / "consent_service/web/verifier_words"
SCRIPTS: Final = {
    **dict.fromkeys(("bg", "uk"), "CYRILLIC"),
    "el": "GREEK",
    "ar": "ARABIC",
    "he": "HEBREW",
    "ja": "(HIRAGANA|KATAKANA|CJK)",
}
NAMES: Final = re.compile(r"\{\w+\}|[\w.]*/[\w/]*|\w*\.\w+|Ed25519|JavaScript\w*|\bbyte\b")
"""Names of files and folders, and what is called the same everywhere."""
FILES: Final = ("verify.py", "/verify", "entries/", "table/", "notices/", "erasures.ndjson", ".zip", ".pdf")
each = pytest.mark.parametrize("language", languages())


def said(language: str) -> dict[str, str]:
    sections = {
        **words_of(language),
        "verify": json.loads((VERIFIER / f"{language}.json").read_text("utf-8")),
    }
    return {f"{name}.{key}": text for name, texts in sections.items() for key, text in texts.items()}


@each
def test_every_letter_is_of_the_languages_script(language: str) -> None:
    script = SCRIPTS.get(language, "LATIN")

    for key, text in said(language).items():
        foreign = [sign for sign in NAMES.sub(" ", text) if sign.isalpha()]
        foreign = [sign for sign in foreign if not re.match(script, unicodedata.name(sign))]
        assert not [sign for sign in foreign if unicodedata.category(sign) != "Lm"], (key, foreign)


@each
def test_a_sentence_is_one_in_every_language(language: str) -> None:
    own, stop = said(language), "\u3002" if language == "ja" else "."

    for key, text in said("en").items():
        if text.endswith("."):
            assert own[key].endswith(stop), key
        elif text.endswith(":"):
            assert own[key][-1] in ":\uff1a", key
        else:
            assert own[key][-1] not in ".:\u3002\uff1a", key


@each
def test_texts_are_neat_and_name_the_same_files(language: str) -> None:
    english = said("en")

    for key, text in said(language).items():
        assert text == unicodedata.normalize("NFC", text).strip(), key
        assert "  " not in text, key
        assert len(text) <= 2 * len(english[key]) + 16, key
        assert [name for name in FILES if name in text] == [name for name in FILES if name in english[key]], (
            key
        )


@each
def test_the_same_is_filled_in_in_every_language(language: str) -> None:
    english = said("en")

    for key, text in said(language).items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[key])), key


def test_no_character_turns_the_line_where_none_has_to() -> None:
    for language in languages():
        turning = {sign for text in said(language).values() for sign in text if sign in "\u200e\u200f"}
        assert not turning or direction(language) == "rtl", language


@pytest.mark.parametrize("language", sorted(set(languages()) - {"en"}))
def test_no_english_is_left_over(language: str) -> None:
    english = said("en")
    same = {key for key, text in said(language).items() if text == english[key]}

    french = {"notices", "cosignatures"} if language == "fr" else set()
    assert {english[key] for key in same} <= {"Contact"} | french, same


@each
def test_a_receipt_calls_a_control_what_stands_on_the_button(language: str) -> None:
    buttons, ways = words(language), words_of(language)["ways"]

    for method, button in (("accept_all", "accept"), ("refuse_all", "refuse"), ("save", "save")):
        assert ways[method] == buttons[button]
