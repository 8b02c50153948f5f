"""The dashboard: a page of counts for who holds an auditor's or an admin's key; it works without script."""

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.callers import Service
from consent_service.api.routers.audit import pack_of
from consent_service.api.routers.browser import Languages
from consent_service.api.sessions import HEADERS, first, form_of, require_same_origin
from consent_service.errors import Forbidden, Unauthenticated
from consent_service.operations.read_dashboard import read_dashboard
from consent_service.operations.repeat_export import AuditRequest
from consent_service.operations.service import ConsentService
from consent_service.operations.watch_counts import IDLE, Watcher, session_token, sign_in, watcher_of
from consent_service.web.dashboard import dashboard_page, sign_in_page

router = APIRouter(include_in_schema=False)

PATH: Final = "/dashboard"
COOKIE: Final = "consent-dashboard"
_HEADERS: Final = {**HEADERS, "Vary": "Cookie, Accept-Language"}


@router.get(PATH)
def show(request: Request, service: Service, language: Languages = "") -> Response:
    """Return the page of the session's tenant, or the form that begins a session."""
    wanted = _wanted(request, language)
    watcher = _watcher(service, request)
    if watcher is None:
        return _form(wanted, fault="over" if request.cookies.get(COOKIE) else "")
    taken, text = dashboard_page(read_dashboard(service, watcher.tenant), wanted)
    response = Response(text, media_type="text/html", headers={**_HEADERS, "Content-Language": taken})
    _keep(service, request, response, watcher)
    return response


@router.post(f"{PATH}/sign-in")
async def begin(request: Request, service: Service, language: Languages = "") -> Response:
    """Exchange the key in the form for a session."""
    require_same_origin(request)
    key = first(form_of(await request.body()), "key").strip()
    wanted = _wanted(request, language)
    try:
        watcher = await run_in_threadpool(sign_in, service.deployment, key)
    except Unauthenticated:
        return _form(wanted, fault="unknown_key", status=401)
    except Forbidden:
        return _form(wanted, fault="wrong_role", status=403)
    response = _see(language)
    _keep(service, request, response, watcher)
    return response


@router.post(f"{PATH}/sign-out")
def end(request: Request, language: Languages = "") -> Response:
    """End the session."""
    require_same_origin(request)
    response = _see(language)
    response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")
    return response


@router.get(f"{PATH}/audit-pack")
def audit_pack(request: Request, service: Service) -> Response:
    """Return the audit pack of the whole log, to a session only: a file."""
    watcher = _watcher(service, request)
    if watcher is None:
        return _see("")
    return pack_of(service.deployment, watcher.tenant, AuditRequest())


def _watcher(service: ConsentService, request: Request) -> Watcher | None:
    """Return who watches: the only place where a tenant is chosen."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        return watcher_of(service.deployment, token)
    except Unauthenticated:
        return None


def _keep(service: ConsentService, request: Request, response: Response, watcher: Watcher) -> None:
    response.set_cookie(
        COOKIE,
        session_token(service.deployment, watcher),
        max_age=int(IDLE.total_seconds()),
        path=PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _form(wanted: str, *, fault: str = "", status: int = 200) -> Response:
    taken, text = sign_in_page(wanted, fault=fault)
    headers = {**_HEADERS, "Content-Language": taken}
    return Response(text, status_code=status, media_type="text/html", headers=headers)


def _see(language: str) -> Response:
    query = f"?{urlencode({'language': language})}" if language else ""
    return Response(status_code=303, headers={**_HEADERS, "Location": f"{PATH}{query}"})


def _wanted(request: Request, language: str) -> str:
    return f"{language},{request.headers.get('accept-language', '')}"
