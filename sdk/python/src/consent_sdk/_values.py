"""What the service's answers hold, as values: consents, history, records and problems."""

from __future__ import annotations

from collections.abc import Mapping

from consent_sdk._frozen import Frozen
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class Consent(Frozen):
    """Where one subject stands on one purpose; all but `status` are None while the status is `unknown`.

    `status` is one of given, renewed, refused, withdrawn, expired, unknown.
    """

    __slots__ = ("index", "purpose_version", "since", "status", "valid_until")

    status: str
    purpose_version: int | None
    since: datetime | None
    valid_until: datetime | None
    index: int | None

    def __init__(
        self,
        status: str,
        *,
        purpose_version: int | None = None,
        since: datetime | None = None,
        valid_until: datetime | None = None,
        index: int | None = None,
    ) -> None:
        self._init(
            status=status, purpose_version=purpose_version, since=since, valid_until=valid_until, index=index
        )


class Consents(Frozen, Mapping[str, Consent]):
    """The consents of one subject by purpose, as of ledger size `head`; falsy and empty when unknown.

    `reason` is None when the service answered, else why there is no answer.
    """

    __slots__ = ("by_purpose", "head", "reason")

    by_purpose: Mapping[str, Consent]
    head: int | None
    reason: Reason | None

    def __init__(
        self, by_purpose: Mapping[str, Consent], *, head: int | None = None, reason: Reason | None = None
    ) -> None:
        self._init(by_purpose=dict(by_purpose), head=head, reason=reason)

    def __getitem__(self, purpose: str) -> Consent:
        return self.by_purpose[purpose]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_purpose)

    def __len__(self) -> int:
        return len(self.by_purpose)

    def __hash__(self) -> int:
        return hash((frozenset(self.by_purpose.items()), self.head, self.reason))


class PastDecision(Frozen):
    """One decision of a subject's history. `choices` is purpose to granted or denied."""

    __slots__ = (
        "choices",
        "consents",
        "decided_at",
        "index",
        "language",
        "method",
        "notice",
        "recorded_at",
        "source",
    )

    index: int
    recorded_at: datetime
    decided_at: datetime
    notice: str
    choices: Mapping[str, str]
    consents: Mapping[str, Consent]
    method: str
    source: str
    language: str

    def __init__(self, **values: object) -> None:
        self._init(**values)

    def __hash__(self) -> int:
        return hash((self.index, self.notice, self.recorded_at))


class History(Frozen):
    """The decisions of one subject, in the service's order; falsy when there are none or no answer."""

    __slots__ = ("decisions", "reason")

    decisions: tuple[PastDecision, ...]
    reason: Reason | None

    def __init__(self, decisions: tuple[PastDecision, ...], *, reason: Reason | None = None) -> None:
        self._init(decisions=decisions, reason=reason)

    def __iter__(self) -> Iterator[PastDecision]:
        return iter(self.decisions)

    def __len__(self) -> int:
        return len(self.decisions)


class Recorded(Frozen):
    """A decision that is durably stored: its ledger index, when, and what it made of the consents."""

    __slots__ = ("consents", "index", "receipt", "recorded_at")

    index: int
    recorded_at: datetime
    consents: Mapping[str, Consent]
    receipt: str | None

    def __init__(
        self, *, index: int, recorded_at: datetime, consents: Mapping[str, Consent], receipt: str | None
    ) -> None:
        self._init(index=index, recorded_at=recorded_at, consents=dict(consents), receipt=receipt)

    def __hash__(self) -> int:
        return hash((self.index, self.recorded_at))


class GateAnswer(Frozen):
    """What `POST /v1/gate` said of one subject: its opaque ref, its verdicts, the ledger's size then."""

    __slots__ = ("head", "subject", "verdicts")

    subject: str
    verdicts: Mapping[str, Verdict]
    head: int

    def __init__(self, *, subject: str, verdicts: Mapping[str, Verdict], head: int) -> None:
        self._init(subject=subject, verdicts=dict(verdicts), head=head)

    def __hash__(self) -> int:
        return hash((self.subject, self.head))
