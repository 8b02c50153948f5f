"""The OpenFeature Remote Evaluation Protocol 0.3.0: a gate is a boolean flag, a subject a targeting key.

Whatever is not a grant is a real `false`, never an error: a client that gets an error uses its caller's
default. Errors remain for what cannot be read, and for a service that cannot answer.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from consent_service.api.answers import TEXT, media
from consent_service.api.callers import Service, authenticated, checks_itself, gpc_of, require_role
from consent_service.api.conditional import unchanged
from consent_service.api.ofrep_forms import (
    BULK_DOCS,
    EVALUATION_DOCS,
    INVALID_CONTEXT,
    PARSE_ERROR,
    TARGETING_KEY_MISSING,
    Refused,
    entity_tag,
    evaluation,
    failure,
    is_last_modified,
    json_answer,
    targeting_key,
)
from consent_service.api.routers.stream import StreamResponse
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import ExternalId
from consent_service.errors import (
    InvalidSubject,
    QueueFull,
    ShuttingDown,
    Unauthenticated,
    Unavailable,
)
from consent_service.followers.stream import Streams
from consent_service.operations.check_gate import GateAnswer, GateQuestion
from consent_service.operations.credentials import SUBJECT_ROLE, Caller
from consent_service.operations.manage_tenants import Role
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject
from consent_service.operations.watch_tickets import issue_ticket, open_ticket

router = APIRouter(tags=["ofrep"])

_ROLES = (Role.BACKEND, SUBJECT_ROLE)
_NOBODY = Subject(bytes(32), ExternalId(""))
_INACTIVITY_S = 120
_REFETCH = b'data: {"type":"refetchEvaluation"}\n\n'
_EVENTS = media("Server-sent events", {"text/event-stream": TEXT}, 401)
Ticket = Annotated[str, Query(description="From `eventStreams` of an evaluation.")]


@router.post("/ofrep/v1/evaluate/flags/{key:path}", summary="Evaluate one gate", **EVALUATION_DOCS)
@checks_itself(*_ROLES)
async def post_flag(key: str, request: Request, service: Service) -> Response:
    """Evaluate one gate as an OFREP flag; whatever is not a grant is `false`, an unknown purpose too."""
    try:
        answer = await _ask(service, request, [PurposeKey(key)])
    except Refused as refused:
        return failure(refused.code, refused.details, key=key)
    except Unavailable as error:
        return _unavailable(error)
    return json_answer(evaluation(key, answer.verdicts[PurposeKey(key)]))


@router.post("/ofrep/v1/evaluate/flags", summary="Evaluate every gate", **BULK_DOCS)
@checks_itself(*_ROLES)
async def post_flags(request: Request, service: Service) -> Response:
    """Evaluate every gate of a subject; with an ETag, and with where to hear of her changes."""
    modified = request.query_params.get("flagConfigLastModified")
    if modified is not None and not is_last_modified(modified):
        return failure(PARSE_ERROR, "flagConfigLastModified is epoch seconds or an RFC 3339 time.")
    try:
        answer = await _ask(service, request, None)
    except Refused as refused:
        return failure(refused.code, refused.details)
    except Unavailable as error:
        return _unavailable(error)
    flags = [evaluation(name, verdict) for name, verdict in answer.verdicts.items()]
    tag = entity_tag(answer.ref, flags)
    if unchanged(request, tag):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-store"})
    streams = [_event_stream(service, request, answer)]
    return json_answer({"flags": flags, "eventStreams": streams}, headers={"ETag": tag})


@router.get(
    "/ofrep/v1/stream", summary="Hear of a subject's changes", response_class=Response, responses=_EVENTS
)
async def get_changes(request: Request, service: Service, ticket: Ticket = "") -> Response:
    """Say `refetchEvaluation` (server-sent events) at once and whenever the ticket's subject has changed."""
    tenant, ref = await run_in_threadpool(open_ticket, service.deployment, ticket)
    streams: Streams = request.app.state.streams
    allowed = partial(_still_good, service, ticket)
    return StreamResponse(streams, await streams.watch(tenant, ref, allowed, told=_REFETCH))


async def _ask(service: ConsentService, request: Request, keys: list[PurposeKey] | None) -> GateAnswer:
    headers = _with_bearer(request.headers)
    caller = require_role(await authenticated(service, headers), *_ROLES)
    subject = _subject(caller, targeting_key(await request.body()))
    return await service.gate.ask(
        GateQuestion(tenant_id=caller.tenant.id, subject=subject, purposes=keys, gpc=gpc_of(headers))
    )


def _with_bearer(headers: Headers) -> Headers:
    """Return the headers with OFREP's other place for a key, `X-API-Key`, in the usual one.

    Raises `Unauthenticated` for two credentials that differ: one of them is a mistake.
    """
    key = headers.get("x-api-key")
    if key is None:
        return headers
    if "authorization" in headers:
        if headers["authorization"].partition(" ")[2].strip() != key.strip():
            raise Unauthenticated("Send one credential: Authorization and X-API-Key differ.")
        return headers
    return Headers(raw=[*headers.raw, (b"authorization", f"Bearer {key}".encode("latin-1"))])


def _subject(caller: Caller, key: str | None) -> Subject:
    """Return whom an evaluation is about: of the token, or by targeting key; raise `Refused`.

    A key that cannot be anybody's was never granted anything, so it is nobody and not an error.
    """
    if key is None:
        if caller.subject is None:
            raise Refused(TARGETING_KEY_MISSING, "The context needs a targetingKey.")
        return caller.subject
    try:
        named = caller.tenant.subject(key)
    except InvalidSubject:
        named = _NOBODY
    if caller.subject is not None and caller.subject.external_id != named.external_id:
        raise Refused(INVALID_CONTEXT, "The targetingKey is not the subject of this token.")
    return named


def _event_stream(service: ConsentService, request: Request, answer: GateAnswer) -> dict[str, Any]:
    tenant = service.deployment.tenant(answer.tenant_id)
    ticket = issue_ticket(tenant, answer.ref, service.deployment.clock())
    path = f"{request.scope.get('root_path', '')}/ofrep/v1/stream?ticket={ticket}"
    return {"type": "sse", "endpoint": {"requestUri": path}, "inactivityDelaySec": _INACTIVITY_S}


def _unavailable(error: Unavailable) -> Response:
    overloaded = isinstance(error, QueueFull | ShuttingDown)
    return json_answer(
        {"errorCode": "GENERAL", "errorDetails": str(error)},
        status=429 if overloaded else 503,
        headers={"Retry-After": str(error.retry_after)},
    )


def _still_good(service: ConsentService, ticket: str) -> bool:
    try:
        open_ticket(service.deployment, ticket)
    except Unauthenticated:
        return False
    return True
