"""Re-derive a tenant's whole ledger from what is stored, and name the first entry that does not fit.

Everything is derived anew, in one snapshot and constant memory, by the code that decides and projects:

(1) every leaf is at the next index, in canonical form, of this log;
(2) the commitment in a leaf is that of the opening and record beside it, unless they were erased, and no
    record is without a leaf;
(3) every tile and entry bundle holds the hashes of these leaves, every full tile the nodes half-way up them,
    and there are no others;
(4) every checkpoint is signed by the log's key, over the root at its size; the head agrees with the last;
(5) every notice is the document that its entry names, at the time and after the notice that it says;
(6) every subject's records form one chain (`prev`), and each derived status follows from those before;
(7) the projection is what the records add up to, in the row of the subject that they name;
(8) as many records are missing as the erasures in the log say they destroyed, and before each no fewer than
    were destroyed by then;
(9) every cosignature is its witness's, on the checkpoint of its size;
(10) a key of the tenant that names the entry which announced it names the right one;
(11) every key grant is one that its subject's state accounts for, every value of a profile has one, nothing
    is kept of a subject who is not there, nor an answer of an entry without a record; tombstones and sealed
    proofs say what the erasure says that they name.

Entries that were recorded at two moments are of two commits, and the first of them has a checkpoint.

A fault that lies in no single entry (a checkpoint, the head, the projection) is named by the last entry it
speaks for.
"""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from consent_service.errors import EvidenceError, InvalidInput, LedgerCorrupt, Unavailable
from consent_service.ledger.record import NoticeRecord
from consent_service.ledger.tail import tile_count
from consent_service.ledger.tiles import TILE_WIDTH
from consent_service.operations.collect_cosignatures import verify_cosignature
from consent_service.operations.deployment import Deployment
from consent_service.operations.notice_book import NoticeBook, extend_book
from consent_service.operations.read_cosigned import last_quorum
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_beside import verify_beside
from consent_service.operations.verify_chains import ChainPart, verify_chains
from consent_service.operations.verify_log import LogPart, WholeLog
from consent_service.operations.verify_parts import Progress, processes_worth, verifying_parts
from consent_service.storage.cosignature_store import checkpoint_at, stream_cosignatures
from consent_service.storage.ledger_store import LARGEST_SIZE, Head, read_head
from consent_service.storage.misfits import count_tiles, first_misfit, record_beyond
from consent_service.storage.notice_store import StoredNotice, notices_after
from consent_service.storage.rotation_store import announcements
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import to_ms

_PARTS_PER_PROCESS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLedger:
    """What was verified: `root` over `size` entries, of which `erased` have no record any more.

    `cosigned_size` is that of the largest checkpoint with a quorum of witnesses, 0 if there is none.
    """

    size: int
    root: bytes
    checkpoint: bytes
    checkpoints: int
    cosignatures: int
    cosigned_size: int
    erased: int
    subjects: int


def verify_ledger(
    deployment: Deployment,
    tenant: Tenant,
    *,
    processes: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> VerifiedLedger:
    """Verify a tenant's ledger and projection; raise `LedgerCorrupt` with the first bad index.

    With several `processes` each verifies parts of it, all in one snapshot; raises `Unavailable` where one
    ends early. By default there are as many as are worth it for a log of this size. `progress` is called
    with entries done and entries in all, now and then.
    """
    try:
        return _verified(deployment, tenant, processes, progress)
    except LedgerCorrupt:
        raise
    except (TypeError, ValueError, AttributeError, Unavailable) as error:
        # What cannot even be read may be of a type that no program of ours writes.
        if (fault := _misfit(deployment, tenant)) is not None:
            raise fault from error
        raise


def _verified(
    deployment: Deployment, tenant: Tenant, processes: int | None, progress: Progress
) -> VerifiedLedger:
    if processes is None:
        with deployment.glancing(tenant) as scope:
            processes = processes_worth(read_head(scope).size)
    with verifying_parts(deployment, tenant, processes, progress) as (scope, verified):
        tenant = deployment.refreshed(scope, tenant)
        head = read_head(scope)
        log = WholeLog(scope)
        for part in verified(_log_parts(head.size, processes)):
            log.take(part)
        progress(log.size, head.size)
        _require_nothing_else(scope, log)
        _verify_keys(scope, log)
        _verify_notices(notices_after(scope, -1), head, log)
        chains = verify_chains(scope, verified(_chain_parts(head.next_subject_id, processes)))
        if head.next_subject_id <= chains.last_subject_id:
            raise LedgerCorrupt("The head would give a subject's number again.", index=log.last)
        log.verify_erasures()  # After the chains: one that misses a record says which.
        verify_beside(scope, last=log.last)
        return VerifiedLedger(
            size=log.size,
            root=log.root,
            checkpoint=head.checkpoint,
            checkpoints=log.checkpoints,
            cosignatures=_verified_cosignatures(scope, tenant),
            cosigned_size=(last_quorum(scope, deployment.policy) or (0, b""))[0],
            erased=log.erased,
            subjects=chains.subjects,
        )


def _misfit(deployment: Deployment, tenant: Tenant) -> LedgerCorrupt | None:
    """Return the fault of the first value that is not of its column's type, if there is one."""
    with deployment.reading(tenant) as scope:
        misfit = first_misfit(scope)
    if misfit is None:
        return None
    return LedgerCorrupt(f"{misfit.column} holds a value of another type.", index=misfit.index)


def _require_nothing_else(scope: TenantScope, log: WholeLog) -> None:
    """Take the ends of steps (2) and (3): what is stored beside the log would be shown as part of it."""
    stray = record_beyond(scope, log.size)
    if stray is not None:
        raise LedgerCorrupt("A record has no entry.", index=max(0, stray))
    if count_tiles(scope) != tile_count(log.size):
        raise LedgerCorrupt("A tile or an entry bundle is of no entries of this log.", index=log.last)


def _verify_keys(scope: TenantScope, log: WholeLog) -> None:
    """Step (10); a key that was new before schema 0004 names no entry, nor does a tenant's first."""
    for what, version, index in announcements(scope):
        if index is not None and index != log.keys.get((what, version)):
            message = f"The {what} key names another entry than the one that announced it."
            raise LedgerCorrupt(message, index=max(0, index))


def _log_parts(size: int, processes: int) -> list[LogPart]:
    """Return parts of whole bundles, several a process: they do not take the same time."""
    bundles = -(-size // (_PARTS_PER_PROCESS * processes * TILE_WIDTH))
    starts = [*range(0, max(1, size), max(1, bundles) * TILE_WIDTH)]
    return [LogPart(start=start, stop=stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]


def _chain_parts(next_subject_id: int, processes: int) -> list[ChainPart]:
    step = max(1, next_subject_id // (_PARTS_PER_PROCESS * processes))
    bounds = [-LARGEST_SIZE, *range(step, next_subject_id, step)][: _PARTS_PER_PROCESS * processes]
    return [
        ChainPart(first=first, beyond=beyond)
        for first, beyond in zip(bounds, [*bounds[1:], LARGEST_SIZE], strict=True)
    ]


def _verified_cosignatures(scope: TenantScope, tenant: Tenant) -> int:
    """Step (9)."""
    count = 0
    with closing(stream_cosignatures(scope)) as cosignatures:
        for cosignature in cosignatures:
            try:
                verify_cosignature(checkpoint_at(scope, cosignature.size), cosignature, tenant)
            except EvidenceError as error:
                last = max(0, cosignature.size - 1)
                raise LedgerCorrupt(f"A cosignature does not verify: {error}", index=last) from error
            count += 1
    return count


def _verify_notices(stored: Sequence[StoredNotice], head: Head, log: WholeLog) -> None:
    """Step (5); a document is read only once its digest is right."""
    published = {notice.index: notice for notice in stored}
    book = NoticeBook()
    for index in sorted(published.keys() | log.notices.keys()):
        if index not in published or index not in log.notices:
            raise LedgerCorrupt("A notice and its entry do not belong together.", index=index)
        _check_notice(published[index], log.notices[index], book)
        try:
            book = extend_book(book, [published[index]])
        except (InvalidInput, ValueError) as error:
            raise LedgerCorrupt("A notice cannot be read by this program.", index=index) from error
    if head.notice_index != book.last_index:
        raise LedgerCorrupt("The head names another notice as current.", index=log.last)


def _check_notice(notice: StoredNotice, record: NoticeRecord, book: NoticeBook) -> None:
    digest = hashlib.sha256(notice.document).hexdigest()
    if not digest == notice.digest == record.notice:
        raise LedgerCorrupt("A notice's words are not those that its entry names.", index=notice.index)
    if notice.published_at_ms != to_ms(record.recorded_at):
        raise LedgerCorrupt("A notice was not published when its entry says.", index=notice.index)
    if record.supersedes != (None if book.current is None else book.current.digest):
        raise LedgerCorrupt("A notice supersedes another one than its entry says.", index=notice.index)
