import pytest
from consent_sdk import Reason, UnknownPurpose
from consent_sdk.testing import FakeConsent, SettableClock


def test_only_what_was_granted_is_allowed() -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    assert consent.allows("ana", "coupons")
    assert consent.check("ana", "recommendations").reason is Reason.NEVER_ASKED
    assert consent.check("bob", "coupons").reason is Reason.NEVER_ASKED


def test_a_withdrawal_closes_the_gate() -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    consent.withdraw("ana", "coupons", "recommendations")

    assert consent.check("ana", "coupons").reason is Reason.WITHDRAWN
    assert consent.check("ana", "recommendations").reason is Reason.REFUSED


def test_a_grant_ends() -> None:
    clock = SettableClock()
    consent = FakeConsent(grants={"ana": ["coupons"]}, clock=clock)

    clock.advance(200 * 86_400)

    assert consent.check("ana", "coupons").reason is Reason.EXPIRED


def test_a_service_that_is_down_denies_until_it_is_back() -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    consent.go_down()

    assert consent.check("ana", "coupons").reason is Reason.UNAVAILABLE
    consent.come_back()
    assert consent.allows("ana", "coupons")


def test_a_misspelt_purpose_is_found_by_the_test() -> None:
    consent = FakeConsent(purposes=["coupons"])

    with pytest.raises(UnknownPurpose):
        consent.allows("ana", "cupons")


def test_a_recorded_decision_shows_everywhere() -> None:
    consent = FakeConsent()

    recorded = consent.decide(
        "ana", notice="ab" * 32, choices={"coupons": "granted", "recommendations": "denied"}, language="en"
    )

    assert consent.allows("ana", "coupons")
    assert consent.consents("ana")["recommendations"].status == "refused"
    assert [decision.index for decision in consent.history("ana")] == [recorded.index]


def test_the_same_idempotency_key_is_one_decision() -> None:
    consent = FakeConsent()
    given = {"notice": "ab" * 32, "choices": {"coupons": "granted"}, "language": "en", "idempotency_key": "k"}

    first = consent.decide("ana", **given)  # type: ignore[arg-type]
    second = consent.decide("ana", **given)  # type: ignore[arg-type]

    assert first == second
    assert len(consent.history("ana")) == 1
