"""Make the receipt of one decision, and give it in the form that somebody asked for."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from consent_service.errors import ExtraNotInstalled, InvalidNote, NoSuchForm, UnknownEntry
from consent_service.ledger.canonical import JsonValue
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.merkle import inclusion_proof
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.receipt import Evidence, Receipt
from consent_service.ledger.receipt_forms import html, json_ld, kantara, plain
from consent_service.ledger.record import DecisionRecord, decode_record
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import look_up_one
from consent_service.operations.read_cosigned import last_quorum, with_cosignatures
from consent_service.operations.tenant import Subject, Tenant
from consent_service.settings import Settings
from consent_service.storage.ledger_store import read_head, read_leaves, read_record, subtrees
from consent_service.storage.scope import TenantScope

PDF_MEDIA_TYPE = "application/pdf"


def read_receipt(
    deployment: Deployment, tenant: Tenant, index: int, *, subject: Subject | None = None
) -> Receipt:
    """Return the receipt of the decision at `index`; with `subject`, only if it is hers.

    Raises `UnknownEntry` where there is no such decision, where it was erased, and where it is another's:
    who may not read it does not learn which.
    """
    with deployment.reading(tenant) as scope:
        tenant = deployment.refreshed(scope, tenant)  # The key that signed this head, not one before.
        head = read_head(scope)
        if not 0 <= index < head.size:
            raise UnknownEntry(f"There is no record at index {index}.")
        stored = read_record(scope, index)
        if subject is not None and stored.subject_id != _number(deployment, scope, tenant, subject):
            raise UnknownEntry(f"There is no record at index {index}.")
        record = decode_record(stored.body)
        if not isinstance(record, DecisionRecord):
            raise UnknownEntry(f"Only decisions have receipts: index {index} is none.")
        published = deployment.book(scope, head).find(record.decision.notice)
        # What witnesses saw proves more than what only we signed, as soon as it covers the entry.
        size, checkpoint = last_quorum(scope, deployment.policy, least=index + 1) or (
            head.size,
            with_cosignatures(scope, head.size, head.checkpoint),
        )
        proof = TlogProof(
            index=index,
            hashes=tuple(inclusion_proof(index, size, subtrees(scope, size, head))),
            checkpoint=checkpoint,
        )
        leaf = read_leaves(scope, index, index + 1)[0]
    evidence = Evidence(
        origin=tenant.origin,
        vkey=_signed_by(tenant, checkpoint),
        index=index,
        leaf=leaf,
        opening=stored.opening,
        record=stored.body,
        notice=published.document,
        proof=proof.encode(),
    )
    settings = deployment.settings
    return Receipt(
        evidence=evidence,
        record=record,
        notice=published.notice,
        published_at=published.published_at,
        issued_at=deployment.clock(),
        preferences_url=settings.preferences_url or published.notice.controller.url,
        storage_country=settings.storage_country,
    )


def _signed_by(tenant: Tenant, note: bytes) -> str:
    """Return the newest of the log's keys that signed this checkpoint, perhaps before a rotation."""
    keys = [NoteVerifier.parse(vkey) for vkey in reversed(tenant.vkeys)]
    for key in keys[:-1]:
        with suppress(InvalidNote):
            open_checkpoint(note, key, origin=tenant.origin)
            return key.vkey
    return keys[-1].vkey


def _number(deployment: Deployment, scope: TenantScope, tenant: Tenant, subject: Subject) -> int | None:
    known = look_up_one(deployment, scope, tenant, subject)
    return -1 if known is None else known.id


FORMS: Mapping[str, Callable[[Receipt], bytes]] = {
    json_ld.MEDIA_TYPE: lambda receipt: _json(json_ld.json_ld(receipt)),
    kantara.MEDIA_TYPE: lambda receipt: _json(kantara.kantara(receipt)),
    plain.MEDIA_TYPE: lambda receipt: plain.plain_text(receipt).encode(),
    html.MEDIA_TYPE: lambda receipt: html.html_page(receipt).encode(),
}
"""The forms of a receipt by media type; PDF is the one more that needs an extra."""


def write_receipt(receipt: Receipt, media_type: str, settings: Settings) -> bytes:
    """Return the receipt in the form of this media type; raise `NoSuchForm` or `ExtraNotInstalled`."""
    if media_type == PDF_MEDIA_TYPE:
        return _pdf(receipt, settings)
    form = FORMS.get(media_type)
    if form is None:
        raise NoSuchForm(f"A receipt can be had as {', '.join(FORMS)} or {PDF_MEDIA_TYPE}.")
    return form(receipt)


def _pdf(receipt: Receipt, settings: Settings) -> bytes:
    try:
        pdf = import_module("consent_service.ledger.receipt_forms.pdf")
        font = settings.pdf_font or _bundled_font()
    except ImportError:
        raise ExtraNotInstalled("pdf") from None
    document: bytes = pdf.pdf_document(receipt, font=font)
    return document


def _bundled_font() -> Path:
    root: Path = import_module("fontpkg_noto_sans").ROOT
    return root / "files" / "NotoSans[wdth,wght].ttf"


def _json(document: Mapping[str, JsonValue]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
