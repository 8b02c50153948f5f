import threading
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from consent_sdk import Reason, Verdict
from consent_sdk._clock import Clock
from consent_sdk._conclusions import CODES, evaluate
from consent_sdk._copy import LocalCopy
from consent_sdk._stream import Change, Head, Header, Reset
from consent_sdk._values import GateAnswer
from consent_sdk.testing import SettableClock
from hypothesis import given
from hypothesis import strategies as st

from tests.size import size

MONTHS = 15_552_000
PURPOSE = "coupons"


class Copy(LocalCopy):
    """A copy on a settable clock, fed by hand."""

    def __init__(
        self, *, preload: bool = False, capacity: int = 100, purposes: tuple[str, ...] = (PURPOSE,)
    ) -> None:
        self.clock = SettableClock()
        clock = Clock(self.clock.monotonic, self.clock.time)
        super().__init__(clock, capacity=capacity, max_staleness=5.0, preload=preload)
        for purpose in purposes:
            self.column(purpose)

    def hear(self, *messages: Change | Head | Reset, age: float = 0.0) -> bool:
        now = self.clock.monotonic()
        self.heard = self.take(messages, received=now, opened=now - age)[1]
        return self.live

    def learn(
        self, subject: str, reason: Reason = Reason.GRANTED, *, head: int, index: int | None = 0
    ) -> bool:
        ticket = self.begin_fetch()
        assert ticket is not None
        return self.end_fetch(ticket, subject, self.an_answer(subject, reason, head=head, index=index))

    def an_answer(
        self, subject: str, reason: Reason = Reason.GRANTED, *, head: int, index: int | None = 0
    ) -> GateAnswer:
        verdict = Verdict.of(reason, int(self.clock.time()) + MONTHS, index)
        return GateAnswer(subject=f"s_{subject}", verdicts={PURPOSE: verdict}, head=head)

    def says(self, subject: str, purpose: str = PURPOSE) -> Reason | None:
        verdict = self.verdict(subject, purpose)
        return None if verdict is None else verdict.reason


def a_change(
    index: int,
    subject: str = "ana",
    reason: Reason = Reason.WITHDRAWN,
    *,
    until: int = 2**31,
    more: Mapping[str, Reason] = MappingProxyType({}),
) -> Change:
    consents = {PURPOSE: (reason, until, None)} | {name: (what, until, None) for name, what in more.items()}
    return Change(index=index, subject=f"s_{subject}", consents=consents)


@pytest.fixture
def copy() -> Copy:
    """A live copy at entry 0 that knows Ana's grant."""
    copy = Copy()
    copy.hear(Head(index=0))
    assert copy.learn("ana", head=1)
    return copy


ROOM = size(1_000, 100_000)


def test_nothing_is_allowed_before_the_first_proof() -> None:
    copy = Copy()

    assert copy.says("ana") is Reason.NOT_READY
    assert copy.begin_fetch() is None


def test_a_subject_nobody_asked_about_is_not_known(copy: Copy) -> None:
    assert copy.says("bob") is None


def test_a_withdrawal_on_the_stream_closes_the_gate(copy: Copy) -> None:
    copy.hear(a_change(1))

    assert copy.says("ana") is Reason.WITHDRAWN
    assert copy.heard == ["ana"]


def test_a_change_of_somebody_else_changes_nothing(copy: Copy) -> None:
    copy.hear(a_change(1, "bob"))

    assert copy.says("ana") is Reason.GRANTED
    assert copy.heard == []


@pytest.mark.parametrize("age", [5.0, 5.1, 1e9])
def test_without_a_proof_everything_is_stale(copy: Copy, age: float) -> None:
    copy.clock.advance(age)

    assert copy.says("ana") is Reason.STALE
    assert copy.says("bob") is Reason.STALE


def test_a_change_is_no_proof(copy: Copy) -> None:
    copy.clock.advance(4)
    copy.hear(a_change(1, reason=Reason.GRANTED))
    copy.clock.advance(1)

    assert copy.says("ana") is Reason.STALE


def test_a_proof_counts_from_when_it_was_made(copy: Copy) -> None:
    copy.clock.advance(60)

    copy.hear(Head(index=0, at=3.0), age=7.0)

    assert copy.says("ana") is Reason.GRANTED
    copy.clock.advance(1)
    assert copy.says("ana") is Reason.STALE


def test_a_proof_that_was_held_up_for_longer_is_none(copy: Copy) -> None:
    copy.clock.advance(60)

    follows, _ = copy.take([Head(index=0, at=3.0)], received=1060.0, opened=1050.0)

    assert copy.says("ana") is Reason.STALE
    assert not follows


def test_a_service_whose_clock_runs_ahead_lends_no_time(copy: Copy) -> None:
    copy.hear(Head(index=0, at=1e9))

    assert copy.lease.until == copy.clock.monotonic() + 5


def test_a_proof_read_with_a_withdrawal_does_not_precede_it(copy: Copy) -> None:
    copy.clock.advance(60)

    copy.hear(Head(index=0), a_change(1))

    assert copy.says("ana") is Reason.WITHDRAWN


def test_a_row_fetched_before_a_change_that_was_seen_is_thrown_away(copy: Copy) -> None:
    ticket = copy.begin_fetch()
    assert ticket is not None
    copy.hear(a_change(1, "bob"))

    kept = copy.end_fetch(ticket, "bob", copy.an_answer("bob", head=1))

    assert not kept
    assert copy.says("bob") is None


def test_a_row_from_a_replica_that_lags_is_thrown_away(copy: Copy) -> None:
    copy.hear(a_change(1, "bob"), Head(index=1))

    assert not copy.learn("bob", head=1)
    assert copy.says("bob") is None


def test_a_row_is_not_undone_by_a_change_that_it_followed(copy: Copy) -> None:
    assert copy.learn("bob", Reason.WITHDRAWN, head=4, index=3)

    copy.hear(a_change(1, "bob", Reason.GRANTED), a_change(2, "ana", Reason.GRANTED))

    assert copy.says("bob") is Reason.WITHDRAWN
    copy.hear(a_change(3, "bob"), a_change(4, "bob", Reason.GRANTED))
    assert copy.says("bob") is Reason.GRANTED


def test_a_repeated_change_is_not_applied_again(copy: Copy) -> None:
    copy.hear(
        a_change(1), a_change(2, reason=Reason.GRANTED), a_change(3), a_change(2, reason=Reason.GRANTED)
    )

    assert copy.says("ana") is Reason.WITHDRAWN


@pytest.mark.parametrize("lost", [a_change(2, "bob"), Head(index=1), Head(index=7)])
def test_a_gap_empties_the_copy(copy: Copy, lost: Change | Head) -> None:
    copy.hear(lost)
    copy.hear(Head(index=lost.index))

    assert copy.says("ana") is None
    assert copy.live


def test_an_entry_that_changed_nobody_is_no_gap(copy: Copy) -> None:
    copy.hear(Change(index=1, subject="-", consents={}), Head(index=1))

    assert copy.says("ana") is Reason.GRANTED


def test_a_fetch_that_a_gap_overtook_is_thrown_away(copy: Copy) -> None:
    ticket = copy.begin_fetch()
    assert ticket is not None
    copy.hear(Head(index=7))

    assert not copy.end_fetch(ticket, "bob", copy.an_answer("bob", head=100))


def test_an_index_that_goes_back_empties_the_copy_and_denies(copy: Copy) -> None:
    copy.hear(a_change(1, "bob"), Head(index=1))

    copy.hear(Head(index=0))

    assert copy.says("ana") is Reason.STALE
    assert copy.cursor is None


def test_a_head_of_another_history_empties_the_copy_and_denies(copy: Copy) -> None:
    copy.hear(Head(index=0, leaf="ours"))

    live = copy.hear(Head(index=0, leaf="theirs"))

    assert not live
    assert (copy.cursor, len(copy)) == (None, 0)


def test_what_was_fetched_ahead_of_a_stream_that_broke_off_is_not_kept(copy: Copy) -> None:
    assert copy.learn("bob", head=3)
    under_way = copy.begin_fetch()
    assert under_way is not None

    copy.reconnect()

    assert copy.says("ana") is Reason.GRANTED
    assert copy.says("bob") is None
    assert not copy.end_fetch(under_way, "cleo", copy.an_answer("cleo", head=3))


def test_a_reset_that_says_where_it_goes_on_empties_the_copy_and_denies_until_a_proof(copy: Copy) -> None:
    copy.hear(Reset(index=9))

    assert copy.says("ana") is Reason.STALE
    assert copy.begin_fetch() is None
    copy.hear(Head(index=9))
    assert copy.says("ana") is None
    assert not copy.learn("ana", head=9)


def test_a_reset_is_over_with_the_proof_that_was_read_with_it(copy: Copy) -> None:
    copy.hear(Reset(index=9), Head(index=9))

    assert copy.live
    assert copy.says("ana") is None


def test_no_proof_renews_the_lease_of_a_closed_copy(copy: Copy) -> None:
    copy.close()

    assert not copy.hear(Head(index=0))
    assert copy.says("ana") is Reason.STALE


def test_a_reset_that_does_not_say_where_denies_until_the_next_proof(copy: Copy) -> None:
    copy.hear(Head(index=0), Reset())

    assert copy.says("ana") is Reason.STALE
    copy.hear(Head(index=9))
    assert copy.says("ana") is None


def test_a_grant_ends_without_a_message(copy: Copy) -> None:
    copy.hear(a_change(1, reason=Reason.GRANTED, until=int(copy.clock.time()) + 10))
    copy.clock.advance(9)
    copy.hear(Head(index=1))

    assert copy.says("ana") is Reason.GRANTED
    copy.clock.advance(1)
    assert copy.says("ana") is Reason.EXPIRED
    assert copy.conclusions.limits["ana"] == (0.0,)


@pytest.mark.parametrize("jumps", [[-1e6], [-10.0], [1e6, -2e6], [3600.0, -3600.0]])
def test_no_jump_of_the_wall_clock_lengthens_a_consent(copy: Copy, jumps: list[float]) -> None:
    copy.hear(a_change(1, reason=Reason.GRANTED, until=int(copy.clock.time()) + 10))
    for jump in jumps:
        copy.clock.jump(jump)
        copy.hear(Head(index=1))
    copy.clock.advance(10)
    copy.hear(Head(index=1))

    assert copy.says("ana") is Reason.EXPIRED


def test_a_wall_clock_set_ahead_ends_consents_at_once(copy: Copy) -> None:
    assert copy.says("ana") is Reason.GRANTED

    copy.clock.jump(MONTHS + 1)
    copy.hear(Head(index=0))

    assert "ana" not in copy.conclusions.limits
    assert copy.says("ana") is Reason.EXPIRED


def test_the_service_knows_better_what_time_it_is(copy: Copy) -> None:
    copy.service_time(copy.clock.time() + MONTHS + 5)

    assert copy.says("ana") is Reason.EXPIRED


def test_an_erasure_closes_every_gate(copy: Copy) -> None:
    copy.hear(a_change(1, reason=Reason.SUBJECT_ERASED, until=0))

    assert copy.says("ana") is Reason.SUBJECT_ERASED


def test_a_purpose_that_a_change_does_not_name_is_as_it_was() -> None:
    copy = Copy(purposes=("coupons", "support"))
    copy.hear(Head(index=0))
    copy.learn("ana", head=1)

    copy.hear(Change(index=1, subject="s_ana", consents={"support": (Reason.REFUSED, 2**31, None)}))

    assert copy.says("ana") is Reason.GRANTED
    assert copy.says("ana", "support") is Reason.REFUSED


def test_the_deciding_entry_stays_the_one_that_decided() -> None:
    copy = Copy(purposes=("coupons", "support"))
    copy.hear(Head(index=0))
    copy.learn("ana", head=1, index=0)
    copy.hear(a_change(1, reason=Reason.GRANTED, more={"support": Reason.REFUSED}))

    copy.hear(Change(index=2, subject="s_ana", consents={"support": (Reason.GRANTED, 2**31, None)}))

    verdicts = [copy.verdict("ana", purpose) for purpose in ("coupons", "support")]
    assert [verdict.index for verdict in verdicts if verdict is not None] == [1, 2]


def test_what_we_decided_ourselves_holds_at_once(copy: Copy) -> None:
    ticket = copy.begin_fetch()
    assert ticket is not None

    copy.expect("ana", 1)

    assert copy.says("ana") is None
    assert not copy.end_fetch(ticket, "ana", copy.an_answer("ana", head=1))
    assert copy.learn("ana", Reason.WITHDRAWN, head=2, index=1)
    assert copy.says("ana") is Reason.WITHDRAWN


def test_what_we_decided_ourselves_and_the_stream_told_already_is_known(copy: Copy) -> None:
    copy.hear(a_change(1), Head(index=1))

    copy.expect("ana", 1)

    assert copy.says("ana") is Reason.WITHDRAWN


def test_recent_verdicts_are_given_only_until_the_first_of_them_ends(copy: Copy) -> None:
    verdict = Verdict.of(Reason.GRANTED, int(copy.clock.time()) + 3, 0)
    answer = GateAnswer(subject="s_bob", verdicts={PURPOSE: verdict}, head=1)
    ticket = copy.begin_fetch()
    assert ticket is not None
    assert copy.end_fetch(ticket, "bob", answer)
    assert [copy.says(subject) for subject in ("ana", "bob")] == [Reason.GRANTED] * 2
    recent = copy.conclusions.recent[PURPOSE]
    assert {*recent} == {"ana", "bob"}

    copy.clock.advance(3.5)

    assert copy.lease.sure <= copy.clock.monotonic() < copy.lease.until
    assert copy.recall("bob", PURPOSE) is None
    assert copy.recall("ana", PURPOSE)
    assert {*recent} == {"ana"}
    assert copy.lease.sure == copy.lease.until


@pytest.mark.parametrize("subject", ["nobody", None, ["ana"]])
def test_what_is_not_concluded_is_not_recalled(copy: Copy, subject: str) -> None:
    assert copy.recall(subject, PURPOSE) is None
    assert copy.recall("ana", "cupons") is None


def test_a_withdrawal_takes_back_what_was_recalled(copy: Copy) -> None:
    assert copy.says("ana") is Reason.GRANTED
    assert copy.recall("ana", PURPOSE)

    copy.hear(a_change(1), Head(index=1))

    assert "ana" not in copy.conclusions.recent[PURPOSE]
    assert not copy.recall("ana", PURPOSE)


def test_nothing_is_recalled_where_a_fork_left_the_lock_held(copy: Copy) -> None:
    assert copy.says("ana") is Reason.GRANTED

    with copy._lock:
        assert copy.recall("ana", PURPOSE) is None

    assert copy.recall("ana", PURPOSE)


def test_a_fork_denies_at_once_and_forgets(copy: Copy) -> None:
    copy.after_fork()

    assert copy.says("ana") is Reason.STALE
    copy.hear(Head(index=0))
    assert copy.says("ana") is None


def test_ten_times_as_many_subjects_go_through_as_there_is_room_for() -> None:
    copy = Copy(capacity=ROOM)
    copy.hear(Head(index=0))
    for number in range(10 * ROOM):
        assert copy.learn(f"c-{number}", head=1)
        assert copy.says(f"c-{number}") is Reason.GRANTED

    assert len(copy) <= ROOM
    assert len(copy.conclusions.limits) <= ROOM


def test_who_is_asked_about_stays_longer() -> None:
    copy = Copy(capacity=10)
    copy.hear(Head(index=0))
    copy.learn("regular", head=1)
    for number in range(200):
        copy.learn(f"c-{number}", head=1)
        copy.says("regular")

    assert copy.says("regular") is Reason.GRANTED


def a_snapshot(copy: Copy, head: int, **reasons: Reason) -> None:
    rows = [(f"s_{name}", {PURPOSE: (reason, 2**31, None)}) for name, reason in reasons.items()]
    header = Header(head=head, purposes=frozenset({PURPOSE}), retired=frozenset({"telex"}), ref_key=b"")
    copy.load(header, rows, lambda subject: f"s_{subject}")


@pytest.fixture
def preloaded() -> Copy:
    """A live copy of everybody at entry 4."""
    copy = Copy(preload=True, capacity=3)
    a_snapshot(copy, 5, ana=Reason.GRANTED, bob=Reason.REFUSED)
    copy.hear(Head(index=4))
    return copy


def test_a_preloaded_copy_knows_everybody(preloaded: Copy) -> None:
    assert preloaded.says("ana") is Reason.GRANTED
    assert preloaded.says("bob") is Reason.REFUSED
    assert preloaded.says("nobody") is Reason.NEVER_ASKED
    assert preloaded.says("ana", "cupons") is Reason.PURPOSE_UNKNOWN
    assert preloaded.says("ana", "telex") is Reason.PURPOSE_RETIRED


def test_a_snapshot_alone_opens_nothing() -> None:
    copy = Copy(preload=True)

    a_snapshot(copy, 5, ana=Reason.GRANTED)

    assert copy.says("ana") is Reason.NOT_READY


def test_a_preloaded_copy_hears_of_new_subjects(preloaded: Copy) -> None:
    preloaded.hear(a_change(5, "eve", Reason.GRANTED), a_change(6, "ana"))

    assert preloaded.says("eve") is Reason.GRANTED
    assert preloaded.says("ana") is Reason.WITHDRAWN


@pytest.mark.parametrize("message", [Head(index=5), a_change(6), Head(index=3), Reset(), Reset(index=9)])
def test_a_preloaded_copy_that_missed_something_denies_until_the_next_snapshot(
    preloaded: Copy, message: Change | Head | Reset
) -> None:
    follows, _ = preloaded.take([message], received=1000.0, opened=1000.0)

    assert not follows
    assert preloaded.says("ana") is Reason.STALE
    a_snapshot(preloaded, 7, ana=Reason.GRANTED)
    preloaded.hear(Head(index=6))
    assert preloaded.says("ana") is Reason.GRANTED


def test_a_preloaded_copy_denies_whom_we_decided_for_until_the_stream_has_told(preloaded: Copy) -> None:
    assert preloaded.says("ana") is Reason.GRANTED

    preloaded.expect("ana", 5)

    assert "ana" not in preloaded.conclusions.limits
    assert preloaded.says("ana") is Reason.UNAVAILABLE
    preloaded.hear(a_change(5), Head(index=5))
    assert preloaded.says("ana") is Reason.WITHDRAWN


def test_an_older_change_does_not_open_what_we_closed_ourselves(preloaded: Copy) -> None:
    assert preloaded.says("ana") is Reason.GRANTED

    preloaded.expect("ana", 6)
    preloaded.hear(a_change(5, reason=Reason.GRANTED), Head(index=5))

    assert "ana" not in preloaded.conclusions.limits
    assert preloaded.says("ana") is Reason.UNAVAILABLE
    preloaded.hear(a_change(6), Head(index=6))
    assert preloaded.says("ana") is Reason.WITHDRAWN


def test_whose_own_decision_came_back_is_known_while_others_wait(preloaded: Copy) -> None:
    preloaded.expect("ana", 5)
    preloaded.expect("bob", 6)

    preloaded.hear(a_change(5, reason=Reason.GRANTED), Head(index=5))

    assert preloaded.says("ana") is Reason.GRANTED
    assert preloaded.says("bob") is Reason.UNAVAILABLE


def test_a_preloaded_copy_remembers_few_external_ids_and_loses_nobody(preloaded: Copy) -> None:
    for number in range(50):
        preloaded.hear(a_change(5 + number, f"c-{number}", Reason.GRANTED), Head(index=5 + number))
        assert preloaded.says(f"c-{number}") is Reason.GRANTED

    assert len(preloaded.conclusions.limits) <= 3
    assert all(preloaded.says(f"c-{number}") is Reason.GRANTED for number in range(50))
    assert preloaded.says("ana") is Reason.GRANTED


@given(st.sampled_from(list(Reason)), st.integers(0, 2**32 - 1), st.integers(0, 2**32))
def test_a_cell_is_judged_by_its_reason_and_its_end(reason: Reason, until: int, now: int) -> None:
    verdict = evaluate((CODES[reason], until, 0), float(now))

    assert verdict.allowed is (reason is Reason.GRANTED and now < until)


def test_readers_never_see_a_yes_after_the_withdrawal_was_applied() -> None:
    copy = Copy()
    copy.hear(Head(index=0))
    copy.learn("ana", head=1)
    withdrawn, wrong, done = threading.Event(), [], threading.Event()

    def read() -> None:
        while not done.is_set():
            after = withdrawn.is_set()
            if copy.says("ana") is Reason.GRANTED and after:
                wrong.append(1)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for index in range(1, 400, 2):
        copy.hear(a_change(index))
        withdrawn.set()
        withdrawn.clear()
        copy.hear(a_change(index + 1, reason=Reason.GRANTED))
    copy.hear(a_change(401))
    withdrawn.set()
    done.set()
    for reader in readers:
        reader.join()

    assert copy.says("ana") is Reason.WITHDRAWN
    assert not wrong
