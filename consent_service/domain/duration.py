"""ISO 8601 durations in calendar arithmetic: P6M is six months, not 180 days."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from consent_service.errors import InvalidDuration

_FORM = re.compile(
    r"P(?=\d|T\d)(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,4})M)?(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,5})H)?(?:(?P<minutes>\d{1,5})M)?(?:(?P<seconds>\d{1,6})S)?)?",
    re.ASCII,
)
_MONTHS_PER_YEAR = 12
# Four years in a row hold every month length and the leap day.
_STARTS = tuple(datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(4 * 365 + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A span of calendar months and exact time, from an ISO 8601 duration without fractions."""

    months: int
    exact: timedelta
    text: str

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read `P6M`, `P1Y2M10D`, `P2W` or `PT12H`; raise `InvalidDuration` for anything else."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidDuration(text)
        part = {name: int(digits or 0) for name, digits in match.groupdict().items()}
        return cls(
            months=part["years"] * _MONTHS_PER_YEAR + part["months"],
            exact=timedelta(
                weeks=part["weeks"],
                days=part["days"],
                hours=part["hours"],
                minutes=part["minutes"],
                seconds=part["seconds"],
            ),
            text=text,
        )

    @property
    def is_zero(self) -> bool:
        """Whether this is no time at all."""
        return self.months == 0 and not self.exact

    def after(self, moment: datetime) -> datetime:
        """Return the moment this long after `moment`: months first, the day clipped to the month's last.

        31 August plus P6M is the last day of February (the rule of XML Schema 1.1, appendix E.3.3). The day
        is that of UTC, as records spell it, whatever offset `moment` has.
        """
        return _later(moment, self.months, self.exact)

    def before(self, moment: datetime) -> datetime:
        """Return a moment before which everything is at least this long ago.

        At the end of a longer month it is up to three days earlier than the latest such moment.
        """
        return _later(moment - self.exact, -self.months, timedelta())

    def at_most(self, other: "Duration") -> bool:
        """Say whether this span ends no later than `other`, whichever day both begin.

        P1M is at most P31D, and P28D at most P1M; P30D and P1M are neither at most the other.
        """
        if self.exact == other.exact:
            return self.months <= other.months
        return all(self.after(start) <= other.after(start) for start in _STARTS)


@lru_cache(maxsize=1024)  # The purposes of one decision mostly share a validity.
def _later(moment: datetime, months: int, exact: timedelta) -> datetime:
    moment = moment.astimezone(UTC)  # Moments that are equal are one to the cache, whatever their offsets.
    month = moment.month - 1 + months
    year, month = moment.year + month // _MONTHS_PER_YEAR, month % _MONTHS_PER_YEAR + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day) + exact
