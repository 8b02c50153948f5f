"""Our own words on receipts, in packs and about uses: a reviewed JSON file per language, in `languages`."""

import json
from functools import cache
from importlib.resources import files

FALLBACK = "en"
"""The language of our words where we have none in the notice's language."""
RIGHT_TO_LEFT = frozenset({"ar", "arc", "dv", "fa", "he", "ks", "ku", "ps", "sd", "ug", "ur", "yi"})
_ALIASES = {"nb": "no", "nn": "no", "iw": "he"}
_FOLDER = files("consent_service.ledger") / "languages"


def primary(language: str) -> str:
    """Return the primary subtag of a BCP 47 tag in lower case; both forms of Norwegian are `no`."""
    subtag = language.replace("_", "-").partition("-")[0].lower()
    return _ALIASES.get(subtag, subtag)


def direction(language: str) -> str:
    """Return the direction in which a language is written, as HTML names it."""
    return "rtl" if primary(language) in RIGHT_TO_LEFT else "ltr"


@cache
def spoken_languages() -> tuple[str, ...]:
    """Return the languages that we have words in."""
    return tuple(sorted(item.name.removesuffix(".json") for item in _FOLDER.iterdir()))


def spoken(language: str) -> str:
    """Return the language of our words beside those of a notice: its own, or English."""
    own = primary(language)
    return own if own in spoken_languages() else FALLBACK


@cache
def words_of(language: str) -> dict[str, dict[str, str]]:
    """Return our words in one of our languages, by section: `receipt`, `pack`, `uses` and `ways`."""
    sections: dict[str, dict[str, str]] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return sections
