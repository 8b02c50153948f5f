"""What a decision needs to be recorded, and that anything else is refused with what to do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from consent_service.domain.decision import Decision, DecisionLimits, check, language_shown
from consent_service.errors import ClockOutOfBounds, InvalidDecision, NoticeSuperseded, UnknownPurpose
from tests.builders import NOW, a_decision, a_notice

NOTICE = a_notice()
LIMITS = DecisionLimits()
INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "decision",
    [
        a_decision(),
        a_decision({"coupons": "denied"}, method="gpc", gpc=True),
        a_decision(language="en-GB"),
        a_decision(decided_at=NOW + LIMITS.clock_ahead),
        a_decision(decided_at=NOW - LIMITS.clock_behind),
        replace(a_decision(), evidence="0f" * 32),
    ],
)
def test_a_sound_decision_may_be_recorded(decision: Decision) -> None:
    check(decision, NOTICE, NOW, limits=LIMITS)


@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (a_decision({}), InvalidDecision),
        (a_decision({"coupons": "granted", "telepathy": "denied"}), UnknownPurpose),
        (a_decision(decided_at=NOW + LIMITS.clock_ahead + INSTANT), ClockOutOfBounds),
        (a_decision(decided_at=NOW - LIMITS.clock_behind - INSTANT), ClockOutOfBounds),
        (a_decision(method="Save"), InvalidDecision),
        (a_decision(method=""), InvalidDecision),
        (a_decision(method="a" * 33), InvalidDecision),
        (replace(a_decision(), source="call centre"), InvalidDecision),
        (replace(a_decision(), actor="Ana"), InvalidDecision),
        (replace(a_decision(), evidence="0F" * 32), InvalidDecision),
        (replace(a_decision(), evidence="0f" * 31), InvalidDecision),
        (a_decision(language="tlh"), InvalidDecision),
        (a_decision(language=""), InvalidDecision),
        (a_decision({"coupons": "granted"}, method="gpc", gpc=True), InvalidDecision),
    ],
)
def test_anything_else_is_refused(decision: Decision, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(decision, NOTICE, NOW, limits=LIMITS)


def test_a_notice_is_accepted_for_a_day_after_another_replaced_it() -> None:
    check(a_decision(), NOTICE, NOW, superseded_at=NOW - LIMITS.superseded, limits=LIMITS)

    with pytest.raises(NoticeSuperseded):
        check(a_decision(), NOTICE, NOW, superseded_at=NOW - LIMITS.superseded - INSTANT, limits=LIMITS)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("en-GB-oed", "en"),
        ("fr-CA", "fr"),
        ("de", None),
        ("e", None),
        ("en_GB", None),
    ],
)
def test_the_words_shown_are_those_of_the_nearest_declared_language(asked: str, shown: str | None) -> None:
    assert language_shown(asked, a_notice(languages=["en", "fr"])) == shown
