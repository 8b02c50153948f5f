"""The exact words a subject decides about: controller, purposes, categories and recipients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias

from consent_service.domain.purpose import (
    Category,
    CategoryKey,
    Purpose,
    PurposeKey,
    Recipient,
    RecipientKey,
    Texts,
)

FORMAT: Final = 1
"""The version of the notice format that this package reads and writes."""

DocumentValue: TypeAlias = "bool | int | str | list[DocumentValue] | dict[str, DocumentValue] | None"
"""A JSON value without fractions, as a notice's document holds it."""

NoticeDigest = NewType("NoticeDigest", str)
"""SHA-256 of a notice's canonical JSON (RFC 8785), 64 lower-case hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Who decides about the processing (GDPR Art. 4(7)) and how to reach them (Art. 13(1))."""

    name: str
    address: str
    contact: str
    url: str
    jurisdiction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One immutable version of the words."""

    languages: tuple[str, ...]
    controller: Controller
    title: Texts
    introduction: Texts
    categories: Mapping[CategoryKey, Category]
    recipients: Mapping[RecipientKey, Recipient]
    purposes: Mapping[PurposeKey, Purpose]

    def document(self) -> dict[str, DocumentValue]:
        """Return the normalised document that is digested and published: every default written out.

        `parse_notice` reads it back to an equal notice. `order` keeps the order of the purposes, which
        canonical JSON (RFC 8785) would lose by sorting the keys.
        """
        return {
            "notice": FORMAT,
            "languages": list(self.languages),
            "controller": {
                "name": self.controller.name,
                "address": self.controller.address,
                "contact": self.controller.contact,
                "url": self.controller.url,
                "jurisdiction": self.controller.jurisdiction,
            },
            "title": dict(self.title),
            "introduction": dict(self.introduction),
            "categories": {key: _category(category) for key, category in self.categories.items()},
            "recipients": {key: _recipient(recipient) for key, recipient in self.recipients.items()},
            "purposes": {key: _purpose(purpose) for key, purpose in self.purposes.items()},
            "order": list(self.purposes),
        }


def _category(category: Category) -> DocumentValue:
    return {
        "dpv": category.dpv,
        "origin": category.origin.value,
        "name": dict(category.name),
        "special": category.special,
    }


def _recipient(recipient: Recipient) -> DocumentValue:
    return {"name": recipient.name, "role": recipient.role, "country": recipient.country}


def _purpose(purpose: Purpose) -> DocumentValue:
    return {
        "version": purpose.version,
        "dpv": purpose.dpv,
        "name": dict(purpose.name),
        "benefit": dict(purpose.benefit),
        "description": dict(purpose.description),
        "never": dict(purpose.never),
        "if_denied": dict(purpose.if_denied),
        "categories": list(purpose.categories),
        "recipients": list(purpose.recipients),
        "retention": purpose.retention.text,
        "validity": purpose.validity.text,
        "gpc": purpose.gpc,
        "consent_mode": list(purpose.consent_mode),
    }
