"""Step (3) of `verify_ledger`: every tile and entry bundle holds what the entries say."""

from collections.abc import Iterable
from dataclasses import replace

from consent_service.errors import LedgerCorrupt
from consent_service.ledger.merkle import HASH_SIZE
from consent_service.ledger.tail import BUNDLE_LEVEL, Tile
from consent_service.ledger.tiles import HALF_WAY_WIDTH, TILE_WIDTH
from consent_service.storage.ledger_store import find_tile
from consent_service.storage.scope import TenantScope


def check_tiles(scope: TenantScope, tiles: Iterable[Tile], *, grown: bool = False) -> None:
    """Raise `LedgerCorrupt` unless the tiles are stored so; where `grown`, at least so far.

    A full tile that a program of schema 0007 wrote has no nodes.
    """
    for tile in tiles:
        stored = find_tile(scope, tile.level, tile.n)
        if stored is not None and grown and stored.width >= tile.width:
            data = stored.data[: tile.width * HASH_SIZE]
            stored = replace(stored, width=tile.width, data=data, nodes=tile.nodes)
        if stored is not None and not stored.nodes:
            stored = replace(stored, nodes=tile.nodes)
        if stored != tile:
            raise _fault(tile, stored)


def _fault(tile: Tile, stored: Tile | None) -> LedgerCorrupt:
    """Return the fault of a stored tile, with the first entry of which it says something else."""
    if stored is not None and (stored.width, stored.data) == (tile.width, tile.data):
        node = min(_first_unlike(tile.nodes, stored.nodes) // HASH_SIZE, HALF_WAY_WIDTH - 1)
        message = f"A tile of level {tile.level} has other nodes half-way up than its hashes lead to."
        index = tile.n * TILE_WIDTH + node * HALF_WAY_WIDTH << 8 * max(0, tile.level)
        return LedgerCorrupt(message, index=index)
    hashed = tile.level != BUNDLE_LEVEL
    theirs = b"" if stored is None else stored.data[: stored.width * HASH_SIZE if hashed else None]
    same = _first_unlike(tile.data, theirs)
    if hashed:
        index = tile.n * TILE_WIDTH + same // HASH_SIZE << 8 * tile.level
        return LedgerCorrupt(f"A tile of level {tile.level} does not hold these entries.", index=index)
    position, end = 0, 2 + int.from_bytes(tile.data[:2])
    while same >= end and position < tile.width - 1:
        position, end = position + 1, end + 2 + int.from_bytes(tile.data[end : end + 2])
    index = tile.n * TILE_WIDTH + position
    return LedgerCorrupt("An entry bundle does not hold these entries.", index=index)


def _first_unlike(ours: bytes, theirs: bytes) -> int:
    """Return the position of the first byte that differs, or the length of the shorter one."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((at for at, (our, their) in pairs if our != their), min(len(ours), len(theirs)))
