"""The HTTP protocol without input or output: what to send, and what an answer means (DESIGN 6 and 9).

Sync and async clients, the fake and the tests share it. Readers raise `Malformed` for anything that is not
what the service documents; they never guess.
"""

from __future__ import annotations

from consent_sdk._frozen import Frozen
from consent_sdk._values import Consent, Consents, GateAnswer, History, PastDecision, Recorded
from consent_sdk.errors import (
    InvalidSubject,
    NoLiveGrant,
    NotAuthorized,
    NotRecorded,
    Refused,
    ServiceUnavailable,
)
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import TypeGuard

OK = 200
CREATED = 201
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which the same request may be sent again."""

LONGEST_SUBJECT = 256
"""Characters that a subject has at most, as the service counts them: it refuses a longer one."""

_LONGEST_PURPOSE = 64
_PURPOSE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")
# Visible ASCII that is neither % nor a separator that a proxy might split or join a header at.
_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~@:+/=!$&'()*;?#[]{}|^`<>"
)


_REASONS = {reason.value: reason for reason in Reason}  # in a fifth of the time that the class takes


class Malformed(Exception):
    """An answer that is not what the service documents; never leaves the SDK."""


class Request(Frozen):
    """One request: `path` is below the service's URL; `safe` says that sending it twice does no harm."""

    __slots__ = ("content", "headers", "method", "path", "safe")

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    content: bytes
    safe: bool

    def __init__(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        content: bytes = b"",
        safe: bool = True,
    ) -> None:
        self._init(method=method, path=path, headers=headers, content=content, safe=safe)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path.partition('?')[0]}>"


class Answer(Frozen):
    """One answer: header names in lower case."""

    __slots__ = ("content", "headers", "status")

    status: int
    headers: Mapping[str, str]
    content: bytes

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self._init(status=status, headers=headers, content=content)

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.content)} bytes>"


def encode_subject(subject: object) -> str:
    """Return the subject as a header value: percent-encoded UTF-8 (RFC 3986, section 2.1) where needed.

    Raises `InvalidSubject` for anything but a `str` of 1 to 256 printable characters, as the service does.
    """
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise InvalidSubject
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in subject.encode())


def is_purpose(key: object) -> TypeGuard[str]:
    """Whether this can be the key of a purpose: `[a-z0-9_.-]+`, at most 64 characters."""
    return isinstance(key, str) and 0 < len(key) <= _LONGEST_PURPOSE and _PURPOSE_CHARACTERS.issuperset(key)


def gate_request(subject: str, purposes: Iterable[str]) -> Request:
    """Ask for verdicts on these purposes."""
    return about(subject, "POST", "/v1/gate", {"purposes": list(purposes)})


def consents_request(subject: str, *, as_of: datetime | None = None) -> Request:
    """Ask where a subject stands, now or at a past moment (an aware datetime)."""
    query = f"?as_of={_escape(rfc3339(as_of))}" if as_of is not None else ""
    return about(subject, "GET", f"/v1/consents{query}")


def history_request(subject: str) -> Request:
    """Ask for a subject's decisions."""
    return about(subject, "GET", "/v1/decisions")


def decision_request(subject: str, decision: Mapping[str, object], *, idempotency_key: str) -> Request:
    """Record a decision; the same key with the same body is recorded once however often it is sent."""
    return about(subject, "POST", "/v1/decisions", decision, (("Idempotency-Key", idempotency_key),))


def proof_request(index: int, size: int) -> Request:
    """Ask for the proof that entry `index` is in the ledger of `size` entries."""
    return Request("GET", f"/v1/ledger/proof/inclusion?index={index:d}&size={size:d}")


def read_gate(answer: Answer) -> GateAnswer:
    """Read the verdicts."""
    body = read_object(answer)
    verdicts = {
        purpose: _verdict(_is(verdict, dict)) for purpose, verdict in _field(body, "verdicts", dict).items()
    }
    return GateAnswer(
        subject=_field(body, "subject", str), verdicts=verdicts, head=_natural(_field(body, "head", int))
    )


def read_consents(answer: Answer) -> Consents:
    """Read where a subject stands."""
    body = read_object(answer)
    head = body.get("head")
    return Consents(
        _consents(_field(body, "consents", dict)), head=None if head is None else _natural(_is(head, int))
    )


def read_history(answer: Answer) -> History:
    """Read a subject's decisions."""
    body = read_object(answer)
    return History(tuple(_past_decision(_is(item, dict)) for item in _field(body, "decisions", list)))


def read_recorded(answer: Answer) -> Recorded:
    """Read what became of a recorded decision."""
    body = read_object(answer, CREATED, OK)
    links = body.get("links")
    receipt = links.get("receipt") if isinstance(links, dict) else None
    return Recorded(
        index=_natural(_field(body, "index", int)),
        recorded_at=moment(_field(body, "recorded_at", str)),
        consents=_consents(_field(body, "consents", dict)),
        receipt=receipt if isinstance(receipt, str) else None,
    )


def read_object(answer: Answer, *statuses: int) -> dict[str, object]:
    """Return the JSON object of an answer with one of these statuses (200 by default); raise `Malformed`."""
    import json  # noqa: PLC0415  # too slow to import with the package

    if answer.status not in (statuses or (OK,)):
        raise Malformed(f"status {answer.status}")
    try:
        return _is(json.loads(answer.content), dict)
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None


def failure(answer: Answer) -> NotRecorded | None:
    """Return the error that this answer to a writing call is, None for a success.

    5xx, 408, 425 and 429 are `ServiceUnavailable`; other 4xx, 3xx and 1xx are `Refused`.
    """
    if answer.status in (OK, CREATED):
        return None
    if answer.status in TRY_AGAIN or answer.status > max(TRY_AGAIN):
        return ServiceUnavailable(f"status {answer.status}", retry_after=retry_after(answer) or 1.0)
    try:
        problem = read_object(answer, answer.status)
    except Malformed:
        problem = {}
    texts = {name: str(problem.get(name) or "") for name in ("type", "title", "detail")}
    kind = Refused
    if answer.status in (401, 403):
        kind = NotAuthorized
    elif texts["type"].endswith("/no-live-grant"):
        kind = NoLiveGrant
    return kind(
        problem=texts["type"] or "about:blank",
        status=answer.status,
        title=texts["title"] or "The service refused",
        detail=texts["detail"],
    )


def retry_after(answer: Answer) -> float | None:
    """Return the seconds of a `Retry-After` header, at most an hour; None without a usable one."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None


def rfc3339(moment: datetime) -> str:
    """Return an aware moment in UTC, RFC 3339 with Z; naive ones raise `ValueError`."""
    from datetime import UTC  # noqa: PLC0415  # too slow to import with the package

    if moment.tzinfo is None:
        raise ValueError("A moment needs a time zone.")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def about(
    subject: str,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Request:
    """Return a request about a subject, with a JSON body unless that is None."""
    import json  # noqa: PLC0415  # too slow to import with the package

    head = (("Consent-Subject", encode_subject(subject)), ("Accept", "application/json"), *headers)
    if body is None:
        return Request(method, path, headers=head)
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return Request(method, path, headers=(*head, ("Content-Type", "application/json")), content=content)


def _escape(text: str) -> str:
    return text.replace("+", "%2B")


def _verdict(body: dict[str, object]) -> Verdict:
    reason = read_reason(_field(body, "reason", str))
    if _field(body, "allowed", bool) is not (reason is Reason.GRANTED):
        raise Malformed("allowed contradicts its reason")
    until = body.get("valid_until")
    index = body.get("index")
    return Verdict.of(
        reason,
        0 if until is None else max(0, int(moment(_is(until, str)).timestamp())),
        None if index is None else _natural(_is(index, int)),
    )


def read_reason(word: str) -> Reason:
    """Return the reason of this name; a word of a newer service that we do not know can only deny."""
    return _REASONS.get(word, Reason.UNAVAILABLE)


def _consents(body: dict[str, object]) -> dict[str, Consent]:
    return {purpose: _consent(_is(item, dict)) for purpose, item in body.items()}


def _consent(body: dict[str, object]) -> Consent:
    version, index = body.get("purpose_version"), body.get("index")
    since, until = body.get("since"), body.get("valid_until")
    return Consent(
        _field(body, "status", str),
        purpose_version=None if version is None else _is(version, int),
        since=None if since is None else moment(_is(since, str)),
        valid_until=None if until is None else moment(_is(until, str)),
        index=None if index is None else _natural(_is(index, int)),
    )


def _past_decision(body: dict[str, object]) -> PastDecision:
    choices = _field(body, "choices", dict)
    return PastDecision(
        index=_natural(_field(body, "index", int)),
        recorded_at=moment(_field(body, "recorded_at", str)),
        decided_at=moment(_field(body, "decided_at", str)),
        notice=_field(body, "notice", str),
        choices={purpose: _is(choice, str) for purpose, choice in choices.items()},
        consents=_consents(_field(body, "consents", dict)),
        method=_field(body, "method", str),
        source=_field(body, "source", str),
        language=_field(body, "language", str),
    )


def moment(text: str) -> datetime:
    """Return an RFC 3339 time; raise `Malformed`."""
    from datetime import datetime  # noqa: PLC0415  # too slow to import with the package

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed("not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise Malformed("a time without a zone")
    return moment


def _natural(number: int) -> int:
    if number < 0:
        raise Malformed("a negative index")
    return number


if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def _field(body: dict[str, object], name: str, kind: type[T]) -> T:
    return _is(body.get(name), kind)


def _is(value: object, kind: type[T]) -> T:
    # bool is a subclass of int, and true is not an index.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"not a {kind.__name__}")
    return value
