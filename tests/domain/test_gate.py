"""The gate: deny by default, each denial for its reason."""

from datetime import datetime, timedelta

import pytest

from consent_service.domain.consent import GRANTING, NOBODY, Consent, Status, SubjectState
from consent_service.domain.gate import Catalogue, Reason, evaluate, evaluate_key
from consent_service.domain.purpose import PurposeKey
from tests.builders import NOW, a_notice

COUPONS = PurposeKey("coupons")
PURPOSE = a_notice({"purposes/coupons/gpc": False}).purposes[COUPONS]
SIGNALLED = a_notice({"purposes/coupons/gpc": True}).purposes[COUPONS]
UNTIL = NOW + timedelta(days=180)
INSTANT = timedelta(microseconds=1)


def a_state(
    status: Status,
    *,
    version: int = PURPOSE.version,
    gpc: bool = False,
    by_signal: bool = False,
    erased: bool = False,
) -> SubjectState:
    """Return the state of somebody whose latest choice about coupons has this status."""
    consent = Consent(
        status=status,
        purpose_version=version,
        since=NOW,
        decided_at=NOW,
        valid_until=UNTIL,
        index=7,
        gpc=gpc,
        by_signal=by_signal,
    )
    return SubjectState(consents={COUPONS: consent}, erased=erased)


@pytest.mark.parametrize("status", [Status.GIVEN, Status.RENEWED, Status.REFUSED, Status.WITHDRAWN])
@pytest.mark.parametrize("ahead", [-1, 0, 1])
@pytest.mark.parametrize("now", [NOW, UNTIL - INSTANT, UNTIL, UNTIL + INSTANT])
@pytest.mark.parametrize("erased", [False, True])
def test_a_gate_opens_only_under_a_live_grant_of_the_version_in_force(
    *, status: Status, ahead: int, now: datetime, erased: bool
) -> None:
    state = a_state(status, version=PURPOSE.version + ahead, erased=erased)

    verdict = evaluate(PURPOSE, state, now)

    assert verdict.allowed is (status in GRANTING and ahead == 0 and now < UNTIL and not erased)
    assert verdict.allowed is (verdict.reason is Reason.GRANTED)


@pytest.mark.parametrize(
    ("state", "now", "reason"),
    [
        (NOBODY, NOW, Reason.NEVER_ASKED),
        (a_state(Status.GIVEN), NOW, Reason.GRANTED),
        (a_state(Status.RENEWED), NOW, Reason.GRANTED),
        (a_state(Status.REFUSED), NOW, Reason.REFUSED),
        (a_state(Status.WITHDRAWN), NOW, Reason.WITHDRAWN),
        (a_state(Status.GIVEN), UNTIL, Reason.EXPIRED),
        (a_state(Status.REFUSED), UNTIL, Reason.EXPIRED),
        (a_state(Status.GIVEN, version=PURPOSE.version - 1), NOW, Reason.NOTICE_OUTDATED),
        (a_state(Status.GIVEN, version=PURPOSE.version - 1), UNTIL, Reason.EXPIRED),
        (a_state(Status.REFUSED, version=PURPOSE.version - 1), NOW, Reason.REFUSED),
        (a_state(Status.REFUSED, by_signal=True), NOW, Reason.GPC_OPT_OUT),
        (a_state(Status.GIVEN, erased=True), NOW, Reason.SUBJECT_ERASED),
        (SubjectState(erased=True), NOW, Reason.SUBJECT_ERASED),
    ],
)
def test_each_denial_has_its_reason(state: SubjectState, now: datetime, reason: Reason) -> None:
    assert evaluate(PURPOSE, state, now).reason is reason


def test_a_verdict_names_the_entry_it_rests_on_and_how_long_it_holds() -> None:
    verdict = evaluate(PURPOSE, a_state(Status.GIVEN), NOW)
    unasked = evaluate(PURPOSE, NOBODY, NOW)

    assert (verdict.index, verdict.valid_until) == (7, UNTIL)
    assert (unasked.index, unasked.valid_until) == (None, None)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (NOBODY, Reason.GPC_OPT_OUT),
        (a_state(Status.GIVEN), Reason.GPC_OPT_OUT),
        (a_state(Status.GIVEN, gpc=True), Reason.GRANTED),
        (a_state(Status.REFUSED), Reason.REFUSED),
        (a_state(Status.REFUSED, gpc=True), Reason.REFUSED),
        (SubjectState(erased=True), Reason.SUBJECT_ERASED),
    ],
)
def test_a_signal_closes_what_was_not_granted_in_its_presence(state: SubjectState, reason: Reason) -> None:
    assert evaluate(SIGNALLED, state, NOW, gpc=True).reason is reason


def test_a_signal_changes_nothing_for_a_purpose_that_does_not_honour_it() -> None:
    assert evaluate(PURPOSE, a_state(Status.GIVEN), NOW, gpc=True).allowed


@pytest.mark.parametrize("gpc", [False, True])
@pytest.mark.parametrize(
    ("catalogue", "erased", "reason"),
    [
        (Catalogue(purposes={COUPONS: PURPOSE}), False, Reason.GRANTED),
        (Catalogue(retired=frozenset({COUPONS})), False, Reason.PURPOSE_RETIRED),
        (Catalogue(), False, Reason.PURPOSE_UNKNOWN),
        (Catalogue(), True, Reason.SUBJECT_ERASED),
    ],
)
def test_a_grant_of_a_purpose_that_no_notice_has_now_opens_nothing(
    *, catalogue: Catalogue, erased: bool, reason: Reason, gpc: bool
) -> None:
    verdict = evaluate_key(COUPONS, catalogue, a_state(Status.GIVEN, erased=erased), NOW, gpc=gpc)

    assert verdict.reason is reason
    assert verdict.allowed is (reason is Reason.GRANTED)
