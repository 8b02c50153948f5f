"""Durations in calendar arithmetic."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.duration import Duration
from consent_service.errors import InvalidDuration

DAYS = st.dates(date(2025, 1, 1), date(2060, 12, 31)).map(
    lambda day: datetime(day.year, day.month, day.day, tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("text", "months", "exact"),
    [
        ("P6M", 6, timedelta()),
        ("P1Y2M10D", 14, timedelta(days=10)),
        ("P2W", 0, timedelta(weeks=2)),
        ("PT12H", 0, timedelta(hours=12)),
        ("P1DT1H1M1S", 0, timedelta(days=1, hours=1, minutes=1, seconds=1)),
    ],
)
def test_a_duration_keeps_months_apart_from_exact_time(text: str, months: int, exact: timedelta) -> None:
    duration = Duration.parse(text)

    assert (duration.months, duration.exact, duration.text) == (months, exact, text)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "6M", "p6m", "P6", "P1.5Y", "-P6M", "P1M1Y", "P6M ", "P\u0661M", "P6M\n"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration, match="Not an ISO 8601 duration"):
        Duration.parse(text)


def test_six_months_after_the_end_of_august_is_the_end_of_february() -> None:
    assert Duration.parse("P6M").after(datetime(2026, 8, 31, 12, tzinfo=UTC)) == datetime(
        2027, 2, 28, 12, tzinfo=UTC
    )


def test_a_day_is_counted_in_utc_whatever_the_offset() -> None:
    first_of_the_month = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))

    end = Duration.parse("P6M").after(first_of_the_month)

    assert end == datetime(2027, 5, 30, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        ("P6M", "P12M"),
        ("P28D", "P1M"),
        ("P1M", "P31D"),
        ("P393D", "P13M"),
        ("P12M28D", "P13M"),
        ("P730D", "P24M"),
    ],
)
def test_a_duration_that_never_ends_later_is_at_most_the_other(shorter: str, longer: str) -> None:
    assert Duration.parse(shorter).at_most(Duration.parse(longer))
    assert not Duration.parse(longer).at_most(Duration.parse(shorter))


@pytest.mark.parametrize(("one", "other"), [("P29D", "P1M"), ("P394D", "P13M"), ("P12M29D", "P13M")])
def test_durations_that_end_one_before_the_other_by_the_day_are_neither_at_most_the_other(
    one: str, other: str
) -> None:
    assert not Duration.parse(one).at_most(Duration.parse(other))
    assert not Duration.parse(other).at_most(Duration.parse(one))


@pytest.mark.parametrize(
    ("one", "other"), [("P6M", "P6M"), ("P12M", "P1Y"), ("P1W", "P7D"), ("P1D", "PT24H")]
)
def test_durations_of_the_same_length_are_at_most_each_other(one: str, other: str) -> None:
    assert Duration.parse(one).at_most(Duration.parse(other))
    assert Duration.parse(other).at_most(Duration.parse(one))


@given(
    st.tuples(st.integers(0, 14), st.integers(0, 450)),
    st.tuples(st.integers(0, 14), st.integers(0, 450)),
    DAYS,
)
def test_no_day_contradicts_at_most(one: tuple[int, int], other: tuple[int, int], day: datetime) -> None:
    shorter, longer = (Duration.parse(f"P{months}M{days}D") for months, days in (one, other))

    if shorter.at_most(longer):
        assert shorter.after(day) <= longer.after(day)


@pytest.mark.parametrize("text", ["P0D", "P0Y0M", "PT0S"])
def test_no_time_at_all_is_zero(text: str) -> None:
    assert Duration.parse(text).is_zero


@pytest.mark.parametrize("text", ["PT1S", "P1M"])
def test_any_time_is_more_than_zero(text: str) -> None:
    assert not Duration.parse(text).is_zero


@given(DAYS, st.sampled_from(["P1M", "P6M", "P24M", "P1M3D", "P90D", "PT12H", "P0D"]))
def test_whatever_is_older_than_the_moment_before_is_over(now: datetime, text: str) -> None:
    duration = Duration.parse(text)
    since = duration.before(now)

    assert duration.after(since - timedelta(milliseconds=1)) <= now
    assert now <= duration.after(since + timedelta(days=4))
