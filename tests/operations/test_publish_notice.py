"""A notice is published once, never widened in silence, and keeps the words that were decided about."""

from datetime import timedelta

import pytest

from consent_service.domain.consent import Status
from consent_service.errors import InvalidNotice, NoticeSuperseded, UnknownNotice
from consent_service.operations.read_history import read_history
from tests.builders import NOW, REMOVED, a_decision, a_notice
from tests.installation import Installation


def test_the_same_notice_again_changes_nothing(installation: Installation) -> None:
    first = installation.current

    again = installation.publish()

    assert (again.digest, again.index) == (first.digest, 0)
    assert installation.size == 1


def test_a_notice_that_widens_is_refused_and_leaves_no_trace(installation: Installation) -> None:
    widened = a_notice({"purposes/coupons/categories": ["purchases", "household", "browsing"]})

    with pytest.raises(InvalidNotice, match="version"):
        installation.publish(widened)

    assert installation.size == 1
    assert installation.current.notice == a_notice()


def test_a_widened_purpose_of_a_higher_version_asks_everyone_again(installation: Installation) -> None:
    installation.decide("customer-1", {"coupons": "granted", "recommendations": "granted"})

    installation.publish(
        a_notice(
            {
                "purposes/coupons/categories": ["purchases", "household", "browsing"],
                "purposes/coupons/version": 2,
            }
        )
    )

    reasons = installation.reasons("customer-1")
    assert (reasons["coupons"], reasons["recommendations"]) == ("notice_outdated", "granted")


def test_a_refusal_survives_a_new_version(installation: Installation) -> None:
    installation.decide("customer-1", {"coupons": "denied"})

    installation.publish(a_notice({"purposes/coupons/version": 2}))

    assert installation.reasons("customer-1")["coupons"] == "refused"


def test_a_retired_purpose_closes_and_stays_in_the_history(installation: Installation) -> None:
    installation.decide("customer-1", {"ai_assistance": "granted"})

    installation.publish(a_notice({"purposes/ai_assistance": REMOVED}))

    current = installation.consent("customer-1", "ai_assistance")
    assert current.verdict.reason == "purpose_retired"
    assert current.status is Status.GIVEN


def test_a_retired_purpose_does_not_open_again_by_itself_with_lesser_words(
    installation: Installation,
) -> None:
    installation.publish(a_notice({"purposes/ai_assistance/version": 2}))
    installation.publish(a_notice({"purposes/ai_assistance": REMOVED}))

    with pytest.raises(InvalidNotice):
        installation.publish(a_notice())


def test_a_decision_under_words_just_superseded_is_recorded_as_such(installation: Installation) -> None:
    earlier = installation.current
    installation.publish(a_notice({"purposes/coupons/version": 2}))
    installation.clock.advance(hours=24)

    decision = a_decision(
        {"coupons": "granted", "recommendations": "granted"},
        notice=earlier.digest,
        decided_at=installation.clock.now,
    )
    installation.decide("customer-1", decision=decision)

    (entry,) = read_history(
        installation.service.deployment, installation.tenant, installation.tenant.subject("customer-1")
    )
    assert entry.notice is not None
    assert entry.notice.digest == earlier.digest
    reasons = installation.reasons("customer-1")
    assert (reasons["coupons"], reasons["recommendations"]) == ("notice_outdated", "granted")


def test_a_decision_under_words_long_superseded_is_refused(installation: Installation) -> None:
    earlier = installation.current
    installation.publish(a_notice({"purposes/coupons/version": 2}))
    installation.clock.advance(hours=24, milliseconds=1)

    with pytest.raises(NoticeSuperseded):
        installation.decide(
            "customer-1", decision=a_decision(notice=earlier.digest, decided_at=installation.clock.now)
        )

    assert installation.size == 2


def test_words_published_again_are_current_again(installation: Installation) -> None:
    first = installation.current
    installation.publish(a_notice({"title/en": "Other words"}))
    installation.clock.advance(days=2)

    again = installation.publish()

    assert (again.digest, again.index) == (first.digest, 2)
    assert installation.decide("customer-1").index == 3


def test_the_service_remembers_every_notice_after_a_restart(installation: Installation) -> None:
    first = installation.current.digest
    installation.publish(a_notice({"purposes/coupons/version": 2}))

    with Installation(home=installation.home, database_url=installation.database_url) as restarted:
        assert restarted.current.digest == installation.current.digest
        assert restarted.decide("customer-1", decision=a_decision(notice=first)).index == 2


def test_nothing_is_decided_before_the_first_notice(unchecked_installation: Installation) -> None:
    with pytest.raises(UnknownNotice):
        unchecked_installation.decide("customer-1", decision=a_decision(notice="0" * 64))

    assert unchecked_installation.size == 0


def test_one_tenants_notice_is_unknown_to_another(installation: Installation) -> None:
    other = installation.another_tenant("other")
    published = installation.publish(a_notice({"purposes/coupons/version": 9}), tenant=other)

    with pytest.raises(UnknownNotice):
        installation.decide("customer-1", decision=a_decision(notice=published.digest))


def test_what_was_in_force_at_a_past_moment_is_told_by_the_notice_of_then(
    installation: Installation,
) -> None:
    moments = [NOW - timedelta(seconds=1), NOW]
    installation.decide("customer-1", {"coupons": "granted"})
    for change in ({"purposes/coupons/version": 2}, {"purposes/coupons": REMOVED}):
        installation.clock.advance(days=1)
        installation.publish(a_notice(change))
        moments.append(installation.clock.now)

    told = [installation.reasons("customer-1", as_of=moment).get("coupons") for moment in moments]

    assert told == [None, "granted", "notice_outdated", "purpose_retired"]
