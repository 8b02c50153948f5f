"""A log in memory that can be honest or not, for witnesses and followers to look at."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.merkle import consistency_proof, leaf_hash, root_hash
from consent_service.ledger.note import NoteSigner
from consent_service.ledger.witnessing import AddCheckpoint

ORIGIN = "consent.example/shop"


class Log:
    """A growing tree and the key that signs for it; `rewrite` makes another past."""

    def __init__(self, size: int = 0, *, past: str = "a", signer: NoteSigner | None = None) -> None:
        self.signer = signer or NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.generate())
        self.past = past
        self.cosigned = b""
        self.size = size

    def _hashes(self, size: int) -> list[bytes]:
        return [leaf_hash(f"{self.past}{number}".encode()) for number in range(size)]

    def checkpoint(self, size: int | None = None) -> bytes:
        """The signed checkpoint at a size, of now by default."""
        size = self.size if size is None else size
        root = root_hash(self._hashes(size))
        return sign_checkpoint(Checkpoint(origin=self.signer.name, size=size, root=root), self.signer)

    def request(self, old: int, size: int | None = None) -> AddCheckpoint:
        """What the log sends to a witness that saw `old` entries."""
        size = self.size if size is None else size
        proof = tuple(consistency_proof(old, size, self._hashes(size)))
        return AddCheckpoint(old_size=old, proof=proof, checkpoint=self.checkpoint(size))

    def fetch(self, address: str) -> bytes:
        """Answer like the service's ledger routes."""
        parts = urlsplit(address)
        if parts.path == "/v1/ledger/checkpoint":
            return self.cosigned if parts.query else self.checkpoint()
        query = parse_qs(parts.query)
        old, new = int(query["from"][0]), int(query["to"][0])
        steps = consistency_proof(old, new, self._hashes(new))
        return json.dumps({"proof": [base64.b64encode(step).decode() for step in steps]}).encode()
