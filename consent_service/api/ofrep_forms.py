"""What OFREP 0.3.0 sends and expects (github.com/open-feature/protocol): contexts, evaluations, failures."""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from starlette.responses import Response

from consent_service.api.answers import UNCHANGED
from consent_service.api.schemas import DuplicateMember, once
from consent_service.domain.gate import Reason, Verdict
from consent_service.ledger.record import format_time

PARSE_ERROR = "PARSE_ERROR"
TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
INVALID_CONTEXT = "INVALID_CONTEXT"

GRANTED, DENIED = "granted", "denied"
_OF_THE_PURPOSE = frozenset({Reason.PURPOSE_UNKNOWN, Reason.PURPOSE_RETIRED})


class Refused(Exception):
    """An evaluation that cannot be made, with OFREP's code for it."""

    def __init__(self, code: str, details: str) -> None:
        self.code = code
        self.details = details
        super().__init__(details)


def targeting_key(body: bytes) -> str | None:
    """Return the subject that a request's context names, `None` if none; raise `Refused`."""
    try:
        document = json.loads(body, object_pairs_hook=once)
    except DuplicateMember as error:
        raise Refused(PARSE_ERROR, str(error)) from None
    except (ValueError, RecursionError):
        raise Refused(PARSE_ERROR, "The body is not JSON.") from None
    if not isinstance(document, dict) or "context" not in document:
        raise Refused(PARSE_ERROR, "The body is an object with a context.")
    context = document["context"]
    if not isinstance(context, dict):
        raise Refused(INVALID_CONTEXT, "The context is an object.")
    key = context.get("targetingKey")
    if key is None and "targetingKey" not in context:
        return None
    if not isinstance(key, str):
        raise Refused(INVALID_CONTEXT, "The targetingKey is a string.")
    return key


def evaluation(key: str, verdict: Verdict) -> dict[str, object]:
    """Return the evaluation of one flag: a real `false` for every verdict that is not a grant.

    The reason is one of OFREP's, and a value always comes with its variant: clients fail on anything else,
    and a client that fails uses its caller's default. Our reason is `metadata.why`.
    """
    metadata: dict[str, object] = {"why": verdict.reason.value}
    if verdict.index is not None:
        metadata["index"] = verdict.index
    if verdict.valid_until is not None:
        metadata["validUntil"] = format_time(verdict.valid_until)
    return {
        "key": key,
        "value": verdict.allowed,
        "reason": "STATIC" if verdict.reason in _OF_THE_PURPOSE else "TARGETING_MATCH",
        "variant": GRANTED if verdict.allowed else DENIED,
        "metadata": metadata,
    }


def entity_tag(subject: str, flags: object) -> str:
    """Return the ETag of evaluations: it changes when any of them does."""
    document = json.dumps([subject, flags], separators=(",", ":")).encode()
    return f'"{sha256(document).hexdigest()[:32]}"'


def failure(code: str, details: str, *, key: str | None = None, status: int = 400) -> Response:
    """Return a failed evaluation."""
    members = {"errorCode": code, "errorDetails": details}
    return json_answer(members if key is None else {"key": key, **members}, status=status)


def json_answer(document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON that nobody keeps longer than its ETag says."""
    body = json.dumps(document, separators=(",", ":"))
    return Response(
        body, status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


def is_last_modified(value: str) -> bool:
    """Return whether this can be a `flagConfigLastModified`: epoch seconds or an RFC 3339 time."""
    if value.isascii() and value.isdigit():
        return True
    try:
        return "T" in value.upper() and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _documented(answer: Mapping[str, Any], *, bulk: bool) -> dict[str, Any]:
    """Return what the OpenAPI document says about an evaluation."""
    json_of = {"application/json": {"schema": {"type": "object", "properties": answer}}}
    failed = {"errorCode": {"type": "string"}, "errorDetails": {"type": "string"}}
    failed_json = {"application/json": {"schema": {"type": "object", "properties": failed}}}
    context = {
        "type": "object",
        "required": ["targetingKey"],
        "properties": {"targetingKey": {"type": "string"}},
    }
    body = {"type": "object", "required": ["context"], "properties": {"context": context}}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "Evaluated", "content": json_of},
        400: {"description": "Not a question", "content": failed_json},
        401: {"description": "Unknown credential"},
        403: {"description": "Not with this credential"},
        429: {"description": "Too many questions now: see Retry-After", "content": failed_json},
        503: {"description": "Not available now: see Retry-After", "content": failed_json},
    }
    if bulk:
        responses |= UNCHANGED
    extra = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "security": [{"bearer": []}],
    }
    return {"response_class": Response, "responses": responses, "openapi_extra": extra}


_FLAG = {
    "key": {"type": "string"},
    "value": {"type": "boolean"},
    "reason": {"type": "string", "enum": ["STATIC", "TARGETING_MATCH"]},
    "variant": {"type": "string", "enum": [GRANTED, DENIED]},
    "metadata": {"type": "object"},
}
EVALUATION_DOCS = _documented(_FLAG, bulk=False)
"""The single evaluation's part of our OpenAPI document."""
BULK_DOCS = _documented(
    {
        "flags": {"type": "array", "items": {"type": "object", "properties": _FLAG}},
        "eventStreams": {"type": "array", "items": {"type": "object"}},
    },
    bulk=True,
)
"""The bulk evaluation's part of our OpenAPI document."""
