"""Receipts: one decision with its proof, in the form that the Accept header asks for."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from consent_service.api.acceptable import acceptable
from consent_service.api.answers import BYTES, OBJECT, TEXT, media
from consent_service.api.callers import SUBJECT_HEADER, AnyReader, Service, subject_of
from consent_service.api.parameters import Number
from consent_service.errors import ExtraNotInstalled, NoSuchForm
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.receipt_forms import html, json_ld
from consent_service.operations.manage_tenants import Role
from consent_service.operations.read_receipt import FORMS, PDF_MEDIA_TYPE, read_receipt, write_receipt
from consent_service.settings import Settings

router = APIRouter(tags=["receipts"])
_CONTENT = {media_type: OBJECT if "json" in media_type else TEXT for media_type in FORMS}


@router.get(
    "/v1/receipts/{index}",
    summary="Read a receipt",
    responses=media("The receipt", {**_CONTENT, PDF_MEDIA_TYPE: BYTES}, 404, 406),
    response_class=Response,
)
def get_receipt(
    request: Request,
    service: Service,
    caller: AnyReader,
    index: Annotated[Number, Path(description="Index of the decision")],
) -> Response:
    """Return the receipt of one decision: JSON-LD, Kantara v1.1, text, HTML or PDF, as `Accept` asks.

    A subject gets her own, a backend those of the subject it names, an auditor any.
    """
    any_subject = caller.role in {Role.AUDITOR, Role.ADMIN} and SUBJECT_HEADER not in request.headers
    subject = None if any_subject else subject_of(request.headers, caller)
    receipt = read_receipt(service.deployment, caller.tenant, index, subject=subject)
    media_type, body = _written(receipt, request.headers.getlist("accept"), service.settings)
    headers = {"Cache-Control": "private, no-store", "Vary": "Accept", "Content-Language": receipt.language}
    if media_type == html.MEDIA_TYPE:
        headers["Content-Security-Policy"] = html.CONTENT_SECURITY_POLICY
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return Response(body, headers={**headers, "Content-Type": media_type + charset})


def forms_wanted(accept: Iterable[str]) -> list[str]:
    """Return the media types of the receipts that these Accept headers take, the most wanted first."""
    found = acceptable(accept, (*FORMS, PDF_MEDIA_TYPE, "application/json"))
    return [json_ld.MEDIA_TYPE if each == "application/json" else each for each in found]


def _written(receipt: Receipt, accept: Iterable[str], settings: Settings) -> tuple[str, bytes]:
    """Return the most wanted form that there is of this receipt; raise `NoSuchForm` where there is none.

    A refusal has none in Kantara's terms, and not every installation makes PDF.
    """
    refused = NoSuchForm(f"A receipt can be had as {', '.join(FORMS)} or {PDF_MEDIA_TYPE}.")
    for media_type in forms_wanted(accept):
        try:
            return media_type, write_receipt(receipt, media_type, settings)
        except NoSuchForm as error:
            refused = error
        except ExtraNotInstalled:
            refused = NoSuchForm("PDF receipts are not installed here: ask for text/html.")
    raise refused
