"""How long the copy may be used, on the monotonic clock (ADR 0040)."""

from __future__ import annotations

from consent_sdk._frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from consent_sdk._clock import Clock
    from consent_sdk._stream import Head

_NEVER = float("inf")


class Lease:
    """Ends at `until`, in monotonic seconds; `was_live` says that there was one before.

    `sure` is the moment before which it holds and no recent verdict ends; the first ends at `soonest`.
    Gates read `until` and `sure` without a lock; whoever changes them holds the lock of the copy.
    """

    __slots__ = ("_clock", "_closed", "_max_staleness", "soonest", "sure", "until", "was_live")

    def __init__(self, clock: Clock, *, max_staleness: float) -> None:
        self.until = 0.0
        self.sure = 0.0
        self.was_live = False
        self.soonest = _NEVER
        self._closed = False
        self._clock = clock
        self._max_staleness = max_staleness

    @property
    def live(self) -> bool:
        """Whether it holds."""
        return self._clock.monotonic() < self.until

    def renew(self, proof: Head, *, received: float, opened: float) -> bool:
        """Renew from when the proof was made at the latest; return False when it came late, or too late."""
        if self._closed:
            return False
        made = received if proof.at is None else min(received, opened + proof.at)
        self.until = max(self.until, made + self._max_staleness)
        self.sure = min(self.until, self.soonest)
        self.was_live = True
        return received - made < self._max_staleness / 2

    def be_sure_until(self, moment: float) -> None:
        """Note that a recent verdict ends at this moment, before all others."""
        self.soonest = moment
        self.sure = min(self.until, moment)

    def be_sure(self) -> None:
        """Note that there are no recent verdicts."""
        self.soonest = _NEVER
        self.sure = self.until

    def end(self) -> None:
        """Hold no more, until a proof comes."""
        self.until = self.sure = 0.0

    def close(self) -> None:
        """Hold never more, whatever comes."""
        self._closed = True
        self.until = self.sure = 0.0


class Ticket(Frozen):
    """How much of the ledger was seen when a fetch began."""

    __slots__ = ("cursor", "epoch")

    cursor: int
    epoch: int

    def __init__(self, cursor: int, epoch: int) -> None:
        self._init(cursor=cursor, epoch=epoch)
