"""The log as immutable files: Merkle tiles and entry bundles at the paths of C2SP tlog-tiles.

A tile is a run of at most 256 hashes. Tile `n` of level `l` holds the roots of the complete subtrees of
256**l leaves from subtree 256 * n on; level 0 holds leaf hashes. An entry bundle holds the leaves of a tile.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal, TypeAlias

from consent_service.errors import InvalidEntry, InvalidProof, UnknownEntry, UnknownTile
from consent_service.ledger.merkle import HASH_SIZE, SubtreeHash
from consent_service.ledger.subtrees import hash_pairs

TILE_WIDTH = 256
"""Hashes in a full tile, leaves in a full bundle."""
TILE_HEIGHT = 8
"""Levels of the Merkle tree in one level of tiles: 2**8 = 256."""
ENTRIES: Literal["entries"] = "entries"
"""Stands in a path in the place of the level when the file is an entry bundle."""

TileLevel: TypeAlias = int | Literal["entries"]
ReadTile: TypeAlias = Callable[[int, int, int], bytes]
"""Gives the bytes of tile `(level, n, width)`, or of a wider version of it."""

_PAIR = 2 * HASH_SIZE
_MIDDLE = TILE_HEIGHT // 2
_MOST_MIDDLES = 4096
_middles: dict[bytes, bytes] = {}
_LONGEST_LEAF = 0xFFFF
_PATH = re.compile(
    r"tile/(?P<level>0|[1-9]\d?|entries)/(?P<n>(?:x\d{3}/){0,6}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?",
    re.ASCII,
)
_HIGHEST_LEVEL = 63


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
    if n < 0 or not 1 <= width <= TILE_WIDTH:
        raise UnknownTile(f"A tile has a number from 0 on and between 1 and {TILE_WIDTH} hashes.")
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


def subtree_reader(size: int, read_tile: ReadTile) -> SubtreeHash:
    """Return `(level, index) -> hash` over the tiles of a tree of `size` leaves, for the proofs of `merkle`.

    `read_tile` is called once per tile with the width that the tile has at this size; it may return a wider
    version, of which the first hashes are taken. Raises `InvalidProof` for a tile of a wrong length and
    `UnknownEntry` for a subtree that is not complete at this size.
    """
    tiles: dict[tuple[int, int], bytes] = {}
    middles: dict[int, bytes] = {}

    def subtree_hash(level: int, index: int) -> bytes:
        if level < 0 or index < 0 or index + 1 << level > size:
            raise UnknownEntry(f"A tree of {size} leaves has no complete subtree {index} of level {level}.")
        tile_level, height = divmod(level, TILE_HEIGHT)
        n, offset = divmod(index << height, TILE_WIDTH)
        tile = tiles.get((tile_level, n))
        if tile is None:
            width = tile_width(tile_level, n, size)
            tile = tiles[tile_level, n] = _at_least(width, read_tile(tile_level, n, width))
        if height == 0:
            return _part(tile, offset, 1)
        if tile_level or len(tile) < HASH_SIZE * TILE_WIDTH or height == TILE_HEIGHT:
            return _part(_nodes_over(tile)[height - 1], offset >> height, 1)
        if height < _MIDDLE:
            return _root(_part(tile, offset >> height, 1 << height))
        middle = middles.get(n) or middles.setdefault(n, _middle_of(tile))
        return _root(_part(middle, offset >> height, 1 << height - _MIDDLE))

    return subtree_hash


def _part(hashes: bytes, number: int, count: int) -> bytes:
    size = HASH_SIZE * count
    return hashes[size * number : size * (number + 1)]


def _root(hashes: bytes) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > HASH_SIZE:
        hashes = hash_pairs(hashes)
    return hashes


def _middle_of(tile: bytes) -> bytes:
    """Return the 16 nodes half-way up a full tile, which leave 22 hashes to a proof of the 255 (ADR 0093).

    Kept by the tile's digest, so they cannot be stale: of 4,096 tiles, a million entries, in 3 MiB.
    """
    digest = sha256(tile).digest()
    middle = _middles.get(digest)
    if middle is None:
        middle = tile
        for _ in range(_MIDDLE):
            middle = hash_pairs(middle)
        if len(_middles) >= _MOST_MIDDLES:
            _middles.clear()
        _middles[digest] = middle
    return middle


@lru_cache(maxsize=128)  # 2 MiB. Every proof climbs through the few upper tiles, the right edge twice.
def _nodes_over(tile: bytes) -> list[bytes]:
    """Return the nodes over a tile from height 1 on: of a full one 128, 64, … and one at height 8.

    Kept by content, so they cannot be stale.
    """
    nodes = []
    while len(tile) >= _PAIR:
        tile = hash_pairs(tile[: len(tile) // _PAIR * _PAIR])
        nodes.append(tile)
    return nodes


def _at_least(width: int, tile: bytes) -> bytes:
    if not HASH_SIZE * width <= len(tile) <= HASH_SIZE * TILE_WIDTH or len(tile) % HASH_SIZE:
        raise InvalidProof(f"A tile of {width} hashes has {len(tile)} bytes.")
    return tile
