"""Decisions in bulk and in history, consents now and then; a single decision is a hot route."""

import json
from collections.abc import Hashable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.answers import TEXT, ConsentsAnswer, HistoryAnswer, answers, media
from consent_service.api.callers import AnyReader, Backend, Service, gpc_of, subject_of
from consent_service.api.errors import BodyTooLarge, MalformedBody, problem_of
from consent_service.api.hot_routes import (
    RECORDED,
    REFUSED,
    REPLAYED,
    JsonBytes,
    idempotency_of,
    read_body,
    recorded,
)
from consent_service.api.schemas import EXAMPLE_DECISION, parse_batch_line, parse_moment
from consent_service.domain.decision import Decision
from consent_service.errors import ConsentToolkitError, InvalidInput
from consent_service.ledger.record import DecisionRecord, format_time
from consent_service.operations.batch import Request as BatchRequest
from consent_service.operations.credentials import Caller
from consent_service.operations.read_history import Consents, HistoryEntry, read_consents, read_history
from consent_service.operations.record_decision import DecisionAnswer, RecordDecision
from consent_service.operations.service import ConsentService

router = APIRouter(tags=["decisions"])
MAX_BATCH = 1000
_NDJSON = "application/x-ndjson"
_AROUND_JSON = b" \t\r"
"""What may stand around a line's JSON and means nothing (RFC 8259): the same line under CRLF is the same."""


_BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            _NDJSON: {
                "schema": {"type": "string", "description": "One `BatchLine` a line."},
                "example": json.dumps(
                    {**EXAMPLE_DECISION, "subject": "customer-42", "idempotency_key": "a1"}
                ),
            }
        },
    }
}


@router.post(
    "/v1/decisions/batch",
    summary="Record up to 1,000 decisions",
    response_class=Response,
    responses=media("A line for each", {_NDJSON: TEXT}),
    openapi_extra=_BATCH_BODY,
)
async def post_batch(request: Request, service: Service, caller: Backend) -> Response:
    """Record decisions line by line (NDJSON), each with its `subject`; the answer has a line for each.

    A line that is refused is answered with its problem and stores nothing; the others are recorded.
    """
    if "idempotency-key" in request.headers:
        raise InvalidInput(
            "Each line of a batch has its own idempotency_key: send no Idempotency-Key header."
        )
    sent = (await request.body()).split(b"\n")
    lines = [line for each in sent if (line := each.strip(_AROUND_JSON))]
    if not lines:
        raise MalformedBody("A batch has at least one decision.")
    if len(lines) > MAX_BATCH:
        raise BodyTooLarge(f"A batch has at most {MAX_BATCH} decisions.")
    prepared = await run_in_threadpool(_prepare, service, caller, lines, gpc=gpc_of(request.headers))
    answers = iter(
        await service.committer.submit_many(
            caller.tenant, [item for item in prepared if not isinstance(item, Exception)]
        )
    )
    results = [item if isinstance(item, Exception) else next(answers) for item in prepared]
    return Response("".join([_line(result) for result in results]), media_type=_NDJSON)


def _prepare(
    service: ConsentService, caller: Caller, lines: Sequence[bytes], *, gpc: bool
) -> list[BatchRequest | Exception]:
    now = service.deployment.clock()
    limits = service.settings.decision_limits
    prepared: list[BatchRequest | Exception] = []
    decisions: dict[Hashable, Decision] = {}
    for line in lines:
        try:
            parsed = read_body(parse_batch_line, line)
            subject = caller.tenant.subject(parsed.subject)
            act = parsed.act if parsed.decided_at is None else None
            decision = decisions.get(act)
            if decision is None:
                decision = parsed.to_decision(now=now, actor="backend", gpc=gpc)
                if act is not None:
                    decisions[act] = decision
            prepared.append(
                RecordDecision(
                    subject=subject,
                    decision=decision,
                    shared=act is not None,
                    limits=limits,
                    idempotency=idempotency_of(parsed.idempotency_key, caller, subject, line),
                )
            )
        except ConsentToolkitError as error:
            prepared.append(error)
    return prepared


def _line(result: object) -> str:
    if isinstance(result, DecisionAnswer):
        (REPLAYED if result.replayed else RECORDED).inc()
        return f'{{"status":201,{recorded(result)[1:]}\n'
    if isinstance(result, Exception):
        REFUSED.inc()
        return json.dumps(problem_of(result).document(), ensure_ascii=False, separators=(",", ":")) + "\n"
    raise TypeError("a decision was answered as something else")


@router.get("/v1/decisions", summary="Read a subject's history", responses=answers(HistoryAnswer))
def get_decisions(request: Request, service: Service, caller: AnyReader) -> Response:
    """Return every entry of the subject, oldest first; `notice` leads to the words that were shown."""
    subject = subject_of(request.headers, caller)
    entries = read_history(service.deployment, caller.tenant, subject)
    return JsonBytes({"decisions": [history_document(entry) for entry in entries]})


def history_document(entry: HistoryEntry) -> dict[str, Any]:
    """Return the JSON members of one entry of a subject's history."""
    record = entry.record
    document: dict[str, Any] = {
        "index": entry.index,
        "recorded_at": format_time(record.recorded_at),
        "consents": {
            key: {"status": outcome.status.value, "valid_until": format_time(outcome.valid_until)}
            for key, outcome in record.consents.items()
        },
    }
    if not isinstance(record, DecisionRecord):
        return {**document, "kind": "link", "linked": record.linked, "actor": record.actor}
    decision = record.decision
    return {
        **document,
        "kind": "decision",
        "decided_at": format_time(decision.decided_at),
        "notice": decision.notice,
        "choices": {key: choice.value for key, choice in decision.choices.items()},
        "method": decision.method,
        "source": decision.source,
        "actor": decision.actor,
        "language": decision.language,
        "gpc": decision.gpc,
        "evidence": decision.evidence,
    }


@router.get("/v1/consents", summary="Read a subject's consents", responses=answers(ConsentsAnswer))
def get_consents(
    request: Request,
    service: Service,
    caller: AnyReader,
    as_of: Annotated[str | None, Query(max_length=64, description="RFC 3339 moment; now if absent")] = None,
) -> Response:
    """Return the status of every purpose, now or at another moment, and what the gate says to it.

    At a moment to come it is what holds if nobody chooses anew and no notice is published by then.
    """
    subject = subject_of(request.headers, caller)
    moment = None
    if as_of is not None:
        try:
            moment = parse_moment(as_of)
        except (ValueError, OverflowError):
            raise InvalidInput("as_of is an RFC 3339 moment such as 2026-11-21T12:00:00Z.") from None
    consents = read_consents(service.deployment, caller.tenant, subject, as_of=moment)
    return JsonBytes({"consents": consents_document(consents), "head": consents.head})


def consents_document(consents: Consents) -> dict[str, Any]:
    """Return the JSON members of a subject's consents, by purpose."""
    document: dict[str, Any] = {}
    for key, current in consents.consents.items():
        members: dict[str, Any] = {"status": current.status.value}
        if current.consent is not None:
            members |= {
                "purpose_version": current.consent.purpose_version,
                "since": format_time(current.consent.since),
                "valid_until": format_time(current.consent.valid_until),
                "index": current.consent.index,
                "gpc": current.consent.gpc,
            }
        members |= {"allowed": current.verdict.allowed, "reason": current.verdict.reason.value}
        document[key] = members
    return document
