"""The two routes every shop waits for, POST /v1/decisions and POST /v1/gate, without FastAPI's machinery.

They are plain Starlette endpoints behind a dictionary look-up, described in the OpenAPI like the others
(`openapi`). The saving is measured by `make bench`; the reason is ADR 0006.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from consent_service.api.callers import Access, authenticated, gpc_of, require_role, subject_of
from consent_service.api.errors import MalformedBody, problem_of, require_json
from consent_service.api.schemas import DuplicateMember, parse_decision, parse_gate
from consent_service.domain.gate import Reason
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import InvalidInput
from consent_service.ledger.record import format_time
from consent_service.observability import DECISIONS, VERDICTS
from consent_service.operations.check_gate import GateQuestion
from consent_service.operations.credentials import SUBJECT_ROLE, Caller
from consent_service.operations.manage_tenants import Role
from consent_service.operations.record_decision import DecisionAnswer, IdempotencyKey, RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject

_Body = TypeVar("_Body")
Endpoint = Callable[[ConsentService, Request], Awaitable[Response]]
_MAX_KEY = 255
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
RECORDED, REPLAYED, REFUSED = (DECISIONS.labels(outcome) for outcome in ("recorded", "replayed", "refused"))
_VERDICTS = {reason: VERDICTS.labels(reason.value) for reason in Reason}


class JsonBytes(Response):
    """A response of a JSON document, or of the text of one."""

    media_type = "application/json"

    def __init__(self, document: object, *, status_code: int = 200, replayed: bool = False) -> None:
        # The base class would build the same headers more slowly.
        self.status_code = status_code
        self.background = None
        self.body = (document if isinstance(document, str) else _encode(document)).encode()
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if replayed:
            self.raw_headers.append((b"idempotent-replayed", b"true"))


def idempotency_of(key: str | None, caller: Caller, subject: Subject, body: bytes) -> IdempotencyKey | None:
    """Return the digests of an idempotency key and its request; raise `InvalidInput` for one of no use.

    A backend's keys are one namespace; a subject's are her own, so that nobody can use up another's. She is
    named by her reference, which outlives a rotation of keys between a request and its repetition.
    """
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY or not key.isascii() or not key.isprintable():
        raise InvalidInput(f"An idempotency key has 1 to {_MAX_KEY} printable ASCII characters.")
    tenant = caller.tenant
    ref = tenant.ref(subject).encode()
    former = IdempotencyKey(
        key_digest=hashlib.sha256((b"" if caller.subject is None else ref) + key.encode()).digest(),
        request_digest=hashlib.sha256(ref + body).digest(),
    )
    return IdempotencyKey(
        key_digest=tenant.request_digest(former.key_digest),
        request_digest=tenant.request_digest(former.request_digest),
        former=former,
    )


def _key_sent(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise InvalidInput("Send one Idempotency-Key header: nobody can say which of several is meant.")
    return keys[0] if keys else None


def read_body(parse: Callable[[bytes], _Body], body: bytes) -> _Body:
    """Return what `parse` reads; raise `MalformedBody`."""
    try:
        return parse(body)
    except ValidationError as error:
        raise MalformedBody.of(error) from None
    except DuplicateMember as error:
        raise MalformedBody(str(error)) from None


async def _json_of(request: Request) -> bytes:
    require_json(request.headers)
    return await request.body()


def recorded(answer: DecisionAnswer) -> str:
    """Return the JSON text of a recorded decision."""
    return f'{answer.text[:-1]},"links":{{"receipt":"/v1/receipts/{answer.index}"}}}}'


async def post_decision(service: ConsentService, request: Request) -> Response:
    """POST /v1/decisions: record one decision; answered when it is durable."""
    caller = require_role(await authenticated(service, request.headers), *ACCESS["/v1/decisions"].roles)
    subject = subject_of(request.headers, caller)
    body = await _json_of(request)
    parsed = read_body(parse_decision, body)
    decision = parsed.to_decision(
        now=service.deployment.clock(),
        actor="backend" if caller.subject is None else "subject",
        gpc=gpc_of(request.headers),
    )
    answer = await service.committer.submit(
        caller.tenant,
        RecordDecision(
            subject=subject,
            decision=decision,
            limits=service.settings.decision_limits,
            idempotency=idempotency_of(_key_sent(request), caller, subject, body),
        ),
    )
    if not isinstance(answer, DecisionAnswer):
        raise TypeError("a decision was answered as something else")
    (REPLAYED if answer.replayed else RECORDED).inc()
    return JsonBytes(recorded(answer), status_code=201, replayed=answer.replayed)


async def post_gate(service: ConsentService, request: Request) -> Response:
    """POST /v1/gate: a verdict for each purpose, from the projection as it is now."""
    caller = require_role(await authenticated(service, request.headers), *ACCESS["/v1/gate"].roles)
    subject = subject_of(request.headers, caller)
    parsed = read_body(parse_gate, await _json_of(request))
    answer = await service.gate.ask(
        GateQuestion(
            tenant_id=caller.tenant.id,
            subject=subject,
            purposes=[PurposeKey(key) for key in parsed.purposes],
            gpc=gpc_of(request.headers),
        )
    )
    verdicts = {}
    for key, verdict in answer.verdicts.items():
        _VERDICTS[verdict.reason].inc()
        verdicts[key] = {
            "allowed": verdict.allowed,
            "reason": verdict.reason.value,
            "valid_until": None if verdict.valid_until is None else format_time(verdict.valid_until),
            "index": verdict.index,
        }
    return JsonBytes({"subject": answer.ref, "verdicts": verdicts, "head": answer.head})


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", "/v1/decisions"): post_decision,
    ("POST", "/v1/gate"): post_gate,
}

ACCESS = {
    "/v1/decisions": Access(roles=(Role.BACKEND, SUBJECT_ROLE)),
    "/v1/gate": Access(roles=(Role.BACKEND,)),
}


class HotRoutes:
    """ASGI middleware that answers the hot routes itself and hands everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        endpoint = ENDPOINTS.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        service: ConsentService = scope["app"].state.service
        try:
            response = await endpoint(service, Request(scope, receive))
        except ClientDisconnect:
            raise  # Nobody is there to be answered.
        except Exception as error:  # noqa: BLE001  # every error leaves as a problem; a bug is logged there
            if endpoint is post_decision:
                REFUSED.inc()
            response = problem_of(error).response()
        await response(scope, receive, send)
