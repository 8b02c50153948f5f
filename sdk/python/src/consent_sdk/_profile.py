"""Profiles, uses and subject tokens: what to send and what the answers mean, without input or output."""

from __future__ import annotations

from collections.abc import Mapping

from consent_sdk._frozen import Frozen
from consent_sdk.protocol import (
    CREATED,
    OK,
    Malformed,
    Request,
    about,
    encode_subject,
    moment,
    read_object,
    read_reason,
)
from consent_sdk.verdict import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from consent_sdk.protocol import Answer

_FORBIDDEN = 403


class Profile(Frozen, Mapping[str, object]):
    """What one purpose may know of one subject, by category; empty and falsy when it may know nothing.

    `reason` is `granted`, or why the profile stays shut; `index` is the ledger entry it was opened under.
    """

    __slots__ = ("attributes", "index", "reason")

    attributes: Mapping[str, object]
    reason: Reason
    index: int | None

    def __init__(self, attributes: Mapping[str, object], *, reason: Reason, index: int | None = None) -> None:
        self._init(attributes=dict(attributes), reason=reason, index=index)

    def __getitem__(self, category: str) -> object:
        return self.attributes[category]

    def __iter__(self) -> Iterator[str]:
        return iter(self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)

    def __hash__(self) -> int:
        return hash((self.reason, self.index))

    def __repr__(self) -> str:
        return f"<Profile {self.reason.value} index={self.index}>"


class SubjectToken(Frozen):
    """A short-lived token that names one subject, for a page of theirs. Its repr does not show it."""

    __slots__ = ("expires_at", "token")

    token: str
    expires_at: datetime

    def __init__(self, token: str, *, expires_at: datetime) -> None:
        self._init(token=token, expires_at=expires_at)

    def __str__(self) -> str:
        return self.token

    def __repr__(self) -> str:
        return f"<SubjectToken until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


class Use(Frozen):
    """A purpose used a subject's data: for which feature, and when (RFC 3339)."""

    __slots__ = ("feature", "purpose", "subject", "used_at")

    subject: str
    purpose: str
    feature: str
    used_at: str

    def __init__(self, subject: str, purpose: str, *, feature: str, used_at: str) -> None:
        self._init(subject=subject, purpose=purpose, feature=feature, used_at=used_at)

    def __repr__(self) -> str:
        return f"<Use of {self.purpose}>"


def profile_request(subject: str, purpose: str) -> Request:
    """Ask for what a purpose may know of a subject."""
    return about(subject, "GET", f"/v1/profile?purpose={purpose}")


def update_request(subject: str, attributes: Mapping[str, object]) -> Request:
    """Store attributes by category and field."""
    return about(subject, "PATCH", "/v1/profile", attributes)


def token_request(subject: str) -> Request:
    """Ask for a token that names a subject."""
    return about(subject, "POST", "/v1/subject/token", {})


def uses_request(uses: Iterable[Use]) -> Request:
    """Report uses, a line each."""
    import json  # noqa: PLC0415  # too slow to import with the package

    lines = [
        json.dumps({name: getattr(use, name) for name in ("subject", "purpose", "feature", "used_at")})
        for use in uses
    ]
    headers = (("Content-Type", "application/x-ndjson"),)
    return Request("POST", "/v1/uses", headers=headers, content="\n".join(lines).encode())


def read_profile(answer: Answer) -> Profile:
    """Read a profile, or the gate's reason for keeping it shut."""
    if answer.status == _FORBIDDEN:
        reason = read_object(answer, _FORBIDDEN).get("reason")
        known = read_reason(reason) if isinstance(reason, str) else Reason.UNAVAILABLE
        return Profile({}, reason=Reason.UNAVAILABLE if known is Reason.GRANTED else known)
    body = read_object(answer)
    attributes, index = body.get("attributes"), body.get("index")
    if not isinstance(attributes, dict) or (index is not None and type(index) is not int):
        raise Malformed("not a profile")
    return Profile(attributes, reason=Reason.GRANTED, index=index)


def read_stored(answer: Answer) -> tuple[str, ...]:
    """Read the names of the fields that were stored, `category.field`."""
    stored = read_object(answer).get("stored")
    if not isinstance(stored, list):
        raise Malformed("no list of what was stored")
    return tuple(str(name) for name in stored)


def read_token(answer: Answer) -> SubjectToken:
    """Read a subject token."""
    body = read_object(answer, CREATED, OK)
    token, expires_at = body.get("token"), body.get("expires_at")
    if not isinstance(token, str) or not isinstance(expires_at, str):
        raise Malformed("not a token")
    return SubjectToken(token, expires_at=moment(expires_at))


def a_use(subject: str, purpose: str, feature: str, used_at: datetime) -> Use:
    """Return a use to report; raise `InvalidSubject` for no subject."""
    from consent_sdk.protocol import rfc3339  # noqa: PLC0415  # as json above

    encode_subject(subject)
    return Use(subject, purpose, feature=feature, used_at=rfc3339(used_at))
