"""What decisions add up to: `apply`, which decides, projects and audits, and links."""

from datetime import datetime, timedelta

import pytest

from consent_service.domain.consent import (
    NOBODY,
    Consent,
    DecisionEntry,
    Status,
    SubjectState,
    apply,
    link,
    unconfirmed,
)
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import PurposeKey
from tests.builders import NOW, ChoiceName, a_decision, a_notice

COUPONS = PurposeKey("coupons")
NOTICE = a_notice()
NEWER = a_notice({"purposes/coupons/version": NOTICE.purposes[COUPONS].version + 1})
DAY = timedelta(days=1)


def an_entry(
    choice: ChoiceName,
    *,
    notice: Notice = NOTICE,
    decided_at: datetime = NOW,
    recorded_at: datetime | None = None,
    index: int = 1,
    method: str = "save",
) -> DecisionEntry:
    """Return an entry about coupons, recorded when it was decided unless it is said when."""
    return DecisionEntry(
        decision=a_decision({COUPONS: choice}, decided_at=decided_at, method=method),
        notice=notice,
        recorded_at=decided_at if recorded_at is None else recorded_at,
        index=index,
    )


def coupons_after(*entries: DecisionEntry) -> Consent:
    """Return what stands of coupons after these entries of one subject."""
    return state_after(*entries).consents[COUPONS]


def state_after(*entries: DecisionEntry) -> SubjectState:
    """Return the state after these entries of one subject."""
    state = NOBODY
    for entry in entries:
        state = apply(state, entry)
    return state


LATER = NOW + DAY
PAST_VALIDITY = NOW + timedelta(days=200)


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([an_entry("granted")], Status.GIVEN),
        ([an_entry("granted"), an_entry("granted", decided_at=LATER)], Status.RENEWED),
        ([an_entry("denied"), an_entry("granted", decided_at=LATER)], Status.GIVEN),
        ([an_entry("denied")], Status.REFUSED),
        ([an_entry("granted"), an_entry("denied", decided_at=LATER)], Status.WITHDRAWN),
        ([an_entry("denied"), an_entry("denied", decided_at=LATER)], Status.REFUSED),
        ([an_entry("granted"), an_entry("denied", decided_at=PAST_VALIDITY)], Status.REFUSED),
        ([an_entry("granted"), an_entry("granted", decided_at=PAST_VALIDITY)], Status.RENEWED),
    ],
)
def test_a_choice_becomes_a_status_by_what_it_meets(entries: list[DecisionEntry], status: Status) -> None:
    assert coupons_after(*entries).status is status


def test_a_purpose_that_was_not_asked_about_keeps_its_choice() -> None:
    other = DecisionEntry(
        decision=a_decision({"recommendations": "denied"}), notice=NOTICE, recorded_at=LATER, index=2
    )

    state = state_after(an_entry("granted"), other)

    assert state.consents[COUPONS] == coupons_after(an_entry("granted"))


@pytest.mark.parametrize("behind", [timedelta(0), DAY])
def test_a_validity_starts_with_the_act_and_never_after_it_was_recorded(behind: timedelta) -> None:
    validity = NOTICE.purposes[COUPONS].validity
    ahead = an_entry("granted", decided_at=NOW + timedelta(minutes=4), recorded_at=NOW)
    late = an_entry("granted", decided_at=NOW - behind, recorded_at=NOW)

    assert coupons_after(ahead).valid_until == validity.after(NOW)
    assert coupons_after(late).valid_until == validity.after(NOW - behind)


def test_a_grant_from_before_a_denial_that_arrives_after_it_opens_nothing() -> None:
    denial = an_entry("denied", decided_at=NOW, recorded_at=NOW)
    late = an_entry("granted", decided_at=NOW - DAY, recorded_at=NOW + DAY, index=2)

    assert coupons_after(denial, late) == coupons_after(denial)


def test_a_denial_from_before_a_grant_that_arrives_after_it_denies() -> None:
    grant = an_entry("granted", decided_at=NOW, recorded_at=NOW)
    late = an_entry("denied", decided_at=NOW - DAY, recorded_at=NOW + DAY, index=2)

    assert coupons_after(grant, late).status is Status.WITHDRAWN


def test_a_grant_under_earlier_words_replaces_none_under_later_words() -> None:
    newer = an_entry("granted", notice=NEWER)
    older = an_entry("granted", notice=NOTICE, decided_at=LATER, index=2)

    assert coupons_after(newer, older) == coupons_after(newer)


@pytest.mark.parametrize(("granted", "denied"), [(NEWER, NOTICE), (NOTICE, NEWER)])
def test_a_denial_under_other_words_denies_and_is_spelt_as_in_every_released_record(
    granted: Notice, denied: Notice
) -> None:
    grant = an_entry("granted", notice=granted)
    denial = an_entry("denied", notice=denied, decided_at=LATER, index=2)

    assert coupons_after(grant, denial).status is Status.REFUSED  # ADR 0094


def test_a_grant_under_later_words_replaces_one_under_earlier_words() -> None:
    renewed = coupons_after(an_entry("granted"), an_entry("granted", notice=NEWER, decided_at=LATER, index=2))

    assert (renewed.status, renewed.purpose_version) == (
        Status.RENEWED,
        NEWER.purposes[COUPONS].version,
    )


@pytest.mark.parametrize("choice", ["granted", "denied"])
def test_a_choice_of_either_kind_is_expired_from_the_end_of_its_validity_on(choice: ChoiceName) -> None:
    consent = coupons_after(an_entry(choice))
    until = consent.valid_until

    assert consent.status_at(until - timedelta(milliseconds=1)) is consent.status
    assert consent.status_at(until) is Status.EXPIRED
    assert not consent.live(until, consent.purpose_version)


def test_only_a_signals_denial_is_by_signal() -> None:
    assert coupons_after(an_entry("denied", method="gpc")).by_signal
    assert not coupons_after(an_entry("denied")).by_signal


@pytest.mark.parametrize(
    ("known", "anonymous", "linked"),
    [
        (None, "granted", None),
        (None, "denied", Status.REFUSED),
        ("granted", None, Status.GIVEN),
        ("granted", "granted", Status.GIVEN),
        ("granted", "denied", Status.WITHDRAWN),
        ("denied", "granted", Status.REFUSED),
        ("denied", "denied", Status.REFUSED),
        ("denied", None, Status.REFUSED),
    ],
)
def test_of_two_linked_subjects_the_most_protective_choice_wins(
    known: ChoiceName | None, anonymous: ChoiceName | None, linked: Status | None
) -> None:
    ours, theirs = (NOBODY if each is None else state_after(an_entry(each)) for each in (known, anonymous))

    consent = link(ours, theirs, index=9, recorded_at=LATER).consents.get(COUPONS)

    assert (None if consent is None else consent.status) is linked


@pytest.mark.parametrize("earlier_is_known", [True, False])
def test_of_two_linked_grants_the_validity_that_ends_first_stands(*, earlier_is_known: bool) -> None:
    sooner, later = state_after(an_entry("granted")), state_after(an_entry("granted", decided_at=LATER))
    known, anonymous = (sooner, later) if earlier_is_known else (later, sooner)

    linked = link(known, anonymous, index=9, recorded_at=LATER)

    assert linked.consents[COUPONS].valid_until == sooner.consents[COUPONS].valid_until


def test_what_only_the_anonymous_side_granted_is_worth_asking_about() -> None:
    granted, denied = state_after(an_entry("granted")), state_after(an_entry("denied"))

    assert unconfirmed(NOBODY, granted) == (COUPONS,)
    assert unconfirmed(denied, granted) == ()
    assert unconfirmed(NOBODY, denied) == ()
