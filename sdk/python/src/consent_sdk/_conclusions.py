"""What follows from the rows, kept where a gate finds it in one look-up and without a lock."""

from __future__ import annotations

from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from consent_sdk._table import Cell

ASK = -1.0
"""A limit: only the slow path knows."""

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
_MOST_VERDICTS = 1024
_KNOWN: dict[Cell, Verdict] = {}


def evaluate(cell: Cell, now: float) -> Verdict:
    """Return the verdict of a cell at a moment in epoch seconds; a grant without an end has ended."""
    code, until, index = cell
    if code in _STANDING and until <= now and (until or code == _GRANTED):
        cell = (_EXPIRED, until, index)
    known = _KNOWN.get(cell)
    if known is None:
        if len(_KNOWN) >= _MOST_VERDICTS:
            _KNOWN.clear()
        known = Verdict(_REASONS[cell[0]], until=until, index=index - 1 if index else None)
        _KNOWN[cell] = known
    return known


class Conclusions:
    """Limits by subject, a tuple with one per column; and the verdicts that were asked for lately.

    A limit is a moment of the monotonic clock: positive, open before it; negative, closed before its
    opposite; 0, closed until something changes; or `ASK`. Past its moment the slow path decides; `unknown`
    is the one where nothing is known. Readers look into `limits` and `verdicts` as they are; writers hold
    the lock of the copy.
    """

    __slots__ = ("_shared", "_unknown", "limits", "verdicts")

    def __init__(self, *, unknown: float) -> None:
        self._unknown = unknown
        self.limits: dict[str, tuple[float, ...]] = {}
        self.verdicts: list[dict[str, Verdict]] = []
        self._shared: dict[tuple[float, ...], tuple[float, ...]] = {}

    def draw(self, subject: str, cells: Iterable[Cell], *, now: float, offset: float) -> None:
        """Keep what follows from a subject's cells; `now + offset` is the time of day."""
        limits = tuple([_limit(cell, now, offset) if cell[0] else self._unknown for cell in cells])
        if len(self._shared) > _MOST_SHARED:
            self._shared.clear()
        self.limits[subject] = self._shared.setdefault(limits, limits)

    def keep(self, subject: str, column: int, verdict: Verdict) -> None:
        """Keep a verdict that was asked for."""
        verdicts = self.verdicts[column]
        if len(verdicts) >= _MOST_VERDICTS:
            verdicts.clear()
        verdicts[subject] = verdict

    def stand(self, subject: str, column: int, now: float) -> bool:
        """Whether a limit answers for this subject and column now."""
        limits = self.limits.get(subject, ())
        limit = limits[column] if column < len(limits) else ASK
        return now < limit or now < -limit or limit == 0.0

    def forget(self, subject: str) -> None:
        """Conclude nothing about a subject."""
        self.limits.pop(subject, None)
        for verdicts in self.verdicts:
            verdicts.pop(subject, None)

    def forget_all(self) -> None:
        """Conclude nothing about anybody."""
        self.limits.clear()
        for verdicts in self.verdicts:
            verdicts.clear()


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
    return end if code == _GRANTED else min(-end, ASK - 1)
