"""The audit pack: a signed bundle that an auditor checks without us."""

import re
from collections.abc import AsyncIterator, Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from consent_service.api.answers import BYTES, media
from consent_service.api.callers import SUBJECT_HEADER, Auditor, Service, subject_of
from consent_service.api.errors import RangeBeyondEnd
from consent_service.api.parameters import Number
from consent_service.api.schemas import parse_moment
from consent_service.errors import InvalidInput, PackChanged
from consent_service.operations.deployment import Deployment
from consent_service.operations.export_audit import export_audit
from consent_service.operations.repeat_export import AuditRequest, entity_tag, mark_of, new_mark
from consent_service.operations.tenant import Tenant

router = APIRouter(prefix="/v1/audit", tags=["audit"])
_BLOCK = 1 << 17
_RANGE = re.compile(r"bytes=(0|[1-9]\d{0,17})-", re.ASCII)
Moment = Annotated[str | None, Query(max_length=64, description="RFC 3339 moment of recording")]


@router.get(
    "/export",
    summary="Export an audit pack",
    responses={
        **media("The pack", {"application/zip": BYTES}, 404, 409, 416),
        206: {"description": "The rest of the pack", "content": {"application/zip": {"schema": BYTES}}},
    },
    response_class=StreamingResponse,
)
def get_export(
    request: Request,
    service: Service,
    caller: Auditor,
    start: Annotated[Moment, Query(alias="from")] = None,
    until: Moment = None,
    since: Annotated[
        Number | None, Query(description="Size of the last pack, to prove continuity with")
    ] = None,
) -> StreamingResponse:
    """Stream a pack of the whole log, of a period, or of the subject that `Consent-Subject` names.

    A download that broke off goes on with `Range: bytes=N-` and `If-Range` with the ETag of the first answer.
    Where that pack cannot be made again, because something was erased since, the answer is a whole new one.
    """
    named = SUBJECT_HEADER in request.headers
    audit = AuditRequest(
        start=_moment(start),
        until=_moment(until),
        subject=subject_of(request.headers, caller) if named else None,
        since=since,
    )
    deployment, tenant = service.deployment, caller.tenant
    position = _RANGE.fullmatch(request.headers.get("range", ""))
    known = mark_of(tenant, audit, request.headers.get("if-range", "")) if position else None
    if position is not None and known is not None:
        try:
            pieces = export_audit(deployment, tenant, replace(audit, mark=known))
            return _rest(pieces, int(position[1]), service.settings.home, entity_tag(tenant, audit, known))
        except PackChanged:
            known = None
    return pack_of(deployment, tenant, audit)


def pack_of(deployment: Deployment, tenant: Tenant, audit: AuditRequest) -> StreamingResponse:
    """Answer with a whole new pack as a file."""
    mark = new_mark(deployment, tenant)
    pieces = export_audit(deployment, tenant, replace(audit, mark=mark))
    next(pieces)  # what is wrong with the request is answered as a problem, not in the middle of a file
    return StreamingResponse(
        _sent(pieces), media_type="application/zip", headers=_headers(entity_tag(tenant, audit, mark))
    )


def _headers(tag: str) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Disposition": 'attachment; filename="consent-audit.zip"',
        "ETag": tag,
    }


def _rest(pieces: Generator[bytes], first: int, folder: Path, tag: str) -> StreamingResponse:
    """Answer with the pack from byte `first` on.

    HTTP names the last byte before the first is sent, and no pack knows its length before it is made: the
    rest waits in a file without a name, which is gone when it was sent.
    """
    with ExitStack() as until_answered:
        file = until_answered.enter_context(TemporaryFile(dir=folder))
        until_answered.enter_context(closing(pieces))
        size = 0
        for piece in pieces:
            file.write(piece[max(0, first - size) :])
            size += len(piece)
        if first >= size:
            raise RangeBeyondEnd(size)
        until_answered.pop_all()  # the file is closed when it was sent
    file.seek(0)
    headers = {
        **_headers(tag),
        "Content-Length": str(size - first),
        "Content-Range": f"bytes {first}-{size - 1}/{size}",
    }
    return StreamingResponse(
        _sent(_blocks(file)), status_code=206, media_type="application/zip", headers=headers
    )


def _blocks(file: IO[bytes]) -> Generator[bytes]:
    with file:
        while block := file.read(_BLOCK):
            yield block


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
