"""The words and addresses in a notice: readable by a person, complete in every language, free of tricks."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from consent_service.domain.findings import MISSING, Findings, at, did_you_mean, kind, shown
from consent_service.domain.purpose import Texts

SHORT: Final = 120
"""Longest name or title, in characters."""

SENTENCE: Final = 500
"""Longest benefit, `never`, `if_denied`, or postal address, in characters."""

LONG: Final = 4000
"""Longest introduction or description, in characters."""

# RFC 5646 section 2.1, without grandfathered and purely private tags, in the case of section 2.1.1.
_LANGUAGE = re.compile(
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?"
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?"
)
_MAX_LANGUAGE = 35
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_MAX_EMAIL = 254
_TELEPHONE = re.compile(r"tel:\+[0-9](-?[0-9]){4,14}")
_HOST = re.compile(r"([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.|$))+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_MAX_URL = 2000
_COUNTRY = re.compile(r"[A-Z]{2}")
_JURISDICTION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")

# What nobody sees, and what changes the order of what is read: controls, lone surrogates and private
# characters (Unicode's Cc, Cs and Co, which never change), embeddings, overrides and isolates (UAX #9,
# section 2), line and paragraph separators, the byte order mark, and the invisible tag characters.
_HIDDEN_IN_LINES = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
    "\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\U000e0000-\U000e007f"
)
_HIDDEN: Final = {
    lines: re.compile(f"[{_HIDDEN_IN_LINES}{'' if lines else chr(10)}]") for lines in (True, False)
}
"""What a text may not have, by whether it may have several lines."""


def language_tag(findings: Findings, value: object, path: str) -> str:
    """Return a well-formed BCP 47 tag; an empty text when `value` is none."""
    if isinstance(value, str) and len(value) <= _MAX_LANGUAGE and _LANGUAGE.fullmatch(value):
        return value
    if value is not MISSING:
        findings.add(
            path,
            f"must be a language tag of BCP 47 in its usual case, such as en, pt-BR or zh-Hant, "
            f"not {shown(value)}; put it in quotes if YAML reads it as something else.",
        )
    return ""


def line(findings: Findings, value: object, path: str, *, most: int) -> str:
    """Return one line of readable text without the spaces around it; an empty text when `value` is none."""
    return _readable(findings, value, path, most=most, lines=False)


def texts(findings: Findings, value: object, path: str, *, languages: Sequence[str], most: int) -> Texts:
    """Return the same text in every declared language, in their order; short texts are one line each."""
    if isinstance(value, str):
        findings.add(path, f"must say it in each language: {{{': …, '.join(languages) or 'en'}: …}}.")
        return {}
    if value is MISSING:
        return {}
    given = findings.mapping(value, path)
    if not isinstance(value, Mapping):
        return {}
    for tag in given:
        if languages and tag not in languages:
            findings.add(
                at(path, tag),
                f"{shown(tag)} is not declared; add it to languages or remove this text."
                + did_you_mean(tag, languages),
            )
    read: dict[str, str] = {}
    for tag in languages:
        if tag in given:
            read[tag] = _readable(findings, given[tag], at(path, tag), most=most, lines=most > SHORT)
        else:
            findings.add(
                at(path, tag), f"is missing; write this text in {tag} or take {tag} out of languages."
            )
    return read


def contact(findings: Findings, value: object, path: str) -> str:
    """Return an e-mail address, an https address or a `tel:` number; an empty text when `value` is none."""
    if isinstance(value, str):
        if len(value) <= _MAX_EMAIL and _EMAIL.fullmatch(value):
            return value
        if _TELEPHONE.fullmatch(value) or _is_https(value):
            return value
    if value is not MISSING:
        findings.add(
            path,
            "must be a way to reach you: an e-mail address (privacy@shop.example), an https:// address "
            f"or a tel:+… number, not {shown(value)}.",
        )
    return ""


def https_address(findings: Findings, value: object, path: str) -> str:
    """Return an absolute https URL (RFC 3986, ASCII) that names a host and nobody's password."""
    if isinstance(value, str) and _is_https(value):
        return value
    if value is not MISSING:
        findings.add(
            path,
            "must be an absolute https:// address in ASCII (write other letters as %XX or xn--…), "
            f"not {shown(value)}.",
        )
    return ""


def country(findings: Findings, value: object, path: str) -> str:
    """Return a code of the shape of ISO 3166-1 alpha-2."""
    return _code(findings, value, path, "FR", _COUNTRY)


def jurisdiction(findings: Findings, value: object, path: str) -> str:
    """Return a code of the shape of ISO 3166-1 alpha-2 or ISO 3166-2, or EU."""
    return _code(findings, value, path, "EU, FR or US-CA", _JURISDICTION)


def _code(findings: Findings, value: object, path: str, example: str, form: re.Pattern[str]) -> str:
    if isinstance(value, str) and form.fullmatch(value) and value != "UK":
        return value
    if value is not MISSING:
        hint = " The United Kingdom is GB." if value == "UK" else ""
        findings.add(path, f"must be a code of ISO 3166 such as {example}, not {shown(value)}.{hint}")
    return ""


def _readable(findings: Findings, value: object, path: str, *, most: int, lines: bool) -> str:
    """Return a text that a person can read, stripped; report the first thing that is wrong with it."""
    if value is MISSING:
        return ""
    if not isinstance(value, str):
        findings.add(path, f"must be a text, but it is {kind(value)}; put it in quotes if it is one.")
        return ""
    text = value.strip()
    if len(text) > most:
        findings.add(path, f"has {len(text)} characters; shorten it to {most}.")
    elif not any(unicodedata.category(c)[0] in "LN" for c in text):
        findings.add(path, "says nothing; write it in words.")
    elif hidden := _HIDDEN[lines].search(text):
        where = " (a line break; keep this text on one line)" if hidden[0] == "\n" else ""
        findings.add(
            path, f"has the character U+{ord(hidden[0]):04X}, which readers cannot see{where}; remove it."
        )
    return text


def _is_https(text: str) -> bool:
    if not (text.startswith("https://") and len(text) <= _MAX_URL and _URL_CHARACTERS.fullmatch(text)):
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    return parts.username is None and _HOST.fullmatch(host) is not None
