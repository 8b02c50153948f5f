"""A receipt as one HTML page that fetches nothing and runs nothing; the evidence lies in a data block."""

import base64
import hashlib
from html import escape

from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.receipt_forms.qr import qr_svg
from consent_service.ledger.receipt_forms.sheet import Choice, Sheet, sheet_of
from consent_service.ledger.words import direction, primary

MEDIA_TYPE = "text/html"
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a1a1a;background:#fff;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-bottom:.25rem}section{break-inside:avoid}"
    "dl{display:grid;grid-template-columns:fit-content(14rem) 1fr;gap:.25rem 1rem;margin:.5rem 0 1.5rem}"
    "dt{font-weight:600}dd{margin:0}svg{width:10rem;max-width:100%;height:auto}"
    "@media(max-width:30rem){dl{grid-template-columns:1fr}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: apply its own style, and nothing else."""


def html_page(receipt: Receipt) -> str:
    """Return the receipt as an HTML page in the language of the notice."""
    sheet = sheet_of(receipt)
    evidence = canonical_json(receipt.evidence.document()).decode().replace("<", "\\u003c")
    url = escape(sheet.preferences_url)
    link = f'<a href="{url}"><bdi dir="ltr">{url}</bdi></a>'
    return (
        f'<!doctype html>\n<html lang="{escape(sheet.language)}" dir="{direction(sheet.language)}">\n<head>\n'
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(sheet.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1{_lang(sheet)}>{escape(sheet.title)}</h1>\n<p><bdi>{escape(sheet.heading)}</bdi></p>\n"
        f"{''.join(_choice(sheet, choice) for choice in sheet.choices)}"
        f"{_pairs(sheet, sheet.lines)}"
        f"<h2{_lang(sheet)}>{escape(sheet.change)}</h2>\n<p>{link}</p>\n"
        f"{qr_svg(sheet.preferences_url)}\n</main>\n"
        f'<script type="application/json" id="consent-evidence">{evidence}</script>\n</body>\n</html>\n'
    )


def _choice(sheet: Sheet, choice: Choice) -> str:
    return (
        f"<section>\n<h2><bdi>{escape(choice.name)}</bdi>: "
        f"<span{_lang(sheet)}>{escape(choice.verdict)}</span></h2>\n"
        f"{_pairs(sheet, choice.lines)}</section>\n"
    )


def _pairs(sheet: Sheet, lines: tuple[tuple[str, str], ...]) -> str:
    rows = "".join(
        f"<dt{_lang(sheet)}>{escape(label)}</dt><dd><bdi>{escape(value)}</bdi></dd>\n"
        for label, value in lines
    )
    return f"<dl>\n{rows}</dl>\n"


def _lang(sheet: Sheet) -> str:
    """Mark our own labels where they are in another language than the notice (WCAG 3.1.2)."""
    same = primary(sheet.language) == sheet.label_language
    return "" if same else f' lang="{sheet.label_language}" dir="{direction(sheet.label_language)}"'
