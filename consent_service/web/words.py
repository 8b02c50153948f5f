"""The interface's own words: one reviewed JSON file per language, beside this module."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from babel import Locale
from babel.dates import format_date

from consent_service.ledger.dates import lasting, locale_of, moment
from consent_service.ledger.words import primary

FALLBACK: Final = "en"
"""The language of the words where the toolkit has none in the notice's language."""

_RIGHT_TO_LEFT: Final = frozenset({"ar", "fa", "he", "ps", "sd", "ug", "ur", "yi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the interface says in one language, and how that language writes dates and numbers."""

    language: str
    texts: Mapping[str, str]
    locale: Locale

    def __getitem__(self, key: str) -> str:
        """Return one text; raise `KeyError` for a key that no language has."""
        return self.texts[key]

    def say(self, key: str, **values: str | int) -> str:
        """Return a text with its `{placeholders}` filled."""
        return self.texts[key].format(**values)

    def lasting(self, duration: str) -> str:
        """Return an ISO 8601 duration in words, its hours and minutes left out: `24 months`."""
        return lasting(duration, self.locale)

    def country(self, code: str) -> str:
        """Return the name of an ISO 3166-1 country, or the code where CLDR has no name."""
        return str(self.locale.territories.get(code, code))

    def day(self, when: datetime) -> str:
        """Return a date, in UTC."""
        return format_date(when, "medium", locale=self.locale)

    def moment(self, when: datetime) -> str:
        """Return a date and a time of day, in UTC and saying so."""
        return moment(when, self.locale)


def direction(language: str) -> Literal["ltr", "rtl"]:
    """Return the direction in which a language is written."""
    return "rtl" if primary(language) in _RIGHT_TO_LEFT else "ltr"


def best_language(wanted: str, offered: Sequence[str]) -> str:
    """Return the offered tag that fits a comma-separated wish list best, or the first one offered.

    A wish fits the same tag, then the same primary language (RFC 4647 lookup, and one step to a sibling).
    Quality values, as in `Accept-Language`, are read as order only.
    """
    for wish in (part.split(";")[0].strip() for part in wanted.split(",")):
        for same in (str.lower, primary):
            for tag in offered:
                if wish and same(tag) == same(wish):
                    return tag
    return offered[0]


def own_name(language: str) -> str:
    """Return a language's name in itself: `français`."""
    locale = locale_of(language)
    return (
        (locale.get_display_name() or language) if primary(language) == primary(locale.language) else language
    )


@cache
def languages() -> tuple[str, ...]:
    """Return the languages the interface has words in."""
    folder = files("consent_service.web") / "languages"
    return tuple(sorted(item.name.removesuffix(".json") for item in folder.iterdir()))


@cache
def words(language: str) -> Words:
    """Return the interface's words in a language: its own, its primary language's, or English."""
    known = best_language(f"{language},{FALLBACK}", languages())
    path = files("consent_service.web") / "languages" / f"{known}.json"
    sections: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    texts = {key: text for section in sections.values() for key, text in section.items()}
    return Words(
        language=known, texts=texts, locale=locale_of(language if primary(language) == known else known)
    )


def names_of(items: Iterable[str]) -> str:
    """Return names in one line."""
    return ", ".join(items)
