"""The local copy: what this process knows of the ledger, and what it may conclude from it (ADR 0041).

Rules, each of which can only close a gate:
- Nothing is allowed without a live lease, and only a proof that every change was seen renews it.
- A row that was fetched before a change that we have seen is thrown away.
- An entry whose effect we have seen is not applied again.
- A gap, a step back of the index, another history or a reset empties the copy.
Gates read `conclusions` and `lease` without a lock; everything else locks.
"""

from __future__ import annotations

from threading import Lock

from consent_sdk._clock import TimeOfDay
from consent_sdk._conclusions import ASK, CODES, Conclusions, evaluate, fill
from consent_sdk._lease import Lease, Ticket
from consent_sdk._stream import Change, Head
from consent_sdk._table import UNKNOWN, Table, fingerprint
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from consent_sdk._clock import Clock
    from consent_sdk._stream import Header, Reset, State
    from consent_sdk._values import GateAnswer

    Touched = list["str | None"]

MOST_COLUMNS = 64
"""Purposes that one process may ask about."""
_SWEEP = 64


class LocalCopy:
    """Rows, a lease and a cursor. `capacity` bounds the subjects known by external id.

    `leaf` tells the entry at the cursor from the one that another history has there, where it is known.
    """

    def __init__(self, clock: Clock, *, capacity: int, max_staleness: float, preload: bool) -> None:
        self.lease = Lease(clock, max_staleness=max_staleness)
        self.conclusions = Conclusions(self.lease, unknown=0.0 if preload else ASK)
        self.columns: dict[str, int] = {}
        self.cursor: int | None = None
        self.leaf: str | None = None
        self.preload = preload
        self._clock = clock
        self._time = TimeOfDay(clock)
        self._capacity = capacity
        self._purposes: frozenset[str] | None = None
        self._retired: frozenset[str] = frozenset()
        self._ref_of: Callable[[str], str] | None = None
        self._epoch = 0
        self._fetches = 0
        self._changed: dict[bytes, int] = {}
        self._ahead: dict[bytes, int] = {}
        self._ahead_until = -1
        self._own: dict[str, int] = {}
        self._table = Table(len(self.columns))
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def live(self) -> bool:
        """Whether the lease holds."""
        return self.lease.live

    @property
    def closed(self) -> Verdict:
        """The verdict on everybody while there is no lease."""
        return Verdict.of(Reason.STALE if self.lease.was_live else Reason.NOT_READY)

    def column(self, purpose: str) -> int | None:
        """Return the column of a purpose, a new one if need be; None when unpublished or too many."""
        with self._lock:
            unpublished = self._purposes is not None and purpose not in self._purposes
            return None if unpublished else self._column(purpose)

    def after_fork(self) -> None:
        """Begin anew in a forked child: what another thread was doing was left half done."""
        self._lock = Lock()
        self._fetches, self._changed = 0, {}
        self._empty(None, [])

    def close(self) -> None:
        """Deny from now on: no proof that is still under way renews the lease."""
        with self._lock:
            self.lease.close()

    # Questions

    def verdict(self, subject: str, purpose: str, *, again: bool = True) -> Verdict | None:
        """Return the verdict that follows from the copy; None where it does not know.

        Who is asked about `again` stays longer than who was only fetched.
        """
        with self._lock:
            now = self._clock.monotonic()
            if now >= self.lease.until:
                return self.closed
            if self._purposes is not None and purpose not in self._purposes:
                retired = purpose in self._retired
                return Verdict.of(Reason.PURPOSE_RETIRED if retired else Reason.PURPOSE_UNKNOWN)
            column = self._column(purpose)
            if self.preload and self._superseded(subject):
                return Verdict.of(Reason.UNAVAILABLE)
            slot = self._slot(subject)
            cell = UNKNOWN if slot is None or column is None else self._table.get(slot, column)
            if cell[0] == 0:
                return Verdict.of(Reason.NEVER_ASKED) if self.preload else None
            verdict = evaluate(cell, now + self._time.offset)
            named = slot is not None and self._table.external_id(slot) == subject
            if again and named and slot is not None and column is not None:
                if not self.conclusions.stand(subject, column, now):
                    self._conclude(slot, subject)
                if self.conclusions.stand(subject, column, now):
                    self.conclusions.keep(subject, purpose, column, verdict, now)
            return verdict

    def recall(self, subject: str, purpose: str) -> Verdict | None:
        """Return the verdict on a subject whose limit answers; None where the slow path has to decide.

        It does not wait for the lock: where a fork has left it held, only the slow path notices.
        """
        if not self._lock.acquire(False):  # by its name it takes longer
            return None
        try:
            return self._recalled(subject, purpose)
        except Exception:  # noqa: BLE001  # nothing concluded; no subject, no purpose, whatever their hashes do
            return None
        finally:
            self._lock.release()

    def _recalled(self, subject: str, purpose: str) -> Verdict | None:
        now = self._clock.monotonic()
        column = self.columns[purpose]
        stands = now < self.lease.until and self.conclusions.stand(subject, column, now)
        slot = self._table.find(subject) if stands else None
        if slot is None or (self._purposes is not None and purpose not in self._purposes):
            return None
        cell = self._table.get(slot, column)
        if cell[0] == 0:
            return None
        verdict = evaluate(cell, now + self._time.offset)
        self.conclusions.keep(subject, purpose, column, verdict, now)
        return verdict

    def begin_fetch(self) -> Ticket | None:
        """Note that a row is being fetched; None while there is no lease, when none may be kept."""
        with self._lock:
            if not self.live or self.cursor is None:
                return None
            self._fetches += 1
            return Ticket(self.cursor, self._epoch)

    def end_fetch(self, ticket: Ticket, subject: str, answer: GateAnswer | None) -> bool:
        """Take a fetched row in; return whether it was. Every `begin_fetch` is ended once.

        A row is kept only if (1) nothing was emptied meanwhile, and it is no older than (2) what was seen
        when the fetch began and (3) a change of its subject seen since.
        """
        with self._lock:
            changed = self._changed
            self._fetches = max(0, self._fetches - 1)
            if not self._fetches:
                self._changed = {}
            if answer is None or ticket.epoch != self._epoch:  # (1)
                return False
            mark, last = fingerprint(answer.subject), answer.head - 1
            if last < max(ticket.cursor, changed.get(mark, -1), self._own.get(subject, -1)):  # (2) (3)
                return False
            self._keep(mark, subject, answer)
            if self.cursor is None or last > self.cursor:
                self._ahead[mark] = last
                self._ahead_until = max(self._ahead_until, last)
            return True

    def expect(self, subject: str, index: int) -> None:
        """Believe nothing older than entry `index` about this subject: it is a decision that we sent."""
        with self._lock:
            if self.cursor is None or self.cursor >= index:
                return
            self._own[subject] = max(index, self._own.get(subject, -1))
            self.conclusions.forget(subject)
            slot = self._table.find(subject)
            if slot is not None and not self.preload:
                self._table.remove(slot)

    # What the service sends

    def take(
        self, messages: Iterable[Change | Head | Reset], *, received: float, opened: float
    ) -> tuple[bool, Touched]:
        """Apply what one read gave; return whether to go on reading, and whose consents changed.

        `received` and `opened` are when it was read and when its connection was asked for, in monotonic
        seconds. The lease is renewed after everything is applied, so that a proof read together with a
        withdrawal does not precede it. Whose: external ids, None for anybody's.
        """
        proof: Head | None = None
        touched: Touched = []
        with self._lock:
            if self._time.notice():
                self.conclusions.forget_all()
            for message in messages:
                if isinstance(message, Change):
                    follows = self._apply(message, touched)
                elif isinstance(message, Head):
                    follows = self._advance(message, touched)
                    proof = message
                else:
                    self._empty(message.index, touched, goes_on=message.index == self.cursor)
                    self.lease.end()
                    follows, proof = not self.preload, None
                if not follows:
                    return False, touched
            self._catch_up()
            renewed = proof is None or self.lease.renew(proof, received=received, opened=opened)
            return renewed, touched

    def reconnect(self) -> None:
        """Keep no row that is ahead of the stream: after the cursor may follow another history."""
        with self._lock:
            self._epoch += 1
            for slot in [slot for mark in self._ahead for slot in self._table.find_ref(mark)]:
                self._drop(slot)
            self._ahead.clear()

    def forget(self) -> None:
        """Know nothing: what is known is too old to go on from."""
        with self._lock:
            self._empty(None, [])

    def load(
        self, header: Header, rows: Iterable[tuple[str, Mapping[str, State]]], ref_of: Callable[[str], str]
    ) -> None:
        """Replace everything by a snapshot; `ref_of` gives the ref of an external id."""
        with self._lock:
            for purpose in header.purposes or ():
                self._column(purpose)
            columns = dict(self.columns)
            table = Table(len(self.columns))
        for ref, consents in rows:
            fill(table, table.add(fingerprint(ref)), columns, consents, None)
        with self._lock:
            self._empty(None, [])
            self.cursor, self.leaf = header.head - 1, header.leaf
            while table.columns < len(self.columns):
                table.add_column()
            self._table, self._ref_of = table, ref_of
            self._purposes, self._retired = header.purposes, header.retired

    def service_time(self, epoch: float | None) -> None:
        """Note what time it is at the service, if it says: a consent ends by the clock that is ahead."""
        with self._lock:
            if epoch is not None and self._time.notice(epoch):
                self.conclusions.forget_all()

    def _apply(self, change: Change, touched: Touched) -> bool:
        """Apply a change; return False where a preloaded copy missed one before it."""
        if self.cursor is not None and change.index < self.cursor:
            return True  # repeated: its effect was seen
        if self.cursor is not None and change.index > self.cursor + 1:
            self._empty(change.index, touched, goes_on=True)
            if self.preload:
                return False
        self.cursor, self.leaf = change.index, change.leaf
        mark = fingerprint(change.subject)
        if self._fetches:
            self._changed[mark] = change.index
        if self._ahead.get(mark, -1) >= change.index:
            return True  # the row was fetched after this entry
        for slot in self._changed_slots(mark, change):
            fill(self._table, slot, self.columns, change.consents, change.index)
            subject = self._table.external_id(slot)
            if subject is not None:
                self.conclusions.forget(subject)
                if not self._superseded(subject):
                    self._conclude(slot, subject)
                touched.append(subject)
        return True

    def _superseded(self, subject: str) -> bool:
        """Whether a later decision of the subject's, which we sent, has not come back by the stream."""
        own = self._own.get(subject)
        return own is not None and (self.cursor is None or self.cursor < own)

    def _changed_slots(self, mark: bytes, change: Change) -> list[int]:
        slots = self._table.find_ref(mark)
        if not self.preload:
            return slots
        for purpose in change.consents:
            self._column(purpose)
        return slots if slots or not change.consents else [self._table.add(mark)]

    def _advance(self, head: Head, touched: Touched) -> bool:
        """Move to a head; return False after a step back, or a gap when preloaded: begin anew."""
        if self.cursor is not None:
            another = None not in (self.leaf, head.leaf) and self.leaf != head.leaf
            back = head.index < self.cursor or (head.index == self.cursor and another)
            if back or (head.index > self.cursor and self.preload):
                self._empty(None, touched, goes_on=not back)
                return False
            if head.index > self.cursor:
                self._empty(head.index, touched, goes_on=True)
        self.cursor, self.leaf = head.index, head.leaf or self.leaf
        return True

    def _catch_up(self) -> None:
        if self.cursor is not None and self.cursor >= self._ahead_until:
            self._ahead.clear()
        if self._own and self.cursor is not None and self.cursor >= max(self._own.values()):
            self._own.clear()

    def _empty(self, cursor: int | None, touched: Touched, *, goes_on: bool = False) -> None:
        """Know nothing but where the stream is; without that, or where all should be known, deny.

        Where the same ledger `goes_on`, the decisions that we sent still have to come back.
        """
        self.cursor, self.leaf = None if self.preload else cursor, None
        if self.cursor is None:
            self.lease.end()
        self._epoch += 1
        self._ahead.clear()
        if not goes_on:
            self._own.clear()
        self._table = Table(len(self.columns))
        self.conclusions.forget_all()
        touched.append(None)

    # Rows

    def _keep(self, mark: bytes, subject: str, answer: GateAnswer) -> None:
        slot = self._table.find(subject)
        if slot is not None and slot not in self._table.find_ref(mark):
            self._table.remove(slot)
            slot = None
        if slot is None:
            self._make_room()
            slot = self._table.add(mark, subject)
        for purpose, verdict in answer.verdicts.items():
            column = self._column(purpose)
            if column is not None:
                index = 0 if verdict.index is None else verdict.index + 1
                self._table.put(slot, column, (CODES[verdict.reason], verdict.until, index))
        self.conclusions.forget(subject)

    def _slot(self, subject: str) -> int | None:
        slot = self._table.find(subject)
        if slot is not None or self._ref_of is None:
            return slot
        slots = self._table.find_ref(fingerprint(self._ref_of(subject)))
        if slots and self._table.external_id(slots[0]) is None:
            self._make_room()
            self._table.name(slots[0], subject)
        return slots[0] if slots else None

    def _make_room(self) -> None:
        """Let a subject go that was not asked about lately: one about whom nothing is concluded.

        A clock with a second chance: once everybody seen has been asked about, everybody has to be again to
        stay.
        """
        if self._table.named < self._capacity:
            return
        slot = next(slots := self._table.sweep())
        for _ in range(_SWEEP):
            if self._table.external_id(slot) not in self.conclusions.limits:
                break
            slot = next(slots)
        else:
            self.conclusions.forget_all()
        self._drop(slot)

    def _drop(self, slot: int) -> None:
        external_id = self._table.external_id(slot)
        if external_id is not None:
            self.conclusions.forget(external_id)
        if self.preload:
            self._table.unname(slot)
        else:
            self._table.remove(slot)

    def _conclude(self, slot: int, subject: str) -> None:
        cells = [self._table.get(slot, column) for column in range(len(self.columns))]
        self.conclusions.draw(subject, cells, now=self._clock.monotonic(), offset=self._time.offset)

    def _column(self, purpose: str) -> int | None:
        column = self.columns.get(purpose)
        if column is None and len(self.columns) < MOST_COLUMNS:
            self.conclusions.recent[purpose] = {}
            column = self._table.add_column()
            self.columns[purpose] = column
        return column
