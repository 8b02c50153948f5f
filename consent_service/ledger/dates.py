"""How a language writes dates and durations (CLDR, by Babel)."""

from datetime import datetime, timedelta
from typing import Final, Literal

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime, format_timedelta

from consent_service.ledger.words import FALLBACK, primary

_UNITS: Final[dict[str, tuple[Literal["year", "month", "week", "day"], int]]] = {
    "Y": ("year", 365),
    "M": ("month", 30),
    "W": ("week", 7),
    "D": ("day", 1),
}
_MALTESE: Final = {
    # CLDR has only abbreviations: after 2 to 10 the plural, else the singular.
    "Y": ("sena", "snin"),
    "M": ("xahar", "xhur"),
    "W": ("ġimgħa", "ġimgħat"),
    "D": ("jum", "jiem"),
}


def locale_of(language: str) -> Locale:
    """Return the locale of a BCP 47 tag, of its primary language, or English."""
    for tag in (language, primary(language)):
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale(FALLBACK)


def lasting(duration: str, locale: Locale) -> str:
    """Return an ISO 8601 duration in words, its hours and minutes left out: `24 months`."""
    said: list[str] = []
    count = ""
    for character in duration.removeprefix("P").split("T")[0]:
        if character.isdigit():
            count += character
        else:
            said.append(_span(int(count), character, locale))
            count = ""
    return " ".join(said) or _span(1, "D", locale)


def _span(count: int, unit: str, locale: Locale) -> str:
    if locale.language == "mt":
        singular, plural = _MALTESE[unit]
        return f"{count} {plural if 2 <= count <= 10 else singular}"  # noqa: PLR2004  # see the table
    name, days = _UNITS[unit]
    # A threshold beyond every count keeps the unit: 24 months stay months.
    return format_timedelta(
        timedelta(days=count * days), granularity=name, threshold=float("inf"), locale=locale
    )


def moment(when: datetime, locale: Locale) -> str:
    """Return a date and a time of day, in UTC and saying so."""
    return format_datetime(when, "long", locale=locale)
