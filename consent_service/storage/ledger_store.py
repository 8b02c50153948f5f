"""Entries, records, tiles and checkpoints of one tenant's log."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select

from consent_service.errors import LedgerCorrupt, UnknownEntry
from consent_service.ledger.merkle import Frontier, SubtreeHash
from consent_service.ledger.subtrees import Node, peak_nodes
from consent_service.ledger.tail import BUNDLE_LEVEL, Tail, Tile, partial_tiles
from consent_service.ledger.tiles import TILE_WIDTH, entry_bundle, subtree_reader
from consent_service.storage.driver import Row
from consent_service.storage.scope import (
    SCOPED,
    TenantScope,
    own_rows,
    scoped_delete,
    scoped_select,
    table_of,
)
from consent_service.storage.tables import CheckpointRow, EntryRow, HeadRow, RecordRow, TileRow

_HASH_SIZE = 32
LARGEST_SIZE = 2**63 - 1
"""More entries or subjects than any log has."""
_head, _entry, _record = table_of(HeadRow), table_of(EntryRow), table_of(RecordRow)

_HEAD_COLUMNS = ("size", "frontier", "checkpoint", "notice_index", "next_subject_id")
_READ_LEAVES = (
    scoped_select(EntryRow, "index", "leaf")
    .where(_entry.c.index >= bindparam("start"), _entry.c.index < bindparam("stop"))
    .order_by(_entry.c.index)
)
_READ_RECORD = scoped_select(RecordRow, "subject_id", "opening", "body").where(
    _record.c.index == bindparam("at")
)
_NEXT_RECORD = (
    scoped_select(RecordRow, "index", "opening", "body")
    .where(_record.c.index >= bindparam("start"))
    .order_by(_record.c.index)
    .limit(1)
)
_PUBLIC_RECORDS = (
    scoped_select(RecordRow, "index", "opening", "body")
    .where(
        _record.c.index >= bindparam("start"),
        _record.c.index < bindparam("stop"),
        _record.c.subject_id.is_(None),
    )
    .order_by(_record.c.index)
)
_SUBJECT_RECORDS = (
    scoped_select(RecordRow, "index", "opening", "body")
    .where(_record.c.subject_id == bindparam("subject"))
    .order_by(_record.c.index)
)
_OF_SUBJECTS = _record.c.subject_id.in_(bindparam("subjects", expanding=True))
_RECORD_INDEXES = scoped_select(RecordRow, "index").where(_OF_SUBJECTS)
_DELETE_RECORDS = scoped_delete(RecordRow).where(_OF_SUBJECTS)
_ALL_ENTRIES = (
    select(_entry.c.index, _entry.c.leaf, _record.c.opening, _record.c.body, _record.c.subject_id)
    .select_from(
        _entry.outerjoin(
            _record, and_(_record.c.tenant_id == _entry.c.tenant_id, _record.c.index == _entry.c.index)
        )
    )
    .where(own_rows(_entry), _entry.c.index >= bindparam("start"), _entry.c.index < bindparam("stop"))
    .order_by(_entry.c.index)
    .execution_options(**SCOPED)
)
_CHAINS = (
    select(_record.c.subject_id, _record.c.index, _entry.c.leaf, _record.c.body)
    .select_from(
        _record.join(
            _entry, and_(_record.c.tenant_id == _entry.c.tenant_id, _record.c.index == _entry.c.index)
        )
    )
    .where(
        own_rows(_record),
        _record.c.subject_id >= bindparam("first"),
        _record.c.subject_id < bindparam("beyond"),
    )
    .order_by(_record.c.subject_id, _record.c.index)
    .execution_options(**SCOPED)
)
_READ_CHECKPOINTS = scoped_select(CheckpointRow, "size", "note").order_by(table_of(CheckpointRow).c.size)
_CHECKPOINTS_OVER = _READ_CHECKPOINTS.where(
    table_of(CheckpointRow).c.size > bindparam("over"), table_of(CheckpointRow).c.size <= bindparam("up_to")
)
_PRECEDING = (
    scoped_select(CheckpointRow, "size", "note")
    .where(table_of(CheckpointRow).c.size <= bindparam("at"))
    .order_by(table_of(CheckpointRow).c.size.desc())
    .limit(1)
)
_COVERING = _READ_CHECKPOINTS.where(table_of(CheckpointRow).c.size > bindparam("at")).limit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a tenant's log stands: `size` entries, the RFC 6962 frontier and the latest signed checkpoint."""

    size: int
    frontier: bytes
    checkpoint: bytes
    notice_index: int | None
    next_subject_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """The erasable side of the entry at `index`."""

    index: int
    opening: bytes
    body: bytes
    subject_id: int | None = None


StoredEntry = tuple[int, bytes, bytes | None, bytes | None, int | None]
"""Index, leaf, opening, body and subject number; `None` where erased."""


def read_head(scope: TenantScope) -> Head:
    """Return the head as of this transaction; raise `LedgerCorrupt` where there is none."""
    return _one_head(scope.select_tuples(HeadRow, _HEAD_COLUMNS))


def lock_head(scope: TenantScope) -> Head:
    """Return the head and keep every other writer of this log out until the transaction ends."""
    return _one_head(scope.select_tuples(HeadRow, _HEAD_COLUMNS, lock=True))


def _one_head(rows: Sequence[Row]) -> Head:
    if not rows:
        raise LedgerCorrupt("The log has no head: restore the database.", index=0)
    ((size, frontier, checkpoint, notice_index, next_subject_id),) = rows
    return Head(
        size=size,
        frontier=frontier,
        checkpoint=checkpoint,
        notice_index=notice_index,
        next_subject_id=next_subject_id,
    )


def move_head(scope: TenantScope, head: Head) -> None:
    """Replace the head; the caller holds its lock."""
    moved = (head.size, head.frontier, head.checkpoint, head.notice_index, head.next_subject_id)
    scope.update_tuples(HeadRow, _HEAD_COLUMNS, [moved], found_by=())


def create_head(scope: TenantScope, checkpoint: bytes) -> None:
    """Store the head of an empty log."""
    empty = {"size": 0, "frontier": b"", "checkpoint": checkpoint, "notice_index": None, "next_subject_id": 1}
    scope.insert(HeadRow, [empty])
    scope.insert(CheckpointRow, [{"size": 0, "note": checkpoint}])


def append_rows(
    scope: TenantScope,
    *,
    entries: Sequence[tuple[int, bytes]],
    records: Sequence[tuple[int, int | None, bytes, bytes]],
) -> None:
    """Store new entries (index, leaf) with their records (index, subject number, opening, body)."""
    scope.insert_tuples(EntryRow, ("index", "leaf"), entries)
    scope.insert_tuples(RecordRow, ("index", "subject_id", "opening", "body"), records)


def store_tree(scope: TenantScope, *, tiles: Sequence[Tile], size: int, checkpoint: bytes) -> None:
    """Store the tiles that new entries changed and the checkpoint over `size` entries."""
    scope.upsert_tuples(
        TileRow,
        ("level", "n", "width", "data", "nodes"),
        [(tile.level, tile.n, tile.width, tile.data, tile.nodes) for tile in tiles],
    )
    scope.insert_tuples(CheckpointRow, ("size", "note"), [(size, checkpoint)])


def load_tail(scope: TenantScope, head: Head) -> Tail:
    """Return the right edge of the log, from the head row, the partial tiles and the last few entries."""
    partial: dict[int, bytearray] = {}
    for level, n, width in partial_tiles(head.size):
        partial[level] = bytearray(read_tile(scope, level, n, width))
    start = head.size - head.size % TILE_WIDTH
    leaves = read_leaves(scope, start, head.size)
    return Tail(Frontier.decode(head.size, head.frontier), partial, leaves)


def caught_up(scope: TenantScope, head: Head, tail: Tail | None) -> Tail:
    """Return the right edge of the log: `tail` moved on by the few entries that others appended since.

    A tail that is too far behind, or does not lead to the head's frontier, is not used.
    """
    if tail is not None and 0 <= head.size - tail.size <= TILE_WIDTH:
        if tail.size < head.size:
            for leaf in read_leaves(scope, tail.size, head.size):
                tail.append(leaf)
            tail.take_changed()  # Whoever appended the entries stored the tiles.
        if tail.size == head.size and tail.frontier.encode() == head.frontier:
            return tail
    return load_tail(scope, head)


def load_tail_at(scope: TenantScope, size: int) -> Tail:
    """Return the right edge that the log had at `size` entries, a multiple of 256, as its tiles have it.

    Raises `UnknownEntry` where one is missing.
    """
    tiles = {level: bytearray(read_tile(scope, level, n, width)) for level, n, width in partial_tiles(size)}
    return Tail.from_tiles(size, tiles)


def read_tile(scope: TenantScope, level: int, n: int, width: int) -> bytes:
    """Return a hash tile, or the first `width` hashes of one that has grown; raise `UnknownEntry`."""
    return _require_tile(scope, level, n, width).data[: width * _HASH_SIZE]


def subtrees(scope: TenantScope, size: int, head: Head | None = None) -> SubtreeHash:
    """Return `(level, index) -> hash` over the log's first `size` entries, from its stored tiles.

    With the `head` as it is stored, nothing is read of its right edge, and everything leads to its frontier.
    """
    peaks: Iterable[Node] = ()
    if head is not None and head.size == size:
        peaks = peak_nodes(size, Frontier.decode(size, head.frontier).peaks())

    def read(level: int, n: int, width: int) -> tuple[bytes, bytes]:
        tile = _require_tile(scope, level, n, width)
        return tile.data, tile.nodes

    return subtree_reader(size, read, peaks)


def _require_tile(scope: TenantScope, level: int, n: int, width: int) -> Tile:
    tile = find_tile(scope, level, n)
    if tile is None or tile.width < width:
        raise UnknownEntry("The log has no such tile.")
    return tile


def read_bundle(scope: TenantScope, n: int, width: int) -> bytes:
    """Return an entry bundle; a full one is stored as such. Raise `UnknownEntry`."""
    if width == TILE_WIDTH:
        bundle = find_tile(scope, BUNDLE_LEVEL, n)
        if bundle is None:
            raise UnknownEntry("The log has no such entry bundle.")
        return bundle.data
    leaves = read_leaves(scope, n * TILE_WIDTH, n * TILE_WIDTH + width)
    if len(leaves) < width:
        raise UnknownEntry("The log has no such entry bundle.")
    return entry_bundle(leaves)


def read_leaves(scope: TenantScope, start: int, stop: int) -> list[bytes]:
    """Return the leaves with indexes from `start` up to, not including, `stop`."""
    return [leaf for _, leaf in scope.run(_READ_LEAVES, start=start, stop=stop).all()]


def read_record(scope: TenantScope, index: int) -> StoredRecord:
    """Return the record at `index`; raise `UnknownEntry` if there is none or it was erased."""
    row = scope.run(_READ_RECORD, at=index).one_or_none()
    if row is None:
        raise UnknownEntry(f"There is no record at index {index}.")
    return StoredRecord(index=index, opening=row.opening, body=row.body, subject_id=row.subject_id)


def subject_records(scope: TenantScope, subject_id: int) -> list[StoredRecord]:
    """Return every record of a subject, oldest first."""
    rows = scope.run(_SUBJECT_RECORDS, subject=subject_id)
    return [
        StoredRecord(index=index, opening=opening, body=body, subject_id=subject_id)
        for index, opening, body in rows
    ]


def delete_records(scope: TenantScope, subject_ids: Sequence[int]) -> list[int]:
    """Delete records and openings of these subjects; return their indexes. The leaves stay."""
    indexes = [index for (index,) in scope.run(_RECORD_INDEXES, subjects=list(subject_ids))]
    scope.run(_DELETE_RECORDS, subjects=list(subject_ids))
    return indexes


def stream_entries(scope: TenantScope, start: int = 0, stop: int = LARGEST_SIZE) -> Generator[StoredEntry]:
    """Yield (index, leaf, opening, body, subject number) of every entry in order. Close what you leave.

    Begins at `start` and ends before `stop`.
    """
    yield from scope.stream(_ALL_ENTRIES, start=start, stop=stop)


def first_record_from(scope: TenantScope, index: int) -> StoredRecord | None:
    """Return the first record at `index` or after it, or `None`."""
    row = scope.run(_NEXT_RECORD, start=index).one_or_none()
    if row is None:
        return None
    at, opening, body = row
    return StoredRecord(index=at, opening=opening, body=body)


def stream_public_records(
    scope: TenantScope, start: int, stop: int = LARGEST_SIZE
) -> Generator[StoredRecord]:
    """Yield the records of `start` up to `stop` that belong to no subject: of notices, keys and erasures."""
    for index, opening, body in scope.stream(_PUBLIC_RECORDS, start=start, stop=stop):
        yield StoredRecord(index=index, opening=opening, body=body)


def stream_chains(scope: TenantScope, first: int, beyond: int) -> Generator[tuple[int, int, bytes, bytes]]:
    """Yield (subject number, index, leaf, body) of every record of a subject, subject by subject.

    Begins with the subject numbered `first` and ends before the one numbered `beyond`.
    """
    yield from scope.stream(_CHAINS, first=first, beyond=beyond)


def find_tile(scope: TenantScope, level: int, n: int) -> Tile | None:
    """Return a tile as it is stored, or `None`."""
    row = scope.find_tuple(TileRow, ("width", "data", "nodes"), ("level", "n"), (level, n))
    return None if row is None else Tile(level, n, *row)


def stream_checkpoints(
    scope: TenantScope, over: int = -LARGEST_SIZE, up_to: int = LARGEST_SIZE
) -> Generator[tuple[int, bytes]]:
    """Yield (size, signed note) of every checkpoint, oldest first.

    Begins after the one over `over` entries and ends with the one over `up_to`.
    """
    for row in scope.stream(_CHECKPOINTS_OVER, chunk=256, over=over, up_to=up_to):
        yield row.size, row.note


def covering_checkpoint(scope: TenantScope, index: int) -> bytes:
    """Return the first checkpoint that covers the entry at `index`; raise `UnknownEntry`."""
    row = scope.run(_COVERING, at=index).one_or_none()
    if row is None:
        raise UnknownEntry(f"No checkpoint covers index {index}.")
    note: bytes = row.note
    return note


def preceding_checkpoint(scope: TenantScope, size: int) -> bytes:
    """Return the last checkpoint over at most `size` entries; there is always the one over none."""
    note: bytes = scope.run(_PRECEDING, at=size).one().note
    return note
