"""Erase a subject: records, openings, keys, values and uses go; the leaves stay; a certificate says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.domain.subject import SubjectRef
from consent_service.errors import ErasureRefused, UnknownSubject
from consent_service.ledger.certificate import ErasureCertificate
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import ErasureRecord
from consent_service.operations.batch import Batch
from consent_service.operations.keep_evidence import EvidencePolicy, seal_proof
from consent_service.operations.tenant import Subject
from consent_service.storage.evidence_store import store_evidence
from consent_service.storage.subject_store import to_ms
from consent_service.storage.vault_store import store_tombstones

# What the certificate calls the rows of each table.
_NAMES = {
    "record": "records",
    "subject": "subjects",
    "key_grant": "key_grants",
    "profile_value": "values",
    "subject_key": "subject_keys",
    "use_day": "days_of_uses",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureAnswer:
    """The entry of an erasure, its record and signed certificate; `ref` is what the subject was called."""

    index: int
    record: ErasureRecord
    certificate: str
    ref: SubjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseSubject:
    """A subject, to be erased with all the anonymous ones that are linked to her.

    With `evidence`, proof of her consents is kept for a while, sealed to somebody who is not here.
    """

    subject: Subject
    evidence: EvidencePolicy | None = None

    @property
    def subjects(self) -> Sequence[Subject]:
        """The one subject who goes."""
        return (self.subject,)

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        """None: there is nobody left to erase twice."""
        return ()

    def perform(self, batch: Batch) -> ErasureAnswer:
        """Erase her and append the erasure; raise `UnknownSubject`, or `ErasureRefused` for a linked one."""
        known = batch.subject(self.subject)
        if known is None:
            raise UnknownSubject("Nothing is held about this subject.")
        if known.linked_to is not None:
            raise ErasureRefused("This subject is linked to a known one: erase that one.")
        erased = batch.erase(known)
        kept_until = None
        if self.evidence is not None:
            kept_until = batch.now + self.evidence.keep
            called = (self.subject.external_id, known.ref)
            sealed = seal_proof(self.evidence, batch.tenant, batch.size, called, erased.records)
            store_evidence(batch.scope, batch.size, sealed, keep_until_ms=to_ms(kept_until))
        record = ErasureRecord(
            destroyed={_NAMES[table]: rows for table, rows in erased.destroyed.items()},
            recorded_at=batch.now,
            evidence_until=kept_until,
        )
        index = batch.append(Kind.ERASURE, record.encode())
        store_tombstones(batch.scope, index, erased.refs, erased_at_ms=to_ms(batch.now))
        certificate = ErasureCertificate(
            origin=batch.tenant.origin,
            index=index,
            subject=known.ref,
            opening=batch.opening(index),
            record=record,
        )
        signed = certificate.sign(batch.tenant.signer)
        return ErasureAnswer(index=index, record=record, certificate=signed, ref=known.ref)
