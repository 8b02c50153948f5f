"""The two clocks, and the time of day that never goes back."""

from __future__ import annotations

from time import monotonic, time

from consent_sdk._frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_JUMP_S = 1.0


class Clock(Frozen):
    """Where time comes from; two functions that give seconds."""

    __slots__ = ("monotonic", "time")

    monotonic: Callable[[], float]
    time: Callable[[], float]

    def __init__(self, monotonic: Callable[[], float] = monotonic, time: Callable[[], float] = time) -> None:
        self._init(monotonic=monotonic, time=time)


class TimeOfDay:
    """Epoch seconds as monotonic seconds plus an offset that only grows.

    A wall clock set back therefore lengthens no consent, and a service whose clock is ahead of ours ends
    one by its clock. Not thread-safe: its owner locks.
    """

    __slots__ = ("_clock", "offset")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset = clock.time() - clock.monotonic()

    def notice(self, service_time: float | None = None) -> bool:
        """Look at the wall clock, or at the service's; return whether time jumped ahead by a second."""
        seen = self._clock.time() if service_time is None else service_time
        offset = seen - self._clock.monotonic()
        if offset <= self.offset + _JUMP_S:
            return False
        self.offset = offset
        return True


def read_date(text: str) -> float | None:
    """Return the epoch seconds of an HTTP `Date`, None for anything else."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # too slow to import with the package

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):  # by Python's version
        return None
    return None if date.tzinfo is None else date.timestamp()
