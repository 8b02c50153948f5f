"""The growing right edge of a log: what an append needs to know, and which tiles it changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from consent_service.ledger.merkle import Frontier, leaf_hash, root_hash
from consent_service.ledger.tiles import TILE_WIDTH, entry_bundle, half_way

BUNDLE_LEVEL = -1
"""The level under which an entry bundle is kept beside the hash tiles."""

_TILE_HEIGHT = 8
_HASH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Tile:
    """A C2SP tlog-tiles tile: `width` hashes of 32 bytes, or a bundle of `width` entries at level -1.

    `nodes` are those half-way up a full tile of hashes.
    """

    level: int
    n: int
    width: int
    data: bytes
    nodes: bytes = b""


class Tail:
    """Frontier, partial tiles and the entries of the partial bundle of a log; `append` moves them on.

    `partial` has, by level, the hashes of that level's last tile; `leaves` the entries of the last bundle.
    """

    __slots__ = ("_changed", "_full", "frontier", "leaves", "partial")

    def __init__(self, frontier: Frontier, partial: dict[int, bytearray], leaves: list[bytes]) -> None:
        self.frontier = frontier
        self.partial = partial
        self.leaves = leaves
        self._changed: set[int] = set()
        self._full: list[Tile] = []

    @classmethod
    def from_tiles(cls, size: int, partial: dict[int, bytearray]) -> Self:
        """Return the tail of a log of whole bundles from its partial tiles alone; each counts as changed."""
        peaks = []
        for level in sorted(partial, reverse=True):
            hashes = [
                bytes(partial[level][at : at + _HASH_SIZE])
                for at in range(0, len(partial[level]), _HASH_SIZE)
            ]
            for height in reversed(range(_TILE_HEIGHT)):
                if (size >> _TILE_HEIGHT * level + height) & 1:
                    peaks.append(root_hash(hashes[: 1 << height]))
                    hashes = hashes[1 << height :]
        tail = cls(Frontier.decode(size, b"".join(peaks)), partial, [])
        tail._changed.update(partial)
        return tail

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self.frontier.size

    def append(self, leaf: bytes) -> int:
        """Take one more leaf; return its index."""
        index = self.frontier.size
        for height, position, digest in self.frontier.append(leaf_hash(leaf)):
            if height % _TILE_HEIGHT == 0:
                self._grow(height // _TILE_HEIGHT, position, digest)
        self._keep((leaf,))
        return index

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take more leaves: as `append` for each, in less time."""
        if len(leaves) == 1:
            self.append(leaves[0])
            return
        while leaves:
            index = self.size
            room = TILE_WIDTH - index % TILE_WIDTH
            taken, leaves = leaves[:room], leaves[room:]
            completed = self.frontier.extend([leaf_hash(leaf) for leaf in taken])
            for height in range(0, len(completed), _TILE_HEIGHT):
                self._grow(height // _TILE_HEIGHT, index >> height, b"".join(completed[height]))
            self._keep(taken)

    def _keep(self, leaves: Sequence[bytes]) -> None:
        self.leaves += leaves
        if len(self.leaves) == TILE_WIDTH:
            bundle = Tile(BUNDLE_LEVEL, self.size // TILE_WIDTH - 1, TILE_WIDTH, entry_bundle(self.leaves))
            self._full.append(bundle)
            self.leaves = []

    def _grow(self, level: int, position: int, digests: bytes) -> None:
        hashes = self.partial.setdefault(level, bytearray())
        hashes += digests
        if len(hashes) == TILE_WIDTH * _HASH_SIZE:
            tile = bytes(hashes)
            self._full.append(Tile(level, position // TILE_WIDTH, TILE_WIDTH, tile, half_way(tile)))
            self.partial[level] = bytearray()
            self._changed.discard(level)
        else:
            self._changed.add(level)

    def take_changed(self) -> list[Tile]:
        """Return the tiles that changed since the last call: the full ones first, then the partial ones."""
        changed = self.take_full() + [self._tile(level) for level in self._changed]
        self._changed = set()
        return changed

    def growing(self) -> list[Tile]:
        """Return the tiles that are not full."""
        return [self._tile(level) for level, hashes in self.partial.items() if hashes]

    def _tile(self, level: int) -> Tile:
        hashes = self.partial[level]
        n = self.size >> (_TILE_HEIGHT * (level + 1))
        return Tile(level, n, len(hashes) // _HASH_SIZE, bytes(hashes))

    def take_full(self) -> list[Tile]:
        """Return the tiles and bundles that became full since the last call; they never change again."""
        full, self._full = self._full, []
        return full


def partial_tiles(size: int) -> Iterable[tuple[int, int, int]]:
    """Yield (level, n, width) of every tile of a log of `size` entries that is not full."""
    level = 0
    hashes = size
    while hashes:
        if hashes % TILE_WIDTH:
            yield level, hashes // TILE_WIDTH, hashes % TILE_WIDTH
        hashes //= TILE_WIDTH
        level += 1


def tile_count(size: int) -> int:
    """Return how many tiles and entry bundles a log of `size` entries has, those that still grow included."""
    count = size // TILE_WIDTH
    hashes = size
    while hashes:
        count += -(-hashes // TILE_WIDTH)
        hashes //= TILE_WIDTH
    return count
