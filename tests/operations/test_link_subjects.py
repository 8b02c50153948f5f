"""An anonymous subject turns out to be a known one: the most protective choice of the two wins."""

from datetime import timedelta

import pytest

from consent_service.errors import LinkRefused
from consent_service.operations.read_history import read_history
from tests.builders import NOW
from tests.installation import Installation


def test_a_denial_of_the_anonymous_side_closes_what_the_known_one_granted(installation: Installation) -> None:
    installation.decide("visitor", {"coupons": "denied"})
    installation.decide("customer-1", {"coupons": "granted", "recommendations": "granted"})

    answer = installation.link("visitor", "customer-1")

    assert installation.reasons("customer-1")["coupons"] == "withdrawn"
    assert installation.reasons("customer-1")["recommendations"] == "granted"
    assert answer.unconfirmed == ()


def test_a_grant_of_the_anonymous_side_opens_nothing_and_is_named_to_be_asked_about(
    installation: Installation,
) -> None:
    installation.decide("visitor", {"coupons": "granted"})
    installation.decide("customer-1", {"recommendations": "granted"})

    answer = installation.link("visitor", "customer-1")

    assert installation.reasons("customer-1")["coupons"] == "never_asked"
    assert answer.unconfirmed == ("coupons",)


def test_a_grant_of_the_anonymous_side_does_not_reopen_a_refusal(installation: Installation) -> None:
    installation.decide("customer-1", {"coupons": "denied"})
    installation.decide("visitor", {"coupons": "granted"})

    answer = installation.link("visitor", "customer-1")

    assert installation.reasons("customer-1")["coupons"] == "refused"
    assert answer.unconfirmed == ()


def test_the_shorter_validity_of_two_grants_remains(installation: Installation) -> None:
    visitor = installation.decide("visitor", {"coupons": "granted"})
    installation.clock.advance(days=30)
    installation.decide("customer-1", {"coupons": "granted"})

    answer = installation.link("visitor", "customer-1")

    assert [consent.valid_until for consent in answer.state.consents.values()] == [
        NOW.replace(year=2027, month=5)
    ]
    assert "2027-05-21" in visitor.text


def test_a_yes_of_the_anonymous_side_that_has_run_out_ends_the_customers(installation: Installation) -> None:
    installation.decide("visitor", {"coupons": "granted"})
    installation.clock.advance(days=200)
    installation.decide("customer-1", {"coupons": "granted"})

    installation.link("visitor", "customer-1")

    assert installation.reasons("customer-1")["coupons"] == "expired"


def test_the_anonymous_subject_keeps_her_own_consents_and_what_follows_stays_apart(
    installation: Installation,
) -> None:
    installation.decide("visitor", {"coupons": "granted"})
    installation.decide("customer-1", {"coupons": "denied", "recommendations": "granted"})
    installation.link("visitor", "customer-1")

    linked = installation.reasons("visitor")
    installation.decide("visitor", {"recommendations": "denied"})
    installation.decide("customer-1", {"coupons": "granted"})

    assert (linked["coupons"], linked["recommendations"]) == ("granted", "never_asked")
    assert installation.reasons("visitor")["recommendations"] == "refused"
    assert installation.reasons("customer-1")["recommendations"] == "granted"
    assert installation.reasons("customer-1")["coupons"] == "granted"


def test_a_customer_without_a_decision_is_created_by_the_link(installation: Installation) -> None:
    installation.decide("visitor", {"coupons": "denied"})

    installation.link("visitor", "customer-1")

    assert installation.reasons("customer-1")["coupons"] == "refused"
    history = read_history(
        installation.service.deployment, installation.tenant, installation.tenant.subject("customer-1")
    )
    assert [entry.record.recorded_at for entry in history] == [NOW]


def test_links_in_a_row_carry_denials_on_and_verify(installation: Installation) -> None:
    installation.decide("visitor", {"coupons": "denied"})
    installation.decide("guest", {"coupons": "granted", "recommendations": "granted"})
    installation.link("visitor", "guest")
    installation.decide("customer-1", {"coupons": "granted", "recommendations": "granted"})

    installation.link("guest", "customer-1")

    assert installation.reasons("customer-1")["coupons"] == "withdrawn"
    assert installation.verify().size == 6


def test_two_subjects_are_not_linked_both_ways(installation: Installation) -> None:
    installation.decide("one", {"coupons": "denied"})
    installation.decide("other", {"coupons": "granted"})
    installation.link("one", "other")

    with pytest.raises(LinkRefused, match="link to that one"):
        installation.link("other", "one")

    assert installation.size == 4


def test_what_was_in_force_before_a_link_is_still_told(installation: Installation) -> None:
    installation.decide("visitor", {"coupons": "denied"})
    installation.decide("customer-1", {"coupons": "granted"})
    before = installation.clock.now
    installation.clock.advance(hours=1)
    installation.link("visitor", "customer-1")
    linked = installation.clock.now
    installation.clock.advance(hours=1)
    installation.decide("customer-1", {"coupons": "granted"})

    told = [
        installation.reasons("customer-1", as_of=moment)["coupons"]
        for moment in (before, linked, linked + timedelta(hours=2))
    ]

    assert told == ["granted", "withdrawn", "granted"]


@pytest.mark.parametrize(
    ("anonymous", "message"),
    [("customer-1", "herself"), ("nobody", "decided nothing"), ("linked", "linked already")],
)
def test_a_link_without_sense_is_refused_and_leaves_no_trace(
    installation: Installation, anonymous: str, message: str
) -> None:
    installation.decide("linked", {"coupons": "denied"})
    installation.decide("customer-1", {"coupons": "denied"})
    installation.link("linked", "customer-1")
    size = installation.size

    with pytest.raises(LinkRefused, match=message):
        installation.link(anonymous, "customer-1")

    assert installation.size == size
