"""Proofs that travel (C2SP tlog-proof): inclusion proof and signed checkpoint in one text.

Whoever holds a leaf, such a proof and the log's public key can check them on a machine without a network.
"""

import re
from dataclasses import dataclass
from typing import Self

from consent_service.errors import InvalidProof, NotCanonical
from consent_service.ledger.canonical import decode_base64, encode_base64
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint
from consent_service.ledger.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from consent_service.ledger.note import NoteVerifier

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9]\d{0,18})", re.ASCII)
_EXTRA = "extra "
_LONGEST_PROOF = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """An entry's index, its inclusion proof and the checkpoint, a signed note kept byte for byte.

    `extra` is for the application and proves nothing by itself: it is not covered by any signature.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """Return the text, UTF-8 encoded; raise `InvalidProof` for a proof that could not be read back."""
        lines = [_HEADER]
        if self.extra:
            lines.append(_EXTRA + encode_base64(self.extra))
        lines.append(f"index {self.index}")
        lines += [encode_base64(each) for each in self.hashes]
        data = "\n".join(lines).encode() + b"\n\n" + self.checkpoint
        if self.parse(data) != self:
            raise InvalidProof("The proof could not be read back.")
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return what `encode` wrote, unverified; raise `InvalidProof` for anything else."""
        head, separator, checkpoint = data.partition(b"\n\n")
        if len(data) > _LONGEST_PROOF or not separator or not head.isascii():
            raise InvalidProof("Not a tlog-proof: header lines, an empty line and a checkpoint.")
        header, *lines = head.decode().split("\n")
        extra = _decode(lines.pop(0).removeprefix(_EXTRA)) if lines and lines[0].startswith(_EXTRA) else b""
        index = _INDEX.fullmatch(lines[0]) if lines else None
        if header != _HEADER or index is None:
            raise InvalidProof(f"A tlog-proof begins with {_HEADER} and has an index line.")
        hashes = tuple(_decode(line) for line in lines[1:])
        if any(len(each) != HASH_SIZE for each in hashes):
            raise InvalidProof(f"The hashes of a tlog-proof have {HASH_SIZE} bytes.")
        return cls(index=int(index[1]), hashes=hashes, checkpoint=checkpoint, extra=extra)

    def verify(self, leaf: bytes, *verifiers: NoteVerifier, origin: str) -> Checkpoint:
        """Return the checkpoint that vouches for `leaf` at `index` in the log `origin`.

        Raises `InvalidNote` when none of the keys signed the checkpoint or it is another log's, and
        `InvalidProof` when the leaf is not where the proof says.
        """
        checkpoint = open_checkpoint(self.checkpoint, *verifiers, origin=origin)  # (1) who says it
        verify_inclusion(  # (2) what they say
            index=self.index,
            size=checkpoint.size,
            leaf_hash=leaf_hash(leaf),
            proof=self.hashes,
            root=checkpoint.root,
        )
        return checkpoint


def _decode(text: str) -> bytes:
    try:
        data = decode_base64(text)
    except NotCanonical:
        data = b""
    if not data:
        raise InvalidProof("A line of the tlog-proof is not base64.")
    return data
