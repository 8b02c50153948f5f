"""Step (11) of `verify_ledger`: what stands beside the log is what its entries account for, and no more."""

from contextlib import closing

from consent_service.errors import LedgerCorrupt
from consent_service.ledger.record import ErasureRecord
from consent_service.operations.verify_log import decoded
from consent_service.storage.scope import TenantScope
from consent_service.storage.strays import Accounted, first_stray, stream_accounted
from consent_service.storage.subject_store import to_ms


def verify_beside(scope: TenantScope, *, last: int) -> None:
    """Check keys, values, answers, tombstones and proofs; raise `LedgerCorrupt`.

    A fault that speaks for no entry is named by the `last` one.
    """
    with closing(stream_accounted(scope)) as rows:
        for row in rows:
            if not _accounted_for(row):
                message = f"A {row.table} says something else than the erasure that it names."
                raise LedgerCorrupt(message, index=max(0, row.index))
    stray = first_stray(scope)
    if stray is not None:
        raise LedgerCorrupt(stray.what, index=max(0, last if stray.index is None else stray.index))


def _accounted_for(row: Accounted) -> bool:
    record = None if row.body is None else decoded(row.index, row.body)
    if not isinstance(record, ErasureRecord):
        return False
    moment = record.recorded_at if row.table == "tombstone" else record.evidence_until
    return moment is not None and row.stated_ms == to_ms(moment)
