"""Receipts for tests: a small log in memory, and one decision in it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.domain.consent import NOBODY, DecisionEntry, apply
from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from consent_service.ledger.note import NoteSigner
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.receipt import Evidence, Receipt
from consent_service.ledger.record import DecisionRecord, Outcome
from tests.builders import a_notice

ORIGIN = "consent.example/shop"
SIGNER = NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
DECIDED_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
INDEX, SIZE = 5, 9
CHOICES = {"recommendations": "granted", "coupons": "denied"}


def a_receipt(
    notice: Notice | None = None,
    choices: Mapping[str, str] = CHOICES,
    *,
    language: str = "en",
    preferences_url: str = "https://shop.example/choices",
    storage_country: str | None = "FR",
    begins: bytes = b"{",
) -> Receipt:
    """Return the receipt of a decision at index 5 of a log of 9 entries, whose notice `begins` so."""
    notice = notice or a_notice()
    words = begins + canonical_json(notice.document())[1:]
    decision = Decision(
        notice=NoticeDigest(sha256(words).hexdigest()),
        choices={PurposeKey(key): Choice(choice) for key, choice in choices.items()},
        decided_at=DECIDED_AT,
        method="save",
        source="banner",
        language=language,
        actor="subject",
    )
    recorded_at = DECIDED_AT + timedelta(seconds=1)
    entry = DecisionEntry(decision=decision, notice=notice, recorded_at=recorded_at, index=INDEX)
    state = apply(NOBODY, entry)
    record = DecisionRecord(
        subject=SubjectRef("s_0123456789abcdefghijkl"),
        decision=decision,
        consents={
            key: Outcome(status=state.consents[key].status, valid_until=state.consents[key].valid_until)
            for key in decision.choices
        },
        recorded_at=recorded_at,
        prev=None,
    )
    return Receipt(
        evidence=_evidence(record, words),
        record=record,
        notice=notice,
        published_at=DECIDED_AT - timedelta(days=1),
        issued_at=DECIDED_AT + timedelta(days=1),
        preferences_url=preferences_url,
        storage_country=storage_country,
    )


def _evidence(record: DecisionRecord, words: bytes) -> Evidence:
    opening = bytes(range(100, 132))
    body = record.encode()
    mine = leaf(ORIGIN, Kind.DECISION, commitment(opening, body))
    leaves = [leaf(ORIGIN, Kind.DECISION, bytes([n]) * 32) for n in range(SIZE)]
    leaves[INDEX] = mine
    hashes = [leaf_hash(each) for each in leaves]
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=SIZE, root=root_hash(hashes)), SIGNER)
    proof = TlogProof(index=INDEX, hashes=tuple(inclusion_proof(INDEX, SIZE, hashes)), checkpoint=note)
    return Evidence(
        origin=ORIGIN,
        vkey=SIGNER.vkey,
        index=INDEX,
        leaf=mine,
        opening=opening,
        record=body,
        notice=words,
        proof=proof.encode(),
    )
