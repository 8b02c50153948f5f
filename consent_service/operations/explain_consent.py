"""Why a purpose was open or closed at a moment: the verdict, the entry it rests on, the words, the proof."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.consent import Status
from consent_service.domain.decision import language_shown
from consent_service.domain.gate import Verdict
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import UnknownEntry, UnknownPurpose
from consent_service.ledger.checkpoint import Checkpoint
from consent_service.ledger.cosignature import text_of
from consent_service.ledger.record import DecisionRecord, LinkRecord, decode_record
from consent_service.operations.deployment import Deployment
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_cosigned import with_cosignatures
from consent_service.operations.read_history import read_consents
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.ledger_store import covering_checkpoint, read_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer for one purpose at `moment`; what follows `status` is absent where nobody chose.

    `words` are the notice's texts about the purpose as they were shown, `checkpoint` the first signed one
    that covers the entry, with its cosignatures.
    """

    purpose: PurposeKey
    moment: datetime
    status: Status
    verdict: Verdict
    record: DecisionRecord | LinkRecord | None = None
    notice: PublishedNotice | None = None
    language: str | None = None
    words: Mapping[str, str] | None = None
    checkpoint: bytes | None = None


def explain_consent(
    deployment: Deployment, tenant: Tenant, subject: Subject, purpose: str, *, at: datetime | None = None
) -> Explanation:
    """Return why `purpose` was open or closed for the subject at a moment (now by default).

    Raises `UnknownPurpose` where no notice of that moment had it.
    """
    moment = at or deployment.clock()
    key = PurposeKey(purpose)
    current = read_consents(deployment, tenant, subject, as_of=at).consents.get(key)
    if current is None:
        raise UnknownPurpose(f"No notice had the purpose {purpose[:64]!r} at that moment.")
    if current.consent is None:
        return Explanation(purpose=key, moment=moment, status=current.status, verdict=current.verdict)
    index = current.consent.index
    with deployment.reading(tenant) as scope:
        record = decode_record(read_record(scope, index).body)
        note = covering_checkpoint(scope, index)
        size = Checkpoint.parse(text_of(note)).size
        checkpoint = with_cosignatures(scope, size, note)
        book = deployment.book(scope)
    if not isinstance(record, DecisionRecord | LinkRecord):
        raise UnknownEntry(f"The entry at index {index} is no decision.")
    notice = book.find(record.decision.notice) if isinstance(record, DecisionRecord) else None
    language, words = _shown(record, notice, key)
    return Explanation(
        purpose=key,
        moment=moment,
        status=current.status,
        verdict=current.verdict,
        record=record,
        notice=notice,
        language=language,
        words=words,
        checkpoint=checkpoint,
    )


def _shown(
    record: DecisionRecord | LinkRecord, notice: PublishedNotice | None, key: PurposeKey
) -> tuple[str | None, Mapping[str, str] | None]:
    if notice is None or not isinstance(record, DecisionRecord):
        return None, None
    language = language_shown(record.decision.language, notice.notice) or notice.notice.languages[0]
    purpose = notice.notice.purposes[key]
    texts = {
        "name": purpose.name,
        "benefit": purpose.benefit,
        "description": purpose.description,
        "never": purpose.never,
        "if_denied": purpose.if_denied,
    }
    return language, {what: text[language] for what, text in texts.items()}
