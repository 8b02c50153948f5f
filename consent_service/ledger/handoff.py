"""How one signing key of a log is followed by the next: the old one signs it in.

The key entry names both. The checkpoint of its commit is signed by the old key and by the new one. So who
trusts the old key can check, without asking anybody, that the log itself went over to the new one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from consent_service.errors import InvalidEntry
from consent_service.ledger.canonical import JsonValue
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.record import KeyRecord, decode_record

_MEMBERS = frozenset({"opening", "record", "proof"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """One step from key to key: opening and record of the key entry, and a C2SP tlog-proof of its leaf."""

    opening: bytes
    record: bytes
    proof: bytes

    def document(self) -> dict[str, JsonValue]:
        """Return the JSON form; record and proof are strings, so that their bytes survive."""
        return {"opening": self.opening.hex(), "record": self.record.decode(), "proof": self.proof.decode()}

    @classmethod
    def parse(cls, document: JsonValue) -> Self:
        """Return what `document` wrote, unverified; raise `InvalidEntry` for anything else."""
        if not isinstance(document, dict) or document.keys() != _MEMBERS:
            raise InvalidEntry("A handoff has other members than we write.")
        texts = {key: value for key, value in document.items() if isinstance(value, str)}
        try:
            opening = bytes.fromhex(texts["opening"])
            return cls(opening=opening, record=texts["record"].encode(), proof=texts["proof"].encode())
        except (KeyError, ValueError):
            raise InvalidEntry("A handoff is malformed.") from None

    def verify(self, verifier: NoteVerifier) -> NoteVerifier:
        """Return the next key of the log, for who trusts `verifier`.

        (1) The record hands over from this key to another of the same log. (2) The leaf that commits to it is
        in the tree of a checkpoint that this key signed, (3) and so did the new one.

        Raises `InvalidEntry`, `InvalidProof` or `InvalidNote`.
        """
        record = decode_record(self.record)
        if not isinstance(record, KeyRecord) or record.vkey is None or record.previous != verifier.vkey:
            raise InvalidEntry("This handoff is not from the trusted key to another.")  # (1)
        successor = NoteVerifier.parse(record.vkey)
        if successor.name != verifier.name:
            raise InvalidEntry("A handoff leads to another log's key.")
        entry = leaf(verifier.name, Kind.KEY, commitment(self.opening, self.record))
        proof = TlogProof.parse(self.proof)
        for key in (verifier, successor):  # (2) (3)
            proof.verify(entry, key, origin=verifier.name)
        return successor


def follow_keys(handoffs: Iterable[Handoff], verifier: NoteVerifier) -> NoteVerifier:
    """Return the newest key of a log for who trusts `verifier`; handoffs come in order, the oldest first.

    Those before the trusted key are passed over. Raises as `Handoff.verify`.
    """
    for handoff in handoffs:
        record = decode_record(handoff.record)
        if isinstance(record, KeyRecord) and record.previous == verifier.vkey:
            verifier = handoff.verify(verifier)
    return verifier
