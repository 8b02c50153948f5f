"""What is read fast is what the slow way reads: nothing passes that `decode_record` would refuse."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from consent_service.domain.consent import Status
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.errors import InvalidEntry
from consent_service.ledger.record import DecisionRecord, LinkRecord, Outcome, decode_record, outcomes_text
from consent_service.ledger.record_reader import RecordReader
from tests.builders import NOW, a_decision

_COMMITMENT = bytes(range(32))


def a_record(subject: str = "s_mXyq0b3nWkzF6jvTt9dQeG1A", *, seconds: float = 0) -> DecisionRecord:
    """Return the record of a grant and a denial, some seconds later."""
    later = NOW + timedelta(seconds=seconds)
    return DecisionRecord(
        subject=SubjectRef(subject),
        decision=a_decision({"coupons": "granted", "recommendations": "denied"}, decided_at=later),
        consents={
            PurposeKey("coupons"): Outcome(status=Status.GIVEN, valid_until=later + timedelta(days=180)),
            PurposeKey("recommendations"): Outcome(status=Status.REFUSED, valid_until=later),
        },
        recorded_at=later,
        prev=_COMMITMENT if seconds else None,
    )


def spoilt(data: bytes) -> Iterator[bytes]:
    """Yield the bytes with one changed, left out or doubled, at every place."""
    for at, byte in enumerate(data):
        for other in (byte ^ 0x01, byte ^ 0x20, ord('"'), ord("\\"), ord("0"), 0xFF):
            yield data[:at] + bytes([other]) + data[at + 1 :]
        yield data[:at] + data[at + 1 :]
        yield data[: at + 1] + data[at:]


def test_a_record_like_one_before_is_read_as_the_slow_way_reads_it() -> None:
    reader = RecordReader()
    reader.read(a_record().encode())
    record = a_record("s_another", seconds=1.5)

    read = reader.read(record.encode())

    assert read is not None
    assert (read.subject, read.recorded_at, read.prev) == ("s_another", record.recorded_at, _COMMITMENT)
    assert (read.decision, read.linked) == (record.decision, None)
    assert read.outcomes == outcomes_text(record.consents)


def test_a_spoilt_record_is_refused_or_says_other_outcomes() -> None:
    reader, record = RecordReader(), a_record(seconds=1)
    data, outcomes = record.encode(), outcomes_text(record.consents)
    reader.read(data)
    passed = 0

    for changed in spoilt(data):
        try:
            read = reader.read(changed)
        except InvalidEntry:
            with pytest.raises(InvalidEntry):
                decode_record(changed)
            continue
        assert read is not None
        passed += 1
        if read.outcomes == outcomes:  # Outcomes are compared with what follows from the entries before.
            slow = decode_record(changed)
            assert isinstance(slow, DecisionRecord)
            assert (read.subject, read.recorded_at, read.prev) == (slow.subject, slow.recorded_at, slow.prev)
            assert read.decision == slow.decision
    assert passed > 0


def test_a_link_is_read_too() -> None:
    link = LinkRecord(
        subject=SubjectRef("s_known"),
        linked=SubjectRef("s_visitor"),
        actor="backend",
        consents={},
        recorded_at=NOW,
        prev=None,
    )

    read = RecordReader().read(link.encode())

    assert read is not None
    assert (read.decision, read.linked, read.outcomes) == (None, "s_visitor", "{}")
