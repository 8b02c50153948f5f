"""The record of a decision is put together from parts, and its bytes are the canonical ones."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.consent import Status
from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.record import DecisionRecord, Outcome, decode_record, format_time

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_KEYS = st.from_regex(r"[a-z0-9_.-]{1,12}", fullmatch=True).map(PurposeKey)
_MOMENTS = st.integers(min_value=0, max_value=10**14).map(
    lambda milliseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
_OUTCOMES = st.builds(Outcome, status=st.sampled_from(Status), valid_until=_MOMENTS)
_DECISIONS = st.builds(
    Decision,
    notice=_TEXTS.map(NoticeDigest),
    choices=st.dictionaries(_KEYS, st.sampled_from(Choice), max_size=5),
    decided_at=_MOMENTS,
    method=_TEXTS,
    source=_TEXTS,
    language=_TEXTS,
    actor=_TEXTS,
    gpc=st.booleans(),
    evidence=st.none() | _TEXTS,
)
_RECORDS = st.builds(
    DecisionRecord,
    subject=_TEXTS.map(SubjectRef),
    decision=_DECISIONS,
    consents=st.dictionaries(_KEYS, _OUTCOMES, max_size=5),
    recorded_at=_MOMENTS,
    prev=st.none() | st.just(bytes(range(32))),
)


@given(_RECORDS)
def test_the_bytes_of_a_decisions_record_are_its_canonical_json(record: DecisionRecord) -> None:
    decision = record.decision

    assert record.encode() == canonical_json(
        {
            "v": 1,
            "kind": "decision",
            "subject": record.subject,
            "notice": decision.notice,
            "choices": {key: choice.value for key, choice in decision.choices.items()},
            "consents": {
                key: {"status": outcome.status.value, "valid_until": format_time(outcome.valid_until)}
                for key, outcome in record.consents.items()
            },
            "decided_at": format_time(decision.decided_at),
            "recorded_at": format_time(record.recorded_at),
            "method": decision.method,
            "source": decision.source,
            "actor": decision.actor,
            "language": decision.language,
            "gpc": decision.gpc,
            "evidence": decision.evidence,
            "prev": None if record.prev is None else "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        }
    )


@given(_RECORDS)
def test_a_decisions_record_is_read_back_as_it_was(record: DecisionRecord) -> None:
    assert decode_record(record.encode()) == record
