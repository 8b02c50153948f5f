"""Steps (6) and (7) of `verify_ledger`: each subject's chain, derived statuses and projection."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

from consent_service.domain.consent import NOBODY, DecisionEntry, SubjectState, apply, link
from consent_service.domain.subject import SubjectRef
from consent_service.errors import EvidenceError, LedgerCorrupt, SealBroken, UnknownNotice
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import LinkRecord, outcomes_text
from consent_service.ledger.record_reader import ReadRecord, RecordReader
from consent_service.operations.effect import outcomes_of
from consent_service.operations.foretell_chain import Foreteller, ForetoldChain
from consent_service.operations.notice_book import NoticeBook, extend_book
from consent_service.operations.read_history import state_before
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_log import LeafKinds, Report, committed_in, decoded, not_canonical
from consent_service.storage.ledger_store import (
    LARGEST_SIZE,
    stream_chains,
    stream_entries,
    subject_records,
)
from consent_service.storage.notice_store import notices_after
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import (
    ProjectedSubject,
    encode_state,
    find_linked,
    stream_projection,
)
from consent_service.vault.blind_index import blind_index, subject_ref

_Linked: TypeAlias = tuple[int, bytes, bytes]
"""Index, leaf and record of an entry in a chain."""
_MOST_HELD = 256


@dataclass(slots=True, kw_only=True)
class VerifiedChains:
    """What some subjects' chains add up to: how many `links` they have, and how many rows are `linked`.

    `fault` is the first of them all: one in a chain does not hide an earlier one in another.
    """

    subjects: int = 0
    last_subject_id: int = 0
    links: int = 0
    linked: int = 0
    fault: LedgerCorrupt | None = None

    def note(self, fault: LedgerCorrupt | None) -> None:
        """Keep the fault if it comes before the one that is known."""
        if fault is not None and (self.fault is None or fault.index < self.fault.index):
            self.fault = fault

    def add(self, other: "VerifiedChains") -> None:
        """Take other chains in."""
        self.subjects += other.subjects
        self.last_subject_id = max(self.last_subject_id, other.last_subject_id)
        self.links += other.links
        self.linked += other.linked
        self.note(other.fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPart:
    """The chains of the subjects numbered from `first` to before `beyond`; the notices were verified."""

    first: int
    beyond: int

    def verify(self, scope: TenantScope, tenant: Tenant, _report: Report) -> VerifiedChains:
        """Verify these chains, all of them whatever is wrong with one."""
        verifier = _ChainVerifier(scope, tenant)
        rows = stream_projection(scope, self.first, self.beyond)
        entries = stream_chains(scope, self.first, self.beyond)
        with closing(rows), closing(entries):
            verifier.match(rows, entries)
        return verifier.found


def verify_chains(scope: TenantScope, parts: Iterable[VerifiedChains]) -> VerifiedChains:
    """Return what all parts add up to; raise `LedgerCorrupt` with the first bad index.

    Exactly the subjects that a link names are marked as linked.
    """
    whole = VerifiedChains()
    for part in parts:
        whole.add(part)
    if whole.fault is None and whole.linked != whole.links:
        whole.note(_link_without_record(scope))
    if whole.fault is not None:
        raise whole.fault
    return whole


def _link_without_record(scope: TenantScope) -> LedgerCorrupt:
    for row in list(stream_projection(scope, -LARGEST_SIZE, LARGEST_SIZE)):
        if row.linked_to is None:
            continue
        records = (decoded(each.index, each.body) for each in subject_records(scope, row.linked_to))
        if not any(isinstance(record, LinkRecord) and record.linked == row.ref for record in records):
            return LedgerCorrupt("A subject is marked as linked without an entry.", index=row.last_index)
    return LedgerCorrupt("A link is recorded twice.", index=0)


class _ChainVerifier:
    """Follows every subject's entries, one subject after the other."""

    def __init__(self, scope: TenantScope, tenant: Tenant) -> None:
        self.found = VerifiedChains()
        self._scope = scope
        self._tenant = tenant
        self._book = extend_book(NoticeBook(), notices_after(scope, -1))
        kinds = LeafKinds(tenant.origin)
        self._kind_of = kinds.of
        self._reader = RecordReader()
        self._foreteller = Foreteller(self._book, kinds.ending(Kind.DECISION))

    def match(
        self, rows: Iterator[ProjectedSubject], entries: Iterator[tuple[int, int, bytes, bytes]]
    ) -> None:
        """Verify each row of the projection with the entries of its subject."""
        waiting: ProjectedSubject | None = next(rows, None)
        current: int | None = None
        row: ProjectedSubject | None = None
        chain: ForetoldChain | None = None
        held: list[_Linked] = []
        for subject_id, index, stored, body in entries:
            if current != subject_id:
                self._finish(row, chain, held)
                while waiting is not None and waiting.id < subject_id:
                    self._without_record(waiting)
                    waiting = next(rows, None)
                current, row, held = subject_id, None, []
                if waiting is not None and waiting.id == subject_id:
                    row, waiting = waiting, next(rows, None)
                row = self._sound_row(row, index)
                chain = None if row is None else ForetoldChain(self._foreteller, row.ref)
            if len(held) <= _MOST_HELD:
                held.append((index, stored, body))
            if chain is not None and not chain.follow(index, stored, body):
                chain = None
        self._finish(row, chain, held)
        for left in (waiting, *rows) if waiting is not None else ():
            self._without_record(left)

    def _sound_row(self, row: ProjectedSubject | None, index: int) -> ProjectedSubject | None:
        """Return the row of a subject whose first entry is at `index`, if it is hers."""
        if row is None:
            self.found.note(LedgerCorrupt("A record belongs to a subject that is not there.", index=index))
            return None
        self._count(row)
        if not _names_one_subject(self._tenant, row):
            self.found.note(LedgerCorrupt("A subject's row does not belong together.", index=index))
            return None
        return row

    def _finish(
        self, row: ProjectedSubject | None, chain: ForetoldChain | None, held: Sequence[_Linked]
    ) -> None:
        """End a chain; one that was not foretold to its end is followed again from its beginning.

        A long one, of which only the beginning was `held`, is read again.
        """
        if row is None or (chain is not None and chain.ends_as(row)):
            return
        if len(held) <= _MOST_HELD:
            self._follow(row, held)
            return
        with closing(stream_chains(self._scope, row.id, row.id + 1)) as entries:
            self._follow(row, (entry[1:] for entry in entries))

    def _follow(self, row: ProjectedSubject, entries: Iterable[_Linked]) -> None:
        chain = _Chain(self._scope, self._book, self._kind_of, self._reader, row)
        try:
            for index, stored, body in entries:
                self.found.links += chain.follow(index, stored, body)
            chain.finish()
        except LedgerCorrupt as error:
            self.found.note(error)

    def _without_record(self, row: ProjectedSubject) -> None:
        self._count(row)
        self.found.note(LedgerCorrupt("A subject's records are missing.", index=row.last_index))

    def _count(self, row: ProjectedSubject) -> None:
        self.found.subjects += 1
        self.found.last_subject_id = row.id
        self.found.linked += row.linked_to is not None


class _Chain:
    """The entries of one subject, followed one by one."""

    def __init__(
        self,
        scope: TenantScope,
        book: NoticeBook,
        kind_of: Callable[[bytes], Kind | None],
        reader: RecordReader,
        row: ProjectedSubject,
    ) -> None:
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
        if record.subject != self._row.ref:
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
            anonymous = find_linked(self._scope, SubjectRef(record.linked or ""), self._row.id)
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
    if row.ref != subject_ref(tenant.reference_key, external_id):
        return False
    return row.blind_index in [blind_index(key, external_id) for key in tenant.index_keys]
