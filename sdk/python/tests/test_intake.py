"""What the bytes of a connection do to a copy: an entry counts as a whole, in whatever form it is told."""

import time

import pytest
from consent_sdk import Reason, Verdict
from consent_sdk._clock import Clock
from consent_sdk._copy import LocalCopy
from consent_sdk._intake import Intake
from consent_sdk._sse import BadStream
from consent_sdk._values import GateAnswer
from consent_sdk.protocol import Malformed

HEAD = b'event: head\ndata: {"index":6,"at":0.0,"leaf":"AAAAAAAA"}\n\n'
FIRST = b'event: change\ndata: {"subject":"s_ana","alike":[["withdrawn",2000000000,"coupons","support"]]}\n\n'
SECOND = b'event: change\ndata: {"subject":"s_bob","consents":{"coupons":["subject_erased",0]}}\n\n'
LAST = (
    b"id: 7\nevent: change\n"
    b'data: {"subject":"s_ana","consents":{"ads":["refused",2000000000]},"leaf":"BBBBBBBB"}\n\n'
)


@pytest.fixture
def copy() -> LocalCopy:
    """A live copy at entry 6 that knows grants of Ana and Bob."""
    copy = LocalCopy(Clock(), capacity=10, max_staleness=60.0, preload=False)
    for purpose in ("coupons", "support", "ads"):
        copy.column(purpose)
    an_intake(copy).take(HEAD, received=time.monotonic())
    granted = Verdict.of(Reason.GRANTED, 2**31, 0)
    for name in ("ana", "bob"):
        ticket = copy.begin_fetch()
        assert ticket is not None
        verdicts = dict.fromkeys(copy.columns, granted)
        assert copy.end_fetch(ticket, name, GateAnswer(subject=f"s_{name}", verdicts=verdicts, head=7))
    return copy


def an_intake(copy: LocalCopy) -> Intake:
    return Intake(copy, lambda _touched: None, opened=time.monotonic())


def says(copy: LocalCopy, subject: str, purpose: str) -> Reason | None:
    verdict = copy.verdict(subject, purpose)
    return None if verdict is None else verdict.reason


def test_events_of_one_entry_count_together_or_not_at_all(copy: LocalCopy) -> None:
    entry = FIRST + SECOND + LAST
    for cut in range(len(entry)):
        an_intake(copy).take(entry[:cut], received=time.monotonic())
        assert (copy.cursor, copy.leaf) == (6, "AAAAAAAA")
        assert says(copy, "ana", "coupons") is Reason.GRANTED

    an_intake(copy).take(entry, received=time.monotonic())

    assert (copy.cursor, copy.leaf) == (7, "BBBBBBBB")
    assert {purpose: says(copy, "ana", purpose) for purpose in copy.columns} == {
        "coupons": Reason.WITHDRAWN,
        "support": Reason.WITHDRAWN,
        "ads": Reason.REFUSED,
    }
    assert says(copy, "bob", "coupons") is Reason.SUBJECT_ERASED
    assert says(copy, "bob", "ads") is Reason.GRANTED


@pytest.mark.parametrize("after", [HEAD, b'event: reset\ndata: {"index":6}\n\n'])
def test_half_an_entry_ends_the_connection(copy: LocalCopy, after: bytes) -> None:
    with pytest.raises(Malformed):
        an_intake(copy).take(FIRST + after, received=time.monotonic())

    assert copy.cursor == 6


def test_an_entry_without_an_end_ends_the_connection(copy: LocalCopy) -> None:
    with pytest.raises(BadStream):
        an_intake(copy).take(FIRST * 2000, received=time.monotonic())


@pytest.mark.parametrize(
    "alike", ['"x"', "[1]", "[[]]", '[["granted"]]', '[["granted",1,2]]', '[["granted",-1,"coupons"]]']
)
def test_states_that_are_none_end_the_connection(copy: LocalCopy, alike: str) -> None:
    event = f'id: 7\nevent: change\ndata: {{"subject":"s_ana","alike":{alike}}}\n\n'

    with pytest.raises(Malformed):
        an_intake(copy).take(event.encode(), received=time.monotonic())


@pytest.mark.parametrize("leaf", ["7", '"a\\nb"', '"\u00e9"', f'"{"a" * 65}"'])
def test_a_leaf_that_no_header_could_carry_is_refused(copy: LocalCopy, leaf: str) -> None:
    head = f'event: head\ndata: {{"index":6,"leaf":{leaf}}}\n\n'

    with pytest.raises(Malformed):
        an_intake(copy).take(head.encode(), received=time.monotonic())
