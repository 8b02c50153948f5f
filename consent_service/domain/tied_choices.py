"""Prose that ties one choice to another: doubts for the author, no refusals, for words can be misread.

Only plain forms in English, German, French and Spanish. A choice that hangs on another is not free (GDPR
Art. 7(2) and Recital 43).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from consent_service.domain.findings import at, shown
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import Purpose, PurposeKey, Texts
from consent_service.errors import NoticeProblem

_SENTENCE = re.compile(r"[^.!?;\n]+")
_SHORTEST_NAME = 4

# By themselves these say that one yes brings another, or that there has to be one.
_TIED: Final[Mapping[str, re.Pattern[str]]] = {
    language: re.compile(pattern.replace(" ", r"\s+").replace("…", r"\b.{0,80}?\b"), re.IGNORECASE)
    for language, pattern in {
        "en": (
            r"\b(?:accepting|agreeing to|consenting to|allowing|granting|saying yes to)…"
            r"(?:requires|implies|includes|presupposes|depends on|(?:also|automatically) means)\b"
            r"|\b(?:by|when|if|once)(?: you)? (?:accept|agree|consent|allow|grant)(?:ing)?\b.{0,80}?"
            r"\byou (?:also|automatically) (?:accept|agree|consent|allow|grant)"
            r"|\b(?:only|unless)…also (?:accept|agree|consent|allow|grant|say yes)"
            r"|\byou (?:must|have to|need to) (?:also )?(?:accept|agree|consent|say yes)\b"
        ),
        "de": (
            r"\b(?:zustimmung|einwilligung|zustimmen|einwilligen|akzeptieren|erlauben|ja)\b.{0,80}?"
            r"\b(?:setzt…voraus|schlie(?:ß|ss)t…(?:ein|mit ein)|bedeutet (?:auch|zugleich))\b"
            r"|\b(?:stimmen|willigen) sie (?:damit )?(?:auch|zugleich|automatisch)\b"
            r"|\bnur,? wenn sie…auch…(?:zustimmen|einwilligen|akzeptieren|erlauben)\b"
            r"|\bsie müssen\b(?!.{0,40}\bnicht\b).{0,80}?\b(?:zustimmen|einwilligen|akzeptieren)\b"
        ),
        "fr": (
            r"\b(?:accepter|consentir|autoriser|votre accord|votre consentement)…"
            r"(?:suppose|implique|nécessite|exige|inclut|entraîne)\b"
            r"|\ben (?:acceptant|consentant|autorisant)…vous…(?:aussi|également|automatiquement)\b"
            r"|\b(?:seulement|uniquement|que) si vous (?:acceptez|consentez|autorisez) (?:aussi|également)\b"
            r"|\bvous devez (?:aussi |également )?(?:accepter|consentir|autoriser)\b"
        ),
        "es": (
            r"\b(?:aceptar|consentir|autorizar|permitir)…(?:requiere|implica|exige|supone|incluye|conlleva)\b"
            r"|\bal (?:aceptar|consentir|autorizar|permitir)…también\b"
            r"|\b(?:solo|sólo|únicamente) si también (?:acepta|consiente|autoriza|permite)s?\b"
            r"|(?<!no\x20)\b(?:debes?|tienes? que) (?:también )?(?:aceptar|consentir|autorizar|permitir)\b"
        ),
    }.items()
}
# These do where the same sentence names another purpose.
_HANGING: Final[Mapping[str, re.Pattern[str]]] = {
    language: re.compile(rf"\b(?:{words})\b".replace(" ", r"\s+"), re.IGNORECASE)
    for language, words in {
        "en": "requires?|needs?|depends on|only (?:if|when|with|together with)|not without|unless",
        "de": "erfordert|verlangt|benötigt|braucht|setzt|nur (?:mit|wenn|zusammen mit)|nicht ohne",
        "fr": "nécessite|exige|suppose|dépend de|seulement (?:si|avec)|uniquement (?:si|avec)|pas sans",
        "es": "requiere|necesita|exige|depende de|(?:solo|sólo|únicamente) (?:si|con)|no sin",
    }.items()
}


def tied_choices(notice: Notice) -> list[NoticeProblem]:
    """Return a doubt for each text that reads as if one choice hung on another."""
    doubts = list(_in_texts(notice.introduction, "introduction", {}))
    for key, purpose in notice.purposes.items():
        others = {name: other for name, other in notice.purposes.items() if name != key}
        for field in ("name", "benefit", "description", "never", "if_denied"):
            path = at(at("purposes", key), field)
            doubts += _in_texts(getattr(purpose, field), path, others)
    return doubts


def _in_texts(texts: Texts, path: str, others: Mapping[PurposeKey, Purpose]) -> Iterator[NoticeProblem]:
    for tag, text in texts.items():
        language = tag.partition("-")[0]
        if language not in _TIED:
            continue
        names = {other.name.get(tag, "").casefold() for other in others.values()}
        for sentence in _SENTENCE.findall(text):
            if _TIED[language].search(sentence) or (
                _HANGING[language].search(sentence) and _names_one(sentence.casefold(), names)
            ):
                message = (
                    "reads as if this choice hung on another, or had to be a yes: "
                    f"{shown(sentence.strip())}; say what this purpose does by itself (GDPR Recital 43)."
                )
                yield NoticeProblem(path=at(path, tag), message=message)
                break


def _names_one(sentence: str, names: set[str]) -> bool:
    return any(
        len(name) >= _SHORTEST_NAME and re.search(rf"\b{re.escape(name)}\b", sentence) for name in names
    )
