"""The stream: every change, in order, resumable, as server-sent events."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from consent_service.api.answers import TEXT, RelayAnswer, answers, media
from consent_service.api.callers import Backend, Service, authenticate, require_role
from consent_service.api.connection import connection_of
from consent_service.api.hot_routes import JsonBytes
from consent_service.errors import AccessDenied, ConsentToolkitError, InvalidInput
from consent_service.followers.recipient import Recipient
from consent_service.followers.stream import Streams
from consent_service.operations.manage_tenants import Role
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.vault.relay_mac import relay_key

router = APIRouter(tags=["stream"])

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_FIRST = b"retry: 1000\n"
_LONGEST_INDEX = 18
_EVENTS = media("Server-sent events without an end", {"text/event-stream": TEXT})
_LINES = media(
    "A header, a line for each subject, and an end with their number", {"application/x-ndjson": TEXT}
)
_UNSTORED = {"Cache-Control": "no-store"}


class StreamResponse(Response):
    """An answer that writes what its recipient is to get, until one of both sides ends it."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, recipient: Recipient) -> None:
        self.status_code = 200
        self.background = None
        self._streams = streams
        self._recipient = recipient

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the stream: one wake-up and one write for whatever came together."""
        recipient = self._recipient
        connection = connection_of(scope)
        if connection is not None:
            connection.buffer_little()
            recipient.when_cut = connection.abort
            connection.when_shut_down = recipient.end
        gone = asyncio.ensure_future(_end_when_gone(receive, recipient))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            first = _FIRST
            while (data := await recipient.next()) is not None:
                recipient.writing_since = time.monotonic()
                await send({"type": "http.response.body", "body": first + data, "more_body": True})
                recipient.writing_since, first = None, b""
                if connection is not None:
                    recipient.write_now = connection.write_now
            if not recipient.cut_off:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._streams.leave(recipient)
            if connection is not None:
                connection.when_shut_down = None


async def _end_when_gone(receive: Receive, recipient: Recipient) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    recipient.end()


@router.get("/v1/stream", summary="Follow every change", response_class=Response, responses=_EVENTS)
async def get_stream(
    request: Request,
    service: Service,
    caller: Backend,
    last_event_id: Annotated[str | None, Header(description="Index of the last entry seen.")] = None,
    consent_leaf: Annotated[str | None, Header(description="The `leaf` that came with that entry.")] = None,
) -> Response:
    """Send every change as it is committed (server-sent events); resumable, with a heartbeat each second."""
    streams: Streams = request.app.state.streams
    allowed = partial(_still_allowed, service, request, caller.tenant)
    after = _index(last_event_id)
    return StreamResponse(
        streams, await streams.subscribe(caller.tenant, after, allowed, leaf=consent_leaf or None)
    )


@router.get(
    "/v1/snapshot", summary="Where everybody stands", response_class=StreamingResponse, responses=_LINES
)
async def get_snapshot(request: Request, caller: Backend) -> Response:
    """Return every subject's standing, line by line (NDJSON), and the size of the ledger then."""
    streams: Streams = request.app.state.streams
    pieces = streams.snapshots.read(caller.tenant)
    first = await anext(pieces)
    return StreamingResponse(_after(first, pieces), media_type="application/x-ndjson", headers=_UNSTORED)


@router.get("/v1/relay", summary="How to follow over NATS", responses=answers(RelayAnswer))
def get_relay(caller: Backend) -> Response:
    """Return the names under which this tenant's relay publishes, and the key of its messages' MACs."""
    tenant = caller.tenant
    key = b64encode(relay_key(tenant.reference_key)).decode("ascii")
    return JsonBytes({"tenant": tenant.name, "log": tenant.origin, "key": key})


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async with aclosing(rest):
        async for piece in rest:
            yield piece


def _index(last_event_id: str | None) -> int | None:
    """Return the index in a `Last-Event-ID` header, -1 for an empty ledger's; raise `InvalidInput`."""
    if last_event_id is None or last_event_id == "":
        return None
    digits = last_event_id.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > _LONGEST_INDEX:
        raise InvalidInput("Last-Event-ID is the index of the last entry that was seen.")
    return max(-1, int(last_event_id))


def _still_allowed(service: ConsentService, request: Request, tenant: Tenant) -> bool:
    try:
        caller = require_role(authenticate(service, request.headers), Role.BACKEND)
    except AccessDenied:
        return False
    except ConsentToolkitError:  # The database is away: nothing is sent either way.
        return True
    return caller.tenant.id == tenant.id
