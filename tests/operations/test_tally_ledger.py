"""What is counted of a ledger: every decision once, nobody who was erased, and people as they stand."""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest

from consent_service.domain.consent import Status
from consent_service.errors import ErasureRefused, LinkRefused, UnknownSubject
from consent_service.operations.count_rows import Key
from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.tally_ledger import LedgerTally, Tally
from tests.builders import NOW, ChoiceName, a_decision
from tests.installation import Installation

WIDTH = 4


@pytest.fixture
def counted(installation: Installation) -> LedgerTally:
    """Counts in segments of four entries, as far as it takes."""
    return LedgerTally(installation.service.deployment, width=WIDTH)


def rest(tally: Tally) -> Tally:
    """What has to be the same however it was counted."""
    return replace(tally, taken_at=NOW)


def test_counting_on_gives_what_counting_anew_gives(installation: Installation, counted: LedgerTally) -> None:
    for number in range(11):
        choice: ChoiceName = "granted" if number % 3 else "denied"
        installation.decide(f"customer-{number % 5}", {"coupons": choice, "recommendations": "denied"})
        counted.take(installation.tenant)
    installation.service.committer.submit_blocking(
        installation.tenant, EraseSubject(subject=installation.tenant.subject("customer-2"))
    )

    tally = counted.take(installation.tenant)

    anew = LedgerTally(installation.service.deployment).take(installation.tenant)
    assert rest(tally) == rest(anew)
    assert tally.counts["kind", "decision"] == 9
    assert tally.counts["kind", "erasure"] == 1
    assert tally.people == 4
    assert tally.counted == tally.rows == 15
    assert tally.size == 13


def happen(installation: Installation, chance: random.Random) -> None:
    """Let somebody decide, be linked or be erased; what cannot be is refused."""
    name, other = (f"customer-{chance.randrange(8)}" for _ in range(2))
    choice: ChoiceName = "granted" if chance.random() < 0.5 else "denied"
    match chance.randrange(8):
        case 0:
            request = EraseSubject(subject=installation.tenant.subject(name))
            with suppress(UnknownSubject, ErasureRefused):
                installation.service.committer.submit_blocking(installation.tenant, request)
        case 1:
            with suppress(LinkRefused):
                installation.link(anonymous=name, known=other)
        case _:
            installation.decide(name, {"coupons": choice})
    installation.clock.advance(days=3)


def test_whatever_happens_counting_on_gives_what_counting_anew_gives(
    installation: Installation, counted: LedgerTally
) -> None:
    chance = random.Random(54)  # noqa: S311  # the same course every time
    tenant = installation.tenant

    seen: Counter[Key] = Counter()
    for _ in range(50):
        happen(installation, chance)
        tally = counted.take(tenant)
        assert tally == LedgerTally(installation.service.deployment).take(tenant)
        seen |= tally.counts

    assert {("kind", "erasure"), ("kind", "link"), ("regret", "coupons")} <= seen.keys()


def test_outcomes_days_and_ways_are_counted(installation: Installation, counted: LedgerTally) -> None:
    notice = installation.current.digest
    acts: list[tuple[str, ChoiceName]] = [
        ("a", "granted"),
        ("b", "denied"),
        ("a", "granted"),
        ("a", "denied"),
    ]
    for name, choice in acts:
        installation.decide(name, {"coupons": choice})
    installation.clock.advance(days=1)
    by_signal = a_decision(
        {"coupons": "denied"}, notice=notice, decided_at=installation.clock.now, method="gpc", gpc=True
    )
    installation.decide("c", decision=by_signal)

    tally = counted.take(installation.tenant)

    assert {status: tally.outcomes(notice, "coupons", status) for status in Status} == {
        **dict.fromkeys(Status, 0),
        Status.GIVEN: 1,
        Status.RENEWED: 1,
        Status.REFUSED: 2,
        Status.WITHDRAWN: 1,
    }
    assert tally.of("method") == {"save": 4, "gpc": 1}
    assert tally.counts["signal", "gpc"] == 1
    today = installation.clock.now.date()
    assert tally.on(today) == 1
    assert tally.on(today.replace(day=today.day - 1)) == 4


@pytest.mark.parametrize(("days", "regrets"), [(29, 1), (31, 0)])
def test_a_yes_withdrawn_within_thirty_days_is_regretted(
    installation: Installation, counted: LedgerTally, days: int, regrets: int
) -> None:
    installation.decide("customer", {"coupons": "granted"})
    for number in range(WIDTH):  # the withdrawal stands in another segment than the yes
        installation.decide(f"other-{number}")
    installation.clock.advance(days=days)
    installation.decide("customer", {"coupons": "denied"})

    assert counted.take(installation.tenant).counts["regret", "coupons"] == regrets


def test_people_stand_where_their_last_choice_and_the_clock_leave_them(
    installation: Installation, counted: LedgerTally
) -> None:
    installation.decide("granting", {"coupons": "granted"})
    installation.decide("refusing", {"coupons": "denied"})
    installation.decide("withdrawing", {"coupons": "granted"})
    installation.decide("withdrawing", {"coupons": "denied"})
    installation.link(anonymous="granting", known="refusing")
    installation.clock.advance(days=1)
    installation.decide("granting later", {"coupons": "granted"})

    stands = {(each.status, each.over): each.people for each in counted.take(installation.tenant).standings}
    installation.clock.advance(days=184)
    later = {(each.status, each.over): each.people for each in counted.take(installation.tenant).standings}

    assert stands == {("given", False): 1, ("refused", False): 1, ("withdrawn", False): 1}
    assert later == {("given", True): 1, ("refused", True): 1, ("withdrawn", True): 1}


def test_another_tenants_entries_are_not_counted(installation: Installation, counted: LedgerTally) -> None:
    other = installation.another_tenant("other")
    installation.decide("customer", tenant=other)

    tally = counted.take(installation.tenant)

    assert tally.people == 0
    assert tally.counts["kind", "decision"] == 0


def test_a_long_ledger_is_counted_from_its_end_a_look_at_a_time(installation: Installation) -> None:
    for number in range(10):
        installation.decide(f"customer-{number}")
    slow = LedgerTally(installation.service.deployment, width=WIDTH, budget=0.0)

    looks = [slow.take(installation.tenant).counted for _ in range(4)]

    assert looks == [6, 14, 21, 21]


def test_a_tally_of_many_rows_is_shown_again_for_a_while(installation: Installation) -> None:
    installation.decide("customer")
    busy = LedgerTally(installation.service.deployment, many=1)
    taken = busy.take(installation.tenant)

    assert busy.take(installation.tenant) is taken
    assert LedgerTally(installation.service.deployment).take(installation.tenant) == taken
