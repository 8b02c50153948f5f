"""What the preference page hands out and takes away: receipts, personal data, erasure."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from consent_service.api.callers import Service
from consent_service.api.parameters import Number
from consent_service.api.routers.browser import Languages, publishable
from consent_service.api.routers.personal_data import personal_data_document
from consent_service.api.sessions import (
    HEADERS,
    PATH,
    Key,
    end_session,
    require_same_origin,
    see_page,
    session_of,
    without_origin,
)
from consent_service.errors import UnknownSubject
from consent_service.ledger.receipt_forms import html
from consent_service.operations.credentials import Caller
from consent_service.operations.erase_subject import EraseSubject, ErasureAnswer
from consent_service.operations.keep_evidence import evidence_policy
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_personal_data import read_personal_data
from consent_service.operations.read_receipt import read_receipt, write_receipt
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject
from consent_service.web.erased import ErasedPage

router = APIRouter(include_in_schema=False)


@router.get(f"{PATH}/receipts/{{index}}")
def receipt(
    request: Request,
    service: Service,
    key: Key,
    index: Annotated[Number, Path()],
    language: Languages = "",
) -> Response:
    """Return the receipt of one of her own decisions as a file: one page that needs nothing else."""
    visitor, subject = _holder(service, request, key)
    if subject is None:
        return see_page(key, language, done="ended")
    own = read_receipt(service.deployment, visitor.tenant, index, subject=subject)
    headers = {
        **HEADERS,
        "Content-Security-Policy": html.CONTENT_SECURITY_POLICY,
        "Content-Disposition": f'attachment; filename="receipt-{index}.html"',
        "Content-Language": own.language,
    }
    body = write_receipt(own, html.MEDIA_TYPE, service.settings)
    return Response(body, media_type=html.MEDIA_TYPE, headers=headers)


@router.get(f"{PATH}/personal-data")
def personal_data(request: Request, service: Service, key: Key, language: Languages = "") -> Response:
    """Return everything that is held about her as a JSON file (GDPR Art. 15 and 20)."""
    visitor, subject = _holder(service, request, key)
    if subject is None:
        return see_page(key, language, done="ended")
    data = read_personal_data(service.deployment, service.uses, visitor.tenant, subject)
    body = json.dumps(personal_data_document(data), ensure_ascii=False, indent=2)
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="personal-data.json"'}
    return Response(body, media_type="application/json", headers=headers)


@router.post(f"{PATH}/erase")
async def erase(request: Request, service: Service, key: Key, language: Languages = "") -> Response:
    """Erase her and show the certificate; the session ends with it."""
    require_same_origin(request)
    visitor, subject = await run_in_threadpool(_holder, service, request, key)
    if subject is None:
        return see_page(key, language, done="ended")
    published = await run_in_threadpool(_current, service, visitor)
    evidence = await run_in_threadpool(evidence_policy, service.deployment, visitor.tenant)
    erasure = EraseSubject(subject=subject, evidence=evidence)
    try:
        answer = await service.committer.submit(visitor.tenant, erasure)
    except UnknownSubject:
        return see_page(key, language, done="nothing")
    if not isinstance(answer, ErasureAnswer):
        raise TypeError("an erasure was answered as something else")
    await run_in_threadpool(service.deployment.database.truncate_wal)
    page = ErasedPage(
        published=published,
        wanted=f"{language},{request.headers.get('accept-language', '')}",
        erasure=answer,
        origin=visitor.tenant.origin,
        epoch_days=service.settings.epoch_days,
    )
    taken, text = page.render()
    response = Response(text, media_type="text/html", headers={**HEADERS, "Content-Language": taken})
    end_session(response)
    return response


def _holder(service: ConsentService, request: Request, key: str) -> tuple[Caller, Subject | None]:
    """Return the shop, and whose session it is: `None` when that is over."""
    visitor = publishable(service, without_origin(request.headers), key)
    holder = session_of(service, request, visitor)
    return visitor, holder.subject if holder else None


def _current(service: ConsentService, visitor: Caller) -> PublishedNotice:
    with service.deployment.reading(visitor.tenant) as scope:
        return service.deployment.book(scope).require_current()
