"""What a shop's page needs: the banner's layout and script, the interface's words, an anonymous subject."""

import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.datastructures import Headers, MutableHeaders

from consent_service.api.answers import TEXT, UNCHANGED, AnonymousAnswer, MarkupAnswer, answers, media
from consent_service.api.callers import Service, authenticate, caller_with, gpc_of
from consent_service.api.conditional import unchanged
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.once import OnceRoute
from consent_service.api.schemas import AnonymousBody
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.notice_form import parse_notice
from consent_service.errors import ConsentToolkitError, Forbidden, NotFound
from consent_service.ledger.record import format_time
from consent_service.operations.credentials import Caller
from consent_service.operations.manage_tenants import Role
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject
from consent_service.web.layout import banner_fragment, remembered
from consent_service.web.words import best_language, direction, words

router = APIRouter(tags=["browser"], route_class=OnceRoute)

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
        **UNCHANGED,
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
    taken, fragment = _laid_out(published_notice(service, request.headers, key), language, gpc=gpc)
    return _cached(request, fragment.encode(), "text/html; charset=utf-8", taken)


@router.get(
    "/v1/banner/markup",
    summary="Banner and dialog for a page that a server renders",
    responses={**answers(MarkupAnswer, 401, 403, 404), **UNCHANGED},
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
    published = published_notice(service, request.headers, key)
    taken, fragment = _laid_out(published, language, gpc=gpc, early=True)
    answer = {
        "language": taken,
        "direction": direction(taken),
        "notice": published.digest,
        "content": fragment,
        "style": _content("banner.css").decode(),
        "purposes": {
            purpose: {"version": version, "days": days}
            for purpose, (version, days) in remembered(published.notice).items()
        },
    }
    return _cached(request, json.dumps(answer, ensure_ascii=False).encode(), "application/json", taken)


def published_notice(service: ConsentService, headers: Headers, key: str) -> PublishedNotice:
    """Return the current notice of the shop whose publishable key this is; raise as `publishable` does."""
    caller = publishable(service, headers, key)
    with service.deployment.reading(caller.tenant) as scope:
        return service.deployment.book(scope).require_current()


def _laid_out(published: PublishedNotice, wanted: str, *, gpc: bool, early: bool = False) -> tuple[str, str]:
    taken = best_language(wanted, published.notice.languages)
    return taken, _fragment(published.document, published.digest, taken, gpc, early)


@lru_cache(maxsize=256)
def _fragment(document: bytes, digest: NoticeDigest, language: str, gpc: bool, early: bool) -> str:  # noqa: FBT001  # the cache's key
    return banner_fragment(parse_notice(json.loads(document)), digest, language, gpc=gpc, early=early)[1]


def _cached(request: Request, body: bytes, media_type: str, taken: str, **headers: str) -> Response:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    caching = {
        "Cache-Control": "public, max-age=300",
        "ETag": etag,
        "Vary": "Origin, Accept-Encoding",
        "Content-Language": taken,
        **headers,
    }
    if unchanged(request, etag):
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


def is_anonymous(subject: Subject) -> bool:
    """Return whether a browser made this subject up, before anybody signed in."""
    return subject.external_id.startswith(ANONYMOUS)


@router.get("/banner.js", include_in_schema=False)
def banner_script(request: Request, service: Service) -> Response:
    """Return the banner's script, with the layout in it where the request says for whom (ADR 0053)."""
    try:
        published = _of_the_page(service, request.headers)
    except ConsentToolkitError:
        published = None  # The script asks for its layout, and hears why there is none.
    if published is None:
        return _static(request, "banner.js", "public, max-age=3600")
    gpc = gpc_of(request.headers)
    taken, fragment = _laid_out(published, request.headers.get("accept-language", ""), gpc=gpc)
    return _cached(
        request,
        _packed(fragment, _wishes(taken, published.notice.languages, gpc=gpc)),
        _TYPES[".js"],
        taken,
        **{
            "Cache-Control": "private, max-age=300",
            "Vary": "Origin, Referer, Accept-Language, Sec-GPC, Accept-Encoding",
        },
    )


def _of_the_page(service: ConsentService, headers: Headers) -> PublishedNotice | None:
    """Return the current notice of the one tenant whose page loads a script; `None` where nobody can tell.

    A script without CORS from another origin is never held to an `integrity` (SRI, section 3.3): only such
    a file may differ from the published one.
    """
    asked = tuple(headers.get(f"sec-fetch-{part}", "") for part in ("dest", "mode", "site"))
    if asked not in {("script", "no-cors", "cross-site"), ("script", "no-cors", "same-site")}:
        return None
    page = urlsplit(headers.get("referer", ""))
    tenants = service.credentials.origin_tenants(f"{page.scheme}://{page.netloc}")
    if len(tenants) != 1:
        return None
    with service.deployment.reading(service.deployment.tenant(*tenants)) as scope:
        return service.deployment.book(scope).require_current()


def _wishes(taken: str, offered: Sequence[str], *, gpc: bool) -> str:
    """Return as a regular expression what the script may wish for to get this layout (`page.ts`)."""
    nearer = [tag for tag in offered if tag.lower().startswith(f"{taken.lower()}-")]
    others = "".join(f"(?!{tag}\\b)" for tag in nearer)
    return f"/^,?{others}{taken}\\b[^&]*{'&gpc=1' if gpc else ''}$/i"


@lru_cache(maxsize=256)
def _packed(fragment: str, wishes: str) -> bytes:
    called, end = _content("banner.js"), b")()\n"
    layout = json.dumps(fragment, ensure_ascii=False)
    return called.removesuffix(end) + f")({layout},{wishes})\n".encode()


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
