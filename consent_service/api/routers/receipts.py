"""Receipts: one decision with its proof, in the form that the Accept header asks for."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from consent_service.api.answers import BYTES, OBJECT, TEXT, media
from consent_service.api.callers import SUBJECT_HEADER, AnyReader, Service, subject_of
from consent_service.errors import ExtraNotInstalled, NoSuchForm
from consent_service.ledger.receipt_forms import html, json_ld
from consent_service.operations.manage_tenants import Role
from consent_service.operations.read_receipt import FORMS, PDF_MEDIA_TYPE, read_receipt, write_receipt

router = APIRouter(tags=["receipts"])
_OFFERED = (*FORMS, PDF_MEDIA_TYPE)
_SAME_AS = {"application/json": json_ld.MEDIA_TYPE}
_MAX_INDEX = 2**63 - 1
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
    index: Annotated[int, Path(ge=0, le=_MAX_INDEX, description="Index of the decision")],
) -> Response:
    """Return the receipt of one decision: JSON-LD, Kantara v1.1, text, HTML or PDF, as `Accept` asks.

    A subject gets her own, a backend those of the subject it names, an auditor any.
    """
    any_subject = caller.role in {Role.AUDITOR, Role.ADMIN} and SUBJECT_HEADER not in request.headers
    subject = None if any_subject else subject_of(request.headers, caller)
    media_type = preferred(request.headers.get("accept", "*/*"))
    receipt = read_receipt(service.deployment, caller.tenant, index, subject=subject)
    try:
        body = write_receipt(receipt, media_type, service.settings)
    except ExtraNotInstalled:
        raise NoSuchForm("PDF receipts are not installed here: ask for text/html.") from None
    headers = {"Cache-Control": "private, no-store", "Vary": "Accept", "Content-Language": receipt.language}
    if media_type == html.MEDIA_TYPE:
        headers["Content-Security-Policy"] = html.CONTENT_SECURITY_POLICY
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return Response(body, headers={**headers, "Content-Type": media_type + charset})


def preferred(accept: str) -> str:
    """Return the media type that an Accept header likes best of those we have (RFC 9110, section 12.5.1).

    Raises `NoSuchForm` where it wants none of them.
    """
    best, best_rank = "", (0.0, 0, 0)
    for position, part in enumerate(accept.split(",")[:64]):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(parameters)
        for offered in _OFFERED:
            rank = (quality, _specificity(media_range, offered), -position)
            if quality > 0 and rank[1] > 0 and (not best or rank > best_rank):
                best, best_rank = offered, rank
    if not best:
        raise NoSuchForm(f"A receipt can be had as {', '.join(_OFFERED)}.")
    return best


def _specificity(media_range: str, offered: str) -> int:
    """Return 3 where a media range is this type, 2 for its kind (text/*), 1 for anything, 0 for another."""
    if _SAME_AS.get(media_range, media_range) == offered:
        return 3
    if media_range == f"{offered.partition('/')[0]}/*":
        return 2
    return int(media_range in {"*/*", ""})


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return max(0.0, min(1.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
