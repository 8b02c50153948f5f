"""`ConsentClient`: ask before you personalize, from any thread."""

from __future__ import annotations

import time
from functools import partial

from consent_sdk._asking import a_decision, new_idempotency_key, outcome, retry_in
from consent_sdk._client import Client, some_options
from consent_sdk._personalized import (
    feature_name,
    is_async,
    is_async_generator,
    personalize,
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
    from collections.abc import Callable, Iterable, Mapping
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


class ConsentClient(Client):
    """Decides from a local copy that a stream keeps fresh. A dead service denies: no reading call raises.

    It returns at once and connects on a thread of its own. Times in seconds: past `max_staleness` without a
    proof from the stream that nothing was missed, everything is denied. A subject that this process has not
    seen is asked for at the service, once, `miss_timeout` at most; with `preload` everybody is known
    beforehand and no decision waits. `cache_size` bounds the subjects. `stream="off"` asks the service each
    time instead. `timeout` is for one network step of every other call. `strict` raises `UnknownPurpose`
    and `InvalidSubject` where they would be denied otherwise: for tests and development. `transport`
    (httpx2) and `clock` replace network and time. Raises `ConfigurationError` for what cannot work.
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
        transport: httpx2.BaseTransport | None = None,
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
        self._http = HttpTransport(Endpoint(url, api_key), transport)
        super().__init__(self._http, options, strict=strict)
        self._keeper.start()

    def allows(self, subject: str, purpose: str) -> bool:
        """Return whether you may use the subject's data for the purpose, now."""
        now = self._now()
        if now < self._lease.until:
            try:
                limit = self._limits[subject][self._columns[purpose]]
            except Exception:  # noqa: BLE001  # nothing known; or no subject, whatever its hash does
                return self._decide(subject, purpose).reason is Reason.GRANTED
            if now < limit:
                return True
            if limit <= 0.0:
                return False
        return self._decide(subject, purpose).reason is Reason.GRANTED

    def check(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict on one purpose for one subject; its truth value is whether you may."""
        if self._now() < self._lease.sure:
            try:
                recent = self._recent[purpose].get(subject)
            except Exception:  # noqa: BLE001  # as in `allows`
                recent = None
            if recent is not None:
                return recent
        known = self._recall(subject, purpose)
        return self._decide(subject, purpose) if known is None else known

    def gate(self, purpose: str) -> Callable[[str], bool]:
        """Return the gate of one purpose, a function of the subject: the fastest way to ask.

        It waits only for a subject that this process has not seen, `miss_timeout` at most. Raises
        `UnknownPurpose` for what cannot be the key of a purpose.
        """
        return self._keeper.bind(purpose, self._decide)

    def wait_until_ready(self, timeout: float) -> bool:
        """Wait until the copy is live, `timeout` seconds at most; return whether it is."""
        return self._keeper.wait_until_ready(timeout)

    def personalized(
        self, purpose: str, *, fallback: object, subject: str | None = None, feature: str | None = None
    ) -> Callable[[F], F]:
        """Decorate a function, plain or async, so that it runs only for subjects who granted the purpose.

        For others the call gives `fallback`, called with the same arguments if it can be. The subject is the
        parameter named `subject`, unless given the first one but `self` and `cls`. Each run is reported as a
        use of `feature`, the function's name unless given. Raises `TypeError` for a function without such a
        parameter.
        """
        gate = self.gate(purpose)

        async def awaited(who: str) -> bool:
            return (await self.check_async(who, purpose)).reason is Reason.GRANTED

        def decorate(function: F) -> F:
            find, name = subject_finder(function, subject), feature_name(function, feature)

            def report(who: str) -> None:
                self.report_use(who, purpose, feature=name)

            if is_async(function):
                return personalize_async(function, awaited, find=find, fallback=fallback, report=report)
            if is_async_generator(function):
                return personalize_generator(function, awaited, find=find, fallback=fallback, report=report)
            return personalize(function, gate, find=find, fallback=fallback, report=report)

        return decorate

    def profile(self, subject: str, *, purpose: str) -> Profile:
        """Return what the purpose may know of the subject; empty with a reason where its gate is closed."""
        verdict = self.check(subject, purpose)
        if not verdict:
            return Profile({}, reason=verdict.reason)
        return self._read(
            lambda: profile_request(subject, purpose),
            read_profile,
            lambda reason: Profile({}, reason=reason),
        )

    def profiles(self, subjects: Iterable[str], *, purpose: str) -> dict[str, Profile]:
        """Return the profiles of several subjects, each as `profile` gives it."""
        return self._profiles(list(dict.fromkeys(subjects)), purpose)

    def update_profile(
        self, subject: str, attributes: Mapping[str, object], *, derived_for: str | None = None
    ) -> tuple[str, ...]:
        """Store attributes, category to field to value; return the names of what was stored.

        What was `derived_for` a purpose, such as a score, disappears with its grant, and nobody reads it
        while that purpose is closed. Raises `NoLiveGrant` for a category that nobody granted, `Refused` where
        `derived_for` is closed, `UnknownPurpose` where it is no purpose's key, `ServiceUnavailable`,
        `InvalidSubject`.
        """
        return self._write(update_request(subject, attributes, derived_for), read_stored)

    def subject_token(self, subject: str) -> SubjectToken:
        """Return a short-lived token for a page of the subject's; raises as `decide` does."""
        return self._write(token_request(subject), read_token)

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
        recorded = self._write(decision_request(subject, body, idempotency_key=key), read_recorded)
        self._keeper.expect(subject, recorded.index)
        return recorded

    def inclusion_proof(self, index: int, *, size: int) -> InclusionProof:
        """Return the proof, not yet verified, that entry `index` is in the ledger of `size` entries.

        Evidence rather than a decision, so it raises: `ServiceUnavailable`, `Refused`.
        """
        from consent_sdk.proof import read_inclusion_proof  # noqa: PLC0415  # auditors need it, gates do not

        return self._write(proof_request(index, size), read_inclusion_proof)

    def close(self) -> None:
        """Send the uses that wait, end the threads, close the connections, and deny from now on."""
        self._uses.close()
        self._keeper.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decide(self, subject: str, purpose: str) -> Verdict:
        if self._options.follow or self._keeper.closed:
            return self._keeper.decide(subject, purpose)
        return self._ask(subject, purpose)

    async def check_async(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict as `check` does, from a coroutine, without holding up its event loop."""
        known = self._known(subject, purpose)
        return await self._decide_async(subject, purpose) if known is None else known

    def check_at_once(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict as `check` does, without waiting: for code that runs on an event loop.

        A subject that this process has not seen is denied, and asked for at the service meanwhile; with
        `stream="off"`, everybody is denied.
        """
        known = self._known(subject, purpose)
        if known is not None:
            return known
        if self._options.follow or self._keeper.closed:
            return self._keeper.decide_at_once(subject, purpose)
        misuse = self._asking.refuse_misuse(subject, purpose)
        return Verdict.of(Reason.UNAVAILABLE) if misuse is None else misuse

    async def _decide_async(self, subject: str, purpose: str) -> Verdict:
        if self._options.follow or self._keeper.closed:
            return await self._keeper.decide_async(subject, purpose)
        from asyncio import to_thread  # noqa: PLC0415  # too slow to import with the package

        return await to_thread(self._ask, subject, purpose)

    def _ask(self, subject: str, purpose: str) -> Verdict:
        misuse = self._asking.refuse_misuse(subject, purpose)
        if misuse is not None:
            return misuse
        got = self._try(gate_request(subject, (purpose,)))
        if isinstance(got, Unreachable):
            return Verdict.of(self._asking.unanswered(got))
        return self._asking.read_verdict(got, purpose)

    def _profiles(self, subjects: list[str], purpose: str) -> dict[str, Profile]:
        found: dict[str, Profile] = {}
        asked = []
        for subject in subjects:
            verdict = self.check(subject, purpose)
            found[subject] = Profile({}, reason=verdict.reason)
            if verdict:
                asked.append(subject)
        for start in range(0, len(asked), MOST_SUBJECTS):
            some = asked[start : start + MOST_SUBJECTS]
            found |= self._read(
                partial(profiles_request, some, purpose),
                partial(read_profiles, subjects=some),
                partial(all_shut, some),
            )
        return found

    def _read(
        self, request: Callable[[], Request], read: Callable[[Answer], T], closed: Callable[[Reason], T]
    ) -> T:
        try:
            return read(self._http.send(request(), timeout=self._options.timeout))
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
            return self._http.send(request, timeout=self._options.timeout)
        except Unreachable as error:
            return error
