"""A clock that moves only when it is told to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_OF_JUNE_2026 = 1_780_272_000.0


class SettableClock:
    """Wall and monotonic time for tests, in seconds; `advance` moves both, `jump` the wall clock alone."""

    def __init__(self, now: float = _FIRST_OF_JUNE_2026) -> None:
        self._wall = now
        self._monotonic = 1000.0
        self._listeners: list[Callable[[], None]] = []

    def time(self) -> float:
        """Return the epoch seconds of the wall clock."""
        return self._wall

    def monotonic(self) -> float:
        """Return the seconds of the clock that never jumps."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass; raise `ValueError` for a negative time."""
        if seconds < 0:
            raise ValueError("Time does not pass backwards: jump() moves the wall clock.")
        self._wall += seconds
        self._monotonic += seconds
        self._tell()

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, forwards or backwards, as a wrong time server does."""
        self._wall += seconds
        self._tell()

    def when_moved(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each move."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
