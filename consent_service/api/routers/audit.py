"""The audit pack: a signed bundle that an auditor checks without us."""

from collections.abc import AsyncIterator, Generator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from consent_service.api.answers import BYTES, media
from consent_service.api.callers import SUBJECT_HEADER, Auditor, Service, subject_of
from consent_service.api.schemas import parse_moment
from consent_service.errors import InvalidInput
from consent_service.operations.export_audit import AuditRequest, export_audit

router = APIRouter(prefix="/v1/audit", tags=["audit"])
_MAX_SIZE = 2**63 - 1
Moment = Annotated[str | None, Query(max_length=64, description="RFC 3339 moment of recording")]


@router.get(
    "/export",
    summary="Export an audit pack",
    responses=media("The pack", {"application/zip": BYTES}, 404),
    response_class=StreamingResponse,
)
def get_export(
    request: Request,
    service: Service,
    caller: Auditor,
    start: Annotated[Moment, Query(alias="from")] = None,
    until: Moment = None,
    since: Annotated[
        int | None, Query(ge=0, le=_MAX_SIZE, description="Size of the last pack, to prove continuity with")
    ] = None,
) -> StreamingResponse:
    """Stream a pack of the whole log, of a period, or of the subject that `Consent-Subject` names."""
    named = SUBJECT_HEADER in request.headers
    audit = AuditRequest(
        start=_moment(start),
        until=_moment(until),
        subject=subject_of(request.headers, caller) if named else None,
        since=since,
    )
    pieces = export_audit(service.deployment, caller.tenant, audit)
    next(pieces)  # what is wrong with the request is answered as a problem, not in the middle of a file
    return StreamingResponse(
        _sent(pieces),
        media_type="application/zip",
        headers={
            "Cache-Control": "private, no-store",
            "Content-Disposition": 'attachment; filename="consent-audit.zip"',
        },
    )


async def _sent(pieces: Generator[bytes]) -> AsyncIterator[bytes]:
    """Send the pieces; when the caller goes away, give the database's snapshot back at once."""
    try:
        async for piece in iterate_in_threadpool(pieces):
            yield piece
    finally:
        pieces.close()


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        raise InvalidInput("from and until are RFC 3339 moments such as 2026-11-21T12:00:00Z.") from None
