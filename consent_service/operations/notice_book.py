"""The notices of one tenant in memory: which is current, which was superseded when."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from consent_service.domain.gate import Catalogue
from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.notice_form import parse_notice
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.errors import UnknownNotice
from consent_service.storage.notice_store import StoredNotice
from consent_service.storage.subject_store import from_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNotice:
    """A notice with its digest, its ledger index, and from when until when it was current."""

    notice: Notice
    digest: NoticeDigest
    document: bytes
    index: int
    published_at: datetime
    superseded_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeBook:
    """Every publication in order, and the notices by digest. Publishing makes a new book.

    Going back to earlier words publishes the same digest a second time.
    """

    publications: tuple[PublishedNotice, ...] = ()
    notices: Mapping[NoticeDigest, PublishedNotice] = field(default_factory=dict)
    current: PublishedNotice | None = None
    catalogue: Catalogue = field(default_factory=Catalogue)
    highest_versions: Mapping[PurposeKey, int] = field(default_factory=dict)

    @property
    def last_index(self) -> int | None:
        """The ledger index of the latest publication."""
        return None if self.current is None else self.current.index

    @property
    def categories(self) -> frozenset[CategoryKey]:
        """The categories that some notice had."""
        return frozenset(key for each in self.notices.values() for key in each.notice.categories)

    def find(self, digest: NoticeDigest) -> PublishedNotice:
        """Return the notice with this digest; raise `UnknownNotice`."""
        published = self.notices.get(digest)
        if published is None:
            raise UnknownNotice("No notice with this digest was published.")
        return published

    def require_current(self) -> PublishedNotice:
        """Return the current notice; raise `UnknownNotice` before the first publication."""
        if self.current is None:
            raise UnknownNotice("No notice was published yet: consent notice publish FILE.")
        return self.current

    def catalogue_at(self, moment: datetime) -> Catalogue:
        """Return the purposes that were offered at a past moment."""
        purposes: Mapping[PurposeKey, object] = {}
        catalogue = Catalogue()
        for published in self.publications:
            if published.published_at <= moment:
                purposes = {**purposes, **published.notice.purposes}
                catalogue = _catalogue(published.notice, purposes)
        return catalogue

    def as_of(self, size: int) -> "NoticeBook":
        """Return the book as it was when the ledger had `size` entries."""
        if self.current is None or self.current.index < size:
            return self
        book = NoticeBook()
        for published in self.publications:
            if published.index < size:
                book = book.publish(published)
        return book

    def publish(self, published: PublishedNotice) -> "NoticeBook":
        """Return the book after one more publication."""
        notices = dict(self.notices)
        if self.current is not None:
            notices[self.current.digest] = replace(self.current, superseded_at=published.published_at)
        notices[published.digest] = published
        versions = dict(self.highest_versions)
        for key, purpose in published.notice.purposes.items():
            versions[key] = max(purpose.version, versions.get(key, 0))
        return NoticeBook(
            publications=(*self.publications, published),
            notices=notices,
            current=published,
            catalogue=_catalogue(published.notice, versions),
            highest_versions=versions,
        )


def _catalogue(notice: Notice, ever: Mapping[PurposeKey, object]) -> Catalogue:
    return Catalogue(
        purposes=notice.purposes,
        retired=frozenset(key for key in ever if key not in notice.purposes),
    )


@lru_cache(maxsize=64)  # A verification reads every notice twice; the same bytes are the same words.
def _read(document: bytes) -> Notice:
    return parse_notice(json.loads(document))


def extend_book(book: NoticeBook, stored: Sequence[StoredNotice]) -> NoticeBook:
    """Return the book with these later publications read in."""
    for row in stored:
        book = book.publish(
            PublishedNotice(
                notice=_read(row.document),
                digest=row.digest,
                document=row.document,
                index=row.index,
                published_at=from_ms(row.published_at_ms),
            )
        )
    return book
