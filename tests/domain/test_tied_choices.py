"""Prose that ties one choice to another is noticed in four languages, and honest prose is not."""

from collections.abc import Mapping

import pytest

from consent_service.domain.tied_choices import tied_choices
from tests.builders import a_notice

_COUPONS = {
    "en": "Chosen coupons",
    "fr": "Coupons choisis",
    "de": "Coupons für Sie",
    "es": "Cupones elegidos",
}


def doubts_about(language: str, text: str) -> list[str]:
    """Return the paths of the doubts about a notice in which the recommendations' description says this."""
    languages = list(dict.fromkeys(["en", "fr", language]))
    changes: dict[str, object] = {
        path: {tag: words.get(tag, f"Text {number}") for tag in languages}
        for number, (path, words) in enumerate(_texts())
    }
    changes["purposes/recommendations/description"] = dict.fromkeys(languages, "A text") | {language: text}
    changes["purposes/coupons/name"] = {tag: _COUPONS[tag] for tag in languages}
    return [doubt.path for doubt in tied_choices(a_notice(changes, languages=languages))]


def _texts() -> list[tuple[str, Mapping[str, str]]]:
    """Return the path and words of everything that the example notice says."""
    example = a_notice()
    found = [("title", example.title), ("introduction", example.introduction)]
    found += [(f"categories/{key}/name", each.name) for key, each in example.categories.items()]
    return found + [
        (f"purposes/{key}/{field}", getattr(purpose, field))
        for key, purpose in example.purposes.items()
        for field in ("name", "benefit", "description", "never", "if_denied")
    ]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Accepting this requires the other choices too."),
        ("en", "By agreeing you also consent to letters."),
        ("en", "It works only if you also allow letters."),
        ("en", "You must accept this to shop here."),
        ("en", "This needs chosen coupons."),
        ("en", "You get them only with Chosen Coupons."),
        ("de", "Ihre Zustimmung setzt die Werbung voraus."),
        ("de", "Damit stimmen Sie auch der Werbung zu."),
        ("de", "Das gibt es nur, wenn Sie auch der Werbung zustimmen."),
        ("de", "Sie müssen hier zustimmen."),
        ("de", "Das erfordert Coupons für Sie."),
        ("fr", "Accepter ceci suppose les autres choix."),
        ("fr", "En acceptant, vous acceptez aussi les lettres."),
        ("fr", "Vous devez accepter pour acheter."),
        ("fr", "Ceci nécessite les coupons choisis."),
        ("es", "Aceptar esto requiere lo demás."),
        ("es", "Al aceptar, consiente también la publicidad."),
        ("es", "Debe aceptar para comprar."),
        ("es", "Esto necesita Cupones elegidos."),
    ],
)
def test_words_that_tie_one_choice_to_another_are_named(language: str, text: str) -> None:
    assert doubts_about(language, text) == [f"purposes.recommendations.description.{language}"]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "We use this only if you agree. It requires your purchases."),
        ("en", "You do not have to accept. Without it the shop is the same."),
        ("en", "Chosen coupons come by post. We need your address."),
        ("de", "Wir tun das nur, wenn Sie zustimmen. Sie müssen dem nicht zustimmen."),
        ("de", "Das erfordert Ihre Einkäufe. Coupons für Sie kommen mit der Post."),
        ("fr", "Seulement si vous acceptez. Vous pouvez refuser, rien ne change."),
        ("es", "Solo si acepta. No tiene que aceptar nada."),
    ],
)
def test_honest_words_are_not(language: str, text: str) -> None:
    assert doubts_about(language, text) == []


def test_the_example_notice_raises_no_doubt() -> None:
    assert tied_choices(a_notice()) == []
