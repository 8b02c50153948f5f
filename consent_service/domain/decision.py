"""One act of one subject under one notice, and the check that it may be recorded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import ClockOutOfBounds, InvalidDecision, NoticeSuperseded, UnknownPurpose

_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
_EVIDENCE = re.compile(r"[0-9a-f]{64}", re.ASCII)

GPC_METHOD = "gpc"
"""The method of a decision that a Global Privacy Control signal made, not a person at a control."""


class Choice(StrEnum):
    """What the subject said about one purpose. Silence is neither: it is a refusal nobody recorded."""

    GRANTED = "granted"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one subject chose, how, and by her own clock when.

    `method` is the control she used (`save`, `accept_all`, `refuse_all`, `gpc`, …), `source` the place
    (`banner`, `call_centre`, …), `actor` who sent it (`subject` or `backend`), `evidence` the SHA-256 of
    a recording or screenshot kept elsewhere, `gpc` whether a Global Privacy Control signal came along.
    """

    notice: NoticeDigest
    choices: Mapping[PurposeKey, Choice]
    decided_at: datetime
    method: str
    source: str
    language: str
    actor: str
    gpc: bool = False
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLimits:
    """How far a decision's clock and its notice may lie behind before it is refused."""

    clock_ahead: timedelta = timedelta(minutes=5)
    clock_behind: timedelta = timedelta(days=30)
    superseded: timedelta = timedelta(hours=24)


def check(
    decision: Decision,
    notice: Notice,
    now: datetime,
    *,
    superseded_at: datetime | None = None,
    limits: DecisionLimits,
) -> None:
    """Raise unless `decision` may be recorded at `now` under `notice`; return nothing.

    `superseded_at` is when a newer notice replaced this one, `None` while it is current. Raises
    `UnknownPurpose`, `ClockOutOfBounds`, `NoticeSuperseded` or `InvalidDecision`. Nobody is asked again
    because a notice changed in mid-click: GDPR Art. 7(1) wants the words that were shown.
    """
    if not decision.choices:
        raise InvalidDecision("A decision has at least one choice: {purpose: granted | denied}.")
    for purpose in decision.choices:
        if purpose not in notice.purposes:
            raise UnknownPurpose(f"The notice has no purpose {purpose[:64]!r}.")
    _check_words(decision, notice)
    if decision.decided_at > now + limits.clock_ahead:
        raise ClockOutOfBounds("decided_at lies in the future: set the clock, or leave it out.")
    if decision.decided_at < now - limits.clock_behind:
        raise ClockOutOfBounds(f"decided_at lies more than {limits.clock_behind.days} days back.")
    if superseded_at is not None and now - superseded_at > limits.superseded:
        raise NoticeSuperseded("This notice was superseded too long ago: show the current one and ask again.")


def _check_words(decision: Decision, notice: Notice) -> None:
    for field in ("method", "source", "actor"):
        if not _is_word(getattr(decision, field)):
            raise InvalidDecision(f"{field} is one lower-case word of at most 32 characters [a-z0-9_.-].")
    if decision.evidence is not None and not _EVIDENCE.fullmatch(decision.evidence):
        raise InvalidDecision("evidence is a SHA-256 in 64 lower-case hexadecimal digits.")
    if _language_among(decision.language, notice.languages) is None:
        raise InvalidDecision(
            f"The notice was never written in that language, only in {', '.join(notice.languages)}."
        )
    if decision.method == GPC_METHOD and Choice.GRANTED in decision.choices.values():
        raise InvalidDecision("A Global Privacy Control signal can only deny.")


@lru_cache(maxsize=1024)  # The words of decisions are few.
def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def language_shown(language: str, notice: Notice) -> str | None:
    """Return the declared language in which `language` was served (RFC 4647 look-up), or `None`."""
    return _language_among(language, notice.languages)


@lru_cache(maxsize=1024)
def _language_among(language: str, languages: tuple[str, ...]) -> str | None:
    if not _LANGUAGE.fullmatch(language):
        return None
    wanted = language.lower()
    declared = {tag.lower(): tag for tag in languages}
    while wanted:
        if wanted in declared:
            return declared[wanted]
        wanted = wanted.rpartition("-")[0]
    return None
