"""What `request.consent` is: a client bound to the subject of a request, in WSGI and in ASGI."""

from asyncio import get_running_loop
from collections.abc import Awaitable, Callable

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from consent_sdk._bound import RequestConsent
from consent_sdk.client import ConsentClient
from consent_sdk.verdict import Reason, Verdict

SubjectOf = Callable[[HttpRequest], str | Awaitable[str | None] | None]


class DjangoConsent:
    """Asks about the subject of one request, who is found when first asked about; None is denied everything.

    Views that are coroutines await `acheck` and `aallows`. Where an event loop runs in their thread, `check`,
    `allows` and the template tags do not wait: they deny (as `unavailable`) a subject whom this process has
    not seen, and the service is asked meanwhile. Django renders a `TemplateResponse` in a thread of its own,
    where tags do wait.
    """

    __slots__ = ("_bound", "_client", "_request", "_subject_of")

    def __init__(self, client: ConsentClient, request: HttpRequest, subject_of: SubjectOf) -> None:
        self._client = client
        self._request = request
        self._subject_of = subject_of
        self._bound: RequestConsent | None = None

    async def acheck(self, purpose: str) -> Verdict:
        """Return the verdict on a purpose, without holding up the event loop."""
        if self._bound is None:
            find = self._subject_of
            asynchronous = find if iscoroutinefunction(find) else sync_to_async(find)
            self._bound = RequestConsent(self._client, await asynchronous(self._request))  # type: ignore[arg-type]  # as Django made it
        return await self._bound.check_async(purpose)

    async def aallows(self, purpose: str) -> bool:
        """Return whether the subject's data may be used for a purpose now, without holding up the loop."""
        return (await self.acheck(purpose)).allowed

    def check(self, purpose: str) -> Verdict:
        """Return the verdict on a purpose; on an event loop without waiting."""
        bound = self._found()
        if bound is None:
            return Verdict.of(Reason.UNAVAILABLE)
        return bound.check_at_once(purpose) if _on_a_loop() else bound.check(purpose)

    def allows(self, purpose: str) -> bool:
        """Return whether the subject's data may be used for a purpose now; on a loop without waiting."""
        return self.check(purpose).allowed

    def report_use(self, purpose: str, *, feature: str) -> None:
        """Report that a feature used the subject's data, whom it has asked about before."""
        bound = self._found()
        if bound is not None:
            bound.report_use(purpose, feature=feature)

    @property
    def subject(self) -> str | None:
        """The subject of the request; None for nobody."""
        bound = self._found()
        return None if bound is None else bound.subject

    def _found(self) -> RequestConsent | None:
        """Return the client bound to the subject; None where only a coroutine could find who that is."""
        if self._bound is None:
            find = self._subject_of
            if iscoroutinefunction(find):
                if _on_a_loop():
                    return None
                find = async_to_sync(find)
            self._bound = RequestConsent(self._client, find(self._request))  # type: ignore[arg-type]  # as above
        return self._bound

    def __repr__(self) -> str:
        return "<DjangoConsent>"


def _on_a_loop() -> bool:
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True
