"""What a log sends to a witness (C2SP tlog-witness), and what two disagreeing checkpoints prove."""

import re
from dataclasses import dataclass
from typing import Self

from consent_service.errors import InvalidInput, InvalidNote, NotCanonical
from consent_service.ledger.canonical import decode_base64, encode_base64
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.merkle import HASH_SIZE
from consent_service.ledger.note import NoteVerifier

_OLD = re.compile(r"old (0|[1-9]\d{0,18})", re.ASCII)
_LONGEST_PROOF = 63
_MISBEHAVIOUR = "consent-misbehaviour/v1"
_RULE = "=" * 8
_PARTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A request to cosign: the size the witness saw last, the proof from there, the signed checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old_size}", *(encode_base64(step) for step in self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return what `encode` wrote, unverified; raise `InvalidInput` for anything else."""
        head, separator, checkpoint = body.partition(b"\n\n")
        if not separator or not head.isascii():
            raise InvalidInput(
                "Not a request to a witness: an old size, a proof, an empty line, a checkpoint."
            )
        first, *lines = head.decode().split("\n")
        old = _OLD.fullmatch(first)
        if old is None or len(lines) > _LONGEST_PROOF:
            raise InvalidInput(f"A request has an old size and at most {_LONGEST_PROOF} hashes.")
        try:
            proof = tuple(decode_base64(line) for line in lines)
        except NotCanonical:
            raise InvalidInput("A hash of the proof is not base64.") from None
        if any(len(step) != HASH_SIZE for step in proof):
            raise InvalidInput(f"A hash of the proof has {HASH_SIZE} bytes.")
        return cls(old_size=int(old[1]), proof=proof, checkpoint=checkpoint)


def proof_of_misbehaviour(first: bytes, second: bytes, vkey: str) -> bytes:
    """Return two signed checkpoints of one size and different roots as one portable text.

    Raises `InvalidNote` where they prove nothing: see `verify_misbehaviour`.
    """
    document = f"\n{_RULE}\n".join([_MISBEHAVIOUR, vkey, first.decode(), second.decode()]).encode()
    verify_misbehaviour(document, NoteVerifier.parse(vkey))
    return document


def verify_misbehaviour(document: bytes, verifier: NoteVerifier) -> str:
    """Return the origin of the log that contradicted itself; raise `InvalidNote` unless this proves it.

    Nobody but the holder of the key can have made two signed checkpoints of one size with different roots.
    """
    try:
        parts = document.decode().split(f"\n{_RULE}\n")
    except UnicodeDecodeError:
        parts = []
    if len(parts) != _PARTS or parts[0] != _MISBEHAVIOUR:
        raise InvalidNote("This is no proof of misbehaviour.")
    notes = parts[2].encode(), parts[3].encode()
    origin = parts[2].partition("\n")[0]
    first, second = (open_checkpoint(note, verifier, origin=origin) for note in notes)
    if first.size != second.size or first.root == second.root:
        raise InvalidNote("These two checkpoints do not contradict each other.")
    return origin
