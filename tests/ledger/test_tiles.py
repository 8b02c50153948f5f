"""Tiles, bundles and their paths (C2SP tlog-tiles)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import InvalidEntry, InvalidProof, UnknownEntry, UnknownTile
from consent_service.ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    tree_root,
    verify_inclusion,
)
from consent_service.ledger.subtrees import Node
from consent_service.ledger.tiles import (
    TILE_WIDTH,
    ReadTile,
    TileLevel,
    TilePath,
    entry_bundle,
    half_way,
    parse_tile_path,
    split_bundle,
    subtree_reader,
    tile_path,
    tile_width,
)

SIZE = 70_000
HASHES = [leaf_hash(number.to_bytes(4)) for number in range(SIZE)]


def tiles_of(hashes: list[bytes]) -> dict[tuple[int, int], bytearray]:
    """Return every tile as a log fills them: from the subtrees that each append completes."""
    frontier = Frontier.empty()
    tiles: dict[tuple[int, int], bytearray] = {}
    for each in hashes:
        for level, index, hashed in frontier.append(each):
            if level % 8 == 0:
                tiles.setdefault((level // 8, index // TILE_WIDTH), bytearray()).extend(hashed)
    return tiles


TILES = tiles_of(HASHES)
NODES = {place: half_way(bytes(tile)) for place, tile in TILES.items() if len(tile) == 32 * TILE_WIDTH}


def levels_of(hashes: list[bytes]) -> list[list[bytes]]:
    """Return the hashes of all complete subtrees, by level."""
    levels = [hashes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*below[place : place + 2]) for place in range(0, len(below) - 1, 2)])
    return levels


LEVELS = levels_of(HASHES)


def complete_subtree(level: int, index: int) -> bytes:
    return LEVELS[level][index]


def read_at(size: int, nodes: dict[tuple[int, int], bytes] = NODES) -> ReadTile:
    """Return a reader of the tiles as they were at `size`, with these nodes half-way up."""

    def read_tile(level: int, n: int, width: int) -> tuple[bytes, bytes]:
        assert width == tile_width(level, n, size) > 0
        return bytes(TILES[level, n][: 32 * width]), nodes.get((level, n), b"")

    return read_tile


@pytest.mark.parametrize(
    ("level", "n", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 0, 1, "tile/0/000.p/1"),
        (0, 273, 112, "tile/0/273.p/112"),
        (1, 999, 256, "tile/1/999"),
        (1, 1000, 255, "tile/1/x001/000.p/255"),
        (63, 1234067, 256, "tile/63/x001/x234/067"),
        ("entries", 1234067, 3, "tile/entries/x001/x234/067.p/3"),
    ],
)
def test_paths_are_those_of_the_specification(level: TileLevel, n: int, width: int, path: str) -> None:
    assert tile_path(level, n, width) == path
    assert parse_tile_path(path) == TilePath(level=level, n=n, width=width)


@given(st.integers(0, 63) | st.just("entries"), st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_every_path_is_read_back(level: TileLevel, n: int, width: int) -> None:
    assert parse_tile_path(tile_path(level, n, width)) == TilePath(level=level, n=n, width=width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/-01",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/x001/002/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/entry/000",
        "tile/Entries/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/../000",
        "tile/0/" + "x001/" * 7 + "000",
        "tile/0/" + "x001/" * 10_000 + "000",
    ],
    ids=lambda path: path[:30],
)
def test_a_path_that_we_do_not_write_names_no_tile(path: str) -> None:
    with pytest.raises(UnknownTile):
        parse_tile_path(path)


@pytest.mark.parametrize(
    ("level", "n", "width"),
    [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**55, 1), ("entries", 2**55, 1), (0, 0, 0), (0, 0, 257)],
)
def test_there_is_no_path_outside_the_bounds(level: int, n: int, width: int) -> None:
    with pytest.raises(UnknownTile):
        tile_path(level, n, width)


def test_a_tree_of_70000_leaves_has_the_tiles_that_the_specification_lists() -> None:
    widths = {place: len(tile) // 32 for place, tile in TILES.items()}

    assert widths == {(0, n): 256 for n in range(273)} | {(0, 273): 112, (1, 0): 256, (1, 1): 17, (2, 0): 1}
    assert widths == {(level, n): tile_width(level, n, SIZE) for level, n in widths}
    assert [tile_width(0, 274, SIZE), tile_width(1, 2, SIZE), tile_width(3, 0, SIZE)] == [0, 0, 0]
    assert (tile_width(0, 0, 256), tile_width(1, 0, 256)) == (256, 1)


SIZES = st.sampled_from([1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, SIZE])
OTHERS = {place: nodes[32:] + nodes[:32] for place, nodes in NODES.items()}
"""Nodes that are not those of their tile."""


@given(st.data())
@pytest.mark.parametrize(
    "nodes", [NODES, {}, OTHERS, dict.fromkeys(NODES, b"short")], ids=["", "none", "others", "cut"]
)
def test_proofs_made_from_tiles_are_those_made_from_the_whole_tree(
    nodes: dict[tuple[int, int], bytes], data: st.DataObject
) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    subtree = subtree_reader(size, read_at(size, nodes))

    assert inclusion_proof(index, size, subtree) == inclusion_proof(index, size, complete_subtree)
    assert consistency_proof(index + 1, size, subtree) == consistency_proof(index + 1, size, complete_subtree)
    assert tree_root(index + 1, subtree) == tree_root(index + 1, complete_subtree)


def peaks_of(size: int) -> list[Node]:
    """Return the subtrees that the tree of this size consists of, the largest first."""
    levels = (level for level in reversed(range(size.bit_length())) if size >> level & 1)
    return [(level, (size >> level) - 1, complete_subtree(level, (size >> level) - 1)) for level in levels]


@given(st.data())
def test_no_proof_is_made_from_a_changed_hash(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    changed = data.draw(st.integers(0, 32 * TILE_WIDTH - 1))

    def read_tile(level: int, n: int, width: int) -> tuple[bytes, bytes]:
        hashes, nodes = read_at(size)(level, n, width)
        spoilt = bytearray(hashes)
        spoilt[changed % len(spoilt)] ^= 1
        return bytes(spoilt), nodes

    subtree = subtree_reader(size, read_tile, peaks_of(size))

    with suppress(InvalidProof):
        assert inclusion_proof(index, size, subtree) == inclusion_proof(index, size, complete_subtree)


def test_nodes_half_way_up_are_not_hashed_again() -> None:
    def read_tile(level: int, n: int, _width: int) -> tuple[bytes, bytes]:
        return bytes(TILES[level, n] if level else 32 * TILE_WIDTH), NODES.get((level, n), b"")

    subtree = subtree_reader(SIZE, read_tile)

    assert [subtree(height, 1) for height in (4, 5, 7)] == [complete_subtree(h, 1) for h in (4, 5, 7)]


@given(st.integers(1, SIZE))
def test_no_tile_is_read_for_the_peaks_of_a_tree(size: int) -> None:
    def read_tile(level: int, n: int, _width: int) -> tuple[bytes, bytes]:
        raise AssertionError(f"tile {n} of level {level}")

    subtree = subtree_reader(size, read_tile, peaks_of(size))

    assert tree_root(size, subtree) == tree_root(size, complete_subtree)


def test_the_last_of_70000_leaves_is_proven_from_four_tiles() -> None:
    read: list[tuple[int, int, int]] = []

    def read_tile(level: int, n: int, width: int) -> tuple[bytes, bytes]:
        read.append((level, n, width))
        return read_at(SIZE)(level, n, width)

    proof = inclusion_proof(SIZE - 1, SIZE, subtree_reader(SIZE, read_tile))

    verify_inclusion(index=SIZE - 1, size=SIZE, leaf_hash=HASHES[-1], proof=proof, root=root_hash(HASHES))
    assert sorted(read) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]


def test_a_wider_version_of_a_partial_tile_serves_as_well() -> None:
    size = 300

    subtree = subtree_reader(size, lambda level, n, _: (bytes(TILES[level, n]), NODES[level, n]))
    proof = inclusion_proof(7, size, subtree)

    assert proof == inclusion_proof(7, size, HASHES)


@pytest.mark.parametrize("length", [0, 31, 32 * 44 - 1, 32 * 43, 32 * 44 + 1, 32 * 257])
def test_a_tile_of_a_wrong_length_is_refused(length: int) -> None:
    subtree = subtree_reader(300, lambda _level, _n, _width: (bytes(length), b""))

    with pytest.raises(InvalidProof, match="A tile of 44 hashes"):
        subtree(0, 256)


@pytest.mark.parametrize(("level", "index"), [(0, 300), (8, 1), (9, 0), (-1, 0), (0, -1)])
def test_there_is_no_hash_of_an_incomplete_subtree(level: int, index: int) -> None:
    subtree = subtree_reader(300, read_at(300))

    with pytest.raises(UnknownEntry):
        subtree(level, index)


@given(st.lists(st.binary(max_size=300), max_size=TILE_WIDTH))
def test_a_bundle_is_split_into_its_leaves(leaves: list[bytes]) -> None:
    assert split_bundle(entry_bundle(leaves)) == leaves


def test_a_bundle_has_the_length_of_each_leaf_before_it() -> None:
    assert entry_bundle([b"ab", b"", b"x" * 258]) == b"\x00\x02ab\x00\x00\x01\x02" + b"x" * 258


@pytest.mark.parametrize("leaves", [[b"x" * 65_536], [b""] * 257])
def test_leaves_that_do_not_fit_are_refused(leaves: list[bytes]) -> None:
    with pytest.raises(InvalidEntry):
        entry_bundle(leaves)


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x01", b"\x00\x02a", b"\x00\x01ab", b"\x00\x00" * 257])
def test_a_torn_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidEntry):
        split_bundle(data)
