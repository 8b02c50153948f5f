"""`AsyncConsentClient`: the same names as `ConsentClient`, awaited."""

from __future__ import annotations

from functools import partial

from consent_sdk._asking import a_decision, new_idempotency_key, outcome, retry_in
from consent_sdk._client import Client, some_options
from consent_sdk._personalized import (
    feature_name,
    is_async,
    is_async_generator,
    personalize_async,
    personalize_generator,
    subject_finder,
)
from consent_sdk._profile import (
    MOST_SUBJECTS,
    Profile,
    all_shut,
    profile_request,
    profiles_request,
    read_profile,
    read_profiles,
    read_stored,
    read_token,
    token_request,
    update_request,
)
from consent_sdk._transport import AsyncHttpTransport, Endpoint, HttpTransport, Unreachable
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
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self, TypeVar

    import httpx2

    from consent_sdk._clock import Clock
    from consent_sdk._profile import SubjectToken
    from consent_sdk._values import Recorded
    from consent_sdk.proof import InclusionProof
    from consent_sdk.protocol import Answer, Request

    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])


class AsyncConsentClient(Client):
    """Decides from a local copy, for asyncio. Everything that `ConsentClient` says holds here.

    The stream is followed on a thread all the same, so that a busy event loop cannot make the copy stale.
    `transport` replaces the network of awaited calls alone.
    """

    def __init__(  # noqa: PLR0913  # options, each by name
        self,
        url: str,
        *,
        api_key: str,
        max_staleness: float = 5.0,
        preload: bool = False,
        cache_size: int = 100_000,
        stream: str = "sse",
        timeout: float = 2.0,
        miss_timeout: float = 0.05,
        strict: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        options = some_options(
            stream,
            clock,
            max_staleness=max_staleness,
            preload=preload,
            cache_size=cache_size,
            timeout=timeout,
            miss_timeout=miss_timeout,
        )
        endpoint = Endpoint(url, api_key)
        self._http = AsyncHttpTransport(endpoint, transport)
        self._background = HttpTransport(endpoint)
        super().__init__(self._background, options, strict=strict)
        self._keeper.also_after_fork(self._http.after_fork)
        self._keeper.start()

    async def allows(self, subject: str, purpose: str) -> bool:
        """Return whether you may use the subject's data for the purpose, now."""
        return (await self.check(subject, purpose)).reason is Reason.GRANTED

    async def check(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict on one purpose for one subject; its truth value is whether you may."""
        known = self._known(subject, purpose)
        if known is not None:
            return known
        if self._options.follow or self._keeper.closed:
            return await self._keeper.decide_async(subject, purpose)
        misuse = self._asking.refuse_misuse(subject, purpose)
        if misuse is not None:
            return misuse
        got = await self._try(gate_request(subject, (purpose,)))
        if isinstance(got, Unreachable):
            return Verdict.of(self._asking.unanswered(got))
        return self._asking.read_verdict(got, purpose)

    def gate(self, purpose: str) -> Callable[[str], Awaitable[bool]]:
        """Return the gate of one purpose: await it with a subject.

        Raises `UnknownPurpose` for what cannot be the key of a purpose.
        """
        self._keeper.require_purpose(purpose)

        async def gate(subject: str) -> bool:
            return (await self.check(subject, purpose)).reason is Reason.GRANTED

        return gate

    async def wait_until_ready(self, timeout: float) -> bool:  # noqa: ASYNC109  # as in ConsentClient
        """Wait until the copy is live, `timeout` seconds at most; return whether it is."""
        from asyncio import to_thread  # noqa: PLC0415  # too slow to import with the package

        return await to_thread(self._keeper.wait_until_ready, timeout)

    def personalized(
        self, purpose: str, *, fallback: object, subject: str | None = None, feature: str | None = None
    ) -> Callable[[F], F]:
        """Decorate a coroutine function or an async generator, as `ConsentClient.personalized` describes.

        Raises `TypeError` for a plain function, which could not wait.
        """
        gate = self.gate(purpose)

        def decorate(function: F) -> F:
            if not is_async(function) and not is_async_generator(function):
                raise TypeError("personalized() of an AsyncConsentClient decorates coroutine functions.")
            personalize = personalize_async if is_async(function) else personalize_generator
            find, name = subject_finder(function, subject), feature_name(function, feature)

            def report(who: str) -> None:
                self.report_use(who, purpose, feature=name)

            return personalize(function, gate, find=find, fallback=fallback, report=report)

        return decorate

    async def profile(self, subject: str, *, purpose: str) -> Profile:
        """Return what the purpose may know of the subject; empty with a reason where its gate is closed."""
        verdict = await self.check(subject, purpose)
        if not verdict:
            return Profile({}, reason=verdict.reason)
        return await self._read(
            lambda: profile_request(subject, purpose),
            read_profile,
            lambda reason: Profile({}, reason=reason),
        )

    async def profiles(self, subjects: Iterable[str], *, purpose: str) -> dict[str, Profile]:
        """Return the profiles of several subjects, each as `profile` gives it."""
        return await self._profiles(list(dict.fromkeys(subjects)), purpose)

    async def update_profile(
        self, subject: str, attributes: Mapping[str, object], *, derived_for: str | None = None
    ) -> tuple[str, ...]:
        """Store attributes, as `ConsentClient.update_profile` describes."""
        return await self._write(update_request(subject, attributes, derived_for), read_stored)

    async def subject_token(self, subject: str) -> SubjectToken:
        """Return a short-lived token for a page of the subject's; raises as `decide` does."""
        return await self._write(token_request(subject), read_token)

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
        recorded = await self._write(decision_request(subject, body, idempotency_key=key), read_recorded)
        self._keeper.expect(subject, recorded.index)
        return recorded

    async def inclusion_proof(self, index: int, *, size: int) -> InclusionProof:
        """Return the proof, not yet verified, as `ConsentClient.inclusion_proof` describes."""
        from consent_sdk.proof import read_inclusion_proof  # noqa: PLC0415  # auditors need it, gates do not

        return await self._write(proof_request(index, size), read_inclusion_proof)

    async def close(self) -> None:
        """Send the uses that wait, end the threads, close the connections, and deny from now on."""
        from asyncio import to_thread  # noqa: PLC0415  # too slow to import with the package

        await to_thread(self._uses.close)
        await to_thread(self._keeper.close)
        self._background.close()
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _profiles(self, subjects: list[str], purpose: str) -> dict[str, Profile]:
        found: dict[str, Profile] = {}
        asked = []
        for subject in subjects:
            verdict = await self.check(subject, purpose)
            found[subject] = Profile({}, reason=verdict.reason)
            if verdict:
                asked.append(subject)
        for start in range(0, len(asked), MOST_SUBJECTS):
            some = asked[start : start + MOST_SUBJECTS]
            found |= await self._read(
                partial(profiles_request, some, purpose),
                partial(read_profiles, subjects=some),
                partial(all_shut, some),
            )
        return found

    async def _read(
        self, request: Callable[[], Request], read: Callable[[Answer], T], closed: Callable[[Reason], T]
    ) -> T:
        try:
            return read(await self._http.send(request(), timeout=self._options.timeout))
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
            return await self._http.send(request, timeout=self._options.timeout)
        except Unreachable as error:
            return error
