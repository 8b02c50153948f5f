"""The dashboard's words: the same in every language it has, none unused, none in English by accident."""

import json
import re
import unicodedata
from importlib.resources import files
from pathlib import Path

import pytest

import consent_service
from consent_service.web.dashboard import dashboard_languages
from consent_service.web.words import languages
from tests.web.test_reviewed_words import ENGLISH, SCRIPTS, SHARED, letters
from tests.web.test_words import STEERING

FOLDER = files("consent_service.web") / "dashboard_words"
NAMES = re.compile(r"auditor|admin\b|UTC|\bAPI\b|docs/reference/honesty-rules\.md|\{\w+\}")
"""What has the same name in every language."""
each = pytest.mark.parametrize("language", dashboard_languages())


def said(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    return texts


def test_it_speaks_every_language_of_the_interface() -> None:
    assert dashboard_languages()[0] == "en"
    assert set(dashboard_languages()) == set(languages())


def test_every_word_is_used() -> None:
    web = Path(consent_service.__file__).parent / "web"
    router = web.parent / "api" / "routers" / "dashboard.py"
    sources = [router, web / "dashboard.py", *(web / "templates").glob("dashboard*.html")]
    text = "".join(source.read_text("utf-8") for source in sources)

    assert [key for key in said("en") if f'"{key}"' not in text] == []


@each
def test_every_language_has_the_same_words_with_the_same_placeholders(language: str) -> None:
    english, own = said("en"), said(language)

    assert list(own) == list(english)
    for key, text in own.items():
        assert text == text.strip() != "", key
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", english[key])), key
        assert not STEERING.search(text), key
        assert not set(text) & set("'\"`\u00b4"), key
        assert "  " not in text, key
        assert text.endswith((".", "\u3002")) == english[key].endswith("."), key
        assert len(text) <= 2 * len(english[key]) + 16, key


@each
def test_every_letter_is_of_the_languages_script(language: str) -> None:
    script = SCRIPTS.get(language, "LATIN")

    for key, text in said(language).items():
        foreign = [x for x in letters(NAMES.sub("", text)) if not re.match(script, unicodedata.name(x))]
        assert not [x for x in foreign if unicodedata.name(x) != "MODIFIER LETTER"], key


@pytest.mark.parametrize("language", dashboard_languages()[1:])
def test_no_english_is_left_over(language: str) -> None:
    for key, text in said(language).items():
        plain = NAMES.sub("", text).replace("Global Privacy Control", "")
        assert {word.lower() for word in ENGLISH.findall(plain)} - SHARED == set(), key


def test_french_signs_stand_after_a_space_that_does_not_break() -> None:
    for key, text in said("fr").items():
        assert not re.search(r"[^\u00a0\u202f][:;?!\u00bb]|\u00ab[^\u00a0\u202f]", text), key
