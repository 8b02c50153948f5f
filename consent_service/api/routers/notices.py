"""The notice: publish it, read the current one in one language, read any past one."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.answers import UNCHANGED, NoticeAnswer, PublishedAnswer, answers, link
from consent_service.api.callers import Admin, PublicTenant, Service, cached_for_ever
from consent_service.api.conditional import unchanged
from consent_service.api.errors import MalformedBody
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.schemas import DuplicateMember, once
from consent_service.domain.decision import language_shown
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.notice_form import parse_notice
from consent_service.errors import InvalidInput
from consent_service.ledger.record import format_time
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_notice_file import load_notice_file

router = APIRouter(tags=["notice"])
_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {
                "schema": {"type": "string"},
                "example": "notice: 1\nlanguages: [en, fr]\n…",
            },
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


_PAST = {"words": link("past", digest="$response.body#/digest")}


@router.put(
    "/v1/notice",
    summary="Publish a notice",
    openapi_extra=_BODY,
    responses=answers(PublishedAnswer, 409, links=_PAST),
)
async def publish(request: Request, service: Service, caller: Admin) -> Response:
    """Publish a notice from its YAML file or the same as JSON; the current one again changes nothing."""
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in _YAML:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedBody("The notice is not UTF-8.") from None
        notice = await run_in_threadpool(load_notice_file, text)
    else:
        try:
            document = json.loads(body, object_pairs_hook=once)
        except DuplicateMember as error:
            raise MalformedBody(str(error)) from None
        except (ValueError, RecursionError):
            raise MalformedBody("The notice is not JSON; send YAML as application/yaml.") from None
        if not isinstance(document, dict):
            raise MalformedBody("A notice is a JSON object.")
        notice = await run_in_threadpool(parse_notice, document)
    published = await service.committer.submit(caller.tenant, PublishNotice(notice=notice))
    if not isinstance(published, PublishedNotice):
        raise TypeError("a publication was answered as something else")
    return JsonBytes(
        {
            "digest": published.digest,
            "index": published.index,
            "languages": list(published.notice.languages),
        }
    )


@router.get(
    "/v1/notice",
    summary="Read the current notice",
    responses={**answers(NoticeAnswer, 404, links=_PAST), **UNCHANGED},
)
def current(
    request: Request,
    service: Service,
    tenant: PublicTenant,
    language: Annotated[str | None, Query(max_length=64, description="BCP 47 tag; all if absent")] = None,
) -> Response:
    """Return the current notice with every text in all its languages, or in the one that fits `language`."""
    with service.deployment.reading(tenant) as scope:
        published = service.deployment.book(scope).require_current()
    caching = {"Cache-Control": "no-cache", "Vary": "Authorization, Origin"}
    return _answer(request, published, language, caching)


@router.get(
    "/v1/notices/{digest}",
    summary="Read a past notice",
    responses={**answers(NoticeAnswer, 404), **UNCHANGED},
)
def past(
    request: Request,
    service: Service,
    tenant: PublicTenant,
    digest: str,
    language: Annotated[str | None, Query(max_length=64, description="BCP 47 tag; all if absent")] = None,
) -> Response:
    """Return any published notice; its words never change, so it may be cached for ever."""
    with service.deployment.reading(tenant) as scope:
        published = service.deployment.book(scope).find(NoticeDigest(digest))
    return _answer(request, published, language, cached_for_ever(request))


def _answer(
    request: Request, published: PublishedNotice, language: str | None, caching: dict[str, str]
) -> Response:
    document: dict[str, Any] = json.loads(published.document)
    answer: dict[str, Any] = {
        "digest": published.digest,
        "index": published.index,
        "published_at": format_time(published.published_at),
        "notice": document,
    }
    if language is not None:
        shown = language_shown(language, published.notice)
        if shown is None:
            languages = ", ".join(published.notice.languages)
            raise InvalidInput(f"The notice is not written in that language, only in: {languages}.")
        answer["language"] = shown
        answer["notice"] = _in_language(document, shown, frozenset(published.notice.languages))
    tag = f'"{published.digest}.{answer.get("language", "all")}"'
    response = Response(status_code=304) if unchanged(request, tag) else JsonBytes(answer)
    response.headers.update({**caching, "ETag": tag})
    return response


def _in_language(value: object, language: str, languages: frozenset[str]) -> object:
    """Replace every {language: text} by the text in one language."""
    if isinstance(value, dict):
        if value and languages.issuperset(value) and all(isinstance(text, str) for text in value.values()):
            return value[language]
        return {key: _in_language(inner, language, languages) for key, inner in value.items()}
    return value
