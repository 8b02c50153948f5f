"""`ConsentClient`: ask before you personalize, from any thread."""

from __future__ import annotations

import time

from consent_sdk._asking import Asking, a_decision, environment, new_idempotency_key, outcome, retry_in
from consent_sdk._transport import Endpoint, HttpTransport, Unreachable
from consent_sdk._values import Consents, History
from consent_sdk.errors import InvalidSubject
from consent_sdk.protocol import (
    Malformed,
    consents_request,
    decision_request,
    gate_request,
    history_request,
    proof_request,
    read_consents,
    read_history,
    read_recorded,
)
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self, TypeVar

    import httpx2

    from consent_sdk._values import Recorded
    from consent_sdk.proof import InclusionProof
    from consent_sdk.protocol import Answer, Request

    T = TypeVar("T")


class ConsentClient:
    """Asks the consent service. Reading calls never raise for a dead or broken service: they deny.

    `timeout` is in seconds per network step. `strict` raises `UnknownPurpose` and `InvalidSubject` where they
    would be denied otherwise: meant for tests and development. `transport` replaces the network (an httpx2
    transport: a proxy, client certificates, an application in the same process). Raises `ConfigurationError`
    for a URL or a key that cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        timeout: float = 2.0,
        strict: bool = False,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._http = HttpTransport(Endpoint(url, api_key), transport)
        self._asking = Asking(strict=strict)
        self._timeout = timeout

    @classmethod
    def from_env(cls) -> Self:
        """Return a client configured by `CONSENT_URL`, `CONSENT_API_KEY` and the optional variables.

        Raises `ConfigurationError` for a missing or unreadable one.
        """
        return cls(**environment())  # type: ignore[arg-type]  # environment() returns our own arguments

    def check(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict on one purpose for one subject; its truth value is whether you may."""
        misuse = self._asking.refuse_misuse(subject, purpose)
        if misuse is not None:
            return misuse
        try:
            answer = self._http.send(gate_request(subject, (purpose,)), timeout=self._timeout)
        except Unreachable as error:
            return Verdict.of(self._asking.unanswered(error))
        return self._asking.read_verdict(answer, purpose)

    def allows(self, subject: str, purpose: str) -> bool:
        """Return whether you may use the subject's data for the purpose, now."""
        return self.check(subject, purpose).reason is Reason.GRANTED

    def consents(self, subject: str, *, as_of: datetime | None = None) -> Consents:
        """Return where the subject stands, now or at a past moment; empty with a reason if unknown."""
        return self._read(
            lambda: consents_request(subject, as_of=as_of),
            read_consents,
            lambda reason: Consents({}, reason=reason),
        )

    def history(self, subject: str) -> History:
        """Return the subject's decisions and their notices; empty with a reason if unknown."""
        return self._read(
            lambda: history_request(subject), read_history, lambda reason: History((), reason=reason)
        )

    def decide(  # noqa: PLR0913  # the fields of the decision, each by name
        self,
        subject: str,
        *,
        notice: str,
        choices: Mapping[str, str],
        language: str,
        method: str = "save",
        source: str = "backend",
        decided_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Recorded:
        """Record what a subject chose under a notice: `choices` is purpose to `granted` or `denied`.

        `notice` is the digest of the words that were shown, in `language`. Sent up to three times under one
        idempotency key (made here unless given), so it is stored at most once. Raises `ServiceUnavailable`
        when no answer came (it may be stored all the same: repeat it with the same key), `Refused` when the
        service said no, `InvalidSubject` for no subject.
        """
        body = a_decision(
            notice=notice,
            choices=choices,
            method=method,
            source=source,
            language=language,
            decided_at=decided_at,
        )
        key = idempotency_key or new_idempotency_key()
        return self._write(decision_request(subject, body, idempotency_key=key), read_recorded)

    def inclusion_proof(self, index: int, *, size: int) -> InclusionProof:
        """Return the proof, not yet verified, that entry `index` is in the ledger of `size` entries.

        Evidence rather than a decision, so it raises: `ServiceUnavailable`, `Refused`.
        """
        from consent_sdk.proof import read_inclusion_proof  # noqa: PLC0415  # auditors need it, gates do not

        return self._write(proof_request(index, size), read_inclusion_proof)

    def close(self) -> None:
        """Close the connections. A closed client may be used again; it opens new ones."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _read(
        self, request: Callable[[], Request], read: Callable[[Answer], T], closed: Callable[[Reason], T]
    ) -> T:
        try:
            return read(self._http.send(request(), timeout=self._timeout))
        except InvalidSubject:
            if self._asking.strict:
                raise
            return closed(Reason.NEVER_ASKED)
        except (Unreachable, Malformed) as error:
            return closed(self._asking.unanswered(error))

    def _write(self, request: Request, read: Callable[[Answer], T]) -> T:
        attempt = 0
        while True:
            got = self._try(request)
            wait = retry_in(attempt, got)
            if wait is None:
                return outcome(got, read)
            time.sleep(wait)
            attempt += 1

    def _try(self, request: Request) -> Answer | Unreachable:
        try:
            return self._http.send(request, timeout=self._timeout)
        except Unreachable as error:
            return error
