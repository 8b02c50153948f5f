"""The Merkle tree against its definition in RFC 9162, section 2.1, written down naively."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import InvalidProof, UnknownEntry
from consent_service.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

MOST = 300
LEAVES = [f"leaf {number}".encode() for number in range(MOST)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def mth(leaves: Sequence[bytes]) -> bytes:
    """MTH of section 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    middle = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:middle]) + mth(leaves[middle:])).digest()


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*path(index, leaves[:middle]), mth(leaves[middle:])]
    return [*path(index - middle, leaves[middle:]), mth(leaves[:middle])]


def subproof(old_size: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if old_size == len(leaves):
        return [] if whole else [mth(leaves)]
    middle = split(len(leaves))
    if old_size <= middle:
        return [*subproof(old_size, leaves[:middle], whole=whole), mth(leaves[middle:])]
    return [*subproof(old_size - middle, leaves[middle:], whole=False), mth(leaves[:middle])]


ROOTS = [mth(LEAVES[:size]) for size in range(MOST + 1)]
sizes = st.integers(1, MOST)


@st.composite
def trees_with_a_leaf(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


@st.composite
def growing_trees(draw: st.DrawFn) -> tuple[int, int]:
    new_size = draw(sizes)
    return draw(st.integers(1, new_size)), new_size


def test_the_hashes_have_their_domain_prefixes() -> None:
    assert leaf_hash(b"data") == sha256(b"\x00data").digest()
    assert node_hash(bytes(32), HASHES[0]) == sha256(b"\x01" + bytes(32) + HASHES[0]).digest()


def test_every_root_is_the_definitions() -> None:
    assert [root_hash(HASHES[:size]) for size in range(MOST + 1)] == ROOTS
    assert [tree_root(size, HASHES) for size in range(MOST + 1)] == ROOTS


def test_a_frontier_has_every_root_and_names_every_completed_subtree_once() -> None:
    frontier = Frontier.empty()
    roots = [frontier.root()]
    completed = {}
    for number, each in enumerate(HASHES):
        subtrees = frontier.append(each)
        roots.append(frontier.root())
        assert subtrees[0] == (0, number, each)
        completed.update({(level, index): hashed for level, index, hashed in subtrees})

    assert roots == ROOTS
    assert completed == {
        (level, index): mth(LEAVES[index << level : (index + 1) << level])
        for level in range(MOST.bit_length())
        for index in range(MOST >> level)
    }


@given(st.integers(0, MOST), st.integers(0, MOST))
def test_a_frontier_is_read_back_and_grows_on(stored_at: int, size: int) -> None:
    frontier = Frontier.empty()
    for each in HASHES[: min(stored_at, size)]:
        frontier.append(each)

    restored = Frontier.decode(frontier.size, frontier.encode())

    for each in HASHES[frontier.size : size]:
        restored.append(each)
    assert restored.size == size
    assert restored.root() == ROOTS[size]


@given(st.lists(st.integers(0, MOST), max_size=5))
def test_a_frontier_extended_completes_the_same_subtrees_as_leaf_by_leaf(sizes: list[int]) -> None:
    frontier, singly = Frontier.empty(), Frontier.empty()

    for size in sorted(sizes):
        start = frontier.size
        completed = frontier.extend(HASHES[start:size])

        expected = [each for leaf in HASHES[start:size] for each in singly.append(leaf)]
        assert sorted(expected) == sorted(
            (level, (start >> level) + number, hashed)
            for level, hashes in enumerate(completed)
            for number, hashed in enumerate(hashes)
        )
        assert (frontier.size, frontier.root(), frontier.encode()) == (size, ROOTS[size], singly.encode())


def test_a_copy_of_a_frontier_grows_alone() -> None:
    frontier = Frontier.empty()
    frontier.append(HASHES[0])
    copy = frontier.copy()

    copy.append(HASHES[1])

    assert (frontier.size, frontier.root()) == (1, ROOTS[1])
    assert (copy.size, copy.root()) == (2, ROOTS[2])


@pytest.mark.parametrize(("size", "length"), [(0, 32), (1, 0), (3, 32), (3, 65), (-1, 0), (2**63, 32)])
def test_a_frontier_of_a_wrong_length_is_refused(size: int, length: int) -> None:
    with pytest.raises(InvalidProof):
        Frontier.decode(size, bytes(length))


def test_every_inclusion_proof_of_small_trees_is_the_definitions_and_verifies() -> None:
    for size in range(1, 65):
        for index in range(size):
            proof = inclusion_proof(index, size, HASHES)

            assert proof == path(index, LEAVES[:size])
            verify_inclusion(index=index, size=size, leaf_hash=HASHES[index], proof=proof, root=ROOTS[size])


@given(trees_with_a_leaf())
def test_an_inclusion_proof_is_the_definitions_and_verifies(tree: tuple[int, int]) -> None:
    index, size = tree

    proof = inclusion_proof(index, size, HASHES)

    assert proof == path(index, LEAVES[:size])
    verify_inclusion(index=index, size=size, leaf_hash=HASHES[index], proof=proof, root=ROOTS[size])


def test_every_consistency_proof_of_small_trees_is_the_definitions_and_verifies() -> None:
    for new_size in range(1, 65):
        for old_size in range(1, new_size + 1):
            proof = consistency_proof(old_size, new_size, HASHES)

            assert proof == subproof(old_size, LEAVES[:new_size], whole=True)
            verify_consistency(
                old_size=old_size,
                new_size=new_size,
                old_root=ROOTS[old_size],
                new_root=ROOTS[new_size],
                proof=proof,
            )


@given(growing_trees())
def test_a_consistency_proof_is_the_definitions_and_verifies(tree: tuple[int, int]) -> None:
    old_size, new_size = tree

    proof = consistency_proof(old_size, new_size, HASHES)

    assert proof == subproof(old_size, LEAVES[:new_size], whole=True)
    verify_consistency(
        old_size=old_size, new_size=new_size, old_root=ROOTS[old_size], new_root=ROOTS[new_size], proof=proof
    )


@given(st.integers(0, MOST))
def test_every_tree_begins_with_the_empty_one(size: int) -> None:
    assert consistency_proof(0, size, HASHES) == []
    verify_consistency(old_size=0, new_size=size, old_root=EMPTY_ROOT, new_root=ROOTS[size], proof=[])


@given(trees_with_a_leaf())
def test_a_proof_made_from_subtrees_is_the_one_made_from_leaves(tree: tuple[int, int]) -> None:
    index, size = tree

    def complete_subtree(level: int, number: int) -> bytes:
        end = (number + 1) << level
        assert end <= size
        return mth(LEAVES[number << level : end])

    assert inclusion_proof(index, size, complete_subtree) == path(index, LEAVES[:size])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 5), (5, 5), (0, MOST + 1)])
def test_there_is_no_proof_for_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(UnknownEntry):
        inclusion_proof(index, size, HASHES)


@pytest.mark.parametrize(("old_size", "new_size"), [(-1, 5), (6, 5), (1, MOST + 1), (0, MOST + 1)])
def test_there_is_no_proof_for_a_tree_that_is_not_there(old_size: int, new_size: int) -> None:
    with pytest.raises(UnknownEntry):
        consistency_proof(old_size, new_size, HASHES)


def spoilt_proofs(proof: list[bytes]) -> list[Any]:
    """Return what a cheat might send instead of `proof`."""
    flipped = [
        [*proof[:place], bytes([step[0] ^ 1]) + step[1:], *proof[place + 1 :]]
        for place, step in enumerate(proof)
    ]
    shortened = [[*proof[:place], *proof[place + 1 :]] for place in range(len(proof))]
    swapped = [proof[::-1]] if proof != proof[::-1] else []
    longer = [
        [*proof, HASHES[0]],
        [HASHES[0], *proof],
        proof + [HASHES[0]] * 64,
        proof + [HASHES[0]] * 100_000,
    ]
    odd = [[*proof[:-1], proof[-1][:-1]], [*proof[:-1], proof[-1] + b"\0"]] if proof else []
    typed = [[*proof, "x" * 32], [*proof, None], None, 7, b"".join(proof) + b"\0" * 32, iter(proof), {0: b""}]
    return [*flipped, *shortened, *swapped, *longer, *odd, *typed]


def assert_refused(check: Callable[..., None], good: dict[str, Any], **changes: Any) -> None:
    with pytest.raises(InvalidProof):
        check(**(good | changes))


@given(trees_with_a_leaf())
def test_an_inclusion_proof_that_was_touched_is_refused(tree: tuple[int, int]) -> None:
    index, size = tree
    proof = inclusion_proof(index, size, HASHES)
    good: dict[str, Any] = {
        "index": index,
        "size": size,
        "leaf_hash": HASHES[index],
        "proof": proof,
        "root": ROOTS[size],
    }

    verify_inclusion(**good)

    for spoilt in spoilt_proofs(proof):
        assert_refused(verify_inclusion, good, proof=spoilt)
    for wrong in (-1, size, size + 1, 2**63, 10**400, None, "0", True, float(index)):
        assert_refused(verify_inclusion, good, index=wrong)
    for wrong in (-1, 0, index, 2**62, 2**63, 10**400, None, "1", float(size)):
        assert_refused(verify_inclusion, good, size=wrong)
    for name in ("leaf_hash", "root"):
        for value in (bytes(32), b"", HASHES[index][:-1], HASHES[index] + b"\0", "x" * 32, None, 0):
            assert_refused(verify_inclusion, good, **{name: value})


@given(growing_trees())
def test_a_consistency_proof_that_was_touched_is_refused(tree: tuple[int, int]) -> None:
    old_size, new_size = tree
    proof = consistency_proof(old_size, new_size, HASHES)
    good: dict[str, Any] = {
        "old_size": old_size,
        "new_size": new_size,
        "old_root": ROOTS[old_size],
        "new_root": ROOTS[new_size],
        "proof": proof,
    }

    verify_consistency(**good)

    for spoilt in spoilt_proofs(proof):
        assert_refused(verify_consistency, good, proof=spoilt)
    for wrong in (-1, 0, new_size + 1, 2**63, 10**400, None, "1", float(old_size)):
        assert_refused(verify_consistency, good, old_size=wrong)
    for wrong in (-1, 0, old_size - 1, 2**62, 2**63, 10**400, None, "1", float(new_size)):
        assert_refused(verify_consistency, good, new_size=wrong)
    for name in ("old_root", "new_root"):
        for value in (bytes(32), b"", ROOTS[1][:-1], ROOTS[1] + b"\0", "x" * 32, None, 0):
            assert_refused(verify_consistency, good, **{name: value})


@given(trees_with_a_leaf(), st.integers(0, MOST - 1))
def test_a_proof_for_one_leaf_proves_no_other(tree: tuple[int, int], other: int) -> None:
    index, size = tree
    proof = inclusion_proof(index, size, HASHES)
    good: dict[str, Any] = {
        "index": index,
        "size": size,
        "leaf_hash": HASHES[index],
        "proof": proof,
        "root": ROOTS[size],
    }

    if other != index:
        assert_refused(verify_inclusion, good, index=other)
        assert_refused(verify_inclusion, good, leaf_hash=HASHES[other])


def test_a_proof_above_the_height_of_the_tree_is_refused_although_its_hashes_fit() -> None:
    with pytest.raises(InvalidProof, match="longer than the tree"):
        verify_inclusion(index=0, size=1, leaf_hash=HASHES[1], proof=[HASHES[0]], root=ROOTS[2])
    with pytest.raises(InvalidProof, match="longer than the tree"):
        verify_consistency(
            old_size=3,
            new_size=4,
            old_root=ROOTS[7],
            new_root=ROOTS[8],
            proof=consistency_proof(7, 8, HASHES),
        )


def test_equal_hashes_of_a_wrong_length_prove_nothing() -> None:
    long = bytes(33)

    with pytest.raises(InvalidProof, match="32 bytes"):
        verify_inclusion(index=0, size=1, leaf_hash=long, proof=[], root=long)
    with pytest.raises(InvalidProof, match="32 bytes"):
        verify_consistency(old_size=3, new_size=3, old_root=long, new_root=long, proof=[])


def test_an_endless_proof_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(InvalidProof, match="at most 64 hashes"):
        verify_inclusion(index=0, size=2**62, leaf_hash=HASHES[0], proof=[HASHES[0]] * 65, root=ROOTS[1])


def test_a_tree_is_not_consistent_with_one_whose_past_was_rewritten() -> None:
    rewritten = [HASHES[7], *HASHES[1:]]

    proof = consistency_proof(6, 200, rewritten)

    with pytest.raises(InvalidProof):
        verify_consistency(
            old_size=6, new_size=200, old_root=ROOTS[6], new_root=root_hash(rewritten[:200]), proof=proof
        )


@pytest.mark.parametrize(
    ("old_size", "new_size", "old_root", "new_root", "proof"),
    [
        (0, 3, ROOTS[1], ROOTS[3], []),
        (0, 3, EMPTY_ROOT, ROOTS[3], [HASHES[0]]),
        (0, 0, EMPTY_ROOT, ROOTS[1], []),
        (3, 3, ROOTS[3], ROOTS[2], []),
        (3, 3, ROOTS[3], ROOTS[3], [HASHES[0]]),
        (3, 5, ROOTS[3], ROOTS[5], []),
        (4, 8, ROOTS[4], ROOTS[8], []),
    ],
)
def test_the_edges_of_consistency_are_guarded(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: list[bytes]
) -> None:
    with pytest.raises(InvalidProof):
        verify_consistency(
            old_size=old_size, new_size=new_size, old_root=old_root, new_root=new_root, proof=proof
        )
