"""`consent explain`: why a purpose was open or closed for somebody at a moment."""

from typing import Annotated, Any

import typer

from consent_service.cli.output import (
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    external_id_of,
    moment_of,
    opened_for,
    reporting_errors,
)
from consent_service.ledger.record import DecisionRecord, format_time
from consent_service.operations.explain_consent import Explanation, explain_consent
from consent_service.verifier.verify import printable

_PIECE = 40
"""Characters that `printable` shows in full, whatever they are."""


@reporting_errors
def explain(
    *,
    subject: Annotated[str, typer.Option("--subject", help="External id; - reads it from standard input.")],
    purpose: Annotated[str, typer.Option("--purpose", help="Key of the purpose.")],
    at: Annotated[str | None, typer.Option("--at", help="Moment, RFC 3339; now by default.")] = None,
    tenant: TenantName = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say what the gate would have answered, on which entry and under which words, and who signed for it."""
    external_id = external_id_of(subject)
    with opened_for(tenant, database_url) as (deployment, owner):
        found = explain_consent(deployment, owner, owner.subject(external_id), purpose, at=moment_of(at))
    answer(_document(found), as_json=as_json, text=_text(found))


def _document(found: Explanation) -> dict[str, Any]:
    verdict, record = found.verdict, found.record
    document: dict[str, Any] = {
        "purpose": found.purpose,
        "at": format_time(found.moment),
        "allowed": verdict.allowed,
        "reason": verdict.reason.value,
        "status": found.status.value,
    }
    if verdict.valid_until is not None:
        document["valid_until"] = format_time(verdict.valid_until)
    if record is not None:
        document |= {"index": verdict.index, "recorded_at": format_time(record.recorded_at)}
    if isinstance(record, DecisionRecord):
        document |= {
            "decided_at": format_time(record.decision.decided_at),
            "choice": record.decision.choices[found.purpose].value,
            "method": record.decision.method,
            "source": record.decision.source,
            "notice": record.decision.notice,
            "language": found.language,
            "words": found.words,
        }
    if found.checkpoint is not None:
        document["checkpoint"] = found.checkpoint.decode()
    return document


def _whole(text: str) -> str:
    """Return the exact words, however long, without what could steer a terminal."""
    return "".join(printable(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))


def _text(found: Explanation) -> str:
    document = _document(found)
    words = document.pop("words", None) or {}
    checkpoint = document.pop("checkpoint", "")
    lines = [f"{name}: {printable(value)}" for name, value in document.items()]
    if words:
        lines += ["", "Words shown:", *(f"  {what}: {_whole(text)}" for what, text in words.items())]
    if checkpoint:
        lines += [
            "",
            "Checkpoint that covers the entry:",
            *(printable(line) for line in checkpoint.split("\n")),
        ]
    return "\n".join(lines)
