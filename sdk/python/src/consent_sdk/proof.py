"""Check the ledger's Merkle proofs without trusting the service (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

Standard library only. Nothing returns a truth value that could be forgotten: what does not verify raises.
"""

from __future__ import annotations

from hashlib import sha256

from consent_sdk._frozen import Frozen
from consent_sdk.errors import InvalidProof
from consent_sdk.protocol import Malformed, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from consent_sdk.protocol import Answer

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of a ledger without entries."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def verify_inclusion(*, index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `InvalidProof` unless the entry is number `index` in the ledger of this size and root.

    (1) the index is in the ledger; (2) fold the proof from the leaf to the root; (3) it has no rest and
    none is missing; (4) the root is the one given.
    """
    if not 0 <= index < size:  # (1)
        raise InvalidProof("The index is not in a ledger of that size.")
    _require_hashes((leaf_hash, root, *proof))
    place, last, folded = index, size - 1, leaf_hash
    for sibling in proof:  # (2)
        if last == 0:
            raise InvalidProof("The proof is too long.")  # (3)
        if place & 1 or place == last:
            folded = node_hash(sibling, folded)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            folded = node_hash(folded, sibling)
        place >>= 1
        last >>= 1
    if last:
        raise InvalidProof("The proof is too short.")  # (3)
    if folded != root:
        raise InvalidProof("The proof does not lead to the root.")  # (4)


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `InvalidProof` unless the new ledger begins with exactly the old one.

    (1) sizes are in order, and equal or empty ones need no proof; (2) a complete old tree is its first node;
    (3) fold towards both roots; (4) nothing is left over; (5) both roots are the ones given.
    """
    _require_hashes((old_root, new_root, *proof))
    if not 0 <= old_size <= new_size:
        raise InvalidProof("The old ledger is longer than the new one.")
    if old_size in (0, new_size):  # (1)
        if proof or old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise InvalidProof("Equal and empty ledgers need an empty proof and the same root.")
        return
    nodes = list(proof) if old_size & (old_size - 1) else [old_root, *proof]  # (2)
    if not nodes:
        raise InvalidProof("The proof is too short.")
    if _fold_both(old_size, new_size, nodes) != (old_root, new_root):  # (3)
        raise InvalidProof("The proof does not lead to both roots.")  # (5)


def _fold_both(old_size: int, new_size: int, nodes: Sequence[bytes]) -> tuple[bytes, bytes]:
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise InvalidProof("The proof is too long.")  # (4)
        if place & 1 or place == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            new = node_hash(new, node)
        place >>= 1
        last >>= 1
    if last:
        raise InvalidProof("The proof is too short.")  # (4)
    return old, new


class InclusionProof(Frozen):
    """The claim that a leaf is entry `index` of `size` in the ledger with this root: call `verify`."""

    __slots__ = ("index", "leaf_hash", "proof", "root", "size")

    index: int
    size: int
    leaf_hash: bytes
    proof: tuple[bytes, ...]
    root: bytes

    def __init__(
        self, *, index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes
    ) -> None:
        self._init(index=index, size=size, leaf_hash=leaf_hash, proof=tuple(proof), root=root)

    def verify(self, *, root: bytes | None = None) -> None:
        """Raise `InvalidProof` unless the claim is true of `root`, best one from a checkpoint you trust.

        Without `root` the answer's own is used, which shows only that it is consistent with itself.
        """
        if root is not None and root != self.root:
            raise InvalidProof("The proof is for another root.")
        verify_inclusion(
            index=self.index,
            size=self.size,
            leaf_hash=self.leaf_hash,
            proof=self.proof,
            root=self.root,
        )


def read_inclusion_proof(answer: Answer) -> InclusionProof:
    """Read the answer of `GET /v1/ledger/proof/inclusion`; raise `Malformed` for anything else."""
    body = read_object(answer)
    index, size, proof = body.get("index"), body.get("size"), body.get("proof")
    if type(index) is not int or type(size) is not int or not isinstance(proof, list):
        raise Malformed("not an inclusion proof")
    return InclusionProof(
        index=index,
        size=size,
        leaf_hash=_decode(body.get("leaf_hash")),
        proof=[_decode(node) for node in proof],
        root=_decode(body.get("root")),
    )


def _decode(text: object) -> bytes:
    from base64 import b64decode  # noqa: PLC0415  # too slow to import with the package

    try:
        return b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        raise Malformed("not base64") from None


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(item) != HASH_SIZE for item in hashes):
        raise InvalidProof("A hash is 32 bytes.")
