"""Reads a notice document: everything that must not be published is refused here, all at once.

The rules of a released format version are never tightened: what was published can always be read again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from consent_service.domain.dpv_terms import DATA_TERMS, DPV_VERSION, PURPOSE_TERMS, SPECIAL_TERMS
from consent_service.domain.duration import Duration
from consent_service.domain.findings import MISSING, Findings, at, did_you_mean, kind, one_of, shown
from consent_service.domain.notice import FORMAT, Controller, Notice
from consent_service.domain.purpose import (
    CONSENT_MODE_SIGNALS,
    Category,
    CategoryKey,
    Origin,
    Purpose,
    PurposeKey,
    Recipient,
    RecipientKey,
    RecipientRole,
)
from consent_service.domain.refused_keys import refusal
from consent_service.domain.wording import (
    LONG,
    SENTENCE,
    SHORT,
    contact,
    country,
    https_address,
    jurisdiction,
    language_tag,
    line,
    texts,
)
from consent_service.errors import InvalidDuration, InvalidNotice

DEFAULT_VALIDITY: Final = "P6M"
"""How long a choice holds when the notice does not say: six months, as the CNIL recommends."""

LONGEST_VALIDITY: Final = Duration.parse("P13M")
"""No choice holds for longer than thirteen months."""

LONGEST_RETENTION: Final = Duration.parse("P30Y")
"""Nothing is kept for longer than thirty years."""

MAX_VERSION: Final = 2**31 - 1
"""The highest version of a purpose."""

MOST_LANGUAGES: Final = 50
MOST_CATEGORIES: Final = 200
MOST_RECIPIENTS: Final = 500
MOST_PURPOSES: Final = 100

_KEY = re.compile(r"[a-z0-9_.-]{1,64}")
# Keys of the right characters that would mean something else in a URL path or to JavaScript.
_RESERVED_KEYS = frozenset({".", "..", "__proto__", "constructor"})
_MONTHS_AT_MOST = LONGEST_RETENTION.months

_NOTICE = ("notice", "languages", "controller", "title", "introduction", "categories", "purposes")
_CONTROLLER = ("name", "address", "contact", "url", "jurisdiction")
_CATEGORY = ("dpv", "origin", "name")
_RECIPIENT = ("name", "role", "country")
_PURPOSE_TEXTS = ("name", "benefit", "description", "never", "if_denied")
_PURPOSE = ("version", "dpv", *_PURPOSE_TEXTS, "categories", "retention")
_PURPOSE_DEFAULTS: Mapping[str, object] = {
    "recipients": (),
    "validity": DEFAULT_VALIDITY,
    "gpc": False,
    "consent_mode": (),
}

_Item = TypeVar("_Item")


def parse_notice(document: Mapping[str, object]) -> Notice:
    """Read a notice from the values of its YAML or JSON form; raise `InvalidNotice` with every problem."""
    form = _Form()
    notice = form.notice(document)
    if form.findings.problems:
        raise InvalidNotice(form.findings.problems)
    return notice


@dataclass(slots=True)
class _Form:
    """One reading of one document: what was found wrong, and what later parts refer to."""

    findings: Findings = field(default_factory=Findings)
    languages: tuple[str, ...] = ()
    categories: dict[CategoryKey, Category] = field(default_factory=dict)
    recipients: dict[RecipientKey, Recipient] = field(default_factory=dict)
    declared: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def notice(self, document: object) -> Notice:
        """Read the whole document; the result counts only if nothing was found wrong."""
        value = self._fields(document, "", _NOTICE, {"recipients": {}, "order": None})
        self._format(value["notice"])
        self.languages = self._languages(value["languages"])
        controller = self._controller(value["controller"])
        title = self._texts(value["title"], "title", SHORT)
        introduction = self._texts(value["introduction"], "introduction", LONG)
        self.categories = {
            CategoryKey(key): item
            for key, item in self._keyed(
                value["categories"], "categories", MOST_CATEGORIES, self._category
            ).items()
        }
        self.recipients = {
            RecipientKey(key): item
            for key, item in self._keyed(
                value["recipients"], "recipients", MOST_RECIPIENTS, self._recipient
            ).items()
        }
        purposes = self._keyed(value["purposes"], "purposes", MOST_PURPOSES, self._purpose)
        if not purposes and value["purposes"] == {}:
            self.findings.add(
                "purposes", "is empty; describe at least one purpose, or there is nothing to ask."
            )
        self._distinct_names(list(purposes.values()))
        return Notice(
            languages=self.languages,
            controller=controller,
            title=title,
            introduction=introduction,
            categories=self.categories,
            recipients=self.recipients,
            purposes={PurposeKey(key): purposes[key] for key in self._order(value["order"], list(purposes))},
        )

    def _fields(
        self, value: object, path: str, required: Sequence[str], defaults: Mapping[str, object]
    ) -> dict[str, object]:
        """Return a value for every known key of a mapping; report the keys that are missing or unknown."""
        known = [*required, *defaults]
        if not isinstance(value, Mapping):
            self.findings.mapping(value, path)
            return dict.fromkeys(known, MISSING)
        for key in value:
            if key not in known:
                self.findings.add(at(path, key), refusal(key, known))
        for key in required:
            if key not in value:
                self.findings.add(at(path, key), "is missing; add it.")
        return {key: value.get(key, defaults.get(key, MISSING)) for key in known}

    def _keyed(
        self, value: object, path: str, most: int, read: Callable[[str, object, str], _Item]
    ) -> dict[str, _Item]:
        """Return the items of a mapping of keys such as `coupons` to items, in their order."""
        given = self.findings.mapping(value, path)
        if len(given) > most:
            self.findings.add(path, f"has {len(given)} entries; keep at most {most}.")
            return {}
        self.declared[path] = tuple(key for key in given if isinstance(key, str))
        items: dict[str, _Item] = {}
        for key, item in given.items():
            if key in _RESERVED_KEYS:
                self.findings.add(
                    at(path, key), f"{shown(key)} means something else in a URL or a browser; rename it."
                )
            elif not isinstance(key, str) or not _KEY.fullmatch(key):
                self.findings.add(
                    at(path, key),
                    f"{shown(key)} cannot be a key; use 1 to 64 of the characters a-z 0-9 _ . - "
                    "and quotes where YAML reads something else.",
                )
            items[str(key)] = read(str(key), item, at(path, key))
        return items

    def _format(self, value: object) -> None:
        if value is not MISSING and (isinstance(value, bool) or value != FORMAT):
            given = "" if isinstance(value, int) else f", not {shown(value)}"
            self.findings.add("notice", f"must be {FORMAT}, the only version of this format{given}.")

    def _languages(self, value: object) -> tuple[str, ...]:
        items = self.findings.items(value, "languages", most=MOST_LANGUAGES)
        if not items and isinstance(value, list | tuple) and not value:
            self.findings.add("languages", "is empty; name at least one language, such as [en].")
        tags = [language_tag(self.findings, item, at("languages", index)) for index, item in enumerate(items)]
        return self.findings.without_repeats([tag for tag in tags if tag], "languages")

    def _texts(self, value: object, path: str, most: int) -> Mapping[str, str]:
        return texts(self.findings, value, path, languages=self.languages, most=most)

    def _controller(self, value: object) -> Controller:
        given = self._fields(value, "controller", _CONTROLLER, {})
        return Controller(
            name=line(self.findings, given["name"], "controller.name", most=SHORT),
            address=line(self.findings, given["address"], "controller.address", most=SENTENCE),
            contact=contact(self.findings, given["contact"], "controller.contact"),
            url=https_address(self.findings, given["url"], "controller.url"),
            jurisdiction=jurisdiction(self.findings, given["jurisdiction"], "controller.jurisdiction"),
        )

    def _category(self, key: str, value: object, path: str) -> Category:
        given = self._fields(value, path, _CATEGORY, {"special": False})
        origin = self.findings.word(given["origin"], at(path, "origin"), known=[*Origin])
        category = Category(
            key=CategoryKey(key),
            dpv=self._term(given["dpv"], at(path, "dpv"), DATA_TERMS, "personal data, such as pd:Purchase"),
            origin=Origin(origin or Origin.TOLD),
            name=self._texts(given["name"], at(path, "name"), SHORT),
            special=self.findings.flag(given["special"], at(path, "special")),
        )
        if category.dpv in SPECIAL_TERMS and given["special"] is False:
            self.findings.add(
                at(path, "special"),
                f"{category.dpv} is special-category data (GDPR Art. 9); add special: true or another term.",
            )
        return category

    def _recipient(self, key: str, value: object, path: str) -> Recipient:
        given = self._fields(value, path, _RECIPIENT, {})
        return Recipient(
            key=RecipientKey(key),
            name=line(self.findings, given["name"], at(path, "name"), most=SHORT),
            role=self.findings.word(given["role"], at(path, "role"), known=[*RecipientRole]),
            country=country(self.findings, given["country"], at(path, "country")),
        )

    def _purpose(self, key: str, value: object, path: str) -> Purpose:
        given = self._fields(value, path, _PURPOSE, _PURPOSE_DEFAULTS)
        limits = {"name": SHORT, "description": LONG}
        words = {
            name: self._texts(given[name], at(path, name), limits.get(name, SENTENCE))
            for name in _PURPOSE_TEXTS
        }
        categories = self._references(given["categories"], at(path, "categories"), "categories")
        if given["categories"] in ([], ()):
            self.findings.add(
                at(path, "categories"),
                "is empty; name the data this purpose uses, or there is nothing to consent to.",
            )
        recipients = self._references(given["recipients"], at(path, "recipients"), "recipients")
        return Purpose(
            key=PurposeKey(key),
            version=self.findings.whole_number(given["version"], at(path, "version"), most=MAX_VERSION),
            dpv=self._term(
                given["dpv"], at(path, "dpv"), PURPOSE_TERMS, "a purpose, such as dpv:ServicePersonalisation"
            ),
            name=words["name"],
            benefit=words["benefit"],
            description=words["description"],
            never=words["never"],
            if_denied=words["if_denied"],
            categories=tuple(CategoryKey(item) for item in categories),
            recipients=tuple(RecipientKey(item) for item in recipients),
            retention=self._duration(given["retention"], at(path, "retention"), LONGEST_RETENTION),
            validity=self._validity(given["validity"], at(path, "validity")),
            gpc=self.findings.flag(given["gpc"], at(path, "gpc")),
            consent_mode=self._consent_mode(given["consent_mode"], at(path, "consent_mode")),
        )

    def _term(self, value: object, path: str, known: frozenset[str], sort: str) -> str:
        """Return a DPV term out of `known`; an empty text when `value` is none."""
        if isinstance(value, str) and value in known:
            return value
        if value is not MISSING:
            self.findings.add(
                path,
                f"must be a term of DPV {DPV_VERSION} for {sort}; {shown(value)} is none."
                + did_you_mean(value, known),
            )
        return ""

    def _references(self, value: object, path: str, section: str) -> tuple[str, ...]:
        """Return the keys of a list, each of which is declared in `section`."""
        declared = self.declared.get(section, ())
        found: list[str] = []
        for index, item in enumerate(self.findings.items(value, path, most=MOST_RECIPIENTS)):
            if isinstance(item, str) and item in declared:
                found.append(item)
            else:
                self.findings.add(
                    at(path, index),
                    f"{shown(item)} is not described under {section}; describe it there or remove it here."
                    + did_you_mean(item, declared),
                )
        return self.findings.without_repeats(found, path)

    def _duration(self, value: object, path: str, longest: Duration) -> Duration:
        """Return a duration of at most `longest`; `longest` itself when `value` is none."""
        if value is MISSING:
            return longest
        if not isinstance(value, str):
            self.findings.add(path, f"must be an ISO 8601 duration such as P6M, but it is {kind(value)}.")
            return longest
        try:
            duration = Duration.parse(value)
        except InvalidDuration:
            self.findings.add(
                path, f"must be an ISO 8601 duration such as P6M, P30D or P1Y, not {shown(value)}."
            )
            return longest
        if duration.months > _MONTHS_AT_MOST or not duration.at_most(longest):
            self.findings.add(path, f"must be at most {longest.text}, not {shown(value)}; shorten it.")
            return longest
        return duration

    def _validity(self, value: object, path: str) -> Duration:
        validity = self._duration(value, path, LONGEST_VALIDITY)
        if validity.is_zero:
            self.findings.add(path, f"must be longer than nothing, such as {DEFAULT_VALIDITY}.")
        return validity

    def _consent_mode(self, value: object, path: str) -> tuple[str, ...]:
        items = self.findings.items(value, path, most=len(CONSENT_MODE_SIGNALS) * 2)
        signals = [
            self.findings.word(item, at(path, index), known=CONSENT_MODE_SIGNALS)
            for index, item in enumerate(items)
        ]
        return self.findings.without_repeats([signal for signal in signals if signal], path)

    def _order(self, value: object, purposes: list[str]) -> list[str]:
        """Return the keys of the purposes in the order in which a banner shows them."""
        if value is None:
            return purposes
        order = self._references(value, "order", "purposes")
        if missing := [key for key in purposes if key not in order]:
            self.findings.add(
                "order", f"leaves out {one_of(missing)}; name every purpose once, or leave order out."
            )
        return [key for key in order if key in purposes] + missing

    def _distinct_names(self, purposes: Sequence[Purpose]) -> None:
        """Report purposes that a reader could not tell apart."""
        for tag in self.languages:
            seen: dict[str, PurposeKey] = {}
            for purpose in purposes:
                name = purpose.name.get(tag, "").casefold()
                if name and name in seen:
                    self.findings.add(
                        at(at(at("purposes", purpose.key), "name"), tag),
                        f'is also the name of "{seen[name]}"; call them differently.',
                    )
                seen.setdefault(name, purpose.key)
