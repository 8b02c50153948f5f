"""The log as immutable files: Merkle tiles and entry bundles at the paths of C2SP tlog-tiles.

A tile is a run of at most 256 hashes. Tile `n` of level `l` holds the roots of the complete subtrees of
256**l leaves from subtree 256 * n on; level 0 holds leaf hashes. An entry bundle holds the leaves of a tile.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from consent_service.errors import InvalidEntry, InvalidProof, UnknownEntry, UnknownTile
from consent_service.ledger.merkle import HASH_SIZE, SubtreeHash
from consent_service.ledger.subtrees import Node, hash_pairs

TILE_WIDTH = 256
"""Hashes in a full tile, leaves in a full bundle."""
TILE_HEIGHT = 8
"""Levels of the Merkle tree in one level of tiles: 2**8 = 256."""
HALF_WAY_WIDTH = 16
"""Nodes half-way up a full tile, and hashes under each of them."""
ENTRIES: Literal["entries"] = "entries"
"""Stands in a path in the place of the level when the file is an entry bundle."""

TileLevel: TypeAlias = int | Literal["entries"]
ReadTile: TypeAlias = Callable[[int, int, int], tuple[bytes, bytes]]
"""Gives the bytes of tile `(level, n, width)`, or of a wider version of it, and its `half_way`, if kept."""

_PAIR = 2 * HASH_SIZE
_HALF_WAY = TILE_HEIGHT // 2
_LONGEST_LEAF = 0xFFFF
_PATH = re.compile(
    r"tile/(?P<level>0|[1-9]\d?|entries)/(?P<n>(?:x\d{3}/){0,6}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?",
    re.ASCII,
)
_HIGHEST_LEVEL = 63
_MOST_TILES = 2**55  # those of 2**63 leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePath:
    """Which tile or bundle a path names: level, number within the level, and width (256 when full)."""

    level: TileLevel
    n: int
    width: int


def tile_path(level: TileLevel, n: int, width: int = TILE_WIDTH) -> str:
    """Return the path under the log's prefix, such as `tile/0/x001/234.p/17`; raise `UnknownTile` if none.

    C2SP tlog-tiles: the number is written in groups of three digits, all but the last marked with an `x`.
    """
    if level != ENTRIES and not 0 <= level <= _HIGHEST_LEVEL:
        raise UnknownTile(f"Tiles have levels from 0 to {_HIGHEST_LEVEL}.")
    if not 0 <= n < _MOST_TILES or not 1 <= width <= TILE_WIDTH:
        raise UnknownTile(f"A tile has a number from 0 to 2**55 - 1 and between 1 and {TILE_WIDTH} hashes.")
    groups = [f"{n % 1000:03}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03}")
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{suffix}"


def parse_tile_path(path: str) -> TilePath:
    """Return what the path names; raise `UnknownTile` for every path that `tile_path` does not write."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise UnknownTile("Not the path of a tile or an entry bundle.")
    level = match["level"]
    parsed = TilePath(
        level=ENTRIES if level == ENTRIES else int(level),
        n=int(match["n"].replace("x", "").replace("/", "")),
        width=int(match["width"] or TILE_WIDTH),
    )
    if tile_path(parsed.level, parsed.n, parsed.width) != path:  # needless zeros, or .p/256
        raise UnknownTile("Not the canonical path of a tile or an entry bundle.")
    return parsed


def tile_width(level: int, n: int, size: int) -> int:
    """Return how many hashes tile `n` of `level` has in a tree of `size` leaves, 0 if there is none."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - TILE_WIDTH * n))


def entry_bundle(leaves: Iterable[bytes]) -> bytes:
    """Return the bundle of at most 256 leaves, each after its length as big-endian uint16.

    Raises `InvalidEntry` when a leaf is longer than 65,535 bytes or the leaves are too many.
    """
    parts: list[bytes] = []
    for leaf in leaves:
        if len(leaf) > _LONGEST_LEAF:
            raise InvalidEntry(f"A leaf of {len(leaf)} bytes does not fit into an entry bundle.")
        parts += (len(leaf).to_bytes(2), leaf)
    if len(parts) > 2 * TILE_WIDTH:
        raise InvalidEntry(f"A bundle has at most {TILE_WIDTH} leaves.")
    return b"".join(parts)


def split_bundle(data: bytes) -> list[bytes]:
    """Return the leaves of a bundle; raise `InvalidEntry` for bytes that `entry_bundle` does not write."""
    leaves = []
    position, end = 0, len(data)
    while position < end:
        start = position + 2
        if start > end:
            raise InvalidEntry("The bundle ends inside a length.")
        position = start + (data[position] << 8 | data[position + 1])
        leaves.append(data[start:position])
    if position != end:
        raise InvalidEntry("The bundle ends inside a leaf.")
    if len(leaves) > TILE_WIDTH:
        raise InvalidEntry(f"A bundle has at most {TILE_WIDTH} leaves.")
    return leaves


def half_way(tile: bytes) -> bytes:
    """Return the 16 nodes half-way up a full tile: with them a proof hashes 30 times, not 255 (ADR 0093)."""
    for _ in range(_HALF_WAY):
        tile = hash_pairs(tile)
    return tile


class _Tile:
    """The first `width` hashes of a tile, and the nodes over them.

    `above` is the node over a full tile, and the peaks over one that grows, lowest first, if they are known:
    `InvalidProof` is raised where the hashes do not lead there. `kept` are nodes half-way up a full tile,
    which are taken if they do.
    """

    __slots__ = ("_groups", "_hashes", "_levels")

    def __init__(self, width: int, above: bytes, hashes: bytes, kept: bytes) -> None:
        if not HASH_SIZE * width <= len(hashes) <= HASH_SIZE * TILE_WIDTH or len(hashes) % HASH_SIZE:
            raise InvalidProof(f"A tile of {width} hashes has {len(hashes)} bytes.")
        self._hashes = hashes
        self._groups: dict[int, list[bytes]] = {}
        if width < TILE_WIDTH:
            self._levels = [hashes, *_nodes_over(hashes)]
            heights = (height for height in range(TILE_HEIGHT) if width >> height & 1)
            tops = (self.node(height, (width >> height) - 1) for height in heights)
            top = b"".join(tops) if above else b""
        else:
            if len(kept) != HASH_SIZE * HALF_WAY_WIDTH or _nodes_over(kept)[-1] != above:
                kept = half_way(hashes)
            self._levels = [b""] * _HALF_WAY + [kept, *_nodes_over(kept)]
            top = self._levels[-1]
        if top != above:
            raise InvalidProof(f"A tile of {width} hashes does not lead to the hashes above it.")

    def node(self, height: int, number: int) -> bytes:
        """Return a node of this height over the hashes, 0 for one of them; raise `InvalidProof`."""
        hashes = self._levels[height]
        if not hashes:
            group, number = divmod(number, HALF_WAY_WIDTH >> height)
            hashes = (self._groups.get(group) or self._group(group))[height]
        return hashes[HASH_SIZE * number : HASH_SIZE * (number + 1)]

    def _group(self, group: int) -> list[bytes]:
        """Return the 16 hashes under a node half-way up, and the nodes between."""
        hashes = _part(self._hashes, group, HALF_WAY_WIDTH)
        nodes = [hashes, *_hash_up(hashes)]
        if nodes.pop() != _part(self._levels[_HALF_WAY], group):
            raise InvalidProof("A tile's hashes do not lead to the node half-way up it.")
        self._groups[group] = nodes
        return nodes


_MOST_UPPER_TILES = 128
_upper_tiles: dict[tuple[int, int, bytes], _Tile] = {}
"""Tiles over tiles by level, width and what is above, so they cannot be stale or another log's: 4 MiB."""


def subtree_reader(size: int, read_tile: ReadTile, peaks: Iterable[Node] = ()) -> SubtreeHash:
    """Return `(level, index) -> hash` over the tiles of a tree of `size` leaves, for the proofs of `merkle`.

    `read_tile` is called at most once per tile with the width that the tile has at this size; it may return
    a wider version, of which the first hashes are taken. `peaks` are the subtrees that the tree consists of,
    if they are known: what is taken from a tile leads to them, or without them to the tile above. Raises
    `InvalidProof` where it does not and for a tile of a wrong length, and `UnknownEntry` for a subtree that
    is not complete at this size.
    """
    known = {(level, index): node for level, index, node in peaks}
    over_growing: dict[int, bytes] = {}
    for (level, _), node in known.items():
        over_growing[level // TILE_HEIGHT] = node + over_growing.get(level // TILE_HEIGHT, b"")
    tiles: dict[tuple[int, int], _Tile] = {}

    def subtree_hash(level: int, index: int) -> bytes:
        if (level, index) in known:
            return known[level, index]
        if level < 0 or index < 0 or index + 1 << level > size:
            raise UnknownEntry(f"A tree of {size} leaves has no complete subtree {index} of level {level}.")
        tile_level, height = divmod(level, TILE_HEIGHT)
        n, number = divmod(index, TILE_WIDTH >> height)
        tile = tiles.get((tile_level, n)) or find(tile_level, n)
        return tile.node(height, number)

    def find(level: int, n: int) -> _Tile:
        width = tile_width(level, n, size)
        full = width == TILE_WIDTH
        above = subtree_hash(TILE_HEIGHT * (level + 1), n) if full else over_growing.get(level, b"")
        tile = _upper_tiles.get((level, width, above))
        if tile is None:
            tile = _Tile(width, above, *read_tile(level, n, width))
            if level and above:
                _remember((level, width, above), tile)
        tiles[level, n] = tile
        return tile

    return subtree_hash


def _remember(key: tuple[int, int, bytes], tile: _Tile) -> None:
    if len(_upper_tiles) >= _MOST_UPPER_TILES:
        _upper_tiles.clear()
    _upper_tiles[key] = tile


def _part(hashes: bytes, number: int, count: int = 1) -> bytes:
    size = HASH_SIZE * count
    return hashes[size * number : size * (number + 1)]


def _hash_up(hashes: bytes) -> list[bytes]:
    """Return the complete nodes over these hashes, a level each: over 256 of them 128, 64, … and one."""
    nodes = []
    while len(hashes) >= _PAIR:
        hashes = hash_pairs(hashes[: len(hashes) // _PAIR * _PAIR])
        nodes.append(hashes)
    return nodes


_nodes_over = lru_cache(maxsize=128)(_hash_up)
"""The same, kept by content in at most 2 MiB: of the tile that grows, and of what is asked about often."""
