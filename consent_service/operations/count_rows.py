"""Count a stretch of a tenant's records, or of its people, by what they say."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from consent_service.domain.consent import Status
from consent_service.domain.decision import GPC_METHOD, Decision
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import ErasureRecord, decode_record
from consent_service.ledger.record_reader import RecordReader
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import from_ms
from consent_service.storage.tally_store import records_between, records_of, states_between

REGRET: Final = timedelta(days=30)
"""A yes that was withdrawn within this time is counted as regretted."""

Key = tuple[str, ...]
"""What is counted. Of records: `(outcome, notice, purpose, status)`, `(day, 2026-11-21)`, `(method, save)`, …

Of people: purpose, its version, status, the day on which the choice ends.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The counts of a stretch, and when the last of its records was made."""

    counts: Counter[Key]
    last: datetime | None = None


def count_people(scope: TenantScope, start: int, stop: int) -> Counted:
    """Count where the people with numbers from `start` up to `stop` stand, from the projection."""
    counts: Counter[Key] = Counter()
    for state in states_between(scope, start, stop):
        for purpose, (status, version, _, _, until, *_) in json.loads(state).items():
            counts[purpose, str(version), status, _day(until // _DAY_MS)] += 1
    return Counted(counts=counts)


_DAY_MS: Final = 86_400_000


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return from_ms(number * _DAY_MS).date().isoformat()


def count_records(scope: TenantScope, start: int, stop: int) -> Counted:
    """Count the records with indexes from `start` up to `stop`."""
    counter = _RecordCounter(scope)
    for index, subject_id, body in records_between(scope, start, stop):
        counter.add(index, subject_id, body)
    counter.add_regrets()
    return Counted(counts=counter.counts, last=counter.last)


class _RecordCounter:
    """Counts record by record; withdrawals wait for the yes that they took back."""

    def __init__(self, scope: TenantScope) -> None:
        self._scope = scope
        self._reader = RecordReader()
        self._withdrawn: list[tuple[int, int, str, datetime]] = []
        self.counts: Counter[Key] = Counter()
        self.last: datetime | None = None

    def add(self, index: int, subject_id: int | None, body: bytes) -> None:
        """Count one record."""
        read = self._reader.read(body)
        if read is None or subject_id is None:
            record = decode_record(body)
            self.last = record.recorded_at
            if isinstance(record, ErasureRecord):
                self.counts["kind", Kind.ERASURE.value] += 1
            return
        self.last = read.recorded_at
        if read.decision is None:
            self.counts["kind", Kind.LINK.value] += 1
            return
        self._add_act(read.decision, read.recorded_at)
        for purpose, outcome in json.loads(read.outcomes).items():
            status = outcome["status"]
            self.counts["outcome", read.decision.notice, purpose, status] += 1
            if status == Status.WITHDRAWN:
                self._withdrawn.append((subject_id, index, purpose, read.recorded_at))

    def _add_act(self, decision: Decision, recorded_at: datetime) -> None:
        counts = self.counts
        counts["kind", Kind.DECISION.value] += 1
        counts["day", recorded_at.date().isoformat()] += 1
        counts["method", decision.method] += 1
        counts["source", decision.source] += 1
        counts["language", decision.language] += 1
        if decision.gpc or decision.method == GPC_METHOD:
            counts["signal", "gpc"] += 1

    def add_regrets(self) -> None:
        """Count the withdrawals that came soon after the yes they took back."""
        given = self._given({subject for subject, *_ in self._withdrawn})
        for subject_id, index, purpose, withdrawn_at in self._withdrawn:
            earlier = [at for since, at in given.get((subject_id, purpose), ()) if since < index]
            if earlier and withdrawn_at - earlier[-1] <= REGRET:
                self.counts["regret", purpose] += 1

    def _given(self, subjects: Iterable[int]) -> dict[tuple[int, str], list[tuple[int, datetime]]]:
        """Return by subject and purpose where and when a yes was given, in order."""
        given: dict[tuple[int, str], list[tuple[int, datetime]]] = {}
        for subject_id, index, body in records_of(self._scope, sorted(subjects)):
            read = self._reader.read(body)
            if read is not None and read.decision is not None:
                for purpose, outcome in json.loads(read.outcomes).items():
                    if outcome["status"] == Status.GIVEN:
                        given.setdefault((subject_id, purpose), []).append((index, read.recorded_at))
        return given
