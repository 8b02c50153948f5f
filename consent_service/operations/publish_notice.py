"""Publish a notice: from then on it is what subjects are shown, and the ledger says so."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.republication import republication_problems
from consent_service.errors import InvalidNotice
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import NoticeRecord
from consent_service.operations.batch import Batch
from consent_service.operations.notice_book import NoticeBook, PublishedNotice
from consent_service.operations.tenant import Subject


def notice_document(notice: Notice) -> tuple[bytes, NoticeDigest]:
    """Return a notice's canonical JSON (RFC 8785) and the SHA-256 that identifies it."""
    document = canonical_json(notice.document())
    return document, NoticeDigest(hashlib.sha256(document).hexdigest())


def require_publishable(notice: Notice, book: NoticeBook) -> None:
    """Raise `InvalidNotice` where `notice` widens what the current one allows without asking again."""
    current = None if book.current is None else book.current.notice
    problems = republication_problems(current, notice, highest=book.highest_versions)
    if problems:
        raise InvalidNotice(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishNotice:
    """A notice to be published. Publishing the current one again changes nothing."""

    notice: Notice

    @property
    def subjects(self) -> Sequence[Subject]:
        """Nobody: a notice is public."""
        return ()

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        """None: a notice's digest identifies it."""
        return ()

    def perform(self, batch: Batch) -> PublishedNotice:
        """Append the publication and return it; raise `InvalidNotice` where it widens in silence."""
        document, digest = notice_document(self.notice)
        current = batch.book.current
        if current is not None and current.digest == digest:
            return current
        require_publishable(self.notice, batch.book)
        record = NoticeRecord(
            notice=digest, supersedes=None if current is None else current.digest, recorded_at=batch.now
        )
        published = PublishedNotice(
            notice=self.notice,
            digest=digest,
            document=document,
            index=batch.append(Kind.NOTICE, record.encode()),
            published_at=batch.now,
        )
        batch.publish(published)
        return published
