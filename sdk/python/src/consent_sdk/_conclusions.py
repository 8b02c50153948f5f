"""What follows from the rows, kept where a gate finds it in one look-up and without a lock."""

from __future__ import annotations

from consent_sdk.verdict import Reason, a_verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consent_sdk._lease import Lease
    from consent_sdk._stream import State
    from consent_sdk._table import Cell, Table
    from consent_sdk.verdict import Verdict

ASK = float("nan")
"""A limit that compares with nothing: only the slow path knows."""

CODES = {reason: code for code, reason in enumerate(Reason, start=1)}
"""Reason codes of cells; 0 is no reason."""
_REASONS = (Reason.UNAVAILABLE, *Reason)
_GRANTED = CODES[Reason.GRANTED]
_EXPIRED = CODES[Reason.EXPIRED]
_MISSPELT = CODES[Reason.PURPOSE_UNKNOWN]
# Choices of either kind stand until they expire.
_STANDING = frozenset(
    CODES[reason]
    for reason in (
        Reason.GRANTED,
        Reason.REFUSED,
        Reason.WITHDRAWN,
        Reason.GPC_OPT_OUT,
        Reason.NOTICE_OUTDATED,
    )
)
# Limits are round moments before the end, so that many subjects share one tuple of them: 12 days for ends
# that are far, 18 hours for near ones. Their last rest is exact.
_ROUNDS_S = (1_048_576.0, 65_536.0)
_MOST_SHARED = 8192
_MOST_RECENT = 1024


def evaluate(cell: Cell, now: float) -> Verdict:
    """Return the verdict of a cell at a moment in epoch seconds; a grant without an end has ended."""
    code, until, index = cell
    if code in _STANDING and until <= now and (until or code == _GRANTED):
        code = _EXPIRED
    return a_verdict(_REASONS[code], until, index - 1 if index else None)


class Conclusions:
    """Limits by subject, a tuple with one per column; and, by purpose, verdicts that were asked for lately.

    A limit is a moment of the monotonic clock: positive, open before it; negative, closed before its
    opposite; 0, closed until something changes; or `ASK`. Past its moment the slow path decides; `unknown`
    is the one where nothing is known. All `recent` verdicts stand as long as the lease is `sure`. Readers
    look into `limits` and `recent` as they are; writers hold the lock of the copy.
    """

    __slots__ = ("_lease", "_shared", "_unknown", "limits", "recent")

    def __init__(self, lease: Lease, *, unknown: float) -> None:
        self._lease = lease
        self._unknown = unknown
        self.limits: dict[str, tuple[float, ...]] = {}
        self.recent: dict[str, dict[str, Verdict]] = {}
        self._shared: dict[tuple[float, ...], tuple[float, ...]] = {}

    def draw(self, subject: str, cells: Iterable[Cell], *, now: float, offset: float) -> None:
        """Keep what follows from a subject's cells; `now + offset` is the time of day."""
        limits = tuple([_limit(cell, now, offset) if cell[0] else self._unknown for cell in cells])
        if len(self._shared) > _MOST_SHARED:
            self._shared.clear()
        self.limits[subject] = self._shared.setdefault(limits, limits)

    def keep(self, subject: str, purpose: str, column: int, verdict: Verdict, now: float) -> None:
        """Keep a verdict that was asked for, until the limit that stands for its subject and column."""
        lease, limit = self._lease, self.limits[subject][column]
        if now >= lease.sure:
            self._forget_recent()
        end = limit if limit >= 0.0 else -limit
        if 0.0 < end < lease.soonest:
            lease.be_sure_until(end)
        recent = self.recent[purpose]
        if len(recent) >= _MOST_RECENT:
            recent.clear()
        recent[subject] = verdict

    def stand(self, subject: str, column: int, now: float) -> bool:
        """Whether a limit answers for this subject and column now."""
        limits = self.limits.get(subject, ())
        limit = limits[column] if column < len(limits) else ASK
        return now < limit or now < -limit or limit == 0.0

    def forget(self, subject: str) -> None:
        """Conclude nothing about a subject."""
        self.limits.pop(subject, None)
        for recent in self.recent.values():
            recent.pop(subject, None)

    def forget_all(self) -> None:
        """Conclude nothing about anybody."""
        self.limits.clear()
        self._forget_recent()

    def _forget_recent(self) -> None:
        for recent in self.recent.values():
            recent.clear()
        self._lease.be_sure()


def _limit(cell: Cell, now: float, offset: float) -> float:
    code, until, _ = cell
    if code == _MISSPELT:
        return ASK
    end = until - offset
    if code not in _STANDING or not until or end <= now:
        return 0.0
    for round_s in _ROUNDS_S:
        if end - now > 2 * round_s:
            end = end // round_s * round_s
            break
    return end if code == _GRANTED else -end


def fill(
    table: Table, slot: int, columns: Mapping[str, int], consents: Mapping[str, State], index: int | None
) -> None:
    """Write where a subject stands on these purposes, decided by entry `index` unless they say which."""
    for purpose, (reason, until, decided) in consents.items():
        column = columns.get(purpose)
        if column is not None:
            deciding = index if decided is None else decided
            table.put(slot, column, (CODES[reason], until, 0 if deciding is None else deciding + 1))
