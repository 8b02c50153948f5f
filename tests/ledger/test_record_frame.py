"""A record taken apart and put together is the same; its moments are read and moved on as the domain does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.duration import Duration
from consent_service.domain.subject import SubjectRef
from consent_service.errors import InvalidEntry
from consent_service.ledger.record import DecisionRecord, format_time, outcomes_text, parse_time
from consent_service.ledger.record_frame import Calendar, find_places, put_together, read_moment, take_apart
from tests.builders import NOW, ChoiceName, a_decision

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001  # hypothesis adds the zone
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@pytest.mark.parametrize(
    "choices",
    [
        {"coupons": "granted"},
        {"choices": "granted", "consents": "denied", "decided_at": "denied", "prev": "granted"},
        {"recorded_at": "granted", "subject": "denied"},
    ],
)
def test_a_record_put_together_from_its_parts_is_the_record(choices: dict[str, ChoiceName]) -> None:
    record = DecisionRecord(
        subject=SubjectRef("s_mXyq0b3nWkzF6jvTt9dQeG1A"),
        decision=a_decision(choices, decided_at=NOW + timedelta(days=1)),
        consents={},
        recorded_at=NOW,
        prev=None,
    )
    text = record.encode().decode()

    frame, decided_at, recorded_at = take_apart(text, find_places(text))

    assert (decided_at, recorded_at) == ("2026-11-22T12:00:00.000Z", "2026-11-21T12:00:00.000Z")
    assert put_together(frame, outcomes_text({}), decided_at, "null", recorded_at, record.subject) == text


@pytest.mark.parametrize("text", ["", "{}", '{"choices":{},"consents":{},"decided_at":"'])
def test_what_is_no_decision_cannot_be_taken_apart(text: str) -> None:
    with pytest.raises(ValueError, match="substring"):
        find_places(text)


@given(moments)
def test_a_moment_is_read_in_milliseconds(moment: datetime) -> None:
    text = format_time(moment)

    assert read_moment(text) == ((moment - EPOCH) // MILLISECOND, text)


def test_every_changed_character_of_a_moment_reads_as_by_the_slow_way() -> None:
    text = "2024-02-29T23:59:58.999Z"
    for place in range(len(text)):
        for character in "0123456789-:.TZ +t٣":
            changed = text[:place] + character + text[place + 1 :]
            try:
                expected = (parse_time(changed) - EPOCH) // MILLISECOND
            except InvalidEntry:
                with pytest.raises((InvalidEntry, KeyError)):
                    read_moment(changed)
            else:
                assert read_moment(changed) == (expected, changed)


@pytest.mark.parametrize("text", ["", "2024-02-29", "2024-02-29T23:59:58.999", "2024-02-29T23:59:58.999ZZ"])
def test_a_moment_of_another_length_is_refused(text: str) -> None:
    with pytest.raises(KeyError):
        read_moment(text)


@given(st.lists(moments, min_size=1), st.sampled_from(["P6M", "P13M", "P1Y2M10D", "P2W", "P31D", "P0D"]))
def test_a_validity_ends_when_the_domain_says(starts: list[datetime], text: str) -> None:
    validity = Duration.parse(text)
    calendar = Calendar(validity)

    for start in starts:
        end = validity.after(start)
        assert calendar.after(read_moment(format_time(start))) == read_moment(format_time(end))


def test_a_validity_of_hours_is_refused() -> None:
    with pytest.raises(ValueError, match="PT12H"):
        Calendar(Duration.parse("PT12H")).after(read_moment(format_time(NOW)))
