import pytest
from consent_sdk import Reason, Refused, ServiceUnavailable, UnknownPurpose
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


def test_after_a_clock_that_leapt_and_came_back_a_new_client_is_needed() -> None:
    clock = SettableClock()
    consent = FakeConsent(grants={"ana": ["coupons"]}, clock=clock)
    assert consent.allows("ana", "coupons")

    clock.jump(400 * 86_400)
    leapt = consent.check("ana", "coupons").reason
    clock.jump(-400 * 86_400)
    consent.grant("ana", "coupons")

    assert (leapt, consent.check("ana", "coupons").reason) == (Reason.EXPIRED, Reason.EXPIRED)
    assert FakeConsent(grants={"ana": ["coupons"]}, clock=clock).allows("ana", "coupons")


def test_a_service_that_is_down_denies_once_its_last_word_is_stale() -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    consent.go_down()

    assert consent.allows("ana", "coupons")
    consent.go_stale()
    assert consent.check("ana", "coupons").reason is Reason.STALE
    with pytest.raises(ServiceUnavailable):
        consent.decide("ana", notice="ab" * 32, choices={"coupons": "denied"}, language="en")


def test_what_happened_during_an_outage_holds_after_it() -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    consent.go_stale()
    consent.withdraw("ana", "coupons")
    consent.grant("bob", "coupons")
    consent.come_back()

    assert consent.check("ana", "coupons").reason is Reason.WITHDRAWN
    assert consent.allows("bob", "coupons")


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


def test_the_same_question_gives_the_same_object() -> None:
    consent = FakeConsent(grants={"ana": ["coupons"]})

    assert consent.check("ana", "coupons") is consent.check("ana", "coupons")


def test_changes_of_a_profile_are_merged_and_null_deletes() -> None:
    consent = FakeConsent()
    consent.grant("ana", "recommendations")
    consent.update_profile(
        "ana", {"purchases": {"last_basket": ["milk"], "total": 9.5}, "household": {"size": 2}}
    )

    stored = consent.update_profile("ana", {"purchases": {"total": None, "visits": 3}, "household": None})

    assert stored == ("purchases.visits",)
    profile = consent.profile("ana", purpose="recommendations")
    assert dict(profile) == {"purchases": {"last_basket": ["milk"], "visits": 3}}


def test_what_was_derived_for_a_purpose_is_seen_while_it_is_open_and_goes_with_a_denial() -> None:
    consent = FakeConsent(clock=SettableClock())
    consent.grant("ana", "coupons", "recommendations")
    consent.update_profile("ana", {"purchases": {"last_basket": ["milk"]}})
    consent.update_profile("ana", {"purchases": {"taste": 0.7}}, derived_for="recommendations")
    assert "taste" in consent.profile("ana", purpose="coupons")["purchases"]

    consent.clock.advance(170 * 86_400)
    consent.grant("ana", "coupons")
    consent.clock.advance(20 * 86_400)
    assert dict(consent.profile("ana", purpose="coupons")) == {"purchases": {"last_basket": ["milk"]}}
    with pytest.raises(Refused):
        consent.update_profile("ana", {"purchases": {"taste": 0.8}}, derived_for="recommendations")

    consent.grant("ana", "recommendations")
    assert "taste" in consent.profile("ana", purpose="coupons")["purchases"]
    consent.withdraw("ana", "recommendations")
    consent.grant("ana", "recommendations")
    assert dict(consent.profile("ana", purpose="coupons")) == {"purchases": {"last_basket": ["milk"]}}
