"""What the routes answer, for the OpenAPI document: forms of JSON, other media, and links to what comes next.

The routes write their JSON themselves; that it has these forms, and none other, is what
`tests/api/test_schemathesis.py` checks.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from consent_service.api.schemas import (
    EXAMPLE_DECISION,
    EXAMPLE_NOTICE,
    EXAMPLE_OUTCOMES,
    EXAMPLE_TIME,
    EXAMPLE_UNTIL,
    Outcome,
    ReasonName,
    StatusName,
)

Base64 = str
PROBLEM = {"$ref": "#/components/responses/Problem"}
"""The answer that every refusal is (RFC 9457)."""
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As the ETag says"}}
"""The answer to a conditional request for what the caller has already."""
TEXT: Mapping[str, object] = {"type": "string"}
OBJECT: Mapping[str, object] = {"type": "object"}
BYTES: Mapping[str, object] = {}
"""Bytes have no schema (OpenAPI 3.1, section 4.8.14.2)."""


_SIGNED = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJzXzEifQ.0dSLKS0NM1iG188cavXKag"
_HASH = "YCUB62/yjngLACDO2zgUA8dDzAjBTjUMlLS/od6It00="
_ROOT = "HzbujWHSqmzs7VUMqsmF2b8MMX3k0UAAgHrvgMkjsvQ="


def _example(**members: Any) -> ConfigDict:  # any JSON may stand in an example
    return ConfigDict(json_schema_extra={"examples": [members]})


class PublishedAnswer(BaseModel):
    """A notice that was published, or was the current one already."""

    model_config = _example(digest=EXAMPLE_NOTICE, index=0, languages=["en", "fr"])

    digest: str
    index: int
    languages: list[str]


class NoticeAnswer(BaseModel):
    """A published notice; with `language`, its texts are in that one."""

    digest: str
    index: int
    published_at: AwareDatetime
    notice: dict[str, JsonValue] = Field(description="As published: see the notice format.")
    language: str | None = None


class HistoryItem(BaseModel):
    """A decision, or a link to an anonymous subject, and what it left behind by purpose."""

    index: int
    kind: Literal["decision", "link"]
    recorded_at: AwareDatetime
    consents: dict[str, Outcome]
    actor: str
    linked: str | None = None
    decided_at: AwareDatetime | None = None
    notice: str | None = None
    choices: dict[str, Literal["granted", "denied"]] | None = None
    method: str | None = None
    source: str | None = None
    language: str | None = None
    gpc: bool | None = None
    evidence: str | None = None


class HistoryAnswer(BaseModel):
    """Every entry of a subject, oldest first."""

    model_config = _example(
        decisions=[
            {
                **EXAMPLE_DECISION,
                "index": 7,
                "kind": "decision",
                "recorded_at": EXAMPLE_TIME,
                "consents": EXAMPLE_OUTCOMES,
                "actor": "subject",
                "gpc": False,
                "evidence": None,
            }
        ]
    )

    decisions: list[HistoryItem]


class ConsentItem(BaseModel):
    """The status of one purpose and what the gate says; without the rest where nobody chose."""

    status: StatusName
    allowed: bool
    reason: ReasonName
    purpose_version: int | None = None
    since: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    index: int | None = None
    gpc: bool | None = None


class ConsentsAnswer(BaseModel):
    """Consents by purpose, as of the log at size `head`."""

    model_config = _example(
        consents={
            "recommendations": {
                "status": "given",
                "purpose_version": 1,
                "since": EXAMPLE_TIME,
                "valid_until": EXAMPLE_UNTIL,
                "index": 7,
                "gpc": False,
                "allowed": True,
                "reason": "granted",
            },
            "support_context": {"status": "unknown", "allowed": False, "reason": "never_asked"},
        },
        head=8,
    )

    consents: dict[str, ConsentItem]
    head: int


class RelayAnswer(BaseModel):
    """What a follower needs of this tenant's relay: its names, and the key of its messages' MACs."""

    tenant: str
    log: str
    key: Base64


class TokenAnswer(BaseModel):
    """A subject token."""

    model_config = _example(token=_SIGNED, expires_at=EXAMPLE_TIME)

    token: str
    expires_at: AwareDatetime


class AnonymousAnswer(TokenAnswer):
    """An anonymous subject's handle and token."""

    model_config = _example(
        handle="FreuWesiO5tcCsryeIPniwdrgoYrMsCHuS9t3AJbYNc",
        token=_SIGNED,
        expires_at=EXAMPLE_TIME,
    )

    handle: str


class RememberedItem(BaseModel):
    """What a browser remembers of a purpose: its version, and for how many days an answer holds."""

    version: int
    days: int


class MarkupAnswer(BaseModel):
    """Banner and dialog as HTML with their style, for a page that a server renders."""

    language: str
    direction: Literal["ltr", "rtl"]
    notice: str
    content: str
    style: str
    purposes: dict[str, RememberedItem]


class ErasureAnswer(BaseModel):
    """The certificate of an erasure: a C2SP signed note."""

    certificate: str
    index: int


class LinkAnswer(BaseModel):
    """What two linked subjects stand at; `unconfirmed` is what only the anonymous one granted."""

    model_config = _example(index=9, consents=EXAMPLE_OUTCOMES, unconfirmed=["support_context"])

    index: int
    consents: dict[str, Outcome]
    unconfirmed: list[str]


class StoredAnswer(BaseModel):
    """The fields that were stored, as `category.field`."""

    stored: list[str]


class ProfileItem(BaseModel):
    """A profile as of the entry at `index`, or why the gate is closed."""

    attributes: dict[str, dict[str, JsonValue]] | None = None
    index: int | None = None
    reason: ReasonName | None = None


class ProfileAnswer(BaseModel):
    """What a purpose may see of a profile."""

    purpose: str
    attributes: dict[str, dict[str, JsonValue]]
    index: int | None


class ProfilesAnswer(BaseModel):
    """One item for each subject, in the order asked."""

    purpose: str
    profiles: list[ProfileItem]


class NotedAnswer(BaseModel):
    """How many uses were noted."""

    noted: int


class UseItem(BaseModel):
    """One count of uses of one day."""

    day: str = Field(json_schema_extra={"format": "date"})
    purpose: str
    feature: str
    category: str
    times: int
    last: AwareDatetime


class UsesAnswer(BaseModel):
    """Uses by day, and in plain words."""

    uses: list[UseItem]
    sentences: list[str]


class HeldAnswer(BaseModel):
    """One field of a profile with what holds it."""

    value: JsonValue
    stored_at: AwareDatetime
    derived_for: str | None
    open_to: list[str]
    kept_until: AwareDatetime | None


class WhoAnswer(BaseModel):
    """Who this is about, as far as anything is held."""

    external_id: str | None
    ref: str | None
    linked: list[str]


class RecipientItem(BaseModel):
    """Somebody who sees the data."""

    name: str
    role: str
    country: str


class PurposeItem(BaseModel):
    """What the law wants said of a purpose."""

    name: dict[str, str]
    description: dict[str, str]
    categories: list[str]
    recipients: list[RecipientItem]
    retention: str
    validity: str


class RetentionItem(BaseModel):
    """How long what closed is kept for a renewal, and what was used is kept to be shown."""

    grace_days: int
    uses_days: int


class PersonalDataAnswer(BaseModel):
    """Everything that is held about a subject."""

    held: bool
    made_at: AwareDatetime
    subject: WhoAnswer
    controller: dict[str, JsonValue] | None
    consents: dict[str, ConsentItem]
    history: list[HistoryItem]
    notices: dict[str, dict[str, JsonValue]]
    profile: dict[str, dict[str, HeldAnswer]]
    purposes: dict[str, PurposeItem]
    retention: RetentionItem
    uses: list[UseItem]


class InclusionAnswer(BaseModel):
    """An RFC 9162 inclusion proof; hashes in base64."""

    model_config = _example(index=1, size=2, leaf_hash=_HASH, proof=[_HASH], root=_ROOT)

    index: int
    size: int
    leaf_hash: Base64
    proof: list[Base64]
    root: Base64


class HandoffItem(BaseModel):
    """A step from key to key: a key entry, and a C2SP tlog-proof that both keys signed."""

    opening: str = Field(description="Opening of the entry, 64 hexadecimal digits")
    record: str = Field(description="Record of the entry, canonical JSON")
    proof: str = Field(description="C2SP tlog-proof of its leaf")


class HandoffsAnswer(BaseModel):
    """How the log's keys followed each other, the oldest first."""

    handoffs: list[HandoffItem]


class ConsistencyAnswer(BaseModel):
    """An RFC 9162 consistency proof; hashes in base64."""

    model_config = _example(**{"from": 1, "to": 2, "proof": [_HASH], "old_root": _HASH, "new_root": _ROOT})

    old_size: int = Field(alias="from")
    new_size: int = Field(alias="to")
    proof: list[Base64]
    old_root: Base64
    new_root: Base64


class StateAnswer(BaseModel):
    """How the process is."""

    status: Literal["ok", "ready"]


Responses = dict[int | str, dict[str, Any]]


def answers(
    form: type[BaseModel], *problems: int, status: int = 200, links: Mapping[str, object] | None = None
) -> Responses:
    """Return the `responses` of a route that answers JSON of this form, or one of these problems.

    What every route of its kind may answer need not be named: see `openapi`.
    """
    done: dict[str, Any] = {"model": form, "description": (form.__doc__ or "Done").strip()}
    if links is not None:
        done["links"] = dict(links)
    return {status: done, **dict.fromkeys(problems, PROBLEM)}


def media(description: str, forms: Mapping[str, Mapping[str, object]], *problems: int) -> Responses:
    """Return the `responses` of a route that answers text or bytes; `forms` are schemas by media type."""
    content = {name: {"schema": dict(schema)} for name, schema in forms.items()}
    return {200: {"description": description, "content": content}, **dict.fromkeys(problems, PROBLEM)}


def link(operation: str, **parameters: str) -> dict[str, Any]:
    """Return an OpenAPI link to an operation with parameters taken from a request or its answer."""
    return {"operationId": operation, "parameters": parameters}
