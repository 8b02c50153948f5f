"""What is in force, what was in force, and everything that was decided: all from the same entries."""

from datetime import timedelta

import pytest

from consent_service.domain.consent import Status
from consent_service.operations.read_history import read_history
from tests.builders import NOW, ChoiceName, a_decision
from tests.installation import Installation

COUPONS = "coupons"


def history(installation: Installation, subject: str) -> list[str]:
    entries = read_history(
        installation.service.deployment, installation.tenant, installation.tenant.subject(subject)
    )
    return [outcome.status.value for entry in entries for outcome in entry.record.consents.values()]


def test_every_past_moment_is_told_as_it_was(installation: Installation) -> None:
    choices: list[ChoiceName] = ["granted", "denied", "denied", "granted", "granted"]
    for choice in choices:
        installation.clock.advance(days=1)
        installation.decide("customer-1", {COUPONS: choice})

    told = [
        installation.reasons("customer-1", as_of=NOW + timedelta(days=day))[COUPONS]
        for day in range(len(choices) + 1)
    ]

    assert told == ["never_asked", "granted", "withdrawn", "refused", "granted", "granted"]
    assert history(installation, "customer-1") == ["given", "withdrawn", "refused", "given", "renewed"]


def test_a_grant_is_live_until_its_last_moment(installation: Installation) -> None:
    installation.decide("customer-1", {COUPONS: "granted"})
    ends = NOW.replace(year=2027, month=5)

    installation.clock.now = ends - timedelta(milliseconds=1)
    before = installation.reasons("customer-1")[COUPONS]
    installation.clock.now = ends
    after = installation.reasons("customer-1")[COUPONS]

    assert (before, after) == ("granted", "expired")
    assert installation.consent("customer-1", COUPONS).status is Status.EXPIRED
    assert installation.reasons("customer-1", as_of=ends - timedelta(milliseconds=1))[COUPONS] == "granted"


@pytest.mark.parametrize(("days", "reason"), [(0, "granted"), (100, "granted"), (9000, "expired")])
def test_a_moment_to_come_is_told_by_what_is_known_now(
    installation: Installation, days: int, reason: str
) -> None:
    installation.decide("customer-1", {COUPONS: "granted"})

    assert installation.reasons("customer-1", as_of=NOW + timedelta(days=days))[COUPONS] == reason


def test_a_validity_counts_from_the_act_not_from_its_arrival(installation: Installation) -> None:
    late = NOW - timedelta(days=20)
    decision = a_decision({COUPONS: "granted"}, notice=installation.current.digest, decided_at=late)

    installation.decide("customer-1", decision=decision)

    consent = installation.consent("customer-1", COUPONS).consent
    assert consent is not None
    assert consent.valid_until == late.replace(year=2027, month=5)
    assert consent.since == NOW


def test_a_clock_ahead_of_ours_lengthens_no_validity(installation: Installation) -> None:
    ahead = NOW + timedelta(minutes=5)
    decision = a_decision({COUPONS: "granted"}, notice=installation.current.digest, decided_at=ahead)

    installation.decide("customer-1", decision=decision)

    consent = installation.consent("customer-1", COUPONS).consent
    assert consent is not None
    assert consent.valid_until == NOW.replace(year=2027, month=5)


def test_nobody_has_no_history_and_nothing_in_force(installation: Installation) -> None:
    assert history(installation, "nobody") == []
    assert set(installation.reasons("nobody").values()) == {"never_asked"}


def test_a_purpose_that_was_refused_is_in_the_history(installation: Installation) -> None:
    installation.decide("customer-1", {COUPONS: "denied", "recommendations": "granted"})

    assert sorted(history(installation, "customer-1")) == ["given", "refused"]


def test_every_change_leaves_an_entry(installation: Installation) -> None:
    choices: list[ChoiceName] = ["granted", "granted", "denied", "denied"]
    for number, choice in enumerate(choices, start=1):
        installation.decide("customer-1", {COUPONS: choice})

        assert installation.size == 1 + number
