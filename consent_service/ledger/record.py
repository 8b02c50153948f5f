"""The records beside the leaves: what was decided, in canonical bytes that never change once released.

A leaf commits to its record (see `entry`); the record is erasable, the leaf is not. Times are RFC 3339 in
UTC with milliseconds, `prev` is the commitment of the same subject's entry before (base64) or null.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NamedTuple, TypeAlias, cast

from consent_service.domain.consent import Status
from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.errors import InvalidEntry, NotCanonical
from consent_service.ledger.canonical import JsonValue, canonical_json, parse_json
from consent_service.ledger.entry import Kind

RECORD_VERSION = 1

_Shared: TypeAlias = tuple[
    str, tuple[tuple[PurposeKey, Choice], ...], str | None, bool, str, str, NoticeDigest, str
]
"""What decisions often share: actor, choices, evidence, gpc, language, method, notice and source."""


@lru_cache(maxsize=1024)  # The times of one decision repeat: four purposes, a record and an answer.
def format_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds: `2026-11-21T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


@lru_cache(maxsize=1024)
def parse_time(text: str) -> datetime:
    """Return the moment that `format_time` wrote; raise `InvalidEntry` for any other form."""
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise InvalidEntry("A time in a record is not RFC 3339.") from None
    if moment.tzinfo is None or format_time(moment) != text:
        raise InvalidEntry("A time in a record is not in the form that we write.")
    return moment


class Outcome(NamedTuple):
    """What an entry left behind for one purpose: the derived status and until when it stands."""

    status: Status
    valid_until: datetime

    def text(self) -> str:
        """Return the canonical JSON of it, as a record and an answer hold it."""
        return _outcome(self.status, self.valid_until)


@lru_cache(maxsize=4096)  # A record and its answer say the same, and so do many decisions of one moment.
def _outcome(status: Status, valid_until: datetime) -> str:
    return f'{{"status":"{status!s}","valid_until":"{format_time(valid_until)}"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """The record of a decision (kind `decision`)."""

    subject: SubjectRef
    decision: Decision
    consents: Mapping[PurposeKey, Outcome]
    recorded_at: datetime
    prev: bytes | None

    def encode(self) -> bytes:
        """Return the canonical bytes that the leaf commits to."""
        return DecisionForm.of(self.decision, self.consents, self.recorded_at).record(self.subject, self.prev)


class DecisionForm(NamedTuple):
    """A decision's record with room for `prev` and the subject: the same for decisions alike."""

    before: str
    between: str

    @classmethod
    def of(
        cls, decision: Decision, consents: Mapping[PurposeKey, Outcome], recorded_at: datetime
    ) -> "DecisionForm":
        """Return the form of this decision's record."""
        # Every decision pays for this: what decisions share is written once. A test compares it with the form
        # that `canonical_json` gives.
        before, middle, after = _frame(
            (
                decision.actor,
                tuple(decision.choices.items()),
                decision.evidence,
                decision.gpc,
                decision.language,
                decision.method,
                decision.notice,
                decision.source,
            )
        )
        return cls(
            f'{before}{outcomes_text(consents)},"decided_at":"{format_time(decision.decided_at)}",{middle}',
            f',"recorded_at":"{format_time(recorded_at)}",{after}',
        )

    def record(self, subject: SubjectRef, prev: bytes | None) -> bytes:
        """Return the canonical bytes of the whole record."""
        link = "null" if prev is None else f'"{_base64(prev)}"'
        return (
            f'{self.before}{link}{self.between}{encode_basestring(subject)},"v":{RECORD_VERSION}}}'.encode()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRecord:
    """The record of an anonymous subject linked to a known one (kind `link`), in the known one's chain.

    `consents` has the outcome of every purpose of the known subject after the link.
    """

    subject: SubjectRef
    linked: SubjectRef
    actor: str
    consents: Mapping[PurposeKey, Outcome]
    recorded_at: datetime
    prev: bytes | None

    def encode(self) -> bytes:
        """Return the canonical bytes that the leaf commits to."""
        return canonical_json(
            {
                "v": RECORD_VERSION,
                "kind": Kind.LINK.value,
                "subject": self.subject,
                "linked": self.linked,
                "actor": self.actor,
                "consents": _outcomes(self.consents),
                "recorded_at": format_time(self.recorded_at),
                "prev": _base64(self.prev),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecord:
    """The record of a notice's publication (kind `notice`). It is public: it names no subject."""

    notice: NoticeDigest
    supersedes: NoticeDigest | None
    recorded_at: datetime

    def encode(self) -> bytes:
        """Return the canonical bytes that the leaf commits to."""
        return canonical_json(
            {
                "v": RECORD_VERSION,
                "kind": Kind.NOTICE.value,
                "notice": self.notice,
                "supersedes": self.supersedes,
                "recorded_at": format_time(self.recorded_at),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRecord:
    """The record of an erasure (kind `erasure`). It is public: it counts what went and names nobody.

    `destroyed` counts by what it was: records, key_grants, values and the like. `evidence_until` says until
    when proof of consent is kept sealed for legal claims (GDPR Art. 17(3)(e)), if it is.
    """

    destroyed: Mapping[str, int]
    recorded_at: datetime
    evidence_until: datetime | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes that the leaf commits to."""
        until = self.evidence_until
        return canonical_json(
            {
                "v": RECORD_VERSION,
                "kind": Kind.ERASURE.value,
                "destroyed": dict(self.destroyed),
                "evidence_until": None if until is None else format_time(until),
                "recorded_at": format_time(self.recorded_at),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """The record of a new key of the tenant, or over its keys (kind `key`). It is public: it holds no secret.

    `what` is signing, vault, blind_index or root. For the signing key, `vkey` is the new verifier key and
    `previous` the one before (C2SP signed-note): the old key signs a checkpoint over this entry, so whoever
    trusts it may follow to the new one.
    """

    what: str
    version: int
    recorded_at: datetime
    vkey: str | None = None
    previous: str | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes that the leaf commits to."""
        return canonical_json(
            {
                "v": RECORD_VERSION,
                "kind": Kind.KEY.value,
                "what": self.what,
                "version": self.version,
                "vkey": self.vkey,
                "previous": self.previous,
                "recorded_at": format_time(self.recorded_at),
            }
        )


Record = DecisionRecord | LinkRecord | NoticeRecord | ErasureRecord | KeyRecord


def decode_record(data: bytes) -> Record:
    """Return the record that `encode` wrote; raise `InvalidEntry` for anything else, however close."""
    try:
        document = parse_json(data)
    except NotCanonical as error:
        raise InvalidEntry("A record is not JSON.") from error
    if not isinstance(document, dict) or document.get("v") != RECORD_VERSION:
        raise InvalidEntry("A record has an unknown version.")
    decode = _DECODERS.get(str(document.get("kind")))
    if decode is None:
        raise InvalidEntry("A record has an unknown kind.")
    try:
        record = decode(document)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidEntry("A record lacks a member or has one of the wrong type.") from error
    if record.encode() != data:
        raise InvalidEntry("A record is not in canonical form.")
    return record


def _decision(document: Mapping[str, JsonValue]) -> DecisionRecord:
    choices = cast("dict[str, str]", document["choices"])
    evidence = document["evidence"]
    return DecisionRecord(
        subject=SubjectRef(_text(document, "subject")),
        decision=Decision(
            notice=NoticeDigest(_text(document, "notice")),
            choices={PurposeKey(key): Choice(choice) for key, choice in choices.items()},
            decided_at=parse_time(_text(document, "decided_at")),
            method=_text(document, "method"),
            source=_text(document, "source"),
            actor=_text(document, "actor"),
            language=_text(document, "language"),
            gpc=document["gpc"] is True,
            evidence=None if evidence is None else str(evidence),
        ),
        consents=_read_outcomes(document),
        recorded_at=parse_time(_text(document, "recorded_at")),
        prev=_read_base64(document["prev"]),
    )


def _link(document: Mapping[str, JsonValue]) -> LinkRecord:
    return LinkRecord(
        subject=SubjectRef(_text(document, "subject")),
        linked=SubjectRef(_text(document, "linked")),
        actor=_text(document, "actor"),
        consents=_read_outcomes(document),
        recorded_at=parse_time(_text(document, "recorded_at")),
        prev=_read_base64(document["prev"]),
    )


def _notice(document: Mapping[str, JsonValue]) -> NoticeRecord:
    supersedes = document["supersedes"]
    return NoticeRecord(
        notice=NoticeDigest(_text(document, "notice")),
        supersedes=None if supersedes is None else NoticeDigest(str(supersedes)),
        recorded_at=parse_time(_text(document, "recorded_at")),
    )


def _erasure(document: Mapping[str, JsonValue]) -> ErasureRecord:
    destroyed = cast("dict[str, int]", document["destroyed"])
    until = document["evidence_until"]
    return ErasureRecord(
        destroyed=dict(destroyed),
        recorded_at=parse_time(_text(document, "recorded_at")),
        evidence_until=None if until is None else parse_time(str(until)),
    )


def _key(document: Mapping[str, JsonValue]) -> KeyRecord:
    version, vkey, previous = document["version"], document["vkey"], document["previous"]
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError("version")
    return KeyRecord(
        what=_text(document, "what"),
        version=version,
        recorded_at=parse_time(_text(document, "recorded_at")),
        vkey=None if vkey is None else str(vkey),
        previous=None if previous is None else str(previous),
    )


_DECODERS: dict[str, Callable[[Mapping[str, JsonValue]], Record]] = {
    Kind.DECISION.value: _decision,
    Kind.LINK.value: _link,
    Kind.NOTICE.value: _notice,
    Kind.ERASURE.value: _erasure,
    Kind.KEY.value: _key,
}


def _text(document: Mapping[str, JsonValue], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


@lru_cache(maxsize=1024)
def _frame(shared: _Shared) -> tuple[str, str, str]:
    """Return a decision's record up to its consents, then up to `prev`, then from `source` to `subject`."""
    actor, choices, evidence, gpc, language, method, notice, source = shared

    def members(**values: JsonValue) -> str:
        return canonical_json(values).decode()[1:-1]

    chosen: dict[str, JsonValue] = {key: choice.value for key, choice in choices}
    return (
        "{" + members(actor=actor, choices=chosen) + ',"consents":',
        members(
            evidence=evidence,
            gpc=gpc,
            kind=Kind.DECISION.value,
            language=language,
            method=method,
            notice=notice,
        )
        + ',"prev":',
        members(source=source) + ',"subject":',
    )


def _outcomes(consents: Mapping[PurposeKey, Outcome]) -> dict[str, JsonValue]:
    return {
        key: {"status": outcome.status.value, "valid_until": format_time(outcome.valid_until)}
        for key, outcome in consents.items()
    }


def outcomes_text(consents: Mapping[PurposeKey, Outcome]) -> str:
    """Return the canonical JSON of what a record says it left behind, by purpose."""
    members = [f"{encode_basestring(key)}:{consents[key].text()}" for key in sorted(consents)]
    return f"{{{','.join(members)}}}"


def _read_outcomes(document: Mapping[str, JsonValue]) -> dict[PurposeKey, Outcome]:
    consents = cast("dict[str, dict[str, str]]", document["consents"])
    return {
        PurposeKey(key): Outcome(
            status=Status(outcome["status"]), valid_until=parse_time(outcome["valid_until"])
        )
        for key, outcome in consents.items()
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _read_base64(text: JsonValue) -> bytes | None:
    return None if text is None else base64.b64decode(str(text), validate=True)
