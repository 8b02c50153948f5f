"""The one place where a problem becomes a page: for a browser that asks for one where people look."""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.acceptable import acceptable
from consent_service.api.callers import service_of
from consent_service.api.errors import MEDIA_TYPE, Problem
from consent_service.api.routers import dashboard
from consent_service.api.routers.browser import published_notice
from consent_service.api.sessions import HEADERS, PATH, page_address, without_origin
from consent_service.domain.notice import Notice
from consent_service.errors import ConsentToolkitError
from consent_service.web.error_page import ErrorPage

_PROGRAMS: Final = (
    *("/v1/", "/ofrep/", "/static/", "/.well-known/"),
    *("/banner.js", "/health", "/metrics", "/openapi.json", "/ready"),
)
_FORMS: Final = (MEDIA_TYPE, "application/json", "text/html")
_OVERTAKEN: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
"""What a form is answered that was open for longer than its session, its key or its words were good."""


async def answer(request: Request, problem: Problem) -> Response:
    """Return a problem as a page where its caller takes that rather than JSON, else as problem+json."""
    wishes = acceptable(request.headers.getlist("accept"), _FORMS)
    if request.scope["path"].startswith(_PROGRAMS) or wishes[:1] != ["text/html"]:
        return problem.response()
    language = request.query_params.get("language", "")
    ours = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    notice = None if ours else await run_in_threadpool(_notice, request)
    heading, text = ("failed", "fault") if ours else _said(request, problem, notice)
    back = _back(request, language, known=ours or notice is not None)
    page = ErrorPage(heading=heading, text=text, back=back, notice=notice)
    taken, body = page.render(f"{language},{request.headers.get('accept-language', '')}")
    headers = {**HEADERS, "Vary": "Accept, Accept-Language", "Content-Language": taken, **problem.headers}
    return Response(body, status_code=problem.status, media_type="text/html", headers=headers)


def _notice(request: Request) -> Notice | None:
    """Return the current notice of the shop whose key is in the address, `None` where there is none."""
    if not _of_preferences(request):
        return None
    key = request.query_params.get("key", "")
    try:
        return published_notice(service_of(request), without_origin(request.headers), key).notice
    except ConsentToolkitError:
        return None


def _said(request: Request, problem: Problem, notice: Notice | None) -> tuple[str, str]:
    if problem.slug == "erasure-refused":
        return "untouched", "joint"
    if request.method == "POST" and notice and problem.status in _OVERTAKEN:
        return "failed", "ended"
    return "failed", "address"


def _back(request: Request, language: str, *, known: bool) -> tuple[str, str] | None:
    """Return the way back: to the preference page of a shop that may be `known`, or to the dashboard."""
    if _of_preferences(request) and known:
        return "open", page_address(request.query_params.get("key", ""), language)
    if request.scope["path"].startswith(dashboard.PATH):
        query = f"?{urlencode({'language': language})}" if language else ""
        return "back", f"{dashboard.PATH}{query}"
    return None


def _of_preferences(request: Request) -> bool:
    path: str = request.scope["path"]
    return path == PATH or path.startswith(f"{PATH}/")
