"""Keep proof of an erased subject's consent for legal claims: sealed to an auditor's offline key."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from consent_service.domain.subject import ExternalId, SubjectRef
from consent_service.errors import InvalidInput, SealBroken, UnknownEntry
from consent_service.ledger.canonical import canonical_json, parse_json
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.settings import LONGEST_EVIDENCE, Settings
from consent_service.storage.evidence_store import find_evidence
from consent_service.storage.ledger_store import StoredRecord
from consent_service.storage.tenant_store import find_evidence_choice, store_evidence_choice
from consent_service.vault.evidence import open_evidence, parse_evidence_key, seal_evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePolicy:
    """To whom proof is sealed, and for how long it is kept."""

    key: X25519PublicKey
    keep: timedelta


def default_evidence_policy(settings: Settings) -> EvidencePolicy | None:
    """Return the policy of tenants without their own: none unless the settings name an auditor's key.

    Raises `ConfigurationError` for a key that is none.
    """
    if settings.evidence_key is None:
        return None
    return EvidencePolicy(
        key=parse_evidence_key(settings.evidence_key), keep=timedelta(days=settings.evidence_days)
    )


def evidence_policy(deployment: Deployment, tenant: Tenant) -> EvidencePolicy | None:
    """Return the policy in force for a tenant: its own, or else that of the settings."""
    with deployment.database.reading() as connection:
        own = find_evidence_choice(connection, tenant.id)
    if own is None:
        return default_evidence_policy(deployment.settings)
    key, days = own
    return EvidencePolicy(key=parse_evidence_key(key), keep=timedelta(days=days)) if key else None


def set_evidence_policy(
    deployment: Deployment, tenant: Tenant, choice: tuple[str, int] | None
) -> EvidencePolicy | None:
    """Give a tenant an auditor's key and the days that proof is kept, and return the policy in force.

    An empty key keeps nothing; no choice gives the tenant back to the settings. What was sealed before stays.
    Raises `ConfigurationError` for a key that is none, `InvalidInput` for days out of range.
    """
    if choice is not None and choice[0]:
        parse_evidence_key(choice[0])
        if not 1 <= choice[1] <= LONGEST_EVIDENCE:
            raise InvalidInput(f"Proof is kept for 1 to {LONGEST_EVIDENCE} days.")
    with deployment.database.writing() as connection:
        store_evidence_choice(connection, tenant.id, choice)
    return evidence_policy(deployment, tenant)


def seal_proof(
    policy: EvidencePolicy,
    tenant: Tenant,
    index: int,
    subject: tuple[ExternalId, SubjectRef],
    records: Sequence[StoredRecord],
) -> bytes:
    """Return a subject's records and openings, with what she was called, sealed for her erasure."""
    external_id, ref = subject
    document = {
        "v": 1,
        "origin": tenant.origin,
        "erasure": index,
        "external_id": external_id,
        "subject": ref,
        "entries": [
            {
                "index": record.index,
                "opening": base64.b64encode(record.opening).decode("ascii"),
                "record": parse_json(record.body),
            }
            for record in records
        ],
    }
    return seal_evidence(policy.key, canonical_json(document), origin=tenant.origin, index=index)  # type: ignore[arg-type]  # JSON


def read_proof(
    deployment: Deployment, tenant: Tenant, index: int, key: X25519PrivateKey
) -> Mapping[str, Any]:
    """Return the kept proof of an erasure; raise `UnknownEntry`, or `SealBroken` for a wrong key."""
    with deployment.reading(tenant) as scope:
        sealed = find_evidence(scope, index)
    if sealed is None:
        raise UnknownEntry(f"No evidence is kept of an erasure at index {index}.")
    document = parse_json(open_evidence(key, sealed, origin=tenant.origin, index=index))
    if not isinstance(document, dict):
        raise SealBroken("The opened bytes are no evidence.")
    return document
