"""Parts of a tree, hashed apart from each other and put together: what makes an audit of many logs parallel.

An aligned chunk of 65,536 leaves is a complete subtree: its root needs no other leaf (RFC 9162, section 2.1).
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from struct import Struct

from consent_service.errors import InvalidProof
from consent_service.ledger.merkle import HASH_SIZE, SubtreeHash

CHUNK_LEVEL = 16
"""The level of the root of a chunk, 65,536 leaves."""

Node = tuple[int, int, bytes]
"""The root of a complete subtree: its level, its number on that level, its hash."""
_PAIR = Struct(f"{2 * HASH_SIZE}s")
_node_hash = sha256(b"\1").copy  # copying a state costs less than beginning one


def hash_pairs(nodes: bytes) -> bytes:
    """Return the parents of an even number of nodes, one behind the other."""
    parents = []
    for (pair,) in _PAIR.iter_unpack(nodes):
        state = _node_hash()
        state.update(pair)
        parents.append(state.digest())
    return b"".join(parents)


def chunk_nodes(start: int, leaf_hashes: bytes) -> Iterator[Node]:
    """Yield the largest complete subtrees, of a chunk at most, of the leaves from index `start`.

    `leaf_hashes` are one behind the other; both ends may lie inside a chunk.
    """
    nodes, level = leaf_hashes, 0
    while nodes and level < CHUNK_LEVEL:
        if start & 1:
            yield level, start, nodes[:HASH_SIZE]
            nodes, start = nodes[HASH_SIZE:], start + 1
        count = len(nodes) // HASH_SIZE
        if count & 1:
            yield level, start + count - 1, nodes[-HASH_SIZE:]
            nodes = nodes[:-HASH_SIZE]
        nodes, start, level = hash_pairs(nodes), start >> 1, level + 1
    for number in range(len(nodes) // HASH_SIZE):
        yield level, start + number, nodes[number * HASH_SIZE : (number + 1) * HASH_SIZE]


def peak_nodes(size: int, peaks: Iterable[bytes]) -> Iterator[Node]:
    """Yield the subtrees that a tree of this size consists of; `peaks` are their roots, the largest first."""
    start = 0
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    for level, peak in zip(levels, peaks, strict=True):
        yield level, start >> level, peak
        start += 1 << level


def folded(nodes: Iterable[Node]) -> SubtreeHash:
    """Return the hash of any complete subtree above these; it raises `InvalidProof` for a missing leaf."""
    known: Mapping[tuple[int, int], bytes] = {(level, number): node for level, number, node in nodes}

    def subtree(level: int, number: int) -> bytes:
        found = known.get((level, number))
        if found is not None:
            return found
        if level == 0:
            raise InvalidProof(f"Entry {number} is missing.")
        return sha256(b"\1" + subtree(level - 1, 2 * number) + subtree(level - 1, 2 * number + 1)).digest()

    return subtree
