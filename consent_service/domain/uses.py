"""What a subject's data was used for: counted per day, purpose, feature and category."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NewType

from consent_service.domain.purpose import CategoryKey, PurposeKey

Feature = NewType("Feature", str)
"""What used the data: a name of the shop's own, matches `[a-z0-9_.-]+`."""

Day = NewType("Day", int)
"""A day in UTC, counted from 1 January 1970."""

_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class UseKind:
    """What is counted together on one day."""

    purpose: PurposeKey
    feature: Feature
    category: CategoryKey


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCount:
    """How often, and when last."""

    times: int
    last: datetime

    def plus(self, other: "UseCount") -> "UseCount":
        """Return both counts together."""
        return UseCount(times=self.times + other.times, last=max(self.last, other.last))


Uses = Mapping[UseKind, UseCount]
"""Counts of one subject, of a day or of all days."""


def day_of(moment: datetime) -> Day:
    """Return the day of a moment, in UTC."""
    return Day(int(moment.timestamp()) // _DAY_S)


def date_of(day: Day) -> date:
    """Return the date of a day."""
    return datetime.fromtimestamp(day * _DAY_S, UTC).date()


def added(*counts: Uses) -> dict[UseKind, UseCount]:
    """Return all these counts together."""
    total: dict[UseKind, UseCount] = {}
    for uses in counts:
        for kind, count in uses.items():
            total[kind] = count if kind not in total else total[kind].plus(count)
    return total


def by_purpose_and_category(
    uses: Iterable[tuple[UseKind, UseCount]],
) -> dict[tuple[PurposeKey, CategoryKey], UseCount]:
    """Return the counts without their features: what one sentence tells."""
    total: dict[tuple[PurposeKey, CategoryKey], UseCount] = {}
    for kind, count in uses:
        key = (kind.purpose, kind.category)
        total[key] = count if key not in total else total[key].plus(count)
    return total
