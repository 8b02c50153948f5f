"""A receipt in the form of Kantara Consent Receipt v1.1, for programs that read no other.

That form knows grants only: no refusal, no withdrawal, no version of the notice. It is an export; the JSON-LD
form is the receipt. The evidence travels in a member of its own, which the schema allows.
"""

from collections.abc import Mapping

from consent_service.domain.consent import GRANTING
from consent_service.domain.purpose import Purpose
from consent_service.errors import NoSuchForm
from consent_service.ledger.canonical import JsonValue
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.record import format_time

MEDIA_TYPE = "application/vnd.kantara.consent-receipt+json"
VERSION = "KI-CR-v1.1.0"
# Purpose categories of the Kantara specification, by the term a purpose has in DPV; the rest is "other".
_MARKETING = "6 - Marketing"
_PERSONALIZE = "5 - Personalize Experience"
_SUPPORT = "1 - Core Function"
_CATEGORIES: Mapping[str, str] = {
    "dpv:Advertising": _MARKETING,
    "dpv:DirectMarketing": _MARKETING,
    "dpv:Marketing": _MARKETING,
    "dpv:PersonalisedAdvertising": _MARKETING,
    "dpv:TargetedAdvertising": _MARKETING,
    "dpv:CustomerCare": _SUPPORT,
    "dpv:CommunicationForCustomerCare": _SUPPORT,
}


def kantara(receipt: Receipt) -> dict[str, JsonValue]:
    """Return the receipt of what was granted; raise `NoSuchForm` where a decision granted nothing."""
    granted = [purpose for purpose, outcome in receipt.outcomes() if outcome.status in GRANTING]
    if not granted:
        raise NoSuchForm("Kantara v1.1 has no form for refusals: ask for another form of this receipt.")
    controller = receipt.notice.controller
    special = [
        category.key
        for category in receipt.notice.categories.values()
        if category.special and any(category.key in purpose.categories for purpose in granted)
    ]
    return {
        "version": VERSION,
        "jurisdiction": controller.jurisdiction,
        "consentTimestamp": int(receipt.record.decision.decided_at.timestamp()),
        "collectionMethod": f"{receipt.record.decision.method} ({receipt.record.decision.source})",
        "consentReceiptID": receipt.identifier(),
        "publicKey": receipt.evidence.vkey,
        "language": receipt.language,
        "piiPrincipalId": receipt.record.subject,
        "piiControllers": [
            {
                "piiController": controller.name,
                "contact": controller.contact,
                "address": {"streetAddress": controller.address},
                "email": controller.contact,
                "phone": "",  # the notice has no telephone number, the schema wants the member
                "piiControllerUrl": controller.url,
            }
        ],
        "policyUrl": controller.url,
        "services": [
            {
                "service": receipt.text(receipt.notice.title),
                "purposes": [_purpose(receipt, purpose) for purpose in granted],
            }
        ],
        "sensitive": bool(special),
        "spiCat": list(special),
        "evidence": receipt.evidence.document(),
    }


def _purpose(receipt: Receipt, purpose: Purpose) -> dict[str, JsonValue]:
    until = format_time(receipt.record.consents[purpose.key].valid_until)
    third_parties = [receipt.notice.recipients[key].name for key in purpose.recipients]
    document: dict[str, JsonValue] = {
        "purpose": receipt.text(purpose.name),
        "consentType": "EXPLICIT",
        "purposeCategory": [_CATEGORIES.get(purpose.dpv, _PERSONALIZE)],
        "piiCategory": [receipt.text(receipt.notice.categories[key].name) for key in purpose.categories],
        "primaryPurpose": False,
        "termination": f"{until}, or any time before at {receipt.preferences_url}",
        "thirdPartyDisclosure": bool(third_parties),
    }
    if third_parties:
        document["thirdPartyName"] = ", ".join(third_parties)
    return document
