"""A receipt as plain text, with its evidence at the end as one line of JSON."""

import textwrap

from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.receipt_forms.sheet import sheet_of

MEDIA_TYPE = "text/plain"
EVIDENCE_MARK = "-----CONSENT EVIDENCE-----"
"""The line after which a text receipt has its evidence, canonical JSON on one line."""
_WIDTH = 78


def plain_text(receipt: Receipt) -> str:
    """Return the receipt as text lines that are safe to print on a terminal."""
    sheet = sheet_of(receipt)
    lines = [sheet.title, "=" * len(sheet.title), sheet.heading, ""]
    for choice in sheet.choices:
        mark = "[x]" if choice.allowed else "[ ]"
        lines += _wrapped(f"{mark} {choice.name}: {choice.verdict}", "    ")
        for label, value in choice.lines:
            lines += _wrapped(f"    {label}: {value}", "      ")
        lines.append("")
    for label, value in sheet.lines:
        lines += _wrapped(f"{label}: {value}", "  ")
    lines += ["", f"{sheet.change}: {sheet.preferences_url}", "", f"{sheet.proof_label}:", EVIDENCE_MARK]
    lines.append(canonical_json(receipt.evidence.document()).decode())
    return "\n".join(lines) + "\n"


def _wrapped(line: str, indent: str) -> list[str]:
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
