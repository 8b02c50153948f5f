"""The preference page: a plain form that works without script, for the subject of a session cookie."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.callers import Service, gpc_of
from consent_service.api.errors import MalformedBody
from consent_service.api.routers.browser import (
    Languages,
    anonymous_id,
    is_anonymous,
    new_handle,
    publishable,
)
from consent_service.api.sessions import (
    HEADERS,
    PATH,
    Form,
    Key,
    end_session,
    first,
    form_of,
    known_origin,
    require_same_origin,
    see_page,
    session_of,
    start_session,
    without_origin,
)
from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.errors import Forbidden
from consent_service.observability import REASONS, WITHDRAWAL_REASONS
from consent_service.operations.credentials import SUBJECT_ROLE, Caller
from consent_service.operations.keep_evidence import evidence_policy
from consent_service.operations.link_subjects import is_linked
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_history import Consents, read_consents, read_history
from consent_service.operations.read_uses import recent_uses
from consent_service.operations.record_decision import RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject
from consent_service.web.preferences import PreferencePage
from consent_service.web.words import best_language

router = APIRouter(include_in_schema=False)

NOBODY: Final = "anonymous:"
"""An external id that no subject has: what is known of somebody new is nothing."""

_SIGNED_OUT: Final = "signed_out"
_METHODS: Final = frozenset({"save", "accept_all", "refuse_all"})


@router.get(PATH)
def show(request: Request, service: Service, key: Key, language: Languages = "", done: str = "") -> Response:
    """Return the page, for the session's subject or for somebody new."""
    visitor = publishable(service, without_origin(request.headers), key)
    holder = session_of(service, request, visitor)
    known = holder is not None and holder.subject is not None and not is_anonymous(holder.subject)
    if left := known and done == _SIGNED_OUT:
        holder = None
    with service.deployment.reading(visitor.tenant) as scope:
        published = service.deployment.book(scope).require_current()
    policy = evidence_policy(service.deployment, visitor.tenant) if holder else None
    subject = holder.subject if holder and holder.subject else visitor.tenant.subject(NOBODY)
    page = PreferencePage(
        published=published,
        wanted=f"{language},{request.headers.get('accept-language', '')}",
        consents=read_consents(service.deployment, visitor.tenant, subject),
        history=read_history(service.deployment, visitor.tenant, subject) if holder else [],
        known=holder is not None,
        uses=recent_uses(service.deployment, service.uses, visitor.tenant, subject) if holder else {},
        signalled=gpc_of(request.headers),
        epoch_days=service.settings.epoch_days,
        sealed_until=None if policy is None else service.deployment.clock() + policy.keep,
        joint=holder is not None and is_linked(service.deployment, visitor.tenant, subject),
        account=known and not left,
        message=done,
    )
    taken, text = page.render(key=key)
    response = Response(text, media_type="text/html", headers={**HEADERS, "Content-Language": taken})
    if holder and holder.subject:
        start_session(service, request, response, visitor, holder.subject)
    elif left:
        end_session(response)
    return response


@router.post(f"{PATH}/enter")
async def enter(request: Request, service: Service, key: Key, language: Languages = "") -> Response:
    """Open the page for the subject of a token that a shop's page sends; without one, for this browser's.

    A session of somebody who was signed in ends then: the next person at her computer may have come. It is
    the page that ends it, for a form of another site comes without the cookie.
    """
    visitor = await run_in_threadpool(publishable, service, known_origin(request), key)
    token = first(form_of(await request.body()), "token")
    response = see_page(key, language, done="" if token else _SIGNED_OUT)
    if token:
        caller = service.credentials.caller(token)
        if caller.role != SUBJECT_ROLE or caller.subject is None or caller.tenant.id != visitor.tenant.id:
            raise Forbidden("That token is not a subject's of this shop.")
        start_session(service, request, response, visitor, caller.subject)
    return response


@router.post(PATH)
async def decide(request: Request, service: Service, key: Key, language: Languages = "") -> Response:
    """Record what the form says and show the page again."""
    require_same_origin(request)
    visitor = await run_in_threadpool(publishable, service, without_origin(request.headers), key)
    form = form_of(await request.body())
    holder = session_of(service, request, visitor)
    if holder is None and first(form, "known"):
        # The page was made for somebody whose session is over: nothing may be recorded for another.
        return see_page(key, language, done="ended")
    subject = holder.subject if holder else None
    if subject is None:
        subject = visitor.tenant.subject(anonymous_id(new_handle()))
    published, consents = await run_in_threadpool(_standing, service, visitor, subject, form)
    decision = _decision(request, service, form, published, consents)
    await service.committer.submit(
        visitor.tenant,
        RecordDecision(subject=subject, decision=decision, limits=service.settings.decision_limits),
    )
    if (reason := first(form, "reason")) in REASONS and _withdraws(decision, consents):
        WITHDRAWAL_REASONS.labels(reason).inc()
    response = see_page(key, language, done="saved")
    start_session(service, request, response, visitor, subject)
    return response


def _standing(
    service: ConsentService, visitor: Caller, subject: Subject, form: Form
) -> tuple[PublishedNotice, Consents]:
    with service.deployment.reading(visitor.tenant) as scope:
        published = service.deployment.book(scope).find(NoticeDigest(first(form, "notice")))
    return published, read_consents(service.deployment, visitor.tenant, subject)


def _decision(
    request: Request, service: ConsentService, form: Form, published: PublishedNotice, consents: Consents
) -> Decision:
    method = first(form, "method")
    if method not in _METHODS:
        raise MalformedBody("The form has no such button.")
    notice, gpc = published.notice, gpc_of(request.headers)
    granted = set(form.get("granted", ())) if method == "save" else set()
    if method == "accept_all":
        # A privacy signal refuses what honours it; only that purpose's own switch says otherwise.
        granted = {key for key, purpose in notice.purposes.items() if not (gpc and purpose.gpc)}
    if method == "refuse_all" and any(current.verdict.allowed for current in consents.consents.values()):
        method = "withdraw_all"
    wanted = f"{request.query_params.get('language', '')},{request.headers.get('accept-language', '')}"
    return Decision(
        notice=published.digest,
        choices={key: Choice.GRANTED if key in granted else Choice.DENIED for key in notice.purposes},
        decided_at=service.deployment.clock(),
        method=method,
        source="page",
        language=best_language(wanted, notice.languages),
        actor="subject",
        gpc=gpc,
    )


def _withdraws(decision: Decision, consents: Consents) -> bool:
    return any(
        current.verdict.allowed and decision.choices.get(key) is Choice.DENIED
        for key, current in consents.consents.items()
    )
