"""The SDK against the pure gate: cuts, delays, lagging replicas, jumping clocks; it never denies less."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from consent_sdk import Reason, Verdict
from consent_sdk._clock import Clock
from consent_sdk._copy import LocalCopy, Ticket
from consent_sdk._stream import Change, Head, Header, Reset
from consent_sdk._values import GateAnswer
from consent_sdk.testing import SettableClock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

SUBJECTS = ("ana", "bob")
PURPOSES = ("coupons",)
STALENESS = 5.0

State = tuple[Reason, int]
NEVER: State = (Reason.NEVER_ASKED, 0)


@dataclass
class Service:
    """A ledger, and what the pure gate said of every subject and purpose since when (monotonic seconds)."""

    now: float
    heads: list[dict[tuple[str, str], State]] = field(default_factory=lambda: [{}])
    changed: list[str | None] = field(default_factory=list)
    decided: list[frozenset[str]] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    past: dict[tuple[str, str], list[tuple[float, State]]] = field(default_factory=dict)
    written: int = 0
    ended_here: set[str] = field(default_factory=set)

    def append(self, subject: str | None, states: dict[str, State]) -> int:
        state = dict(self.heads[-1])
        for purpose, stand in states.items():
            state[str(subject), purpose] = stand
            self.past.setdefault((str(subject), purpose), []).append((self.now, stand))
        self.heads.append(state)
        self.changed.append(subject)
        self.ended_here.discard(str(subject))
        self.decided.append(frozenset(states))
        self.written += 1
        self.leaves.append(str(self.written))
        return len(self.changed) - 1

    def restore(self, entries: int) -> None:
        """Go back to a backup with so many entries: what was decided since was not, from now on."""
        self.ended_here.clear()
        del self.heads[entries + 1 :], self.changed[entries:], self.decided[entries:], self.leaves[entries:]
        for key, moments in self.past.items():
            moments.append((self.now, self.heads[-1].get(key, NEVER)))

    def leaf(self, index: int) -> str | None:
        return self.leaves[index] if index >= 0 else None

    def consents(self, subject: str, head: int) -> dict[str, tuple[Reason, int, int | None]]:
        state = self.heads[head]
        return {p: (*state[subject, p], None) for p in PURPOSES if (subject, p) in state}

    def message(self, index: int) -> Change:
        """What entry `index` decided and no later one did, as it stands when it is told."""
        subject = self.changed[index]
        if subject is None:
            return Change(index=index, subject="-", consents={}, leaf=self.leaf(index))
        again = [
            names
            for who, names in zip(self.changed[index + 1 :], self.decided[index + 1 :], strict=True)
            if who == subject
        ]
        standing = self.decided[index].difference(*again)
        consents = {p: state for p, state in self.consents(subject, -1).items() if p in standing}
        return Change(index=index, subject=f"s_{subject}", consents=consents, leaf=self.leaf(index))

    def was_open(self, subject: str, purpose: str, since: float, epoch: float) -> bool:
        """Whether the pure gate was open at any moment since then; `epoch` is the true time of day then."""
        moments = self.past.get((subject, purpose), [])
        for place, (began, (reason, until)) in enumerate(moments):
            ended = moments[place + 1][0] if place + 1 < len(moments) else float("inf")
            if ended >= since and reason is Reason.GRANTED and until > max(epoch, epoch + began - since):
                return True
        return False


class Machine(RuleBasedStateMachine):
    """Messages and answers are under way for as long as they like, in order on each connection."""

    @initialize(preload=st.booleans(), capacity=st.integers(1, 4))
    def begin(self, *, preload: bool, capacity: int) -> None:
        self.clock = SettableClock()
        self.true_offset = self.clock.time() - self.clock.monotonic()
        self.service = Service(self.clock.monotonic())
        clock = Clock(self.clock.monotonic, self.clock.time)
        self.copy = LocalCopy(clock, capacity=capacity, max_staleness=STALENESS, preload=preload)
        for purpose in PURPOSES:
            self.copy.column(purpose)
        self.wire: list[Change | Head | Reset] = []
        self.fetches: list[tuple[Ticket, str, GateAnswer | None]] = []
        self.connected = False
        self.opened = 0.0
        self.connect(lag=0)
        self.deliver(count=9)

    @rule(
        subject=st.sampled_from(SUBJECTS),
        reason=st.sampled_from([Reason.GRANTED, Reason.WITHDRAWN]),
        validity=st.sampled_from([15_552_000, 8]),
        lost=st.sampled_from([False, False, True]),
    )
    def decide(self, subject: str, reason: Reason, validity: int, *, lost: bool) -> None:
        """Record a decision, whose message may be lost on the way."""
        until = int(self.clock.monotonic() + self.true_offset) + validity
        index = self.service.append(subject, {PURPOSES[0]: (reason, until)})
        if not lost:
            self.send(index)

    @rule(subject=st.sampled_from(SUBJECTS), lost=st.sampled_from([False, True]))
    def withdraw_here(self, subject: str, *, lost: bool) -> None:
        """Record a withdrawal through this client: acknowledged, it counts here at once."""
        self.decide(subject, Reason.WITHDRAWN, 15_552_000, lost=lost)
        self.copy.expect(subject, len(self.service.changed) - 1)
        self.service.ended_here.add(subject)

    @rule(what=st.sampled_from(["fork", "nobody", -1e7, -100.0, -2.0, 2.0, 1e5]))
    def disturb(self, what: str | float) -> None:
        """Fork, append an entry that changes nobody, or set the wall clock wrong."""
        if isinstance(what, float):
            self.clock.jump(what)
        elif what == "nobody":
            self.send(self.service.append(None, {}))
        else:
            self.copy.after_fork()
            self.fetches.clear()
            self.cut()

    @rule(lost=st.integers(1, 4), grown=st.lists(st.sampled_from(SUBJECTS), max_size=6))
    def restore(self, lost: int, grown: list[str]) -> None:
        """Restore an older backup, which grows again before anybody comes back."""
        self.service.restore(max(0, len(self.service.changed) - lost))
        self.cut()
        for subject in grown:
            self.decide(subject, Reason.WITHDRAWN, 15_552_000, lost=False)

    @rule(seconds=st.sampled_from([0.1, 0.9, 4.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.service.now = self.clock.monotonic()

    @rule(seconds=st.sampled_from([1, 7]))
    def live_on(self, seconds: int) -> None:
        """Let seconds pass in which the stream is as it should be."""
        for _ in range(seconds):
            self.pass_time(1.0)
            if not self.connected:
                self.connect(lag=0)
            self.heartbeat()
            self.deliver(count=99)

    def send(self, index: int) -> None:
        if self.connected:
            self.wire.append(self.service.message(index))

    @precondition(lambda self: not self.connected)
    @rule(lag=st.integers(0, 1))
    def connect(self, lag: int) -> None:
        """Load a snapshot first where one is needed, of a replica that may lag; then follow."""
        size = len(self.service.changed)
        if self.copy.preload and self.copy.cursor is None:
            head = max(0, size - lag)
            rows = [(f"s_{who}", self.service.consents(who, head)) for who in SUBJECTS]
            header = Header(
                head=head, purposes=frozenset(PURPOSES), ref_key=b"", leaf=self.service.leaf(head - 1)
            )
            self.copy.load(header, rows, lambda subject: f"s_{subject}")
        self.opened = self.clock.monotonic()
        self.connected = True
        self.wire = []
        cursor, leaf = self.copy.cursor, self.copy.leaf
        self.copy.reconnect()
        start = size if cursor is None else cursor + 1
        if start > size or (cursor is not None and leaf not in (None, self.service.leaf(cursor))):
            start = size
            self.wire.append(Reset(index=size - 1))
        for index in range(start, size):
            self.send(index)
        self.heartbeat()

    @precondition(lambda self: self.connected)
    @rule()
    def heartbeat(self) -> None:
        index = len(self.service.changed) - 1
        at = self.clock.monotonic() - self.opened
        self.wire.append(Head(index=index, at=at, leaf=self.service.leaf(index)))

    @precondition(lambda self: self.connected and self.wire)
    @rule(count=st.integers(1, 5))
    def deliver(self, count: int) -> None:
        messages, self.wire = self.wire[:count], self.wire[count:]
        follows, _ = self.copy.take(messages, received=self.clock.monotonic(), opened=self.opened)
        if not follows:
            self.connected = False

    @precondition(lambda self: self.wire)
    @rule(place=st.integers(0, 9), what=st.sampled_from(["repeat", "reset"]))
    def corrupt(self, place: int, what: str) -> None:
        place %= len(self.wire)
        self.wire.insert(place, self.wire[place] if what == "repeat" else Reset())

    @precondition(lambda self: self.connected)
    @rule()
    def cut(self) -> None:
        self.connected = False
        self.wire = []

    @precondition(lambda self: not self.copy.preload)
    @rule(subject=st.sampled_from(SUBJECTS), lag=st.integers(0, 1))
    def fetch(self, subject: str, lag: int) -> None:
        """Fetch a row from beginning to end, with nothing between."""
        self.begin_fetch(subject)
        if self.fetches:
            self.answer_fetch(-1, lag)
            self.end_fetch(-1)

    @precondition(lambda self: not self.copy.preload)
    @rule(subject=st.sampled_from(SUBJECTS))
    def begin_fetch(self, subject: str) -> None:
        ticket = self.copy.begin_fetch()
        if ticket is not None:
            self.fetches.append((ticket, subject, None))

    @precondition(lambda self: self.fetches)
    @rule(which=st.integers(0, 9), lag=st.integers(0, 3))
    def answer_fetch(self, which: int, lag: int) -> None:
        """The service reads what a replica knows, now; the answer stays under way."""
        which %= len(self.fetches)
        ticket, subject, _ = self.fetches[which]
        head = max(0, len(self.service.changed) - lag)
        state = self.service.heads[head]
        verdicts = {p: Verdict.of(*state.get((subject, p), NEVER)) for p in PURPOSES}
        answer = GateAnswer(subject=f"s_{subject}", verdicts=verdicts, head=head)
        self.fetches[which] = (ticket, subject, answer)

    @precondition(lambda self: self.fetches)
    @rule(which=st.integers(0, 9))
    def end_fetch(self, which: int) -> None:
        ticket, subject, answer = self.fetches.pop(which % len(self.fetches))
        self.copy.end_fetch(ticket, subject, answer)

    def answers(self, subject: str, purpose: str) -> Iterator[Verdict | bool | None]:
        """Whatever a question could be answered with now, first without a lock, last the slow way."""
        now, copy = self.clock.monotonic(), self.copy
        if now < copy.lease.sure:
            yield copy.conclusions.recent[purpose].get(subject)
        yield copy.recall(subject, purpose)
        yield copy.verdict(subject, purpose)
        yield copy.recall(subject, purpose)
        limits, column = copy.conclusions.limits.get(subject, ()), copy.columns[purpose]
        yield now < copy.lease.until and len(limits) > column and now < limits[column]

    @invariant()
    def what_is_allowed_was_granted_within_the_staleness(self) -> None:
        if not hasattr(self, "copy"):
            return
        since = self.clock.monotonic() - STALENESS
        for subject in SUBJECTS:
            for purpose in PURPOSES:
                if any(self.answers(subject, purpose)):
                    assert subject not in self.service.ended_here
                    assert self.service.was_open(subject, purpose, since, since + self.true_offset)


TestStateful = Machine.TestCase
TestStateful.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def a_walk(seed: int, steps: int) -> Machine:
    """The same machine by plain chance, many times faster than by search."""
    chance = random.Random(seed)  # noqa: S311  # a repeatable walk, no secret
    machine = Machine()
    machine.begin(preload=bool(seed % 2), capacity=chance.randint(1, 3))
    acts: dict[str, Callable[[], object]] = {
        "grant": lambda: machine.decide(chance.choice(SUBJECTS), Reason.GRANTED, 15_552_000, lost=False),
        "grant briefly": lambda: machine.decide(chance.choice(SUBJECTS), Reason.GRANTED, 8, lost=False),
        "withdraw": lambda: machine.decide(
            chance.choice(SUBJECTS), Reason.WITHDRAWN, 8, lost=chance.random() < 0.2
        ),
        "withdraw here": lambda: machine.withdraw_here(chance.choice(SUBJECTS), lost=chance.random() < 0.2),
        "disturb": lambda: machine.disturb(chance.choice(["fork", "nobody", "nobody", -1e7, -2.0, 2.0])),
        "pass time": lambda: machine.pass_time(chance.choice([0.1, 0.9, 6.0])),
        "live on": lambda: machine.live_on(chance.choice([1, 7])),
        "connect": lambda: machine.connected or machine.connect(chance.randint(0, 1)),
        "heartbeat": lambda: machine.connected and machine.heartbeat(),
        "deliver": lambda: machine.connected and machine.wire and machine.deliver(chance.randint(1, 3)),
        "corrupt": lambda: (
            machine.wire and machine.corrupt(chance.randint(0, 9), chance.choice(["repeat", "reset"]))
        ),
        "cut": machine.cut,
        "restore": lambda: (
            chance.random() < 0.3 and machine.restore(chance.randint(1, 3), chance.choices(SUBJECTS, k=3))
        ),
        "fetch": lambda: machine.copy.preload or machine.fetch(chance.choice(SUBJECTS), chance.randint(0, 1)),
        "begin": lambda: machine.copy.preload or machine.begin_fetch(chance.choice(SUBJECTS)),
        "answer": lambda: (
            machine.fetches and machine.answer_fetch(chance.randint(0, 9), chance.randint(0, 2))
        ),
        "end": lambda: machine.fetches and machine.end_fetch(chance.randint(0, 9)),
    }
    names = list(acts)
    for _ in range(steps):
        acts[chance.choice(names)]()
        machine.what_is_allowed_was_granted_within_the_staleness()
    return machine


@pytest.mark.parametrize("seed", range(4))
def test_on_long_walks_nothing_is_allowed_that_was_not(seed: int) -> None:
    walks = [a_walk(seed + 4 * number, 60) for number in range(1000)]

    assert all(walk.service.changed for walk in walks)
