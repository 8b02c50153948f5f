"""The one place where errors become HTTP: RFC 9457 problem+json with a stable `type`.

4xx is the caller's fault, 422 only a body that does not parse, 503 says when to come back, 500 is a bug.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response

from consent_service import errors
from consent_service.api.callers import require_access
from consent_service.api.schemas import DuplicateMember
from consent_service.observability import logger

_MOST_FINDINGS = 20
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An RFC 9457 problem; `extra` members and `headers` go out with it."""

    slug: str
    title: str
    status: int
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }

    def response(self) -> Response:
        """Return the HTTP response."""
        return Response(
            json.dumps(self.document(), ensure_ascii=False, separators=(",", ":")),
            status_code=self.status,
            media_type=MEDIA_TYPE,
            headers={"Cache-Control": "no-store", **self.headers},
        )


class BodyTooLarge(errors.InvalidInput):
    """A request body beyond the limit."""


class CompressedBody(errors.InvalidInput):
    """A request body in a content coding such as gzip: none is read here."""


class RangeBeyondEnd(errors.InvalidInput):
    """A download is to go on behind the end of its file, which has `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"The file has {size} bytes: there is nothing from there on.")


class MalformedBody(errors.InvalidInput):
    """A body or parameter that does not have the documented form; says where, never what was sent."""

    def __init__(self, detail: str, findings: Sequence[Mapping[str, str]] = ()) -> None:
        self.findings = tuple(findings)
        super().__init__(detail)

    @classmethod
    def of(cls, error: ValidationError | RequestValidationError) -> "MalformedBody":
        """Say what is wrong and where, never what was sent."""
        findings = [
            {"at": ".".join(str(part)[:64] for part in finding["loc"]), "message": str(finding["msg"])}
            for finding in error.errors()[:_MOST_FINDINGS]
        ]
        return cls("The request does not have the documented form.", findings)


# The first class that fits decides: subclasses come before their bases.
KINDS: dict[type[errors.ConsentToolkitError], tuple[int, str, str]] = {
    MalformedBody: (422, "malformed-body", "Malformed request"),
    BodyTooLarge: (413, "body-too-large", "Body too large"),
    CompressedBody: (415, "compressed-body", "Compressed body"),
    RangeBeyondEnd: (416, "range-beyond-end", "Range beyond the end"),
    errors.UnknownPurpose: (400, "unknown-purpose", "Unknown purpose"),
    errors.ClockOutOfBounds: (400, "clock-out-of-bounds", "Clock out of bounds"),
    errors.NoticeSuperseded: (409, "notice-superseded", "Notice superseded"),
    errors.InvalidDecision: (400, "invalid-decision", "Invalid decision"),
    errors.InvalidNotice: (400, "invalid-notice", "Invalid notice"),
    errors.InvalidProfile: (400, "invalid-profile", "Invalid profile"),
    errors.InvalidSubject: (400, "invalid-subject", "Invalid subject"),
    errors.InvalidInput: (400, "invalid-input", "Invalid input"),
    errors.UnknownNotice: (404, "unknown-notice", "Unknown notice"),
    errors.UnknownEntry: (404, "unknown-entry", "Unknown entry"),
    errors.UnknownSubject: (404, "unknown-subject", "Unknown subject"),
    errors.UnknownTenant: (404, "unknown-tenant", "Unknown tenant"),
    errors.NoSuchForm: (406, "no-such-form", "No such form"),
    errors.NotFound: (404, "not-found", "Not found"),
    errors.IdempotencyKeyReused: (409, "idempotency-key-reused", "Idempotency key reused"),
    errors.ErasureRefused: (409, "erasure-refused", "Erasure refused"),
    errors.RotationOvertaken: (409, "rotation-overtaken", "Rotation overtaken"),
    errors.NoLiveGrant: (409, "no-live-grant", "No live grant"),
    errors.LinkRefused: (409, "link-refused", "Link refused"),
    errors.Conflict: (409, "conflict", "Conflict"),
    errors.Unauthenticated: (401, "unauthenticated", "Unauthenticated"),
    errors.PurposeClosed: (403, "purpose-closed", "The gate is closed"),
    errors.AccessDenied: (403, "forbidden", "Forbidden"),
    errors.QueueFull: (503, "queue-full", "Too many requests are waiting"),
    errors.Unavailable: (503, "unavailable", "Not available now"),
}

_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address: see /docs.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address has other methods: see Allow and /docs.",
}
_JSON = "application/json"
_BUG = Problem(
    slug="internal-error",
    title="Internal error",
    status=500,
    detail="Something is wrong on our side; nothing was stored. The log has the details.",
)


def problem_of(error: Exception) -> Problem:
    """Return the problem that tells a caller about `error`; one we did not foresee is a bug of ours."""
    for kind, (status, slug, title) in KINDS.items():
        if isinstance(error, kind):
            return Problem(
                slug=slug,
                title=title,
                status=status,
                detail=str(error),
                extra=_extra(error),
                headers=_headers(error),
            )
    logger.error("bug", error=type(error).__name__, exc_info=error)
    return _BUG


def _extra(error: Exception) -> dict[str, Any]:
    if isinstance(error, errors.InvalidNotice):
        return {"problems": [{"path": p.path, "message": p.message} for p in error.problems]}
    if isinstance(error, errors.NoLiveGrant):
        return {"categories": list(error.categories)}
    if isinstance(error, errors.PurposeClosed):
        return {"purpose": error.purpose, "reason": error.reason}
    if isinstance(error, MalformedBody) and error.findings:
        return {"problems": [dict(finding) for finding in error.findings]}
    return {}


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, errors.Unavailable):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, CompressedBody):
        return {"Accept-Encoding": "identity"}
    if isinstance(error, RangeBeyondEnd):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="consent"'}
    return {}


def install(
    app: FastAPI,
    methods_of: Callable[[str], Collection[str]],
    answer: Callable[[Request, Problem], Awaitable[Response]],
) -> None:
    """Let `answer` give the response to every error of `app`; `methods_of` a path are those of its routes."""

    @app.exception_handler(errors.ConsentToolkitError)
    async def _ours(request: Request, error: errors.ConsentToolkitError) -> Response:
        return await answer(request, problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def _malformed(request: Request, error: RequestValidationError) -> Response:
        malformed = MalformedBody.of(error)
        if any(finding["loc"] == ("body",) for finding in error.errors()):
            try:
                require_json(request.headers)
            except MalformedBody as said:
                malformed = said
        return await answer(request, await _unless_refused(request, malformed))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:  # Only what FastAPI could not read ends here.
            twice = isinstance(error.__cause__, DuplicateMember)
            detail = str(error.__cause__) if twice else "The request's body cannot be read."
            return await answer(request, await _unless_refused(request, MalformedBody(detail)))
        status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
        if methods := methods_of(request.scope["path"]):
            status, headers = HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(sorted(methods))}
        title = status.phrase.capitalize()
        slug = title.lower().replace(" ", "-")
        detail = _DETAILS.get(status, title)
        problem = Problem(slug=slug, title=title, status=int(status), detail=detail, headers=headers)
        return await answer(request, problem)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        return await answer(request, problem_of(error))


def require_json(headers: Headers) -> None:
    """Raise `MalformedBody` where a body says it is no JSON; one that says nothing is."""
    said = headers.get("content-type")
    if not said or said == _JSON:
        return
    media_type = said.partition(";")[0].strip().lower()
    if media_type != _JSON and not media_type.endswith("+json"):
        raise MalformedBody("Send JSON, as Content-Type: application/json.")


async def _unless_refused(request: Request, error: MalformedBody) -> Problem:
    try:
        await run_in_threadpool(require_access, request)
    except errors.ConsentToolkitError as refusal:
        return problem_of(refusal)
    return problem_of(error)
