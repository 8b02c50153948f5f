"""What somebody who answers for data protection is shown: counts, and the health of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.note import NoteVerifier
from consent_service.observability import REASONS, sampled
from consent_service.operations.notice_book import NoticeBook
from consent_service.operations.read_cosigned import WitnessStatus, witness_statuses
from consent_service.operations.service import ConsentService
from consent_service.operations.tally_ledger import Tally
from consent_service.operations.tenant import SIGNING, VAULT, Tenant
from consent_service.storage.ledger_store import read_head
from consent_service.storage.rotation_store import epoch_of
from consent_service.storage.subject_store import from_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCounts:
    """What this process counted since it started: no tenant is named in it."""

    waiting: int
    dropped: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Everything the page shows of one tenant; `process` only where the deployment has no other."""

    tally: Tally
    book: NoticeBook
    origin: str
    vkey: str
    size: int
    root: bytes
    signing_since: datetime
    data_since: datetime
    witnesses: Sequence[WitnessStatus]
    process: ProcessCounts | None


def read_dashboard(service: ConsentService, tenant: Tenant) -> Dashboard:
    """Return the counts and the ledger's health of one tenant."""
    deployment = service.deployment
    tally = service.tally.take(tenant)
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        book = deployment.book(scope, head)
        vkeys = deployment.refreshed(scope, tenant).vkeys
        since = {kind: from_ms(epoch_of(scope, kind)[1]) for kind in (SIGNING, VAULT)}
    checkpoint = open_checkpoint(
        head.checkpoint, *(NoteVerifier.parse(vkey) for vkey in vkeys[::-1]), origin=tenant.origin
    )
    return Dashboard(
        tally=tally,
        book=book,
        origin=tenant.origin,
        vkey=vkeys[-1],
        size=checkpoint.size,
        root=checkpoint.root,
        signing_since=since[SIGNING],
        data_since=since[VAULT],
        witnesses=witness_statuses(deployment, tenant),
        process=_process() if len(deployment.tenants()) == 1 else None,
    )


def _process() -> ProcessCounts:
    return ProcessCounts(
        waiting=sampled("consent_committer_waiting"),
        dropped=sampled("consent_uses_total", outcome="dropped"),
        reasons={reason: sampled("consent_withdrawal_reasons_total", reason=reason) for reason in REASONS},
    )
