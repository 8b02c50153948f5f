"""The growing edge of a log hands out each tile when it changes, whatever the batches."""

from hypothesis import given
from hypothesis import strategies as st

from consent_service.ledger.merkle import Frontier, leaf_hash, root_hash
from consent_service.ledger.tail import BUNDLE_LEVEL, Tail, Tile, partial_tiles
from consent_service.ledger.tiles import TILE_WIDTH, entry_bundle, tile_width

MOST = 1400
LEAVES = [f"leaf {number}".encode() for number in range(MOST)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
batches = st.lists(st.integers(1, 700), min_size=1, max_size=12)


def an_empty_tail() -> Tail:
    return Tail(Frontier.empty(), {}, [])


def the_tiles(size: int) -> dict[tuple[int, int], bytes]:
    """Every hash tile of a log, by the definition of tlog-tiles."""
    levels = [HASHES[:size], [root_hash(HASHES[n : n + 256]) for n in range(0, size - 255, 256)]]
    return {
        (level, n): b"".join(hashes[TILE_WIDTH * n : TILE_WIDTH * (n + 1)])
        for level, hashes in enumerate(levels)
        for n in range(-(-len(hashes) // TILE_WIDTH))
    }


def the_nodes(size: int) -> dict[int, bytes]:
    """The roots of every 16 leaves, of each full tile of leaf hashes."""
    return {
        n: b"".join(root_hash(HASHES[at : at + 16]) for at in range(TILE_WIDTH * n, TILE_WIDTH * (n + 1), 16))
        for n in range(size // TILE_WIDTH)
    }


def the_bundles(size: int) -> dict[tuple[int, int], bytes]:
    """Every full entry bundle of a log."""
    return {
        (BUNDLE_LEVEL, n): entry_bundle(LEAVES[TILE_WIDTH * n : TILE_WIDTH * (n + 1)])
        for n in range(size // TILE_WIDTH)
    }


def stored(kept: dict[tuple[int, int], Tile], changed: list[Tile]) -> dict[tuple[int, int], Tile]:
    return kept | {(tile.level, tile.n): tile for tile in changed}


@given(batches)
def test_the_tiles_handed_out_are_those_of_the_definition(sizes: list[int]) -> None:
    tail = an_empty_tail()
    kept: dict[tuple[int, int], Tile] = {}

    for batch in sizes:
        for leaf in LEAVES[tail.size : min(tail.size + batch, MOST)]:
            tail.append(leaf)
        kept = stored(kept, tail.take_changed())

        assert {place: tile.data for place, tile in kept.items()} == the_tiles(tail.size) | the_bundles(
            tail.size
        )
        assert {n: tile.nodes for (_, n), tile in kept.items() if tile.nodes} == the_nodes(tail.size)
        assert all(
            tile.width == (TILE_WIDTH if level == BUNDLE_LEVEL else tile_width(level, n, tail.size))
            for (level, n), tile in kept.items()
        )
        assert tail.leaves == LEAVES[tail.size - tail.size % TILE_WIDTH : tail.size]


@given(batches)
def test_leaves_taken_together_make_the_same_tail_as_one_by_one(sizes: list[int]) -> None:
    together, singly = an_empty_tail(), an_empty_tail()

    for batch in sizes:
        leaves = LEAVES[together.size : min(together.size + batch, MOST)]
        together.extend(leaves)
        for leaf in leaves:
            singly.append(leaf)

        assert together.frontier.encode() == singly.frontier.encode()
        assert (together.size, together.leaves) == (singly.size, singly.leaves)
        assert stored({}, together.take_changed()) == stored({}, singly.take_changed())
    assert together.frontier.root() == root_hash(HASHES[: together.size])


@given(batches)
def test_a_full_tile_is_handed_out_once_and_an_untouched_one_never(sizes: list[int]) -> None:
    tail = an_empty_tail()
    full: list[tuple[int, int]] = []

    for batch in sizes:
        for leaf in LEAVES[tail.size : min(tail.size + batch, MOST)]:
            tail.append(leaf)
        full += [(tile.level, tile.n) for tile in tail.take_changed() if tile.width == TILE_WIDTH]

    assert len(full) == len(set(full)) == 2 * (tail.size // TILE_WIDTH)
    assert tail.take_changed() == []


@given(st.integers(0, 2**40))
def test_the_partial_tiles_are_those_with_neither_nothing_nor_everything(size: int) -> None:
    widths = {(level, n): width for level, n, width in partial_tiles(size)}

    expected = {}
    for level in range(6):
        n = (size >> 8 * level) // TILE_WIDTH
        width = tile_width(level, n, size)
        if width:
            expected[level, n] = width
    assert widths == expected


def test_a_tail_continues_from_what_was_stored() -> None:
    first = an_empty_tail()
    for leaf in LEAVES[:700]:
        first.append(leaf)
    kept = stored({}, first.take_changed())
    partial = {level: bytearray(kept[level, n].data) for level, n, _ in partial_tiles(700)}

    restored = Tail(Frontier.decode(700, first.frontier.encode()), partial, LEAVES[512:700])
    indexes = [restored.append(leaf) for leaf in LEAVES[700:]]

    assert indexes == list(range(700, MOST))
    kept = stored(kept, restored.take_changed())
    assert {place: tile.data for place, tile in kept.items()} == the_tiles(MOST) | the_bundles(MOST)
    assert restored.frontier.root() == root_hash(HASHES)
