"""A decision's record taken apart, as text: what it shares with other decisions, and its own two moments.

Nothing that is taken apart here is believed: whoever reads puts together what the record has to say, and
compares it with the whole. Moments stay texts where they can, for calendars change once a day.
"""

from functools import lru_cache
from typing import NamedTuple, TypeAlias

from consent_service.domain.duration import Duration
from consent_service.ledger.record import format_time, parse_time

Frame: TypeAlias = tuple[str, str, str]
"""What a record says up to `consents`, from `decided_at` to `prev`, and from `recorded_at` to `subject`."""

Moment: TypeAlias = tuple[int, str]
"""Milliseconds since the epoch, and the same as a record spells it."""

_MIDNIGHT = "T00:00:00.000Z"
_DAY, _MINUTE, _SECOND = slice(0, 10), slice(10, 16), slice(16, 19)
_MOMENT_LENGTH = 24
_MINUTES = {
    f"T{hour:02}:{minute:02}": (60 * hour + minute) * 60_000 for hour in range(24) for minute in range(60)
}
_SECONDS = {f":{second:02}": second * 1000 for second in range(60)}
_MILLISECONDS = {f".{millisecond:03}Z": millisecond for millisecond in range(1000)}
_DECIDED, _RECORDED = ',"decided_at":"', ',"recorded_at":"'
_MOST_DAYS = 4096


class Places(NamedTuple):
    """Where a record has the end of its choices, `decided_at`, `prev`, `recorded_at` and `subject`."""

    choices_end: int
    decided: int
    prev: int
    recorded: int
    subject: int


def find_places(text: str) -> Places:
    """Return the places of a decision's record; raise `ValueError` where one is missing.

    No string of JSON holds a quote after a comma, so each name is found where it stands.
    """
    choices_end = text.index('},"consents":{') + 1
    decided = text.index(_DECIDED, choices_end) + len(_DECIDED)
    prev = text.index(',"prev":', decided)
    recorded = text.index(_RECORDED, prev) + len(_RECORDED)
    return Places(choices_end, decided, prev, recorded, text.index(',"subject":"', recorded))


def take_apart(text: str, places: Places) -> tuple[Frame, str, str]:
    """Return the frame of a decision's record, `decided_at` and `recorded_at`, if these are its places."""
    choices_end, decided, prev, recorded, subject = places
    decided_end, recorded_end = decided + _MOMENT_LENGTH, recorded + _MOMENT_LENGTH
    frame = text[:choices_end], text[decided_end:prev], text[recorded_end:subject]
    return frame, text[decided:decided_end], text[recorded:recorded_end]


def put_together(
    frame: Frame, outcomes: str, decided_at: str, prev: str, recorded_at: str, subject: str
) -> str:
    """Return the whole record; `prev` and `outcomes` are JSON, the others are what stands between quotes."""
    before, middle, after = frame
    return (
        f'{before},"consents":{outcomes},"decided_at":"{decided_at}{middle},"prev":{prev},'
        f'"recorded_at":"{recorded_at}{after},"subject":"{subject}","v":1}}'
    )


def read_moment(text: str) -> Moment:
    """Return the moment that a record spells so; raise `KeyError` or `InvalidEntry` for other spellings."""
    milliseconds = _MINUTES[text[_MINUTE]] + _SECONDS[text[_SECOND]] + _MILLISECONDS[text[19:]]
    return _midnight(text[_DAY]) + milliseconds, text


@lru_cache(maxsize=_MOST_DAYS)
def _midnight(day: str) -> int:
    return round(parse_time(day + _MIDNIGHT).timestamp()) * 1000


class Calendar:
    """Says when a validity ends. It counts once a day: months and days leave the time of day alone.

    `after` raises `ValueError` for a validity that does not, such as PT12H.
    """

    __slots__ = ("_days", "_validity")

    def __init__(self, validity: Duration) -> None:
        self._validity = validity
        self._days: dict[str, tuple[str, int]] = {}

    def after(self, moment: Moment) -> Moment:
        """Return the moment that is the validity later."""
        milliseconds, text = moment
        day = text[_DAY]
        later, between = self._days.get(day) or self._count(day)
        return milliseconds + between, later + text[10:]

    def _count(self, day: str) -> tuple[str, int]:
        end = format_time(self._validity.after(parse_time(day + _MIDNIGHT)))
        if not end.endswith(_MIDNIGHT):
            raise ValueError(self._validity.text)
        if len(self._days) >= _MOST_DAYS:
            self._days.clear()
        counted = end[_DAY], _midnight(end[_DAY]) - _midnight(day)
        return self._days.setdefault(day, counted)
