"""What a gate answers: yes or no, why, and until when."""

from __future__ import annotations

from enum import StrEnum

from consent_sdk._frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime


class Reason(StrEnum):
    """Why a gate is open or closed. The last three are the SDK's own: it has no answer that it may use."""

    GRANTED = "granted"
    NEVER_ASKED = "never_asked"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    NOTICE_OUTDATED = "notice_outdated"
    PURPOSE_UNKNOWN = "purpose_unknown"
    PURPOSE_RETIRED = "purpose_retired"
    GPC_OPT_OUT = "gpc_opt_out"
    SUBJECT_ERASED = "subject_erased"
    NOT_READY = "not_ready"
    STALE = "stale"
    UNAVAILABLE = "unavailable"


class Verdict(Frozen):
    """A gate's answer; its truth value is `allowed`, which is true for the reason `granted` alone.

    `until` is in epoch seconds, 0 where nothing ends; `index` is the ledger entry that decided, None where
    none is known. Equal verdicts made by `Verdict.of` are mostly one object.
    """

    __slots__ = ("index", "reason", "until")

    reason: Reason
    until: int
    index: int | None

    def __init__(self, reason: Reason, *, until: int = 0, index: int | None = None) -> None:
        self._init(reason=reason, until=until, index=index)

    @classmethod
    def of(cls, reason: Reason, until: int = 0, index: int | None = None) -> Verdict:
        """Return the verdict with these values, the same object as before while it is remembered."""
        key = (reason, until, index)
        known = _POOL.get(key)
        if known is None:
            if len(_POOL) >= _POOL_SIZE:
                _POOL.clear()
            known = _POOL.setdefault(key, cls(reason, until=until, index=index))
        return known

    @property
    def allowed(self) -> bool:
        """Whether the gate is open."""
        return self.reason is Reason.GRANTED

    @property
    def valid_until(self) -> datetime | None:
        """When this answer ends (UTC), None where nothing ends."""
        from datetime import UTC, datetime  # noqa: PLC0415  # a hot module: imported where it is needed

        return datetime.fromtimestamp(self.until, UTC) if self.until else None

    def __bool__(self) -> bool:
        return self.reason is Reason.GRANTED

    def __repr__(self) -> str:
        word = "allowed" if self else "denied"
        return f"<Verdict {word}({self.reason.value}) until={self.until} index={self.index}>"


_new = object.__new__
_set_reason, _set_until, _set_index = (vars(Verdict)[name].__set__ for name in ("reason", "until", "index"))


def a_verdict(reason: Reason, until: int, index: int | None) -> Verdict:
    """Return a new verdict as its class would, in a third of the time."""
    verdict = _new(Verdict)
    _set_reason(verdict, reason)
    _set_until(verdict, until)
    _set_index(verdict, index)
    return verdict


_POOL_SIZE = 1024
_POOL: dict[tuple[Reason, int, int | None], Verdict] = {}
