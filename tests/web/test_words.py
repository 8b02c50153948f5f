"""The interface's own words: complete, neutral, in every language the toolkit promises."""

import json
import re
from importlib.resources import files

import pytest

from consent_service.web.words import best_language, direction, languages, own_name, words

PROMISED = {
    *("bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr"),
    *("hu", "it", "lt", "lv", "mt", "nl", "pl", "pt", "ro", "sk", "sl", "sv"),  # the 24 of the EU
    *("ar", "he", "ja", "no", "tr", "uk"),
}
STEERING = re.compile(r"[!¡❤👍🍪]|\bbest\b|unlock|enhance|we value|amazing|\bhurry\b", re.IGNORECASE)


def read(language: str) -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, str]] = json.loads(
        (files("consent_service.web") / "languages" / f"{language}.json").read_text("utf-8")
    )
    return content


def test_there_are_words_for_the_languages_promised() -> None:
    assert set(languages()) == PROMISED


@pytest.mark.parametrize("language", sorted(PROMISED))
def test_every_language_has_the_same_words_with_the_same_placeholders(language: str) -> None:
    english, own = read("en"), read(language)

    assert {section: list(texts) for section, texts in own.items()} == {
        section: list(texts) for section, texts in english.items()
    }
    for section, texts in own.items():
        for key, text in texts.items():
            assert text.strip() == text, key
            assert text, key
            assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", english[section][key]), key


@pytest.mark.parametrize("language", sorted(PROMISED))
def test_no_language_steers(language: str) -> None:
    for texts in read(language).values():
        for key, text in texts.items():
            assert not STEERING.search(text), key


@pytest.mark.parametrize("language", sorted(PROMISED - {"en"}))
def test_no_language_repeats_the_english(language: str) -> None:
    english, own = read("en"), read(language)

    same = [key for section in own for key in own[section] if own[section][key] == english[section][key]]
    assert same == []


def test_the_page_language_wins_over_the_browsers() -> None:
    assert best_language("fr,en-GB,en", ["en", "fr"]) == "fr"


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("de-AT", "de"),
        ("pt-BR", "pt"),
        ("nb", "no"),
        ("nn-NO", "no"),
        ("xx,sv;q=0.5", "sv"),
        ("", "de"),
        ("xx", "de"),
    ],
)
def test_a_near_language_is_taken_before_the_first(wanted: str, taken: str) -> None:
    assert best_language(wanted, ["de", "pt", "no", "sv"]) == taken


def test_words_of_a_language_nobody_wrote_are_english() -> None:
    assert words("zh")["accept"] == "Accept all"
    assert words("nb")["accept"] == words("no")["accept"]


def test_arabic_and_hebrew_run_from_the_right() -> None:
    assert {tag for tag in languages() if direction(tag) == "rtl"} == {"ar", "he"}


@pytest.mark.parametrize(
    ("language", "duration", "said"),
    [
        ("en", "P24M", "24 months"),
        ("en", "P1M", "1 month"),
        ("pl", "P5M", "5 miesięcy"),
        ("fr", "P1Y2M10D", "1 an 2 mois 10 jours"),
    ],
)
def test_a_duration_is_said_with_the_plural_of_its_language(language: str, duration: str, said: str) -> None:
    assert words(language).lasting(duration).replace("\xa0", " ") == said


@pytest.mark.parametrize("language", sorted(PROMISED))
def test_every_language_has_its_own_word_for_every_unit(language: str) -> None:
    spoken = words(language)

    for unit in "YMWD":
        for count in (1, 2, 3, 5, 11, 24, 100):
            said = spoken.lasting(f"P{count}{unit}")
            assert "duration" not in said
            assert len(said.replace(str(count), "").strip()) >= 1
            if language != "en":
                assert said != words("en").lasting(f"P{count}{unit}") or unit == "W"


def test_a_duration_of_hours_is_said_as_a_day() -> None:
    assert words("en").lasting("PT12H") == "1 day"


def test_a_language_names_itself() -> None:
    assert own_name("fr") == "français"
    assert own_name("xx") == "xx"
