"""What data is used for: purposes, the categories of data they use and the recipients who see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from consent_service.domain.duration import Duration

PurposeKey = NewType("PurposeKey", str)
"""Names a purpose within a tenant, for ever: `[a-z0-9_.-]+`, so that it travels unencoded in a URL."""

CategoryKey = NewType("CategoryKey", str)
"""Names a category of data within a notice: matches `[a-z0-9_.-]+`."""

RecipientKey = NewType("RecipientKey", str)
"""Names a recipient within a notice: matches `[a-z0-9_.-]+`."""

Texts = Mapping[str, str]
"""The same text in every declared language: BCP 47 language tag to text."""


CONSENT_MODE_SIGNALS = (
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "functionality_storage",
    "personalization_storage",
    "security_storage",
)
"""The consent types of Google Consent Mode (support.google.com/analytics/answer/12334711)."""


class Origin(StrEnum):
    """Where data of a category comes from, as the shopper is told; each reaches wider than the one before."""

    TOLD = "told"
    OBSERVED = "observed"
    PARTNER = "partner"


class RecipientRole(StrEnum):
    """What a recipient is in the sense of GDPR Art. 4(7) to 4(10), Art. 26 and Art. 28(4)."""

    PROCESSOR = "processor"
    SUB_PROCESSOR = "sub_processor"
    CONTROLLER = "controller"
    JOINT_CONTROLLER = "joint_controller"
    THIRD_PARTY = "third_party"


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category of personal data; `dpv` is a term of the W3C DPV `pd:` extension."""

    key: CategoryKey
    dpv: str
    origin: Origin
    name: Texts
    special: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Somebody who sees data of a purpose; `country` is an ISO 3166-1 alpha-2 code."""

    key: RecipientKey
    name: str
    role: str
    country: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """One use of data that a subject grants or denies on its own."""

    key: PurposeKey
    version: int
    dpv: str
    name: Texts
    benefit: Texts
    description: Texts
    never: Texts
    if_denied: Texts
    categories: tuple[CategoryKey, ...]
    recipients: tuple[RecipientKey, ...]
    retention: Duration
    validity: Duration
    gpc: bool = False
    consent_mode: tuple[str, ...] = ()
