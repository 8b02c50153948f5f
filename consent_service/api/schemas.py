"""Request and response bodies. They stay in `api`; `to_…` gives the value that goes on."""

import json
import re
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict, TypeAdapter
from pydantic_core import PydanticCustomError

from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.purpose import PurposeKey

PurposeName = Annotated[str, Field(min_length=1, max_length=64)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,31}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
StatusName = Literal["given", "renewed", "refused", "withdrawn", "expired", "unknown"]
ReasonName = Literal[
    "granted",
    "never_asked",
    "refused",
    "withdrawn",
    "expired",
    "notice_outdated",
    "purpose_unknown",
    "purpose_retired",
    "gpc_opt_out",
    "subject_erased",
]

_CHOICES = {choice.value: choice for choice in Choice}
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]", re.ASCII)


def _dated(value: object) -> object:
    """Refuse seconds since the epoch, which pydantic would take where RFC 3339 is asked for."""
    if not isinstance(value, str) or not _DATE.match(value):
        raise PydanticCustomError("moment", "Input should be an RFC 3339 moment")
    return value


Moment = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_dated)]

EXAMPLE_NOTICE = "9f2b5d1c" * 8
EXAMPLE_TIME = "2026-11-21T12:00:00.000Z"
EXAMPLE_UNTIL = "2027-05-21T12:00:00.000Z"
EXAMPLE_OUTCOMES: dict[str, Any] = {
    "recommendations": {"status": "given", "valid_until": EXAMPLE_UNTIL},
    "coupons": {"status": "refused", "valid_until": EXAMPLE_UNTIL},
}
EXAMPLE_DECISION: dict[str, Any] = {
    "notice": EXAMPLE_NOTICE,
    "choices": {"recommendations": "granted", "coupons": "denied"},
    "method": "save",
    "source": "banner",
    "language": "en",
    "decided_at": EXAMPLE_TIME,
}


def _example(**members: Any) -> ConfigDict:  # any JSON may stand in an example
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [members]})


class DecisionBody(BaseModel):
    """One act of one subject under one notice."""

    model_config = _example(**EXAMPLE_DECISION)

    notice: Digest = Field(description="Digest of the notice that was shown.")
    choices: Annotated[dict[PurposeName, Literal["granted", "denied"]], Field(min_length=1, max_length=100)]
    method: Word = Field(description="Control that was used: save, accept_all, refuse_all, gpc, …")
    source: Word = Field(description="Place where it was used: banner, call_centre, import, …")
    language: Annotated[str, Field(max_length=64)] = Field(description="BCP 47 tag of the words shown.")
    decided_at: Moment | None = Field(default=None, description="The subject's clock; ours if absent.")
    gpc: bool | None = Field(default=None, description="Whether a Global Privacy Control signal was on.")
    evidence: Digest | None = Field(default=None, description="SHA-256 of a recording kept elsewhere.")

    def to_decision(self, *, now: datetime, actor: str, gpc: bool) -> Decision:
        """Return the decision, by the subject's clock where she sent it."""
        decided_at = now if self.decided_at is None else self.decided_at
        if decided_at.microsecond % 1000:
            decided_at = decided_at.replace(microsecond=decided_at.microsecond // 1000 * 1000)
        return Decision(
            notice=NoticeDigest(self.notice),
            choices={PurposeKey(key): _CHOICES[choice] for key, choice in self.choices.items()},
            decided_at=decided_at,
            method=self.method,
            source=self.source,
            language=self.language,
            actor=actor,
            gpc=bool(self.gpc) or gpc,
            evidence=self.evidence,
        )


class BatchLine(DecisionBody):
    """One line of a batch: a decision and whose it is."""

    model_config = _example(**EXAMPLE_DECISION, subject="customer-42", idempotency_key="call-2026-11-21-7")

    subject: Annotated[str, Field(min_length=1, max_length=256)]
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None

    @property
    def act(self) -> Hashable:
        """What makes two lines the same decision, but for whose it is and her clock."""
        return (
            self.notice,
            tuple(self.choices.items()),
            self.method,
            self.source,
            self.language,
            self.gpc,
            self.evidence,
        )


class GateBody(BaseModel):
    """A question to the gate."""

    model_config = _example(purposes=["recommendations"])

    purposes: Annotated[list[PurposeName], Field(min_length=1, max_length=100)]


class LinkBody(BaseModel):
    """The anonymous side of a link: the external id, or a subject token of hers."""

    model_config = _example(anonymous="visitor-7f3a")

    anonymous: Annotated[str, Field(min_length=1, max_length=4096)]


class AnonymousBody(BaseModel):
    """The handle of an earlier anonymous subject of this browser; absent for a new one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    handle: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")] | None = None


class Outcome(BaseModel):
    """What a decision left behind for one purpose."""

    status: StatusName
    valid_until: AwareDatetime


class Recorded(BaseModel):
    """The answer to a recorded decision."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "index": 7,
                    "recorded_at": EXAMPLE_TIME,
                    "consents": EXAMPLE_OUTCOMES,
                    "links": {"receipt": "/v1/receipts/7"},
                }
            ]
        }
    )

    index: int
    recorded_at: AwareDatetime
    consents: dict[str, Outcome]
    links: dict[str, str]


class GateVerdict(BaseModel):
    """The verdict on one purpose."""

    allowed: bool
    reason: ReasonName
    valid_until: AwareDatetime | None
    index: int | None


class GateAnswer(BaseModel):
    """Verdicts for each purpose asked about, as of the log at size `head`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "subject": "s_mXyq0b3nWkzF6jvTt9dQeG1A",
                    "verdicts": {
                        "recommendations": {
                            "allowed": True,
                            "reason": "granted",
                            "valid_until": EXAMPLE_UNTIL,
                            "index": 7,
                        }
                    },
                    "head": 8,
                }
            ]
        }
    )

    subject: str
    verdicts: dict[str, GateVerdict]
    head: int


class ProblemBody(BaseModel):
    """RFC 9457 problem details; `type` is stable, see the reference of problems."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/unknown-purpose",
                    "title": "Unknown purpose",
                    "status": 400,
                    "detail": "The notice has no purpose 'cupons'.",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str


_DECISION_BODY: TypeAdapter[DecisionBody] = TypeAdapter(DecisionBody)
_BATCH_LINE: TypeAdapter[BatchLine] = TypeAdapter(BatchLine)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
_GATE_BODY: TypeAdapter[GateBody] = TypeAdapter(GateBody)


def parse_decision(body: bytes) -> DecisionBody:
    """Return the body of POST /v1/decisions; raise pydantic's `ValidationError` or `DuplicateMember`."""
    parsed = _DECISION_BODY.validate_json(body)
    _refuse_duplicates(body, _strings(parsed))
    return parsed


def parse_batch_line(line: bytes) -> BatchLine:
    """Return one line of a batch; raise as `parse_decision`."""
    parsed = _BATCH_LINE.validate_json(line)
    _refuse_duplicates(line, _strings(parsed) + 1 + (parsed.idempotency_key is not None))
    return parsed


def parse_gate(body: bytes) -> GateBody:
    """Return the body of POST /v1/gate; raise as `parse_decision`."""
    parsed = _GATE_BODY.validate_json(body)
    _refuse_duplicates(body, 1 + len(parsed.purposes))
    return parsed


class DuplicateMember(ValueError):
    """A member of a JSON object comes twice: nobody can say which one was meant."""


def _refuse_duplicates(body: bytes, strings: int) -> None:
    """Raise `DuplicateMember` where the last of two members would silently win, say a grant over a denial.

    The strict reading costs as much as the rest, so it is spared a body that has no more `strings` than were
    read, names of members included.
    """
    if body.count(b'"') == 2 * strings and b"\\" not in body:
        return
    json.loads(body, object_pairs_hook=once)


def _strings(parsed: DecisionBody) -> int:
    """Count names and choices, notice, method, source and language, and what is optional."""
    strings = len(parsed.model_fields_set) + 2 * len(parsed.choices) + 4
    return strings + (parsed.decided_at is not None) + (parsed.evidence is not None)


def once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return the members of a JSON object, for `json.loads`; raise `DuplicateMember`."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember("Every member of a JSON object comes once.")
    return members


def parse_moment(text: str) -> datetime:
    """Return an RFC 3339 moment in UTC from a query parameter; raise `ValueError`."""
    moment = _MOMENT.validate_python(text)
    return moment.astimezone(UTC)
