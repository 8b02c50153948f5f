"""Chunks that are hashed apart lead to the root of the whole."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import InvalidProof
from consent_service.ledger.merkle import root_hash, tree_root
from consent_service.ledger.subtrees import CHUNK_LEVEL, chunk_nodes, folded, peak_nodes

HASHES = [sha256(bytes([number % 251, number >> 8])).digest() for number in range(600)]
CHUNK = 1 << CHUNK_LEVEL


@given(cuts=st.lists(st.integers(0, 600), max_size=5), size=st.integers(1, 600))
def test_ranges_cut_anywhere_lead_to_the_root(cuts: list[int], size: int) -> None:
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})

    nodes = [
        node for start, stop in pairwise(edges) for node in chunk_nodes(start, b"".join(HASHES[start:stop]))
    ]

    assert tree_root(size, folded(nodes)) == root_hash(HASHES[:size])


@given(start=st.integers(1, 599), size=st.integers(1, 600))
def test_the_peaks_of_what_was_before_stand_for_its_leaves(start: int, size: int) -> None:
    start, size = min(start, size), max(start, size)
    subtree = folded(chunk_nodes(0, b"".join(HASHES[:start])))
    levels = [level for level in reversed(range(start.bit_length())) if start >> level & 1]
    numbers = [sum(1 << each for each in levels[:place]) >> level for place, level in enumerate(levels)]
    peaks = [subtree(level, number) for level, number in zip(levels, numbers, strict=True)]

    nodes = [*peak_nodes(start, peaks), *chunk_nodes(start, b"".join(HASHES[start:size]))]

    assert tree_root(size, folded(nodes)) == root_hash(HASHES[:size])


def test_a_chunk_is_one_node() -> None:
    hashes = [sha256(number.to_bytes(4, "big")).digest() for number in range(CHUNK + 3)]

    nodes = list(chunk_nodes(0, b"".join(hashes)))

    assert [node[:2] for node in nodes if node[0] == CHUNK_LEVEL] == [(CHUNK_LEVEL, 0)]
    assert tree_root(len(hashes), folded(nodes)) == root_hash(hashes)


def test_a_leaf_that_is_missing_is_named() -> None:
    nodes = [*chunk_nodes(0, b"".join(HASHES[:5])), *chunk_nodes(6, b"".join(HASHES[6:9]))]

    with pytest.raises(InvalidProof, match="Entry 5 is missing"):
        tree_root(9, folded(nodes))
