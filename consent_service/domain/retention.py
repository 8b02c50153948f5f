"""How long a value is kept: as long as the longest word of the purposes that hold its key.

A purpose that the notice no longer has says nothing: what it holds stays until its keys go.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from consent_service.domain.purpose import Purpose, PurposeKey

_AGAIN = timedelta(hours=1)


def outlived(
    stored_at: datetime, holding: Iterable[PurposeKey], purposes: Mapping[PurposeKey, Purpose], now: datetime
) -> bool:
    """Say whether every purpose that holds a value of this age keeps it no longer."""
    return all(key in purposes and stored_at < purposes[key].retention.before(now) for key in holding)


def next_look(
    stored_at: datetime, holding: Iterable[PurposeKey], purposes: Mapping[PurposeKey, Purpose], now: datetime
) -> datetime:
    """Return when a value that is not outlived may be: later than now."""
    ends = [purposes[key].retention.after(stored_at) for key in holding if key in purposes]
    return max([now + _AGAIN, *ends])
