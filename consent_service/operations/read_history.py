"""What a subject decided, and what was in force: now, or at a past moment, from the same entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.consent import NOBODY, Consent, DecisionEntry, Status, SubjectState, apply, link
from consent_service.domain.gate import Catalogue, Verdict, evaluate_key
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import LedgerCorrupt
from consent_service.ledger.record import DecisionRecord, LinkRecord, Record, decode_record
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import absent_states, look_up_one
from consent_service.operations.notice_book import NoticeBook, PublishedNotice
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.ledger_store import read_head, subject_records
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import StoredSubject, find_linked


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One entry of a subject with the notice whose words were shown; links have no notice."""

    index: int
    record: DecisionRecord | LinkRecord
    notice: PublishedNotice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentConsent:
    """The status of one purpose at a moment and the gate's verdict; no `consent` where nobody chose."""

    status: Status
    verdict: Verdict
    consent: Consent | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consents:
    """The consents of a subject for every purpose offered, and those she chose about that are retired."""

    consents: Mapping[PurposeKey, CurrentConsent]
    head: int


def read_history(deployment: Deployment, tenant: Tenant, subject: Subject) -> list[HistoryEntry]:
    """Return every entry of a subject, oldest first; none for one who never decided."""
    with deployment.reading(tenant) as scope:
        book = deployment.book(scope)
        known = look_up_one(deployment, scope, tenant, subject)
        return [] if known is None else _entries(scope, book, known.id)


def _entries(scope: TenantScope, book: NoticeBook, subject_id: int) -> list[HistoryEntry]:
    entries = []
    for stored in subject_records(scope, subject_id):
        record: Record = decode_record(stored.body)
        if isinstance(record, DecisionRecord):
            notice = book.find(record.decision.notice)
            entries.append(HistoryEntry(index=stored.index, record=record, notice=notice))
        elif isinstance(record, LinkRecord):
            entries.append(HistoryEntry(index=stored.index, record=record, notice=None))
    return entries


def read_consents(
    deployment: Deployment, tenant: Tenant, subject: Subject, *, as_of: datetime | None = None
) -> Consents:
    """Return the consents in force now, or at `as_of`: in the past by replaying the entries up to it.

    At a moment to come is in force what was not withdrawn by now and has not expired by then.
    """
    now = deployment.clock()
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        book = deployment.book(scope, head)
        known = look_up_one(deployment, scope, tenant, subject)
        if as_of is None or as_of >= now:
            absent = absent_states(scope, tenant, [] if known else [subject])
            state = known.state if known else absent[subject.blind_index]
            catalogue, moment = book.catalogue, as_of or now
        else:
            state = replay(scope, book, known, until=as_of) if known else NOBODY
            catalogue, moment = book.catalogue_at(as_of), as_of
    return Consents(consents=_current(state, catalogue, moment), head=head.size)


def _current(state: SubjectState, catalogue: Catalogue, moment: datetime) -> dict[PurposeKey, CurrentConsent]:
    keys: Sequence[PurposeKey] = [*catalogue.purposes, *(k for k in state.consents if k in catalogue.retired)]
    current = {}
    for key in keys:
        consent = state.consents.get(key)
        current[key] = CurrentConsent(
            status=Status.UNKNOWN if consent is None else consent.status_at(moment),
            verdict=evaluate_key(key, catalogue, state, moment),
            consent=consent,
        )
    return current


def replay(
    scope: TenantScope, book: NoticeBook, subject: StoredSubject, *, until: datetime | None = None
) -> SubjectState:
    """Return what the subject's entries up to `until` (all by default) add up to, by the domain's `apply`.

    Raises `LedgerCorrupt` with the index of a link whose other side is gone.
    """
    entries = _entries(scope, book, subject.id)
    if until is not None:
        entries = [entry for entry in entries if entry.record.recorded_at <= until]
    return _added_up(scope, book, subject.id, entries)


def state_before(scope: TenantScope, book: NoticeBook, subject_id: int, index: int) -> SubjectState:
    """Return what a subject's entries before the one at `index` add up to."""
    entries = [entry for entry in _entries(scope, book, subject_id) if entry.index < index]
    return _added_up(scope, book, subject_id, entries)


def _added_up(
    scope: TenantScope, book: NoticeBook, subject_id: int, entries: Sequence[HistoryEntry]
) -> SubjectState:
    state = NOBODY
    for entry in entries:
        record = entry.record
        if isinstance(record, LinkRecord):
            anonymous = find_linked(scope, record.linked, subject_id)
            if anonymous is None:
                raise LedgerCorrupt("A link leads to no subject.", index=entry.index)
            # She may have been the known side of an earlier link herself; indexes fall, so this ends.
            theirs = state_before(scope, book, anonymous, entry.index)
            state = link(state, theirs, index=entry.index, recorded_at=record.recorded_at)
        elif entry.notice is not None:
            state = apply(state, _decision_entry(record, entry.notice, entry.index))
    return state


def _decision_entry(record: DecisionRecord, notice: PublishedNotice, index: int) -> DecisionEntry:
    return DecisionEntry(
        decision=record.decision, notice=notice.notice, recorded_at=record.recorded_at, index=index
    )
