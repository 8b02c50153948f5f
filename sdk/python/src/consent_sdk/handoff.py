"""Follow a ledger's keys from one that you trust to its newest; needs the extra `consent-sdk[verify]`."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode

from consent_sdk.checkpoint import open_checkpoint
from consent_sdk.errors import InvalidNote, InvalidProof
from consent_sdk.proof import leaf_hash, verify_inclusion

_HEADER = "c2sp.org/tlog-proof@v1"
_MEMBERS = {"opening", "record", "proof"}
_RECORD = {"v", "kind", "what", "version", "vkey", "previous", "recorded_at"}
_OPENING_SIZE = 32


def follow_keys(handoffs: bytes, *, key: str) -> str:
    """Return the ledger's newest key for who trusts `key`; raise `InvalidNote` or `InvalidProof`.

    `handoffs` is the answer of `GET /v1/ledger/handoffs`. Each step from the trusted key on: (1) its record
    hands over from that key to another of the same ledger; (2) a checkpoint that both keys signed has the
    entry of that record. Without a step from it the trusted key is the newest.
    """
    try:
        steps = [_Step(document) for document in json.loads(handoffs)["handoffs"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidNote("Not the answer of GET /v1/ledger/handoffs.") from None
    for step in steps:
        if step.previous == key:
            key = step.verified()
    return key


class _Step:
    __slots__ = ("opening", "previous", "proof", "record", "successor")

    def __init__(self, document: dict[str, str]) -> None:
        record = json.loads(document["record"])
        if document.keys() != _MEMBERS or record.keys() != _RECORD:
            raise ValueError("other members")
        self.opening = bytes.fromhex(document["opening"])
        self.record = document["record"].encode()
        self.proof = document["proof"]
        self.previous, self.successor = record["previous"], record["vkey"]
        if (record["v"], record["kind"], len(self.opening)) != (1, "key", _OPENING_SIZE):
            raise ValueError("another record")

    def verified(self) -> str:
        origin = self.previous.partition("+")[0]
        if not isinstance(self.successor, str) or self.successor.partition("+")[0] != origin:
            raise InvalidNote("The step leads to another ledger's key.")  # (1)
        head, separator, note = self.proof.partition("\n\n")
        header, *lines = head.split("\n")
        index = lines[0].removeprefix("index ") if lines else ""
        if header != _HEADER or not separator or not (index.isascii() and index.isdigit()):
            raise InvalidProof("Not a tlog-proof: header, index and hashes, an empty line and a checkpoint.")
        try:
            hashes = [b64decode(line, validate=True) for line in lines[1:]]
        except ValueError:
            raise InvalidProof("A line of the tlog-proof is not base64.") from None
        for key in (self.previous, self.successor):  # (2)
            checkpoint = open_checkpoint(note.encode(), key=key)
            verify_inclusion(
                index=int(index),
                size=checkpoint.size,
                leaf_hash=leaf_hash(self._leaf(origin)),
                proof=hashes,
                root=checkpoint.root,
            )
        return self.successor

    def _leaf(self, origin: str) -> bytes:
        committed = hmac.digest(b"consent/v1", self.opening + self.record, "sha256")
        document = {"c": b64encode(committed).decode(), "kind": "key", "log": origin, "v": 1}
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
