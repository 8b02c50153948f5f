"""No value shows after its withdrawal was acknowledged: as a race of threads, and under hypothesis."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from consent_service.domain.duration import Duration
from consent_service.domain.purpose import CategoryKey
from consent_service.errors import NoLiveGrant, PurposeClosed, UnknownSubject
from tests.shop import Shop

ROUNDS = 25
HOUSEHOLD = CategoryKey("household")
CATEGORIES = {
    "recommendations": {"purchases", "browsing"},
    "coupons": {"purchases", "household"},
    "ai_assistance": {"support_history"},
}
VALIDITY = Duration.parse("P6M")

purposes = st.sampled_from(sorted(CATEGORIES))
categories = st.sampled_from(sorted(set().union(*CATEGORIES.values())))
fields = st.sampled_from(["a", "b"])


class Race:
    """Withdrawals one after another, each of a new generation of a value, and readers and writers at once."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.withdrawn = 0
        self.done = threading.Event()

    def withdraw(self) -> None:
        try:
            for generation in range(1, ROUNDS + 1):
                self.shop.grant("ana", "coupons")
                self.shop.write("ana", {"household": {"generation": generation}})
                self.shop.deny("ana", "coupons")
                self.withdrawn = generation
        finally:
            self.done.set()

    def read(self) -> None:
        while not self.done.is_set():
            before = self.withdrawn
            try:
                attributes = self.shop.read("ana", "coupons")
            except PurposeClosed:
                continue
            for value in attributes.get(HOUSEHOLD, {}).values():
                assert int(str(value)) > before

    def write(self) -> None:
        while not self.done.is_set():
            with suppress(NoLiveGrant):
                self.shop.write("ana", {"purchases": {"noise": 1}})


def test_no_read_shows_a_value_after_its_withdrawal_was_acknowledged(shop: Shop) -> None:
    race = Race(shop)

    with ThreadPoolExecutor(5) as threads:
        work = [race.withdraw, race.read, race.read, race.read, race.write]
        for future in [threads.submit(step) for step in work]:
            future.result()

    assert race.withdrawn == ROUNDS
    assert shop.reason("ana", "coupons") == "withdrawn"
    assert shop.rows("profile_value") == shop.rows("key_grant") == 0


class Crowd:
    """Each value that is stored lets one withdrawal begin; each that is acknowledged, two reads."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.stored: set[int] = set()
        self.withdrawn: set[int] = set()
        self.to_withdraw, self.to_read = threading.Semaphore(0), threading.Semaphore(0)

    def store(self, number: int) -> None:
        while number not in self.stored:
            self.shop.grant("ana", "coupons", "recommendations")
            with suppress(NoLiveGrant):
                self.shop.write("ana", {"household": {f"n{number}": number}, "purchases": {"n": number}})
                self.stored.add(number)
        self.to_withdraw.release()

    def withdraw(self) -> None:
        assert self.to_withdraw.acquire(timeout=60)
        before = set(self.stored)
        self.shop.deny("ana", "coupons")
        self.withdrawn.update(before)
        self.to_read.release(2)

    def read(self) -> None:
        assert self.to_read.acquire(timeout=60)
        gone = set(self.withdrawn)
        with suppress(PurposeClosed):
            shown = self.shop.read("ana", "coupons").get(HOUSEHOLD, {})
            assert gone.isdisjoint(map(int, map(str, shown.values())))


def test_a_hundred_grants_withdrawals_and_reads_at_once_show_nothing_that_was_withdrawn(shop: Shop) -> None:
    crowd = Crowd(shop)

    with ThreadPoolExecutor(100) as threads:
        acting = [threads.submit(crowd.store, number) for number in range(25)]
        acting += [threads.submit(act) for act in [crowd.withdraw, crowd.read, crowd.read] * 25]
        for future in acting:
            future.result()

    assert crowd.withdrawn
    open_now = shop.reason("ana", "coupons") == "granted"
    assert shop.rows("key_grant") == (4 if open_now else 2)
    shop.deny("ana", "coupons", "recommendations")
    assert shop.rows("key_grant") == shop.rows("profile_value") == 0


class ProfileMachine(RuleBasedStateMachine):
    """One subject; the model says which purpose is live and which values are still held by a key."""

    shop: Shop
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.name = f"machine-{next(self.numbers)}"
        self.granted: dict[str, datetime] = {}
        self.values: dict[tuple[str, str], int] = {}

    def live(self, purpose: str) -> bool:
        return purpose in self.granted and self.shop.now < self.granted[purpose]

    def held(self) -> set[str]:
        return set().union(*(CATEGORIES[purpose] for purpose in self.granted))

    @rule(purpose=purposes)
    def grant(self, purpose: str) -> None:
        self.shop.grant(self.name, purpose)
        self.granted[purpose] = VALIDITY.after(self.shop.now)

    @rule(purpose=purposes)
    def deny(self, purpose: str) -> None:
        self.shop.deny(self.name, purpose)
        self.granted.pop(purpose, None)
        self.values = {place: value for place, value in self.values.items() if place[0] in self.held()}

    @rule(category=categories, field=fields, value=st.integers(0, 99))
    def write(self, category: str, field: str, value: int) -> None:
        covered = any(self.live(purpose) and category in CATEGORIES[purpose] for purpose in self.granted)
        try:
            self.shop.write(self.name, {category: {field: value}})
        except NoLiveGrant:
            assert not covered
        else:
            assert covered
            self.values[category, field] = value

    @rule(category=categories, field=fields)
    def delete(self, category: str, field: str) -> None:
        self.shop.write(self.name, {category: {field: None}})
        self.values.pop((category, field), None)

    @rule(days=st.integers(1, 120))
    def wait(self, days: int) -> None:
        self.shop.pass_time(timedelta(days=days))

    @rule()
    def erase(self) -> None:
        try:
            self.shop.erase(self.name)
        except UnknownSubject:
            return
        self.granted, self.values = {}, {}

    @invariant()
    def every_purpose_shows_what_it_may_and_nothing_else(self) -> None:
        for purpose, wanted in CATEGORIES.items():
            if not self.live(purpose):
                assert self.shop.reason(self.name, purpose) != "granted"
                continue
            expected: dict[str, dict[str, int]] = {}
            for (category, field), value in self.values.items():
                if category in wanted:
                    expected.setdefault(category, {})[field] = value
            assert self.shop.read(self.name, purpose) == expected


@pytest.mark.parametrize("examples", [12])
def test_the_vault_agrees_with_a_model_of_it(shop: Shop, examples: int) -> None:
    ProfileMachine.shop = shop

    run_state_machine_as_test(
        ProfileMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
