"""Steps (1) to (4) and (8) of `verify_ledger`: leaves, commitments, tiles, checkpoints, head, erasures."""

import binascii
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from consent_service.errors import EvidenceError, InvalidProof, LedgerCorrupt, UnknownEntry
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.entry import OPENING_SIZE, Kind, commitment, leaf, parse_leaf
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.record import ErasureRecord, KeyRecord, NoticeRecord, Record, decode_record
from consent_service.ledger.tail import Tail, Tile
from consent_service.ledger.tiles import TILE_WIDTH
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_tiles import check_tiles
from consent_service.storage.ledger_store import (
    LARGEST_SIZE,
    Head,
    StoredEntry,
    load_tail_at,
    read_head,
    stream_checkpoints,
    stream_entries,
    stream_public_records,
)
from consent_service.storage.scope import TenantScope

Report = Callable[[int], None]
"""Is told how many more entries were verified."""
REPORT_EVERY = 4096
_MOMENT = b'"recorded_at":"'
_KEY_MEMBER = b'"kind":"key"'
_COMMITMENT = slice(6, 50)
"""Where a leaf, `{"c":"…44 characters…",…`, carries its commitment."""


class LeafKinds:
    """Reads the kind of a leaf by comparing it, not by parsing it."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._endings = {self.ending(kind): kind for kind in Kind}
        self._opening = leaf(origin, Kind.DECISION, bytes(32))[: _COMMITMENT.start]

    def ending(self, kind: Kind) -> bytes:
        """Return what follows the commitment in a leaf of this kind."""
        return leaf(self._origin, kind, bytes(32))[_COMMITMENT.stop :]

    def of(self, stored: bytes) -> Kind | None:
        """Return the kind of a leaf of this log, `None` for other bytes."""
        if not stored.startswith(self._opening):
            return None
        return self._endings.get(stored[_COMMITMENT.stop :])


@dataclass(slots=True, kw_only=True)
class VerifiedEntries:
    """What entries in a row add up to: `erased` have no record, erasures say that they `destroyed` so many.

    `notices` has the record of every publication by index, `keys` the index of every key that was announced,
    `first_missing` is -1 where no record is, `growing` has the tiles that were not full after the last entry,
    and `root` is that of all up to it. At the erasure at `claimed_at` the erasures so far said that they had
    destroyed `claimed` more than was missing before it: nowhere more than there.
    """

    size: int = 0
    root: bytes = b""
    growing: list[Tile] = field(default_factory=list)
    notices: dict[int, NoticeRecord] = field(default_factory=dict)
    keys: dict[tuple[str, int], int] = field(default_factory=dict)
    erased: int = 0
    destroyed: int = 0
    claimed: int = 0
    claimed_at: int = 0
    first_missing: int = -1
    checkpoints: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """The entries from `start` on, a multiple of 256, and before `stop`; `None` is the end of the log."""

    start: int
    stop: int | None

    def verify(self, scope: TenantScope, tenant: Tenant, report: Report) -> VerifiedEntries:
        """Verify these entries; raise `LedgerCorrupt` with the first bad index.

        What the tiles say of the entries before is taken as it is: `WholeLog` compares.
        """
        verifier = _PartVerifier(scope, tenant, self, report)
        verifier.verify()
        return verifier.found


class WholeLog:
    """Puts the parts of a log together, in order: each has to go on where the one before ended."""

    def __init__(self, scope: TenantScope) -> None:
        self.notices: dict[int, NoticeRecord] = {}
        self.keys: dict[tuple[str, int], int] = {}
        self.erased = 0
        self.checkpoints = 0
        self.size = 0
        self.root = b""
        self._scope = scope
        self._destroyed = 0
        self._first_missing = -1
        self._claimed_at: int | None = None

    @property
    def last(self) -> int:
        """The index by which a fault that lies in no entry is named."""
        return max(0, self.size - 1)

    def take(self, part: VerifiedEntries) -> None:
        """Take the next part; raise `LedgerCorrupt` where the tiles do not hold what it ended with."""
        check_tiles(self._scope, part.growing, grown=True)
        if self._claimed_at is None and self._destroyed + part.claimed > self.erased:
            self._claimed_at = part.claimed_at
        self.size, self.root = part.size, part.root
        self.notices |= part.notices
        self.keys |= part.keys
        self.erased += part.erased
        self.checkpoints += part.checkpoints
        self._destroyed += part.destroyed
        if self._first_missing < 0:
            self._first_missing = part.first_missing

    def verify_erasures(self) -> None:
        """Step (8): as many records are missing as erasures destroyed, before each of them and in all."""
        if self._claimed_at is not None:
            raise LedgerCorrupt(
                "More records were destroyed by then than are missing before it.", index=self._claimed_at
            )
        if self.erased != self._destroyed:
            raise LedgerCorrupt(
                f"{self.erased} records are missing, and erasures account for {self._destroyed}.",
                index=max(0, self._first_missing),
            )


class _PartVerifier:
    """Reads a part of a log from its first entry to its last."""

    def __init__(self, scope: TenantScope, tenant: Tenant, part: LogPart, report: Report) -> None:
        self.found = VerifiedEntries()
        self._scope = scope
        self._part = part
        self._origin = tenant.origin
        self._kinds = LeafKinds(tenant.origin)
        self._report = report
        self._next_keys = list(tenant.vkeys)
        self._trusted_key = self._next_keys.pop(0)
        self._verifiers = [NoteVerifier.parse(self._trusted_key)]
        self._last_checkpoint = b""
        self._recorded_at = b""
        self._tail = self._tail_before(part.start)
        self._stored_checkpoints = stream_checkpoints(
            scope, part.start or -LARGEST_SIZE, part.stop or LARGEST_SIZE
        )
        self._due: tuple[int, bytes] | None = None

    def verify(self) -> None:
        """Verify every entry and what was made of them."""
        stop = self._part.stop or LARGEST_SIZE
        entries = stream_entries(self._scope, self._part.start, stop)
        with closing(entries), closing(self._stored_checkpoints):
            self._due = next(self._stored_checkpoints, None)
            self._check_checkpoint()
            self._check_entries(entries)
        if self._part.stop is None:
            check_tiles(self._scope, self._tail.take_changed())
            self._check_head(read_head(self._scope))
        elif self._tail.size < stop:
            raise LedgerCorrupt("An entry is missing.", index=self._tail.size)
        self.found.size, self.found.root = self._tail.size, self._tail.frontier.root()
        self.found.growing = self._tail.growing()

    def _tail_before(self, start: int) -> Tail:
        """Return the log's right edge before these entries, and trust the keys that it introduced by then."""
        try:
            tail = load_tail_at(self._scope, start)
        except (UnknownEntry, InvalidProof) as error:
            raise LedgerCorrupt("The tiles do not hold the entries before this one.", index=start) from error
        with closing(stream_public_records(self._scope, 0, start)) as records:
            for record in records:
                if _KEY_MEMBER in record.body:
                    self._follow_key(record.index, decoded(record.index, record.body), None)
        return tail

    def _check_entries(self, entries: Iterable[StoredEntry]) -> None:
        tail = self._tail
        stored = iter(entries)
        while run := list(islice(stored, self._run_length())):
            self._check_run(run)
            self._check_moment(run)
            tail.extend([leaf for _, leaf, _, _, _ in run])
            if tail.size % TILE_WIDTH == 0:
                check_tiles(self._scope, tail.take_full())
            if self._due is not None and tail.size >= self._due[0]:
                self._check_checkpoint()
            if tail.size % REPORT_EVERY == 0:
                self._report(REPORT_EVERY)

    def _run_length(self) -> int:
        """Return how many entries there may be up to the end of the bundle or to the next checkpoint."""
        size = self._tail.size
        end = size - size % TILE_WIDTH + TILE_WIDTH
        return min(end, self._due[0] if self._due is not None else end) - size

    def _check_run(self, run: Sequence[StoredEntry]) -> None:
        for expected, entry in enumerate(run, self._tail.size):
            index, stored, opening, body, subject_id = entry
            if index != expected:
                raise LedgerCorrupt("An entry is missing.", index=expected)
            if (
                subject_id is None
                or opening is None
                or body is None
                or len(opening) != OPENING_SIZE
                or stored != leaf(self._origin, Kind.DECISION, commitment(opening, body))
            ):
                self._check_leaf(*entry)

    def _check_moment(self, run: Sequence[StoredEntry]) -> None:
        """Check that entries without a checkpoint between them were recorded at one moment: in one commit.

        The first and the last with a record say so for all: a commit's come one after the other.
        """
        for several in (run, reversed(run)):
            body = next((body for _, _, _, body, _ in several if body is not None), None)
            moment = self._recorded_at if body is None else _recorded_at(body)
            if self._recorded_at and moment != self._recorded_at:
                beyond = (
                    index
                    for index, _, _, body, _ in run
                    if body is not None and _recorded_at(body) != self._recorded_at
                )
                raise LedgerCorrupt("A checkpoint is missing after this entry.", index=next(beyond) - 1)
            self._recorded_at = moment

    def _check_leaf(
        self, index: int, stored: bytes, opening: bytes | None, body: bytes | None, subject_id: int | None
    ) -> None:
        kind = self._kinds.of(stored)
        if kind is None:  # (1)
            self._require_canonical(index, stored)
            raise LedgerCorrupt("A leaf belongs to another log.", index=index)
        if opening is None or body is None:
            self.found.first_missing = index if self.found.first_missing < 0 else self.found.first_missing
            self.found.erased += 1
            self._require_canonical(index, stored)
            return
        if len(opening) != OPENING_SIZE or stored[_COMMITMENT] != _base64(commitment(opening, body)):  # (2)
            raise LedgerCorrupt("The record or its opening is not what the leaf commits to.", index=index)
        if kind is Kind.NOTICE:
            record = decoded(index, body)
            if not isinstance(record, NoticeRecord) or subject_id is not None:
                raise LedgerCorrupt("A notice entry has another kind of record.", index=index)
            self.found.notices[index] = record
        elif kind is Kind.ERASURE:
            record = decoded(index, body)
            if not isinstance(record, ErasureRecord) or subject_id is not None:
                raise LedgerCorrupt("An erasure entry has another kind of record.", index=index)
            self._count_destroyed(index, record)
        elif kind is Kind.KEY:
            announced = self._follow_key(index, decoded(index, body), subject_id)
            self.found.keys[announced.what, announced.version] = index
        elif subject_id is None:
            raise LedgerCorrupt("A record belongs to no subject.", index=index)

    def _count_destroyed(self, index: int, record: ErasureRecord) -> None:
        found = self.found
        found.destroyed += record.destroyed.get("records", 0)
        if found.destroyed - found.erased > found.claimed:
            found.claimed, found.claimed_at = found.destroyed - found.erased, index

    def _follow_key(self, index: int, record: Record, subject_id: int | None) -> KeyRecord:
        """Trust a new signing key from its entry on: a checkpoint of the key before covers the entry."""
        if not isinstance(record, KeyRecord) or subject_id is not None:
            raise LedgerCorrupt("A key entry has another kind of record.", index=index)
        if record.vkey is None:
            return record
        if record.previous != self._trusted_key or self._next_keys[:1] != [record.vkey]:
            raise LedgerCorrupt("A signing key does not follow from the one before.", index=index)
        self._trusted_key = self._next_keys.pop(0)
        self._verifiers.append(NoteVerifier.parse(self._trusted_key))
        return record

    def _require_canonical(self, index: int, stored: bytes) -> None:
        try:
            parse_leaf(stored)
        except EvidenceError as error:
            raise LedgerCorrupt(f"A leaf is not in canonical form: {error}", index=index) from error

    def _check_checkpoint(self) -> None:
        """Check the checkpoint over the entries so far, if there is one."""
        last = max(0, self._tail.size - 1)
        while self._due is not None and self._due[0] <= self._tail.size:
            size, note = self._due
            if size != self._tail.size:
                raise LedgerCorrupt("A checkpoint is out of order.", index=last)
            self._open_checkpoint(note)
            self._last_checkpoint = note
            self._recorded_at = b""
            self.found.checkpoints += 1
            self._due = next(self._stored_checkpoints, None)

    def _open_checkpoint(self, note: bytes) -> None:
        last = max(0, self._tail.size - 1)
        try:
            checkpoint = open_checkpoint(note, *self._verifiers, origin=self._origin)
        except EvidenceError as error:
            raise LedgerCorrupt(f"A checkpoint is not one of this log: {error}", index=last) from error
        if checkpoint.size != self._tail.size or checkpoint.root != self._tail.frontier.root():  # (4)
            raise LedgerCorrupt("A checkpoint has another root than its entries.", index=last)

    def _check_head(self, head: Head) -> None:
        last = max(0, self._tail.size - 1)
        if self._due is not None or head.size > self._tail.size:
            raise LedgerCorrupt(
                "The head or a checkpoint names entries that are not there.", index=self._tail.size
            )
        if head.size < self._tail.size:
            raise LedgerCorrupt("There are entries beyond the head.", index=max(0, head.size))
        if self._next_keys:
            raise LedgerCorrupt("The log does not introduce its signing key.", index=last)
        if head.frontier != self._tail.frontier.encode():
            raise LedgerCorrupt("The head's frontier is not that of the entries.", index=last)
        self._open_checkpoint(head.checkpoint)
        if head.checkpoint != self._last_checkpoint:
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


def _recorded_at(body: bytes) -> bytes:
    """Return the moment of recording in a record, as it is spelled there."""
    start = body.rfind(_MOMENT) + len(_MOMENT)
    return body[start : body.find(b'"', start)]


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
