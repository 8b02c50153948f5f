"""The Merkle tree of RFC 6962 and RFC 9162, section 2.1: SHA-256, bytes in, bytes out.

Proofs are made from leaf hashes or from a callable `(level, index) -> bytes` that knows the hash of every
complete subtree (2**level leaves from index * 2**level on), so that a large tree is never read whole.

The verify functions take anything from anybody: they return `None` or raise `InvalidProof`.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Self, TypeAlias

from consent_service.errors import InvalidProof, UnknownEntry

HASH_SIZE = 32
"""Length of a hash in bytes."""
EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162, section 2.1.1)."""

SubtreeHash: TypeAlias = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree of 2**level leaves that starts at index * 2**level."""

_LARGEST_SIZE = 2**63 - 1
_LONGEST_PROOF = 64


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def root_hash(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, in memory (RFC 9162, section 2.1.1)."""
    nodes = list(leaf_hashes)
    if not nodes:
        return EMPTY_ROOT
    while len(nodes) > 1:
        # A node without a partner moves up unchanged: splitting at the largest power of two does the same.
        odd = nodes[-1:] if len(nodes) & 1 else []
        nodes = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(nodes[::2], nodes[1::2], strict=False)
        ] + odd
    return nodes[0]


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, one per set bit of its size.

    `append` changes it in place and `copy` is cheap, so that a batch can be tried and dropped.
    """

    __slots__ = ("_peaks", "size")

    size: int
    """Number of leaves."""

    def __init__(self, size: int, peaks: list[bytes]) -> None:
        self.size = size
        self._peaks = peaks

    @classmethod
    def empty(cls) -> Self:
        """Return the frontier of the tree without leaves."""
        return cls(0, [])

    def append(self, leaf_hash: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf; return `(level, index, hash)` of every subtree that it completes, level 0 first."""
        index = self.size
        node = leaf_hash
        peaks = self._peaks
        completed = [(0, index, node)]
        self.size = index + 1
        level = 0
        while index & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            index >>= 1
            level += 1
            completed.append((level, index, node))
        peaks.append(node)
        return completed

    def extend(self, leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
        """Add leaves; return the hashes of the subtrees that they complete, level 0 first.

        The same as `append` for each, in half the time: a level is hashed at once.
        """
        completed = []
        tops = []  # The new peaks, smallest subtree first.
        nodes, size = list(leaf_hashes), self.size
        self.size += len(nodes)
        while nodes:
            completed.append(nodes)
            if size & 1:
                nodes = [self._peaks.pop(), *nodes]
            if len(nodes) & 1:
                tops.append(nodes[-1])
            nodes = [
                sha256(b"\x01" + left + right).digest()
                for left, right in zip(nodes[::2], nodes[1::2], strict=False)
            ]
            size >>= 1
        self._peaks += reversed(tops)
        return completed

    def copy(self) -> Self:
        """Return an independent frontier of the same tree; costs one short list."""
        return type(self)(self.size, self._peaks.copy())

    def root(self) -> bytes:
        """Return the root of the tree, 32 bytes."""
        return _fold(self._peaks) if self._peaks else EMPTY_ROOT

    def encode(self) -> bytes:
        """Return the subtree roots, largest subtree first; the size is kept beside them."""
        return b"".join(self._peaks)

    def peaks(self) -> list[bytes]:
        """Return the subtree roots, largest subtree first."""
        return self._peaks.copy()

    @classmethod
    def decode(cls, size: int, data: bytes) -> Self:
        """Return the frontier that `encode` wrote for `size` leaves; raise `InvalidProof` if it did not."""
        if not 0 <= size <= _LARGEST_SIZE or len(data) != size.bit_count() * HASH_SIZE:
            raise InvalidProof(f"A frontier of {len(data)} bytes does not belong to a tree of {size} leaves.")
        return cls(size, [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)])


def tree_root(size: int, hashes: Sequence[bytes] | SubtreeHash) -> bytes:
    """Return the root of the tree of the first `size` leaves, from leaf hashes or complete subtrees."""
    return _range_hash(0, size, _subtree_hashes(size, hashes)) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, hashes: Sequence[bytes] | SubtreeHash) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of the first `size` leaves, its sibling first.

    RFC 9162, section 2.1.3.1. Raises `UnknownEntry` when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise UnknownEntry(f"A tree of {size} leaves has no leaf {index}.")
    subtree = _subtree_hashes(size, hashes)
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _largest_power_below(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_hash(start, middle, subtree))
            start = middle
    proof.reverse()
    return proof


def consistency_proof(old_size: int, new_size: int, hashes: Sequence[bytes] | SubtreeHash) -> list[bytes]:
    """Return the proof that the tree of `new_size` leaves begins with the tree of `old_size` leaves.

    RFC 9162, section 2.1.4.1; the proof is empty for equal sizes and for an empty old tree. Raises
    `UnknownEntry` when the new tree is smaller than the old one.
    """
    if not 0 <= old_size <= new_size:
        raise UnknownEntry(f"A tree of {new_size} leaves does not begin with one of {old_size}.")
    subtree = _subtree_hashes(new_size, hashes)
    if old_size in {0, new_size}:
        return []
    proof = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _largest_power_below(end - start)
        if old_size <= middle:
            proof.append(_range_hash(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_hash(start, middle, subtree))
            start = middle
    if start:  # otherwise this subtree is the whole old tree, whose root the verifier has
        proof.append(_range_hash(start, end, subtree))
    proof.reverse()
    return proof


def verify_inclusion(*, index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a tree of `size` leaves and this root has the leaf at `index`; raise `InvalidProof` if not.

    RFC 9162, section 2.1.3.2.
    """
    _require_size(index, "index")
    _require_size(size, "size")
    _require_hash(leaf_hash, "leaf hash")
    _require_hash(root, "root")
    steps = _require_proof(proof)
    if index >= size:
        raise InvalidProof(f"A tree of {size} leaves has no leaf {index}.")
    _, node = _climb(index, size - 1, leaf_hash, steps)
    if node != root:
        raise InvalidProof("The inclusion proof does not lead to the root.")


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the new tree begins with the whole old tree; raise `InvalidProof` if not.

    RFC 9162, section 2.1.4.2. The two cases that it leaves to the caller have an empty proof: trees of equal
    size have equal roots, and every tree begins with the empty one, whose root is SHA-256 of nothing.
    """
    _require_size(old_size, "old size")
    _require_size(new_size, "new size")
    _require_hash(old_root, "old root")
    _require_hash(new_root, "new root")
    steps = _require_proof(proof)
    if old_size > new_size:
        raise InvalidProof(f"A tree of {new_size} leaves does not begin with one of {old_size}.")
    if old_size in {0, new_size}:
        _verify_trivial_consistency(old_size, new_size, (old_root, new_root), steps)
        return
    if (
        old_size & (old_size - 1) == 0
    ):  # the old tree is one complete subtree of the new one: the climb starts there
        steps.insert(0, old_root)
    if not steps:
        raise InvalidProof("The consistency proof is empty.")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_node, new_node = _climb(position, last, steps[0], steps[1:])
    if old_node != old_root or new_node != new_root:
        raise InvalidProof("The consistency proof does not lead to both roots.")


def _climb(position: int, last: int, node: bytes, steps: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return what the node at `position` of a level, whose last node is `last`, becomes at the top.

    The first hash takes in left siblings only: it is the root of the tree that ends with this node. The
    second takes in all. Both proofs of RFC 9162 climb so (2.1.3.2 steps 4 and 5, 2.1.4.2 steps 6 and 7).
    """
    left = whole = node
    for sibling in steps:
        if last == 0:
            raise InvalidProof("The proof is longer than the tree is high.")
        if position & 1 or position == last:
            left, whole = node_hash(sibling, left), node_hash(sibling, whole)
            while position and not position & 1:  # levels on which the right edge has no sibling
                position, last = position >> 1, last >> 1
        else:
            whole = node_hash(whole, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise InvalidProof("The proof ends below the root.")
    return left, whole


def _verify_trivial_consistency(
    old_size: int, new_size: int, roots: tuple[bytes, bytes], steps: Sequence[bytes]
) -> None:
    old_root, new_root = roots
    if steps:
        raise InvalidProof("The consistency proof has to be empty here.")
    if old_size == new_size and old_root != new_root:
        raise InvalidProof("Two trees of the same size have different roots.")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise InvalidProof("The old root is not the root of the empty tree.")


def _subtree_hashes(size: int, hashes: Sequence[bytes] | SubtreeHash) -> SubtreeHash:
    if callable(hashes):
        return hashes
    leaf_hashes = hashes
    if len(leaf_hashes) < size:
        raise UnknownEntry(f"A proof for {size} leaves needs more than {len(leaf_hashes)} leaf hashes.")
    return lambda level, index: root_hash(leaf_hashes[index << level : (index + 1) << level])


def _range_hash(start: int, end: int, subtree: SubtreeHash) -> bytes:
    """Return the root over the leaves from `start` to `end`, a range that a split at powers of two yields."""
    length = end - start
    if length & length - 1 == 0:
        level = length.bit_length() - 1
        return subtree(level, start >> level)
    roots = []
    while start < end:
        level = (end - start).bit_length() - 1
        roots.append(subtree(level, start >> level))
        start += 1 << level
    return _fold(roots)


def _fold(roots: Sequence[bytes]) -> bytes:
    """Return the root of the tree that consists of these complete subtrees, the largest first."""
    node = roots[-1]
    for left in roots[-2::-1]:
        node = node_hash(left, node)
    return node


def _largest_power_below(number: int) -> int:
    return 1 << (number - 1).bit_length() - 1


def _require_size(value: object, name: str) -> None:
    if type(value) is not int or not 0 <= value <= _LARGEST_SIZE:
        raise InvalidProof(f"The {name} is not an integer from 0 to 2^63 - 1.")


def _require_hash(value: object, name: str) -> None:
    if not isinstance(value, bytes) or len(value) != HASH_SIZE:
        raise InvalidProof(f"The {name} is not {HASH_SIZE} bytes.")


def _require_proof(value: object) -> list[bytes]:
    if not isinstance(value, list | tuple) or len(value) > _LONGEST_PROOF:
        raise InvalidProof(f"A proof is a list of at most {_LONGEST_PROOF} hashes.")
    for step in value:
        _require_hash(step, "proof's step")
    return list(value)
