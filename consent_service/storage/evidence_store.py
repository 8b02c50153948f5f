"""Sealed proof of erased subjects' consents, until its retention ends."""

from sqlalchemy import bindparam

from consent_service.storage.scope import TenantScope, scoped_delete, scoped_select, table_of
from consent_service.storage.tables import EvidenceRow

_evidence = table_of(EvidenceRow)
_FIND = scoped_select(EvidenceRow, "sealed").where(_evidence.c.index == bindparam("at"))
_PRUNE = scoped_delete(EvidenceRow).where(_evidence.c.keep_until_ms < bindparam("now"))


def store_evidence(scope: TenantScope, index: int, sealed: bytes, *, keep_until_ms: int) -> None:
    """Keep the sealed proof of the erasure at this index."""
    scope.insert(EvidenceRow, [{"index": index, "sealed": sealed, "keep_until_ms": keep_until_ms}])


def find_evidence(scope: TenantScope, index: int) -> bytes | None:
    """Return the sealed proof of the erasure at this index, if it is kept."""
    row = scope.run(_FIND, at=index).first()
    return None if row is None else bytes(row.sealed)


def prune_evidence(scope: TenantScope, *, now_ms: int) -> int:
    """Delete proof whose retention is over; return of how many erasures."""
    return scope.run(_PRUNE, now=now_ms).rowcount
