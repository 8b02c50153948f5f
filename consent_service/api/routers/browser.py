"""What a shop's page needs: the banner's layout and script, the interface's words, an anonymous subject."""

import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.datastructures import Headers, MutableHeaders

from consent_service.api.answers import TEXT, AnonymousAnswer, MarkupAnswer, answers, media
from consent_service.api.callers import Service, authenticate, caller_with
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.schemas import AnonymousBody
from consent_service.errors import Forbidden, NotFound
from consent_service.ledger.record import format_time
from consent_service.operations.credentials import Caller
from consent_service.operations.manage_tenants import Role
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.service import ConsentService
from consent_service.web.layout import banner_fragment, remembered
from consent_service.web.words import direction, words

router = APIRouter(tags=["browser"])

ANONYMOUS: Final = "anonymous:"
"""Begins the external id of an anonymous subject; the SHA-256 of her handle follows."""

_GPC_SINCE: Final = "2026-11-22"
_HASHED: Final = re.compile(r"(?P<name>[a-z-]+)\.(?P<hash>[0-9a-f]{16})\.js")
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
}
_WORDS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
Browser = Annotated[Caller, Depends(caller_with(Role.BROWSER))]
PublishableKey = Annotated[str, Query(max_length=128, description="Publishable key `pk_…`")]
Signal = Annotated[bool, Query(description="Whether the browser sends Global Privacy Control")]
Languages = Annotated[str, Query(max_length=512, description="BCP 47 tags, best first, comma-separated")]


def publishable(service: ConsentService, headers: Headers, key: str) -> Caller:
    """Return who a publishable key in an address belongs to; raise as `authenticate` does."""
    presented = MutableHeaders(raw=list(headers.raw))
    presented["Authorization"] = f"Bearer {key}"
    caller = authenticate(service, Headers(raw=presented.raw))
    if caller.role != Role.BROWSER:
        raise Forbidden("Only a publishable key pk_… may stand in an address.")
    return caller


@router.get(
    "/v1/banner",
    summary="Banner and dialog in one language",
    response_class=Response,
    responses={
        **media("An HTML fragment", {"text/html": TEXT}, 401, 403, 404),
        304: {"description": "As the ETag says"},
    },
)
def get_banner(
    request: Request,
    service: Service,
    key: PublishableKey,
    *,
    language: Languages = "",
    gpc: Signal = False,
) -> Response:
    """Return banner and dialog as an HTML fragment in the notice's language that fits best."""
    published = _published(service, request.headers, key)
    taken, fragment = banner_fragment(published.notice, published.digest, language, gpc=gpc)
    return _cached(request, fragment.encode(), "text/html; charset=utf-8", taken)


@router.get(
    "/v1/banner/markup",
    summary="Banner and dialog for a page that a server renders",
    responses={**answers(MarkupAnswer, 401, 403, 404), 304: {"description": "As the ETag says"}},
)
def get_banner_markup(
    request: Request,
    service: Service,
    key: PublishableKey,
    *,
    language: Languages = "",
    gpc: Signal = False,
) -> Response:
    """Return what a shop's backend puts into its own page, so that the banner is there at first paint."""
    published = _published(service, request.headers, key)
    notice = published.notice
    taken, fragment = banner_fragment(notice, published.digest, language, gpc=gpc, early=True)
    answer = {
        "language": taken,
        "direction": direction(taken),
        "notice": published.digest,
        "content": fragment,
        "style": _content("banner.css").decode(),
        "purposes": {
            purpose: {"version": version, "days": days}
            for purpose, (version, days) in remembered(notice).items()
        },
    }
    return _cached(request, json.dumps(answer, ensure_ascii=False).encode(), "application/json", taken)


def _published(service: ConsentService, headers: Headers, key: str) -> PublishedNotice:
    caller = publishable(service, headers, key)
    with service.deployment.reading(caller.tenant) as scope:
        return service.deployment.book(scope).require_current()


def _cached(request: Request, body: bytes, media_type: str, taken: str) -> Response:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    caching = {
        "Cache-Control": "public, max-age=300",
        "ETag": etag,
        "Vary": "Origin, Accept-Encoding",
        "Content-Language": taken,
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=caching)
    return _compressed(request, body, media_type, caching)


@router.get(
    "/v1/words",
    summary="The interface's own words",
    response_class=Response,
    responses=media("Words by key", {"application/json": _WORDS}),
)
def get_words(language: Languages = "") -> Response:
    """Return the interface's own words in one language, for the banner's optional scripts."""
    response = JsonBytes(dict(words(language).texts))
    response.headers["Cache-Control"] = "public, max-age=3600"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@router.post(
    "/v1/subject/anonymous",
    status_code=201,
    summary="Start or resume an anonymous subject",
    responses={**answers(AnonymousAnswer, status=201), **answers(AnonymousAnswer)},
)
def post_anonymous(body: AnonymousBody, service: Service, caller: Browser) -> Response:
    """Return a handle that only this browser knows, and a short-lived token of its anonymous subject.

    Nothing is stored: the subject begins with her first decision.
    """
    handle = body.handle or new_handle()
    issued = service.credentials.issue_subject_token(
        caller.tenant, caller.tenant.subject(anonymous_id(handle))
    )
    return JsonBytes(
        {"handle": handle, "token": issued.token, "expires_at": format_time(issued.expires_at)},
        status_code=200 if body.handle else 201,
    )


def new_handle() -> str:
    """Return a fresh handle: 256 random bits."""
    return secrets.token_urlsafe(32)


def anonymous_id(handle: str) -> str:
    """Return the external id of the anonymous subject with this handle; the handle cannot be told from it."""
    return ANONYMOUS + hashlib.sha256(handle.encode()).hexdigest()


@router.get("/banner.js", include_in_schema=False)
def banner_script(request: Request) -> Response:
    """Return the banner's script."""
    return _static(request, "banner.js", "public, max-age=3600")


@router.get("/static/{name}", include_in_schema=False)
def static_file(request: Request, name: str) -> Response:
    """Return a file of the pages; under its hashed name (`banner.<hash>.js`) it never changes."""
    if (hashed := _HASHED.fullmatch(name)) is not None:
        plain = f"{hashed['name']}.js"
        if plain in _names() and static_hash(plain) == hashed["hash"]:
            return _static(request, plain, "public, max-age=31536000, immutable")
    return _static(request, name, "public, max-age=3600")


@router.get("/.well-known/gpc.json", include_in_schema=False)
def gpc_support() -> Response:
    """Return that Global Privacy Control is respected here (W3C GPC, section 5)."""
    body = json.dumps({"gpc": True, "lastUpdate": _GPC_SINCE})
    return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=86400"})


def static_hash(name: str) -> str:
    """Return the part of a static file's hashed name that says what is in it."""
    return hashlib.sha256(_content(name)).hexdigest()[:16]


def _static(request: Request, name: str, caching: str) -> Response:
    if name not in _names():
        raise NotFound("No such file.")
    headers = {"Cache-Control": caching, "Access-Control-Allow-Origin": "*", "Vary": "Accept-Encoding"}
    return _compressed(request, _content(name), _TYPES[name[name.rindex(".") :]], headers)


def _compressed(request: Request, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return public bytes, compressed where the browser takes that: nothing secret is ever beside them."""
    offered = {part.split(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")}
    if "gzip" not in offered:
        return Response(body, headers={**headers, "Content-Type": media_type})
    return Response(_gzip(body), headers={**headers, "Content-Type": media_type, "Content-Encoding": "gzip"})


@lru_cache(maxsize=256)
def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=9, mtime=0)


@cache
def _names() -> frozenset[str]:
    folder = files("consent_service.web") / "static"
    return frozenset(item.name for item in folder.iterdir() if item.name.endswith(tuple(_TYPES)))


@cache
def _content(name: str) -> bytes:
    return (files("consent_service.web") / "static" / name).read_bytes()
