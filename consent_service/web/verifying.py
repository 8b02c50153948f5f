"""The page at /verify, where a browser checks a pack or a receipt by itself: its words, and its script's."""

import json
from functools import cache
from importlib.resources import files

from consent_service.web.layout import pages
from consent_service.web.words import best_language, direction, own_name, words

_FOLDER = files("consent_service.web") / "verifier_words"
_FIRST = "en"
_STATUSES = {"given": "on", "renewed": "renewed", "refused": "refused", "withdrawn": "withdrawn"}


@cache
def verifier_languages() -> tuple[str, ...]:
    """Return the languages that the page has words in, English first."""
    spoken = {item.name.removesuffix(".json") for item in _FOLDER.iterdir()}
    return (_FIRST, *sorted(spoken - {_FIRST}))


@cache
def _words(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return texts


def verify_link(wanted: str) -> tuple[str, str, str]:
    """Return language, direction and text of a link to the page."""
    language = best_language(wanted, verifier_languages())
    return language, direction(language), _words(language)["title"]


def verify_page(wanted: str, *, script: str, worker: str) -> tuple[str, str]:
    """Return the language taken and the page; `wanted` is a comma-separated list, best first."""
    language = best_language(wanted, verifier_languages())
    texts, spoken = _words(language), words(language)
    text = (
        pages()
        .get_template("verify.html")
        .render(
            language=language,
            direction=direction(language),
            words=texts,
            script_words={**texts, **{status: spoken[key] for status, key in _STATUSES.items()}},
            languages=[(tag, own_name(tag)) for tag in verifier_languages()],
            script=script,
            worker=worker,
        )
    )
    return language, text
