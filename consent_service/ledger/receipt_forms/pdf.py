"""A receipt as PDF (extra `pdf`): the same words, the QR code, and the evidence as an attached file."""

from datetime import datetime
from pathlib import Path
from typing import cast

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import TTFFont

from consent_service.errors import NoSuchForm
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.receipt_forms.qr import qr_png
from consent_service.ledger.receipt_forms.sheet import Sheet, sheet_of

MEDIA_TYPE = "application/pdf"
EVIDENCE_NAME = "consent-evidence.json"
"""The name of the attached file that holds the evidence."""
_FONT = "receipt"
_LARGE, _MEDIUM, _SMALL = 18, 12, 9
_LINE_MM, _QR_MM = 5, 35


def pdf_document(receipt: Receipt, *, font: Path) -> bytes:
    """Return the receipt as a PDF file in a TrueType font that has the notice's characters.

    Raises `NoSuchForm` where the font lacks one: a receipt with boxes for letters is no receipt.
    """
    sheet = sheet_of(receipt)
    document = _document(receipt.issued_at, sheet, font)
    _require_glyphs(document, sheet)
    _write(document, _LARGE, sheet.title)
    _write(document, _MEDIUM, sheet.heading)
    for choice in sheet.choices:
        document.ln(_LINE_MM)
        _write(document, _MEDIUM, f"{choice.name}: {choice.verdict}")
        for label, value in choice.lines:
            _write(document, _SMALL, f"{label}: {value}")
    document.ln(_LINE_MM)
    for label, value in sheet.lines:
        _write(document, _SMALL, f"{label}: {value}")
    document.ln(_LINE_MM)
    _write(document, _MEDIUM, sheet.change)
    _write(document, _SMALL, sheet.preferences_url)
    document.image(qr_png(sheet.preferences_url), w=_QR_MM)
    document.embed_file(
        basename=EVIDENCE_NAME,
        bytes=canonical_json(receipt.evidence.document()),
        desc=sheet.proof_label,
        mime_type="application/json",
        creation_date=receipt.issued_at,
        modification_date=receipt.issued_at,
    )
    try:
        return bytes(document.output())
    finally:
        _font_of(document).close()


def _document(issued_at: datetime, sheet: Sheet, font: Path) -> FPDF:
    document = FPDF()
    document.set_creation_date(issued_at)
    document.set_title(sheet.title)
    document.set_lang(sheet.language)
    document.add_font(_FONT, fname=font)
    document.add_page()
    document.set_font(_FONT, size=_MEDIUM)
    return document


def _require_glyphs(document: FPDF, sheet: Sheet) -> None:
    lines = [*sheet.lines, *(line for choice in sheet.choices for line in choice.lines)]
    names = [sheet.title, sheet.heading, sheet.change, *(choice.name for choice in sheet.choices)]
    wanted = set("".join([*names, *(label + value for label, value in lines)]))
    known = _font_of(document).cmap
    if any(ord(character) not in known for character in wanted):
        _font_of(document).close()
        raise NoSuchForm(
            "The PDF's font lacks characters of this notice: ask for HTML, or set CONSENT_PDF_FONT."
        )


def _font_of(document: FPDF) -> TTFFont:
    return cast("TTFFont", document.fonts[_FONT])


def _write(document: FPDF, size: int, text: str) -> None:
    document.set_font(_FONT, size=size)
    document.multi_cell(0, _LINE_MM * size / _SMALL, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
