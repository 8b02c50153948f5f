"""A receipt as ISO/IEC TS 27560 in the terms of the W3C Data Privacy Vocabulary (DPV) 2.3, as JSON-LD.

Profile `receipt-eu-gdpr` of the W3C guide "consent-27560": one consent record per purpose, each with notice,
process, parties and consent status. Only terms that DPV 2.3 defines; lists, never repeated keys. The evidence
is one JSON literal, so that a JSON-LD processor keeps it as it is.
"""

import base64
from collections.abc import Mapping

from consent_service.domain.consent import Status
from consent_service.domain.purpose import Category, Origin, Purpose, Recipient, RecipientRole
from consent_service.ledger.canonical import JsonValue
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.record import Outcome, format_time

MEDIA_TYPE = "application/ld+json"
EVIDENCE_IRI = "urn:consent-toolkit:evidence:v1"
"""Names the property under which a receipt carries its evidence."""

_CONTEXT: dict[str, JsonValue] = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "dpv-27560": "https://w3id.org/dpv/schema/dpv-27560#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "evidence": {"@id": EVIDENCE_IRI, "@type": "@json"},
    "loc": "https://w3id.org/dpv/loc#",
    "pd": "https://w3id.org/dpv/pd#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_STATUSES: Mapping[Status, str] = {
    Status.GIVEN: "dpv:ConsentGiven",
    Status.RENEWED: "dpv:RenewedConsentGiven",
    Status.REFUSED: "dpv:ConsentRefused",
    Status.WITHDRAWN: "dpv:ConsentWithdrawn",
    Status.EXPIRED: "dpv:ConsentExpired",
    Status.UNKNOWN: "dpv:ConsentUnknown",
}
_SOURCES: Mapping[Origin, str] = {
    Origin.TOLD: "dpv:DataSubjectDataSource",
    Origin.OBSERVED: "dpv:DataSubjectDataSource",
    Origin.PARTNER: "dpv:ThirdPartyDataSource",
}
_ROLES: Mapping[str, str] = {
    RecipientRole.PROCESSOR: "dpv:DataProcessor",
    RecipientRole.SUB_PROCESSOR: "dpv:DataSubProcessor",
    RecipientRole.CONTROLLER: "dpv:DataController",
    RecipientRole.JOINT_CONTROLLER: "dpv:JointDataControllers",
    RecipientRole.THIRD_PARTY: "dpv:ThirdParty",
}
_RIGHTS = ("A7-3", "A15", "A16", "A17", "A18", "A20", "A21", "A22", "A77")
_CONTROLLER, _SUBJECT = "_:controller", "_:subject"

Node = dict[str, JsonValue]


def json_ld(receipt: Receipt) -> Node:
    """Return the receipt as a JSON-LD document with its own context: nothing has to be fetched to read it."""
    identifier = receipt.identifier()
    return {
        "@context": _CONTEXT,
        "@id": f"urn:uuid:{identifier}",
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": identifier,
        "dpv:hasIdentifier": identifier,
        "dct:conformsTo": {"@id": "dpv-27560:receipt-eu-gdpr"},
        "dct:created": _moment(format_time(receipt.issued_at)),
        "dct:language": receipt.language,
        "dct:publisher": {"@id": _CONTROLLER},
        "schema:recipient": {"@id": _SUBJECT},
        "dpv:hasEntity": _parties(receipt),
        "dpv:hasRecordOfActivity": [
            _record(receipt, purpose, outcome) for purpose, outcome in receipt.outcomes()
        ],
        "evidence": receipt.evidence.document(),
    }


def _record(receipt: Receipt, purpose: Purpose, outcome: Outcome) -> Node:
    identifier = receipt.identifier(purpose.key)
    return {
        "@id": f"urn:uuid:{identifier}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": identifier,
        "dpv:hasIdentifier": identifier,
        "dct:conformsTo": {"@id": "dpv-27560:record-eu-gdpr"},
        "dct:language": receipt.language,
        "dpv:hasDataSubject": {"@id": _SUBJECT},
        "dpv:hasDataController": {"@id": _CONTROLLER},
        "dpv:hasJurisdiction": {"@id": f"loc:{receipt.notice.controller.jurisdiction}"},
        "dpv:hasLegalBasis": {"@id": "dpv:ExpressedConsent"},
        "dpv:hasNotice": _notice(receipt),
        "dpv:hasProcess": [_process(receipt, purpose)],
        "dpv:hasConsentStatus": [_status(receipt, purpose, outcome)],
    }


def _notice(receipt: Receipt) -> Node:
    digest = bytes.fromhex(receipt.record.decision.notice)
    name = base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    return {
        "@id": f"ni:///sha-256;{name}",  # RFC 6920: named by its own hash
        "@type": "dpv:ConsentNotice",
        "dct:identifier": receipt.record.decision.notice,
        "dct:date": _moment(format_time(receipt.published_at)),
        "dct:coverage": {"@id": f"loc:{receipt.notice.controller.jurisdiction}"},
        "dct:language": receipt.language,
        "dct:title": _words(receipt, receipt.text(receipt.notice.title)),
    }


def _process(receipt: Receipt, purpose: Purpose) -> Node:
    notice = receipt.notice
    categories = [notice.categories[key] for key in purpose.categories]
    bases: list[JsonValue] = [{"@id": "eu-gdpr:A6-1-a"}]
    if any(category.special for category in categories):
        bases.append({"@id": "eu-gdpr:A9-2-a"})
    recipients: list[JsonValue] = [{"@id": _CONTROLLER}]
    recipients += [{"@id": f"_:recipient-{key}"} for key in purpose.recipients]
    return {
        "@type": "dpv:Process",
        "dct:identifier": purpose.key,
        "dct:hasVersion": purpose.version,
        "dct:title": _words(receipt, receipt.text(purpose.name)),
        "dct:description": _words(receipt, receipt.text(purpose.description)),
        "dpv:hasService": {"@type": "dpv:Service", "dct:title": _words(receipt, receipt.text(notice.title))},
        "dpv:hasPurpose": [{"@id": purpose.dpv}],
        "dpv:hasLegalBasis": bases,
        "dpv:hasPersonalData": [_personal_data(receipt, category) for category in categories],
        "dpv:hasDataController": {"@id": _CONTROLLER},
        "dpv:hasDataSource": [{"@id": iri} for iri in sorted({_SOURCES[each.origin] for each in categories})],
        "dpv:hasProcessing": [{"@id": "dpv:Collect"}, {"@id": "dpv:Use"}],
        "dpv:hasProcessingCondition": [
            {"@type": "dpv:ProcessingLocation", "dpv:hasLocation": _place(receipt)}
        ],
        "dpv:hasRecipient": recipients,
        "dpv:hasRule": [
            {
                "@type": "dpv:Prohibition",
                "dct:description": _words(receipt, receipt.text(purpose.never)),
            }
        ],
        "dpv:hasStorageCondition": _storage(receipt, purpose),
        "dpv:hasConsentControl": [_exercised(receipt, "dpv:WithdrawConsent")],
        "dpv:hasJurisdiction": {"@id": f"loc:{notice.controller.jurisdiction}"},
        "dpv:hasRight": [_exercised(receipt, f"eu-gdpr:{right}") for right in _RIGHTS],
    }


def _personal_data(receipt: Receipt, category: Category) -> Node:
    kinds: list[JsonValue] = [category.dpv]
    if category.special:
        kinds.append("dpv:SpecialCategoryPersonalData")
    return {
        "@type": kinds,
        "dct:identifier": category.key,
        "dct:title": _words(receipt, receipt.text(category.name)),
        "dpv:hasDataSource": {"@id": _SOURCES[category.origin]},
        "dpv:hasNecessity": {"@id": "dpv:Optional"},
    }


def _storage(receipt: Receipt, purpose: Purpose) -> list[JsonValue]:
    retention: JsonValue = _duration("dpv:TemporalDuration", purpose.retention.text, "xsd:duration")
    return [
        {"@type": "dpv:StorageLocation", "dpv:hasLocation": _place(receipt)},
        {"@type": "dpv:StorageDuration", "dpv:hasDuration": retention},
        {"@type": "dpv:StorageDeletion", "dpv:hasDuration": retention},
    ]


def _place(receipt: Receipt) -> Node:
    """Where data is: the country that the shop names, else a place that its privacy page describes."""
    if receipt.storage_country is not None:
        return {"@id": f"loc:{receipt.storage_country}"}
    return {"@type": "dpv:Location", "schema:url": {"@id": receipt.notice.controller.url}}


def _exercised(receipt: Receipt, kind: str) -> Node:
    return {"@type": kind, "dpv:isExercisedAt": {"@id": receipt.preferences_url}}


def _status(receipt: Receipt, purpose: Purpose, outcome: Outcome) -> Node:
    record = receipt.record
    indicated_by = _SUBJECT if record.decision.actor == "subject" else _CONTROLLER
    kinds: list[JsonValue] = [_STATUSES[outcome.status], "dpv:ExpressedConsent"]
    if any(receipt.notice.categories[key].special for key in purpose.categories):
        kinds.append("dpv:ExplicitlyExpressedConsent")  # what Art. 9(2)(a) asks for
    return {
        "@type": kinds,
        "dpv:isIndicatedAtTime": _moment(format_time(record.decision.decided_at)),
        "dpv:isIndicatedBy": {"@id": indicated_by},
        "dpv:hasIndicationMethod": f"{record.decision.method} ({record.decision.source})",
        "dpv:isExercisedAt": {"@id": receipt.preferences_url},
        "dpv:hasDuration": [
            _duration("dpv:TemporalDuration", purpose.validity.text, "xsd:duration"),
            _duration("dpv:UntilTimeDuration", format_time(outcome.valid_until), "xsd:dateTime"),
        ],
    }


def _parties(receipt: Receipt) -> list[JsonValue]:
    controller = receipt.notice.controller
    used = {key for purpose, _ in receipt.outcomes() for key in purpose.recipients}
    parties: list[JsonValue] = [
        {
            "@id": _SUBJECT,
            "@type": "dpv:DataSubject",
            "dct:identifier": receipt.record.subject,
            "dpv:hasIdentifier": receipt.record.subject,
        },
        {
            "@id": _CONTROLLER,
            "@type": "dpv:DataController",
            "dpv:hasIdentifier": controller.url,
            "dpv:hasName": controller.name,
            "dpv:hasAddress": controller.address,
            "dpv:hasContact": controller.contact,
            "schema:address": {"@type": "schema:PostalAddress", "schema:streetAddress": controller.address},
            "schema:contactPoint": {"@type": "schema:ContactPoint", "schema:email": controller.contact},
            "schema:url": {"@id": controller.url},
        },
    ]
    return parties + [
        _recipient(key, recipient) for key, recipient in receipt.notice.recipients.items() if key in used
    ]


def _recipient(key: str, recipient: Recipient) -> Node:
    return {
        "@id": f"_:recipient-{key}",
        "@type": [_ROLES[recipient.role], "dpv:Recipient"],
        "dpv:hasIdentifier": key,
        "dpv:hasName": recipient.name,
        "dpv:hasCountry": {"@id": f"loc:{recipient.country}"},
    }


def _words(receipt: Receipt, text: str) -> Node:
    return {"@value": text, "@language": receipt.language.lower()}


def _moment(text: str) -> Node:
    return {"@value": text, "@type": "xsd:dateTime"}


def _duration(kind: str, value: str, datatype: str) -> Node:
    return {"@type": kind, "rdf:value": {"@value": value, "@type": datatype}}
