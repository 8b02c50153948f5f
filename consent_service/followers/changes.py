"""What followers tell about an entry: one small encoded event, the same bytes for everybody (ADR 0070).

    id: 7
    event: change
    data: {"subject":"s_…","consents":{"recommendations":["withdrawn",1795000000]}}

A change has the purposes whose standing choice is that entry's, as they stand when it is told: what a later
entry decided again is told with that one. So whoever takes in every entry ends up with what the gate says.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.consent import SubjectState
from consent_service.domain.gate import Verdict, evaluate_key
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.operations.deployment import Deployment
from consent_service.operations.notice_book import NoticeBook, PublishedNotice
from consent_service.operations.tenant import Tenant
from consent_service.storage.change_store import StoredChange, glance_at_changes, read_changes, read_erased
from consent_service.storage.ledger_store import read_head
from consent_service.storage.subject_store import decode_decided_at

_SUBJECT = re.compile(rb'^data: \{"subject":"([^"]+)"', re.MULTILINE)
NOBODY_REF = SubjectRef("-")
"""The subject of a change that names nobody: an erased record, a decision that a later one replaced."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The events of the entries from `start` on, one element an entry, out of a log of `size` entries.

    `resets` says that there may be a reset among them.
    """

    start: int
    events: list[bytes]
    size: int
    resets: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing follows."""
        return self.stop >= self.size

    @property
    def stop(self) -> int:
        """The index after the last entry in here."""
        return self.start + len(self.events)


def read_events(deployment: Deployment, tenant: Tenant, start: int, limit: int) -> Chunk:
    """Return the events of up to `limit` entries from `start` on, from one snapshot of the database."""
    with deployment.glancing(tenant) as scope:
        glance = glance_at_changes(scope, start, start + limit)
    stop = min(glance.size, start + limit)
    if stop <= start:
        return Chunk(start, [], glance.size)
    book = deployment.known_book(tenant)
    if book.last_index != glance.notice_index or any(change.ref is None for change in glance.changes):
        return _read_all_kinds(deployment, tenant, start, limit)
    telling = _Telling(start, stop, book, deployment.clock())
    for change in glance.changes:
        telling.changed(change)
    return Chunk(start, telling.events(), glance.size)


def _read_all_kinds(deployment: Deployment, tenant: Tenant, start: int, limit: int) -> Chunk:
    """Return what `read_events` does where there are other entries than decisions, or a newer notice."""
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        stop = min(head.size, start + limit)
        if stop <= start:
            return Chunk(start, [], head.size)
        book = deployment.book(scope, head)
        changes = read_changes(scope, start, stop)
        nameless = any(change.ref is None for change in changes)
        erased = read_erased(scope, start, stop) if nameless else []
    telling = _Telling(start, stop, book, deployment.clock())
    for change in changes:
        telling.changed(change)
    for index, ref in erased:
        telling.erased(index, ref)
    publications = [p for p in book.publications if start <= p.index < stop]
    for published in publications:
        earlier = [p for p in book.publications if p.index < published.index]
        telling.published(published, earlier)
    return Chunk(start, telling.events(), head.size, resets=bool(publications))


class _Telling:
    """Makes the events of a range of entries, at one moment under one catalogue."""

    def __init__(self, start: int, stop: int, book: NoticeBook, now: datetime) -> None:
        self._start = start
        self._book = book
        self._now = now
        self._events = [b""] * (stop - start)

    def changed(self, change: StoredChange) -> None:
        if change.ref is None or change.state is None:
            return
        state = decode_decided_at(change.state, change.index)
        if state.consents:
            self._tell(change.index, change.ref, state, state.consents)

    def erased(self, index: int, ref: SubjectRef) -> None:
        catalogue = self._book.catalogue
        self._tell(index, ref, SubjectState(erased=True), [*catalogue.purposes, *sorted(catalogue.retired)])

    def published(self, published: PublishedNotice, earlier: Sequence[PublishedNotice]) -> None:
        self._events[published.index - self._start] = encode_notice(published, earlier)

    def events(self) -> list[bytes]:
        return [
            event or encode_change(index, NOBODY_REF, {})
            for index, event in enumerate(self._events, start=self._start)
        ]

    def _tell(self, index: int, ref: SubjectRef, state: SubjectState, keys: Iterable[PurposeKey]) -> None:
        verdicts = {key: evaluate_key(key, self._book.catalogue, state, self._now) for key in keys}
        self._events[index - self._start] += encode_change(index, ref, verdicts)


def encode_consents(verdicts: Mapping[PurposeKey, Verdict]) -> str:
    """Return the JSON of {purpose: [reason, valid_until in epoch seconds or 0]}; rounded down, never up."""
    # Purposes and reasons are plain ASCII words, so that nothing needs escaping.
    return "{" + ",".join([f'"{key}":["{v.reason.value}",{until(v)}]' for key, v in verdicts.items()]) + "}"


def until(verdict: Verdict) -> int:
    """Return until when the choice behind a verdict stands, in epoch seconds; 0 where there is none."""
    return 0 if verdict.valid_until is None else max(0, int(verdict.valid_until.timestamp()))


def encode_change(index: int, ref: SubjectRef, verdicts: Mapping[PurposeKey, Verdict]) -> bytes:
    """Return the event that this entry changed this subject."""
    body = f'{{"subject":"{ref}","consents":{encode_consents(verdicts)}}}'
    return f"id: {index}\nevent: change\ndata: {body}\n\n".encode()


def subjects_in(events: bytes) -> list[SubjectRef]:
    """Return whom these events say something about."""
    return [SubjectRef(ref.decode()) for ref in _SUBJECT.findall(events)]


def encode_notice(published: PublishedNotice, earlier: Sequence[PublishedNotice]) -> bytes:
    """Return the event of a publication after `earlier` ones, and the reset with it if verdicts change.

    Other words alone change none: the same purposes in the same versions.
    """
    versions = _versions(published)
    ever = {key for notice in earlier for key in _versions(notice)}
    body = json.dumps(
        {"notice": published.digest, "purposes": versions, "retired": sorted(ever - versions.keys())},
        separators=(",", ":"),
    )
    event = f"id: {published.index}\nevent: notice\ndata: {body}\n\n".encode()
    if earlier and _versions(earlier[-1]) == versions:
        return event
    return event + encode_reset(published.index, "notice")


def encode_reset(index: int, why: str) -> bytes:
    """Return the event that everything known so far may be wrong; the stream goes on after entry `index`."""
    return f'event: reset\ndata: {{"index":{index},"why":"{why}"}}\n\n'.encode()


def encode_head(index: int, at: float) -> bytes:
    """Return the event that every change up to entry `index` was sent before it.

    `at` is when this was known to be the ledger's end, in seconds after the answer began.
    """
    return f'event: head\ndata: {{"index":{index},"at":{at:.3f}}}\n\n'.encode()


def _versions(published: PublishedNotice) -> dict[str, int]:
    return {str(key): purpose.version for key, purpose in published.notice.purposes.items()}
