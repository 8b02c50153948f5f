"""Record one decision: check it, derive its statuses, append it."""

from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.domain.consent import NOBODY, DecisionEntry, SubjectState
from consent_service.domain.decision import Decision, DecisionLimits, check
from consent_service.errors import IdempotencyKeyReused
from consent_service.ledger.entry import Kind
from consent_service.operations.batch import Batch
from consent_service.operations.effect import Effect
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
    """A subject's decision, to be appended to her tenant's log.

    One that is `shared` is the very same object in other requests, with the same limits: what it leaves of
    subjects without entries is found out once.
    """

    subject: Subject
    decision: Decision
    limits: DecisionLimits
    idempotency: IdempotencyKey | None = None
    shared: bool = False

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
        subject = batch.require_subject(self.subject)
        first = subject.state is NOBODY
        effect = self._effect(batch, subject.state)
        record = effect.form.record(subject.ref, subject.last_commitment)
        index = batch.append(Kind.DECISION, record, subject)
        if first:
            subject.stand(*effect.first_state(index))
            batch.keys.begin(subject.id, effect.first_grants())
        else:
            subject.stand(effect.state)
            batch.keys.follow(subject.id, effect.state, effect.moved)
        if effect.published.superseded_at is not None:
            subject.look_at_ms = 0  # The sweep by the newer notice may have passed already.
        answer = DecisionAnswer(index=index, text=effect.answer(index))
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

    def _effect(self, batch: Batch, before: SubjectState) -> Effect:
        published = batch.book.find(self.decision.notice)
        shared = self.shared and before is NOBODY
        known = batch.effects.get(id(self.decision)) if shared else None
        if known is not None and known.published is published:
            return known
        check(
            self.decision,
            published.notice,
            batch.now,
            superseded_at=published.superseded_at,
            limits=self.limits,
        )
        entry = DecisionEntry(
            decision=self.decision, notice=published.notice, recorded_at=batch.now, index=batch.size
        )
        effect = Effect(published, before, entry)
        if shared:
            batch.effects[id(self.decision)] = effect
        return effect

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
