"""Record one decision: check it, derive its statuses, append it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring

from consent_service.domain.consent import DecisionEntry, SubjectState, apply
from consent_service.domain.decision import Decision, DecisionLimits, check
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import IdempotencyKeyReused
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import DecisionRecord, Outcome, format_time
from consent_service.operations.batch import Batch
from consent_service.operations.tenant import Subject
from consent_service.storage.idempotency_store import StoredAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """Keyed digests of the key a client sent and of the request it came with: both may name the subject.

    An answer of an earlier program stands under `former` digests, which needed no key.
    """

    key_digest: bytes
    request_digest: bytes
    former: "IdempotencyKey | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionAnswer:
    """What was recorded: `text` is the JSON object of the answer to POST /v1/decisions, without its links."""

    index: int
    text: str
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecision:
    """A subject's decision, to be appended to her tenant's log."""

    subject: Subject
    decision: Decision
    limits: DecisionLimits
    idempotency: IdempotencyKey | None = None

    @property
    def subjects(self) -> Sequence[Subject]:
        """The one subject who decided."""
        return (self.subject,)

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        """The digests under which an earlier answer may be stored."""
        return tuple(key.key_digest for key in self._keys())

    def perform(self, batch: Batch) -> DecisionAnswer:
        """Append the decision and return the answer; a repeated request gets its first answer again.

        Raises `UnknownNotice`, `InvalidDecision` and its kin, or `IdempotencyKeyReused`.
        """
        if (earlier := self._earlier(batch)) is not None:
            return earlier
        published = batch.book.find(self.decision.notice)
        check(
            self.decision,
            published.notice,
            batch.now,
            superseded_at=published.superseded_at,
            limits=self.limits,
        )
        subject = batch.require_subject(self.subject)
        entry = DecisionEntry(
            decision=self.decision, notice=published.notice, recorded_at=batch.now, index=batch.size
        )
        subject.state = apply(subject.state, entry)
        outcomes = outcomes_of(subject.state, self.decision.choices)
        record = DecisionRecord(
            subject=subject.ref,
            decision=self.decision,
            consents=outcomes,
            recorded_at=batch.now,
            prev=subject.last_commitment,
        )
        index = batch.append(Kind.DECISION, record.encode(), subject)
        if published.superseded_at is not None:
            subject.look_at_ms = 0  # The sweep by the newer notice may have passed already.
        moved = [key for key in self.decision.choices if subject.state.consents[key].index == index]
        purposes = {key: published.notice.purposes[key] for key in moved}
        batch.keys.follow(subject.id, subject.state, purposes)
        answer = DecisionAnswer(index=index, text=_text(index, batch.now, outcomes))
        if self.idempotency is not None:
            batch.remember(
                StoredAnswer(
                    key_digest=self.idempotency.key_digest,
                    request_digest=self.idempotency.request_digest,
                    index=index,
                    answer=answer.text,
                )
            )
        return answer

    def _earlier(self, batch: Batch) -> DecisionAnswer | None:
        for key in self._keys():
            stored = batch.answered(key.key_digest)
            if stored is None:
                continue
            if stored.request_digest != key.request_digest:
                raise IdempotencyKeyReused(
                    "This idempotency key came before with another body: use a fresh one."
                )
            return DecisionAnswer(index=stored.index, text=stored.answer, replayed=True)
        return None

    def _keys(self) -> Sequence[IdempotencyKey]:
        if self.idempotency is None:
            return ()
        former = self.idempotency.former
        return (self.idempotency,) if former is None else (self.idempotency, former)


def outcomes_of(state: SubjectState, purposes: Mapping[PurposeKey, object]) -> dict[PurposeKey, Outcome]:
    """Return status and validity of these purposes as `state` has them."""
    return {
        key: Outcome(status=state.consents[key].status, valid_until=state.consents[key].valid_until)
        for key in purposes
    }


def _text(index: int, recorded_at: datetime, outcomes: Mapping[PurposeKey, Outcome]) -> str:
    consents = ",".join([f"{encode_basestring(key)}:{outcome.text()}" for key, outcome in outcomes.items()])
    return f'{{"index":{index},"recorded_at":"{format_time(recorded_at)}","consents":{{{consents}}}}}'
