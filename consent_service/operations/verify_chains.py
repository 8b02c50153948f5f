"""Steps (6) and (7) of `verify_ledger`: each subject's chain, derived statuses and projection."""

from collections.abc import Callable, Iterator
from contextlib import closing

from consent_service.domain.consent import NOBODY, DecisionEntry, SubjectState, apply, link
from consent_service.domain.subject import SubjectRef
from consent_service.errors import EvidenceError, LedgerCorrupt, SealBroken, UnknownNotice
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import LinkRecord, outcomes_text
from consent_service.ledger.record_reader import ReadRecord, RecordReader
from consent_service.operations.notice_book import NoticeBook
from consent_service.operations.read_history import state_before
from consent_service.operations.record_decision import outcomes_of
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_log import committed_in, decoded, not_canonical
from consent_service.storage.ledger_store import stream_chains, stream_entries, subject_records
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import (
    ProjectedSubject,
    encode_state,
    find_linked,
    stream_projection,
)

KindOf = Callable[[bytes], Kind | None]


class ChainVerifier:
    """Follows every subject's entries; `verify` raises `LedgerCorrupt` with the first bad index.

    A fault in one chain does not hide an earlier one in another: all are followed, the lowest is named.
    """

    def __init__(self, scope: TenantScope, tenant: Tenant, book: NoticeBook, kind_of: KindOf) -> None:
        self.subjects = 0
        self.last_subject_id = 0
        self._scope = scope
        self._tenant = tenant
        self._book = book
        self._kind_of = kind_of
        self._reader = RecordReader()
        self._links = 0
        self._linked = 0
        self._fault: LedgerCorrupt | None = None

    def verify(self) -> None:
        """Verify every chain, then that exactly the subjects that a link names are marked as linked."""
        with closing(stream_projection(self._scope)) as rows, closing(stream_chains(self._scope)) as entries:
            self._match(rows, entries)
        if self._fault is None and self._linked != self._links:
            self._note(self._link_without_record())
        if self._fault is not None:
            raise self._fault

    def _match(
        self, rows: Iterator[ProjectedSubject], entries: Iterator[tuple[int, int, bytes, bytes]]
    ) -> None:
        waiting: ProjectedSubject | None = next(rows, None)
        chain: _Chain | None = None
        for subject_id, index, stored, body in entries:
            if chain is None or chain.subject_id != subject_id:
                self._finish(chain)
                while waiting is not None and waiting.id < subject_id:
                    self._without_record(waiting)
                    waiting = next(rows, None)
                found = waiting if waiting is not None and waiting.id == subject_id else None
                chain = self._begin(found, subject_id, index)
                waiting = next(rows, None) if found is not None else waiting
            self._follow(chain, index, stored, body)
        self._finish(chain)
        for left in (waiting, *rows) if waiting is not None else ():
            self._without_record(left)

    def _begin(self, row: ProjectedSubject | None, subject_id: int, index: int) -> "_Chain":
        chain = _Chain(self._scope, self._book, self._kind_of, self._reader, subject_id, row)
        if row is None:
            chain.spoilt = True
            self._note(LedgerCorrupt("A record belongs to a subject that is not there.", index=index))
            return chain
        self._count(row)
        if not _names_one_subject(self._tenant, row):
            chain.spoilt = True
            self._note(LedgerCorrupt("A subject's row does not belong together.", index=index))
        return chain

    def _follow(self, chain: "_Chain", index: int, stored: bytes, body: bytes) -> None:
        if chain.spoilt:
            return
        try:
            self._links += chain.follow(index, stored, body)
        except LedgerCorrupt as error:
            chain.spoilt = True
            self._note(error)

    def _finish(self, chain: "_Chain | None") -> None:
        if chain is None or chain.spoilt:
            return
        try:
            chain.finish()
        except LedgerCorrupt as error:
            self._note(error)

    def _without_record(self, row: ProjectedSubject) -> None:
        self._count(row)
        self._note(LedgerCorrupt("A subject's records are missing.", index=row.last_index))

    def _count(self, row: ProjectedSubject) -> None:
        self.subjects += 1
        self.last_subject_id = row.id
        self._linked += row.linked_to is not None

    def _note(self, fault: LedgerCorrupt) -> None:
        if self._fault is None or fault.index < self._fault.index:
            self._fault = fault

    def _link_without_record(self) -> LedgerCorrupt:
        for row in list(stream_projection(self._scope)):
            if row.linked_to is None:
                continue
            records = (decoded(each.index, each.body) for each in subject_records(self._scope, row.linked_to))
            if not any(isinstance(record, LinkRecord) and record.linked == row.ref for record in records):
                return LedgerCorrupt("A subject is marked as linked without an entry.", index=row.last_index)
        return LedgerCorrupt("A link is recorded twice.", index=0)


class _Chain:
    """The entries of one subject, followed one by one."""

    def __init__(
        self,
        scope: TenantScope,
        book: NoticeBook,
        kind_of: KindOf,
        reader: RecordReader,
        subject_id: int,
        row: ProjectedSubject | None,
    ) -> None:
        self.subject_id = subject_id
        self.spoilt = False
        self._scope = scope
        self._book = book
        self._kind_of = kind_of
        self._reader = reader
        self._row = row
        self._state: SubjectState = NOBODY
        self._previous: bytes | None = None
        self._last_index = -1

    def follow(self, index: int, stored: bytes, body: bytes) -> bool:
        """Check the next entry and return whether it is a link."""
        try:
            record = self._reader.read(body)
        except EvidenceError as error:
            raise not_canonical(index, error) from error
        if record is None or self._kind_of(stored) is not _kind(record):
            raise LedgerCorrupt("A record is of another kind than its leaf.", index=index)
        if self._row is None or record.subject != self._row.ref:
            raise LedgerCorrupt("A record names another subject than its row.", index=index)
        if record.prev != self._previous:  # (6)
            missing = self._missing(record.prev)
            if missing is not None and missing < index:
                raise LedgerCorrupt("A record of this subject is missing.", index=missing)
            raise LedgerCorrupt("The chain of this subject's entries is broken here.", index=index)
        self._state = self._after(record, index)
        named = self._state.consents if record.decision is None else record.decision.choices
        if outcomes_text(outcomes_of(self._state, named)) != record.outcomes:
            raise LedgerCorrupt("A derived status does not follow from the entries before.", index=index)
        self._previous = committed_in(stored)
        self._last_index = index
        return record.linked is not None

    def _after(self, record: ReadRecord, index: int) -> SubjectState:
        decision = record.decision
        if decision is None:
            anonymous = find_linked(self._scope, SubjectRef(record.linked or ""), self.subject_id)
            if anonymous is None:
                raise LedgerCorrupt("A link leads to no subject.", index=index)
            theirs = state_before(self._scope, self._book, anonymous, index)
            return link(self._state, theirs, index=index, recorded_at=record.recorded_at)
        try:
            notice = self._book.find(decision.notice).notice
        except UnknownNotice as error:
            raise LedgerCorrupt("A decision names a notice that was never published.", index=index) from error
        if not notice.purposes.keys() >= decision.choices.keys():
            raise LedgerCorrupt("A decision names a purpose that its notice does not have.", index=index)
        entry = DecisionEntry(decision=decision, notice=notice, recorded_at=record.recorded_at, index=index)
        return apply(self._state, entry)

    def finish(self) -> None:
        """Check that the projection is what the entries add up to."""
        row = self._row
        if row is None:
            return
        stands = (encode_state(self._state), self._last_index, self._previous)
        if stands == (row.state, row.last_index, row.last_commitment):  # (7)
            return
        missing = self._missing(row.last_commitment) if row.last_index > self._last_index else None
        if missing is not None:
            raise LedgerCorrupt("A record of this subject is missing.", index=missing)
        raise LedgerCorrupt("The projection is not what the entries add up to.", index=self._last_index)

    def _missing(self, committed: bytes | None) -> int | None:
        """Return the index of the entry that makes this commitment and has no record any more, if any."""
        if committed is None:
            return None
        with closing(stream_entries(self._scope)) as entries:
            return next(
                (
                    index
                    for index, stored, _opening, body, _subject_id in entries
                    if body is None and committed_in(stored) == committed
                ),
                None,
            )


def _kind(record: ReadRecord) -> Kind:
    return Kind.LINK if record.decision is None else Kind.DECISION


def _names_one_subject(tenant: Tenant, row: ProjectedSubject) -> bool:
    """Whether blind index, reference and sealed id of a row are those of one external id.

    While the blind-index key is being replaced, rows stand under the old one or the new one.
    """
    try:
        external_id = tenant.keyring.open_external_id(row.sealed_id, blind_index=row.blind_index)
    except (SealBroken, UnicodeDecodeError):
        return False
    subject = tenant.named(external_id)
    return row.blind_index in subject.indexes and row.ref == tenant.ref(subject)
