"""The preference page: a plain form that works without script, for the subject of a session cookie."""

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from consent_service.api.callers import Service, gpc_of
from consent_service.api.errors import MalformedBody
from consent_service.api.routers.browser import Languages, anonymous_id, new_handle, publishable
from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.errors import Forbidden, Unauthenticated
from consent_service.observability import WITHDRAWAL_REASONS
from consent_service.operations.credentials import SUBJECT_ROLE, Caller
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_history import Consents, read_consents, read_history
from consent_service.operations.record_decision import RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject
from consent_service.web.preferences import REASONS, PreferencePage
from consent_service.web.words import best_language

router = APIRouter(include_in_schema=False)

SESSION: Final = "consent-session"
_PATH: Final = "/preferences"
NOBODY: Final = "anonymous:"
"""An external id that no subject has: what is known of somebody new is nothing."""

_METHODS: Final = frozenset({"save", "accept_all", "refuse_all"})
_MAX_FIELDS: Final = 250
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not no-referrer: a browser would then say Origin: null when it sends the form.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Sec-GPC",
}
Key = Annotated[str, Query(max_length=128, description="Publishable key `pk_…`")]
Form = Mapping[str, list[str]]


@router.get(_PATH)
def show(request: Request, service: Service, key: Key, language: Languages = "", done: str = "") -> Response:
    """Return the page, for the session's subject or for somebody new."""
    visitor = publishable(service, _without_origin(request.headers), key)
    holder = _session(service, request, visitor)
    with service.deployment.reading(visitor.tenant) as scope:
        published = service.deployment.book(scope).require_current()
    subject = holder.subject if holder and holder.subject else visitor.tenant.subject(NOBODY)
    page = PreferencePage(
        published=published,
        wanted=f"{language},{request.headers.get('accept-language', '')}",
        consents=read_consents(service.deployment, visitor.tenant, subject),
        history=read_history(service.deployment, visitor.tenant, subject) if holder else [],
        known=holder is not None,
        signalled=gpc_of(request.headers),
        message=done,
    )
    taken, text = page.render(key=key)
    response = Response(text, media_type="text/html", headers={**_HEADERS, "Content-Language": taken})
    if holder and holder.subject:
        _start_session(service, request, response, visitor, holder.subject)
    return response


@router.post(f"{_PATH}/enter")
async def enter(request: Request, service: Service, key: Key, language: Languages = "") -> Response:
    """Open the page for the subject of a token that a shop's page sends; without one, for somebody new."""
    visitor = await run_in_threadpool(publishable, service, _known_origin(request), key)
    token = _first(_form(await request.body()), "token")
    response = _see(key, language)
    if token:
        caller = service.credentials.caller(token)
        if caller.role != SUBJECT_ROLE or caller.subject is None or caller.tenant.id != visitor.tenant.id:
            raise Forbidden("That token is not a subject's of this shop.")
        _start_session(service, request, response, visitor, caller.subject)
    return response


@router.post(_PATH)
async def decide(request: Request, service: Service, key: Key, language: Languages = "") -> Response:
    """Record what the form says and show the page again."""
    _require_same_origin(request)
    visitor = await run_in_threadpool(publishable, service, _without_origin(request.headers), key)
    form = _form(await request.body())
    holder = _session(service, request, visitor)
    if holder is None and _first(form, "known"):
        # The page was made for somebody whose session is over: nothing may be recorded for another.
        return _see(key, language, done="ended")
    subject = holder.subject if holder else None
    if subject is None:
        subject = visitor.tenant.subject(anonymous_id(new_handle()))
    published, consents = await run_in_threadpool(_standing, service, visitor, subject, form)
    decision = _decision(request, service, form, published, consents)
    await service.committer.submit(
        visitor.tenant,
        RecordDecision(subject=subject, decision=decision, limits=service.settings.decision_limits),
    )
    if (reason := _first(form, "reason")) in REASONS and _withdraws(decision, consents):
        WITHDRAWAL_REASONS.labels(reason).inc()
    response = _see(key, language, done="saved")
    _start_session(service, request, response, visitor, subject)
    return response


def _standing(
    service: ConsentService, visitor: Caller, subject: Subject, form: Form
) -> tuple[PublishedNotice, Consents]:
    with service.deployment.reading(visitor.tenant) as scope:
        published = service.deployment.book(scope).find(NoticeDigest(_first(form, "notice")))
    return published, read_consents(service.deployment, visitor.tenant, subject)


def _decision(
    request: Request, service: ConsentService, form: Form, published: PublishedNotice, consents: Consents
) -> Decision:
    method = _first(form, "method")
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


def _session(service: ConsentService, request: Request, visitor: Caller) -> Caller | None:
    token = request.cookies.get(SESSION)
    if not token:
        return None
    try:
        caller = service.credentials.caller(token)
    except Unauthenticated:
        return None
    same = caller.subject is not None and caller.tenant.id == visitor.tenant.id
    return caller if same else None


def _start_session(
    service: ConsentService, request: Request, response: Response, visitor: Caller, subject: Subject
) -> None:
    issued = service.credentials.issue_subject_token(visitor.tenant, subject)
    response.set_cookie(
        SESSION,
        issued.token,
        max_age=service.settings.subject_token_seconds,
        path=_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _see(key: str, language: str, *, done: str = "") -> Response:
    query = {"key": key, "language": language, "done": done}
    address = f"{_PATH}?{urlencode({name: value for name, value in query.items() if value})}"
    return Response(status_code=303, headers={**_HEADERS, "Location": address})


def _form(body: bytes) -> Form:
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise MalformedBody("The form is not URL-encoded.") from None


def _first(form: Form, name: str) -> str:
    return form.get(name, [""])[0]


def _without_origin(headers: Headers) -> Headers:
    """Leave the origin out: a page that somebody opens says nothing about who sent her."""
    return Headers(raw=[(name, value) for name, value in headers.raw if name != b"origin"])


def _known_origin(request: Request) -> Headers:
    """Keep an origin to be checked; `null` is that of a page which tells nobody where it is."""
    hidden = request.headers.get("origin") == "null"
    return _without_origin(request.headers) if hidden else request.headers


def _require_same_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Forbidden("This form is sent from the preference page only.")
