"""What a subject's decisions add up to. The same `apply` decides, projects and audits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from consent_service.domain.decision import GPC_METHOD, Choice, Decision
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import Purpose, PurposeKey


class Status(StrEnum):
    """The state of consent for one purpose, named after W3C DPV 2.3 and ISO/IEC TS 27560 event states."""

    GIVEN = "given"
    RENEWED = "renewed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


GRANTING = frozenset({Status.GIVEN, Status.RENEWED})
"""The only statuses that can open a gate."""


class Consent(NamedTuple):
    """The standing choice of one subject for one purpose: what the latest entry about it left behind.

    `since` is our clock at that entry, `decided_at` the subject's, `index` its place in the ledger. `gpc`
    says that a Global Privacy Control signal was present, `by_signal` that the signal itself denied.
    `status` is never `expired` or `unknown`: those depend on the moment, see `status_at`. A tuple, because
    each decision makes one a purpose, and a frozen dataclass of eight fields takes twice as long (ADR 0080).
    """

    status: Status
    purpose_version: int
    since: datetime
    decided_at: datetime
    valid_until: datetime
    index: int  # type: ignore[assignment]  # nobody searches a consent: an index is an entry's place
    gpc: bool = False
    by_signal: bool = False

    @property
    def granting(self) -> bool:
        """Whether this is a yes, live or not."""
        return self.status in GRANTING

    def live(self, now: datetime, purpose_version: int) -> bool:
        """Whether this is a yes to exactly this version of the purpose that has not expired at `now`."""
        return self.granting and self.purpose_version == purpose_version and now < self.valid_until

    def status_at(self, now: datetime) -> Status:
        """Return the status at `now`: past its validity a choice of either kind is `expired`."""
        return Status.EXPIRED if now >= self.valid_until else self.status


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectState:
    """Everything one subject's entries add up to."""

    consents: Mapping[PurposeKey, Consent] = field(default_factory=dict)
    erased: bool = False


NOBODY = SubjectState()
"""The state of a subject without a single entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEntry:
    """A decision as it stands in the ledger: with its notice, our clock and its index."""

    decision: Decision
    notice: Notice
    recorded_at: datetime
    index: int


def apply(state: SubjectState, entry: DecisionEntry) -> SubjectState:
    """Return the state after `entry`: granted becomes given or renewed, denied refused or withdrawn.

    A grant that was decided before a denial already on record does not reopen anything: it arrived late
    (an offline queue, a second device), and the denial stands. Nor does a grant under an earlier version of a
    purpose replace one under a later version: she said yes to the newer words too. A denial always stands.
    """
    consents = dict(state.consents)
    for key, choice in entry.decision.choices.items():
        consents[key] = _standing(consents.get(key), choice, entry.notice.purposes[key], entry)
    return SubjectState(consents=consents, erased=state.erased)


def _standing(earlier: Consent | None, choice: Choice, purpose: Purpose, entry: DecisionEntry) -> Consent:
    decision = entry.decision
    if earlier is not None and choice is Choice.GRANTED and _overtaken(decision, purpose, earlier):
        return earlier
    # A queue may deliver late, but a validity never starts before the act nor after it was recorded.
    starts = min(decision.decided_at, entry.recorded_at)
    if choice is Choice.GRANTED:
        status = Status.RENEWED if earlier is not None and earlier.granting else Status.GIVEN
    elif earlier is not None and earlier.live(entry.recorded_at, purpose.version):
        status = Status.WITHDRAWN
    else:
        status = Status.REFUSED
    return Consent(
        status=status,
        purpose_version=purpose.version,
        since=entry.recorded_at,
        decided_at=decision.decided_at,
        valid_until=purpose.validity.after(starts),
        index=entry.index,
        gpc=decision.gpc,
        by_signal=choice is Choice.DENIED and decision.method == GPC_METHOD,
    )


def _overtaken(grant: Decision, purpose: Purpose, earlier: Consent) -> bool:
    if earlier.granting:
        return purpose.version < earlier.purpose_version
    return grant.decided_at < min(earlier.decided_at, earlier.since)


def link(known: SubjectState, anonymous: SubjectState, *, index: int, recorded_at: datetime) -> SubjectState:
    """Return the known subject's state after an anonymous one is linked to her: the most protective wins.

    Linking never widens: a denial of either side denies, a validity becomes the shorter of two, and a
    purpose the known subject never granted stays closed even where the anonymous one granted it, for
    whoever held the browser before may have been somebody else.
    """
    consents = dict(known.consents)
    for key, theirs in anonymous.consents.items():
        ours = consents.get(key)
        if not theirs.granting:
            if ours is None or ours.granting:
                status = Status.REFUSED if ours is None else Status.WITHDRAWN
                consents[key] = theirs._replace(status=status, since=recorded_at, index=index)
        elif ours is not None and ours.granting and theirs.valid_until < ours.valid_until:
            consents[key] = ours._replace(valid_until=theirs.valid_until, since=recorded_at, index=index)
    return replace(known, consents=consents)


def unconfirmed(known: SubjectState, anonymous: SubjectState) -> tuple[PurposeKey, ...]:
    """Return the purposes granted by the anonymous side only: worth asking the known subject about."""
    return tuple(
        key for key, theirs in anonymous.consents.items() if theirs.granting and key not in known.consents
    )
