"""`AsyncConsentClient`: the same names as `ConsentClient`, awaited, for one event loop."""

from __future__ import annotations

from consent_sdk._asking import Asking, a_decision, environment, new_idempotency_key, outcome, retry_in
from consent_sdk._transport import AsyncHttpTransport, Endpoint, Unreachable
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


class AsyncConsentClient:
    """Asks the consent service from asyncio. Everything that `ConsentClient` says holds here."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        timeout: float = 2.0,
        strict: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = AsyncHttpTransport(Endpoint(url, api_key), transport)
        self._asking = Asking(strict=strict)
        self._timeout = timeout

    @classmethod
    def from_env(cls) -> Self:
        """Return a client configured as `ConsentClient.from_env` describes."""
        return cls(**environment())  # type: ignore[arg-type]  # environment() returns our own arguments

    async def check(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict on one purpose for one subject; its truth value is whether you may."""
        misuse = self._asking.refuse_misuse(subject, purpose)
        if misuse is not None:
            return misuse
        try:
            answer = await self._http.send(gate_request(subject, (purpose,)), timeout=self._timeout)
        except Unreachable as error:
            return Verdict.of(self._asking.unanswered(error))
        return self._asking.read_verdict(answer, purpose)

    async def allows(self, subject: str, purpose: str) -> bool:
        """Return whether you may use the subject's data for the purpose, now."""
        return (await self.check(subject, purpose)).reason is Reason.GRANTED

    async def consents(self, subject: str, *, as_of: datetime | None = None) -> Consents:
        """Return where the subject stands, now or at a past moment; empty with a reason if unknown."""
        return await self._read(
            lambda: consents_request(subject, as_of=as_of),
            read_consents,
            lambda reason: Consents({}, reason=reason),
        )

    async def history(self, subject: str) -> History:
        """Return the subject's decisions and their notices; empty with a reason if unknown."""
        return await self._read(
            lambda: history_request(subject), read_history, lambda reason: History((), reason=reason)
        )

    async def decide(  # noqa: PLR0913  # the fields of the decision, each by name
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
        """Record what a subject chose under a notice, as `ConsentClient.decide` describes."""
        body = a_decision(
            notice=notice,
            choices=choices,
            method=method,
            source=source,
            language=language,
            decided_at=decided_at,
        )
        key = idempotency_key or new_idempotency_key()
        return await self._write(decision_request(subject, body, idempotency_key=key), read_recorded)

    async def inclusion_proof(self, index: int, *, size: int) -> InclusionProof:
        """Return the proof, not yet verified, as `ConsentClient.inclusion_proof` describes."""
        from consent_sdk.proof import read_inclusion_proof  # noqa: PLC0415  # auditors need it, gates do not

        return await self._write(proof_request(index, size), read_inclusion_proof)

    async def close(self) -> None:
        """Close the connections. A closed client may be used again; it opens new ones."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def _read(
        self, request: Callable[[], Request], read: Callable[[Answer], T], closed: Callable[[Reason], T]
    ) -> T:
        try:
            return read(await self._http.send(request(), timeout=self._timeout))
        except InvalidSubject:
            if self._asking.strict:
                raise
            return closed(Reason.NEVER_ASKED)
        except (Unreachable, Malformed) as error:
            return closed(self._asking.unanswered(error))

    async def _write(self, request: Request, read: Callable[[Answer], T]) -> T:
        from asyncio import sleep  # noqa: PLC0415  # too slow to import with the package

        attempt = 0
        while True:
            got = await self._try(request)
            wait = retry_in(attempt, got)
            if wait is None:
                return outcome(got, read)
            await sleep(wait)
            attempt += 1

    async def _try(self, request: Request) -> Answer | Unreachable:
        try:
            return await self._http.send(request, timeout=self._timeout)
        except Unreachable as error:
            return error
