"""Profiles, uses and subject tokens: what to send and what the answers mean, without input or output."""

from __future__ import annotations

from collections.abc import Mapping

from consent_sdk._frozen import Frozen
from consent_sdk.errors import UnknownPurpose
from consent_sdk.protocol import (
    CREATED,
    OK,
    Malformed,
    Request,
    about,
    encode_subject,
    is_purpose,
    moment,
    read_object,
    read_reason,
)
from consent_sdk.verdict import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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


Use = tuple[str, str, str]
"""Subject, purpose and feature of a use."""
_LONGEST_FEATURE = 32
_FEATURE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


MOST_SUBJECTS = 500
"""Profiles in one request."""


def use_of(subject: str, purpose: object, feature: object) -> Use | None:
    """Return a use as the service takes it, `None` for what it would refuse with all that is sent beside it.

    `Shop.for you` becomes `shop.for_you`: a feature is a word of up to 32 of the characters `a-z0-9_.-`.
    """
    if not is_purpose(purpose) or not subject.isprintable():
        return None
    text = feature.lower() if isinstance(feature, str) else ""
    word = "".join(each if each in _FEATURE_CHARACTERS else "_" for each in text).lstrip("_.-")
    return subject, purpose, word[:_LONGEST_FEATURE] or "feature"


def profile_request(subject: str, purpose: str) -> Request:
    """Ask for what a purpose may know of a subject."""
    return about(subject, "GET", f"/v1/profile?purpose={purpose}")


def update_request(subject: str, attributes: Mapping[str, object], derived_for: str | None = None) -> Request:
    """Store attributes by category and field; raise `UnknownPurpose` for what cannot be one's key."""
    if derived_for is not None and not is_purpose(derived_for):
        raise UnknownPurpose(derived_for)
    query = "" if derived_for is None else f"?derived_for={derived_for}"
    return about(subject, "PATCH", f"/v1/profile{query}", attributes)


def token_request(subject: str) -> Request:
    """Ask for a token that names a subject."""
    return about(subject, "POST", "/v1/subject/token", {})


def uses_request(uses: Mapping[Use, int]) -> Request:
    """Report how often each use happened, up to 1,000 kinds of them."""
    import json  # noqa: PLC0415  # too slow to import with the package

    body = [
        {"subject": subject, "purpose": purpose, "feature": feature, "times": times}
        for (subject, purpose, feature), times in uses.items()
    ]
    headers = (("Content-Type", "application/json"),)
    return Request("POST", "/v1/uses", headers=headers, content=json.dumps({"uses": body}).encode())


def profiles_request(subjects: Sequence[str], purpose: str) -> Request:
    """Ask for what a purpose may know of up to 500 subjects; raise `InvalidSubject` for what is none."""
    import json  # noqa: PLC0415  # as above

    for subject in subjects:
        encode_subject(subject)
    body = {"purpose": purpose, "subjects": list(subjects)}
    headers = (("Content-Type", "application/json"),)
    return Request("POST", "/v1/profiles/query", headers=headers, content=json.dumps(body).encode())


def read_profile(answer: Answer) -> Profile:
    """Read a profile, or the gate's reason for keeping it shut."""
    if answer.status == _FORBIDDEN:
        return _shut(read_object(answer, _FORBIDDEN).get("reason"))
    return _profile(read_object(answer))


def read_profiles(answer: Answer, subjects: Sequence[str]) -> dict[str, Profile]:
    """Read the profiles of these subjects."""
    profiles = read_object(answer).get("profiles")
    if not isinstance(profiles, list) or len(profiles) != len(subjects):
        raise Malformed("not a profile for each subject")
    return {subject: _profile(body) for subject, body in zip(subjects, profiles, strict=True)}


def _profile(body: object) -> Profile:
    if not isinstance(body, dict):
        raise Malformed("not a profile")
    if "reason" in body and "attributes" not in body:
        return _shut(body["reason"])
    attributes, index = body.get("attributes"), body.get("index")
    if not isinstance(attributes, dict) or (index is not None and type(index) is not int):
        raise Malformed("not a profile")
    return Profile(attributes, reason=Reason.GRANTED, index=index)


def _shut(reason: object) -> Profile:
    known = read_reason(reason) if isinstance(reason, str) else Reason.UNAVAILABLE
    return Profile({}, reason=Reason.UNAVAILABLE if known is Reason.GRANTED else known)


def all_shut(subjects: Sequence[str], reason: Reason) -> dict[str, Profile]:
    """Return a profile for each subject that stays shut."""
    return {subject: Profile({}, reason=reason) for subject in subjects}


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
