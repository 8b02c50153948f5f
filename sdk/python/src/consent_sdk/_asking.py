"""What sync and async clients do alike: settings, closed answers, retries and what is said once."""

from __future__ import annotations

import os

from consent_sdk._transport import Unreachable
from consent_sdk.errors import ConfigurationError, InvalidSubject, ServiceUnavailable, UnknownPurpose
from consent_sdk.protocol import (
    LONGEST_SUBJECT,
    TRY_AGAIN,
    Answer,
    Malformed,
    encode_subject,
    failure,
    is_purpose,
    read_gate,
    retry_after,
)
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import TypeVar

    from consent_sdk._values import GateAnswer

    T = TypeVar("T")

ATTEMPTS = 3
"""How often a writing call is sent at most, always with the same idempotency key."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def environment() -> dict[str, object]:
    """Return the constructor's arguments from `CONSENT_*` variables.

    CONSENT_URL and CONSENT_API_KEY are needed; the others are CONSENT_ and the name of an argument in
    capitals. Raises `ConfigurationError` for a missing or unreadable one.
    """
    given: dict[str, object] = {}
    for variable, name in (("CONSENT_URL", "url"), ("CONSENT_API_KEY", "api_key")):
        given[name] = os.environ.get(variable)
        if not given[name]:
            raise ConfigurationError(f"{variable} is not set.")
    for variable, (name, read) in _OPTIONAL.items():
        text = os.environ.get(variable, "").strip()
        if text:
            given[name] = read(variable, text)
    return given


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"{variable} must be a positive number of seconds.")
    return seconds


def _switch(variable: str, text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ConfigurationError(f"{variable} must be true or false.")
    return text.lower() in _TRUE


def _count(variable: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ConfigurationError(f"{variable} must be a positive whole number.")
    return int(text)


def _word(_variable: str, text: str) -> str:
    return text


_OPTIONAL: dict[str, tuple[str, Callable[[str, str], object]]] = {
    "CONSENT_MAX_STALENESS": ("max_staleness", _seconds),
    "CONSENT_PRELOAD": ("preload", _switch),
    "CONSENT_CACHE_SIZE": ("cache_size", _count),
    "CONSENT_STREAM": ("stream", _word),
    "CONSENT_TIMEOUT": ("timeout", _seconds),
    "CONSENT_MISS_TIMEOUT": ("miss_timeout", _seconds),
    "CONSENT_STRICT": ("strict", _switch),
}


class Asking:
    """The judgement behind a client: it turns questions, answers and failures into verdicts, without I/O."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self._said: set[str] = set()

    def refuse_misuse(self, subject: object, purpose: object) -> Verdict | None:
        """Return a denial, or raise in strict mode, for a question that cannot be asked."""
        if not is_purpose(purpose):
            return self.unknown_purpose(purpose)
        if type(subject) is str and subject.isprintable() and 0 < len(subject) <= LONGEST_SUBJECT:
            return None
        try:
            encode_subject(subject)
        except InvalidSubject:
            if self.strict:
                raise
            self.say_once(
                "subject", f"A gate was asked about something that is no subject: denied. {InvalidSubject()}"
            )
            return Verdict.of(Reason.NEVER_ASKED)
        return None

    def unknown_purpose(self, purpose: object) -> Verdict:
        """Deny a purpose that nobody published and say so once; raise `UnknownPurpose` in strict mode.

        What cannot be a purpose's key may be a subject in the wrong place: no log line repeats it.
        """
        if self.strict:
            raise UnknownPurpose(purpose)
        if is_purpose(purpose):
            self.say_once(
                f"purpose {purpose}", "A gate was asked about the unknown purpose %s: denied.", purpose
            )
        else:
            self.say_once("purpose", "A gate was asked about something that is no purpose's key: denied.")
        return Verdict.of(Reason.PURPOSE_UNKNOWN)

    def read_verdict(self, answer: Answer, purpose: str) -> Verdict:
        """Return the verdict that an answer of the gate gives; anything but a good answer denies."""
        gate = self.read_gate(answer)
        verdict = gate.verdicts.get(purpose) if gate else None
        if verdict is None:
            return Verdict.of(Reason.UNAVAILABLE)
        if verdict.reason is Reason.PURPOSE_UNKNOWN:
            return self.unknown_purpose(purpose)
        return verdict

    def read_gate(self, answer: Answer) -> GateAnswer | None:
        """Return the gate's answer, None (said once) for anything that is not a good one."""
        try:
            return read_gate(answer)
        except Malformed as error:
            self.unanswered(error)
            return None

    def unanswered(self, error: Exception) -> Reason:
        """Return the reason to deny for, and say once what kind of failure it was."""
        self.say_once(
            f"failure {error}", "The consent service gave no usable answer (%s): denied.", str(error)
        )
        return Reason.UNAVAILABLE

    def say_once(self, topic: str, message: str, *details: str) -> None:
        """Log a warning once per topic. Neither may name a subject, a key or an address."""
        if topic in self._said or len(self._said) > 256:  # noqa: PLR2004  # topics come from callers
            return
        self._said.add(topic)
        import logging  # noqa: PLC0415  # too slow to import with the package

        logging.getLogger("consent_sdk").warning(message, *details)


def a_decision(
    *,
    notice: str,
    choices: Mapping[str, str],
    method: str,
    source: str,
    language: str,
    decided_at: datetime | None,
) -> dict[str, object]:
    """Return the body of `POST /v1/decisions`; without `decided_at` the decision was made now."""
    from datetime import UTC, datetime  # noqa: PLC0415  # too slow to import with the package

    from consent_sdk.protocol import rfc3339  # noqa: PLC0415  # as above

    return {
        "notice": notice,
        "choices": dict(choices),
        "method": method,
        "source": source,
        "language": language,
        "decided_at": rfc3339(decided_at or datetime.now(UTC)),
    }


def new_idempotency_key() -> str:
    """Return 128 random bits in hexadecimal."""
    return os.urandom(16).hex()


def retry_in(attempt: int, got: Answer | Unreachable) -> float | None:
    """Return the seconds until a writing call is sent again, None when `got` is final.

    What the service asked for, else full jitter; `attempt` counts from 0.
    """
    retriable = isinstance(got, Unreachable) or got.status in TRY_AGAIN
    if not retriable or attempt + 1 >= ATTEMPTS:
        return None
    asked = retry_after(got) if isinstance(got, Answer) else None
    if asked is not None:
        return min(_LONGEST_PAUSE_S, asked)
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * (1 << attempt)) * chance()


def outcome(got: Answer | Unreachable, read: Callable[[Answer], T]) -> T:
    """Return what a writing call's answer says, or raise the `NotRecorded` that it is."""
    if isinstance(got, Unreachable):
        raise ServiceUnavailable(str(got))
    error = failure(got)
    if error is not None:
        raise error
    try:
        return read(got)
    except Malformed as malformed:
        raise ServiceUnavailable(f"its answer is not understood: {malformed}") from None


def chance() -> float:
    """Return a random number in [0, 1), from the system: `random` would be shared with a fork's parent."""
    return int.from_bytes(os.urandom(4), "big") / 2**32
