"""Subjects: tokens for browsers, and an anonymous subject that turns out to be a known one."""

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.answers import ErasureAnswer as ErasureForm
from consent_service.api.answers import LinkAnswer as LinkForm
from consent_service.api.answers import TokenAnswer, answers
from consent_service.api.callers import Backend, BackendOrSubject, Service, subject_of
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.once import OnceRoute
from consent_service.api.schemas import LinkBody
from consent_service.errors import Forbidden
from consent_service.ledger.record import format_time
from consent_service.operations.credentials import SUBJECT_ROLE, Caller, looks_like_a_token
from consent_service.operations.erase_subject import EraseSubject, ErasureAnswer
from consent_service.operations.keep_evidence import evidence_policy
from consent_service.operations.link_subjects import LinkAnswer, LinkSubjects
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject

router = APIRouter(tags=["subject"], route_class=OnceRoute)


@router.post(
    "/v1/subject/token",
    status_code=201,
    summary="Issue a subject token",
    responses=answers(TokenAnswer, status=201),
)
def post_token(request: Request, service: Service, caller: Backend) -> Response:
    """Return a short-lived token that names the subject, for a page of hers."""
    issued = service.credentials.issue_subject_token(caller.tenant, subject_of(request.headers, caller))
    return JsonBytes({"token": issued.token, "expires_at": format_time(issued.expires_at)}, status_code=201)


@router.delete("/v1/subject", summary="Erase a subject", responses=answers(ErasureForm, 404, 409))
async def delete_subject(request: Request, service: Service, caller: BackendOrSubject) -> Response:
    """Erase the subject with all that is linked to her, and return a certificate signed by the log's key.

    Records, openings, keys, values and uses go; the log's leaves stay, and say nothing about her any more.
    """
    evidence = await run_in_threadpool(evidence_policy, service.deployment, caller.tenant)
    answer = await service.committer.submit(
        caller.tenant, EraseSubject(subject=subject_of(request.headers, caller), evidence=evidence)
    )
    if not isinstance(answer, ErasureAnswer):
        raise TypeError("an erasure was answered as something else")
    await run_in_threadpool(service.deployment.database.truncate_wal)
    return JsonBytes({"certificate": answer.certificate, "index": answer.index})


def _anonymous(service: ConsentService, caller: Caller, named: str) -> Subject:
    """Return the anonymous side: of a subject token, which proves it, or (a backend only) by its id."""
    if looks_like_a_token(named):
        holder = service.credentials.caller(named)
        if holder.tenant.id != caller.tenant.id or holder.subject is None:
            raise Forbidden("That subject token belongs to somebody else.")
        return holder.subject
    if caller.role == SUBJECT_ROLE:
        raise Forbidden("Prove the anonymous side by its own subject token.")
    return caller.tenant.subject(named)


@router.post(
    "/v1/subject/link",
    status_code=201,
    summary="Link an anonymous subject",
    responses=answers(LinkForm, 404, 409, status=201),
)
async def post_link(request: Request, body: LinkBody, service: Service, caller: BackendOrSubject) -> Response:
    """Link an anonymous subject to the one of this request; the most protective choice of the two wins.

    Nothing opens by it: `unconfirmed` names what only the anonymous side granted, to ask about.
    """
    known = subject_of(request.headers, caller)
    answer = await service.committer.submit(
        caller.tenant,
        LinkSubjects(
            anonymous=_anonymous(service, caller, body.anonymous),
            known=known,
            actor="subject" if caller.role == SUBJECT_ROLE else "backend",
        ),
    )
    if not isinstance(answer, LinkAnswer):
        raise TypeError("a link was answered as something else")
    return JsonBytes(
        {
            "index": answer.index,
            "consents": {
                key: {"status": consent.status.value, "valid_until": format_time(consent.valid_until)}
                for key, consent in answer.state.consents.items()
            },
            "unconfirmed": list(answer.unconfirmed),
        },
        status_code=201,
    )
