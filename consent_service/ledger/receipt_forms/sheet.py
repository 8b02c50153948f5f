"""What a person reads on a receipt, before it becomes text, HTML or PDF: the same lines in each."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from babel import Locale

from consent_service.domain.purpose import Purpose
from consent_service.ledger.dates import lasting, locale_of, moment
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.receipt_forms.wording import Wording, way_of, wording_for
from consent_service.ledger.record import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One purpose on the sheet: its name, what was chosen, and (label, value) lines."""

    name: str
    verdict: str
    allowed: bool
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A receipt in words. `language` is the notice's, `label_language` that of our own labels."""

    language: str
    label_language: str
    title: str
    heading: str
    choices: tuple[Choice, ...]
    lines: tuple[tuple[str, str], ...]
    change: str
    preferences_url: str
    proof_label: str


def sheet_of(receipt: Receipt) -> Sheet:
    """Return the sheet of a receipt; no string on it has a control or bidirectional override character."""
    label_language, words = wording_for(receipt.language)
    locale, controller = locale_of(label_language), receipt.notice.controller
    record = receipt.record
    return Sheet(
        language=receipt.language,
        label_language=label_language,
        title=words.receipt,
        heading=f"{clean(controller.name)} · {clean(receipt.text(receipt.notice.title))}",
        choices=tuple(
            _choice(receipt, words, locale, purpose, outcome) for purpose, outcome in receipt.outcomes()
        ),
        lines=_cleaned(
            [
                (words.decided, moment(record.decision.decided_at, locale)),
                (words.how, way_of(record.decision, label_language)),
                (words.subject, record.subject),
                (words.controller, f"{controller.name}, {controller.address}"),
                (words.contact, controller.contact),
                (words.notice, record.decision.notice),
                (words.entry, f"{receipt.evidence.index}, {receipt.evidence.origin}"),
            ]
        ),
        change=words.change,
        preferences_url=clean(receipt.preferences_url),
        proof_label=words.proof,
    )


def _choice(receipt: Receipt, words: Wording, locale: Locale, purpose: Purpose, outcome: Outcome) -> Choice:
    notice = receipt.notice
    categories = [receipt.text(notice.categories[key].name) for key in purpose.categories]
    recipients = [notice.recipients[key].name for key in purpose.recipients]
    return Choice(
        name=clean(receipt.text(purpose.name)),
        verdict=words.status(outcome.status),
        allowed=outcome.status in {"given", "renewed"},
        lines=_cleaned(
            [
                (words.benefit, receipt.text(purpose.benefit)),
                (words.description, receipt.text(purpose.description)),
                (words.categories, "; ".join(categories)),
                (words.recipients, "; ".join(recipients) or words.nobody_else),
                (words.never, receipt.text(purpose.never)),
                (words.until, moment(outcome.valid_until, locale)),
                (words.kept, lasting(purpose.retention.text, locale)),
            ]
        ),
    )


def _cleaned(lines: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((label, clean(value)) for label, value in lines)


def clean(text: str) -> str:
    """Return `text` on one line, without what could steer a terminal or turn the reading direction.

    Control (Cc), format (Cf) and private characters go; the joiners that scripts need stay.
    """
    kept = "".join(
        character
        for character in " ".join(text.split())
        if character in "\u200c\u200d"
        or unicodedata.category(character) not in {"Cc", "Cf", "Co", "Cs", "Cn"}
    )
    return kept.strip()
