"""The exact words a subject decides about: controller, purposes, categories and recipients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from consent_service.domain.purpose import (
    Category,
    CategoryKey,
    Purpose,
    PurposeKey,
    Recipient,
    RecipientKey,
    Texts,
)

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
