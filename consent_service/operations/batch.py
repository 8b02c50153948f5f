"""One transaction on one tenant's log: what the requests in it share, and what it will store."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from consent_service.domain.consent import NOBODY
from consent_service.domain.subject import SubjectRef
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.entry import OPENING_SIZE, Kind, commitment, leaf
from consent_service.ledger.note import NoteSigner
from consent_service.ledger.tail import Tail
from consent_service.operations.effect import Effect
from consent_service.operations.key_moves import KeyMoves
from consent_service.operations.notice_book import NoticeBook, PublishedNotice
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.idempotency_store import (
    StoredAnswer,
    find_answers,
    forget_answers,
    insert_answers,
)
from consent_service.storage.ledger_store import (
    Head,
    StoredRecord,
    append_rows,
    delete_records,
    move_head,
    store_tree,
    subject_records,
)
from consent_service.storage.notice_store import StoredNotice, insert_notices
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import (
    StoredSubject,
    delete_subjects,
    find_subjects,
    insert_subjects,
    linked_to,
    move_subjects,
    to_ms,
)
from consent_service.storage.vault_store import erase_vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure deleted: whose, how many rows of which table, and the records."""

    refs: Sequence[SubjectRef]
    destroyed: Mapping[str, int]
    records: Sequence[StoredRecord] = field(repr=False)


class Request(Protocol):
    """Something that appends to a log. `perform` checks everything before it changes the batch."""

    @property
    def subjects(self) -> Sequence[Subject]:
        """The subjects whose state it needs."""

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        """The digests under which an earlier answer to it may be stored."""

    def perform(self, batch: "Batch") -> object:
        """Append to the batch and return the answer, or raise and leave no trace."""


class Batch:
    """The head is locked, the subjects are loaded; `append` adds entries; `store` writes them all.

    `now` is the moment every entry of this batch is recorded at; `successors` are signing keys that this
    batch introduces, which sign its checkpoint beside the one before.
    """

    def __init__(
        self, scope: TenantScope, tenant: Tenant, *, head: Head, tail: Tail, book: NoticeBook, now: datetime
    ) -> None:
        self.scope = scope
        self.tenant = tenant
        self.book = book
        self.now = now
        self.keys = KeyMoves(scope, tenant.keyring)
        self.effects: dict[int, Effect] = {}
        self.successors: list[NoteSigner] = []
        self._head = head
        self._tail = tail
        self._next_subject_id = head.next_subject_id
        self._written = self._size = head.size
        self._openings: dict[int, bytes] = {}
        self._named: dict[bytes, Subject] = {}
        self._subjects: dict[bytes, StoredSubject] = {}
        self._new: list[StoredSubject] = []
        self._moved: dict[int, StoredSubject] = {}
        self._answers: dict[bytes, StoredAnswer] = {}
        self._new_answers: list[StoredAnswer] = []
        self._notices: list[StoredNotice] = []
        self._entries: list[tuple[int, bytes]] = []
        self._records: list[tuple[int, int | None, bytes, bytes]] = []

    def load(self, requests: Iterable[Request], *, answers_kept: timedelta) -> None:
        """Read what the requests will ask for: one query for the subjects, one for earlier answers."""
        # Named anew: another process may have replaced the blind-index key since they were named.
        self._named = {
            subject.blind_index: self.tenant.named_now(subject)
            for request in requests
            for subject in request.subjects
        }
        keys = {key for request in requests for key in request.idempotency_keys}
        found = find_subjects(self.scope, [each for named in self._named.values() for each in named.indexes])
        self._subjects = {
            named.blind_index: found[index]
            for named in self._named.values()
            for index in named.indexes
            if index in found
        }
        self.keys.load(subject.id for subject in self._subjects.values())
        self._answers = find_answers(self.scope, list(keys), since_ms=to_ms(self.now - answers_kept))

    @property
    def size(self) -> int:
        """How many entries the log has, those of this batch included."""
        return self._size

    def subject(self, subject: Subject) -> StoredSubject | None:
        """Return the subject as the entries so far left her, or `None` if she has none."""
        return self._subjects.get(self._named[subject.blind_index].blind_index)

    def require_subject(self, subject: Subject) -> StoredSubject:
        """Return the subject; one without entries is prepared, and stored with her first entry."""
        subject = self._named[subject.blind_index]
        known = self._subjects.get(subject.blind_index)
        if known is not None:
            return known
        return StoredSubject(
            id=0,
            ref=self.tenant.ref(subject),
            blind_index=subject.blind_index,
            sealed_id=self.tenant.keyring.seal_external_id(
                subject.external_id, blind_index=subject.blind_index
            ),
            state=NOBODY,
        )

    def append(self, kind: Kind, record: bytes, subject: StoredSubject | None = None) -> int:
        """Append an entry with a fresh opening, move the subject's chain on, return the index."""
        opening = os.urandom(OPENING_SIZE)
        committed = commitment(opening, record)
        entry = leaf(self.tenant.origin, kind, committed)
        index, self._size = self._size, self._size + 1
        if subject is not None:
            self._place(subject)
            subject.last_index, subject.last_commitment = index, committed
        subject_id = None if subject is None else subject.id
        self._entries.append((index, entry))
        self._openings[index] = opening
        self._records.append((index, subject_id, opening, record))
        return index

    def _place(self, subject: StoredSubject) -> None:
        if subject.id == 0:
            subject.id = self._next_subject_id
            self._next_subject_id += 1
            self._subjects[subject.blind_index] = subject
            self._new.append(subject)
        elif subject.last_index < self._written:
            self._moved[subject.id] = subject

    def publish(self, published: PublishedNotice) -> None:
        """Store a notice that was just appended, and make it current for the rest of the batch."""
        self.book = self.book.publish(published)
        self._notices.append(
            StoredNotice(
                index=published.index,
                digest=published.digest,
                document=published.document,
                published_at_ms=to_ms(published.published_at),
            )
        )

    def erase(self, subject: StoredSubject) -> Erased:
        """Delete all that is held about a subject and about those linked to her; the leaves stay.

        What this batch has appended is written first, so that nothing of hers is written after.
        """
        self._write()
        group = {subject.id: subject.ref}
        found = [subject.id]
        while found:
            linked = dict(pair for known in found for pair in linked_to(self.scope, known))
            group |= linked
            found = list(linked)
        records = [record for known in group for record in subject_records(self.scope, known)]
        erased = delete_subjects(self.scope, list(group))  # First: whoever counts her uses holds this row.
        indexes = delete_records(self.scope, list(group))
        forget_answers(self.scope, indexes)
        destroyed = erase_vault(self.scope, group)
        destroyed["record"] = len(indexes)
        destroyed["subject"] = erased
        self.keys.forget(group)
        self._subjects = {key: known for key, known in self._subjects.items() if known.id not in group}
        self._answers = {key: known for key, known in self._answers.items() if known.index not in indexes}
        return Erased(refs=list(group.values()), destroyed=destroyed, records=records)

    def opening(self, index: int) -> bytes:
        """Return the opening of an entry that was just appended."""
        return self._openings[index]

    def answered(self, key: bytes) -> StoredAnswer | None:
        """Return the answer given under this idempotency key, in this batch or before."""
        return self._answers.get(key)

    def remember(self, answer: StoredAnswer) -> None:
        """Keep an answer under its idempotency key."""
        self._answers[answer.key_digest] = answer
        self._new_answers.append(answer)

    def store(self) -> None:
        """Write everything and sign the checkpoint over it; the transaction's owner commits."""
        if self._size == self._head.size:
            return
        self._write()
        size, root = self._size, self._tail.frontier.root()
        note = sign_checkpoint(
            Checkpoint(origin=self.tenant.origin, size=size, root=root), self.tenant.signer, *self.successors
        )
        store_tree(self.scope, tiles=self._tail.take_changed(), size=size, checkpoint=note)
        move_head(
            self.scope,
            replace(
                self._head,
                size=size,
                frontier=self._tail.frontier.encode(),
                checkpoint=note,
                notice_index=self.book.last_index,
                next_subject_id=self._next_subject_id,
            ),
        )
        self.keys.count()

    def _write(self) -> None:
        insert_subjects(self.scope, self._new)
        move_subjects(self.scope, list(self._moved.values()))
        append_rows(self.scope, entries=self._entries, records=self._records)
        self._tail.extend([entry for _, entry in self._entries])
        self.keys.store()
        insert_notices(self.scope, self._notices)
        insert_answers(self.scope, self._new_answers, created_at_ms=to_ms(self.now))
        self._new, self._moved, self._new_answers, self._notices = [], {}, [], []
        self._entries, self._records = [], []
        self._written = self._size
