"""Steps (1) to (4) and (8) of `verify_ledger`: leaves, commitments, tiles, checkpoints, head, erasures."""

import binascii
from collections.abc import Callable, Iterable
from contextlib import closing

from consent_service.errors import EvidenceError, LedgerCorrupt
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.entry import OPENING_SIZE, Kind, commitment, leaf, parse_leaf
from consent_service.ledger.merkle import Frontier
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.record import ErasureRecord, KeyRecord, NoticeRecord, Record, decode_record
from consent_service.ledger.tail import BUNDLE_LEVEL, Tail, Tile
from consent_service.ledger.tiles import TILE_WIDTH
from consent_service.operations.tenant import Tenant
from consent_service.storage.ledger_store import (
    Head,
    StoredEntry,
    find_tile,
    stream_checkpoints,
    stream_entries,
)
from consent_service.storage.scope import TenantScope

Progress = Callable[[int, int], None]
_REPORT_EVERY = 4096
_HASH_SIZE = 32
_COMMITMENT = slice(6, 50)
"""Where a leaf, `{"c":"…44 characters…",…`, carries its commitment."""


class LogVerifier:
    """Reads a log from its first entry to its last; `verify` raises `LedgerCorrupt` with the first bad index.

    Afterwards `tail` is the log's right edge, `notices` has the record of every publication by index, and
    `erased` and `checkpoints` are counts.
    """

    def __init__(self, scope: TenantScope, tenant: Tenant, head: Head, progress: Progress) -> None:
        self.head = head
        self.tail = Tail(Frontier.empty(), {}, [])
        self.notices: dict[int, NoticeRecord] = {}
        self.erased = 0
        self._destroyed = 0
        self._first_missing = -1
        self.checkpoints = 0
        self._scope = scope
        self._origin = tenant.origin
        self._next_keys = list(tenant.vkeys)
        self._trusted_key = self._next_keys.pop(0)
        self._verifiers = [NoteVerifier.parse(self._trusted_key)]
        self._progress = progress
        self._stored_checkpoints = stream_checkpoints(scope)
        self._due: tuple[int, bytes] | None = None
        self._last_checkpoint = b""
        # What follows the commitment in a leaf of each kind: a stored leaf is compared, not parsed.
        blank = leaf(tenant.origin, Kind.DECISION, bytes(32))
        self._endings = {leaf(tenant.origin, kind, bytes(32))[_COMMITMENT.stop :]: kind for kind in Kind}
        self._opening = blank[: _COMMITMENT.start]

    def verify(self) -> None:
        """Verify every entry and what was made of them."""
        with closing(stream_entries(self._scope)) as entries, closing(self._stored_checkpoints):
            self._due = next(self._stored_checkpoints, None)
            self._check_checkpoint()
            self._check_entries(entries)
        self._check_tiles(self.tail.take_changed())
        self._check_head()
        self._progress(self.tail.size, self.head.size)

    def _check_entries(self, entries: Iterable[StoredEntry]) -> None:
        for index, stored, opening, body, subject_id in entries:
            if index != self.tail.size:
                raise LedgerCorrupt("An entry is missing.", index=self.tail.size)
            self._check_leaf(index, stored, opening, body, subject_id)
            self.tail.append(stored)
            if self.tail.size % TILE_WIDTH == 0:
                self._check_tiles(self.tail.take_full())
            if self._due is not None and self.tail.size >= self._due[0]:
                self._check_checkpoint()
            if index % _REPORT_EVERY == 0:
                self._progress(index, self.head.size)

    def verify_erasures(self) -> None:
        """Step (8): as many records are missing as the erasures in the log say they destroyed."""
        if self.erased != self._destroyed:
            raise LedgerCorrupt(
                f"{self.erased} records are missing, and erasures account for {self._destroyed}.",
                index=max(0, self._first_missing),
            )

    def kind_of(self, stored: bytes) -> Kind | None:
        """Return the kind of a leaf of this log, `None` for other bytes."""
        if not stored.startswith(self._opening):
            return None
        return self._endings.get(stored[_COMMITMENT.stop :])

    def _check_leaf(
        self, index: int, stored: bytes, opening: bytes | None, body: bytes | None, subject_id: int | None
    ) -> None:
        kind = self.kind_of(stored)
        if kind is None:  # (1)
            self._require_canonical(index, stored)
            raise LedgerCorrupt("A leaf belongs to another log.", index=index)
        if opening is None or body is None:
            self._first_missing = index if self._first_missing < 0 else self._first_missing
            self.erased += 1
            self._require_canonical(index, stored)
            return
        if len(opening) != OPENING_SIZE or stored[_COMMITMENT] != _base64(commitment(opening, body)):  # (2)
            raise LedgerCorrupt("The record or its opening is not what the leaf commits to.", index=index)
        if kind is Kind.NOTICE:
            record = decoded(index, body)
            if not isinstance(record, NoticeRecord) or subject_id is not None:
                raise LedgerCorrupt("A notice entry has another kind of record.", index=index)
            self.notices[index] = record
        elif kind is Kind.ERASURE:
            record = decoded(index, body)
            if not isinstance(record, ErasureRecord) or subject_id is not None:
                raise LedgerCorrupt("An erasure entry has another kind of record.", index=index)
            self._destroyed += record.destroyed.get("records", 0)
        elif kind is Kind.KEY:
            self._follow_key(index, decoded(index, body), subject_id)
        elif subject_id is None:
            raise LedgerCorrupt("A record belongs to no subject.", index=index)

    def _follow_key(self, index: int, record: Record, subject_id: int | None) -> None:
        """Trust a new signing key from its entry on: a checkpoint of the key before covers the entry."""
        if not isinstance(record, KeyRecord) or subject_id is not None:
            raise LedgerCorrupt("A key entry has another kind of record.", index=index)
        if record.vkey is None:
            return
        if record.previous != self._trusted_key or self._next_keys[:1] != [record.vkey]:
            raise LedgerCorrupt("A signing key does not follow from the one before.", index=index)
        self._trusted_key = self._next_keys.pop(0)
        self._verifiers.append(NoteVerifier.parse(self._trusted_key))

    def _require_canonical(self, index: int, stored: bytes) -> None:
        try:
            parse_leaf(stored)
        except EvidenceError as error:
            raise LedgerCorrupt(f"A leaf is not in canonical form: {error}", index=index) from error

    def _check_tiles(self, tiles: list[Tile]) -> None:
        for tile in tiles:
            stored = find_tile(self._scope, tile.level, tile.n)
            if stored is None or (stored.width, stored.data) != (tile.width, tile.data):  # (3)
                what = "An entry bundle" if tile.level == BUNDLE_LEVEL else f"A tile of level {tile.level}"
                raise LedgerCorrupt(f"{what} does not hold these entries.", index=_first_bad(tile, stored))

    def _check_checkpoint(self) -> None:
        """Check the checkpoint over the entries so far, if there is one."""
        last = max(0, self.tail.size - 1)
        while self._due is not None and self._due[0] <= self.tail.size:
            size, note = self._due
            if size != self.tail.size:
                raise LedgerCorrupt("A checkpoint is out of order.", index=last)
            self._open_checkpoint(note)
            self._last_checkpoint = note
            self.checkpoints += 1
            self._due = next(self._stored_checkpoints, None)

    def _open_checkpoint(self, note: bytes) -> None:
        last = max(0, self.tail.size - 1)
        try:
            checkpoint = open_checkpoint(note, *self._verifiers, origin=self._origin)
        except EvidenceError as error:
            raise LedgerCorrupt(f"A checkpoint is not one of this log: {error}", index=last) from error
        if checkpoint.size != self.tail.size or checkpoint.root != self.tail.frontier.root():  # (4)
            raise LedgerCorrupt("A checkpoint has another root than its entries.", index=last)

    def _check_head(self) -> None:
        last = max(0, self.tail.size - 1)
        if self._due is not None or self.head.size > self.tail.size:
            raise LedgerCorrupt(
                "The head or a checkpoint names entries that are not there.", index=self.tail.size
            )
        if self.head.size < self.tail.size:
            raise LedgerCorrupt("There are entries beyond the head.", index=max(0, self.head.size))
        if self._next_keys:
            raise LedgerCorrupt("The log does not introduce its signing key.", index=last)
        if self.head.frontier != self.tail.frontier.encode():
            raise LedgerCorrupt("The head's frontier is not that of the entries.", index=last)
        self._open_checkpoint(self.head.checkpoint)
        if self.head.checkpoint != self._last_checkpoint:
            raise LedgerCorrupt("The head's checkpoint is not among those that were signed.", index=last)


def decoded(index: int, body: bytes) -> Record:
    """Return the record at `index`; raise `LedgerCorrupt` where its bytes are not what an encoder writes."""
    try:
        return decode_record(body)
    except EvidenceError as error:
        raise not_canonical(index, error) from error


def not_canonical(index: int, error: EvidenceError) -> LedgerCorrupt:
    """Return the fault of a record whose bytes are not what an encoder writes."""
    return LedgerCorrupt(f"A record is not in canonical form: {error}", index=index)


def committed_in(stored: bytes) -> bytes:
    """Return the commitment that a leaf in canonical form carries."""
    return binascii.a2b_base64(stored[_COMMITMENT])


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _first_bad(tile: Tile, stored: Tile | None) -> int:
    """Return the index of the first entry whose hash or leaf in a stored tile is not the derived one."""
    hashed = tile.level != BUNDLE_LEVEL
    theirs = b"" if stored is None else stored.data[: stored.width * _HASH_SIZE if hashed else None]
    same = next(
        (at for at, (our, their) in enumerate(zip(tile.data, theirs, strict=False)) if our != their),
        min(len(tile.data), len(theirs)),
    )
    if hashed:
        return (tile.n * TILE_WIDTH + same // _HASH_SIZE) << 8 * tile.level
    position, end = 0, 2 + int.from_bytes(tile.data[:2])
    while same >= end and position < tile.width - 1:
        position, end = position + 1, end + 2 + int.from_bytes(tile.data[end : end + 2])
    return tile.n * TILE_WIDTH + position
