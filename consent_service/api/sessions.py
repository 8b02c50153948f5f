"""The session of the preference page: a subject token in a cookie that no script and no other page sees."""

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode

from fastapi import Query, Request, Response
from starlette.datastructures import Headers

from consent_service.api.errors import MalformedBody
from consent_service.errors import Forbidden, Unauthenticated
from consent_service.operations.credentials import Caller
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject

SESSION: Final = "consent-session"
PATH: Final = "/preferences"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not no-referrer: a browser would then say Origin: null when it sends the form.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Sec-GPC",
}
_MAX_FIELDS: Final = 250
Key = Annotated[str, Query(max_length=128, description="Publishable key `pk_…`")]
Form = Mapping[str, list[str]]


def session_of(service: ConsentService, request: Request, visitor: Caller) -> Caller | None:
    """Return the holder of the session cookie, `None` without one that is good for this shop."""
    token = request.cookies.get(SESSION)
    if not token:
        return None
    try:
        caller = service.credentials.caller(token)
    except Unauthenticated:
        return None
    same = caller.subject is not None and caller.tenant.id == visitor.tenant.id
    return caller if same else None


def start_session(
    service: ConsentService, request: Request, response: Response, visitor: Caller, subject: Subject
) -> None:
    """Keep the subject for as long as a subject token lives; every page begins that time anew."""
    issued = service.credentials.issue_subject_token(visitor.tenant, subject)
    response.set_cookie(
        SESSION,
        issued.token,
        max_age=service.settings.subject_token_seconds,
        path=PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def end_session(response: Response) -> None:
    """Forget the subject."""
    response.delete_cookie(SESSION, path=PATH, httponly=True, samesite="lax")


def see_page(key: str, language: str, *, done: str = "") -> Response:
    """Send a browser to the page, which says what was `done` in the interface's words of that name."""
    headers = {**HEADERS, "Location": page_address(key, language, done=done)}
    return Response(status_code=303, headers=headers)


def page_address(key: str, language: str, *, done: str = "") -> str:
    """Return where the page is for the shop with this key; empty parts are left out."""
    query = {"key": key, "language": language, "done": done}
    return f"{PATH}?{urlencode({name: value for name, value in query.items() if value})}"


def form_of(body: bytes) -> Form:
    """Return the fields of a URL-encoded form; raise `MalformedBody`."""
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise MalformedBody("The form is not URL-encoded.") from None


def first(form: Form, name: str) -> str:
    """Return the first value of a field, empty without one."""
    return form.get(name, [""])[0]


def without_origin(headers: Headers) -> Headers:
    """Leave the origin out: a page that somebody opens says nothing about who sent her."""
    return Headers(raw=[(name, value) for name, value in headers.raw if name != b"origin"])


def known_origin(request: Request) -> Headers:
    """Keep an origin to be checked; `null` is that of a page which tells nobody where it is."""
    hidden = request.headers.get("origin") == "null"
    return without_origin(request.headers) if hidden else request.headers


def require_same_origin(request: Request) -> None:
    """Raise `Forbidden` unless the form comes from a page of ours."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Forbidden("This form is sent from a page of this service only.")
