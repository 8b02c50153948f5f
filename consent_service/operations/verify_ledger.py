"""Re-derive a tenant's whole ledger from what is stored, and name the first entry that does not fit.

Everything is derived anew, in one snapshot and constant memory, by the code that decides and projects:

(1) every leaf is at the next index, in canonical form, of this log;
(2) the commitment in a leaf is that of the opening and record beside it, unless they were erased;
(3) every tile and entry bundle holds the hashes of these leaves;
(4) every checkpoint is signed by the log's key, over the root at its size; the head agrees with the last;
(5) every notice is the document that its entry names;
(6) every subject's records form one chain (`prev`), and each derived status follows from those before;
(7) the projection is what the records add up to;
(8) as many records are missing as the erasures in the log say they destroyed.
"""

import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from consent_service.domain.consent import NOBODY, DecisionEntry, SubjectState, apply, link
from consent_service.errors import EvidenceError, LedgerCorrupt, UnknownNotice
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.entry import Kind, commitment, leaf, parse_leaf
from consent_service.ledger.merkle import Frontier
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.record import (
    DecisionRecord,
    ErasureRecord,
    LinkRecord,
    NoticeRecord,
    Record,
    decode_record,
)
from consent_service.ledger.tail import BUNDLE_LEVEL, Tail, Tile
from consent_service.ledger.tiles import TILE_WIDTH
from consent_service.operations.deployment import Deployment
from consent_service.operations.notice_book import NoticeBook
from consent_service.operations.read_history import state_before
from consent_service.operations.record_decision import outcomes_of
from consent_service.operations.tenant import Tenant
from consent_service.storage.ledger_store import (
    Head,
    find_tile,
    read_head,
    stream_chains,
    stream_checkpoints,
    stream_entries,
)
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import StoredSubject, encode_state, find_linked, stream_subjects

Progress = Callable[[int, int], None]
_REPORT_EVERY = 4096
_COMMITMENT = slice(6, 50)
"""Where a leaf, `{"c":"…44 characters…",…`, carries its commitment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLedger:
    """What was verified: `root` over `size` entries, of which `erased` have no record any more."""

    size: int
    root: bytes
    checkpoint: bytes
    checkpoints: int
    erased: int
    subjects: int


def verify_ledger(
    deployment: Deployment, tenant: Tenant, *, progress: Progress = lambda _done, _total: None
) -> VerifiedLedger:
    """Verify a tenant's ledger and projection; raise `LedgerCorrupt` with the first bad index.

    `progress` is called with entries done and entries in all, now and then.
    """
    with deployment.reading(tenant) as scope:
        log = _Log(scope, tenant, read_head(scope), progress)
        log.verify_entries()
        log.verify_erasures()
        book = _notices(deployment, scope, log)
        chains = _Chains(scope, book)
        chains.verify()
        return VerifiedLedger(
            size=log.tail.size,
            root=log.tail.frontier.root(),
            checkpoint=log.head.checkpoint,
            checkpoints=log.checkpoints,
            erased=log.erased,
            subjects=chains.subjects,
        )


class _Log:
    """Steps (1) to (4): leaves, commitments, tiles, checkpoints, head."""

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
        self._verifier = NoteVerifier.parse(tenant.signer.vkey)
        self._progress = progress
        # What follows the commitment in a leaf of each kind: a stored leaf is compared, not parsed.
        blank = leaf(tenant.origin, Kind.DECISION, bytes(32))
        self._endings = {leaf(tenant.origin, kind, bytes(32))[_COMMITMENT.stop :]: kind for kind in Kind}
        self._opening = blank[: _COMMITMENT.start]

    def verify_entries(self) -> None:
        checkpoints = stream_checkpoints(self._scope)
        due = self._check_checkpoint(next(checkpoints, None), checkpoints)
        for index, stored, opening, body, subject_id in stream_entries(self._scope):
            if index != self.tail.size:
                raise LedgerCorrupt("An entry is missing.", index=self.tail.size)
            self._check_leaf(index, stored, opening, body, subject_id)
            self.tail.append(stored)
            if self.tail.size % TILE_WIDTH == 0:
                self._check_tiles(self.tail.take_full())  # A partial tile is stored as it is at the end.
            if self.tail.size == due:
                due = self._check_checkpoint(next(checkpoints, None), checkpoints)
            if index % _REPORT_EVERY == 0:
                self._progress(index, self.head.size)
        self._check_tiles(self.tail.take_changed())
        self._check_head(due)
        self._progress(self.tail.size, self.head.size)

    def verify_erasures(self) -> None:
        if self.erased != self._destroyed:  # (8)
            raise LedgerCorrupt(
                f"{self.erased} records are missing, and erasures account for {self._destroyed}.",
                index=max(0, self._first_missing),
            )

    def _check_leaf(
        self, index: int, stored: bytes, opening: bytes | None, body: bytes | None, subject_id: int | None
    ) -> None:
        kind = self._endings.get(stored[_COMMITMENT.stop :])
        if kind is None or not stored.startswith(self._opening):  # (1)
            self._refuse_leaf(index, stored)
        if opening is None or body is None:
            self._first_missing = index if self._first_missing < 0 else self._first_missing
            self.erased += 1
            self._refuse_unless_parsed(index, stored)
            return
        expected = binascii.b2a_base64(commitment(opening, body), newline=False)
        if stored[_COMMITMENT] != expected:  # (2)
            raise LedgerCorrupt("The record or its opening is not what the leaf commits to.", index=index)
        if kind is Kind.NOTICE:
            record = _decoded(index, body)
            if not isinstance(record, NoticeRecord) or subject_id is not None:
                raise LedgerCorrupt("A notice entry has another kind of record.", index=index)
            self.notices[index] = record
        elif kind is Kind.ERASURE:
            record = _decoded(index, body)
            if not isinstance(record, ErasureRecord) or subject_id is not None:
                raise LedgerCorrupt("An erasure entry has another kind of record.", index=index)
            self._destroyed += record.destroyed.get("records", 0)
        elif subject_id is None:
            raise LedgerCorrupt("A record belongs to no subject.", index=index)

    def _refuse_leaf(self, index: int, stored: bytes) -> None:
        self._refuse_unless_parsed(index, stored)
        raise LedgerCorrupt("A leaf belongs to another log.", index=index)

    def _refuse_unless_parsed(self, index: int, stored: bytes) -> None:
        try:
            parse_leaf(stored)
        except EvidenceError as error:
            raise LedgerCorrupt(f"A leaf is not in canonical form: {error}", index=index) from error

    def _check_tiles(self, tiles: Iterable[Tile]) -> None:
        for tile in tiles:
            stored = find_tile(self._scope, tile.level, tile.n)
            if stored is None or stored.width != tile.width or stored.data != tile.data:  # (3)
                what = "An entry bundle" if tile.level == BUNDLE_LEVEL else f"A tile of level {tile.level}"
                span = 256 ** (max(tile.level, 0) + 1)
                raise LedgerCorrupt(f"{what} does not hold these entries.", index=tile.n * span)

    def _check_checkpoint(
        self, stored: tuple[int, bytes] | None, rest: Iterator[tuple[int, bytes]]
    ) -> int | None:
        """Check the checkpoint that is due and return the size at which the next one is."""
        while stored is not None and stored[0] == self.tail.size:
            self._open_checkpoint(stored[1])
            self.checkpoints += 1
            stored = next(rest, None)
        self._pending = stored
        return None if stored is None else stored[0]

    def _open_checkpoint(self, note: bytes) -> None:
        last = max(0, self.tail.size - 1)
        try:
            checkpoint = open_checkpoint(note, self._verifier, origin=self._origin)
        except EvidenceError as error:
            raise LedgerCorrupt(f"A checkpoint is not one of this log: {error}", index=last) from error
        if checkpoint.size != self.tail.size or checkpoint.root != self.tail.frontier.root():  # (4)
            raise LedgerCorrupt("A checkpoint has another root than its entries.", index=last)

    def _check_head(self, due: int | None) -> None:
        last = max(0, self.tail.size - 1)
        if due is not None or self.head.size != self.tail.size:
            raise LedgerCorrupt(
                "The head or a checkpoint names entries that are not there.", index=self.tail.size
            )
        if self.head.frontier != self.tail.frontier.encode():
            raise LedgerCorrupt("The head's frontier is not that of the entries.", index=last)
        self._open_checkpoint(self.head.checkpoint)


def _decoded(index: int, body: bytes) -> Record:
    try:
        return decode_record(body)
    except EvidenceError as error:
        raise LedgerCorrupt(f"A record is not in canonical form: {error}", index=index) from error


def _notices(deployment: Deployment, scope: TenantScope, log: _Log) -> NoticeBook:
    """Step (5): the notices are the documents that their entries name."""
    book = deployment.book_afresh(scope)
    published = {notice.index: notice for notice in book.publications}
    for index in sorted(published.keys() | log.notices.keys()):
        if index not in published or index not in log.notices:
            raise LedgerCorrupt("A notice and its entry do not belong together.", index=index)
        digest = hashlib.sha256(published[index].document).hexdigest()
        if not digest == published[index].digest == log.notices[index].notice:
            raise LedgerCorrupt("A notice's words are not those that its entry names.", index=index)
    if log.head.notice_index != book.last_index:
        raise LedgerCorrupt("The head names another notice as current.", index=log.head.notice_index or 0)
    return book


class _Chains:
    """Steps (6) and (7): each subject's chain, derived statuses and projection."""

    def __init__(self, scope: TenantScope, book: NoticeBook) -> None:
        self.subjects = 0
        self._scope = scope
        self._book = book
        self._subject: StoredSubject | None = None
        self._state: SubjectState = NOBODY
        self._previous: bytes | None = None
        self._last_index = -1

    def verify(self) -> None:
        subjects = stream_subjects(self._scope)
        for subject_id, index, stored, body in stream_chains(self._scope):
            if self._subject is None or self._subject.id != subject_id:
                self._finish()
                self._begin(next(subjects, None), subject_id, index)
            self._check(index, stored, body)
        self._finish()
        left = next(subjects, None)
        if left is not None:
            raise LedgerCorrupt("A subject has no record.", index=left.last_index)

    def _begin(self, subject: StoredSubject | None, subject_id: int, index: int) -> None:
        if subject is None or subject.id != subject_id:
            raise LedgerCorrupt("Records and subjects do not match.", index=index)
        self.subjects += 1
        self._subject = subject
        self._state = NOBODY
        self._previous = None

    def _check(self, index: int, stored: bytes, body: bytes) -> None:
        record = _decoded(index, body)
        subject = self._subject
        if (
            isinstance(record, NoticeRecord | ErasureRecord)
            or subject is None
            or record.subject != subject.ref
        ):
            raise LedgerCorrupt("A record names another subject than its row.", index=index)
        if record.prev != self._previous:  # (6)
            raise LedgerCorrupt("The chain of this subject's entries is broken here.", index=index)
        self._state = self._after(record, subject, index)
        named = record.decision.choices if isinstance(record, DecisionRecord) else self._state.consents
        if outcomes_of(self._state, named) != dict(record.consents):
            raise LedgerCorrupt("A derived status does not follow from the entries before.", index=index)
        self._previous = binascii.a2b_base64(stored[_COMMITMENT])
        self._last_index = index

    def _after(self, record: DecisionRecord | LinkRecord, subject: StoredSubject, index: int) -> SubjectState:
        if isinstance(record, LinkRecord):
            anonymous = find_linked(self._scope, record.linked, subject.id)
            if anonymous is None:
                raise LedgerCorrupt("A link leads to no subject.", index=index)
            theirs = state_before(self._scope, self._book, anonymous, index)
            return link(self._state, theirs, index=index, recorded_at=record.recorded_at)
        try:
            notice = self._book.find(record.decision.notice).notice
        except UnknownNotice as error:
            raise LedgerCorrupt("A decision names a notice that was never published.", index=index) from error
        entry = DecisionEntry(
            decision=record.decision, notice=notice, recorded_at=record.recorded_at, index=index
        )
        return apply(self._state, entry)

    def _finish(self) -> None:
        subject = self._subject
        if subject is None:
            return
        stands = (encode_state(self._state), self._last_index, self._previous)
        if stands != (encode_state(subject.state), subject.last_index, subject.last_commitment):  # (7)
            raise LedgerCorrupt("The projection is not what the entries add up to.", index=self._last_index)
