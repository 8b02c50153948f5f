"""Count what a tenant's ledger and its projection hold: everything once, then only what changed.

Rows are counted in segments of 2,048. Records come at the end and go by an erasure, and are never changed; a
subject's row changes with an entry of a higher index. So a segment with as many rows and the same last index
as before has the same counts, and who was erased is no longer counted, wherever she stood. Nothing is stored.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from consent_service.domain.consent import Status
from consent_service.operations.count_rows import Counted, Key, count_people, count_records
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.storage.ledger_store import read_head
from consent_service.storage.scope import TenantScope
from consent_service.storage.tally_store import Segment, people_segments, record_segments

_WIDTH: Final = 2_048
_BUDGET_S: Final = 1.0
_MANY: Final = 500_000
_SHARE: Final = 20
"""Where there are many rows, a tally is shown again for this many times as long as it took to take."""

Count = Callable[[TenantScope, int, int], Counted]


class Standing(NamedTuple):
    """How many people stand at one status for one version of a purpose, `over` where its time has run out."""

    purpose: str
    version: int
    status: Status
    over: bool
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted of a log of `size` entries: `counted` of the `rows` of records and people there are.

    `standings` are as of `taken_at`, `people` is how many decided anything, `last_entry` when the last entry
    was recorded.
    """

    size: int
    rows: int
    counted: int
    counts: Counter[Key]
    people: int
    standings: tuple[Standing, ...]
    taken_at: datetime
    last_entry: datetime | None

    def of(self, what: str) -> dict[str, int]:
        """Return the counts of one kind that has one name each, such as `method`, the largest first."""
        found = {key[1]: number for key, number in self.counts.items() if key[0] == what}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def outcomes(self, notice: str, purpose: str, status: Status) -> int:
        """Return how often decisions under a notice left this status behind for a purpose."""
        return self.counts["outcome", notice, purpose, status.value]

    def on(self, day: date) -> int:
        """Return the decisions recorded on a day, in UTC."""
        return self.counts["day", day.isoformat()]


@dataclass(slots=True, kw_only=True)
class _Stretch:
    segment: Segment
    counted: Counted


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What is remembered of one tenant."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    records: dict[int, _Stretch] = field(default_factory=dict)
    people: dict[int, _Stretch] = field(default_factory=dict)
    tally: Tally | None = None
    due: float = 0.0


class LedgerTally:
    """Counts for every tenant of a deployment; safe to share between threads.

    Each look reads for about `budget` seconds at most: the newest rows first, and the next look goes on.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        width: int = _WIDTH,
        budget: float = _BUDGET_S,
        many: int = _MANY,
    ) -> None:
        self._deployment = deployment
        self._many = many
        self._width = width
        self._budget = budget
        self._lock = threading.Lock()
        self._memories: dict[int, _Memory] = {}

    def take(self, tenant: Tenant) -> Tally:
        """Return the counts as of now, or as far as this look came: `counted` of `rows`."""
        with self._lock:
            memory = self._memories.setdefault(tenant.id, _Memory())
        with memory.lock:
            started = time.monotonic()
            if memory.tally is None or started >= memory.due:
                memory.tally = tally = self._take(tenant, memory)
                settled = tally.counted == tally.rows >= self._many
                memory.due = started + (_SHARE * (time.monotonic() - started) if settled else 0.0)
            return memory.tally

    def _take(self, tenant: Tenant, memory: _Memory) -> Tally:
        with self._deployment.reading(tenant) as scope:
            size, now = read_head(scope).size, self._deployment.clock()
            records = record_segments(scope, self._width)
            people = people_segments(scope, self._width)
            self._count(scope, memory.records, records, count_records)
            self._count(scope, memory.people, people, count_people)
        stretches = (*memory.records.values(), *memory.people.values())
        return Tally(
            size=size,
            rows=sum(segment.rows for segment in (*records.values(), *people.values())),
            counted=sum(stretch.segment.rows for stretch in stretches),
            counts=_total(memory.records),
            people=sum(stretch.segment.rows for stretch in memory.people.values()),
            standings=_standings(_total(memory.people), now),
            taken_at=now,
            last_entry=max((s.counted.last for s in stretches if s.counted.last), default=None),
        )

    def _count(
        self, scope: TenantScope, known: dict[int, _Stretch], found: Mapping[int, Segment], count: Count
    ) -> None:
        until = time.monotonic() + self._budget
        for number in [number for number in known if found.get(number) != known[number].segment]:
            del known[number]
        for number in sorted(found.keys() - known.keys(), reverse=True):
            counted = count(scope, number * self._width, (number + 1) * self._width)
            known[number] = _Stretch(segment=found[number], counted=counted)
            if time.monotonic() >= until:
                break


def _total(stretches: Mapping[int, _Stretch]) -> Counter[Key]:
    total: Counter[Key] = Counter()
    for stretch in stretches.values():
        total.update(stretch.counted.counts)
    return total


def _standings(counts: Counter[Key], now: datetime) -> tuple[Standing, ...]:
    """Add up where people stand; a choice is over from the beginning of the day (UTC) on which it ends."""
    today = now.astimezone(UTC).date().isoformat()
    found: Counter[tuple[str, int, Status, bool]] = Counter()
    for (purpose, version, status, last_day), people in counts.items():
        found[purpose, int(version), Status(status), last_day <= today] += people
    return tuple(Standing(*key, people) for key, people in sorted(found.items()))
