"""Have witnesses outside cosign our checkpoints: what to send them, and what of their answers to keep.

(C2SP tlog-witness and tlog-cosignature.) The sending itself is a follower's work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.errors import InvalidNote
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.cosignature import CosignatureVerifier
from consent_service.ledger.merkle import consistency_proof
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.witnessing import AddCheckpoint
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.storage.cosignature_store import (
    StoredCosignature,
    last_cosigned,
    store_cosignatures,
)
from consent_service.storage.ledger_store import read_head, subtrees

LARGEST_ANSWER = 16_384
"""Bytes of an answer that are worth reading: a witness sends a line for each of its keys."""
_CLOCK_TOLERANCE_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The checkpoint of a log that witnesses are asked to cosign."""

    tenant: Tenant
    size: int
    note: bytes


def due_submission(deployment: Deployment, tenant: Tenant) -> Submission | None:
    """Return the log's latest checkpoint, or `None` for a log without entries."""
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
    return Submission(tenant=tenant, size=head.size, note=head.checkpoint) if head.size else None


def cosigned_size(deployment: Deployment, tenant: Tenant, vkey: str) -> int:
    """Return the size of the largest checkpoint that this witness cosigned, 0 if none."""
    with deployment.reading(tenant) as scope:
        last = last_cosigned(scope, vkey)
    return 0 if last is None else last.size


def add_checkpoint_request(deployment: Deployment, submission: Submission, old_size: int) -> bytes:
    """Return the request that leads a witness from what it saw last to this checkpoint.

    `old_size` is not larger than the checkpoint.
    """
    steps: Sequence[bytes] = ()
    if old_size:
        with deployment.reading(submission.tenant) as scope:
            steps = consistency_proof(old_size, submission.size, subtrees(scope, submission.size))
    return AddCheckpoint(old_size=old_size, proof=tuple(steps), checkpoint=submission.note).encode()


def checked_cosignature(submission: Submission, vkey: str, answer: bytes, now: float) -> StoredCosignature:
    """Return the witness's cosignature out of its answer; raise `InvalidNote` unless it is what we asked for.

    (1) the answer is signature lines, of which one is under this witness's name and key; (2) it verifies over
    our checkpoint: not another's, not an older one's; (3) its time is not in the future. Whatever else the
    answer has is not kept.
    """
    if len(answer) > LARGEST_ANSWER:
        raise InvalidNote("The witness's answer is too long.")
    verifier = CosignatureVerifier.parse(vkey)
    for line in answer.split(b"\n"):
        if not line.startswith(f"\N{EM DASH} {verifier.name} ".encode()):
            continue
        cosigned = submission.note + line + b"\n"
        if not verifier.signed(cosigned):  # (1)
            continue
        seconds = verifier.seen_at(cosigned)  # (2)
        if seconds > now + _CLOCK_TOLERANCE_S:  # (3)
            raise InvalidNote("The witness's clock is ahead of ours.")
        text = line.decode() + "\n"
        return StoredCosignature(size=submission.size, vkey=vkey, line=text, cosigned_at=seconds)
    raise InvalidNote("The witness's answer has no cosignature under its key.")


def keep_cosignatures(
    deployment: Deployment, tenant: Tenant, cosignatures: Sequence[StoredCosignature]
) -> None:
    """Store cosignatures that were checked, each beside the checkpoint that it is on."""
    if not cosignatures:
        return
    with deployment.writing(tenant) as scope:
        store_cosignatures(scope, cosignatures)


def verify_cosignature(note: bytes | None, cosignature: StoredCosignature, tenant: Tenant) -> None:
    """Check a stored cosignature against the stored checkpoint of its size; raise `InvalidNote`."""
    if note is None:
        raise InvalidNote("There is no checkpoint of this size.")
    open_checkpoint(note, *map(NoteVerifier.parse, tenant.vkeys), origin=tenant.origin)
    verifier = CosignatureVerifier.parse(cosignature.vkey)
    if verifier.seen_at(note + cosignature.line.encode()) != cosignature.cosigned_at:
        raise InvalidNote("The cosignature was made at another time.")
