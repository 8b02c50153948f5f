"""Ledger and projection against a plain dictionary: whatever is done in whatever order, both say the same."""

import itertools
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from consent_service.domain.duration import Duration
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import ErasureRefused, LinkRefused, UnknownSubject
from consent_service.operations.erase_subject import EraseSubject
from tests.builders import ChoiceName, a_notice
from tests.installation import Installation
from tests.size import size

VALIDITY = Duration.parse("P6M")
PURPOSES = ("coupons", "recommendations")
NAMES = ("ana", "ben", "cleo")

names = st.sampled_from(NAMES)
purposes = st.sampled_from(PURPOSES)
choices = st.dictionaries(purposes, st.sampled_from(("granted", "denied")), min_size=1)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What stands of one subject's choices for one purpose: `granted`, `refused` or `withdrawn`."""

    status: str
    version: int
    until: datetime
    at: datetime

    def reason(self, now: datetime, version: int) -> str:
        """The gate's reason, as anybody would work it out."""
        if now >= self.until:
            return "expired"
        if self.status == "granted" and self.version != version:
            return "notice_outdated"
        return self.status


class LedgerMachine(RuleBasedStateMachine):
    """Three subjects of a shop, anew in every example: `held`, `erased`, `linked`, `entries` model them."""

    shop: Installation
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.example = next(self.numbers)
        self.held: dict[str, dict[str, Chosen]] = {}
        self.erased: set[str] = set()
        self.linked: dict[str, str] = {}
        self.entries = self.shop.size
        offered = self.shop.current.notice.purposes
        self.versions = {key: offered[PurposeKey(key)].version for key in PURPOSES}

    @property
    def now(self) -> datetime:
        return self.shop.clock.now

    def called(self, name: str) -> str:
        return f"{name}-{self.example}"

    @rule(name=names, choices=choices)
    def decide(self, name: str, choices: dict[str, ChoiceName]) -> None:
        self.shop.decide(self.called(name), choices)
        self.entries += 1
        held = self.held.setdefault(name, {})
        for purpose, choice in choices.items():
            before = held.get(purpose)
            if choice == "granted":
                if before and before.status != "granted" and self.now < before.at:
                    continue  # The clock was set back: a denial that is later stands.
                status = "granted"
            else:
                live = before and before.reason(self.now, self.versions[purpose]) == "granted"
                status = "withdrawn" if live else "refused"
            until = VALIDITY.after(self.now)
            held[purpose] = Chosen(status, self.versions[purpose], until, self.now)

    @rule(anonymous=names, known=names)
    def link(self, anonymous: str, known: str) -> None:
        refused = (
            anonymous == known
            or anonymous not in self.held
            or anonymous in self.linked
            or known in self.linked
        )
        try:
            self.shop.link(self.called(anonymous), self.called(known))
        except LinkRefused:
            assert refused
            return
        assert not refused
        self.entries += 1
        self.linked[anonymous] = known
        ours = self.held.setdefault(known, {})
        for purpose, theirs in self.held[anonymous].items():
            mine = ours.get(purpose)
            if theirs.status != "granted":
                if mine is None or mine.status == "granted":
                    status = "refused" if mine is None else "withdrawn"
                    at = min(theirs.at, self.now)
                    ours[purpose] = replace(theirs, status=status, at=at)
            elif mine and mine.status == "granted" and theirs.until < mine.until:
                ours[purpose] = replace(mine, until=theirs.until)

    @rule(name=names)
    def erase(self, name: str) -> None:
        subject = self.shop.tenant.subject(self.called(name))
        try:
            self.shop.service.committer.submit_blocking(self.shop.tenant, EraseSubject(subject=subject))
        except UnknownSubject:
            assert name not in self.held
            return
        except ErasureRefused:
            assert name in self.linked
            return
        assert name not in self.linked
        self.entries += 1
        gone = {name}
        while more := {side for side, known in self.linked.items() if known in gone} - gone:
            gone |= more
        self.erased |= gone
        self.held = {kept: chosen for kept, chosen in self.held.items() if kept not in gone}
        self.linked = {side: known for side, known in self.linked.items() if side not in gone}

    @rule(purpose=purposes)
    def ask_everybody_again(self, purpose: str) -> None:
        self.versions[purpose] += 1
        self.shop.publish(
            a_notice({f"purposes/{key}/version": version for key, version in self.versions.items()})
        )
        self.entries += 1

    @rule(days=st.integers(1, 120))
    def wait(self, days: int) -> None:
        self.shop.clock.advance(days=days)

    @rule(hours=st.integers(1, 48))
    def set_the_clock_back(self, hours: int) -> None:
        self.shop.clock.now -= timedelta(hours=hours)

    @invariant()
    def both_say_the_same(self) -> None:
        for name in NAMES:
            consents = self.shop.consents(self.called(name))
            assert consents.head == self.entries
            silent = "subject_erased" if name in self.erased and name not in self.held else "never_asked"
            for purpose in PURPOSES:
                chosen = self.held.get(name, {}).get(purpose)
                reason = chosen.reason(self.now, self.versions[purpose]) if chosen else silent
                assert consents.consents[PurposeKey(purpose)].verdict.reason.value == reason

    def teardown(self) -> None:
        assert self.shop.verify().size == self.entries


def test_the_ledger_and_its_projection_agree_with_a_dictionary(installation: Installation) -> None:
    LedgerMachine.shop = installation

    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=size(12, 500),
            stateful_step_count=size(12, 40),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
