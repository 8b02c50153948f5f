"""`consent receipt`: the receipt of one decision, on the screen or as a file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from consent_service.cli.output import (
    MAX_INDEX,
    DatabaseUrl,
    TenantName,
    external_id_of,
    opened_for,
    reporting_errors,
    say,
)
from consent_service.ledger.receipt_forms import html, json_ld, kantara, plain
from consent_service.ledger.receipt_forms.qr import qr_text
from consent_service.operations.read_receipt import PDF_MEDIA_TYPE, read_receipt, write_receipt


class Form(StrEnum):
    """The forms of a receipt by the names that the command line has for them."""

    TEXT = "text"
    JSON_LD = "json-ld"
    KANTARA = "kantara"
    HTML = "html"
    PDF = "pdf"


_MEDIA_TYPES = {
    Form.TEXT: plain.MEDIA_TYPE,
    Form.JSON_LD: json_ld.MEDIA_TYPE,
    Form.KANTARA: kantara.MEDIA_TYPE,
    Form.HTML: html.MEDIA_TYPE,
    Form.PDF: PDF_MEDIA_TYPE,
}


@reporting_errors
def receipt(
    index: Annotated[int, typer.Argument(min=0, max=MAX_INDEX, help="Index of the decision in the ledger.")],
    *,
    form: Annotated[Form, typer.Option("--form", help="What to write.")] = Form.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="File; standard output by default.")] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject", help="Only if the decision is of this external id; - reads it from standard input."
        ),
    ] = None,
    qr: Annotated[bool, typer.Option("--qr/--no-qr", help="Print the QR code after a text.")] = True,
    tenant: TenantName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the receipt of one decision, with its proof; the QR code leads to where choices are changed."""
    external_id = None if subject is None else external_id_of(subject)
    with opened_for(tenant, database_url) as (deployment, owner):
        hers = None if external_id is None else owner.subject(external_id)
        made = read_receipt(deployment, owner, index, subject=hers)
        body = write_receipt(made, _MEDIA_TYPES[form], deployment.settings)
    if out is not None:
        out.write_bytes(body)
        return
    say(body, nl=False)
    if form is Form.TEXT and qr:
        say("\n" + qr_text(made.preferences_url), nl=False)
