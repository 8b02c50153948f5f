"""Published notices of one tenant."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam

from consent_service.domain.notice import NoticeDigest
from consent_service.storage.scope import TenantScope, scoped_select, table_of
from consent_service.storage.tables import NoticeRow

_notice = table_of(NoticeRow)
_SINCE = (
    scoped_select(NoticeRow, "index", "digest", "document", "published_at_ms")
    .where(_notice.c.index > bindparam("after"))
    .order_by(_notice.c.index)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotice:
    """A notice as it was published: canonical JSON bytes, ledger index and time."""

    index: int
    digest: NoticeDigest
    document: bytes
    published_at_ms: int


def notices_after(scope: TenantScope, index: int) -> list[StoredNotice]:
    """Return the notices published after the entry at `index` (-1 for all), oldest first."""
    return [
        StoredNotice(index=at, digest=digest, document=document, published_at_ms=published_at_ms)
        for at, digest, document, published_at_ms in scope.run(_SINCE, after=index)
    ]


def insert_notices(scope: TenantScope, notices: Sequence[StoredNotice]) -> None:
    """Store newly published notices."""
    scope.insert(
        NoticeRow,
        [
            {
                "index": notice.index,
                "digest": notice.digest,
                "document": notice.document,
                "published_at_ms": notice.published_at_ms,
            }
            for notice in notices
        ],
    )
